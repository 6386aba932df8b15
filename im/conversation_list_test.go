package im_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

func TestRevokingTheLastMessageDoesNotReorder(t *testing.T) {
	w := newWorld(t)
	first := w.group(im.HistoryAll, "alice", "bob")
	w.pass(time.Minute)
	second := w.group(im.HistoryAll, "alice", "bob")
	w.pass(time.Minute)
	w.say("alice", byID(second), "stays")
	w.pass(time.Minute)
	m := w.say("alice", byID(first), "goes")
	w.pass(time.Minute)
	w.revoke("alice", m.ID)
	list := w.list("bob")
	w.equal("order", []im.ID{list[0].ID, list[1].ID}, []im.ID{first, second})
	w.equal("preview", preview(list), "revoked")
}

// A conversation created while the clock was ahead is on exactly one page, before all
// others, and stays there until something happens in it.
func TestMadeInTheFuture(t *testing.T) {
	for _, limit := range []int{1, 2, 10} {
		w := newWorld(t)
		old := w.group(im.HistoryAll, "alice", "bob")
		w.pass(time.Minute)
		w.say("alice", byID(old), "then")
		w.pass(2 * time.Hour)
		var ahead []im.ID
		for range 3 {
			w.pass(time.Second)
			ahead = append(ahead, w.group(im.HistoryAll, "alice", "bob"))
		}
		ahead = append(ahead, w.say("alice", direct("bob"), "hi").Conversation)
		slices.SortFunc(ahead, func(a, b im.ID) int { // by creation, then by id
			ca, err := w.Conversation(w.ctx, as("bob"), byID(a))
			w.must(err)
			cb, err := w.Conversation(w.ctx, as("bob"), byID(b))
			w.must(err)
			return cmp.Or(cb.CreatedAt.Compare(ca.CreatedAt), cmp.Compare(b, a))
		})
		w.pass(-2 * time.Hour)
		all := func() (got []im.ID) {
			f := im.ConversationFilter{Limit: limit}
			for {
				page, err := w.Conversations(w.ctx, as("bob"), f)
				w.must(err)
				for _, c := range page.Items {
					got = append(got, c.ID)
				}
				if page.Next == nil {
					return got
				}
				f.AsOf, f.Through, f.Past = page.AsOf, page.Through, page.Next
				w.pass(time.Millisecond)
				w.group(im.HistoryAll, "carol", "bob") // is left out, because it belongs to the next list
			}
		}
		got := all()
		w.equal("listed", got, append(ahead, old))
		w.pass(3 * time.Hour)
		w.equal("once the clock has got there", slices.Contains(all(), ahead[0]), true)
	}
}

// Each conversation is on exactly one page, whatever happens to it in the meantime except leaving
// it: renamed once or twice, imported to, sent to.
func TestPagesHoldTogether(t *testing.T) {
	root := im.Actor{User: "root", Admin: true}
	for name, meanwhile := range map[string]func(*world, im.ID){
		"renamed": func(w *world, id im.ID) { w.rename("alice", id) },
		"a message inserted": func(w *world, id im.ID) {
			w.must2(w.Insert(w.ctx, root, im.ImportMessage{
				Conversation: id.String(), Sender: "alice", Type: im.Text, Body: []byte(`{"text":"old"}`),
				CreatedAt: w.clock().Add(-90 * time.Millisecond),
			}))
		},
		"a message sent": func(w *world, id im.ID) { w.say("alice", byID(id), "hi") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			im.SetListed(w.Service, 4)
			var ids []im.ID
			for range 9 {
				ids = append(ids, w.group(im.HistoryAll, "alice", "bob"))
				w.pass(time.Second)
			}
			for _, id := range ids {
				w.rename("alice", id)
				w.pass(time.Second)
			}
			slices.Reverse(ids)
			f := im.ConversationFilter{Limit: 2}
			var got []im.ID
			for {
				page, err := w.Conversations(w.ctx, as("bob"), f)
				w.must(err)
				for _, c := range page.Items {
					got = append(got, c.ID)
				}
				if f.AsOf, f.Through, f.Past = page.AsOf, page.Through, page.Next; f.Past == nil {
					break
				}
				w.pass(time.Millisecond)
				for _, id := range ids {
					meanwhile(w, id)
				}
			}
			w.equal("listed", got, ids)
		})
	}
}

// rename changes the name of a conversation.
func (w *world) rename(user im.UserID, id im.ID) {
	w.Helper()
	name := "another name"
	w.must1(w.UpdateConversation(w.ctx, as(user), byID(id), im.ConversationPatch{Name: &name}))
}

