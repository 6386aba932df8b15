package events

import (
	"math"
	"slices"
	"sync"

	"github.com/imapi/imapi/im"
)

// retraction is content that an event takes away from readers: unwritten frames must no longer show
// it. It is one of three kinds:
//   - a message was erased: frames show its tombstone instead;
//   - messages with a seq below a bound were trimmed, or deleted with their conversation:
//     nothing is written about them;
//   - a user has hidden messages: the user gets the events without the messages.
type retraction struct {
	tombstone *im.Message // of the erased message; nil for the other kinds

	conversation im.ID
	below        int64     // the bound of trimmed or deleted messages
	hiddenBy     im.UserID // the user who has hidden messages
}

// retractionsOf returns the retractions of an event. Most events have none.
func retractionsOf(e *im.Event) []retraction {
	switch {
	case carriesTombstone(e):
		return []retraction{{tombstone: e.Message}}
	case e.Type.Deletes():
		all := make([]retraction, len(e.Gone))
		for i, id := range e.Gone {
			all[i] = retraction{conversation: id, below: math.MaxInt64}
		}
		return all
	case e.Type == im.ConversationTrimmed:
		return []retraction{{conversation: e.Conversation, below: e.FirstSeq}}
	case e.Type == im.MessageHidden, e.Type == im.ConversationHidden && e.UpToSeq > 0:
		return []retraction{{conversation: e.Conversation, hiddenBy: e.To}}
	default:
		return nil
	}
}

// hides reports whether hidden, the event of a user hiding messages, includes the message of
// e.
func hides(hidden, e *im.Event) bool {
	return e.Seq <= hidden.UpToSeq || slices.Contains(hidden.MessageIDs, e.MessageID) ||
		e.Message != nil && e.Message.CreatedAt.Before(hidden.Before)
}

// applyRetractions applies the retractions of events to the events before them, so that one
// dispatch never enqueues what it retracts: it replaces erased messages by their tombstones,
// marks events for the users who have hidden their message, and drops events about trimmed
// and deleted messages. It returns the remaining events and all retractions.
func applyRetractions(events []im.Event) ([]im.Event, []retraction) {
	var retractions []retraction
	for i := range events {
		retractions = append(retractions, retractionsOf(&events[i])...)
	}
	if len(retractions) == 0 {
		return events, nil // the usual case
	}
	tombstones := make(map[im.ID]*im.Message)
	below := make(map[im.ID]int64)
	hidden := make(map[im.ID][]*im.Event)
	dropped := make(map[im.Position]bool)
	for i := len(events) - 1; i >= 0; i-- {
		e := &events[i]
		for _, r := range retractionsOf(e) {
			switch {
			case r.tombstone != nil:
				tombstones[r.tombstone.ID] = r.tombstone
			case r.hiddenBy != "":
				hidden[r.conversation] = append(hidden[r.conversation], e)
			default:
				below[r.conversation] = max(below[r.conversation], r.below)
			}
		}
		if !carriesTombstone(e) && e.Message != nil && tombstones[e.Message.ID] != nil {
			e.Message = tombstones[e.Message.ID]
		}
		if e.MessageID == 0 {
			continue
		}
		dropped[e.Position] = e.Seq < below[e.Conversation]
		for _, later := range hidden[e.Conversation] {
			if hides(later, e) {
				e.HiddenBy = append(slices.Clip(e.HiddenBy), later.To)
			}
		}
	}
	return slices.DeleteFunc(events, func(e im.Event) bool { return dropped[e.Position] }), retractions
}

// retract applies a retraction to the unwritten frames of all streams, including those that do not
// get its event.
func (h *Hub) retract(r retraction) {
	h.retractions.add(r) // first, so that retractSince covers frames that are added later
	switch {
	case r.tombstone != nil:
		for _, f := range h.unwritten.about(r.tombstone.ID) {
			h.eraseFrame(f, r.tombstone)
		}
	case r.hiddenBy != "":
		for _, s := range h.streamsOf(r.hiddenBy) {
			s.invalidateIn(r.conversation)
		}
	default:
		for _, f := range h.unwritten.in(r.conversation) {
			if f.event.Seq < r.below {
				h.replaceByHeartbeat(f)
			}
		}
	}
}

// retractUnknown makes all streams read the log again, because some retractions were
// missed.
func (h *Hub) retractUnknown() {
	h.retractions.lose() // first, so that retractSince fails for streams that are reading the log
	h.mu.Lock()
	streams := h.all(nil)
	h.mu.Unlock()
	for _, s := range streams {
		s.invalidate()
	}
}

// retractSince applies the retractions since count to frames that were read from the log for a user
// in the meantime. It returns false if the log must be read again.
func (h *Hub) retractSince(count uint64, user im.UserID, frames []*Frame) bool {
	retractions, ok := h.retractions.since(count)
	for _, r := range retractions {
		for _, f := range frames {
			switch {
			case r.tombstone != nil:
				if f.about == r.tombstone.ID {
					h.eraseFrame(f, r.tombstone)
				}
			case f.conversation() != r.conversation:
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

// retractions keeps the latest retractions.
type retractions struct {
	mu     sync.Mutex
	n      uint64
	lost   uint64          // n when retractions were last missed
	recent [512]retraction // retraction i is at i modulo the length
}

func (r *retractions) add(one retraction) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent[r.n%uint64(len(r.recent))] = one
	r.n++
}

// lose records that retractions were missed.
func (r *retractions) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	r.lost = r.n
}

func (r *retractions) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// since returns all retractions after the first count, or false if some of them are missing.
func (r *retractions) since(count uint64) ([]retraction, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == count {
		return nil, true
	}
	if count < r.lost || r.n-count > uint64(len(r.recent)) {
		return nil, false
	}
	list := make([]retraction, 0, r.n-count)
	for i := count; i < r.n; i++ {
		list = append(list, r.recent[i%uint64(len(r.recent))])
	}
	return list, true
}
