package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imapi/imapi/faults"
)

// The write-ahead log has to be moved into the database now and then, or it would grow
// for ever and a start would take longer and longer. SQLite lets whoever commits do that,
// on the way of all who wait for the commit. Here a goroutine with a connection of its
// own does it, while the writer goes on:
//
//   - from logStep bytes on that are only in the log, it moves what it can (passively:
//     it waits for nobody, and nobody for it). What senders add meanwhile stays, and so
//     the log has no end at which it could begin anew;
//   - so from logRestart bytes on it has the writer pause for the little that is left
//     to move, logPause at the most, and the next commit begins the log anew;
//   - reads that began before keep what they may still look at in the log, and may be in
//     the way of both. From logMost bytes on the pause is as long as reads may last,
//     after which none can be.
//
// Then only another process that holds a read open can be in the way. It is warned of, and
// tried again.
const (
	logStep    = 16 << 20
	logRestart = 64 << 20
	logMax     = 256 << 20
	// lookInterval is how soon after a commit the log is looked at: many commits share a
	// look.
	checkInterval = 100 * time.Millisecond
	logPause      = 20 * time.Millisecond
	// pauseInterval is the least time between two pauses of which the first was in vain.
	// After a long one it is so many times as long.
	pauseInterval = time.Second
	longPauseRest = 20
	// longPauseSlack is how much longer than a read may last a long pause is, for the log
	// to be moved meanwhile, and longPauseLimit the longest.
	longPauseSlack = 250 * time.Millisecond
	longPauseLimit = 5 * time.Second
)

// logLimits are logStep, logRestart and logMost, in bytes.
type logLimits struct{ step, restart, most int64 }

// logState is what the write-ahead log holds.
type logState struct {
	// bytes is all of it, and unmoved what is not yet in the database.
	bytes, unmoved int64
	// busy says that something was in the way of what was asked for.
	busy bool
}

// checkpointer moves the write-ahead log into the database.
type checkpointer struct {
	store *Store
	// session is kept from the store's opening to its end, for to open one when it is
	// needed may fail, as without a free file descriptor. It is of the goroutine, and
	// then of who closes the store.
	session *session
	limits  logLimits
	// wanted holds one: commits while the log is looked at are for the next look.
	wanted  chan struct{}
	closing chan struct{}
	ended   chan struct{}
	// writing is held by the writer from the beginning to the end of a transaction, and
	// while none is to be.
	writing sync.Mutex
	// nextPause is when the writer may be paused next, nextLong for long.
	nextPause, nextLong time.Time
}

func newCheckpointer(s *Store) (*checkpointer, error) {
	c := &checkpointer{
		store: s, limits: s.options.log,
		wanted: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	var err error
	c.session, err = c.open()
	return c, err
}

// open opens a connection that waits for no lock, and has it open all of its files.
func (c *checkpointer) open() (*session, error) {
	session, err := openSession(c.store.path, c.store.options, moving)
	if err != nil {
		return nil, err
	}
	session.fault = c.store.options.logFault
	_, err = session.conn.ExecContext(session.ctx, "PRAGMA busy_timeout = 0")
	if err == nil {
		_, err = session.moveLog("PASSIVE")
	}
	if err != nil {
		return nil, errors.Join(err, session.close())
	}
	return session, nil
}

// renew opens the connection again after an error. The one there is stays if there can
// be no other.
func (c *checkpointer) renew() {
	session, err := c.open()
	if err != nil {
		c.store.options.Logger.Error("opening the connection that moves the write-ahead log failed", "error", faults.Text(err))
		return
	}
	if err := c.session.close(); err != nil {
		c.store.options.Logger.Error("closing the connection that moves the write-ahead log failed", "error", faults.Text(err))
	}
	c.session = session
}

// begin waits for the end of a pause, and keeps another one from beginning until end is
// called.
func (c *checkpointer) begin() { c.writing.Lock() }

func (c *checkpointer) end() { c.writing.Unlock() }

// committed has the log looked at soon. It does not wait.
func (c *checkpointer) committed() {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

func (c *checkpointer) loop() {
	defer close(c.ended)
	for {
		select {
		case <-c.wanted:
		case <-c.closing:
			return
		}
		if !c.wait(checkInterval) {
			return
		}
		if err := c.look(); err != nil {
			c.store.options.Logger.Error("moving the write-ahead log into the database failed", "error", faults.Text(err))
			c.renew()
			c.committed() // tried again, whoever writes
			if !c.wait(pauseInterval) {
				return
			}
		}
	}
}

// wait lets a time pass; false says that the store is about to close.
func (c *checkpointer) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.closing:
		return false
	}
}

