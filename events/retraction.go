package events

import (
	"math"
	"slices"
	"sync"

	"github.com/imapi/imapi/im"
)

// removal is what an event takes from readers, of whom some may still have it
// waiting in memory: one message, which is told as its tombstone from then on;
// or, with seqs below a bound, messages of a conversation, which are told no
// more; or what one user has hidden there, of which the log has for them no more than
// that there was a message.
type removal struct {
	tombstone *im.Message

	conversation im.ID
	below        int64
	hiddenBy     im.UserID
}

// removalsOf returns what an event takes from readers: nearly always nothing.
func removalsOf(e *im.Event) []removal {
	switch {
	case erased(e):
		return []removal{{tombstone: e.Message}}
	case e.Type.Deletes():
		all := make([]removal, len(e.Gone))
		for i, id := range e.Gone {
			all[i] = removal{conversation: id, below: math.MaxInt64}
		}
		return all
	case e.Type == im.ConversationTrimmed:
		return []removal{{conversation: e.Conversation, below: e.FirstSeq}}
	case e.Type == im.MessageHidden, e.Type == im.ConversationHidden && e.UpToSeq > 0:
		return []removal{{conversation: e.Conversation, hiddenBy: e.To}}
	default:
		return nil
	}
}

// hides reports whether an event that tells what a user has hidden is about the
// message of another event.
func hides(hidden, e *im.Event) bool {
	return e.Seq <= hidden.UpToSeq || slices.Contains(hidden.MessageIDs, e.MessageID) ||
		e.Message != nil && e.Message.CreatedAt.Before(hidden.Before)
}

// removeEarlier changes events as those that follow them demand: a message that
// is erased by then is told as its tombstone, one that is hidden without what it says
// to whoever has hidden it, one that is gone altogether to nobody. It returns what is left
// of the events, and what they take from readers.
func removeEarlier(events []im.Event) ([]im.Event, []removal) {
	var removals []removal
	for i := range events {
		removals = append(removals, removalsOf(&events[i])...)
	}
	if len(removals) == 0 {
		return events, nil // nearly always
	}
	tombstones := make(map[im.ID]*im.Message)
	below := make(map[im.ID]int64)
	hidden := make(map[im.ID][]*im.Event)
	gone := make(map[im.Position]bool)
	for i := len(events) - 1; i >= 0; i-- {
		e := &events[i]
		for _, r := range removalsOf(e) {
			switch {
			case r.tombstone != nil:
				tombstones[r.tombstone.ID] = r.tombstone
			case r.hiddenBy != "":
				hidden[r.conversation] = append(hidden[r.conversation], e)
			default:
				below[r.conversation] = max(below[r.conversation], r.below)
			}
		}
		if !erased(e) && e.Message != nil && tombstones[e.Message.ID] != nil {
			e.Message = tombstones[e.Message.ID]
		}
		if e.MessageID == 0 {
			continue
		}
		gone[e.Position] = e.Seq < below[e.Conversation]
		for _, later := range hidden[e.Conversation] {
			if hides(later, e) {
				e.HiddenBy = append(slices.Clip(e.HiddenBy), later.To)
			}
		}
	}
	return slices.DeleteFunc(events, func(e im.Event) bool { return gone[e.Position] }), removals
}

// remove takes from what waits, for all streams, what may not be told any more;
// also from those who may not know of the removal.
func (h *Hub) remove(r removal) {
	h.removals.add(r) // before looking, see [Hub.removeSince]
	switch {
	case r.tombstone != nil:
		for _, f := range h.waiting.about(r.tombstone.ID) {
			h.eraseFrame(f, r.tombstone)
		}
	case r.hiddenBy != "":
		for _, s := range h.streamsOf(r.hiddenBy) {
			s.outdateIn(r.conversation)
		}
	default:
		for _, f := range h.waiting.in(r.conversation) {
			if f.event.Seq < r.below {
				h.replaceByHeartbeat(f)
			}
		}
	}
}

// removeUnknown does so when it is not known what was removed: nothing that
// waits is written any more, but read from the log again.
func (h *Hub) removeUnknown() {
	h.removals.lose() // before asking them, see [Subscription.outdate]
	h.mu.Lock()
	streams := h.all(nil)
	h.mu.Unlock()
	for _, s := range streams {
		s.outdate()
	}
}

// removeSince does the same to frames that were read from the log for a user
// while something was being removed, since count. It reports false if the log
// must be read again.
func (h *Hub) removeSince(count uint64, user im.UserID, frames []*Frame) bool {
	removals, ok := h.removals.since(count)
	for _, r := range removals {
		for _, f := range frames {
			switch {
			case r.tombstone != nil:
				if f.about == r.tombstone.ID {
					h.eraseFrame(f, r.tombstone)
				}
			case f.place() != r.conversation:
			case r.hiddenBy == user:
				ok = false
			case f.event.Seq < r.below:
				h.replaceByHeartbeat(f)
			}
		}
	}
	return ok
}

// streamsOf returns the streams of a user.
func (h *Hub) streamsOf(user im.UserID) []*Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.audience.users[user]
	if u == nil {
		return nil
	}
	return slices.Clone(u.streams)
}

// removals remembers the last ones.
type removals struct {
	mu     sync.Mutex
	n      uint64
	lost   uint64       // n when there were some that are not known
	recent [512]removal // the i-th ever at i modulo the length
}

func (r *removals) add(one removal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent[r.n%uint64(len(r.recent))] = one
	r.n++
}

// lose takes note of removals that are not known.
func (r *removals) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	r.lost = r.n
}

func (r *removals) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// since returns those after the first count, or false if not all are known.
func (r *removals) since(count uint64) ([]removal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == count {
		return nil, true
	}
	if count < r.lost || r.n-count > uint64(len(r.recent)) {
		return nil, false
	}
	list := make([]removal, 0, r.n-count)
	for i := count; i < r.n; i++ {
		list = append(list, r.recent[i%uint64(len(r.recent))])
	}
	return list, true
}
