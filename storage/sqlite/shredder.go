package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

const (
	// shredDelay is how long a key that is doomed waits for others, with which it
	// shares a sync of the key file.
	shredDelay = 100 * time.Millisecond
	// shredRetry is how long it waits after a failure.
	shredRetry = 500 * time.Millisecond
	// forgetBatch is how many notes one transaction removes, for it to be short.
	forgetBatch = 500
)

const (
	selectDoomed = "SELECT slot, code, message_id FROM doomed ORDER BY slot"
	putShredded  = "UPDATE messages SET shredded_at = ? WHERE id IN (SELECT j.value FROM json_each(?) AS j)"
	deleteDoomed = "DELETE FROM doomed WHERE code = ? AND slot IN (SELECT j.value FROM json_each(?) AS j)"
	putKeyEpoch  = "UPDATE meta SET value = ? WHERE key = 'key_epoch'"
)

// doomed is a key that is to be shredded, and the message of which a tombstone stays, 0
// for none.
type doomed struct {
	im.Shredding
	message int64
}

// shreddings are what the keys are told of them.
func shreddings(list []doomed) []im.Shredding {
	keys := make([]im.Shredding, len(list))
	for i, d := range list {
		keys[i] = d.Shredding
	}
	return keys
}

// ShredStats tell how one batch of shredding went.
type ShredStats struct {
	// Keys is how many keys were to be shredded.
	Keys int
	// Delay is from the commit of the erasure that waited longest to the end of the
	// batch.
	Delay time.Duration
	// Err is why they are to be shredded again; nil if they are gone.
	Err error
}

// shredder destroys the keys of what was erased, after the COMMIT: were it before, a
// commit that failed would lose a message. What it has to do is noted in the table
// doomed by the erasing transaction itself, so nothing is forgotten in a crash; and the
// note goes in a later transaction.
type shredder struct {
	store *Store
	wake  chan struct{} // holds one
	// closing is closed when the store is about to be, ended when the goroutine has.
	closing, ended chan struct{}

	mu      sync.Mutex
	waiting []doomed
	since   time.Time // when the first of waiting was committed
	failed  bool      // the last try
}

func newShredder(s *Store) *shredder {
	return &shredder{store: s, wake: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{})}
}

// add has keys shredded soon. It does not wait.
func (s *shredder) add(list []doomed) {
	if len(list) == 0 {
		return
	}
	s.mu.Lock()
	if len(s.waiting) == 0 {
		s.since = s.store.options.Now()
	}
	s.waiting = append(s.waiting, list...)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// waits returns how many keys are to be shredded, and since when.
func (s *shredder) waits() (n int, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting), s.since
}

// stop ends the goroutine. What it has not come to is left to finish.
func (s *shredder) stop() {
	close(s.closing)
	<-s.ended
}

func (s *shredder) loop() {
	defer close(s.ended)
	delay := shredDelay
	for {
		select {
		case <-s.wake:
		case <-s.closing:
			return
		}
		if !s.wait(delay) {
			return
		}
		delay = shredDelay
		list, err := s.shred()
		if err == nil {
			err = s.deleteNotes(list)
		}
		if err != nil {
			if errors.Is(err, errClosed) {
				return
			}
			delay = shredRetry
			select {
			case s.wake <- struct{}{}:
			default:
			}
		}
	}
}

// wait lets a time pass; false says that the store is about to close.
func (s *shredder) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closing:
		return false
	}
}

// shred destroys what waits, and returns what that was. After an error all of it waits
// still.
func (s *shredder) shred() ([]doomed, error) {
	s.mu.Lock()
	list, since := s.waiting, s.since
	s.mu.Unlock()
	if len(list) == 0 {
		return nil, nil
	}
	err := s.store.sealer.keys.Shred(shreddings(list))
	now := s.store.options.Now()
	s.mu.Lock()
	if err == nil {
		s.waiting = s.waiting[len(list):]
		s.since = now // of those that came meanwhile it is about then
	}
	first := err != nil && !s.failed
	s.failed = err != nil
	s.mu.Unlock()
	if first {
		s.store.options.Logger.Error("the keys of what was erased could not be shredded, which is tried again", "keys", len(list), "error", faults.Text(err))
	}
	if observe := s.store.options.ObserveShred; observe != nil {
		observe(ShredStats{Keys: len(list), Delay: now.Sub(since), Err: err})
	}
	return list, err
}

