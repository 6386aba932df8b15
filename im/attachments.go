package im

import (
	"context"
	"errors"
	"sync"
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

// UseBlobs sets the storage of attachments and the detection of their types. It must be called
// before the first upload or download.
func (s *Service) UseBlobs(b Blobs, types FileTypes) {
	s.attachments.blobs, s.attachments.types = b, types
	s.attachments.uploading = make(map[ID]bool)
}

var errNoBlobs = errors.New("the service has no storage for attachments")

func errUnknownAttachment() error {
	return Refuse(NotFound, "attachment_not_found", "no such attachment")
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

// AttachmentUse returns the number and size of the attachments of all users.
func (s *Service) AttachmentUse(ctx context.Context) (AttachmentUse, error) {
	return view(ctx, s, func(r Reader) (AttachmentUse, error) { return r.AttachmentUse("") })
}
