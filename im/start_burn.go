package im

import (
	"time"

	"github.com/imapi/imapi/seqs"
)

// maxBurning bounds the burning messages in the answer to one receipt: far more than a
// client shows. maxStarted bounds the messages that one transaction starts to burn. A
// receipt for more takes several transactions.
const (
	maxBurning = 1000
	maxStarted = 32
)

// startBurn starts the timer of a burning message that was read. It erases the message instead if
// it burns at once or is already due.
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

// unstartedIn returns the messages in the ranges that start to burn when the actor reads them, up
// to one more than a transaction should start.
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

// burning returns up to maxBurning messages in the ranges that have started to burn and are active.
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