// forget removes the notes of keys that were shredded, in short transactions.
func (s *shredder) deleteNotes(list []doomed) error {
	ctx := im.WithCaller(context.Background(), im.Caller{Job: "shredding"})
	at, epoch := s.store.options.Now(), s.store.sealer.keys.Epoch()
	for len(list) > 0 {
		n, began := min(len(list), forgetBatch), time.Now()
		err := s.store.Write(ctx, func(w im.Tx) error {
			return w.(*tx).session.deleteDoomed(list[:n], at, epoch)
		})
		if err != nil {
			// They stay noted, and are shredded once more at the next start.
			s.store.options.Logger.Error("shredded keys stay noted as to be shredded", "keys", len(list), "error", faults.Text(err))
			s.mu.Lock()
			s.waiting = append(s.waiting, list...) // shredding them again changes nothing
			s.mu.Unlock()
			return err
		}
		if list = list[n:]; len(list) > 0 {
			_ = im.PauseAfter(ctx, time.Since(began)) // ctx has no end
		}
	}
	return nil
}

// finish shreds what waits once the writer has ended, and removes the notes on its
// connection, so that the next start has nothing to do.
func (s *shredder) finish(session *session) error {
	list, err := s.shred()
	if err != nil {
		return fmt.Errorf("shred the keys of what was erased: %w", err)
	}
	if session == nil || len(list) == 0 {
		return nil
	}
	return session.inOne(func() error {
		return session.deleteDoomed(list, s.store.options.Now(), s.store.sealer.keys.Epoch())
	})
}

// inOne runs a function in a transaction, on a session that nobody else uses.
func (s *session) inOne(fn func() error) error {
	s.reset()
	if err := s.control("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		err = s.control("COMMIT")
	}
	if s.inTransaction() {
		err = errors.Join(err, s.control("ROLLBACK"))
	}
	return err
}

// loadDoomed returns the keys that are noted as to be shredded.
func (s *session) loadDoomed() (list []doomed, err error) {
	err = s.query(selectDoomed, nil, func(rows *sql.Rows) (bool, error) {
		var d doomed
		err := rows.Scan(&d.Slot, &d.Code, &d.message)
		list = append(list, d)
		return true, err
	})
	return list, err
}

// forgetDoomed notes of messages that their keys were shredded at a time, removes what
// was noted of keys, and stores up to which epoch of the keys that is so.
func (s *session) deleteDoomed(list []doomed, at time.Time, epoch uint64) error {
	var messages []int64
	slots := map[im.ShredCode][]int64{}
	for _, d := range list {
		slots[d.Code] = append(slots[d.Code], int64(d.Slot))
		if d.message != 0 {
			messages = append(messages, d.message)
		}
	}
	if len(messages) > 0 {
		ids, err := json.Marshal(messages)
		if err != nil {
			return err
		}
		if _, err := s.update(putShredded, at.UnixMilli(), string(ids)); err != nil {
			return err
		}
	}
	for code, list := range slots {
		numbers, err := json.Marshal(list)
		if err != nil {
			return err
		}
		if _, err := s.update(deleteDoomed, int64(code), string(numbers)); err != nil {
			return err
		}
	}
	_, err := s.update(putKeyEpoch, int64(epoch))
	return err
}

// shredDoomed does at the start what a crash has left undone, before anything is read.
func (s *session) shredDoomed(keys im.Keys, at time.Time) error {
	list, err := s.loadDoomed()
	if err != nil {
		return err
	}
	// Also of none: the epoch rises with each start, so that an older copy of either
	// file is known for that.
	if err := keys.Shred(shreddings(list)); err != nil {
		return fmt.Errorf("shred the keys of what was erased: %w", err)
	}
	return s.inOne(func() error { return s.deleteDoomed(list, at, keys.Epoch()) })
}

// keyRefusal turns an error of the keys into what callers are answered.
func keyRefusal(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return full(err)
	}
	return unavailable(err)
}
