package im

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Attachment returns an attachment. It refuses one that the actor may not read.
func (s *Service) Attachment(ctx context.Context, actor Actor, id ID) (Attachment, error) {
	a, _, err := s.findAttachment(ctx, actor.User, id, 0)
	return a, err
}

// findAttachment is [Service.readableAttachment] in a read of its own.
func (s *Service) findAttachment(ctx context.Context, user UserID, id, seen ID) (a Attachment, in ID, err error) {
	err = s.read(ctx, func(r Reader) error {
		a, in, err = s.readableAttachment(r, user, id, seen)
		return err
	})
	return a, in, err
}

// recheckAfter is the interval at which a download checks again whether its user may read the
// attachment.
const recheckAfter = 500 * time.Millisecond

// Download is an attachment that is being read. Its Next fails within a second after the
// attachment was erased or its user lost access to it.
type Download struct {
	Attachment
	ctx     context.Context //nolint:containedctx // that of the request
	service *Service
	user    UserID
	seen    ID // the message in which the user sees it, 0 for an orphan
	file    BlobReader
	checked time.Time
	err     error
}

// Download opens an attachment. It refuses one that the actor may not read, and one whose file is
// lost. Next refuses one whose file turns out to be damaged.
func (s *Service) Download(ctx context.Context, actor Actor, id ID) (*Download, error) {
	if s.attachments.blobs == nil {
		return nil, errNoBlobs
	}
	a, seen, err := s.findAttachment(ctx, actor.User, id, 0)
	if err != nil {
		return nil, err
	}
	key, err := s.store.BlobKey(a.Slot)
	if errors.As(err, new(*ShreddedError)) {
		return nil, errUnknownAttachment()
	}
	if errors.Is(err, ErrNoKey) {
		return nil, errAttachmentLost(id, err)
	}
	if err != nil {
		return nil, fmt.Errorf("attachment %v: %w", id, err)
	}
	d := &Download{Attachment: a, ctx: ctx, service: s, user: actor.User, seen: seen, checked: time.Now()}
	if d.file, err = s.attachments.blobs.Open(ctx, Blob{ID: id, Slot: a.Slot, Key: key}, a.Size); err != nil {
		return nil, d.failure(err)
	}
	return d, nil
}

// errAttachmentLost refuses an attachment whose file is missing or damaged for good, as after the
// loss of a disk.
func errAttachmentLost(id ID, cause error) error {
	err := Refuse(Gone, "attachment_lost", "the server has lost the file of this attachment")
	err.Cause = fmt.Errorf("attachment %v: %w", id, cause)
	return err
}

// failure returns the error of a download whose file cannot be read. If the attachment was erased
// in the meantime, it is not lost but unknown.
func (d *Download) failure(err error) error {
	if _, ok := AsError(err); ok || d.ctx.Err() != nil {
		return err
	}
	if _, _, again := d.service.findAttachment(d.ctx, d.user, d.ID, d.seen); again != nil {
		return again
	}
	return errAttachmentLost(d.ID, err)
}

// Next returns the next bytes of the file, at least one and at most limit, or [io.EOF]. They
// are valid until the next call.
func (d *Download) Next(limit int) ([]byte, error) {
	if d.err == nil && time.Since(d.checked) >= recheckAfter {
		_, d.seen, d.err = d.service.findAttachment(d.ctx, d.user, d.ID, d.seen)
		d.checked = time.Now()
	}
	if d.err != nil {
		return nil, d.err
	}
	part, err := d.file.Next(limit)
	if err != nil && !errors.Is(err, io.EOF) {
		d.err = d.failure(err)
		return nil, d.err
	}
	return part, err
}

// Err returns the error that ended reading, nil if there was none.
func (d *Download) Err() error { return d.err }

// Seek sets the offset of the next bytes.
func (d *Download) Seek(offset int64, whence int) (int64, error) { return d.file.Seek(offset, whence) }

// Close closes the file.
func (d *Download) Close() error { return d.file.Close() }
