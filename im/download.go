package im

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
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

// Download is an attachment that is being read. It ends within a second after the attachment was
// erased or its user lost access to it: Next fails, and the function given to OnLost is called. The
// caller must call Close. Next and Seek must not be called concurrently.
type Download struct {
	Attachment
	ctx     context.Context //nolint:containedctx // that of the request
	service *Service
	user    UserID
	file    BlobReader
	check   *time.Timer

	mu     sync.Mutex
	seen   ID // the message in which the user sees it, 0 for an orphan
	lost   func()
	err    error
	closed bool
}

// Download opens an attachment. It refuses one that the actor may not read, and one whose file or
// key is lost. Next refuses one whose file turns out to be damaged.
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
	d := &Download{Attachment: a, ctx: ctx, service: s, user: actor.User, seen: seen, lost: func() {}}
	if d.file, err = s.attachments.blobs.Open(ctx, Blob{ID: id, Slot: a.Slot, Key: key}, a.Size); err != nil {
		return nil, d.failure(err, seen)
	}
	d.mu.Lock() // until check is set, which recheck uses
	defer d.mu.Unlock()
	d.check = time.AfterFunc(recheckAfter, d.recheck)
	return d, nil
}

// recheck ends the download if its user may no longer read the attachment.
func (d *Download) recheck() {
	d.mu.Lock()
	seen := d.seen
	d.mu.Unlock()
	_, seen, err := d.service.findAttachment(d.ctx, d.user, d.ID, seen)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
	case err != nil:
		d.err = err
		d.lost()
	default:
		d.seen = seen
		d.check.Reset(recheckAfter)
	}
}

// OnLost sets a function that is called if the download ends because its user lost the
// attachment, or because that could not be checked: the caller may be waiting for a client that
// does not read. It is called in another goroutine and not after Close has returned. It must not
// block or call methods of the download, which is locked. Once it has returned, Err returns the
// error.
func (d *Download) OnLost(lost func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = lost
}

// errAttachmentLost refuses an attachment whose file or key is missing, or whose file is damaged
// for good, as after the loss of a disk.
func errAttachmentLost(id ID, cause error) error {
	err := Refuse(Gone, "attachment_lost", "the server has lost the file of this attachment")
	err.Cause = fmt.Errorf("attachment %v: %w", id, cause)
	return err
}

// failure returns the error of a download whose file cannot be read. If the attachment was erased
// in the meantime, it is not lost but unknown. A refusal is returned unchanged, and so is any error
// after the end of the request.
func (d *Download) failure(err error, seen ID) error {
	if _, ok := AsError(err); ok || d.ctx.Err() != nil {
		return err
	}
	if _, _, again := d.service.findAttachment(d.ctx, d.user, d.ID, seen); again != nil {
		return again
	}
	return errAttachmentLost(d.ID, err)
}

// Next returns the next bytes of the file, at least one and at most limit, or [io.EOF]. They
// are valid until the next call. limit is the number of bytes that the caller still wants.
func (d *Download) Next(limit int64) ([]byte, error) {
	if err := d.Err(); err != nil {
		return nil, err
	}
	part, err := d.file.Next(limit)
	if err == nil || errors.Is(err, io.EOF) {
		return part, err
	}
	d.mu.Lock()
	seen := d.seen
	d.mu.Unlock()
	err = d.failure(err, seen)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	return nil, err
}

// Err returns the error that ended the download, nil if there was none.
func (d *Download) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Seek sets the offset of the next bytes.
func (d *Download) Seek(offset int64, whence int) (int64, error) { return d.file.Seek(offset, whence) }

// Close ends the download and closes the file.
func (d *Download) Close() error {
	d.check.Stop()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	return d.file.Close()
}
