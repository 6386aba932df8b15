package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// truncateLimit is how long emptying the write-ahead log may be tried.
const truncateLimit = 5 * time.Second

var errLogInUse = errors.New("the write-ahead log could not be emptied: something else has the database open")

// truncateLog moves the write-ahead log into the database and makes its file
// empty, so that nothing of what it held is left. It uses a connection of its
// own: first passively, which disturbs nobody and does most of the work, then
// for the rest without waiting for locks, again until it succeeds.
func (s *Store) truncateLog(ctx context.Context) error {
	session, err := openSession(s.path, s.options, checkpointing)
	if err != nil {
		return err
	}
	return errors.Join(session.truncateLog(ctx), session.close())
}

func (s *session) truncateLog(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, truncateLimit, errLogInUse)
	defer cancel()
	s.reset()
	if _, err := s.checkpoint("PASSIVE"); err != nil {
		return err
	}
	if _, err := s.conn.ExecContext(s.ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		if done, err := s.checkpoint("TRUNCATE"); done || err != nil {
			return err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// checkpoint moves what it can of the write-ahead log into the database. It
// reports whether that was all, and, with TRUNCATE, whether the log's file is
// empty now.
func (s *session) checkpoint(mode string) (done bool, err error) {
	var busy, frames, moved int
	if _, err := s.row("PRAGMA wal_checkpoint("+mode+")", nil, &busy, &frames, &moved); err != nil {
		return false, fmt.Errorf("checkpoint: %w", err)
	}
	return busy == 0, nil
}
