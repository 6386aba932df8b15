package handlers

import (
	"context"
	"net/http"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// ListMembers implements GET /v1/conversations/{conversation}/members.
func (s *Server) ListMembers(ctx context.Context, r api.ListMembersRequestObject) (api.ListMembersResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	list := listOf("members", r.Conversation)
	page, limit, err := s.userPage(list, r.Params.PageToken, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	page.Limit = limit // the result says whether there is a next page
	found, err := s.service.Members(ctx, actor(ctx), ref, page)
	if err != nil {
		return nil, err
	}
	out := api.ListMembers200JSONResponse{Items: each(found.Items, member)}
	if found.Next != "" {
		out.NextPageToken = optional(s.seal(userToken(list, found.Next)))
	}
	return out, nil
}

// GetMember implements GET /v1/conversations/{conversation}/members/{user}.
func (s *Server) GetMember(ctx context.Context, r api.GetMemberRequestObject) (api.GetMemberResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	m, err := s.service.Member(ctx, actor(ctx), ref, im.UserID(r.User))
	if err != nil {
		return nil, err
	}
	return api.GetMember200JSONResponse(member(m)), nil
}

// AddMembers implements POST /v1/conversations/{conversation}/members.
func (s *Server) AddMembers(ctx context.Context, r api.AddMembersRequestObject) (api.AddMembersResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	role := im.Member
	if r.Body.Role != nil {
		role, _ = im.ParseRole(string(*r.Body.Role))
	}
	added, err := s.service.AddMembers(ctx, actor(ctx), ref, domainUsers(r.Body.Members), role)
	if err != nil {
		return nil, err
	}
	return api.AddMembers200JSONResponse{Items: each(added, member)}, nil
}

// SetRole implements PATCH /v1/conversations/{conversation}/members/{user}.
func (s *Server) SetRole(ctx context.Context, r api.SetRoleRequestObject) (api.SetRoleResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	role, _ := im.ParseRole(string(r.Body.Role))
	m, err := s.service.SetRole(ctx, actor(ctx), ref, im.UserID(r.User), role)
	if err != nil {
		return nil, err
	}
	return api.SetRole200JSONResponse(member(m)), nil
}

// RemoveMember implements DELETE /v1/conversations/{conversation}/members/{user}.
func (s *Server) RemoveMember(ctx context.Context, r api.RemoveMemberRequestObject) (api.RemoveMemberResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err == nil {
		err = s.service.RemoveMember(ctx, actor(ctx), ref, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.RemoveMember204Response{}, nil
}

// JoinConversation implements POST /v1/conversations/{conversation}/join.
func (s *Server) JoinConversation(ctx context.Context, r api.JoinConversationRequestObject) (api.JoinConversationResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	v, err := s.service.Join(ctx, actor(ctx), ref)
	if err != nil {
		return nil, err
	}
	return answerConversation(http.StatusOK, v), nil
}

// LeaveConversation implements POST /v1/conversations/{conversation}/leave.
func (s *Server) LeaveConversation(ctx context.Context, r api.LeaveConversationRequestObject) (api.LeaveConversationResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err == nil {
		err = s.service.Leave(ctx, actor(ctx), ref)
	}
	if err != nil {
		return nil, err
	}
	return api.LeaveConversation204Response{}, nil
}
