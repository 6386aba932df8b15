package searchindex

import (
	"slices"
	"sync/atomic"

	"github.com/imapi/imapi/search"
)

// item is a message that is in memory.
type item struct {
	id, conversation int64
	kind             uint8
	// words are there until entries are, both until the message is gone.
	words   atomic.Pointer[func() string]
	entries atomic.Pointer[[]search.Entry]
	gone    atomic.Bool
}

// hashed returns the entries of the message, none once it is gone.
func (i *item) hashed(h *search.Hasher) []search.Entry {
	if e := i.entries.Load(); e != nil {
		return *e
	}
	words := i.words.Load()
	if words == nil { // gone, or another goroutine was quicker
		if e := i.entries.Load(); e != nil {
			return *e
		}
		return nil
	}
	e := h.Document((*words)(), i.conversation, i.kind)
	i.entries.Store(&e)
	i.words.Store(nil)
	if i.gone.Load() {
		i.forget()
	}
	return e
}

// forget lets go of what an erased message says.
func (i *item) forget() {
	i.gone.Store(true)
	i.words.Store(nil)
	i.entries.Store(nil)
}

// memory are the newest messages. It is never changed, but for what is appended behind
// its end.
type memory struct {
	// sorted rise by id. tail came since then, in any order.
	sorted, tail []*item
}

// settle makes one of which all are sorted. The keeper alone may call it, for it appends to
// what searches look at.
func (m *memory) settle() *memory {
	if len(m.tail) == 0 {
		return m
	}
	tail := slices.Clone(m.tail)
	slices.SortFunc(tail, byID)
	if n := len(m.sorted); n == 0 || m.sorted[n-1].id < tail[0].id {
		return &memory{sorted: append(m.sorted, tail...)} // behind what others look at
	}
	merged := append(slices.Clone(m.sorted), tail...)
	slices.SortFunc(merged, byID)
	return &memory{sorted: merged}
}

// live returns those that are not gone.
func live(list []*item) []*item {
	return slices.DeleteFunc(slices.Clone(list), func(i *item) bool { return i.gone.Load() })
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