// look does what the size of the log asks for.
func (c *checkpointer) look() error {
	state, err := c.move("NOOP")
	if err != nil || state.unmoved < c.limits.step && state.bytes < c.limits.restart {
		return err
	}
	if state, err = c.move("PASSIVE"); err != nil || state.bytes < c.limits.restart {
		return err
	}
	return c.restart(state)
}

// restart has the next commit begin the log anew, for which the writer pauses. After a pause
// in vain it is left alone for some time.
func (c *checkpointer) restart(state logState) (err error) {
	long, patience := false, logPause
	switch now := time.Now(); {
	case state.bytes >= c.limits.most && !now.Before(c.nextLong):
		// For the reads that began before the pause, and then for those that began
		// before the rest was moved.
		long, patience = true, min(2*c.store.options.ReadLimit+longPauseSlack, longPauseLimit)
	case now.Before(c.nextPause):
		return nil
	}
	if state, err = c.paused(patience); err != nil || !state.busy {
		c.nextPause, c.nextLong = time.Time{}, time.Time{}
		return err
	}
	now := time.Now()
	c.nextPause = now.Add(pauseInterval)
	if long {
		c.nextLong = now.Add(longPauseRest * patience)
		c.store.options.Logger.Warn("the write-ahead log grows: something has a read of the database open that does not end",
			"bytes", state.bytes, "unmoved", state.unmoved)
	}
	return nil
}

// paused tries to move all of the log for as long as it is given, while there is no
// transaction.
func (c *checkpointer) paused(patience time.Duration) (state logState, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	for end := time.Now().Add(patience); ; {
		state, err = c.move("RESTART")
		if err != nil || !state.busy || time.Now().After(end) {
			return state, err
		}
		select {
		case <-retry.C:
		case <-c.closing:
			return state, nil
		}
	}
}

// move runs a checkpoint and reports what the log holds then.
func (c *checkpointer) move(mode string) (logState, error) {
	c.session.reset()
	state, err := c.session.moveLog(mode)
	if err == nil && c.store.options.ObserveLog != nil {
		c.store.options.ObserveLog(state.unmoved)
	}
	return state, err
}

// close ends the goroutine; the rest of the log, and the connection, are left to
// [checkpointer.finish].
func (c *checkpointer) close() {
	close(c.closing)
	<-c.ended
}

// finish moves all of the log and makes its file empty, once nobody of the store uses the
// database any more, and closes the connection.
func (c *checkpointer) finish() error {
	err := c.session.emptyLog()
	if err != nil && !errors.Is(err, errLogHeld) {
		c.renew()
		err = c.session.emptyLog()
	}
	return errors.Join(err, c.session.close())
}

// finishLimit is how long emptying the log is tried.
const finishLimit = 5 * time.Second

var errLogHeld = errors.New("the write-ahead log could not be emptied: something else has the database open")

// emptyLog moves all of the log and makes its file empty, which it tries until something
// else that reads the database has ended.
func (s *session) emptyLog() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), finishLimit, errLogHeld)
	defer cancel()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	s.reset()
	for {
		if state, err := s.moveLog("TRUNCATE"); err != nil || !state.busy {
			return err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// frameSize is what a page takes in the log.
const frameSize = 4096 + 24

// moveLog runs a checkpoint: NOOP looks only, PASSIVE moves what it can, RESTART has the
// log begin anew besides, and TRUNCATE empties its file.
func (s *session) moveLog(mode string) (state logState, err error) {
	var frames, moved int64
	if _, err := s.row("PRAGMA wal_checkpoint("+mode+")", nil, &state.busy, &frames, &moved); err != nil {
		return state, fmt.Errorf("checkpoint: %w", err)
	}
	// Without a look, for somebody else just moves the log, both are -1.
	state.bytes, state.unmoved = max(frames, 0)*frameSize, (frames-moved)*frameSize
	return state, nil
}
