package im

import (
	"context"
	"encoding/json"
	"time"
)

// ImportMessage is a message to be imported. Its ids are texts that are not parsed yet.
type ImportMessage struct {
	// ID is the id of the message on another imapi server, "" for none.
	ID string
	// Conversation is an id, or "@user" for the direct conversation of Sender with that
	// user.
	Conversation string
	// Seq is the requested seq, 0 for the next one.
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
	// CreatedAt is zero if the line has none.
	CreatedAt time.Time
	ExpiresAt time.Time
	Burn      *Burn
	// Erased is set for an erased message, which has no content.
	Erased    *Erasure
	VisibleTo UserID
}

// ImportConversation is a conversation to be imported.
type ImportConversation struct {
	ID   string
	Kind Kind
	Name string
	// Settings are the shared settings; missing ones get their defaults.
	Settings ConversationPatch
	Members  []ImportMember
	// CreatedAt is zero if the line has none.
	CreatedAt time.Time
}

// ImportMember is a current or former member of a conversation to be imported.
type ImportMember struct {
	User UserID
	// Role is 0 for a former member.
	Role Role
	// JoinedAt is zero if the line has none: then it is when the conversation was created.
	JoinedAt time.Time
	// Left is set for a former member who left, and was not removed.
	Left bool
	// Stays are the ranges of messages of their stays, oldest first. A stay that has not
	// ended has [Lasts] as its To. A current member without stays has one from the first
	// message on; a former member without stays is refused.
	Stays []SeqRange
}

// Lasts is the To of a stay that has not ended.
const Lasts = int64(^uint64(0) >> 1)

// Prepared is a line of an import after the checks that need no stored state.
type Prepared struct {
	// err is the reason why it is refused, nil if it is not.
	err          error
	message      *Message        // without its conversation
	ref          ConversationRef // the conversation of the message
	conversation *Conversation
	members      []Membership
}

// Refused returns a line that is refused because it could not be parsed.
func Refused(err error) Prepared { return Prepared{err: err} }

// Weight estimates the number of rows that the line takes.
func (p Prepared) Weight() int { return 1 + len(p.members) }

// ImportResult is the result of a line.
type ImportResult struct {
	// ID identifies the message or conversation. It is 0 if the line was refused.
	ID ID
	// Again is set if it had been stored before.
	Again bool
	// Err is the reason why the line was refused, nil if it was not.
	Err *Error
}

// Import stores lines in one transaction, in their order. It publishes no events. A refused line
// has its reason in the results and does not affect the others. Import itself refuses an actor who
// is not an admin; other errors are those of the store, after which no line is stored.
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

// Insert stores one message without publishing an event. It returns the message and whether
// it was stored before. It refuses an actor who is not an admin, a message that [Service.Import]
// would refuse, and one for a single user who is not a member now.
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
