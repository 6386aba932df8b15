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
	first := r.Params.PageToken == nil
	var lost im.Lost
	if first {
		if lost, err = s.service.Lost(ctx, actor(ctx), q.Since); err != nil {
			return nil, err
		}
	}
	appendTombstone := func(buf []byte, e im.ErasedMessage) []byte { return appendMessage(buf, e.Message) }
	return answerPage(page.Items, appendTombstone, s.erasureToken(list, page), func(o *jsonObject) {
		o.time("as_of", page.AsOf)
		if first {
			addList(o, "hidden", lost.Hidden, appendHiddenPart)
			addList(o, "conversations", lost.Gone, appendGoneConversation)
			o.boolean("more", lost.More)
		}
	}), nil
}

func appendHiddenPart(buf []byte, h im.HiddenPart) []byte {
	o := openObject(buf)
	o.id("conversation_id", h.Conversation)
	o.time("at", h.At)
	o.timeIfSet("before", h.Before)
	if h.Range.To > 0 {
		o.integer("from_seq", h.Range.From)
		o.integer("to_seq", h.Range.To)
	}
	return o.close()
}

func appendGoneConversation(buf []byte, g im.GoneConversation) []byte {
	o := openObject(buf)
	o.id("conversation_id", g.Conversation)
	o.time("at", g.At)
	state := api.GoneHidden
	if g.Deleted {
		state = api.GoneDeleted
	}
	o.text("state", string(state))
	return o.close()
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
