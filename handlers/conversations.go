package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
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
	d.Retention = value(patch.Retention, nil)
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
	patch.Name, patch.Pinned, patch.Muted = r.Body.Name, r.Body.Pinned, r.Body.Muted
	v, err := s.service.UpdateConversation(ctx, actor(ctx), ref, patch)
	if err != nil {
		return nil, err
	}
	return api.UpdateConversation200JSONResponse(conversation(v)), nil
}

// ListConversations implements GET /v1/conversations.
func (s *Server) ListConversations(ctx context.Context, r api.ListConversationsRequestObject) (api.ListConversationsResponseObject, error) {
	p := r.Params
	f := im.ConversationFilter{
		Pinned: p.Pinned, ChangedSince: value(p.UpdatedSince, time.Time{}), Limit: int(value(p.Limit, 50)),
	}
	if p.Kind != nil {
		f.Kind, _ = im.ParseKind(string(*p.Kind))
	}
	list := listOf("conversations", fmt.Sprint(f.Kind, p.Pinned != nil, value(p.Pinned, false), f.ChangedSince.UnixNano()))
	token, err := s.readPageToken(list, p.PageToken)
	if err != nil {
		return nil, err
	}
	if token != nil {
		f.Past = &im.ConversationKey{ID: im.ID(token.Seq), ActiveAt: time.UnixMilli(token.At).UTC()}
		f.AsOf = time.UnixMilli(token.AsOf).UTC()
	}
	page, err := s.service.Conversations(ctx, actor(ctx), f)
	if err != nil {
		return nil, err
	}
	out := api.ListConversations200JSONResponse{Items: make([]api.Conversation, len(page.Items))}
	for i, v := range page.Items {
		out.Items[i] = conversation(v)
	}
	if n := page.Next; n != nil {
		out.NextPageToken = optional(s.seal(pageToken{
			List: list, At: n.ActiveAt.UnixMilli(), Seq: int64(n.ID), AsOf: page.AsOf.UnixMilli(),
		}))
	}
	return out, nil
}

// DeleteConversation implements DELETE /v1/conversations/{conversation}.
func (s *Server) DeleteConversation(ctx context.Context, r api.DeleteConversationRequestObject) (api.DeleteConversationResponseObject, error) {
	ref, err := conversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	if value(r.Params.Scope, "") == api.DeleteConversationParamsScopeEveryone {
		err = s.service.DeleteConversation(ctx, actor(ctx), ref)
	} else {
		err = s.service.HideConversation(ctx, actor(ctx), ref, value(r.Params.KeepMessages, false))
	}
	if err != nil {
		return nil, err
	}
	return api.DeleteConversation204Response{}, nil
}

// HideMessages implements POST /v1/conversations/{conversation}/hide.
func (s *Server) HideMessages(ctx context.Context, r api.HideMessagesRequestObject) (api.HideMessagesResponseObject, error) {
	ref, err := conversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	err = s.service.Hide(ctx, actor(ctx), ref, im.HideDraft{
		MessageIDs: value(r.Body.MessageIds, nil), Before: value(r.Body.Before, time.Time{}), All: r.Body.All != nil,
	})
	if err != nil {
		return nil, err
	}
	return api.HideMessages204Response{}, nil
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
	read := func(raw json.RawMessage, unit time.Duration) (d *time.Duration, given bool, err error) {
		if raw == nil {
			return nil, false, nil
		}
		var n *int64
		if err := json.Unmarshal(raw, &n); err != nil {
			return nil, false, im.RefuseField(im.Invalid, "invalid_request", "settings", "has a number that is too large")
		}
		if n != nil {
			of := time.Duration(*n) * unit
			d = &of
		}
		return d, true, nil
	}
	window, given, err := read(p.RevokeWindowSeconds, time.Second)
	if err != nil {
		return out, err
	}
	if given {
		out.RevokeWindow = &window
	}
	expire, given, err := read(p.ExpireAfterSeconds, time.Second)
	if err != nil {
		return out, err
	}
	if given {
		none := time.Duration(0)
		out.ExpireAfter = cmp.Or(expire, &none)
	}
	keep, given, err := read(p.RetentionDays, day)
	if err != nil {
		return out, err
	}
	if given {
		out.Retention = &keep
	}
	return out, nil
}

const day = 24 * time.Hour

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
