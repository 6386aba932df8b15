package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// SendMessage implements POST /v1/conversations/{conversation}/messages. It reads the scanned body.
func (s *Server) SendMessage(ctx context.Context, r api.SendMessageRequestObject) (api.SendMessageResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	body := scannedBody(ctx)
	d, err := readDraft(body)
	if err != nil {
		return nil, err
	}
	if d.Type == 0 { // the only type of the document that is not stored
		return s.command(ctx, ref, body)
	}
	return s.send(ctx, ref, d)
}

// readDraft reads a SendMessage, which has been validated. Body, ext and push of the draft
// are parts of the text of the body.
func readDraft(body jsonscan.Value) (im.Draft, error) {
	d := im.Draft{Canonical: true}
	for name, v := range body.Members() {
		if err := readDraftMember(&d, string(name.Text()), v); err != nil {
			return d, fmt.Errorf("request body: %w", err)
		}
	}
	return d, nil
}

// readDraftMember reads a member of a validated SendMessage.
func readDraftMember(d *im.Draft, name string, v jsonscan.Value) (err error) {
	given := func() json.RawMessage {
		d.Canonical = d.Canonical && v.IsCanonical()
		return v.JSON()
	}
	switch name {
	case "client_id":
		d.ClientID = string(v.Text())
	case "type":
		d.Type, _ = im.ParseMessageType(string(v.Text())) // 0 for a command: the body has been validated
	case "body":
		d.Body = given()
	case "ext":
		d.Ext = given()
	case "push":
		d.Push = given()
	case "mentions":
		for user := range v.Items() {
			d.Mentions = append(d.Mentions, im.UserID(user.Text()))
		}
	case "mention_all":
		d.MentionAll = v.Kind() == 't'
	case "reply_to":
		d.ReplyTo = string(v.Text())
	case "receipt":
		d.Receipt = v.Kind() == 't'
	case "expire_after_seconds":
		err = readSeconds("expire_after_seconds", v, &d.ExpireAfter)
	case "burn":
		d.Burn = &im.Burn{UnreadTTL: im.DefaultUnreadTTL}
		for name, v := range v.Members() {
			if string(name.Text()) == "after_seconds" {
				err = readSeconds("burn/after_seconds", v, &d.Burn.After)
			} else {
				err = readSeconds("burn/unread_ttl_seconds", v, &d.Burn.UnreadTTL)
			}
			if err != nil {
				break
			}
		}
	}
	return err
}

// readSeconds reads a duration. JSON Schema takes 1e3 and 1.0 for integers; they are refused.
func readSeconds(field string, v jsonscan.Value, into *time.Duration) error {
	n, err := strconv.ParseInt(string(v.JSON()), 10, 64)
	if err != nil {
		return im.RefuseField(im.Invalid, "invalid_request", field, "%s", undecodedDetail)
	}
	*into = duration(n)
	return nil
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

// GetMessage implements GET /v1/messages/{message}.
func (s *Server) GetMessage(ctx context.Context, r api.GetMessageRequestObject) (api.GetMessageResponseObject, error) {
	id, err := im.ParseMessageID(r.Message)
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
	id, err := im.ParseMessageID(r.Message)
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
	ref, err := im.ParseConversationRef(r.Conversation)
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
