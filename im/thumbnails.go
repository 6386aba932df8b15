package im

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrNoThumbnail means that no thumbnail can be made of a file.
var ErrNoThumbnail = errors.New("no thumbnail can be made of the file")

// ErrThumbnailLost means that making a thumbnail was cut short, perhaps because of the
// picture.
var ErrThumbnailLost = errors.New("making the thumbnail was aborted")

// UseThumbnails sets the maker of thumbnails. Without one, no thumbnails are made. It must be
// called before the first upload.
func (s *Service) UseThumbnails(m ThumbnailMaker) {
	s.attachments.maker, s.attachments.wake = m, make(chan struct{}, 1)
}

// ThumbnailsWaiting is signaled when a thumbnail may be waiting. It is nil without
// [Service.UseThumbnails].
func (s *Service) ThumbnailsWaiting() <-chan struct{} { return s.attachments.wake }

func (a *attachments) wakeMaker() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// wantThumbnail stores that a thumbnail of a new attachment is waiting, if one can be made.
func (s *Service) wantThumbnail(tx Tx, a Attachment) error {
	if s.attachments.maker == nil || !a.isPicture() {
		return nil
	}
	return tx.InsertThumbnail(Thumbnail{Attachment: a.ID, State: ThumbnailWaiting})
}

// MakeThumbnails makes the waiting thumbnails, one after another and with uploaders taking turns,
// and calls done with the state of each and the time that it took. It holds only one of them in
// memory, and waiting ones survive a restart. A thumbnail that cannot be made, or not in maxTries
// attempts, is marked as failed and not tried again. MakeThumbnails returns an error of the store,
// of the files, or of a maker that does not work at all; the thumbnail then continues to wait. A
// file that is missing or damaged only ends the attempt.
func (s *Service) MakeThumbnails(ctx context.Context, done func(ThumbnailState, time.Duration)) error {
	ctx = asJob(ctx, "thumbnails")
	for past := UserID(""); ; {
		t, found, err := s.beginThumbnail(ctx, past)
		if err != nil || !found {
			return err
		}
		past = t.Uploader
		if t.State == ThumbnailFailed {
			done(t.State, 0)
			continue
		}
		began := time.Now()
		state, err := s.makeThumbnail(ctx, t)
		if err != nil {
			return err
		}
		done(state, time.Since(began))
	}
}

// beginThumbnail returns the thumbnail to be made next and counts the attempt. If there were
// too many, it marks the thumbnail as failed instead.
func (s *Service) beginThumbnail(ctx context.Context, past UserID) (t Thumbnail, found bool, err error) {
	// Read first, so that a job without work does not write.
	_, found, err = maybe(view(ctx, s, func(r Reader) (Thumbnail, error) { return r.NextThumbnail(past) }))
	if err != nil || !found {
		return t, false, err
	}
	return maybe(write(ctx, s, func(tx Tx) (Thumbnail, error) {
		t, err := tx.NextThumbnail(past)
		if err != nil {
			return t, err
		}
		if t.Tries++; t.Tries > maxTries {
			t.State = ThumbnailFailed
		}
		return t, tx.UpdateThumbnail(t)
	}))
}

// makeThumbnail makes a thumbnail and stores it. It returns its new state; Waiting if it will be
// tried again or the attachment was erased.
func (s *Service) makeThumbnail(ctx context.Context, t Thumbnail) (ThumbnailState, error) {
	made, err := s.readAndMake(ctx, t.Attachment)
	refusal, refused := AsError(err)
	switch {
	case err == nil:
		return s.storeThumbnail(ctx, t, made)
	case errors.Is(err, ErrNotFound), errors.As(err, new(*ShreddedError)):
		return t.State, nil // erased in the meantime
	case errors.Is(err, ErrNoThumbnail):
		t.State = ThumbnailFailed
		return t.State, s.updateThumbnail(ctx, t)
	case errors.Is(err, ErrThumbnailUnavailable), refused && refusal.Kind >= Unavailable, ctx.Err() != nil:
		t.Tries-- // the picture is not the cause
		return t.State, errors.Join(err, s.updateThumbnail(context.WithoutCancel(ctx), t))
	default:
		return t.State, nil // the attempt counts
	}
}

// ErrThumbnailUnavailable means that a [ThumbnailMaker] cannot make any thumbnails now.
var ErrThumbnailUnavailable = errors.New("thumbnails cannot be made")

// updateThumbnail stores a thumbnail without a blob. It does nothing if the attachment is
// erased.
func (s *Service) updateThumbnail(ctx context.Context, t Thumbnail) error {
	err := s.store.Write(ctx, func(tx Tx) error { return tx.UpdateThumbnail(t) })
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return err
}

// readAndMake makes the thumbnail of an attachment.
func (s *Service) readAndMake(ctx context.Context, id ID) (MadeThumbnail, error) {
	a, err := view(ctx, s, func(r Reader) (Attachment, error) { return r.Attachment(id) })
	if err != nil {
		return MadeThumbnail{}, err
	}
	key, err := s.store.BlobKey(a.Slot)
	if err != nil {
		return MadeThumbnail{}, err
	}
	file, err := s.attachments.blobs.Open(ctx, Blob{ID: id, Slot: a.Slot, Key: key}, a.Size)
	if err != nil {
		return MadeThumbnail{}, err
	}
	made, err := s.attachments.maker.Thumbnail(ctx, file, a.Size)
	return made, errors.Join(err, file.Close())
}

