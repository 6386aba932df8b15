package im

import (
	"context"
	"encoding/json"
	"time"
)

// ImportMessage is a message as it was. What it names by an id is text, for it
// comes from elsewhere.
type ImportMessage struct {
	ID string
	// Conversation is an id, or "@user": the direct conversation of Sender with
	// that user.
	Conversation string
	// Seq is 0 if the message may have any.
	Seq          int64
	Sender       UserID
	SenderDevice string
	ClientID     string
	Type         MessageType
	Body, Ext    json.RawMessage
	Mentions     []UserID
	MentionAll   bool
	ReplyTo      string
	Receipt      bool
	// CreatedAt is zero if it was not given.
	CreatedAt time.Time
	ExpiresAt time.Time
	Burn      *Burn
	// Erased is set for a message that was taken back, which has no content.
	Erased    *Erasure
	VisibleTo UserID
}

// ImportConversation is a conversation as it was.
type ImportConversation struct {
	ID   string
	Kind Kind
	Name string
	// Settings are those that members share; what they leave out is the default.
	Settings ConversationPatch
	Members  []ImportMember
	// CreatedAt is zero if it was not given.
	CreatedAt time.Time
}

// ImportMember is the standing of a member as it was.
type ImportMember struct {
	User UserID
	// Role is 0 for who was a member.
	Role Role
	// JoinedAt is zero if it was not given: then it is when the conversation was
	// created.
	JoinedAt time.Time
	// Left is set for who was a member and left by themselves.
	Left bool
	// Stays are the ranges of the messages of their stays, oldest first. The To
	// of one that lasts is [Lasts]. Without any, a member was there from the
	// first message on.
	Stays []SeqRange
}

// Lasts is the end of a stay that has none.
const Lasts = int64(^uint64(0) >> 1)

// Prepared is a line of an import that was looked at by itself: all that can be
// said of it without knowing what is stored.
type Prepared struct {
	// err refuses it, whatever is stored.
	err          error
	message      *Message // its conversation is still to be found
	place        ConversationRef
	conversation *Conversation
	members      []Membership
}

// Refused is a line that could not even be read.
func Refused(err error) Prepared { return Prepared{err: err} }

// Weight is about how many rows the line takes to store.
func (p Prepared) Weight() int { return 1 + len(p.members) }

// ImportResult says what became of a line.
type ImportResult struct {
	// ID is of the message or conversation, 0 if it was refused.
	ID ID
	// Again is set if it was there already.
	Again bool
	// Err is why it was refused.
	Err *Error
}

// Import stores lines in one transaction, in their order, each seeing those
// before it, and tells nobody of them. What is refused is told in the results
// and does not keep the rest from being stored. It is for admins.
func (s *Service) Import(ctx context.Context, actor Actor, batch []Prepared) ([]ImportResult, error) {
	if !actor.Admin {
		return nil, errNotAdmin()
	}
	if len(batch) == 0 {
		return nil, nil
	}
	return write(WithBulk(ctx), s, func(tx Tx) ([]ImportResult, error) {
		b, err := newImporting(s, tx, batch)
		if err != nil {
			return nil, err
		}
		results := make([]ImportResult, len(batch))
		for i, p := range batch {
			r, err := b.store(i, p)
			if refusal, ok := AsError(err); ok && refusal.Kind < Unavailable {
				r, err = ImportResult{Err: refusal}, nil
			}
			if err != nil {
				return nil, err
			}
			results[i] = r
		}
		return results, nil
	})
}

// Insert stores one message silently and returns it, and whether it was there
// already. It is for admins.
func (s *Service) Insert(ctx context.Context, actor Actor, m ImportMessage) (stored Message, again bool, err error) {
	if !actor.Admin {
		return Message{}, false, errNotAdmin()
	}
	if m.CreatedAt.IsZero() {
		m.CreatedAt = s.time()
	}
	p := s.PrepareMessage(m)
	if p.err != nil {
		return Message{}, false, p.err
	}
	err = s.store.Write(ctx, func(tx Tx) error {
		b, err := newImporting(s, tx, []Prepared{p})
		if err != nil {
			return err
		}
		b.single = true
		r, err := b.store(0, p)
		if err != nil {
			return err
		}
		again = r.Again
		if stored, err = tx.Message(r.ID); err != nil {
			return err
		}
		c, err := tx.Conversation(stored.Conversation)
		stored = s.asOf(c, stored)
		return err
	})
	return stored, again, err
}
