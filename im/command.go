package im

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// MaxCommandTo is the maximum number of users that a command may name as recipients.
const MaxCommandTo = 200

// MaxAction is the maximum length of the action of a command, in characters.
const MaxAction = 128

// CommandDraft is a command as its sender wrote it.
type CommandDraft struct {
	// ClientID is passed on to the recipients. The server does not remember it.
	ClientID string
	// Body is a JSON object: the action and, optionally, its params.
	Body json.RawMessage
	// To are the only users who receive it, nil for all.
	To []UserID
}

// Command is a message that is not stored: clients with open streams receive it, and then it
// is gone.
type Command struct {
	ID           ID
	At           time.Time
	Conversation ID
	Sender       UserID
	SenderDevice string
	ClientID     string
	// Action is a JSON string, and Params a JSON object or nil. Both are canonical.
	Action, Params json.RawMessage
	To             []UserID
}

// Command checks a command and returns it for publishing. It changes nothing.
//
// It refuses an invalid draft, a conversation that does not exist or that the actor cannot
// see, and an actor who is blocked or may not send messages there. It does not create a direct
// conversation. Slow mode neither delays commands nor counts them.
func (s *Service) Command(ctx context.Context, actor Actor, ref ConversationRef, d CommandDraft) (Command, error) {
	cmd, err := d.command(s.policy.MaxMessageBytes)
	if err != nil {
		return cmd, err
	}
	err = s.read(ctx, func(r Reader) error {
		e, me, err := s.enterAs(r, actor, ref, "")
		if err != nil {
			return err
		}
		if e.Blocked {
			return errBlocked()
		}
		cmd.Conversation = e.Conversation.ID
		return allowSpeaking(e.Conversation, me, PermissionSend)
	})
	if err != nil {
		return cmd, err
	}
	cmd.At = s.time()
	cmd.ID, cmd.Sender, cmd.SenderDevice = s.ids.Next(cmd.At), actor.User, actor.Device
	return cmd, nil
}

// command checks a draft by itself. maxBytes bounds the body as canonical JSON and, separately, the
// users.
func (d CommandDraft) command(maxBytes int) (Command, error) {
	cmd := Command{ClientID: d.ClientID, To: d.To}
	if d.ClientID != "" && !printable(d.ClientID, MaxClientID) {
		return cmd, RefuseField(Invalid, "invalid_request", "client_id", "must be 1 to %d printable ASCII characters", MaxClientID)
	}
	if d.To != nil && len(d.To) == 0 || len(d.To) > MaxCommandTo {
		return cmd, RefuseField(Invalid, "invalid_request", "to", "must be 1 to %d users", MaxCommandTo)
	}
	size := 0
	for i, user := range d.To {
		if !user.Valid() {
			return cmd, RefuseField(Invalid, "invalid_request", fmt.Sprintf("to/%d", i), "is not a user id: "+UserIDRule)
		}
		size += len(user)
	}
	if size > maxBytes {
		return cmd, RefuseField(TooLarge, "message_too_large", "to", "are %d bytes together, over the limit of %d", size, maxBytes)
	}
	body, err := appendCanonicalObject(make([]byte, 0, len(d.Body)), "body", d.Body, false)
	if err != nil {
		return cmd, err
	}
	if len(body) > maxBytes {
		return cmd, RefuseField(TooLarge, "message_too_large", "body",
			"is %d bytes as canonical JSON, over the limit of %d", len(body), maxBytes)
	}
	if string(body) != "{}" {
		err = eachStored(body, func(name, value []byte) error {
			switch string(name) {
			case "action":
				cmd.Action = value
			case "params":
				cmd.Params = value
			default:
				return errStoredForm
			}
			return nil
		})
	}
	var action string
	switch {
	case err != nil:
		return cmd, RefuseField(Invalid, "invalid_request", "body", "does not fit the type of message")
	case json.Unmarshal(cmd.Action, &action) != nil || action == "" || utf8.RuneCountInString(action) > MaxAction:
		return cmd, RefuseField(Invalid, "invalid_request", "body/action", "must be 1 to %d characters", MaxAction)
	case cmd.Params != nil && cmd.Params[0] != '{':
		return cmd, RefuseField(Invalid, "invalid_request", "body/params", "must be a JSON object")
	}
	return cmd, nil
}
