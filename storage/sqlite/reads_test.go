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
	store      *Store
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
	w.store = store
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

// newManyWorld returns a world in which bob and carol are in many groups, each with a message of
// bob, and in which 9,000 events follow that carol does not receive.
func newManyWorld(tb testing.TB, groups int) *readsWorld {
	tb.Helper()
	w := newReadsWorld(tb, 1)
	bob := im.Actor{User: "bob"}
	for range groups {
		c, err := w.service.CreateGroup(tb.Context(), bob, im.GroupDraft{Name: "another", Members: []im.UserID{"carol"}})
		if err != nil {
			tb.Fatal(err)
		}
		ref := im.ConversationRef{ID: c.Conversation.ID}
		if _, err := w.service.Send(tb.Context(), bob, ref, im.Draft{Type: im.Text, Body: []byte(`{"text":"hi"}`)}); err != nil {
			tb.Fatal(err)
		}
	}
	err := w.store.Write(tb.Context(), func(tx im.Tx) error {
		for range 9000 {
			if _, err := tx.Append(im.Event{Type: im.ConversationUpdated, Conversation: w.group, Actor: "bob"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// TestManyConversationsCost checks that a page of the list, unread counts and a window of the log
// take few statements however many conversations they are about, and so does a window of a long
// log of which few events are the user's.
func TestManyConversationsCost(t *testing.T) {
	w := newManyWorld(t, 110)
	carol := im.Actor{User: "carol"}
	head := w.head(t)
	for what, read := range map[string]func(n int){
		"list": func(n int) {
			page, err := w.service.Conversations(t.Context(), carol, im.ConversationFilter{Limit: n})
			if err != nil || len(page.Items) != n || page.Items[0].LastMessage == nil || page.Items[0].Unread.Messages != 1 {
				t.Fatalf("%d conversations, %v; want %d", len(page.Items), err, n)
			}
		},
		"window": func(n int) {
			window, err := w.service.Events(t.Context(), carol, 0, head, n)
			if err != nil || len(window.Events) != n {
				t.Fatalf("%d events, %v; want %d", len(window.Events), err, n)
			}
		},
	} {
		few, _ := w.count(func() { read(10) })
		many, _ := w.count(func() { read(100) })
		if many > few+2 || many > 10 {
			t.Errorf("%s: %d statements for 10, %d for 100", what, few, many)
		}
	}
	unread, _ := w.count(func() {
		if all, err := w.service.Unread(t.Context(), carol, nil); err != nil || all.Total != 110 {
			t.Fatalf("%d are unread, %v", all.Total, err)
		}
	})
	if unread > 6 {
		t.Errorf("unread counts of 110 conversations take %d statements", unread)
	}
	rest, _ := w.count(func() {
		window, err := w.service.Events(t.Context(), carol, 240, head, 256)
		if err != nil || len(window.Events) > 100 || window.Through != head {
			t.Fatalf("%d events through %d of %d, %v", len(window.Events), window.Through, head, err)
		}
	})
	if rest > 8 {
		t.Errorf("a window of 9,000 events of which few are the user's takes %d statements", rest)
	}
}

// TestWindowsOfVeryManyConversations checks that a user in more conversations than are merged
// receives all of their events, in windows that end early.
func TestWindowsOfVeryManyConversations(t *testing.T) {
	const examined = 100
	store := openNew(t, Options{Synchronous: "normal", examined: examined})
	at := fromMillis(1)
	conversation := func(tx im.Tx, id im.ID, user im.UserID) error {
		c := im.Conversation{ID: id, Kind: im.Group, History: im.HistoryAll, FirstSeq: 1, CreatedAt: at, UpdatedAt: at, EditedAt: at}
		if err := tx.CreateConversation(c); err != nil {
			return err
		}
		return tx.AddMember(im.Membership{Conversation: id, User: user, Role: im.Member, JoinedAt: at}, 1)
	}
	const foreign, events = 1, 10
	err := store.Write(t.Context(), func(tx im.Tx) error {
		if err := conversation(tx, foreign, "bob"); err != nil {
			return err
		}
		for i := range im.ID(examined + 1) {
			if err := conversation(tx, 1000+i, "carol"); err != nil {
				return err
			}
		}
		for i := range 40 * examined {
			e := im.Event{Type: im.ConversationUpdated, At: at, Conversation: foreign}
			if i%(4*examined) == 0 {
				e.Conversation = im.ID(1000 + i%(examined+1))
			}
			if _, err := tx.Append(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	received, windows := 0, 0
	for after, head := im.Position(0), store.Head(); after < head; windows++ {
		err := store.View(t.Context(), func(r im.Reader) error {
			window, err := r.Events("carol", after, head, 5)
			if window.Through <= after || window.Through > after+2*stretch {
				t.Fatalf("a window through %d after %d", window.Through, after)
			}
			received, after = received+len(window.Events), window.Through
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if received != events || windows > 40 {
		t.Errorf("received %d events in %d windows", received, windows)
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

// TestSearchInManyConversationsCosts checks that a page of hits takes the same number of statements
// however many conversations the hits are in, also for a user who has hidden messages by their ids.
func TestSearchInManyConversationsCosts(t *testing.T) {
	w := newReadsWorld(t, 2)
	alice, bob := im.Actor{User: "alice", Device: "phone"}, im.Actor{User: "bob", Device: "phone"}
	var last im.ConversationRef
	var sent im.Sent
	for range 41 {
		c, err := w.service.CreateGroup(t.Context(), alice, im.GroupDraft{Name: "another", Members: []im.UserID{"bob"}})
		if err != nil {
			t.Fatal(err)
		}
		last = im.ConversationRef{ID: c.Conversation.ID}
		if sent, err = w.service.Send(t.Context(), alice, last, im.Draft{Type: im.Text, Body: []byte(`{"text":"a heron"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	search := func(hits int) func() {
		return func() {
			page, err := w.service.Search(t.Context(), bob, im.SearchFilter{Words: "heron", Limit: hits})
			if err != nil || len(page.Hits) != hits {
				t.Fatalf("%d hits, %v; want %d", len(page.Hits), err, hits)
			}
		}
	}
	few, _ := w.count(search(4))
	many, _ := w.count(search(40))
	if few != many || many > 5 {
		t.Errorf("%d statements for hits in 4 conversations and %d for 40", few, many)
	}
	if err := w.service.Hide(t.Context(), bob, last, im.HideDraft{MessageIDs: []string{sent.Message.ID.String()}}); err != nil {
		t.Fatal(err)
	}
	hiding, _ := w.count(search(40))
	if hiding != many+1 {
		t.Errorf("%d statements for hits in 40 conversations, and %d for a user who has hidden a message", many, hiding)
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
