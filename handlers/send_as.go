package handlers

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// SendMessagesAs implements POST /v1/admin/messages. It reads the scanned body.
func (s *Server) SendMessagesAs(ctx context.Context, _ api.SendMessagesAsRequestObject) (api.SendMessagesAsResponseObject, error) {
	body := scannedBody(ctx)
	d, err := readDraft(body.Member("message"))
	if err != nil {
		return nil, err
	}
	var to []string
	for target := range body.Member("to").Items() {
		to = append(to, string(target.Text()))
	}
	results, err := s.service.SendAs(ctx, actor(ctx), im.UserID(body.Member("as").Text()), to, d)
	if err != nil {
		return nil, err
	}
	return answerWith(http.StatusOK, func(buf []byte) []byte {
		o := openObject(buf)
		addList(&o, "items", results, func(buf []byte, result im.SentAs) []byte { return s.appendSentAs(ctx, buf, result) })
		return o.close()
	}), nil
}

// appendSentAs appends the result for a target.
func (s *Server) appendSentAs(ctx context.Context, buf []byte, result im.SentAs) []byte {
	o := openObject(buf)
	o.text("to", result.To)
	if result.Err != nil {
		s.sentAs("refused")
		p := s.problemFor(ctx, result.Err)
		text, _ := json.Marshal(p) // texts and a number, which cannot fail
		o.integer("status", int64(p.Status))
		o.raw("problem", text)
		return o.close()
	}
	status := http.StatusCreated
	if result.Again {
		status = http.StatusOK
		s.sentAs("repeated")
	} else {
		s.sentAs("sent")
	}
	o.integer("status", int64(status))
	m := result.Message
	o.object("message", func(o *jsonObject) {
		o.id("id", m.ID)
		o.id("conversation_id", m.Conversation)
		o.integer("seq", m.Seq)
		o.textOrNull("client_id", m.ClientID)
		o.text("state", m.State.String())
		o.time("created_at", m.CreatedAt)
	})
	return o.close()
}
