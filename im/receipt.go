package im

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// ReceiptKind is what a receipt says.
type ReceiptKind uint8

// The kinds of receipt. Their numbers are stored: never reuse one.
const (
	Delivered ReceiptKind = 1
	Read      ReceiptKind = 2
)

var receiptKindNames = names[ReceiptKind]{Delivered: "delivered", Read: "read"}

// String returns the kind as clients know it.
func (k ReceiptKind) String() string { return receiptKindNames[k] }

// ParseReceiptKind reads what [ReceiptKind.String] wrote.
func ParseReceiptKind(s string) (ReceiptKind, bool) { return receiptKindNames.parse(s) }

// receiptEvents tell of each kind.
var receiptEvents = map[ReceiptKind]EventType{Delivered: ReceiptDelivered, Read: ReceiptRead}

// Receipt says that a user got or read a message, and when.
type Receipt struct {
	User UserID
	At   time.Time
}

// ReceiptDraft says which messages of a conversation were delivered or read:
// those named, or all up to one.
type ReceiptDraft struct {
	Kind       ReceiptKind
	MessageIDs []string
	UpTo       string
}

// MaxReceiptIDs is how many messages one receipt may name.
const MaxReceiptIDs = 200

// maxTracked bounds the messages of a group that one receipt is told for.
const maxTracked = 1000

// maxBurning bounds the burning messages that one receipt is answered with: far
// more than a client shows. maxStarted bounds those that one transaction sets
// on fire; a receipt for more takes several.
const (
	maxBurning = 1000
	maxStarted = 500
)

// maxDelivered bounds the deliveries that one transaction records.
const maxDelivered = 500

// Receipted is the answer to a receipt.
type Receipted struct {
	// Unread is how many messages of the conversation are unread now.
	Unread UnreadCount
	// Burning are the messages among those named that burn, with when.
	Burning []Message
}

// PutReceipt records that the actor got or read messages. Reading starts the
// clock of messages that burn, and erases at once those that burn at once.
// What was recorded before is told to nobody again.
func (s *Service) PutReceipt(ctx context.Context, actor Actor, ref ConversationRef, d ReceiptDraft) (Receipted, error) {
	for {
		type step struct {
			Receipted
			more bool
		}
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
			var before UnreadCount // delivering changes none
			if d.Kind == Read {
				if before, err = s.unread(tx, c, me); err != nil {
					return step{}, err
				}
			}
			now := s.time()
			var unstarted []Message
			burns := d.Kind == Read && c.Kind == Direct
			if burns {
				if unstarted, err = unstartedIn(tx, actor, c, ranges); err != nil {
					return step{}, err
				}
			}
			// What has begun to burn is not found again: the receipt itself is
			// recorded and told once, with the last of it.
			more := len(unstarted) > maxStarted
			if !more {
				if err := s.putReceipt(tx, actor, c, d, ranges, now); err != nil {
					return step{}, err
				}
			}
			for _, m := range unstarted {
				if err := s.startBurn(tx, actor, m, now); err != nil {
					return step{}, err
				}
			}
			if more {
				return step{more: true}, nil
			}
			var out Receipted
			if burns {
				if out.Burning, err = burning(tx, actor, c, ranges, now); err != nil {
					return step{}, err
				}
			}
			if out.Unread, err = s.unread(tx, c, me); err != nil {
				return step{}, err
			}
			if d.Kind == Read && out.Unread != before {
				if err := touchMark(tx, c, me, now); err != nil {
					return step{}, err
				}
				err = tellUnread(tx, actor, c, out.Unread, d.readEvent(ranges, now))
			}
			return step{Receipted: out}, err
		})
		if err != nil || !done.more {
			return done.Receipted, err
		}
	}
}

// takesReceipts refuses receipts where there are none. In a channel they are for
// the reader's own unread count.
func takesReceipts(c Conversation, me Membership) error {
	switch {
	case c.Kind == Room:
		return Refuse(Rule, "receipts_unsupported", "a room has no receipts")
	case !me.Active():
		return Refuse(Rule, "not_joined", "join the thread first")
	default:
		return nil
	}
}

// receiptRanges finds the messages that a receipt is for, all of which the
// member can read. One's own are left out where they are named.
func (s *Service) receiptRanges(r Reader, actor Actor, c Conversation, me Membership, d ReceiptDraft) ([]SeqRange, error) {
	if d.UpTo != "" {
		m, err := s.named(r, c, me, "up_to", d.UpTo)
		if err != nil {
			return nil, err
		}
		return clip(me.Visible(c), 0, m.Seq+1), nil
	}
	if len(d.MessageIDs) > MaxReceiptIDs {
		return nil, RefuseField(Invalid, "invalid_request", "message_ids", "at most %d messages", MaxReceiptIDs)
	}
	seqs := make([]int64, 0, len(d.MessageIDs))
	for i, text := range d.MessageIDs {
		m, err := s.named(r, c, me, fmt.Sprintf("message_ids/%d", i), text)
		if err != nil {
			return nil, err
		}
		if m.Sender != actor.User {
			seqs = append(seqs, m.Seq)
		}
	}
	return rangesOf(seqs), nil
}

