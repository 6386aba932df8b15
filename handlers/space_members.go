package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// ListSpaceMembers implements GET /v1/spaces/{space}/members.
func (s *Server) ListSpaceMembers(ctx context.Context, r api.ListSpaceMembersRequestObject) (api.ListSpaceMembersResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	list := listOf("space members", r.Space)
	page, limit, err := s.userPage(list, r.Params.PageToken, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	found, err := s.service.SpaceMembers(ctx, actor(ctx), space, page)
	if err != nil {
		return nil, err
	}
	found, next := cut(s, found, limit, func(m im.SpaceMemberView) pageToken { return userToken(list, m.User) })
	return api.ListSpaceMembers200JSONResponse{Items: each(found, spaceMember), NextPageToken: next}, nil
}

// GetSpaceMember implements GET /v1/spaces/{space}/members/{user}.
func (s *Server) GetSpaceMember(ctx context.Context, r api.GetSpaceMemberRequestObject) (api.GetSpaceMemberResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	m, err := s.service.SpaceMember(ctx, actor(ctx), space, im.UserID(r.User))
	if err != nil {
		return nil, err
	}
	return api.GetSpaceMember200JSONResponse(spaceMember(m)), nil
}

// AddSpaceMembers implements POST /v1/spaces/{space}/members.
func (s *Server) AddSpaceMembers(ctx context.Context, r api.AddSpaceMembersRequestObject) (api.AddSpaceMembersResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	added, err := s.service.AddSpaceMembers(ctx, actor(ctx), space, domainUsers(r.Body.Members))
	if err != nil {
		return nil, err
	}
	return api.AddSpaceMembers200JSONResponse{Items: each(added, spaceMember)}, nil
}

// UpdateSpaceMember implements PATCH /v1/spaces/{space}/members/{user}. A valid body has
// either a role or roles.
func (s *Server) UpdateSpaceMember(ctx context.Context, r api.UpdateSpaceMemberRequestObject) (api.UpdateSpaceMemberResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	var m im.SpaceMemberView
	if r.Body.Role != nil {
		m, err = s.service.HandOverSpace(ctx, actor(ctx), space, im.UserID(r.User))
	} else {
		var roles []im.ID
		if roles, err = roleIDs(value(r.Body.Roles, nil)); err != nil {
			return nil, err
		}
		m, err = s.service.SetSpaceRoles(ctx, actor(ctx), space, im.UserID(r.User), roles)
	}
	if err != nil {
		return nil, err
	}
	return api.UpdateSpaceMember200JSONResponse(spaceMember(m)), nil
}

// RemoveSpaceMember implements DELETE /v1/spaces/{space}/members/{user}.
func (s *Server) RemoveSpaceMember(ctx context.Context, r api.RemoveSpaceMemberRequestObject) (api.RemoveSpaceMemberResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err == nil {
		err = s.service.RemoveSpaceMember(ctx, actor(ctx), space, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.RemoveSpaceMember204Response{}, nil
}

func spaceMember(m im.SpaceMemberView) api.SpaceMember {
	out := api.SpaceMember{
		User: api.UserID(m.User), Role: api.SpaceMemberRole(m.Role.String()), Roles: make([]string, len(m.Roles)),
		JoinedAt: api.Time(m.JoinedAt), MutedUntil: timeOrNil(m.MutedUntil),
	}
	for i, id := range m.Roles {
		out.Roles[i] = id.String()
	}
	return out
}
