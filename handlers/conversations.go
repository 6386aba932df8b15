package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// CreateConversation implements POST /v1/conversations.
func (s *Server) CreateConversation(ctx context.Context, r api.CreateConversationRequestObject) (api.CreateConversationResponseObject, error) {
	d := im.GroupDraft{Name: r.Body.Name}
	if r.Body.Members != nil {
		d.Members = domainUsers(*r.Body.Members)
	}
	patch, err := settingsPatch(r.Body.Settings)
	if err != nil {
		return nil, err
	}
	d.History = value(patch.History, 0)
	d.RevokeWindow = value(patch.RevokeWindow, nil)
	d.ExpireAfter = value(patch.ExpireAfter, 0)
	v, err := s.service.CreateGroup(ctx, actor(ctx), d)
	if err != nil {
		return nil, err
	}
	return api.CreateConversation201JSONResponse(conversation(v)), nil
}

// GetConversation implements GET /v1/conversations/{conversation}.
func (s *Server) GetConversation(ctx context.Context, r api.GetConversationRequestObject) (api.GetConversationResponseObject, error) {
	ref, err := conversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	v, err := s.service.Conversation(ctx, actor(ctx), ref)
	if err != nil {
		return nil, err
	}
	return api.GetConversation200JSONResponse(conversation(v)), nil
}

// UpdateConversation implements PATCH /v1/conversations/{conversation}.
func (s *Server) UpdateConversation(ctx context.Context, r api.UpdateConversationRequestObject) (api.UpdateConversationResponseObject, error) {
	ref, err := conversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	patch, err := settingsPatch(r.Body.Settings)
	if err != nil {
		return nil, err
	}
	patch.Name = r.Body.Name
	v, err := s.service.UpdateConversation(ctx, actor(ctx), ref, patch)
	if err != nil {
		return nil, err
	}
	return api.UpdateConversation200JSONResponse(conversation(v)), nil
}

// ListConversations implements GET /v1/conversations.
func (s *Server) ListConversations(ctx context.Context, r api.ListConversationsRequestObject) (api.ListConversationsResponseObject, error) {
	list := listOf("conversations")
	token, err := readPageToken(list, r.Params.PageToken)
	if err != nil {
		return nil, err
	}
	var before *im.Conversation
	if token != nil {
		before = &im.Conversation{ID: im.ID(token.Seq), UpdatedAt: time.UnixMilli(token.At).UTC()}
	}
	limit := int(value(r.Params.Limit, 50))
	views, err := s.service.Conversations(ctx, actor(ctx), before, limit+1)
	if err != nil {
		return nil, err
	}
	views, more := cut(views, limit)
	out := api.ListConversations200JSONResponse{Items: make([]api.Conversation, len(views))}
	for i, v := range views {
		out.Items[i] = conversation(v)
	}
	if more {
		last := views[limit-1]
		out.NextPageToken = optional(pageToken{List: list, At: last.UpdatedAt.UnixMilli(), Seq: int64(last.ID)}.String())
	}
	return out, nil
}

// settingsPatch reads settings in which null, which ends one, is not the same
// as nothing, which leaves it.
func settingsPatch(p *api.SettingsPatch) (im.ConversationPatch, error) {
	var out im.ConversationPatch
	if p == nil {
		return out, nil
	}
	if p.History != nil {
		h, _ := im.ParseHistory(string(*p.History))
		out.History = &h
	}
	read := func(raw json.RawMessage) (d *time.Duration, given bool, err error) {
		if raw == nil {
			return nil, false, nil
		}
		var n *int64
		if err := json.Unmarshal(raw, &n); err != nil {
			return nil, false, im.RefuseField(im.Invalid, "invalid_request", "settings", "has a number that is too large")
		}
		if n != nil {
			of := duration(*n)
			d = &of
		}
		return d, true, nil
	}
	window, given, err := read(p.RevokeWindowSeconds)
	if err != nil {
		return out, err
	}
	if given {
		out.RevokeWindow = &window
	}
	expire, given, err := read(p.ExpireAfterSeconds)
	if err != nil {
		return out, err
	}
	if given {
		none := time.Duration(0)
		out.ExpireAfter = cmp.Or(expire, &none)
	}
	return out, nil
}

// conversationRef reads what names a conversation in a path. What can name
// none is answered as an unknown one is.
func conversationRef(s string) (im.ConversationRef, error) {
	ref, ok := im.ParseConversationRef(s)
	if !ok {
		return ref, im.Refuse(im.NotFound, "conversation_not_found", "no such conversation")
	}
	return ref, nil
}

// value returns what a pointer points to, or what stands in for nil.
func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
