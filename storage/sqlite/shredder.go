package sqlite

import (
	"context"
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
	// shredDelay is the time that a doomed key waits for others, so that they share one sync of the
	// key file.
	shredDelay = 100 * time.Millisecond
	// shredRetry is the delay after a failure.
	shredRetry = 500 * time.Millisecond
	// forgetBatch is the number of rows of doomed that one transaction deletes, which keeps it
	// short.
	forgetBatch = 500
)

const (
	selectDoomed = "SELECT slot, code, message_id FROM doomed ORDER BY slot"
	putShredded  = "UPDATE messages SET shredded_at = ? WHERE id IN (SELECT j.value FROM json_each(?) AS j)"
	deleteDoomed = "DELETE FROM doomed WHERE code = ? AND slot IN (SELECT j.value FROM json_each(?) AS j)"
	putKeyEpoch  = "UPDATE meta SET value = ? WHERE key = 'key_epoch'"
)

// doomed is a key to shred, and the id of the tombstone, 0 if there is none.
type doomed struct {
	im.Shredding
	message int64
}

// shreddings returns the arguments of [im.Keys.Shred].
func shreddings(list []doomed) []im.Shredding {
	keys := make([]im.Shredding, len(list))
	for i, d := range list {
		keys[i] = d.Shredding
	}
	return keys
}

// ShredStats describes a batch of shredded keys.
type ShredStats struct {
	// Keys is the number of keys in the batch.
	Keys int
	// Delay is the time from the commit of the oldest erasure to the end of the batch.
	Delay time.Duration
	// Err is the error after which the batch is tried again, nil if the keys are shredded.
	Err error
}

// shredder shreds the keys of erased content after the commit. If it did so before, a
// failed commit would lose a message. The erasing transaction itself writes the keys to the
// table doomed, so a crash forgets none; a later transaction deletes the rows.
type shredder struct {
	store *Store
	wake  chan struct{} // buffered
	// closing is closed to end the goroutine, and ended is closed when it has ended.
	closing, ended chan struct{}

	mu      sync.Mutex
	waiting []doomed
	since   time.Time // commit time of the first in waiting
	failed  bool      // whether the last try failed
}

func newShredder(s *Store) *shredder {
	return &shredder{store: s, wake: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{})}
}

// add schedules keys for shredding. It does not block.
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

// waits returns the number of waiting keys, and the time since which the oldest has waited.
func (s *shredder) waits() (n int, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting), s.since
}

// stop ends the goroutine. [shredder.finish] shreds the keys that still wait.
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

// wait waits for a duration. It returns false if the store is being closed.
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

// shred shreds the waiting keys and returns them. After an error they continue to wait.
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
		s.since = now // approximately right for keys added in the meantime
	}
	first := err != nil && !s.failed
	s.failed = err != nil
	s.mu.Unlock()
	if first {
		s.store.options.Logger.Error("cannot shred keys of erased content, retrying", "keys", len(list), "error", faults.Text(err))
	}
	if observe := s.store.options.ObserveShred; observe != nil {
		observe(ShredStats{Keys: len(list), Delay: now.Sub(since), Err: err})
	}
	return list, err
}

// deleteNotes deletes the rows of shredded keys, in short transactions with pauses. In between it
// shreds keys that were added in the meantime, because they must not wait until the rows of all
// others are deleted.
func (s *shredder) deleteNotes(list []doomed) error {
	type shredded struct {
		list []doomed
		at   time.Time
	}
	ctx := im.WithCaller(context.Background(), im.Caller{Job: "shredding"})
	for queue := []shredded{{list, s.store.options.Now()}}; len(queue) > 0; {
		first, began := &queue[0], time.Now()
		n := min(len(first.list), forgetBatch)
		err := s.store.Write(ctx, func(w im.Tx) error {
			return w.(*tx).session.deleteDoomed(first.list[:n], first.at, s.store.sealer.keys.Epoch())
		})
		if err != nil {
			// The rows stay: the keys are shredded again, in the next round or at the next start.
			var left []doomed
			for _, q := range queue {
				left = append(left, q.list...)
			}
			s.store.options.Logger.Error("cannot delete notes of shredded keys", "keys", len(left), "error", faults.Text(err))
			s.mu.Lock()
			s.waiting = append(s.waiting, left...) // shredding again does no harm
			s.mu.Unlock()
			return err
		}
		if first.list = first.list[n:]; len(first.list) == 0 {
			queue = queue[1:]
		}
		if len(queue) == 0 {
			return nil
		}
		// After an error the keys wait for the next round.
		if more, err := s.shred(); err == nil && len(more) > 0 {
			queue = append(queue, shredded{more, s.store.options.Now()})
		}
		_ = im.PauseAfter(ctx, time.Since(began)) // ctx never ends
	}
	return nil
}

// finish shreds the waiting keys after the writer has ended, and deletes their rows on the
// writer's connection, so that the next start has nothing to do.
func (s *shredder) finish(session *session) error {
	list, err := s.shred()
	if err != nil {
		return fmt.Errorf("shred keys of erased content: %w", err)
	}
	if session == nil || len(list) == 0 {
		return nil
	}
	return session.inOne(func() error {
		return session.deleteDoomed(list, s.store.options.Now(), s.store.sealer.keys.Epoch())
	})
}

// inOne runs a function in a transaction of a session that nothing else uses.
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

// loadDoomed returns the keys to shred.
func (s *session) loadDoomed() (list []doomed, err error) {
	err = s.query(selectDoomed, nil, func(rows row) (bool, error) {
		var d doomed
		err := rows.Scan(&d.Slot, &d.Code, &d.message)
		list = append(list, d)
		return true, err
	})
	return list, err
}

// deleteDoomed stores the time of shredding in the tombstones, deletes the rows of shredded
// keys, and stores the epoch of the keys.
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

// shredDoomed shreds the keys that a crash has left behind, before anything is read.
func (s *session) shredDoomed(keys im.Keys, at time.Time) error {
	list, err := s.loadDoomed()
	if err != nil {
		return err
	}
	// Call Shred even for an empty list: each start must raise the epoch, by which an older copy of
	// either file is recognised.
	if err := keys.Shred(shreddings(list)); err != nil {
		return fmt.Errorf("shred keys of erased content: %w", err)
	}
	return s.inOne(func() error { return s.deleteDoomed(list, at, keys.Epoch()) })
}

// keyRefusal converts an error of the keys to an error for callers.
func keyRefusal(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return full(err)
	}
	return unavailable(err)
}
