package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// CreateChannel implements POST /v1/spaces/{space}/channels.
func (s *Server) CreateChannel(ctx context.Context, r api.CreateChannelRequestObject) (api.CreateChannelResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	d := im.ChannelDraft{ClientID: value(r.Body.ClientID, ""), Name: r.Body.Name, Private: value(r.Body.Visibility, api.Public) == api.Private}
	if d.Settings, err = settingsPatch(r.Body.Settings); err != nil {
		return nil, err
	}
	v, err := s.service.CreateChannel(ctx, actor(ctx), space, d)
	if err != nil {
		return nil, err
	}
	return answerCreated(v), nil
}

// ListChannels implements GET /v1/spaces/{space}/channels.
func (s *Server) ListChannels(ctx context.Context, r api.ListChannelsRequestObject) (api.ListChannelsResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	list := listOf("channels", r.Space)
	after, limit, err := s.idPage(list, r.Params.PageToken, r.Params.Limit, 50)
	if err != nil {
		return nil, err
	}
	page, err := s.service.Channels(ctx, actor(ctx), space, after, limit)
	if err != nil {
		return nil, err
	}
	return s.conversationPage(list, page), nil
}

// ListOverrides implements GET /v1/conversations/{conversation}/overrides.
func (s *Server) ListOverrides(ctx context.Context, r api.ListOverridesRequestObject) (api.ListOverridesResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	found, err := s.service.Overrides(ctx, actor(ctx), ref)
	if err != nil {
		return nil, err
	}
	out := api.ListOverrides200JSONResponse{Items: each(found, override)}
	return out, nil
}

// PutOverride implements PUT /v1/conversations/{conversation}/overrides/{role}.
func (s *Server) PutOverride(ctx context.Context, r api.PutOverrideRequestObject) (api.PutOverrideResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	role, err := roleID(r.Role)
	if err != nil {
		return nil, err
	}
	set, _ := grants(r.Body.Permissions) // PUT replaces the override, so permissions that the body leaves out become inherited
	o, err := s.service.PutOverride(ctx, actor(ctx), ref, im.Override{Role: role, Grants: set})
	if err != nil {
		return nil, err
	}
	return api.PutOverride200JSONResponse(override(o)), nil
}

// DeleteOverride implements DELETE /v1/conversations/{conversation}/overrides/{role}.
func (s *Server) DeleteOverride(ctx context.Context, r api.DeleteOverrideRequestObject) (api.DeleteOverrideResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	role, err := roleID(r.Role)
	if err == nil {
		err = s.service.DeleteOverride(ctx, actor(ctx), ref, role)
	}
	if err != nil {
		return nil, err
	}
	return api.DeleteOverride204Response{}, nil
}

func override(o im.Override) api.Override {
	return api.Override{RoleID: roleName(o.Role), Permissions: granted(o.Grants)}
}
