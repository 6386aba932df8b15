package im

import (
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// RevokeNote is what a user who revokes a message leaves in its place, and the push
// notification about it.
type RevokeNote struct {
	Postscript string
	// Extension is any JSON value but null.
	Extension json.RawMessage
	Push      Push
}

// The limits of a note. MaxPostscript bounds its postscript and the text of its push notification,
// each in characters. MaxNoteJSON bounds its extension and the payload of its push notification,
// each in bytes of canonical JSON.
const (
	MaxPostscript = 1024
	MaxNoteJSON   = 4096
)

// MaxRevokedAtOnce is the maximum number of messages that one call may revoke.
const MaxRevokedAtOnce = 100

// checked returns the note with its JSON in canonical form. It refuses a note that is too long or
// whose JSON is invalid.
func (n RevokeNote) checked() (RevokeNote, error) {
	if utf8.RuneCountInString(n.Postscript) > MaxPostscript {
		return n, RefuseField(Invalid, "invalid_request", "postscript", "at most %d characters", MaxPostscript)
	}
	if utf8.RuneCountInString(n.Push.Content) > MaxPostscript {
		return n, RefuseField(Invalid, "invalid_request", "push_content", "at most %d characters", MaxPostscript)
	}
	for field, raw := range map[string]*json.RawMessage{"extension": &n.Extension, "push_payload": &n.Push.Payload} {
		if len(*raw) == 0 {
			continue
		}
		canonical, err := canonicalValue(field, *raw)
		if err != nil {
			return n, err
		}
		if len(canonical) > MaxNoteJSON {
			return n, RefuseField(TooLarge, "message_too_large", field, "at most %d bytes as canonical JSON", MaxNoteJSON)
		}
		*raw = canonical
	}
	return n, nil
}

// revokeWindow returns the time for which a sender may revoke a message of the conversation: by its
// own setting, or else that of the nearest ancestor, its kind or the server; 0 sets no limit.
func (p Policy) revokeWindow(c Conversation, ancestors []Conversation) time.Duration {
	for _, c := range append([]Conversation{c}, ancestors...) {
		if c.RevokeWindow != nil {
			return *c.RevokeWindow
		}
	}
	if w, ok := p.RevokeWindowByKind[c.Kind]; ok {
		return w
	}
	return p.RevokeWindow
}

// revokeOthersWindow returns the time for which a user may revoke another user's message: by the
// setting of the conversation, or else that of the nearest ancestor or the server.
func (p Policy) revokeOthersWindow(c Conversation, ancestors []Conversation) time.Duration {
	for _, c := range append([]Conversation{c}, ancestors...) {
		if c.RevokeOthersWindow != nil {
			return *c.RevokeOthersWindow
		}
	}
	return p.RevokeOthersWindow
}

// within reports whether a message of an age is within a window; a window of 0 sets no limit.
func within(window, age time.Duration) bool { return window == 0 || age <= window }

// mayRevoke returns the reason why the actor may not revoke a message, nil if they may. That it is
// revoked already is no reason. m is the message as of now, and me the actor's access, which may be
// empty for an admin.
func (p Policy) mayRevoke(actor Actor, c Conversation, me Access, m Message, now time.Time) error {
	mine := m.Sender == actor.User
	own := mine && me.Can(PermissionRevokeOwn)
	others := actor.Admin || me.Can(PermissionRevokeOthers)
	age := now.Sub(m.CreatedAt)
	switch {
	case mine && !own && !others:
		return errDenied(PermissionRevokeOwn)
	case !own && !others:
		return errDenied(PermissionRevokeOthers)
	case m.State == Revoked:
		return nil
	case m.State != Active:
		return errErased(m.State)
	case own && within(p.revokeWindow(c, me.ancestors), age), others && within(p.revokeOthersWindow(c, me.ancestors), age):
		return nil
	default:
		return Refuse(Forbidden, "revoke_window_expired", "the time in which the message could be revoked is over")
	}
}

// Revoke withdraws a message for everyone and returns its tombstone. For a revoked message
// it returns the tombstone and publishes nothing. It drops the note of an actor who is not an
// admin and may not send, for example because they are muted or blocked. It refuses a message that
// is burned or expired, a message that the actor may not or may no longer revoke or, unless they
// are an admin, cannot read, and an invalid note.
func (s *Service) Revoke(ctx context.Context, actor Actor, id ID, note RevokeNote) (Message, error) {
	note, err := note.checked()
	if err != nil {
		return Message{}, err
	}
	return write(ctx, s, func(tx Tx) (Message, error) { return s.revoke(tx, actor, id, note) })
}

// RevokeResult is the result of one of several revokes.
type RevokeResult struct {
	ID  string
	Err error
}

// RevokeMany is Revoke for several messages. Each id has a result of its own, even an invalid id.
// It refuses more than [MaxRevokedAtOnce] ids, and an invalid note.
//
// It takes several transactions. If the first is refused, for example because the server is
// overloaded, RevokeMany returns the refusal. If a later transaction is refused, the messages of
// the earlier transactions stay revoked and the rest have the refusal as their result.
func (s *Service) RevokeMany(ctx context.Context, actor Actor, ids []string, note RevokeNote) ([]RevokeResult, error) {
	if len(ids) > MaxRevokedAtOnce {
		return nil, RefuseField(Invalid, "invalid_request", "ids", "at most %d messages", MaxRevokedAtOnce)
	}
	note, err := note.checked()
	if err != nil {
		return nil, err
	}
	done, err := s.inLine.enter(ctx, actor.User)
	if err != nil {
		return nil, err
	}
	defer done()
	return eachInSteps(ctx, s, ids, func(tx Tx, rest []string, _ []RevokeResult) ([]RevokeResult, error) {
		return s.revokeSome(tx, actor, rest, note)
	}, func(id string, err error) RevokeResult { return RevokeResult{ID: id, Err: err} })
}

// revokeSome revokes messages in order, at least one, until the step is over.
func (s *Service) revokeSome(tx Tx, actor Actor, ids []string, note RevokeNote) ([]RevokeResult, error) {
	results := make([]RevokeResult, 0, len(ids))
	for step := s.pace(); len(results) < len(ids) && (len(results) == 0 || !step.over()); {
		of := RevokeResult{ID: ids[len(results)], Err: errUnknownMessage()}
		if id, ok := ParseID(of.ID); ok {
			_, of.Err = s.revoke(tx, actor, id, note)
			if _, refused := AsError(of.Err); of.Err != nil && !refused {
				return nil, of.Err
			}
		}
		results = append(results, of)
	}
	return results, nil
}

func (s *Service) revoke(tx Tx, actor Actor, id ID, note RevokeNote) (Message, error) {
	c, me, m, err := s.findToErase(tx, actor, id)
	if err != nil {
		return Message{}, err
	}
	now := s.time()
	if err := s.policy.mayRevoke(actor, c, me, m, now); err != nil {
		return Message{}, err
	}
	if m.State == Revoked {
		return m, nil
	}
	if !actor.Admin {
		// A blocked or muted user may revoke a message but not leave a note.
		blocked, err := blockedByPeer(tx, actor, c)
		if err != nil {
			return Message{}, err
		}
		says, err := s.mayLeaveNote(tx, c, me)
		if err != nil {
			return Message{}, err
		}
		if blocked || !says {
			note = RevokeNote{}
		}
	}
	e := Erasure{State: Revoked, At: now, By: actor.User, Postscript: note.Postscript, Extension: note.Extension, Push: note.Push}
	return s.erase(tx, m, e, Event{Actor: actor.User, ActorDevice: actor.Device, Push: note.Push})
}

// mayLeaveNote reports whether the user may leave a note with a revoke. A user who is not a
// member of a thread may if they could send after joining it.
func (s *Service) mayLeaveNote(r Reader, c Conversation, me Access) (bool, error) {
	if c.Kind != Thread || me.IsMember() || len(me.ancestors) == 0 {
		return me.Can(PermissionSend), nil
	}
	parent, err := s.access(r, me.ancestors[0], me.user)
	return parent.Can(PermissionSend) && me.mutedUntil.IsZero(), err
}

// DeleteMessage revokes a message without a note, however old it is, and returns its
// tombstone. For a revoked message it returns the tombstone and publishes nothing. It refuses a
// message that is burned or expired. Unless the actor is an admin, it also refuses a message that
// they cannot read, and an actor without [PermissionDeleteOthers].
func (s *Service) DeleteMessage(ctx context.Context, actor Actor, id ID) (Message, error) {
	return write(ctx, s, func(tx Tx) (Message, error) {
		c, me, m, err := s.findToErase(tx, actor, id)
		if err != nil {
			return Message{}, err
		}
		if !actor.Admin {
			if err := allow(c, me, PermissionDeleteOthers); err != nil {
				return Message{}, err
			}
		}
		switch m.State {
		case Revoked:
			return m, nil
		case Active:
			return s.erase(tx, m, Erasure{State: Revoked, At: s.time(), By: actor.User}, Event{Actor: actor.User, ActorDevice: actor.Device})
		default:
			return Message{}, errErased(m.State)
		}
	})
}

// findToErase returns a message as of now, its conversation and the actor's access. It
// refuses a message that the actor cannot read, unless they are an admin.
func (s *Service) findToErase(r Reader, actor Actor, id ID) (Conversation, Access, Message, error) {
	c, me, m, err := s.readable(r, actor, id)
	if e, ok := AsError(err); !ok || e.Kind != NotFound || !actor.Admin {
		return c, me, m, err
	}
	if m, err = r.Message(id); err == nil {
		c, err = r.Conversation(m.Conversation)
	}
	if err == nil && (s.past(c, m) || !c.DeletedAt.IsZero()) {
		err = ErrNotFound
	}
	m, found, err := maybe(m.AsOf(s.time()), err)
	if err == nil && !found {
		err = errUnknownMessage()
	}
	if err != nil {
		return c, Access{}, m, err
	}
	me, err = s.access(r, c, actor.User)
	return c, me, m, err
}
