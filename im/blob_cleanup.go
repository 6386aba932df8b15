package im

import (
	"context"
	"errors"
	"time"
)

// EraseOrphans erases the attachments that no message referred to in time, and returns their
// number. It works in steps with pauses, see [PauseAfter], and erases nothing while the clock is
// not trusted.
func (s *Service) EraseOrphans(ctx context.Context) (int, error) {
	ctx = asJob(ctx, "orphans")
	before := orphanCutoff(s.time())
	if s.holds() {
		return 0, nil
	}
	return pacedAll(ctx, s, jobRows, func(tx Tx, limit int) (int, error) {
		ids, err := tx.Orphans(before, limit)
		for _, id := range ids {
			if err == nil {
				err = tx.EraseAttachment(id)
			}
		}
		return len(ids), err
	})
}

// deadBatch is the number of dead blobs that DeleteBlobs deletes and forgets at once, and of files
// that SweepBlobs looks up at once.
const deadBatch = 100

// DeleteBlobs deletes the files of erased attachments and thumbnails, whose keys are shredded, and
// returns the number of the files.
func (s *Service) DeleteBlobs(ctx context.Context) (n int, err error) {
	ctx = asJob(ctx, "blobs")
	for {
		ids, err := view(ctx, s, func(r Reader) ([]ID, error) { return r.DeadBlobs(deadBatch) })
		if err != nil || len(ids) == 0 {
			return n, err
		}
		began := time.Now()
		for _, id := range ids {
			if err := s.attachments.blobs.Delete(ctx, id); err != nil {
				return n, err
			}
		}
		if err := s.store.Write(ctx, func(tx Tx) error { return tx.ForgetBlobs(ids) }); err != nil {
			return n, err
		}
		n += len(ids)
		if err := PauseAfter(ctx, time.Since(began)); err != nil {
			return n, err
		}
	}
}

// SweepBlobs deletes the files that no row names, which a crash during an upload leaves behind, and
// returns their number. It shreds the keys of unfinished files. The keys of finished files stay: if
// the data was restored from a backup, a newer backup may name them.
func (s *Service) SweepBlobs(ctx context.Context) (n int, err error) {
	ctx = asJob(ctx, "sweep")
	var batch []BlobFile
	sweep := func() error {
		began := time.Now()
		deleted, err := s.sweep(ctx, batch)
		n, batch = n+deleted, batch[:0]
		if err == nil {
			err = PauseAfter(ctx, time.Since(began))
		}
		return err
	}
	err = s.attachments.blobs.List(ctx, func(f BlobFile) error {
		// A file that is not being uploaded now was committed before or is garbage. So check this
		// before looking for its row.
		if s.attachments.isUploading(f.ID) {
			return nil
		}
		if batch = append(batch, f); len(batch) < deadBatch {
			return nil
		}
		return sweep()
	})
	if err == nil {
		err = sweep()
	}
	return n, err
}

// sweep deletes those of the files that no row names, and shreds the keys of the unfinished ones.
func (s *Service) sweep(ctx context.Context, files []BlobFile) (n int, err error) {
	ids := make([]ID, len(files))
	for i, f := range files {
		ids[i] = f.ID
	}
	list, err := view(ctx, s, func(r Reader) ([]ID, error) { return r.NamedBlobs(ids) })
	if err != nil {
		return 0, err
	}
	named := make(map[ID]bool, len(list))
	for _, id := range list {
		named[id] = true
	}
	for _, f := range files {
		if named[f.ID] {
			continue
		}
		if f.Unfinished && f.Slot != 0 {
			if err := s.shredUnfinished(ctx, f); err != nil {
				return n, err
			}
		}
		if err := s.attachments.blobs.Delete(ctx, f.ID); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// shredUnfinished shreds the key of an unfinished blob, if the key is really its own.
func (s *Service) shredUnfinished(ctx context.Context, f BlobFile) error {
	key, err := s.store.BlobKey(f.Slot)
	if errors.As(err, new(*ShreddedError)) || errors.Is(err, ErrNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	wrote, err := s.attachments.blobs.Wrote(ctx, f, key)
	if err != nil || !wrote {
		return err
	}
	return s.discard(ctx, f.Slot)
}
