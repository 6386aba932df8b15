package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// CreateSpace implements POST /v1/spaces.
func (s *Server) CreateSpace(ctx context.Context, r api.CreateSpaceRequestObject) (api.CreateSpaceResponseObject, error) {
	patch, err := spacePatch(r.Body.Settings)
	if err != nil {
		return nil, err
	}
	v, err := s.service.CreateSpace(ctx, actor(ctx), im.SpaceDraft{ClientID: value(r.Body.ClientID, ""), Name: r.Body.Name, Settings: patch})
	if err != nil {
		return nil, err
	}
	if v.Again {
		return api.CreateSpace200JSONResponse(space(v.SpaceView)), nil
	}
	return api.CreateSpace201JSONResponse(space(v.SpaceView)), nil
}

// ListSpaces implements GET /v1/spaces.
func (s *Server) ListSpaces(ctx context.Context, r api.ListSpacesRequestObject) (api.ListSpacesResponseObject, error) {
	list := listOf("spaces")
	after, limit, err := s.idPage(list, r.Params.PageToken, r.Params.Limit, 50)
	if err != nil {
		return nil, err
	}
	found, err := s.service.Spaces(ctx, actor(ctx), after, limit+1)
	if err != nil {
		return nil, err
	}
	found, next := cut(s, found, limit, func(v im.SpaceView) pageToken { return idToken(list, v.ID) })
	return api.ListSpaces200JSONResponse{Items: each(found, space), NextPageToken: next}, nil
}

// GetSpace implements GET /v1/spaces/{space}.
func (s *Server) GetSpace(ctx context.Context, r api.GetSpaceRequestObject) (api.GetSpaceResponseObject, error) {
	id, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	v, err := s.service.SpaceOf(ctx, actor(ctx), id)
	if err != nil {
		return nil, err
	}
	return api.GetSpace200JSONResponse(space(v)), nil
}

// UpdateSpace implements PATCH /v1/spaces/{space}.
func (s *Server) UpdateSpace(ctx context.Context, r api.UpdateSpaceRequestObject) (api.UpdateSpaceResponseObject, error) {
	id, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	patch, err := spacePatch(r.Body.Settings)
	if err != nil {
		return nil, err
	}
	patch.Name = r.Body.Name
	v, err := s.service.UpdateSpace(ctx, actor(ctx), id, patch)
	if err != nil {
		return nil, err
	}
	return api.UpdateSpace200JSONResponse(space(v)), nil
}

// DeleteSpace implements DELETE /v1/spaces/{space}.
func (s *Server) DeleteSpace(ctx context.Context, r api.DeleteSpaceRequestObject) (api.DeleteSpaceResponseObject, error) {
	id, err := im.ParseSpaceID(r.Space)
	if err == nil {
		err = s.service.DeleteSpace(ctx, actor(ctx), id)
	}
	if err != nil {
		return nil, err
	}
	return api.DeleteSpace204Response{}, nil
}

// JoinSpace implements POST /v1/spaces/{space}/join.
func (s *Server) JoinSpace(ctx context.Context, r api.JoinSpaceRequestObject) (api.JoinSpaceResponseObject, error) {
	id, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	v, err := s.service.JoinSpace(ctx, actor(ctx), id)
	if err != nil {
		return nil, err
	}
	return api.JoinSpace200JSONResponse(space(v)), nil
}

// LeaveSpace implements POST /v1/spaces/{space}/leave.
func (s *Server) LeaveSpace(ctx context.Context, r api.LeaveSpaceRequestObject) (api.LeaveSpaceResponseObject, error) {
	id, err := im.ParseSpaceID(r.Space)
	if err == nil {
		err = s.service.LeaveSpace(ctx, actor(ctx), id)
	}
	if err != nil {
		return nil, err
	}
	return api.LeaveSpace204Response{}, nil
}

// space returns a space as one of its members sees it.
func space(v im.SpaceView) api.Space {
	return api.Space{
		ID: v.ID.String(), Name: v.Name, Owner: api.UserID(v.Owner), MemberCount: v.MemberCount,
		Role: api.SpaceMemberRole(v.Me.Role().String()), MutedUntil: timeOrNil(v.Me.MutedUntil()),
		Settings: spaceSettings(v.Conversation), CreatedAt: api.Time(v.CreatedAt), UpdatedAt: api.Time(v.UpdatedAt),
	}
}
