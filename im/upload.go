package im

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
)

// MaxAttachmentBytes returns the policy's limit on the size of an attachment, in bytes.
func (s *Service) MaxAttachmentBytes() int64 { return s.policy.MaxAttachmentBytes }

// errAttachmentTooLarge refuses a file over the limit.
func (s *Service) errAttachmentTooLarge() error {
	return RefuseField(TooLarge, "attachment_too_large", "body", "is over the limit of %d bytes", s.policy.MaxAttachmentBytes)
}

// Upload is a file that is being uploaded.
type Upload struct {
	// Name is what the uploader calls it; it is kept as [FileName] returns it.
	Name string
	// Size is its length if that is known, otherwise -1. It is checked before anything is stored;
	// what counts in the end is the body.
	Size int64
	Body io.Reader
}

// Upload stores a file and returns it as an attachment that only the actor may read. It reads the
// body once and holds up to 192 KiB of it in memory. It refuses an empty body, one over the
// policy's limit, one that ends early, and one for which the actor's quota has no room. After an
// error nothing is left that anyone could read, unless the error leaves open whether the attachment
// was stored.
func (s *Service) Upload(ctx context.Context, actor Actor, u Upload) (Attachment, error) {
	if s.attachments.blobs == nil {
		return Attachment{}, errNoBlobs
	}
	if u.Size > s.policy.MaxAttachmentBytes {
		return Attachment{}, s.errAttachmentTooLarge()
	}
	used, err := view(ctx, s, func(r Reader) (AttachmentUse, error) { return r.AttachmentUse(actor.User) })
	if err == nil {
		err = s.checkQuota(used, max(u.Size, 0))
	}
	if err != nil {
		return Attachment{}, err
	}
	slot, key, err := s.store.NextBlobKey()
	if err != nil {
		return Attachment{}, err
	}
	now := s.time()
	a := Attachment{
		ID: s.ids.Next(now), Uploader: actor.User, Slot: slot, CreatedAt: now,
		Info: AttachmentInfo{Name: fileName(u.Name)},
	}
	s.attachments.begin(a.ID)
	defer s.attachments.end(a.ID)
	if err := s.receive(ctx, &a, key, u.Body); err != nil {
		return Attachment{}, errors.Join(err, s.discard(ctx, slot))
	}
	err = s.store.Write(ctx, func(tx Tx) error {
		used, err := tx.AttachmentUse(actor.User)
		if err == nil {
			err = s.checkQuota(used, a.Size)
		}
		if err != nil {
			return err
		}
		if err := tx.InsertAttachment(a); err != nil {
			return err
		}
		return s.wantThumbnail(tx, a)
	})
	if err == nil {
		s.attachments.wakeMaker()
	}
	if refusal, ok := AsError(err); ok && refusal.Kind < Unavailable || ctx.Err() != nil && err != nil {
		// The row is not stored. After any other error it may be; if it is not, a sweep deletes the
		// file.
		return Attachment{}, errors.Join(err, s.discard(ctx, slot), s.attachments.blobs.Delete(context.WithoutCancel(ctx), a.ID))
	}
	return a, err
}

// receive writes the blob of an attachment and completes what is known of it.
func (s *Service) receive(ctx context.Context, a *Attachment, key Key, body io.Reader) error {
	hash, sniffer := sha256.New(), s.attachments.types.Sniff()
	blob := Blob{ID: a.ID, Slot: a.Slot, Key: key}
	w, err := s.attachments.blobs.Create(ctx, blob, func(part []byte) {
		_, _ = hash.Write(part) // neither ever fails
		_, _ = sniffer.Write(part)
	})
	if err != nil {
		return err
	}
	in := &uploadReader{r: io.LimitReader(body, s.policy.MaxAttachmentBytes+1)}
	a.Size, err = w.ReadFrom(in)
	switch {
	case in.err != nil:
		err = in.err
	case err != nil:
	case a.Size > s.policy.MaxAttachmentBytes:
		err = s.errAttachmentTooLarge()
	case a.Size == 0:
		err = RefuseField(Invalid, "invalid_request", "body", "is empty")
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	if err := w.Commit(); err != nil {
		return errors.Join(err, s.attachments.blobs.Delete(context.WithoutCancel(ctx), a.ID))
	}
	hash.Sum(a.Info.SHA256[:0])
	if a.Info.Type = sniffer.Type(); Image.holds(a.Info.Type) {
		a.Info.Width, a.Info.Height = s.measure(ctx, blob, a.Size)
	}
	return nil
}

// measure returns the size of an image, 0 if it is unknown.
func (s *Service) measure(ctx context.Context, b Blob, size int64) (width, height int) {
	file, err := s.attachments.blobs.Open(ctx, b, size)
	if err != nil {
		return 0, 0
	}
	defer func() { _ = file.Close() }() // only read
	return s.attachments.types.Measure(file)
}

// uploadReader distinguishes errors of reading the body from errors of writing the blob.
type uploadReader struct {
	r   io.Reader
	err error
}

// Read reads the body. It converts an error that is neither [io.EOF] nor a refusal into a refusal.
func (u *uploadReader) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if _, ok := AsError(err); !ok {
		err = RefuseField(Invalid, "upload_incomplete", "body", "ended before its announced length, or arrived too slowly: nothing of it was kept")
	}
	u.err = err
	return n, err
}

// checkQuota refuses a file for which the quota has no room.
func (s *Service) checkQuota(used AttachmentUse, size int64) error {
	quota := s.policy.AttachmentQuota
	if quota == 0 || used.add(size).quota() <= quota {
		return nil
	}
	return Refuse(Rule, "attachment_quota_exceeded",
		"your attachments may take %d bytes, counting %d more for each file, and already take %d: revoke messages with attachments, or wait until those that were not sent are deleted",
		quota, fileCost, used.quota())
}

// discard dooms the key of a blob whose row was not stored.
func (s *Service) discard(ctx context.Context, slot Slot) error {
	return s.store.Write(context.WithoutCancel(ctx), func(tx Tx) error { return tx.DoomSlot(slot) })
}
