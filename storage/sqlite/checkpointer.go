package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imapi/imapi/faults"
)

// The write-ahead log must be checkpointed, that is, moved into the database. Otherwise it grows
// without bound, and each start of the server takes longer. By default SQLite does that within a
// commit, while all callers of the commit wait. Here a goroutine with its own connection does it
// while the writer continues:
//
//   - When logStep bytes are not in the database yet, it runs a passive checkpoint, which blocks
//     nobody. Because the writer keeps appending, the log never restarts from its beginning.
//   - When the log has logRestart bytes, it pauses the writer for up to logPause to move the
//     rest. The next commit then restarts the log.
//   - Read transactions that began earlier can prevent both. When the log has logMax bytes, the
//     pause lasts up to twice as long as a read transaction may, so that none of them is left,
//     but not longer than longPauseLimit.
//
// Unless longPauseLimit has cut the pause short, only a read transaction of another process can
// still prevent the restart. The checkpointer then logs a warning and tries again.
const (
	logStep    = 16 << 20
	logRestart = 64 << 20
	logMax     = 256 << 20
	// checkInterval is the delay between a commit and the check of the log. Commits within
	// it share the check.
	checkInterval = 100 * time.Millisecond
	logPause      = 20 * time.Millisecond
	// pauseInterval is the minimum time between a pause that failed and the next pause. The
	// minimum time from a long pause that failed to the next long pause is longPauseRest times
	// the time that the long pause may last.
	pauseInterval = time.Second
	longPauseRest = 20
	// longPauseSlack is the time, for moving the log, that a long pause lasts beyond twice the
	// read limit. longPauseLimit bounds the pause.
	longPauseSlack = 250 * time.Millisecond
	longPauseLimit = 5 * time.Second
)

// logLimits holds logStep, logRestart and logMax, in bytes.
type logLimits struct{ step, restart, max int64 }

// logState is the state of the write-ahead log.
type logState struct {
	// bytes is the size of the log, unmoved the part that is not in the database yet.
	bytes, unmoved int64
	// busy is set if another transaction prevented the checkpoint.
	busy bool
}

// checkpointer moves the write-ahead log into the database.
type checkpointer struct {
	store *Store
	// session is opened with the store, because opening it later may fail, for example
	// without a free file descriptor. It belongs to the goroutine, then to Close.
	session *session
	limits  logLimits
	// wanted is buffered: a commit during a check triggers another check.
	wanted  chan struct{}
	closing chan struct{}
	ended   chan struct{}
	// writing is held by the writer during a transaction, and by the checkpointer during a
	// pause.
	writing sync.Mutex
	// nextPause is the earliest time of the next pause, nextLong of the next long one.
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

// open opens a connection that does not wait for locks, and makes it open all of its files.
func (c *checkpointer) open() (*session, error) {
	session, err := openSession(c.store.path, c.store.options, moving)
	if err != nil {
		return nil, err
	}
	session.fault = c.store.options.logFault
	_, err = session.conn.Exec("PRAGMA busy_timeout = 0", nil)
	if err == nil {
		_, err = session.moveLog("PASSIVE")
	}
	if err != nil {
		return nil, errors.Join(err, session.close())
	}
	return session, nil
}

// renew replaces the connection after an error. If that fails, the old one is kept.
func (c *checkpointer) renew() {
	session, err := c.open()
	if err != nil {
		c.store.options.Logger.Error("cannot open the checkpoint connection", "error", faults.Text(err))
		return
	}
	if err := c.session.close(); err != nil {
		c.store.options.Logger.Error("cannot close the checkpoint connection", "error", faults.Text(err))
	}
	c.session = session
}

// begin waits for the end of a pause and prevents the next one until end is called.
func (c *checkpointer) begin() { c.writing.Lock() }

func (c *checkpointer) end() { c.writing.Unlock() }

// committed schedules a check of the log. It does not block.
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
		if err := c.check(); err != nil {
			c.store.options.Logger.Error("checkpoint failed", "error", faults.Text(err))
			c.renew()
			c.committed() // try again, even without a commit
			if !c.wait(pauseInterval) {
				return
			}
		}
	}
}

// wait waits for a duration. It returns false if the store is being closed.
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

// check runs the checkpoints that the size of the log requires.
func (c *checkpointer) check() error {
	state, err := c.move("NOOP")
	if err != nil || state.unmoved < c.limits.step && state.bytes < c.limits.restart {
		return err
	}
	if state, err = c.move("PASSIVE"); err != nil || state.bytes < c.limits.restart {
		return err
	}
	return c.restart(state)
}

// restart pauses the writer to move the whole log, so that the next commit restarts it.
// After a pause that failed it does nothing for some time.
func (c *checkpointer) restart(state logState) (err error) {
	long, patience := false, logPause
	switch now := time.Now(); {
	case state.bytes >= c.limits.max && !now.Before(c.nextLong):
		// Wait long enough for reads that began before the pause, and then for those that began
		// before the rest of the log was moved.
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
		c.store.options.Logger.Warn("write-ahead log grows: another process keeps a read transaction open",
			"bytes", state.bytes, "unmoved", state.unmoved)
	}
	return nil
}

// paused pauses the writer and tries for up to patience to move the whole log.
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

// move runs a checkpoint and returns the state of the log after it.
func (c *checkpointer) move(mode string) (logState, error) {
	c.session.reset()
	state, err := c.session.moveLog(mode)
	if err == nil && c.store.options.ObserveLog != nil {
		c.store.options.ObserveLog(state.unmoved)
	}
	return state, err
}

// close ends the goroutine. [checkpointer.finish] moves the rest of the log and closes the
// connection.
func (c *checkpointer) close() {
	close(c.closing)
	<-c.ended
}

// finish moves the whole log, truncates its file, and closes the connection. Nothing else
// in this process may use the database from then on.
func (c *checkpointer) finish() error {
	err := c.session.emptyLog()
	if err != nil && !errors.Is(err, errLogHeld) {
		c.renew()
		err = c.session.emptyLog()
	}
	return errors.Join(err, c.session.close())
}

// finishLimit is the time that finish tries to empty the log.
const finishLimit = 5 * time.Second

var errLogHeld = errors.New("cannot empty the write-ahead log: another process has the database open")

// emptyLog moves the whole log and truncates its file. It tries until other readers have
// ended, or finishLimit has passed.
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

// frameSize is the size of a page in the log.
const frameSize = 4096 + 24

// moveLog runs a checkpoint. NOOP only reads the state, PASSIVE moves what it can, RESTART
// also makes the next commit restart the log, and TRUNCATE empties its file.
func (s *session) moveLog(mode string) (state logState, err error) {
	var frames, moved int64
	if _, err := s.row("PRAGMA wal_checkpoint("+mode+")", nil, &state.busy, &frames, &moved); err != nil {
		return state, fmt.Errorf("checkpoint: %w", err)
	}
	// Both are -1 if another connection is running a checkpoint.
	state.bytes, state.unmoved = max(frames, 0)*frameSize, (frames-moved)*frameSize
	return state, nil
}
