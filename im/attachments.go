package im

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// attachments is what the use cases of attachments need besides the store.
type attachments struct {
	blobs Blobs
	types FileTypes
	maker ThumbnailMaker
	wake  chan struct{}

	mu sync.Mutex
	// uploading are the blobs that are being written, or whose row is not known to be
	// committed. Sweeping leaves them alone.
	uploading map[ID]bool
}

// UseBlobs sets where the bytes of attachments are, and how their type is found. It must be
// called before the first upload or download.
func (s *Service) UseBlobs(b Blobs, types FileTypes) {
	s.attachments.blobs, s.attachments.types = b, types
	s.attachments.uploading = make(map[ID]bool)
}

// MaxAttachmentBytes returns the policy's bound of the size of an attachment.
func (s *Service) MaxAttachmentBytes() int64 { return s.policy.MaxAttachmentBytes }

var errNoBlobs = errors.New("the service has no storage for attachments")

func errUnknownAttachment() error {
	return Refuse(NotFound, "attachment_not_found", "no such attachment")
}

// errAttachmentTooLarge refuses a file over the limit.
func (s *Service) errAttachmentTooLarge() error {
	return RefuseField(TooLarge, "attachment_too_large", "body", "is over the limit of %d bytes", s.policy.MaxAttachmentBytes)
}

// Upload is a file that is being uploaded.
type Upload struct {
	// Name is what the uploader calls it; it is kept as [FileName] returns it.
	Name string
	// Size is its length if that is known, else -1. It is checked before anything is
	// stored; the body decides.
	Size int64
	Body io.Reader
}

// Upload stores a file and returns it as an attachment that only the actor may read. It
// reads the body once and holds up to 64 KiB of it. It refuses an empty body, one over the
// policy's limit, one that ends early, and one for which the actor's quota has no room.
// After an error nothing is left of it that anyone could read.
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
		Info: AttachmentInfo{Name: FileName(u.Name)},
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
		// The row is not stored. After other errors it may be, and a sweep finds out.
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

// uploadReader tells errors of reading the body from those of writing the blob.
type uploadReader struct {
	r   io.Reader
	err error
}

// Read reads the body. It keeps an error that is a refusal and turns others into one.
func (u *uploadReader) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if _, ok := AsError(err); !ok {
		err = RefuseField(Invalid, "upload_incomplete", "body", "ended before its length, or arrived too slowly: nothing of it was kept")
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
		"your attachments may take %d bytes, with %d for each besides its own, and take %d: revoke messages with attachments, or wait until those that were not sent are deleted",
		quota, fileCost, used.quota())
}

// discard has the key of a blob that was not stored shredded.
func (s *Service) discard(ctx context.Context, slot Slot) error {
	return s.store.Write(context.WithoutCancel(ctx), func(tx Tx) error { return tx.DoomSlot(slot) })
}

func (a *attachments) begin(id ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.uploading[id] = true
}

func (a *attachments) end(id ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.uploading, id)
}

func (a *attachments) isUploading(id ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.uploading[id]
}

// readableAttachment returns an attachment that a user may read: an orphan of theirs, or one
// of an active message that they can read. It refuses others as unknown.
func (s *Service) readableAttachment(r Reader, user UserID, id ID) (Attachment, error) {
	a, found, err := maybe(r.Attachment(id))
	if err == nil && found {
		if a.References == 0 {
			found = a.Uploader == user && !a.CreatedAt.Before(orphanCutoff(s.time()))
		} else {
			found, err = s.seesAttachment(r, user, id)
		}
	}
	if err == nil && !found {
		err = errUnknownAttachment()
	}
	return a, err
}

// referencesPage is how many messages with an attachment are read at once.
const referencesPage = 100

// seesAttachment reports whether a user can read an active message with the attachment.
func (s *Service) seesAttachment(r Reader, user UserID, id ID) (bool, error) {
	known := s.newAccessCache(r, user)
	for past := ID(0); ; {
		list, err := r.MessagesWith(id, user, past, referencesPage)
		if err != nil {
			return false, err
		}
		for _, m := range list {
			c, me, err := known.access(m.Conversation)
			if err != nil {
				return false, err
			}
			if !c.DeletedAt.IsZero() || !me.Can(PermissionView) || s.asOf(c, m).State != Active {
				continue
			}
			if sees, err := s.sees(r, c, me, m); err != nil || sees {
				return sees, err
			}
		}
		if len(list) < referencesPage {
			return false, nil
		}
		past = list[len(list)-1].ID
	}
}

// Attachment returns an attachment. It refuses one that the actor may not read.
func (s *Service) Attachment(ctx context.Context, actor Actor, id ID) (Attachment, error) {
	return view(ctx, s, func(r Reader) (Attachment, error) { return s.readableAttachment(r, actor.User, id) })
}

// recheckAfter is how long a download goes on before it is checked again whether its user
// may read the attachment.
const recheckAfter = 500 * time.Millisecond

// Download is an attachment that is being read. Its Read fails within a second after the
// attachment was erased or its user lost access to it.
type Download struct {
	Attachment
	ctx     context.Context //nolint:containedctx // that of the request
	service *Service
	user    UserID
	file    io.ReadSeekCloser
	checked time.Time
	err     error
}

