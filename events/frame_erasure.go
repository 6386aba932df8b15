package events

import (
	"time"

	"github.com/imapi/imapi/im"
)

// carriesTombstone reports whether an event carries the tombstone of an erased message.
func carriesTombstone(e *im.Event) bool {
	return e.Message != nil && e.Message.Content == nil
}

// eraseFrame replaces the message of a frame by its tombstone.
func (h *Hub) eraseFrame(f *Frame, tombstone *im.Message) {
	h.encodeFrame(f, tombstone)
}

// wireAt returns the encoding of a frame to be written at a time. A message whose burn or
// expiry time has passed is encoded as its tombstone, even before the event of the erasure
// is published.
func (h *Hub) wireAt(f *Frame, now time.Time) *wire {
	w := f.current()
	due := f.selfErasure.Load()
	if due == nil || !w.content || now.Before(due.at) {
		return w
	}
	h.eraseFrame(f, &due.tombstone)
	return f.current()
}

// burnAt is called when the burn of a message has started. It sets the burn time in the frames of
// the message that are not written yet, unless they are due earlier.
func (h *Hub) burnAt(id im.ID, at time.Time) {
	for _, f := range h.unwritten.about(id) {
		if due := f.selfErasure.Load(); due != nil && at.Before(due.at) {
			burned := due.tombstone.Tombstone(im.Erasure{State: im.Burned, At: at})
			f.selfErasure.Store(&selfErasure{at: at, tombstone: burned})
		}
	}
}
