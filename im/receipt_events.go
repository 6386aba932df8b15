package im

import (
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// maxTracked bounds the messages for which one transaction publishes receipts to their
// senders. A receipt for more takes several transactions.
const maxTracked = 1000

// receiptEvents are the types of the events about receipts, by kind.
var receiptEvents = map[ReceiptKind]EventType{Delivered: ReceiptDelivered, Read: ReceiptRead}

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

// newestOf returns the newest message of the peer in a direct conversation that the receipt is new
// for, nil if there is none. holds reports whether the receipt may be published as one for all
// messages up to that one, that is, whether none of these was hidden unread or lacks a receipt of
// this kind. It is also false if not all messages in question could be examined.
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
// read; reader "" can read all. sure is false if it could examine only a part of them.
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

// owed returns, in the order of seq, the messages in the ranges whose senders get a receipt of the
// member: active messages that the member can read, in groups only those that were sent with
// receipt. If there may be more, through is the seq up to which the result is complete; otherwise
// it is 0.
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

// publishReceipts publishes a receipt for messages, with their ids: in a group to each of their
// senders who can still see the conversation.
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
