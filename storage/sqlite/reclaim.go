package sqlite

import (
	"context"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// vacuumStep is about how long pages are moved in one transaction.
	vacuumStep = 3 * time.Millisecond

	// reclaimPause is how long [Store.Reclaim] waits after a transaction, as a
	// multiple of how long it took, so that it has no more than a quarter of the
	// writer's time; but no longer than maxReclaimPause.
	reclaimPause    = 3
	maxReclaimPause = 250 * time.Millisecond
)

const (
	// vacuum moves a few pages from the file's end to where there is room, or
	// cuts them off.
	vacuum           = "PRAGMA incremental_vacuum(8)"
	countUnusedPages = "PRAGMA freelist_count"
)

// Reclaim deletes what was wiped and lies in a long enough run, and makes the
// file smaller by the pages that are not used. It does so in transactions of a
// few milliseconds, with pauses, until there is nothing to do or the context is
// done; what it has done by then stays.
//
// A page that is moved is moved whole, over one that is not used. Its old place
// is cut off, as soon as the write-ahead log is emptied; and that is what wiping
// anything waits for.
func (s *Store) Reclaim(ctx context.Context) error {
	ctx = im.WithCaller(ctx, im.Caller{Job: "reclaim"})
	if err := s.repeat(ctx, (*tx).deleteWiped); err != nil {
		return err
	}
	return s.repeat(ctx, (*tx).vacuum)
}

// repeat runs a step, in a transaction each, until it says that there is no more
// to do.
func (s *Store) repeat(ctx context.Context, step func(*tx) (more bool, err error)) error {
	for {
		began := time.Now()
		more := false
		err := s.Write(ctx, func(w im.Tx) (err error) {
			more, err = step(w.(*tx))
			return err
		})
		if err != nil || !more {
			return err
		}
		timer := time.NewTimer(min(reclaimPause*time.Since(began), maxReclaimPause))
		select {
		case <-timer.C:
		case <-s.closing:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// vacuum makes the file smaller by some of the pages that are not used. Once it
// is done the log is emptied, for only that cuts the file.
func (t *tx) vacuum() (more bool, err error) {
	var unused int
	for began := time.Now(); time.Since(began) < vacuumStep; {
		if _, err := t.session.row(countUnusedPages, nil, &unused); err != nil {
			return false, err
		}
		if unused == 0 {
			return false, nil
		}
		t.erased = true
		if _, err := t.session.writeRow(vacuum, nil); err != nil {
			return false, err
		}
	}
	return true, nil
}
