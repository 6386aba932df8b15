package handlers

import (
	"context"
	"fmt"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// ListRoles implements GET /v1/spaces/{space}/roles.
func (s *Server) ListRoles(ctx context.Context, r api.ListRolesRequestObject) (api.ListRolesResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	roles, err := s.service.SpaceRoles(ctx, actor(ctx), space)
	if err != nil {
		return nil, err
	}
	out := api.ListRoles200JSONResponse{Items: make([]api.SpaceRole, len(roles))}
	for i, role := range roles {
		out.Items[i] = spaceRole(role, i+1)
	}
	return out, nil
}

// CreateRole implements POST /v1/spaces/{space}/roles.
func (s *Server) CreateRole(ctx context.Context, r api.CreateRoleRequestObject) (api.CreateRoleResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	b := r.Body
	role, position, err := s.service.CreateRole(ctx, actor(ctx), space, roleDraft(&b.Name, b.Permissions, b.Position))
	if err != nil {
		return nil, err
	}
	return api.CreateRole201JSONResponse(spaceRole(role, position)), nil
}

// UpdateRole implements PATCH /v1/spaces/{space}/roles/{role}.
func (s *Server) UpdateRole(ctx context.Context, r api.UpdateRoleRequestObject) (api.UpdateRoleResponseObject, error) {
	space, id, err := roleOfSpace(r.Space, r.Role)
	if err != nil {
		return nil, err
	}
	b := r.Body
	role, position, err := s.service.UpdateRole(ctx, actor(ctx), space, id, roleDraft(b.Name, b.Permissions, b.Position))
	if err != nil {
		return nil, err
	}
	return api.UpdateRole200JSONResponse(spaceRole(role, position)), nil
}

// DeleteRole implements DELETE /v1/spaces/{space}/roles/{role}.
func (s *Server) DeleteRole(ctx context.Context, r api.DeleteRoleRequestObject) (api.DeleteRoleResponseObject, error) {
	space, id, err := roleOfSpace(r.Space, r.Role)
	if err == nil {
		err = s.service.DeleteRole(ctx, actor(ctx), space, id)
	}
	if err != nil {
		return nil, err
	}
	return api.DeleteRole204Response{}, nil
}

// GrantRole implements PUT /v1/spaces/{space}/roles/{role}/members/{user}.
func (s *Server) GrantRole(ctx context.Context, r api.GrantRoleRequestObject) (api.GrantRoleResponseObject, error) {
	space, id, err := roleOfSpace(r.Space, r.Role)
	if err == nil {
		err = s.service.GrantRole(ctx, actor(ctx), space, id, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.GrantRole204Response{}, nil
}

// RevokeRole implements DELETE /v1/spaces/{space}/roles/{role}/members/{user}.
func (s *Server) RevokeRole(ctx context.Context, r api.RevokeRoleRequestObject) (api.RevokeRoleResponseObject, error) {
	space, id, err := roleOfSpace(r.Space, r.Role)
	if err == nil {
		err = s.service.RevokeRole(ctx, actor(ctx), space, id, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.RevokeRole204Response{}, nil
}

func roleDraft(name *string, permissions api.Grants, position *int32) im.RoleDraft {
	set, inherit := grants(permissions)
	return im.RoleDraft{
		Name: name, Allow: set.Allow, Deny: set.Deny, Inherit: inherit, Position: int(value(position, 0)),
	}
}

func spaceRole(r im.NamedRole, position int) api.SpaceRole {
	return api.SpaceRole{ID: roleName(r.ID), Name: r.Name, Position: position, Permissions: granted(r.Grants)}
}

// everyone is the id, for clients, of the role that every member of a space has.
const everyone = "everyone"

// roleName returns the id of a role for clients.
func roleName(id im.ID) string {
	if id == im.Everyone {
		return everyone
	}
	return id.String()
}

// roleID reads the id of a role in a path or a body.
func roleID(s string) (im.ID, error) {
	if s == everyone {
		return im.Everyone, nil
	}
	return im.ParseRoleID(s)
}

// roleIDs reads the ids of roles in a body.
func roleIDs(list []string) ([]im.ID, error) {
	out := make([]im.ID, len(list))
	for i, s := range list {
		id, err := roleID(s)
		if err != nil {
			if refusal, ok := im.AsError(err); ok {
				refusal.Field = fmt.Sprintf("roles/%d", i)
			}
			return nil, err
		}
		out[i] = id
	}
	return out, nil
}

// roleOfSpace reads the ids of a space and of one of its roles in a path.
func roleOfSpace(space, role string) (im.ID, im.ID, error) {
	s, err := im.ParseSpaceID(space)
	if err != nil {
		return 0, 0, err
	}
	r, err := roleID(role)
	return s, r, err
}
