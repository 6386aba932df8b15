package im

import (
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// RevokeNote is what who revokes a message leaves in its place.
type RevokeNote struct {
	Postscript string
	// Extension is any JSON value but null.
	Extension json.RawMessage
	Push      Push
}

// The limits of a note: the text as long as NIM's, the JSON as long as a
// message may be by default.
const (
	MaxPostscript    = 1024 // characters
	MaxNoteJSON      = 4096 // bytes
	MaxRevokedAtOnce = 100
)

// checked returns the note as it is to be kept, its JSON in canonical form.
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

// revokeWindow returns how long a message of the conversation may be revoked
// by its sender: as the conversation says, else what it hangs in, else its kind,
// else the server; 0 is no limit.
func (p Policy) revokeWindow(c Conversation, above []Conversation) time.Duration {
	for _, c := range append([]Conversation{c}, above...) {
		if c.RevokeWindow != nil {
			return *c.RevokeWindow
		}
	}
	if w, ok := p.RevokeWindowByKind[c.Kind]; ok {
		return w
	}
	return p.RevokeWindow
}

// revokeOthersWindow is the same for who revokes what others sent.
func (p Policy) revokeOthersWindow(c Conversation, above []Conversation) time.Duration {
	for _, c := range append([]Conversation{c}, above...) {
		if c.RevokeOthersWindow != nil {
			return *c.RevokeOthersWindow
		}
	}
	return p.RevokeOthersWindow
}

// within reports whether a window, 0 being none, is still open after a time.
func within(window, age time.Duration) bool { return window == 0 || age <= window }

// mayRevoke refuses a revoke. The message is as of now, and me is the standing
// of an actor who is a member; that of an admin may be empty. A message that
// is revoked already is no refusal.
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

// Revoke withdraws a message for everyone and returns its tombstone. Repeating
// it returns the same and tells nobody.
func (s *Service) Revoke(ctx context.Context, actor Actor, id ID, note RevokeNote) (Message, error) {
	note, err := note.checked()
	if err != nil {
		return Message{}, err
	}
	return write(ctx, s, func(tx Tx) (Message, error) { return s.revoke(tx, actor, id, note) })
}

// RevokeResult is what became of one of several revokes.
type RevokeResult struct {
	ID  string
	Err error
}

// RevokeMany is Revoke for several messages, each on its own: ids of any form get a
// result. It takes several transactions. If one fails, what was revoked before stays
// so, and the others have the failure as their result.
func (s *Service) RevokeMany(ctx context.Context, actor Actor, ids []string, note RevokeNote) ([]RevokeResult, error) {
	note, err := note.checked()
	if err != nil {
		return nil, err
	}
	done, err := s.inLine.enter(ctx, actor.User)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx = WithBulk(ctx)
	finishing := context.WithoutCancel(ctx)
	results := make([]RevokeResult, 0, len(ids))
	for len(results) < len(ids) {
		step, err := write(ctx, s, func(tx Tx) ([]RevokeResult, error) {
			return s.revokeSome(tx, actor, ids[len(results):], note)
		})
		if err == nil {
			results = append(results, step...)
			// A client that hangs up now must not leave half of it done.
			ctx = finishing
			continue
		}
		if _, refused := AsError(err); !refused || len(results) == 0 {
			return nil, err
		}
		for _, id := range ids[len(results):] {
			results = append(results, RevokeResult{ID: id, Err: err})
		}
	}
	return results, nil
}

// revokeSome revokes the first of several messages, at least one, until the step is
// over.
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
		// To be blocked or muted does not stop a revoke, but what would be said by it.
		blocked, err := blockedByPeer(tx, actor, c)
		if err != nil {
			return Message{}, err
		}
		says, err := s.maySay(tx, c, me)
		if err != nil {
			return Message{}, err
		}
		if blocked || !says {
			note = RevokeNote{}
		}
	}
	e := Erasure{State: Revoked, At: now, By: actor.User, Postscript: note.Postscript, Extension: note.Extension}
	return s.erase(tx, m, e, Event{Actor: actor.User, ActorDevice: actor.Device, Push: note.Push})
}

// maySay reports whether a revoke may leave a note. Who has left a thread, or never
// joined it, may say there what they might if they joined.
func (s *Service) maySay(r Reader, c Conversation, me Access) (bool, error) {
	if c.Kind != Thread || me.IsMember() || len(me.ancestors) == 0 {
		return me.Can(PermissionSend), nil
	}
	above, err := s.access(r, me.ancestors[0], me.user)
	return above.Can(PermissionSend) && me.mutedUntil.IsZero(), err
}

// DeleteMessage takes a message back for everyone, however old it is, and returns
// its tombstone. Repeating it returns the same and tells nobody.
func (s *Service) DeleteMessage(ctx context.Context, actor Actor, id ID) (Message, error) {
	return write(ctx, s, func(tx Tx) (Message, error) {
		c, me, m, err := s.findToErase(tx, actor, id)
		if err != nil {
			return Message{}, err
		}
		if !actor.Admin {
			if err := Allow(c, me, PermissionDeleteOthers); err != nil {
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

// findToErase loads a message that the actor may read, or, for an admin, any
// one, with the actor's standing.
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
