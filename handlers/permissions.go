package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// GetPermissions implements GET /v1/conversations/{conversation}/permissions.
func (s *Server) GetPermissions(ctx context.Context, r api.GetPermissionsRequestObject) (api.GetPermissionsResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	role, may, err := s.service.PermissionsIn(ctx, actor(ctx), ref)
	if err != nil {
		return nil, err
	}
	return api.GetPermissions200JSONResponse{Role: roleOrNil(role), Permissions: permissions(may)}, nil
}

// GetSpacePermissions implements GET /v1/spaces/{space}/permissions.
func (s *Server) GetSpacePermissions(ctx context.Context, r api.GetSpacePermissionsRequestObject) (api.GetSpacePermissionsResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	role, may, err := s.service.SpacePermissions(ctx, actor(ctx), space)
	if err != nil {
		return nil, err
	}
	return api.GetSpacePermissions200JSONResponse{Role: roleOrNil(role), Permissions: permissions(may)}, nil
}

func permissions(set im.Permissions) []api.Permission {
	out := []api.Permission{}
	for p := range set.Each() {
		out = append(out, api.Permission(p.String()))
	}
	return out
}

// granted returns the permissions that a role allows or denies, not those that it inherits.
func granted(g im.Grants) api.GrantedPermissions {
	out := make(api.GrantedPermissions)
	for p := range g.Allow.Each() {
		out[api.Permission(p.String())] = api.GrantedAllow
	}
	for p := range g.Deny.Each() {
		out[api.Permission(p.String())] = api.GrantedDeny
	}
	return out
}

// grants reads a change of permissions: those to allow or deny, and those to inherit from now
// on.
func grants(g api.Grants) (set im.Grants, inherit im.Permissions) {
	for name, grant := range g {
		p, _ := im.ParsePermission(string(name)) // the body has been validated
		switch grant {
		case api.GrantAllow:
			set.Allow |= p
		case api.GrantDeny:
			set.Deny |= p
		default:
			inherit |= p
		}
	}
	return set, inherit
}
