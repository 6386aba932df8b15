package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// draft is SendMessage flattened: the document has held it against the shape
// of its type already.
type draft struct {
	ClientID string          `json:"client_id"`
	Type     string          `json:"type"`
	All      bool            `json:"mention_all"`
	Body     json.RawMessage `json:"body"`
	Ext      json.RawMessage `json:"ext"`
	Mentions []im.UserID     `json:"mentions"`
	ReplyTo  string          `json:"reply_to"`
	Receipt  bool            `json:"receipt"`
	Push     json.RawMessage `json:"push"`
	Burn     *api.SendBurn   `json:"burn"`
	Expire   int64           `json:"expire_after_seconds"`
}

// SendMessage implements POST /v1/conversations/{conversation}/messages.
func (s *Server) SendMessage(ctx context.Context, r api.SendMessageRequestObject) (api.SendMessageResponseObject, error) {
	ref, err := conversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	raw, err := r.Body.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("request body: %w", err)
	}
	var d draft
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("request body: %w", err)
	}
	kind, _ := im.ParseMessageType(d.Type)
	message := im.Draft{
		ClientID: d.ClientID, Type: kind, Body: d.Body, Ext: d.Ext, Mentions: d.Mentions, MentionAll: d.All,
		ReplyTo: d.ReplyTo, Receipt: d.Receipt, Push: d.Push, ExpireAfter: duration(d.Expire),
	}
	if b := d.Burn; b != nil {
		message.Burn = &im.Burn{
			After:     duration(b.AfterSeconds),
			UnreadTTL: duration(value(b.UnreadTTLSeconds, seconds(im.DefaultUnreadTTL))),
		}
	}
	return s.send(ctx, ref, message)
}

func (s *Server) send(ctx context.Context, ref im.ConversationRef, d im.Draft) (api.SendMessageResponseObject, error) {
	sent, err := s.service.Send(ctx, actor(ctx), ref, d)
	switch {
	case err != nil:
		return nil, err
	case sent.Again:
		return api.SendMessage200JSONResponse(message(sent.Message)), nil
	default:
		return api.SendMessage201JSONResponse(message(sent.Message)), nil
	}
}

func duration(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }

// messageID reads what names a message in a path. What can name none is
// answered as an unknown one is.
func messageID(s string) (im.ID, error) {
	id, ok := im.ParseID(s)
	if !ok {
		return 0, im.Refuse(im.NotFound, "message_not_found", "no such message")
	}
	return id, nil
}

// GetMessage implements GET /v1/messages/{message}.
func (s *Server) GetMessage(ctx context.Context, r api.GetMessageRequestObject) (api.GetMessageResponseObject, error) {
	id, err := messageID(r.Message)
	if err != nil {
		return nil, err
	}
	m, err := s.service.Message(ctx, actor(ctx), id)
	if err != nil {
		return nil, err
	}
	return api.GetMessage200JSONResponse(message(m)), nil
}

// DeleteMessage implements DELETE /v1/messages/{message}.
func (s *Server) DeleteMessage(ctx context.Context, r api.DeleteMessageRequestObject) (api.DeleteMessageResponseObject, error) {
	id, err := messageID(r.Message)
	if err != nil {
		return nil, err
	}
	m, err := s.service.DeleteMessage(ctx, actor(ctx), id)
	if err != nil {
		return nil, err
	}
	return api.DeleteMessage200JSONResponse(message(m)), nil
}

// ListMessages implements GET /v1/conversations/{conversation}/messages.
func (s *Server) ListMessages(ctx context.Context, r api.ListMessagesRequestObject) (api.ListMessagesResponseObject, error) {
	ref, err := conversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	p := r.Params
	f := im.HistoryFilter{
		BeforeSeq: value(p.BeforeSeq, 0), AfterSeq: value(p.AfterSeq, 0), Ascending: p.AfterSeq != nil,
		Around: value(p.Around, ""), NoErased: !value(p.IncludeErased, true),
		Sender: im.UserID(value(p.Sender, "")), From: value(p.From, time.Time{}), To: value(p.To, time.Time{}),
		Limit: int(value(p.Limit, 50)),
	}
	if p.Type != nil {
		f.Type, _ = im.ParseMessageType(string(*p.Type))
	}
	if f.Around != "" && (f.BeforeSeq != 0 || f.Ascending || !f.From.IsZero() || !f.To.IsZero()) {
		return nil, im.RefuseField(im.Invalid, "invalid_request", "around", "does not go with before_seq, after_seq, from or to")
	}
	list := listOf("messages", r.Conversation, f.Around,
		fmt.Sprint(f.BeforeSeq, f.AfterSeq, f.Ascending, f.Type, f.Sender, f.From, f.To, f.NoErased))
	token, err := s.readPageToken(list, p.PageToken)
	if err != nil {
		return nil, err
	}
	if token != nil {
		f.Past = &im.HistoryKey{CreatedAt: time.UnixMilli(token.At).UTC(), Seq: token.Seq}
	}
	page, err := s.service.Messages(ctx, actor(ctx), ref, f)
	if err != nil {
		return nil, err
	}
	out := api.ListMessages200JSONResponse{Items: each(page.Messages, message)}
	if n := page.Next; n != nil {
		out.NextPageToken = optional(s.seal(pageToken{List: list, At: n.CreatedAt.UnixMilli(), Seq: n.Seq}))
	}
	return out, nil
}
