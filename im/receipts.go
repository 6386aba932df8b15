package im

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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

// receiptEvents are the types of the events about receipts, by kind.
var receiptEvents = map[ReceiptKind]EventType{Delivered: ReceiptDelivered, Read: ReceiptRead}

// Receipt says that a user received or read a message, and when.
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

// MaxReceiptIDs is how many messages one receipt may name.
const MaxReceiptIDs = 200

// maxTracked bounds the messages for which one transaction publishes receipts to their
// senders. A receipt for more takes several transactions.
const maxTracked = 1000

// maxBurning bounds the burning messages in the answer to one receipt: far more than a
// client shows. maxStarted bounds the messages that one transaction starts to burn. A
// receipt for more takes several transactions.
const (
	maxBurning = 1000
	maxStarted = 32
)

// Receipted is the answer to a receipt.
type Receipted struct {
	// Unread is the unread count of the conversation afterwards.
	Unread UnreadCount
	// Burning are the messages of the receipt that have started to burn, now or before.
	Burning []Message
}

// PutReceipt stores that the actor has received or read messages, and publishes what is new
// in it. Reading a message that burns starts its time, or erases it at once if it has none.
//
// A receipt is for messages of other users that the actor can read, that were sent while
// they were a member and that they have not hidden. One for many messages takes several
// transactions. It refuses a conversation or message that the actor cannot see, a room, and
// a thread that they have not joined.
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
			var before UnreadCount // delivering changes none
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
			// A message that has started to burn is not found again, so the last
			// transaction, which starts the rest, stores the receipt.
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
// and that were sent while they were a member. It leaves out their own messages and
// tombstones.
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

// readEvent returns an event that says what a receipt for ranges was for: the messages that
// were named, or all up to the last one.
func (d ReceiptDraft) readEvent(ranges seqs.Set, now time.Time) Event {
	if d.UpTo != "" {
		return Event{At: now, UpToSeq: ranges.End()}
	}
	ids := make([]ID, len(d.MessageIDs))
	for i, text := range d.MessageIDs {
		ids[i], _ = ParseID(text) // they were checked
	}
	return Event{At: now, MessageIDs: ids}
}

// putReceipt stores a receipt for as many messages as one transaction should, publishes what
// is new in it, and returns the messages that it was stored for.
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

// newestOf returns the newest message of the peer in a direct conversation for which a
// receipt is new, nil if there is none. holds reports whether the receipt may be published
// as one for all messages up to that one. It may not if any of these was hidden unread or
// has no receipt of this kind.
func (s *Service) newestOf(r Reader, kind ReceiptKind, c Conversation, me Access, ranges, fresh seqs.Set) (m *Message, holds bool, err error) {
	m, sure, err := s.oneOf(r, c, me, me.user, fresh)
	if err != nil || !sure || m == nil {
		return m, sure, err
	}
	gaps, err := newIn(r, kind, c, me, seqs.Set{{From: 1, To: m.Seq}}.Without(ranges))
	if err != nil || len(gaps) == 0 {
		return m, true, err
	}
	missing, sure, err := s.oneOf(r, c, me, "", gaps)
	return m, sure && missing == nil, err
}

// oneOf returns the newest active message of the member's peer in the ranges that reader can
// read; reader "" can read all. It is not sure if it has examined only a part of them.
func (s *Service) oneOf(r MessageReader, c Conversation, me Access, reader UserID, ranges seqs.Set) (m *Message, sure bool, err error) {
	q := HistoryQuery{
		Conversation: c.ID, Ranges: ranges, Reader: reader, ActiveAt: s.time(), Since: s.cutoff(c), Sender: c.Peer(me.user), Limit: 1,
	}
	for range maxLooks {
		page, err := r.Messages(q)
		if err != nil {
			return nil, false, err
		}
		if len(page.Messages) > 0 {
			return &page.Messages[0], true, nil
		}
		if page.Next == nil {
			return nil, true, nil
		}
		q.Past = page.Next
	}
	return nil, false, nil
}

// owed returns the messages in the ranges for which a receipt of the member is published to
// their senders, by seq: active ones that the member can read, in groups only those that
// were sent with receipt. If there are more than the limit, through is the seq up to which
// the result is complete.
func (s *Service) owed(r Reader, c Conversation, me Access, ranges seqs.Set, limit int) (list []Message, through int64, err error) {
	now := s.time()
	if c.Kind == Direct {
		q := HistoryQuery{
			Conversation: c.ID, Ranges: ranges, Reader: me.user, ActiveAt: now, Since: s.since(c, me), Sender: c.Peer(me.user),
			Ascending: true, Limit: limit,
		}
		if len(ranges) == 0 {
			return nil, 0, nil
		}
		page, err := r.Messages(q)
		if err == nil && page.Next != nil {
			through = page.Next.Seq
		}
		return page.Messages, through, err
	}
	left := limit
	for _, rng := range ranges {
		tracked, err := r.Tracked(c.ID, rng, me.user, left)
		if err != nil {
			return nil, 0, err
		}
		for _, m := range tracked {
			if m.AsOf(now).State == Active && s.within(c, me, m) {
				list = append(list, m)
			}
		}
		if left -= len(tracked); left <= 0 {
			return list, tracked[len(tracked)-1].Seq, nil
		}
	}
	return list, 0, nil
}

// receiptEvent returns the event about a receipt without the messages that it is for. A read
// receipt in a direct conversation goes to both users, a delivered receipt to the sender.
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