// ids returns the messages that a receipt names, which were checked.
func (d ReceiptDraft) ids() []ID {
	ids := make([]ID, len(d.MessageIDs))
	for i, text := range d.MessageIDs {
		ids[i], _ = ParseID(text)
	}
	return ids
}

// readEvent is what an event about a receipt for ranges says of what was read:
// the messages that were named, or all up to the last one.
func (d ReceiptDraft) readEvent(ranges []SeqRange, now time.Time) Event {
	e := Event{At: now, MessageIDs: d.ids()}
	if d.UpTo != "" && len(ranges) > 0 {
		e.UpToSeq = ranges[len(ranges)-1].To
	}
	return e
}

// putReceipt records a receipt and tells of what is new in it. What was read
// was delivered, too.
func (s *Service) putReceipt(tx Tx, actor Actor, c Conversation, d ReceiptDraft, ranges []SeqRange, now time.Time) error {
	fresh, err := recordReceipt(tx, actor, c, d.Kind, ranges, now)
	if err != nil || len(fresh) == 0 {
		return err
	}
	told := receiptEvent(d.Kind, actor, c, now)
	if c.Kind != Direct {
		return s.tellSenders(tx, actor, c, fresh, told)
	}
	told.UpTo, _ = ParseID(d.UpTo)
	told.MessageIDs = d.ids()
	_, err = tx.Append(told)
	return err
}

// recordReceipt records a receipt and returns what is new in it.
func recordReceipt(tx Tx, actor Actor, c Conversation, kind ReceiptKind, ranges []SeqRange, now time.Time) ([]SeqRange, error) {
	var fresh []SeqRange
	for _, r := range ranges {
		parts, err := tx.PutReceipt(kind, c.ID, actor.User, r, now)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, parts...)
	}
	return fresh, nil
}

// receiptEvent is the event of a receipt but for what it is for. Of a direct
// message, that it was read is told to both sides; that it was delivered, to
// its sender.
func receiptEvent(kind ReceiptKind, actor Actor, c Conversation, now time.Time) Event {
	e := Event{
		Type: receiptEvents[kind], At: now, Conversation: c.ID,
		Actor: actor.User, ActorDevice: actor.Device, User: actor.User,
	}
	if kind == Delivered {
		e.To = c.Peer(actor.User)
	}
	return e
}

// tellSenders tells the senders in a group of the receipts that they asked for.
func (s *Service) tellSenders(tx Tx, actor Actor, c Conversation, fresh []SeqRange, told Event) error {
	var senders []UserID
	ids := make(map[UserID][]ID)
	left := maxTracked
	for _, r := range fresh {
		tracked, err := tx.Tracked(c.ID, r, actor.User, left)
		if err != nil {
			return err
		}
		for _, m := range tracked {
			if ids[m.Sender] == nil {
				senders = append(senders, m.Sender)
			}
			ids[m.Sender] = append(ids[m.Sender], m.ID)
		}
		if left -= len(tracked); left <= 0 {
			break
		}
	}
	for _, sender := range senders {
		them, err := s.stand(tx, c, sender)
		if err != nil {
			return err
		}
		if !them.May.Has(PermissionView) {
			continue // they have left, or lost sight of it
		}
		told.To, told.MessageIDs = sender, ids[sender]
		if _, err := tx.Append(told); err != nil {
			return err
		}
	}
	return nil
}

// unstartedIn returns messages that begin to burn by being read now: one more
// than a transaction should hold tells that there may be more.
func unstartedIn(r Reader, actor Actor, c Conversation, ranges []SeqRange) ([]Message, error) {
	var out []Message
	for _, rng := range ranges {
		batch, err := r.Unstarted(c.ID, rng, actor.User, maxStarted+1-len(out))
		if err != nil {
			return nil, err
		}
		if out = append(out, batch...); len(out) > maxStarted {
			break
		}
	}
	return out, nil
}

// burning returns the messages in the ranges that burn.
func burning(r Reader, actor Actor, c Conversation, ranges []SeqRange, now time.Time) ([]Message, error) {
	var out []Message
	for _, rng := range ranges {
		batch, err := r.Burning(c.ID, rng, actor.User, maxBurning-len(out))
		if err != nil {
			return nil, err
		}
		for _, m := range batch {
			if m.AsOf(now).State == Active {
				out = append(out, m)
			}
		}
		if len(out) >= maxBurning {
			break
		}
	}
	return out, nil
}

