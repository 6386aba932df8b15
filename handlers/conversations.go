package handlers

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// CreateConversation implements POST /v1/conversations.
func (s *Server) CreateConversation(ctx context.Context, r api.CreateConversationRequestObject) (api.CreateConversationResponseObject, error) {
	d := im.GroupDraft{ClientID: value(r.Body.ClientID, ""), Name: r.Body.Name}
	d.Kind, _ = im.ParseKind(string(r.Body.Kind))
	if r.Body.Members != nil {
		d.Members = domainUsers(*r.Body.Members)
	}
	var err error
	if d.Settings, err = settingsPatch(r.Body.Settings); err != nil {
		return nil, err
	}
	v, err := s.service.CreateGroup(ctx, actor(ctx), d)
	if err != nil {
		return nil, err
	}
	return answerCreated(v), nil
}

// answerCreated answers with a conversation that was created, now or by an earlier request.
func answerCreated(v im.Created) answer {
	if v.Again {
		return answerConversation(http.StatusOK, v.ConversationView)
	}
	return answerConversation(http.StatusCreated, v.ConversationView)
}

// GetConversation implements GET /v1/conversations/{conversation}.
func (s *Server) GetConversation(ctx context.Context, r api.GetConversationRequestObject) (api.GetConversationResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	v, err := s.service.Conversation(ctx, actor(ctx), ref)
	if err != nil {
		return nil, err
	}
	return answerConversation(http.StatusOK, v), nil
}

// UpdateConversation implements PATCH /v1/conversations/{conversation}.
func (s *Server) UpdateConversation(ctx context.Context, r api.UpdateConversationRequestObject) (api.UpdateConversationResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	patch, err := settingsPatch(r.Body.Settings)
	if err != nil {
		return nil, err
	}
	patch.Name, patch.Pinned, patch.Muted = r.Body.Name, r.Body.Pinned, r.Body.Muted
	if v := r.Body.Visibility; v != nil {
		patch.Private = new(*v == api.Private)
	}
	v, err := s.service.UpdateConversation(ctx, actor(ctx), ref, patch)
	if err != nil {
		return nil, err
	}
	return answerConversation(http.StatusOK, v), nil
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
		f.AsOf, f.Through = time.UnixMilli(token.AsOf).UTC(), im.ID(token.Last)
	}
	page, err := s.service.Conversations(ctx, actor(ctx), f)
	if err != nil {
		return nil, err
	}
	var next *string
	if n := page.Next; n != nil {
		next = optional(s.seal(pageToken{
			List: list, At: n.ActiveAt.UnixMilli(), Seq: int64(n.ID), AsOf: page.AsOf.UnixMilli(), Last: int64(page.Through),
		}))
	}
	return answerPage(page.Items, appendConversation, next, nil), nil
}

// DeleteConversation implements DELETE /v1/conversations/{conversation}.
func (s *Server) DeleteConversation(ctx context.Context, r api.DeleteConversationRequestObject) (api.DeleteConversationResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
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
	ref, err := im.ParseConversationRef(r.Conversation)
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
