package im

import (
	"context"
	"time"
)

// Delivery records that messages were written to a stream of a user.
type Delivery struct {
	User         UserID
	Conversation ID
	Range        SeqRange
}

// Deliver stores delivered receipts for messages that were written to streams, and publishes the
// new receipts. It works in the steps of a job, with pauses, because senders wait for each step. It
// skips users who are no longer members. Any error is from the store or ctx.
func (s *Service) Deliver(ctx context.Context, deliveries []Delivery) error {
	ctx = asJob(ctx, "deliver")
	for len(deliveries) > 0 {
		began := time.Now()
		n, err := write(ctx, s, func(tx Tx) (int, error) {
			pace, now := s.jobPace(), s.time()
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
		if err := PauseAfter(ctx, time.Since(began)); err != nil {
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
	// Earlier messages may not have been delivered, so the events list messages instead of saying
	// up to which one.
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
