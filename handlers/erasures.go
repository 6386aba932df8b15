package handlers

import (
	"context"
	"fmt"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// ListErased implements GET /v1/messages/erased.
func (s *Server) ListErased(ctx context.Context, r api.ListErasedRequestObject) (api.ListErasedResponseObject, error) {
	list, q, err := s.erasureQuery("erased", r.Params.Since, r.Params.PageToken, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	page, err := s.service.Erased(ctx, actor(ctx), q)
	if err != nil {
		return nil, err
	}
	out := api.ListErased200JSONResponse{
		Items: make([]api.Message, len(page.Items)), AsOf: api.Time(page.AsOf), NextPageToken: s.erasureToken(list, page),
	}
	for i, e := range page.Items {
		out.Items[i] = message(e.Message)
	}
	if r.Params.PageToken == nil {
		lost, err := s.service.Lost(ctx, actor(ctx), q.Since)
		if err != nil {
			return nil, err
		}
		hidden, gone := hiddenParts(lost.Hidden), goneConversations(lost.Gone)
		out.Hidden, out.Conversations, out.More = &hidden, &gone, &lost.More
	}
	return out, nil
}

func hiddenParts(list []im.HiddenPart) []api.HiddenPart {
	out := make([]api.HiddenPart, len(list))
	for i, h := range list {
		out[i] = api.HiddenPart{ConversationID: h.Conversation.String(), At: api.Time(h.At), Before: timeOrNil(h.Before)}
		if h.Range.To > 0 {
			from, to := h.Range.From, h.Range.To
			out[i].FromSeq, out[i].ToSeq = &from, &to
		}
	}
	return out
}

func goneConversations(list []im.GoneConversation) []api.GoneConversation {
	out := make([]api.GoneConversation, len(list))
	for i, g := range list {
		out[i] = api.GoneConversation{ConversationID: g.Conversation.String(), At: api.Time(g.At), State: api.GoneHidden}
		if g.Deleted {
			out[i].State = api.GoneDeleted
		}
	}
	return out
}

// ListErasures implements GET /v1/admin/erasures.
func (s *Server) ListErasures(ctx context.Context, r api.ListErasuresRequestObject) (api.ListErasuresResponseObject, error) {
	list, q, err := s.erasureQuery("erasures", r.Params.Since, r.Params.PageToken, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	page, err := s.service.Erasures(ctx, actor(ctx), q)
	if err != nil {
		return nil, err
	}
	out := api.ListErasures200JSONResponse{Items: make([]api.Erasure, len(page.Items)), NextPageToken: s.erasureToken(list, page)}
	for i, e := range page.Items {
		out.Items[i] = api.Erasure{
			MessageID: e.ID.String(), ConversationID: e.Conversation.String(), Seq: e.Seq, Sender: api.UserID(e.Sender),
			How: api.ErasureHow(e.State.String()), At: api.Time(e.Erased.At), By: optional(string(e.Erased.By)),
			WipedAt: api.Time(e.Stamp), LateMs: e.Stamp.Sub(e.Erased.At).Milliseconds(),
			ShreddedAt: timeOrNil(e.Shredded),
		}
	}
	return out, nil
}

func (s *Server) erasureQuery(operation string, since *time.Time, token *string, limit *int32) (uint32, im.ErasureQuery, error) {
	q := im.ErasureQuery{Since: value(since, time.Time{}), Limit: int(value(limit, 50))}
	list := listOf(operation, fmt.Sprint(q.Since))
	t, err := s.readPageToken(list, token)
	if err == nil && t != nil {
		q.Past = &im.ErasureKey{Stamp: time.UnixMilli(t.At).UTC(), ID: im.ID(t.Last), In: im.ID(t.In), Seq: t.Seq}
		q.AsOf = time.UnixMilli(t.AsOf).UTC()
	}
	return list, q, err
}

func (s *Server) erasureToken(list uint32, page im.ErasurePage) *string {
	if page.Next == nil {
		return nil
	}
	n := page.Next
	return optional(s.seal(pageToken{
		List: list, At: n.Stamp.UnixMilli(), Last: int64(n.ID), In: int64(n.In), Seq: n.Seq, AsOf: page.AsOf.UnixMilli(),
	}))
}
