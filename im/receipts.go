package im

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/imapi/imapi/seqs"
)

// ReceiptKind is the kind of a receipt.
type ReceiptKind uint8

// The kinds of receipt. Their numbers are stored: never reuse one.
const (
	Delivered ReceiptKind = 1
	Read      ReceiptKind = 2
)

var receiptKindNames = names[ReceiptKind]{Delivered: "delivered", Read: "read"}

// String returns the kind as clients know it.
func (k ReceiptKind) String() string { return receiptKindNames[k] }

// ParseReceiptKind parses the result of [ReceiptKind.String].
func ParseReceiptKind(s string) (ReceiptKind, bool) { return receiptKindNames.parse(s) }

// Receipt records that a user received or read a message, and when.
type Receipt struct {
	User UserID
	At   time.Time
}

// ReceiptDraft says which messages of a conversation a receipt is for: those named, or all
// up to one.
type ReceiptDraft struct {
	Kind       ReceiptKind
	MessageIDs []string
	UpTo       string
}

// MaxReceiptIDs is the maximum number of messages that one receipt may name.
const MaxReceiptIDs = 200

// Receipted is the answer to a receipt.
type Receipted struct {
	// Unread is the unread count of the conversation afterwards.
	Unread UnreadCount
	// Burning are the messages of the receipt that have started to burn, now or before.
	Burning []Message
}

// PutReceipt records that the actor has received or read messages, and publishes what is new.
// Reading a message that burns starts its timer, or erases it at once if it has none.
//
// A receipt is for messages of other users that the actor can read, that were sent while
// they were a member and that they have not hidden. A receipt for many messages takes several
// transactions. PutReceipt refuses a conversation or message that the actor cannot see, a room,
// a thread that they have not joined, and more than [MaxReceiptIDs] ids.
func (s *Service) PutReceipt(ctx context.Context, actor Actor, ref ConversationRef, d ReceiptDraft) (Receipted, error) {
	type step struct {
		Receipted
		before UnreadCount
		more   bool
	}
	now := s.time() // one time for all transactions
	var first *step
	for {
		done, err := write(ctx, s, func(tx Tx) (step, error) {
			c, me, err := s.enter(tx, actor, ref)
			if err != nil {
				return step{}, err
			}
			if err := takesReceipts(c, me); err != nil {
				return step{}, err
			}
			ranges, err := s.receiptRanges(tx, actor, c, me, d)
			if err != nil {
				return step{}, err
			}
			var before UnreadCount // a delivered receipt does not change the count
			if d.Kind == Read {
				if before, err = s.unread(tx, c, me); err != nil {
					return step{}, err
				}
			}
			var unstarted []Message
			burns := d.Kind == Read && c.Kind == Direct
			if burns {
				if unstarted, err = unstartedIn(tx, actor, c, ranges); err != nil {
					return step{}, err
				}
			}
			// A message that has started to burn is not found again, so each transaction continues
			// where the previous one stopped. When all have started, the receipt is stored, possibly
			// in several transactions.
			more := len(unstarted) > maxStarted
			if !more {
				put, err := s.putReceipt(tx, actor, c, me, d, ranges, now)
				if err != nil {
					return step{}, err
				}
				more = put.End() < ranges.End()
			}
			for _, m := range unstarted {
				if err := s.startBurn(tx, actor, m, now); err != nil {
					return step{}, err
				}
			}
			out := step{before: before, more: more}
			if first != nil {
				out.before = first.before
			}
			if burns && !more {
				if out.Burning, err = burning(tx, actor, c, ranges, now); err != nil {
					return step{}, err
				}
			}
			if out.Unread, err = s.unread(tx, c, me); err != nil {
				return step{}, err
			}
			if d.Kind == Read && !more && out.Unread != out.before {
				if err := touchMark(tx, c, me, now); err != nil {
					return step{}, err
				}
				err = publishUnread(tx, actor, c, out.Unread, d.readEvent(ranges, now))
			}
			return out, err
		})
		if err != nil || !done.more {
			return done.Receipted, err
		}
		if first == nil {
			first = &done
		}
	}
}

// takesReceipts refuses receipts in rooms and from users who are not members. In a channel a
// receipt only changes the reader's own unread count.
func takesReceipts(c Conversation, me Access) error {
	switch {
	case c.Kind == Room:
		return Refuse(Rule, "receipts_unsupported", "a room has no receipts")
	case !me.IsMember():
		return Refuse(Rule, "not_joined", "join the thread first")
	default:
		return nil
	}
}

