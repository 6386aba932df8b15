package handlers

import (
	"context"
	"net/http"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// command publishes a SendMessage of type command to open streams.
func (s *Server) command(ctx context.Context, ref im.ConversationRef, body jsonscan.Value) (api.SendMessageResponseObject, error) {
	if err := s.limits.spendCommand(principal(ctx)); err != nil {
		return nil, err
	}
	c, err := s.service.Command(ctx, actor(ctx), ref, readCommand(body))
	if err != nil {
		return nil, err
	}
	s.hub.PublishTransient(events.Transient{
		Type: events.Command, At: c.At, Conversation: c.Conversation, To: c.To,
		Actor: c.Sender, ActorDevice: c.SenderDevice, Data: appendCommand(nil, c),
	})
	return answerWith(http.StatusAccepted, func(buf []byte) []byte {
		o := openObject(buf)
		o.id("id", c.ID)
		o.time("at", c.At)
		return o.close()
	}), nil
}

// readCommand reads a SendCommand, which has been validated. Its body is a part of the text of body.
func readCommand(body jsonscan.Value) (d im.CommandDraft) {
	for name, v := range body.Members() {
		switch string(name.Text()) {
		case "client_id":
			d.ClientID = string(v.Text())
		case "body":
			d.Body = v.JSON()
		case "to":
			for user := range v.Items() {
				d.To = append(d.To, im.UserID(user.Text()))
			}
		}
	}
	return d
}

// appendCommand appends the event of a command. The event has no id, because it is not in the log.
func appendCommand(buf []byte, c im.Command) []byte {
	o := openObject(buf)
	o.text("type", string(events.Command))
	o.time("at", c.At)
	o.id("conversation_id", c.Conversation)
	o.id("command_id", c.ID)
	o.text("sender", string(c.Sender))
	o.textIfSet("sender_device", c.SenderDevice)
	o.textIfSet("client_id", c.ClientID)
	o.raw("action", c.Action)
	if c.Params != nil {
		o.raw("params", c.Params)
	}
	return o.close()
}