// startBurn starts the clock of one message, or erases it if it has none.
func (s *Service) startBurn(tx Tx, actor Actor, m Message, now time.Time) error {
	cause := Event{Actor: actor.User, ActorDevice: actor.Device}
	current := m.AsOf(now)
	switch {
	case current.State != Active:
		_, err := s.erase(tx, m, *current.Erased, Event{Late: now.Sub(current.Erased.At)})
		return err
	case m.Burn.After == 0:
		_, err := s.erase(tx, m, Erasure{State: Burned, At: now, By: actor.User}, cause)
		return err
	}
	at := now.Add(m.Burn.After)
	hiddenBy, err := tx.HiddenBy(m)
	if err != nil {
		return err
	}
	if err := tx.StartBurn(m.ID, at); err != nil {
		return err
	}
	cause.HiddenBy = hiddenBy
	cause.Type, cause.At, cause.Conversation = MessageBurnStarted, now, m.Conversation
	cause.MessageID, cause.Seq, cause.BurnAt = m.ID, m.Seq, at
	_, err = tx.Append(cause)
	return err
}

// Delivery says that a user was told of messages on a stream.
type Delivery struct {
	User         UserID
	Conversation ID
	Range        SeqRange
}

// Deliver records that messages were written to their recipients' streams,
// many in a transaction. Who is not a member any more is passed over.
func (s *Service) Deliver(ctx context.Context, deliveries []Delivery) error {
	for chunk := range slices.Chunk(deliveries, maxDelivered) {
		err := s.store.Write(ctx, func(tx Tx) error {
			now := s.time()
			for _, d := range chunk {
				if err := s.deliver(tx, d, now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) deliver(tx Tx, d Delivery, now time.Time) error {
	actor := Actor{User: d.User}
	c, me, err := s.enter(tx, actor, ConversationRef{ID: d.Conversation})
	if e, ok := AsError(err); ok && e.Kind == NotFound {
		return nil
	}
	if err != nil || !me.Active() {
		return err
	}
	fresh, err := recordReceipt(tx, actor, c, Delivered, clip(me.Visible(c), d.Range.From-1, d.Range.To+1), now)
	if err != nil || len(fresh) == 0 {
		return err
	}
	told := receiptEvent(Delivered, actor, c, now)
	if c.Kind != Direct {
		return s.tellSenders(tx, actor, c, fresh, told)
	}
	// A stream tells what it told, which need not be all that was before it: so
	// the messages are named, and never up to which they are.
	q := HistoryQuery{
		Conversation: c.ID, Ranges: fresh, Ascending: true, Sender: c.Peer(actor.User), Limit: MaxReceiptIDs,
	}
	for {
		page, err := tx.Messages(q)
		if err != nil {
			return err
		}
		told.MessageIDs = nil
		for _, m := range page.Messages {
			told.MessageIDs = append(told.MessageIDs, m.ID)
		}
		if len(told.MessageIDs) > 0 {
			if _, err := tx.Append(told); err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		q.Past = page.Next
	}
}

// Receipts is who has a message and who has not.
type Receipts struct {
	Read      []Receipt
	Delivered []Receipt
	// Unread are those who have not read it.
	Unread []UserID
}

// Receipts returns who has a message of the actor's, against those who were
// members when it was sent.
func (s *Service) Receipts(ctx context.Context, actor Actor, id ID) (Receipts, error) {
	return view(ctx, s, func(r Reader) (Receipts, error) {
		c, _, m, err := s.readable(r, actor, id)
		if err != nil {
			return Receipts{}, err
		}
		if m.Sender != actor.User {
			return Receipts{}, Refuse(Forbidden, "not_sender", "only who sent a message is told who has it")
		}
		if c.Kind == Room || c.Kind == Channel {
			return Receipts{}, Refuse(Rule, "receipts_unsupported", "a %s has no receipts", c.Kind)
		}
		if c.Kind != Direct && !m.Receipt {
			return Receipts{}, Refuse(Rule, "receipt_not_asked", "the message was sent without receipt")
		}
		users, err := r.MembersAtSeq(c.ID, m.Seq, s.policy.MaxMembers)
		if err != nil {
			return Receipts{}, err
		}
		users = slices.DeleteFunc(users, func(u UserID) bool { return u == m.Sender })
		var out Receipts
		if out.Read, err = r.ReceiptsOf(Read, c.ID, m.Seq); err != nil {
			return Receipts{}, err
		}
		if out.Delivered, err = r.ReceiptsOf(Delivered, c.ID, m.Seq); err != nil {
			return Receipts{}, err
		}
		counted := func(list []Receipt) []Receipt {
			return slices.DeleteFunc(list, func(rc Receipt) bool { return !slices.Contains(users, rc.User) })
		}
		out.Read, out.Delivered = counted(out.Read), counted(out.Delivered)
		for _, rc := range out.Read {
			if !has(out.Delivered, rc.User) {
				out.Delivered = append(out.Delivered, rc) // what was read was delivered
			}
		}
		for _, u := range users {
			if !has(out.Read, u) {
				out.Unread = append(out.Unread, u)
			}
		}
		return out, nil
	})
}

func has(list []Receipt, user UserID) bool {
	return slices.ContainsFunc(list, func(rc Receipt) bool { return rc.User == user })
}