// must2 is must for calls that return two values and an error.
func (w *world) must2(_, _ any, err error) { w.Helper(); w.must(err) }

// A user who is added to an old group, or rejoins one, finds it at the top of the list.
func TestNewMembersFindItFirst(t *testing.T) {
	w := newWorld(t)
	old := w.group(im.HistoryAll, "alice")
	w.say("alice", byID(old), "long ago")
	w.pass(time.Hour)
	w.say("bob", direct("carol"), "hi")
	for range 2 {
		w.pass(time.Hour)
		w.add(old, "alice", im.Member, "bob")
		w.equal("first", w.list("bob")[0].ID, old)
		w.pass(time.Hour)
		w.say("carol", direct("bob"), "hi")
		w.equal("second", w.list("bob")[1].ID, old)
		w.remove(old, "alice", "bob")
	}
}

// An imported message is sorted by its time, and becomes the preview if it is the latest.
func TestPreviewOfImports(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob")
	insert := func(words string, ago time.Duration) {
		t.Helper()
		w.must2(w.Insert(w.ctx, im.Actor{User: "root", Admin: true}, im.ImportMessage{
			Conversation: id.String(), Sender: "alice", Type: im.Text, Body: fmt.Appendf(nil, `{"text":%q}`, words),
			CreatedAt: w.clock().Add(-ago),
		}))
	}
	previewed := func() string { return words(*w.list("bob")[0].LastMessage) }
	w.pass(time.Hour)
	insert("older", 30*time.Minute)
	w.equal("alone", previewed(), "older")
	insert("oldest", 40*time.Minute)
	w.equal("an older one after it", previewed(), "older")
	w.say("alice", byID(id), "said")
	insert("old", 20*time.Minute)
	w.equal("after something was said", previewed(), "said")
	w.pass(time.Minute)
	insert("newest", 0)
	w.equal("the newest", previewed(), "newest")
	w.say("alice", byID(id), "said last")
	w.equal("said last", previewed(), "said last")
}

func TestOwnSettings(t *testing.T) {
	yes, no := true, false
	w := newWorld(t)
	a, b := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	set := func(user im.UserID, id im.ID, p im.ConversationPatch) im.ConversationView {
		t.Helper()
		v, err := w.UpdateConversation(w.ctx, on(user, "phone"), byID(id), p)
		w.must(err)
		return v
	}
	for range 2 { // the second time changes nothing
		v := set("bob", a, im.ConversationPatch{Pinned: &yes, Muted: &yes})
		w.equal("bob's", fmt.Sprint(v.Me.Mark().PinnedAt.IsZero(), v.Me.Mark().Muted), "false true")
	}
	set("bob", a, im.ConversationPatch{Muted: &no})
	v, err := w.Conversation(w.ctx, as("alice"), byID(a))
	w.must(err)
	w.equal("alice's", v.Me.Mark(), im.Mark{})

	var received []string
	for _, e := range w.committed() {
		if e.Type == im.ConversationUpdated {
			received = append(received, fmt.Sprint(e.To, e.ActorDevice, *e.Own))
		}
	}
	w.equal("published", received, []string{"bobphone{true true}", "bobphone{true false}"})

	for name, tt := range map[string]struct {
		pinned *bool
		want   []im.ID
	}{"pinned": {&yes, []im.ID{a}}, "not pinned": {&no, []im.ID{b}}} {
		page, err := w.Conversations(w.ctx, as("bob"), im.ConversationFilter{Pinned: tt.pinned, Limit: 10})
		w.must(err)
		var got []im.ID
		for _, v := range page.Items {
			got = append(got, v.ID)
		}
		w.equal(name, got, tt.want)
	}
}

func TestConversationsOfAKind(t *testing.T) {
	w := newWorld(t)
	w.group(im.HistoryAll, "alice", "bob")
	w.say("alice", direct("bob"), "hi")
	for _, kind := range []im.Kind{im.Direct, im.Group} {
		page, err := w.Conversations(w.ctx, as("bob"), im.ConversationFilter{Kind: kind, Limit: 10})
		w.must(err)
		if len(page.Items) != 1 || page.Items[0].Kind != kind {
			t.Errorf("%v: %+v", kind, page.Items)
		}
	}
}

