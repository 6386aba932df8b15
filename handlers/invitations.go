package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// InviteToSpace implements POST /v1/spaces/{space}/invitations.
func (s *Server) InviteToSpace(ctx context.Context, r api.InviteToSpaceRequestObject) (api.InviteToSpaceResponseObject, error) {
	space, err := spaceID(r.Space)
	if err != nil {
		return nil, err
	}
	invited, err := s.service.Invite(ctx, actor(ctx), space, domainUsers(r.Body.Users))
	if err != nil {
		return nil, err
	}
	return api.InviteToSpace200JSONResponse{Items: invitations(invited)}, nil
}

// ListInvitations implements GET /v1/spaces/{space}/invitations.
func (s *Server) ListInvitations(ctx context.Context, r api.ListInvitationsRequestObject) (api.ListInvitationsResponseObject, error) {
	space, err := spaceID(r.Space)
	if err != nil {
		return nil, err
	}
	list := listOf("invitations", r.Space)
	page, limit, err := s.userPage(list, r.Params.PageToken, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	found, err := s.service.Invitations(ctx, actor(ctx), space, page)
	if err != nil {
		return nil, err
	}
	found, more := cut(found, limit)
	out := api.ListInvitations200JSONResponse{Items: invitations(found)}
	if more {
		out.NextPageToken = optional(s.seal(pageToken{List: list, Key: string(found[limit-1].User)}))
	}
	return out, nil
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
	found, more := cut(found, limit)
	out := api.ListMyInvitations200JSONResponse{Items: invitations(found)}
	if more {
		out.NextPageToken = s.idToken(list, found[limit-1].Space)
	}
	return out, nil
}

// DeleteInvitation implements DELETE /v1/spaces/{space}/invitations/{user}.
func (s *Server) DeleteInvitation(ctx context.Context, r api.DeleteInvitationRequestObject) (api.DeleteInvitationResponseObject, error) {
	space, err := spaceID(r.Space)
	if err == nil {
		err = s.service.DeleteInvitation(ctx, actor(ctx), space, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.DeleteInvitation204Response{}, nil
}

func invitations(list []im.InvitationView) []api.Invitation {
	out := make([]api.Invitation, len(list))
	for i, v := range list {
		out[i] = api.Invitation{
			SpaceID: v.Space.String(), SpaceName: v.SpaceName, User: api.UserID(v.User), By: api.UserID(v.By),
			CreatedAt: api.Time(v.At),
		}
	}
	return out
}
