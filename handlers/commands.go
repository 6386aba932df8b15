package handlers

import (
	"context"
	"fmt"
	"net/http"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// command publishes a SendMessage of type command to open streams.
func (s *Server) command(ctx context.Context, ref im.ConversationRef, raw []byte) (api.SendMessageResponseObject, error) {
	if err := s.limits.spendCommand(principal(ctx)); err != nil {
		return nil, err
	}
	d, err := readCommand(raw)
	if err != nil {
		return nil, err
	}
	c, err := s.service.Command(ctx, actor(ctx), ref, d)
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

// readCommand reads a SendCommand, which has been validated. Its body is a part of raw.
func readCommand(raw []byte) (im.CommandDraft, error) {
	var d im.CommandDraft
	err := jsonscan.Members(raw, func(name string, v []byte) (err error) {
		switch name {
		case "client_id":
			d.ClientID, err = jsonscan.Unquote(v)
		case "body":
			d.Body = v
		case "to":
			err = jsonscan.Items(v, func(_ int, v []byte) error {
				user, err := jsonscan.Unquote(v)
				d.To = append(d.To, im.UserID(user))
				return err
			})
		}
		return err
	})
	if err != nil {
		return d, fmt.Errorf("request body: %w", err)
	}
	return d, nil
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
