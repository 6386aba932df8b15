package events

import (
	"time"

	"github.com/imapi/imapi/im"
)

// erased reports whether an event tells that its message is gone: it then
// carries the tombstone.
func erased(e *im.Event) bool {
	return e.Message != nil && e.Message.Content == nil
}

func (h *Hub) eraseFrame(f *Frame, tombstone *im.Message) {
	if err := h.encodeFrame(f, tombstone); err != nil {
		h.unencodable(&f.event, err)
		h.replaceByHeartbeat(f)
	}
}

// wireAt returns what is to be written of a frame at a time: a message that has
// erased itself by then is told as its tombstone, whether or not the event that
// tells so has come.
func (h *Hub) wireAt(f *Frame, now time.Time) *wire {
	w := f.now()
	l := f.lapse.Load()
	if l == nil || !w.content || now.Before(l.at) {
		return w
	}
	h.eraseFrame(f, &l.tombstone)
	return f.now()
}

// hasten has what waits of a message lapse when it burns, for it was read.
func (h *Hub) hasten(id im.ID, at time.Time) {
	for _, f := range h.waiting.about(id) {
		if l := f.lapse.Load(); l != nil && at.Before(l.at) {
			burned := l.tombstone.Tombstone(im.Erasure{State: im.Burned, At: at})
			f.lapse.Store(&lapse{at: at, tombstone: burned})
		}
	}
}