// receiptRanges returns the messages that a receipt is for: those that the member can read
// and that were sent while they were a member. Of the messages in MessageIDs it leaves out their
// own and tombstones.
func (s *Service) receiptRanges(r Reader, actor Actor, c Conversation, me Access, d ReceiptDraft) (seqs.Set, error) {
	if d.UpTo != "" {
		m, err := s.named(r, c, me, "up_to", d.UpTo)
		if err != nil {
			return nil, err
		}
		return s.receivable(r, c, me, SeqRange{From: 1, To: m.Seq})
	}
	if len(d.MessageIDs) > MaxReceiptIDs {
		return nil, RefuseField(Invalid, "invalid_request", "message_ids", "at most %d messages", MaxReceiptIDs)
	}
	list := make([]int64, 0, len(d.MessageIDs))
	for i, text := range d.MessageIDs {
		m, err := s.named(r, c, me, fmt.Sprintf("message_ids/%d", i), text)
		if err != nil {
			return nil, err
		}
		if m.Sender != actor.User && m.AsOf(s.time()).State == Active {
			list = append(list, m.Seq)
		}
	}
	return seqs.Of(list...).And(me.stays.Messages(c.LastSeq)), nil
}

// receivable returns the messages of a range that a member can give a receipt for. Messages
// that they have hidden unread stay unread.
func (s *Service) receivable(r Reader, c Conversation, me Access, of SeqRange) (seqs.Set, error) {
	q, err := s.visible(r, c, me)
	if err != nil {
		return nil, err
	}
	ranges := q.Ranges.And(me.stays.Messages(c.LastSeq)).Within(of)
	if len(ranges) == 0 {
		return nil, nil
	}
	hidden, err := r.HiddenIn(c.ID, me.user, SeqRange{From: ranges[0].From, To: ranges.End()})
	return ranges.Without(hidden), err
}

// readEvent returns an event with the messages of a receipt: those that were named, or all up to
// the last one of the ranges.
func (d ReceiptDraft) readEvent(ranges seqs.Set, now time.Time) Event {
	if d.UpTo != "" {
		return Event{At: now, UpToSeq: ranges.End()}
	}
	ids := make([]ID, len(d.MessageIDs))
	for i, text := range d.MessageIDs {
		ids[i], _ = ParseID(text) // the ids have been checked
	}
	return Event{At: now, MessageIDs: ids}
}

// putReceipt stores a receipt for as many messages as fit into one transaction, publishes what is
// new, and returns the messages that it was stored for.
func (s *Service) putReceipt(tx Tx, actor Actor, c Conversation, me Access, d ReceiptDraft, ranges seqs.Set, now time.Time) (seqs.Set, error) {
	fresh, err := newIn(tx, d.Kind, c, me, ranges)
	if err != nil || len(fresh) == 0 {
		return ranges, err
	}
	said := receiptEvent(d.Kind, actor, c, now)
	if d.UpTo != "" && c.Kind == Direct {
		m, holds, err := s.newestOf(tx, d.Kind, c, me, ranges, fresh)
		if err != nil {
			return nil, err
		}
		if holds {
			if m != nil {
				said.UpTo = m.ID
				_, err = tx.Append(said)
			}
			return ranges, cmp.Or(err, record(tx, d.Kind, c, me, ranges, now))
		}
	}
	messages, through, err := s.owed(tx, c, me, fresh, maxTracked)
	if err != nil {
		return nil, err
	}
	if through > 0 {
		ranges = ranges.Between(0, through+1)
	}
	if err := record(tx, d.Kind, c, me, ranges, now); err != nil {
		return nil, err
	}
	return ranges, s.publishReceipts(tx, c, messages, said)
}

// newIn returns the messages for which a receipt of a kind is new. A message that was read
// was delivered, too.
func newIn(r ReceiptReader, kind ReceiptKind, c Conversation, me Access, ranges seqs.Set) (seqs.Set, error) {
	if len(ranges) == 0 {
		return nil, nil
	}
	of := SeqRange{From: ranges[0].From, To: ranges.End()}
	by := []ReceiptKind{Read}
	if kind == Delivered {
		by = append(by, Delivered)
	}
	for _, k := range by {
		known, err := r.ReceiptsIn(k, c.ID, me.user, of)
		if err != nil {
			return nil, err
		}
		ranges = ranges.Without(known)
	}
	return ranges, nil
}

// record stores a receipt.
func record(tx ReceiptWriter, kind ReceiptKind, c Conversation, me Access, ranges seqs.Set, now time.Time) error {
	for _, r := range ranges {
		if _, err := tx.PutReceipt(kind, c.ID, me.user, r, now); err != nil {
			return err
		}
	}
	return nil
}