// Download opens an attachment. It refuses one that the actor may not read.
func (s *Service) Download(ctx context.Context, actor Actor, id ID) (*Download, error) {
	if s.attachments.blobs == nil {
		return nil, errNoBlobs
	}
	a, err := s.Attachment(ctx, actor, id)
	if err != nil {
		return nil, err
	}
	key, err := s.store.BlobKey(a.Slot)
	if errors.As(err, new(*ShreddedError)) {
		return nil, errUnknownAttachment()
	}
	if err != nil {
		return nil, fmt.Errorf("attachment %v: %w", id, err)
	}
	file, err := s.attachments.blobs.Open(ctx, Blob{ID: id, Slot: a.Slot, Key: key}, a.Size)
	if err != nil {
		return nil, fmt.Errorf("attachment %v: %w", id, s.gone(ctx, actor, id, err))
	}
	return &Download{Attachment: a, ctx: ctx, service: s, user: actor.User, file: file, checked: time.Now()}, nil
}

// gone returns the refusal for an attachment whose file was deleted because it was erased
// meanwhile, else err.
func (s *Service) gone(ctx context.Context, actor Actor, id ID, err error) error {
	if _, again := s.Attachment(ctx, actor, id); again != nil {
		return again
	}
	return err
}

// Read reads from the file.
func (d *Download) Read(p []byte) (int, error) {
	if d.err == nil && time.Since(d.checked) >= recheckAfter {
		_, d.err = d.service.Attachment(d.ctx, Actor{User: d.user}, d.ID)
		d.checked = time.Now()
	}
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.file.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		d.err = err
	}
	return n, err
}

// Err returns the error that ended reading, nil if there was none.
func (d *Download) Err() error { return d.err }

// Seek sets the offset of the next Read.
func (d *Download) Seek(offset int64, whence int) (int64, error) { return d.file.Seek(offset, whence) }

// Close closes the file.
func (d *Download) Close() error { return d.file.Close() }

// attached is the content of a message with its attachments.
type attached struct {
	content *Content
	ids     []ID
	// refusal is why the message may not have them, nil if it may. It is nil also if the
	// message has none.
	refusal error
}

// withAttachments completes the content of a draft with what is known of its attachments. allow says
// whether the sender may use one; nil allows all. The draft has been checked by itself.
func (s *Service) withAttachments(r Reader, t MessageType, content *Content, allow func(Attachment) (bool, error)) (attached, error) {
	out := attached{content: content}
	if !t.HasAttachment() || content == nil {
		return out, nil
	}
	b, err := parseAttachmentBody(content.Body)
	if err != nil {
		return out, err
	}
	a, err := out.load(r, "attachment_id", b.attachment, allow)
	if err != nil || a == nil {
		return out, err
	}
	var thumbnail *Attachment
	if b.thumbnail != 0 {
		if thumbnail, err = out.load(r, "thumbnail_id", b.thumbnail, allow); err != nil || thumbnail == nil {
			return out, err
		}
	}
	if err := b.check(t, *a, thumbnail); err != nil && out.refusal == nil {
		out.refusal = err
	}
	body := b.completed(*a)
	if len(body)+len(content.Ext) > s.policy.MaxMessageBytes {
		return out, nil // a message of the greatest size has no room for more
	}
	sent := append([]byte(`{"body":`), body...)
	sent = append(sent, content.Sent[len(`{"body":`)+len(content.Body):]...)
	out.content, err = ParseContent(sent)
	return out, err
}

// load loads an attachment; nil if there is none.
func (out *attached) load(r Reader, field string, id ID, allow func(Attachment) (bool, error)) (*Attachment, error) {
	a, found, err := maybe(r.Attachment(id))
	if err != nil {
		return nil, err
	}
	allowed := found
	if found && allow != nil {
		allowed, err = allow(a)
	}
	switch {
	case err != nil:
		return nil, err
	case out.refusal != nil:
	case !allowed:
		out.refusal = RefuseField(Rule, "attachment_unusable", "body/"+field, "is not an attachment that you uploaded or can read")
	case a.References >= MaxReferences:
		out.refusal = RefuseField(Rule, "attachment_overused", "body/"+field, "is in %d messages already: upload the file again", MaxReferences)
	}
	if !found {
		return nil, nil
	}
	if len(out.ids) == 0 || out.ids[0] != id {
		out.ids = append(out.ids, id)
	}
	return &a, nil
}

// mayAttach returns the rule for the attachments of a message that actor sends as sender:
// they must have been uploaded by one of the two, or sender can read them.
func (s *Service) mayAttach(r Reader, actor, sender UserID) func(Attachment) (bool, error) {
	return func(a Attachment) (bool, error) {
		if a.Uploader == sender || a.Uploader == actor {
			return a.References > 0 || !a.CreatedAt.Before(orphanCutoff(s.time())), nil
		}
		return s.seesAttachment(r, sender, a.ID)
	}
}

// EraseOrphans erases the attachments that no message got in time, and returns how many. It
// works in steps with pauses, see [PauseAfter], and erases nothing while the clock is not
// trusted.
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

// deadBatch is how many dead blobs are deleted and forgotten at once.
const deadBatch = 100

// DeleteBlobs deletes the files of erased attachments, whose keys are shredded, and returns
// how many.
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

// SweepBlobs deletes the files that no row names, which a crash during an upload leaves, and
// returns how many. It shreds the keys of those that were not finished. Those of finished
// ones stay: if the data was restored from a backup, a newer one may name them.
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
		// What is no upload now was committed before, or is garbage. So this comes before
		// looking for its row.
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

// sweep deletes those of the files that no row names.
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

// AttachmentUse returns the attachments of all users.
func (s *Service) AttachmentUse(ctx context.Context) (AttachmentUse, error) {
	return view(ctx, s, func(r Reader) (AttachmentUse, error) { return r.AttachmentUse("") })
}
