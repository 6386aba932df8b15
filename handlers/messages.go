package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

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
	d, err := readDraft(raw)
	if err != nil {
		return nil, err
	}
	return s.send(ctx, ref, d)
}

// readDraft reads a SendMessage of any type, which the document has been held against.
// What is the application's own stays as it was sent, in the same memory.
func readDraft(raw []byte) (im.Draft, error) {
	var (
		d      im.Draft
		expire int64
	)
	err := jsonscan.Members(raw, func(name string, v []byte) (err error) {
		switch name {
		case "client_id":
			err = json.Unmarshal(v, &d.ClientID)
		case "type":
			var text string
			err = json.Unmarshal(v, &text)
			d.Type, _ = im.ParseMessageType(text) // the document has these alone
		case "body":
			d.Body = v
		case "ext":
			d.Ext = v
		case "push":
			d.Push = v
		case "mentions":
			err = json.Unmarshal(v, &d.Mentions)
		case "mention_all":
			err = json.Unmarshal(v, &d.MentionAll)
		case "reply_to":
			err = json.Unmarshal(v, &d.ReplyTo)
		case "receipt":
			err = json.Unmarshal(v, &d.Receipt)
		case "expire_after_seconds":
			err = json.Unmarshal(v, &expire)
		case "burn":
			var b *api.SendBurn
			if err = json.Unmarshal(v, &b); err == nil && b != nil {
				d.Burn = &im.Burn{
					After:     duration(b.AfterSeconds),
					UnreadTTL: duration(value(b.UnreadTTLSeconds, seconds(im.DefaultUnreadTTL))),
				}
			}
		}
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			err = im.RefuseField(im.Invalid, "invalid_request", undecodedField(name, wrong), "%s", undecodedDetail)
		}
		return err
	})
	if err != nil {
		return d, fmt.Errorf("request body: %w", err)
	}
	d.ExpireAfter = duration(expire)
	return d, nil
}

func (s *Server) send(ctx context.Context, ref im.ConversationRef, d im.Draft) (api.SendMessageResponseObject, error) {
	sent, err := s.service.Send(ctx, actor(ctx), ref, d)
	switch {
	case err != nil:
		return nil, err
	case sent.Again:
		return answerMessage(http.StatusOK, sent.Message), nil
	default:
		return answerMessage(http.StatusCreated, sent.Message), nil
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
	return answerMessage(http.StatusOK, m), nil
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
	return answerMessage(http.StatusOK, m), nil
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
	var next *string
	if n := page.Next; n != nil {
		next = optional(s.seal(pageToken{List: list, At: n.CreatedAt.UnixMilli(), Seq: n.Seq}))
	}
	return answerPage(page.Messages, appendMessage, next, nil), nil
}