// A client that was offline finds every conversation that has changed for its user, whatever the
// change.
func TestWhatChangedSince(t *testing.T) {
	for name, act := range map[string]func(w *world, id im.ID, m im.Message){
		"a message sent": func(w *world, id im.ID, _ im.Message) { w.say("alice", byID(id), "more") },
		"revoked":        func(w *world, _ im.ID, m im.Message) { w.revoke("alice", m.ID) },
		"read":           func(w *world, id im.ID, m im.Message) { w.read("bob", byID(id), m.ID) },
		"hidden by id":   func(w *world, id im.ID, m im.Message) { w.hide("bob", byID(id), m.ID) },
		"cleared": func(w *world, id im.ID, _ im.Message) {
			_, err := w.ClearUnread(w.ctx, as("bob"), byID(id))
			w.must(err)
		},
		"hidden":       func(w *world, id im.ID, _ im.Message) { w.must(w.HideConversation(w.ctx, as("bob"), byID(id), false)) },
		"member added": func(w *world, id im.ID, _ im.Message) { w.add(id, "alice", im.Member, "carol") },
		"member returned": func(w *world, id im.ID, _ im.Message) {
			w.remove(id, "bob", "bob")
			w.back(id, "alice", "bob")
		},
		"muted": func(w *world, id im.ID, _ im.Message) {
			_, err := w.UpdateConversation(w.ctx, as("bob"), byID(id), im.ConversationPatch{Muted: new(true)})
			w.must(err)
		},
		"renamed": func(w *world, id im.ID, _ im.Message) {
			_, err := w.UpdateConversation(w.ctx, as("alice"), byID(id), im.ConversationPatch{Name: new("other")})
			w.must(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			quiet := w.group(im.HistoryAll, "alice", "bob")
			w.say("alice", byID(quiet), "nothing happens here")
			id := w.group(im.HistoryAll, "alice", "bob")
			m := w.say("alice", byID(id), "hi")
			w.pass(time.Minute)
			since := w.clock()
			act(w, id, m)
			page, err := w.Conversations(w.ctx, as("bob"), im.ConversationFilter{ChangedSince: since, Limit: 10})
			w.must(err)
			if len(page.Items) != 1 || page.Items[0].ID != id {
				t.Errorf("changed: %+v", page.Items)
			}
		})
	}
}

// However conversations move while their list is read in pages, each is on exactly one page.
func TestPagingWhileMessagesArrive(t *testing.T) {
	w := newWorld(t)
	im.SetListed(w.Service, 7)
	var all []im.ID
	for range 30 {
		w.pass(time.Second)
		id := w.group(im.HistoryAll, "alice", "bob")
		w.say("alice", byID(id), "hi")
		all = append(all, id)
	}
	w.pass(time.Second)
	f := im.ConversationFilter{Limit: 4}
	seen := make(map[im.ID]int)
	for page := 0; ; page++ {
		got, err := w.Conversations(w.ctx, as("bob"), f)
		w.must(err)
		for _, v := range got.Items {
			seen[v.ID]++
		}
		if got.Next == nil {
			break
		}
		f.Past, f.AsOf, f.Through = got.Next, got.AsOf, got.Through
		w.pass(time.Second)
		for i, id := range all { // conversations of the previous page, of the next one, and of the end
			if i%(page+2) == 0 {
				w.say("alice", byID(id), "again")
			}
		}
		w.group(im.HistoryAll, "alice", "bob") // created after the beginning of the list
	}
	for i, id := range all {
		if seen[id] != 1 {
			t.Errorf("conversation %d is listed %d times", i, seen[id])
		}
	}
	w.equal("how many", len(seen), len(all))
}

func TestAroundAMessage(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice")
	var sent []im.Message
	for i := range 10 {
		sent = append(sent, w.say("alice", byID(id), fmt.Sprint(i)))
	}
	for name, tt := range map[string]struct {
		around, limit int
		want          []string
		more          bool
	}{
		"an even limit":          {5, 4, []string{"7", "6", "5", "4"}, true},
		"an odd limit":           {5, 5, []string{"7", "6", "5", "4", "3"}, true},
		"the last message":       {9, 4, []string{"9", "8", "7", "6"}, true},
		"the first message":      {0, 4, []string{"2", "1", "0"}, false},
		"a limit of one message": {3, 1, []string{"3"}, true},
	} {
		f := im.HistoryFilter{Around: sent[tt.around].ID.String(), Limit: tt.limit}
		page, err := w.Messages(w.ctx, as("alice"), byID(id), f)
		w.must(err)
		var got []string
		var last int64
		for _, m := range page.Messages {
			got, last = append(got, words(m)), m.Seq
		}
		w.equal(name, got, tt.want)
		w.equal(name+": more", page.Next != nil, tt.more)
		if page.Next == nil {
			continue
		}
		f.Past = page.Next
		page, err = w.Messages(w.ctx, as("alice"), byID(id), f)
		w.must(err)
		w.equal(name+": what follows", page.Messages[0].Seq, last-1)
	}
	_, err := w.Messages(w.ctx, as("alice"), byID(id), im.HistoryFilter{Around: "0000000000001", Limit: 5})
	w.equal("around an unknown message", answer(err), "404 message_not_found")
	for name, f := range map[string]im.HistoryFilter{
		"before a seq": {BeforeSeq: 3}, "after a seq": {AfterSeq: 3}, "oldest first": {Ascending: true},
		"from a time": {From: epoch}, "to a time": {To: epoch},
	} {
		f.Around, f.Limit = sent[3].ID.String(), 5
		_, err := w.Messages(w.ctx, as("alice"), byID(id), f)
		w.equal("around a message and "+name, field(err), "400 invalid_request around")
	}
}

