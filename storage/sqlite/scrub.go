package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imapi/imapi/faults"
)

const (
	// scrubInterval is the least time from the beginning of one scrub to the
	// next: many erasures share one.
	scrubInterval = time.Second
	// scrubPatience is how long a scrub tries to find a moment in which no
	// read is in its way. Then it has new ones wait.
	scrubPatience = time.Second
	// writerPause is how long one try holds the writer up: a few short reads.
	writerPause = 10 * time.Millisecond
	// drainSlack is how much longer than a read may last new ones wait, for the
	// log to be moved meanwhile.
	drainSlack = 250 * time.Millisecond
	// drainLimit is how long new reads wait at the most, whatever happens.
	drainLimit = 2 * time.Second
	// writerPatience is how long a try waits for a transaction to end while
	// reads go on.
	writerPatience = 2 * time.Second
)

var errWriterInUse = errors.New("the write-ahead log could not be emptied: a transaction did not end")

// scrubber empties the write-ahead log after content was erased, for the log
// has the pages as they were before, and what was erased is gone only with it.
// It takes less than 5 s from the erasing on:
//
//   - up to scrubInterval, or until the scrub under way ends, to begin;
//   - up to scrubPatience of tries between transactions and reads;
//   - then new reads wait, and after the read limit there is none.
//
// A log that is moved into the database whole stays in the way of nobody: reads
// that begin then do without it. So a try that holds the writer up for a moment
// need not wait for a moment without any read, but for the end of those that
// began before.
//
// A transaction that does not end is in the way of the writer alone: no read
// waits for it longer than drainLimit, and what could not be done is tried
// again.
type scrubber struct {
	store *Store
	// session is kept from the store's opening to its end: to open one when it
	// is needed may fail, as without a free file descriptor. It is of the
	// scrubber's goroutine, and then of who closes the store.
	session *session
	// wanted holds one: a request while a scrub is under way is for the next.
	wanted  chan struct{}
	closing chan struct{}
	ended   chan struct{}
}

func newScrubber(s *Store) (*scrubber, error) {
	session, err := openScrubSession(s)
	if err != nil {
		return nil, err
	}
	return &scrubber{
		store: s, session: session, wanted: make(chan struct{}, 1),
		closing: make(chan struct{}), ended: make(chan struct{}),
	}, nil
}

// openScrubSession opens a connection that waits for no lock, and has it open
// all of its files.
func openScrubSession(s *Store) (*session, error) {
	session, err := openSession(s.path, s.options, checkpointing)
	if err != nil {
		return nil, err
	}
	_, err = session.conn.ExecContext(session.ctx, "PRAGMA busy_timeout = 0")
	if err == nil {
		_, err = session.checkpoint("PASSIVE")
	}
	if err != nil {
		return nil, errors.Join(err, session.close())
	}
	return session, nil
}

// renew opens the connection again after an error. The one there is stays if
// there can be no other.
func (c *scrubber) renew() {
	session, err := openScrubSession(c.store)
	if err != nil {
		c.store.options.Logger.Error("opening the connection that empties the write-ahead log failed", "error", faults.Text(err))
		return
	}
	if err := c.session.close(); err != nil {
		c.store.options.Logger.Error("closing the connection that empties the write-ahead log failed", "error", faults.Text(err))
	}
	c.session = session
}

// request has the log scrubbed soon. It does not wait.
func (c *scrubber) request() {
	if c.store.options.noScrubs {
		return
	}
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

// close ends the scrubber; what it has not come to, and its connection, are
// left to who closes the store.
func (c *scrubber) close() {
	close(c.closing)
	<-c.ended
}

// finish empties the log once nobody else uses the file, and closes the
// connection.
func (c *scrubber) finish() error {
	err := c.session.truncateLog(context.Background())
	if err != nil && !errors.Is(err, errLogInUse) {
		c.renew()
		err = c.session.truncateLog(context.Background())
	}
	return errors.Join(err, c.session.close())
}

func (c *scrubber) loop() {
	defer close(c.ended)
	for {
		select {
		case <-c.wanted:
		case <-c.closing:
			return
		}
		next := time.Now().Add(scrubInterval)
		err := c.scrub()
		if errors.Is(err, errClosed) {
			return
		}
		if err != nil {
			// What was erased is in the log still, so this is tried until
			// it is done.
			c.store.options.Logger.Error("what was erased is not yet wiped from the write-ahead log", "error", faults.Text(err))
			c.request()
			if !errors.Is(err, errLogInUse) && !errors.Is(err, errWriterInUse) {
				c.renew()
			}
		}
		if !c.wait(time.Until(next)) {
			return
		}
	}
}

// wait lets a time pass; false says that the store is about to close.
func (c *scrubber) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.closing:
		return false
	}
}

// scrub empties the log.
func (c *scrubber) scrub() error {
	wait := 2 * writerPause
	for end := time.Now().Add(scrubPatience); time.Now().Before(end); wait = min(2*wait, scrubPatience/4) {
		if done, err := c.try(writerPatience); done || err != nil {
			return err
		}
		if !c.wait(wait) {
			return errClosed
		}
	}
	// The writer was just there. Should it or the disk be slow now, the gate
	// opens all the same.
	limit := min(c.store.options.ReadLimit+drainSlack, drainLimit)
	end := time.Now().Add(limit)
	c.store.gate.shut()
	open := sync.OnceFunc(c.store.gate.open)
	defer open()
	defer time.AfterFunc(limit, open).Stop()
	for {
		if done, err := c.try(time.Until(end)); done || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("with new reads waiting: %w", errLogInUse)
		}
		if !c.wait(writerPause) {
			return errClosed
		}
	}
}

// try empties the log if no read is in the way for longer than the writer may
// be held up. It waits for the writer for as long as it is given.
func (c *scrubber) try(patience time.Duration) (done bool, err error) {
	session := c.session
	session.reset()
	if _, err := session.checkpoint("PASSIVE"); err != nil {
		return false, err
	}
	paused := c.store.writer.pause(patience, func() {
		retry := time.NewTicker(time.Millisecond)
		defer retry.Stop()
		for end := time.Now().Add(writerPause); ; <-retry.C {
			done, err = session.checkpoint("TRUNCATE")
			if done || err != nil || time.Now().After(end) {
				return
			}
		}
	})
	if !paused {
		return false, errWriterInUse
	}
	return done, err
}