// storeThumbnail writes the blob of a thumbnail and its row. If the attachment was erased in the
// meantime, it erases the blob, too; also after an error, unless the row may be stored.
func (s *Service) storeThumbnail(ctx context.Context, t Thumbnail, made MadeThumbnail) (ThumbnailState, error) {
	slot, key, err := s.store.NextBlobKey()
	if err != nil {
		return t.State, err
	}
	waiting := t
	t.State, t.ID, t.Slot, t.Size = ThumbnailMade, s.ids.Next(s.time()), slot, int64(len(made.Bytes))
	t.Info = AttachmentInfo{Type: made.Type, SHA256: sha256.Sum256(made.Bytes), Width: made.Width, Height: made.Height}
	s.attachments.begin(t.ID)
	defer s.attachments.end(t.ID)
	err = s.writeBlob(ctx, Blob{ID: t.ID, Slot: slot, Key: key}, made.Bytes)
	written := err == nil
	if written {
		err = s.store.Write(ctx, func(tx Tx) error { return tx.UpdateThumbnail(t) })
	}
	if err == nil {
		return t.State, nil
	}
	if refusal, ok := AsError(err); written && ok && refusal.Kind >= Unavailable && ctx.Err() == nil {
		return waiting.State, err // the row may be stored; otherwise a sweep deletes the file
	}
	gone := errors.Is(err, ErrNotFound)
	cleared := errors.Join(s.discard(ctx, slot), s.attachments.blobs.Delete(context.WithoutCancel(ctx), t.ID))
	if gone {
		return waiting.State, cleared
	}
	return waiting.State, errors.Join(err, cleared)
}

// writeBlob writes a whole blob.
func (s *Service) writeBlob(ctx context.Context, b Blob, content []byte) error {
	w, err := s.attachments.blobs.Create(ctx, b, func([]byte) {})
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Commit()
}

// Thumbnail returns the thumbnail of an attachment. It refuses an attachment that the actor may not
// read, and a thumbnail that is not made yet or cannot be made.
func (s *Service) Thumbnail(ctx context.Context, actor Actor, id ID) (StoredThumbnail, error) {
	if s.attachments.blobs == nil {
		return StoredThumbnail{}, errNoBlobs
	}
	t, found, err := maybe(view(ctx, s, func(r Reader) (Thumbnail, error) {
		if _, _, err := s.readableAttachment(r, actor.User, id, 0); err != nil {
			return Thumbnail{}, err
		}
		return r.Thumbnail(id)
	}))
	switch {
	case err != nil:
		return StoredThumbnail{}, err
	case !found || t.State == ThumbnailFailed:
		return StoredThumbnail{}, Refuse(NotFound, "no_thumbnail", "the attachment has no thumbnail and will not get one")
	case t.State == ThumbnailWaiting:
		return StoredThumbnail{}, errThumbnailPending()
	}
	bytes, err := s.readThumbnail(ctx, t)
	if err == nil {
		return StoredThumbnail{Info: t.Info, Bytes: bytes}, nil
	}
	if ctx.Err() != nil {
		return StoredThumbnail{}, context.Cause(ctx)
	}
	if refusal, ok := AsError(err); ok && refusal.Kind >= Unavailable {
		return StoredThumbnail{}, err
	}
	// Its file is missing or damaged, as after the loss of a disk, or it was erased a moment ago.
	if _, err := s.Attachment(ctx, actor, id); err != nil {
		return StoredThumbnail{}, err
	}
	err = s.store.Write(ctx, func(tx Tx) error {
		if now, err := tx.Thumbnail(id); err != nil || now.ID != t.ID {
			return err
		}
		return tx.UpdateThumbnail(Thumbnail{Attachment: id, State: ThumbnailWaiting})
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return StoredThumbnail{}, err
	}
	s.attachments.wakeMaker()
	return StoredThumbnail{}, errThumbnailPending()
}

func errThumbnailPending() error {
	err := Refuse(NotFound, "thumbnail_pending", "the thumbnail is not made yet: try again later")
	err.RetryAfter = time.Second
	return err
}

func (s *Service) readThumbnail(ctx context.Context, t Thumbnail) ([]byte, error) {
	key, err := s.store.BlobKey(t.Slot)
	if err != nil {
		return nil, err
	}
	file, err := s.attachments.blobs.Open(ctx, Blob{ID: t.ID, Slot: t.Slot, Key: key}, t.Size)
	if err != nil {
		return nil, fmt.Errorf("thumbnail of %v: %w", t.Attachment, err)
	}
	bytes := make([]byte, t.Size)
	_, err = io.ReadFull(file, bytes)
	return bytes, errors.Join(err, file.Close())
}

// WaitingThumbnails returns the number of waiting thumbnails, at most limit.
func (s *Service) WaitingThumbnails(ctx context.Context, limit int) (int, error) {
	return view(ctx, s, func(r Reader) (int, error) { return r.WaitingThumbnails(limit) })
}