func TestHistoryWithoutTombstones(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice")
	w.say("alice", byID(id), "stays")
	w.revoke("alice", w.say("alice", byID(id), "goes").ID)
	d := text("is due")
	d.ExpireAfter = time.Minute
	w.send("alice", byID(id), d)
	w.pass(time.Minute)
	w.say("alice", byID(id), "stays too")
	page, err := w.Messages(w.ctx, as("alice"), byID(id), im.HistoryFilter{NoErased: true, Ascending: true, Limit: 10})
	w.must(err)
	var got []string
	for _, m := range page.Messages {
		got = append(got, words(m))
	}
	w.equal("left", got, []string{"stays", "stays too"})
}

// However many conversations a user has, one read checks a bounded number of them, and the pages
// are the same as if one read checked all.
func TestListIsReadInParts(t *testing.T) {
	w := newWorld(t)
	var ids []im.ID
	for n := range 23 {
		w.pass(time.Second)
		if n%5 == 0 {
			m := w.say(im.UserID(fmt.Sprint("user", n)), direct("bob"), "hi")
			ids = append(ids, m.Conversation)
			continue
		}
		ids = append(ids, w.group(im.HistoryAll, "alice", "bob"))
	}
	for n, id := range ids {
		if n%3 == 0 && n%5 != 0 {
			w.pass(time.Second)
			w.say("alice", byID(id), "hi")
		}
	}
	w.must(w.Leave(w.ctx, as("bob"), byID(ids[1])))
	w.must(w.DeleteConversation(w.ctx, as("alice"), byID(ids[2])))
	w.pass(time.Second)
	pages := func(limit int) (out [][]im.ID) {
		f := im.ConversationFilter{Limit: limit}
		for {
			page, err := w.Conversations(w.ctx, as("bob"), f)
			w.must(err)
			var got []im.ID
			for _, c := range page.Items {
				got = append(got, c.ID)
			}
			out = append(out, got)
			if f.AsOf, f.Through, f.Past = page.AsOf, page.Through, page.Next; f.Past == nil {
				return out
			}
		}
	}
	for _, limit := range []int{1, 4, 100} {
		im.SetListed(w.Service, 1000)
		want := pages(limit)
		for _, n := range []int{1, 2, 5, 20, 21, 22} {
			im.SetListed(w.Service, n)
			w.equal(fmt.Sprint("pages of ", limit, " by ", n), pages(limit), want)
		}
	}
}

// betweenReads calls a function after each read.
type betweenReads struct {
	im.Store
	after func()
}

func (s betweenReads) View(ctx context.Context, fn func(im.Reader) error) error {
	err := s.Store.View(ctx, fn)
	s.after()
	return err
}

// A conversation that is deleted before the last of several reads is not on the page.
func TestLeftWhileTheListIsRead(t *testing.T) {
	w := newWorld(t)
	ids := []im.ID{}
	for range 6 {
		ids = append(ids, w.group(im.HistoryAll, "alice", "bob"))
	}
	slices.Sort(ids) // the order in which they are read
	reads := 0
	store := betweenReads{w.store, func() {
		if reads++; reads == 2 {
			w.must(w.Leave(w.ctx, as("bob"), byID(ids[0])))
			w.must(w.DeleteConversation(w.ctx, as("alice"), byID(ids[1])))
			w.rename("alice", ids[2])
		}
	}}
	s := im.NewService(store, im.DefaultPolicy(), w.clock)
	im.SetListed(s, 2)
	page, err := s.Conversations(w.ctx, as("bob"), im.ConversationFilter{Limit: 10})
	w.must(err)
	w.equal("reads", reads, 3)
	var got []im.ID
	for _, c := range page.Items {
		got = append(got, c.ID)
		if c.ID == ids[2] {
			w.equal("name", c.Name, "another name")
		}
	}
	slices.Sort(got)
	w.equal("listed", got, ids[2:])
}
