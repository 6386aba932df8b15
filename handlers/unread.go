package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// GetUnread implements GET /v1/unread.
func (s *Server) GetUnread(ctx context.Context, r api.GetUnreadRequestObject) (api.GetUnreadResponseObject, error) {
	ref, err := optionalRef(r.Params.ConversationID)
	if err != nil {
		return nil, err
	}
	list := listOf("unread", value(r.Params.ConversationID, ""))
	token, err := s.readPageToken(list, r.Params.PageToken)
	if err != nil {
		return nil, err
	}
	var got im.Unread
	if token == nil {
		got, err = s.service.Unread(ctx, actor(ctx), ref)
	} else {
		got, err = s.service.UnreadPast(ctx, actor(ctx), im.ID(token.Seq))
	}
	if err != nil {
		return nil, err
	}
	out := unread(got)
	if got.Next != 0 {
		out.NextPageToken = optional(s.seal(pageToken{List: list, Seq: int64(got.Next)}))
	}
	return api.GetUnread200JSONResponse(out), nil
}

// ClearUnread implements POST /v1/unread/clear.
func (s *Server) ClearUnread(ctx context.Context, _ api.ClearUnreadRequestObject) (api.ClearUnreadResponseObject, error) {
	if err := s.service.ClearAllUnread(ctx, actor(ctx)); err != nil {
		return nil, err
	}
	return api.ClearUnread200JSONResponse(unread(im.Unread{})), nil // messages that have arrived since are announced by events
}

// ClearConversationUnread implements POST /v1/conversations/{conversation}/unread/clear.
func (s *Server) ClearConversationUnread(ctx context.Context, r api.ClearConversationUnreadRequestObject) (api.ClearConversationUnreadResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	got, err := s.service.ClearUnread(ctx, actor(ctx), ref)
	if err != nil {
		return nil, err
	}
	return api.ClearConversationUnread200JSONResponse(unreadOf(got)), nil
}

func unread(u im.Unread) api.Unread {
	out := api.Unread{Total: u.Total, TotalMore: u.More, Mentions: u.Mentions, Items: each(u.Items, unreadOf)}
	return out
}

func unreadOf(u im.UnreadOf) api.UnreadOf {
	return api.UnreadOf{
		ConversationID: u.Conversation.String(), Unread: u.Messages, UnreadMore: u.More, UnreadMentions: u.Mentions,
		Muted: u.Muted,
	}
}

// optionalRef is [im.ParseConversationRef] for an optional parameter.
func optionalRef(s *string) (*im.ConversationRef, error) {
	if s == nil {
		return nil, nil
	}
	ref, err := im.ParseConversationRef(*s)
	return &ref, err
}
