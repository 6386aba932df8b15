package searchindex

import (
	"slices"
	"sync/atomic"

	"github.com/imapi/imapi/search"
)

// item is a message in memory.
type item struct {
	id, conversation int64
	kind             uint8
	// words is set until entries is; both are nil once the message is erased.
	words   atomic.Pointer[func() string]
	entries atomic.Pointer[[]search.Entry]
	erased  atomic.Bool
}

// hashed returns the entries of the message, none if it is erased.
func (i *item) hashed(h *search.Hasher) []search.Entry {
	if e := i.entries.Load(); e != nil {
		return *e
	}
	words := i.words.Load()
	if words == nil { // erased, or hashed by another goroutine
		if e := i.entries.Load(); e != nil {
			return *e
		}
		return nil
	}
	e := h.Document((*words)(), i.conversation, i.kind)
	i.entries.Store(&e)
	i.words.Store(nil)
	if i.erased.Load() {
		i.forget()
	}
	return e
}

// forget drops the content of an erased message.
func (i *item) forget() {
	i.erased.Store(true)
	i.words.Store(nil)
	i.entries.Store(nil)
}

// memory holds the newest messages. It is immutable, except that new elements are appended
// past the end of its slices.
type memory struct {
	// sorted is in ascending order of ids. tail was added since, in any order.
	sorted, tail []*item
}

// sortTail returns a memory that is sorted as a whole. Only the keeper may call it, because it
// appends past the end of slices that searches read.
func (m *memory) sortTail() *memory {
	if len(m.tail) == 0 {
		return m
	}
	tail := slices.Clone(m.tail)
	slices.SortFunc(tail, byID)
	if n := len(m.sorted); n == 0 || m.sorted[n-1].id < tail[0].id {
		return &memory{sorted: append(m.sorted, tail...)} // past the end of slices that searches read
	}
	merged := append(slices.Clone(m.sorted), tail...)
	slices.SortFunc(merged, byID)
	return &memory{sorted: merged}
}

// live returns the messages that are not erased.
func live(list []*item) []*item {
	return slices.DeleteFunc(slices.Clone(list), func(i *item) bool { return i.erased.Load() })
}

func byID(a, b *item) int { return compare(a.id, b.id) }

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
