package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// InviteToSpace implements POST /v1/spaces/{space}/invitations.
func (s *Server) InviteToSpace(ctx context.Context, r api.InviteToSpaceRequestObject) (api.InviteToSpaceResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	invited, err := s.service.InviteToSpace(ctx, actor(ctx), space, domainUsers(r.Body.Users))
	if err != nil {
		return nil, err
	}
	return api.InviteToSpace200JSONResponse{Items: each(invited, invitation)}, nil
}

// InviteToConversation implements POST /v1/conversations/{conversation}/invitations.
func (s *Server) InviteToConversation(ctx context.Context, r api.InviteToConversationRequestObject) (api.InviteToConversationResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	invited, err := s.service.Invite(ctx, actor(ctx), ref, domainUsers(r.Body.Users))
	if err != nil {
		return nil, err
	}
	return api.InviteToConversation200JSONResponse{Items: each(invited, invitation)}, nil
}

// ListInvitations implements GET /v1/spaces/{space}/invitations.
func (s *Server) ListInvitations(ctx context.Context, r api.ListInvitationsRequestObject) (api.ListInvitationsResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	out, err := s.invitationPage(listOf("invitations", r.Space), r.Params.PageToken, r.Params.Limit,
		func(page im.Page) ([]im.InvitationView, error) {
			return s.service.SpaceInvitations(ctx, actor(ctx), space, page)
		})
	return api.ListInvitations200JSONResponse(out), err
}

// ListConversationInvitations implements GET /v1/conversations/{conversation}/invitations.
func (s *Server) ListConversationInvitations(ctx context.Context, r api.ListConversationInvitationsRequestObject) (api.ListConversationInvitationsResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	out, err := s.invitationPage(listOf("conversation invitations", r.Conversation), r.Params.PageToken, r.Params.Limit,
		func(page im.Page) ([]im.InvitationView, error) {
			return s.service.Invitations(ctx, actor(ctx), ref, page)
		})
	return api.ListConversationInvitations200JSONResponse(out), err
}

// invitationPage reads a page of the invitations to one conversation or space.
func (s *Server) invitationPage(list uint32, token *string, limit *int32, read func(im.Page) ([]im.InvitationView, error)) (api.InvitationPage, error) {
	page, n, err := s.userPage(list, token, limit)
	if err != nil {
		return api.InvitationPage{}, err
	}
	found, err := read(page)
	if err != nil {
		return api.InvitationPage{}, err
	}
	found, next := cut(s, found, n, func(v im.InvitationView) pageToken { return userToken(list, v.User) })
	return api.InvitationPage{Items: each(found, invitation), NextPageToken: next}, nil
}

// ListMyInvitations implements GET /v1/invitations.
func (s *Server) ListMyInvitations(ctx context.Context, r api.ListMyInvitationsRequestObject) (api.ListMyInvitationsResponseObject, error) {
	list := listOf("my invitations")
	after, limit, err := s.idPage(list, r.Params.PageToken, r.Params.Limit, 100)
	if err != nil {
		return nil, err
	}
	found, err := s.service.MyInvitations(ctx, actor(ctx), after, limit+1)
	if err != nil {
		return nil, err
	}
	found, next := cut(s, found, limit, func(v im.InvitationView) pageToken { return idToken(list, v.Conversation) })
	return api.ListMyInvitations200JSONResponse{Items: each(found, invitation), NextPageToken: next}, nil
}

// DeleteInvitation implements DELETE /v1/spaces/{space}/invitations/{user}.
func (s *Server) DeleteInvitation(ctx context.Context, r api.DeleteInvitationRequestObject) (api.DeleteInvitationResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err == nil {
		err = s.service.DeleteSpaceInvitation(ctx, actor(ctx), space, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.DeleteInvitation204Response{}, nil
}

// DeleteConversationInvitation implements DELETE /v1/conversations/{conversation}/invitations/{user}.
func (s *Server) DeleteConversationInvitation(ctx context.Context, r api.DeleteConversationInvitationRequestObject) (api.DeleteConversationInvitationResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err == nil {
		err = s.service.DeleteInvitation(ctx, actor(ctx), ref, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.DeleteConversationInvitation204Response{}, nil
}

func invitation(v im.InvitationView) api.Invitation {
	out := api.Invitation{
		Kind: api.InvitationKind(v.Kind.String()), Name: v.Name, User: api.UserID(v.User), By: api.UserID(v.By),
		CreatedAt: api.Time(v.At),
	}
	if id := v.Conversation.String(); v.Kind == im.Space {
		out.SpaceID, out.SpaceName = &id, &v.Name
	} else {
		out.ConversationID = &id
	}
	return out
}
