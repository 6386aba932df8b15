package sqlite

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imapi/imapi/im"
)

// readsWorld is a group of alice and bob in which alice has sent messages of about 100 bytes.
type readsWorld struct {
	service    *im.Service
	group      im.ID
	statements atomic.Int64 // statements that readers have run
}

func newReadsWorld(tb testing.TB, messages int) *readsWorld {
	tb.Helper()
	w := &readsWorld{}
	store := openNew(tb, Options{Synchronous: "normal", fault: func(s *session, query string) error {
		if s.role == reading && query != "BEGIN" && query != "ROLLBACK" {
			w.statements.Add(1)
		}
		return nil
	}})
	w.service = im.NewService(store, im.Policy{MaxMessageBytes: 1 << 16, MaxMembers: 10}, nil)
	alice := im.Actor{User: "alice", Device: "phone"}
	c, err := w.service.CreateGroup(tb.Context(), alice, im.GroupDraft{Name: "a group", Members: []im.UserID{"bob"}})
	if err != nil {
		tb.Fatal(err)
	}
	w.group = c.Conversation.ID
	for i := range messages {
		body := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("words of a message ", 5))
		draft := im.Draft{ClientID: fmt.Sprint("message ", i), Type: im.Text, Body: body}
		if _, err := w.service.Send(tb.Context(), alice, im.ConversationRef{ID: w.group}, draft); err != nil {
			tb.Fatal(err)
		}
	}
	return w
}

// window reads the last events for bob.
func (w *readsWorld) window(tb testing.TB, events int) {
	tb.Helper()
	head := w.head(tb)
	got, err := w.service.Events(tb.Context(), im.Actor{User: "bob"}, head-im.Position(events), head, events)
	if err != nil || len(got.Events) != events || got.Events[0].Message.Content == nil {
		tb.Fatalf("%d events, %v; want %d", len(got.Events), err, events)
	}
}

func (w *readsWorld) head(tb testing.TB) im.Position {
	tb.Helper()
	bounds, err := w.service.LogBounds(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return bounds.Head
}

// count returns the numbers of statements and allocations of fn.
func (w *readsWorld) count(fn func()) (statements int64, allocations float64) {
	fn()
	before := w.statements.Load()
	fn()
	return w.statements.Load() - before, testing.AllocsPerRun(10, fn)
}

// TestWindowCosts checks that a window of the log takes the same number of statements however many
// events it has, and few allocations for each.
func TestWindowCosts(t *testing.T) {
	w := newReadsWorld(t, 120)
	few, fixed := w.count(func() { w.window(t, 10) })
	many, all := w.count(func() { w.window(t, 110) })
	if perEvent := (all - fixed) / 100; few != many || many > 7 || perEvent > 12 {
		t.Errorf("%d statements for 10 events and %d for 110, %.1f allocations an event", few, many, perEvent)
	}
}

// BenchmarkWindow reads windows of the log.
func BenchmarkWindow(b *testing.B) {
	w := newReadsWorld(b, 130)
	b.ReportAllocs()
	for b.Loop() {
		w.window(b, 128)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/event")
}

// page reads a page of the newest messages as bob.
func (w *readsWorld) page(tb testing.TB, messages int) {
	tb.Helper()
	got, err := w.service.Messages(tb.Context(), im.Actor{User: "bob"}, im.ConversationRef{ID: w.group}, im.HistoryFilter{Limit: messages})
	if err != nil || len(got.Messages) != messages || got.Messages[0].Content == nil {
		tb.Fatalf("%d messages, %v; want %d", len(got.Messages), err, messages)
	}
}

// TestPageCosts checks that a page of history takes the same number of statements however many
// messages it has, and few allocations for each.
func TestPageCosts(t *testing.T) {
	w := newReadsWorld(t, 120)
	few, fixed := w.count(func() { w.page(t, 10) })
	many, all := w.count(func() { w.page(t, 110) })
	if perMessage := (all - fixed) / 100; few != many || many > 3 || perMessage > 9 {
		t.Errorf("%d statements for 10 messages and %d for 110, %.1f allocations a message", few, many, perMessage)
	}
}

// search reads a page of hits as bob. All messages match.
func (w *readsWorld) search(tb testing.TB, hits int) {
	tb.Helper()
	got, err := w.service.Search(tb.Context(), im.Actor{User: "bob"}, im.SearchFilter{Words: "words message", Limit: hits})
	if err != nil || len(got.Hits) != hits || got.Next == 0 {
		tb.Fatalf("%d hits, %v; want %d", len(got.Hits), err, hits)
	}
}

// TestSearchCosts checks that a page of hits takes the same number of statements however many hits
// it has, and that no more messages are read than needed.
func TestSearchCosts(t *testing.T) {
	w := newReadsWorld(t, 120)
	few, fixed := w.count(func() { w.search(t, 10) })
	many, all := w.count(func() { w.search(t, 90) })
	if perHit := (all - fixed) / 80; few != many || many > 6 || perHit > 50 {
		t.Errorf("%d statements for 10 hits and %d for 90, %.1f allocations a hit", few, many, perHit)
	}
}

// BenchmarkSearchPage reads pages of 20 hits.
func BenchmarkSearchPage(b *testing.B) {
	w := newReadsWorld(b, 130)
	b.ReportAllocs()
	for b.Loop() {
		w.search(b, 20)
	}
}

// BenchmarkPage reads pages of history.
func BenchmarkPage(b *testing.B) {
	w := newReadsWorld(b, 130)
	b.ReportAllocs()
	for b.Loop() {
		w.page(b, 50)
	}
}
