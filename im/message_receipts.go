package im

import (
	"context"
	"slices"
	"time"
)

// Receipts are the users who have received a message, those who have read it, and those who have
// not read it.
type Receipts struct {
	Read      []Receipt
	Delivered []Receipt
	Unread    []UserID
}

// Receipts returns the receipts of a message of the actor, of the users who were members
// when it was sent. For a tombstone it returns the receipts given before the erasure. It refuses a
// message that the actor cannot read or did not send, one in a room or channel, and one in a group
// or thread that was not sent with receipt.
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
			return Receipts{}, Refuse(Rule, "receipt_not_asked", "the message was sent without asking for receipts")
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
		for _, rc := range out.Read { // a message that was read was delivered, at the latest then
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

// isAfter reports whether the erasure came after a receipt given at a time. If the two times are
// equal, it returns true for an erasure by a user, because reading a message may burn it.
func (e Erasure) isAfter(at time.Time) bool { return at.Before(e.At) || e.By != "" && at.Equal(e.At) }

func has(list []Receipt, user UserID) bool {
	return slices.ContainsFunc(list, func(rc Receipt) bool { return rc.User == user })
}
