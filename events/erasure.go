package events

import (
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// erased reports whether an event tells that its message is gone: it then
// carries the tombstone.
func erased(e *im.Event) bool {
	return e.Message != nil && e.Message.Content == nil
}

// eraseEarlier replaces the messages of events that are followed by the erasure
// of the same message, for by then nobody may be told what it said. It returns
// the tombstones of all that are erased.
func eraseEarlier(events []im.Event) map[im.ID]*im.Message {
	var tombstones map[im.ID]*im.Message
	for i := len(events) - 1; i >= 0; i-- {
		e := &events[i]
		switch {
		case e.Message == nil:
		case erased(e):
			if tombstones == nil {
				tombstones = make(map[im.ID]*im.Message)
			}
			tombstones[e.Message.ID] = e.Message
		default:
			if t := tombstones[e.Message.ID]; t != nil {
				e.Message = t
			}
		}
	}
	return tombstones
}

// erase turns what still waits of an erased message into its tombstone, for all
// streams, also of those who may not know of the erasure any more.
func (h *Hub) erase(tombstone *im.Message) {
	h.erasures.add(tombstone) // before looking, see [Hub.eraseSince]
	for _, f := range h.waiting.about(tombstone.ID) {
		h.eraseFrame(f, tombstone)
	}
}

// eraseUnknown does so when it is not known what was erased: nothing that waits
// is written any more, but read from the log again.
func (h *Hub) eraseUnknown() {
	h.erasures.lose() // before asking them, see [Subscription.outdate]
	h.mu.Lock()
	streams := h.all(nil)
	h.mu.Unlock()
	for _, s := range streams {
		s.outdate()
	}
}

// eraseSince does the same to frames that were read from the log while
// messages were being erased, since count. It reports false if not all of those
// are known: the log must be read again.
func (h *Hub) eraseSince(count uint64, frames []*Frame) bool {
	tombstones, ok := h.erasures.since(count)
	for _, t := range tombstones {
		for _, f := range frames {
			if f.about == t.ID {
				h.eraseFrame(f, t)
			}
		}
	}
	return ok
}

func (h *Hub) eraseFrame(f *Frame, tombstone *im.Message) {
	if err := f.encode(tombstone, h.opts.LogID, h.opts.Encode); err != nil {
		h.unencodable(&f.event, err)
		f.blank(h.opts.LogID)
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

// waiting finds the frames that may still be written by the message that they
// tell of, so that an erasure costs nothing but what it changes: there may be
// many streams, and many erasures, but hardly ever something that waits.
type waiting struct {
	mu     sync.Mutex
	newest map[im.ID]*Frame // those of one message are a list
}

// add takes frames that nobody holds yet. The caller holds them then, once.
func (w *waiting) add(frames ...*Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range frames {
		f.holds.Store(1)
		if f.about == 0 {
			continue
		}
		if f.earlier = w.newest[f.about]; f.earlier != nil {
			f.earlier.newer = f
		}
		w.newest[f.about] = f
	}
}

// release ends one hold of each of the frames.
func (w *waiting) release(frames ...*Frame) {
	for _, f := range frames {
		if f.holds.Add(-1) == 0 && f.about != 0 {
			w.remove(f)
		}
	}
}

func (w *waiting) remove(f *Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.earlier != nil {
		f.earlier.newer = f.newer
	}
	switch {
	case f.newer != nil:
		f.newer.earlier = f.earlier
	case f.earlier != nil:
		w.newest[f.about] = f.earlier
	default:
		delete(w.newest, f.about)
	}
	f.newer, f.earlier = nil, nil
}

// about returns the frames of a message.
func (w *waiting) about(id im.ID) []*Frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	var frames []*Frame
	for f := w.newest[id]; f != nil; f = f.earlier {
		frames = append(frames, f)
	}
	return frames
}

// erasures remembers the last tombstones.
type erasures struct {
	mu     sync.Mutex
	n      uint64
	lost   uint64           // n when there were some that are not known
	recent [512]*im.Message // the i-th ever at i modulo the length
}

func (r *erasures) add(tombstone *im.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent[r.n%uint64(len(r.recent))] = tombstone
	r.n++
}

// lose takes note of erasures that are not known.
func (r *erasures) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	r.lost = r.n
}

func (r *erasures) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// since returns those after the first count, or false if not all are known.
func (r *erasures) since(count uint64) ([]*im.Message, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == count {
		return nil, true
	}
	if count < r.lost || r.n-count > uint64(len(r.recent)) {
		return nil, false
	}
	tombstones := make([]*im.Message, 0, r.n-count)
	for i := count; i < r.n; i++ {
		tombstones = append(tombstones, r.recent[i%uint64(len(r.recent))])
	}
	return tombstones, true
}