// publishReceipts publishes a receipt for messages: in a group to the sender of each, by
// their ids.
func (s *Service) publishReceipts(tx Tx, c Conversation, messages []Message, said Event) error {
	var senders []UserID
	ids := make(map[UserID][]ID)
	for _, m := range messages {
		if ids[m.Sender] == nil {
			senders = append(senders, m.Sender)
		}
		ids[m.Sender] = append(ids[m.Sender], m.ID)
	}
	for _, sender := range senders {
		if c.Kind != Direct {
			them, err := s.access(tx, c, sender)
			if err != nil {
				return err
			}
			if !them.Can(PermissionView) {
				continue // the sender can no longer see the conversation
			}
			said.To = sender
		}
		for some := range slices.Chunk(ids[sender], MaxReceiptIDs) {
			said.MessageIDs = some
			if _, err := tx.Append(said); err != nil {
				return err
			}
		}
	}
	return nil
}

// unstartedIn returns the messages that start to burn by being read, one more than a
// transaction should start if there are so many.
func unstartedIn(r ErasureReader, actor Actor, c Conversation, ranges seqs.Set) ([]Message, error) {
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

// burning returns the messages in the ranges that have started to burn.
func burning(r ErasureReader, actor Actor, c Conversation, ranges seqs.Set, now time.Time) ([]Message, error) {
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

// startBurn starts the time of a burning message that was read, or erases it if it has none.
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

// Delivery says that messages were written to a stream of a user.
type Delivery struct {
	User         UserID
	Conversation ID
	Range        SeqRange
}

// Deliver stores delivered receipts for messages that were written to streams, and publishes
// what is new in them. It works in steps and skips users who are no longer members. The
// error is that of the store.
func (s *Service) Deliver(ctx context.Context, deliveries []Delivery) error {
	ctx = asJob(ctx, "deliver")
	for len(deliveries) > 0 {
		n, err := write(ctx, s, func(tx Tx) (int, error) {
			pace, now := s.pace(), s.time()
			for i, d := range deliveries {
				if i > 0 && pace.over() {
					return i, nil
				}
				if err := s.deliver(tx, d, now); err != nil {
					return 0, err
				}
			}
			return len(deliveries), nil
		})
		if err != nil {
			return err
		}
		deliveries = deliveries[n:]
	}
	return nil
}

func (s *Service) deliver(tx Tx, d Delivery, now time.Time) error {
	actor := Actor{User: d.User}
	c, me, err := s.enter(tx, actor, ConversationRef{ID: d.Conversation})
	if e, ok := AsError(err); ok && e.Kind == NotFound {
		return nil
	}
	if err != nil || !me.IsMember() {
		return err
	}
	ranges, err := s.receivable(tx, c, me, d.Range)
	if err != nil {
		return err
	}
	fresh, err := newIn(tx, Delivered, c, me, ranges)
	if err != nil {
		return err
	}
	if err := record(tx, Delivered, c, me, ranges, now); err != nil {
		return err
	}
	// The messages before these may not have been delivered, so the events name messages and
	// never say up to which one.
	for len(fresh) > 0 {
		messages, through, err := s.owed(tx, c, me, fresh, maxTracked)
		if err != nil {
			return err
		}
		if err := s.publishReceipts(tx, c, messages, receiptEvent(Delivered, actor, c, now)); err != nil {
			return err
		}
		if through == 0 {
			break
		}
		fresh = fresh.Between(through, 0)
	}
	return nil
}

// Receipts are the users who have received and read a message, and those who have not read
// it.
type Receipts struct {
	Read      []Receipt
	Delivered []Receipt
	Unread    []UserID
}

// Receipts returns the receipts of a message of the actor, of the users who were members
// when it was sent. For a tombstone they are those given before the erasure. It refuses a
// message that the actor cannot read or did not send, one in a room or channel, and one of a
// group that was sent without receipt.
func (s *Service) Receipts(ctx context.Context, actor Actor, id ID) (Receipts, error) {
	return view(ctx, s, func(r Reader) (Receipts, error) {
		c, _, m, err := s.readable(r, actor, id)
		if err != nil {
			return Receipts{}, err
		}
		if m.Sender != actor.User {
			return Receipts{}, Refuse(Forbidden, "not_sender", "only the sender of a message can see its receipts")
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
		users = slices.DeleteFunc(users, func(u UserID) bool {
			return u == m.Sender || m.VisibleTo != "" && m.VisibleTo != u
		})
		var out Receipts
		if out.Read, err = r.ReceiptsOf(Read, c.ID, m.Seq); err != nil {
			return Receipts{}, err
		}
		if out.Delivered, err = r.ReceiptsOf(Delivered, c.ID, m.Seq); err != nil {
			return Receipts{}, err
		}
		counted := func(list []Receipt) []Receipt {
			return slices.DeleteFunc(list, func(rc Receipt) bool {
				return m.Erased != nil && !m.Erased.isAfter(rc.At) || !slices.Contains(users, rc.User)
			})
		}
		out.Read, out.Delivered = counted(out.Read), counted(out.Delivered)
		for _, rc := range out.Read { // what was read was delivered, no later
			switch i := slices.IndexFunc(out.Delivered, func(d Receipt) bool { return d.User == rc.User }); {
			case i < 0:
				out.Delivered = append(out.Delivered, rc)
			case out.Delivered[i].At.After(rc.At):
				out.Delivered[i].At = rc.At
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

// isAfter reports whether a receipt given at a time came before the erasure. At the same
// time, it did if a user caused the erasure, because reading a message may burn it.
func (e Erasure) isAfter(at time.Time) bool { return at.Before(e.At) || e.By != "" && at.Equal(e.At) }

func has(list []Receipt, user UserID) bool {
	return slices.ContainsFunc(list, func(rc Receipt) bool { return rc.User == user })
}
