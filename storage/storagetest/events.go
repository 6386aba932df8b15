package storagetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// events reads a user's events of a part of the log in windows and checks the invariants of
// each window.
func (w *world) events(user im.UserID, after, upTo im.Position, limit int) (all []im.Event, windows int) {
	w.Helper()
	for after < upTo {
		got := read(w, func(r im.Reader) (im.EventWindow, error) { return r.Events(user, after, upTo, limit) })
		if got.Through <= after || got.Through > upTo || len(got.Events) > limit {
			w.Fatalf("window of %d events through %d of (%d, %d] with limit %d", len(got.Events), got.Through, after, upTo, limit)
		}
		for _, e := range got.Events {
			if e.Position <= after || e.Position > got.Through {
				w.Fatalf("position %d in a window (%d, %d]", e.Position, after, got.Through)
			}
			after = e.Position
		}
		all = append(all, got.Events...)
		after = got.Through
		windows++
	}
	return all, windows
}

func (w *world) bounds() im.LogBounds {
	w.Helper()
	return read(w, func(r im.Reader) (im.LogBounds, error) { return r.LogBounds() })
}

func positions(list []im.Event) []im.Position {
	p := make([]im.Position, len(list))
	for i, e := range list {
		p[i] = e.Position
	}
	return p
}

func testEvents(w *world) {
	w.equal("an empty log", w.bounds(), im.LogBounds{})
	id := w.group(im.HistoryAll, "alice", "bob")
	m := w.text(id, "alice", "hi")
	m.SenderDevice = "phone"
	m = w.send(m)
	added := w.join(id, "carol")
	at := w.tick()
	w.write(func(tx im.Tx) error {
		_, err := tx.Append(im.Event{Type: im.ConversationUpdated, At: at, Conversation: id, To: "bob", Actor: "carol"})
		return err
	})
	left := w.leave(id, "bob")
	w.send(w.text(id, "alice", "bob is no longer a member"))

	head := w.bounds().Head
	w.equal("LastEvent of the conversation", w.conversation(id).LastEvent, head)
	got, _ := w.events("bob", 0, head, 100)
	w.equal("events for bob", got, []im.Event{
		{Position: added - 2, Type: im.ConversationCreated, At: got[0].At, Conversation: id, Actor: "alice"},
		{
			Position: added - 1, Type: im.MessageCreated, At: m.CreatedAt, Conversation: id,
			MessageID: m.ID, Seq: 1, Actor: "alice", ActorDevice: "phone", Message: &m,
		},
		{Position: added, Type: im.MemberAdded, At: got[2].At, Conversation: id, Actor: "carol", User: "carol", Role: im.Member},
		{Position: added + 1, Type: im.ConversationUpdated, At: at, Conversation: id, To: "bob", Actor: "carol"},
		{Position: left, Type: im.MemberRemoved, At: got[4].At, Conversation: id, Actor: "bob", User: "bob"},
	})
	got, _ = w.events("carol", 0, head, 1)
	w.equal("events for carol", positions(got), []im.Position{added, left, head})
	got, _ = w.events("nobody", 0, head, 1)
	w.equal("events for an unknown user", len(got), 0)
	for _, after := range []im.Position{head, head + 5} {
		none := read(w, func(r im.Reader) (im.EventWindow, error) { return r.Events("alice", after, head, 5) })
		w.equal("an empty range", none, im.EventWindow{Through: after})
	}
}

// testEventMessages checks which messages events come with, and that large messages end a
// window.
func testEventMessages(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	about := func(t im.EventType, m im.Message) {
		at := w.tick()
		w.write(func(tx im.Tx) error {
			_, err := tx.Append(im.Event{Type: t, At: at, Conversation: id, MessageID: m.ID, Seq: m.Seq, Actor: "bob"})
			return err
		})
	}
	events := func(user im.UserID) []im.Event {
		w.Helper()
		list, _ := w.events(user, 1, w.bounds().Head, 100)
		return list
	}
	short := w.send(w.text(id, "alice", "short"))
	long := w.send(w.text(id, "bob", strings.Repeat("long ", 2000)))
	about(im.ReceiptRead, short)
	about(im.ReceiptRead, long)
	list := events("alice")
	w.equal("how many", len(list), 4)
	w.sameMessage(*list[0].Message, short)
	w.sameMessage(*list[1].Message, long)
	for i, m := range []im.Message{short, long} {
		m.Content = nil
		w.sameMessage(*list[2+i].Message, m)
	}

	w.hide(id, "alice", long.Seq, long.Seq, w.tick())
	w.erase(short.ID, im.Erasure{State: im.Revoked, At: w.tick(), By: "alice"})
	for user, hidden := range map[im.UserID][]im.UserID{"alice": {"alice"}, "bob": nil} {
		list = events(user)
		for i, e := range list {
			if m := w.message(e.MessageID); e.MessageID == short.ID {
				w.sameMessage(*e.Message, m)
				w.equal("hidden", e.HiddenBy, []im.UserID(nil))
			} else {
				w.equal("hidden", e.HiddenBy, hidden)
			}
			w.equal("content", e.Message.Content != nil, i == 1)
		}
	}

	w.send(w.text(id, "alice", "trimmed"))
	head := w.bounds().Head
	w.trimAll(id, w.tick(), 100)
	for _, e := range events("alice") {
		if e.Position <= head && e.Message != nil {
			w.Errorf("event %d comes with message %v, which was trimmed", e.Position, e.MessageID)
		}
	}

	start := w.bounds().Head
	large := strings.Repeat("x", im.EnoughContent/4)
	for range 9 {
		w.send(w.text(id, "alice", large))
	}
	head = w.bounds().Head
	first := read(w, func(r im.Reader) (im.EventWindow, error) { return r.Events("bob", start, head, 9) })
	w.equal("events with enough content", len(first.Events), 4)
	w.equal("how far the window goes", first.Through, start+4)
	list, windows := w.events("bob", start, head, 9)
	w.equal("all events, and windows", []int{len(list), windows}, []int{9, 3})
}

// testEventData checks that the fields that few events have are stored, and that fields
// that must not be stored are not.
func testEventData(w *world) {
	id := w.group(im.HistoryAll, "alice")
	at := w.tick()
	want := []im.Event{
		{Type: im.ReceiptRead, MessageIDs: []im.ID{1, 1<<62 + 1, 3}},
		{Type: im.ReceiptRead, UpTo: 1<<62 + 3},
		{Type: im.MessageBurnStarted, MessageID: 5, Seq: 7, BurnAt: at.Add(time.Hour)},
		{Type: im.MessageBurned, MessageID: 5, Seq: 7},
		{Type: im.MessageHidden, UpToSeq: 9},
		{Type: im.MessageHidden, Before: at.Add(-time.Hour)},
		{Type: im.ConversationTrimmed, Before: at, FirstSeq: 1 << 40},
		{Type: im.UnreadChanged, Unread: &im.UnreadCount{}},
		{Type: im.UnreadChanged, Unread: &im.UnreadCount{Messages: 1000, More: true, Mentions: 3}},
		{Type: im.ConversationUpdated, Own: &im.OwnSettings{}},
		{Type: im.ConversationUpdated, Own: &im.OwnSettings{Pinned: true, Muted: true}},
		{Type: im.SpaceUpdated, Space: 1<<62 + 9},
		{Type: im.ThreadUpdated, Thread: 1<<62 + 7, Root: 1<<62 + 5, Activity: &im.Activity{Messages: 1 << 40, At: at, Since: at.Add(-time.Hour)}},
		{Type: im.ThreadUpdated, Thread: 7, Root: 5, Activity: &im.Activity{At: at, Since: at}},
		{Type: im.RoleUpdated, Space: 9, RoleID: 1<<62 + 1},
		{Type: im.MemberUpdated, MutedUntil: at.Add(time.Hour)},
		{Type: im.MemberUpdated, MutedUntil: im.MutedForGood},
	}
	w.write(func(tx im.Tx) error {
		for i := range want {
			want[i].At, want[i].Conversation, want[i].Actor = at, id, "alice"
			published := want[i]
			published.Mentioned, published.Tracked, published.Late = []im.UserID{"bob"}, true, time.Second
			published.HiddenBy, published.MentionedAll, published.Gone = []im.UserID{"bob"}, true, []im.ID{id}
			published.Push = im.Push{Content: "secret", Payload: []byte("{}")}
			pos, err := tx.Append(published)
			if err != nil {
				return err
			}
			want[i].Position = pos
		}
		return nil
	})
	got, _ := w.events("alice", want[0].Position-1, w.bounds().Head, 100)
	w.equal("how many", len(got), len(want))
	for i := range want {
		w.equal("event", got[i], want[i])
	}
}

// loggedEvent is an event of the model and the users it is delivered to.
type loggedEvent struct {
	position im.Position
	users    map[im.UserID]bool
}

// appendLogged appends an event that is delivered to the members and to one more user.
func appendLogged(log []loggedEvent, members map[im.UserID]bool, also im.UserID) []loggedEvent {
	users := map[im.UserID]bool{also: true}
	maps.Copy(users, members)
	return append(log, loggedEvent{position: im.Position(len(log) + 1), users: users})
}

// testEventsModel lets members join and leave, and then compares windows of several sizes with
// a log in memory.
func testEventsModel(w *world) {
	random := rand.New(rand.NewPCG(5, 6))
	users := []im.UserID{"u1", "u2", "u3", "u4", "u5", "u6"}
	var log []loggedEvent
	var groups []im.ID
	members := map[im.ID]map[im.UserID]bool{}
	publish := func(id im.ID, also im.UserID) { log = appendLogged(log, members[id], also) }
	for range 5 {
		first := users[random.IntN(len(users))]
		id := w.group(im.HistoryAll, first)
		groups = append(groups, id)
		members[id] = map[im.UserID]bool{first: true}
		publish(id, first)
	}
	for range 500 {
		id := groups[min(random.IntN(12), len(groups)-1)] // one is much busier than the others
		user := users[random.IntN(len(users))]
		is := members[id]
		switch n := random.IntN(10); {
		case n < 2 && is[user] && len(is) > 1:
			w.leave(id, user)
			publish(id, user)
			delete(is, user)
		case n < 3 && !is[user]:
			w.join(id, user)
			is[user] = true
			publish(id, user)
		case n == 3:
			e := im.Event{Type: im.ConversationUpdated, At: w.tick(), Conversation: id, To: user}
			if random.IntN(2) == 0 {
				e.Type, e.Conversation = im.BlockCreated, 0
			}
			w.write(func(tx im.Tx) error {
				_, err := tx.Append(e)
				return err
			})
			log = appendLogged(log, nil, user)
		default:
			w.send(w.text(id, user, "x"))
			publish(id, "")
		}
	}
	w.checkDelivered(log, users, random)
}

// checkDelivered compares the events of each user, in windows of random bounds and several
// sizes, with the log.
func (w *world) checkDelivered(log []loggedEvent, users []im.UserID, random *rand.Rand) {
	w.Helper()
	head := w.bounds().Head
	w.equal("head of the log", head, im.Position(len(log)))
	for _, user := range users {
		for range testsize.Pick(8, 2) {
			for _, limit := range []int{1, 2, 7, 40, 1000} {
				after := im.Position(random.IntN(len(log)))
				upTo := after + im.Position(random.IntN(len(log)-int(after)+1))
				if limit == 7 {
					after, upTo = 0, head
				}
				var want []im.Position
				for _, e := range log {
					if after < e.position && e.position <= upTo && e.users[user] {
						want = append(want, e.position)
					}
				}
				got, _ := w.events(user, after, upTo, limit)
				w.equal(fmt.Sprintf("events for %s in (%d, %d] with limit %d", user, after, upTo, limit), positions(got), want)
			}
		}
	}
}

// testSparseEvents checks that windows are full even for a user who receives few events of
// a busy log.
func testSparseEvents(w *world) {
	quiet := w.group(im.HistoryAll, "alice", "bob")
	busy := w.group(im.HistoryAll, "bob")
	var want []im.Position
	w.write(func(tx im.Tx) error {
		want = nil
		for i := range testsize.Pick(20_000, 10_000) {
			e := im.Event{Type: im.ConversationUpdated, At: w.now, Conversation: busy}
			if i%1000 == 999 {
				e.Conversation = quiet
			}
			pos, err := tx.Append(e)
			if err != nil {
				return err
			}
			if e.Conversation == quiet {
				want = append(want, pos)
			}
		}
		return nil
	})
	head := w.bounds().Head
	got, windows := w.events("alice", 2, head, 5)
	w.equal("events of the quiet conversation", positions(got), want)
	if full := len(want) / 5; windows > full+1 {
		w.Fatalf("%d windows for %d full pages", windows, full)
	}
	got, _ = w.events("bob", 0, head, 1000)
	w.equal("events of both conversations", len(got), int(head))

	// The same in a channel.
	space := w.space("alice", "bob")
	channel := w.channel(space)
	start := w.bounds().Head
	want = nil
	w.write(func(tx im.Tx) error {
		want = nil
		for i := range 5000 {
			e := im.Event{Type: im.ConversationUpdated, At: w.now, Conversation: busy}
			switch i % 1000 {
			case 100:
				e.Conversation = channel
			case 200:
				e.To = "alice"
			}
			pos, err := tx.Append(e)
			if err != nil {
				return err
			}
			if i%1000 == 100 || i%1000 == 200 {
				want = append(want, pos)
			}
		}
		return nil
	})
	got, _ = w.events("alice", start, w.bounds().Head, 4)
	w.equal("events of a channel", positions(got), want)
}

func testTrimLog(w *world) {
	id := w.group(im.HistoryAll, "alice")
	for range 9 {
		w.send(w.text(id, "alice", "x"))
	}
	trim := func(before time.Time, limit int) (n int) {
		w.Helper()
		w.write(func(tx im.Tx) (err error) {
			n, err = tx.TrimLog(before, limit)
			return err
		})
		return n
	}
	w.equal("no event is old enough", trim(epoch, 100), 0)
	w.equal("bounds", w.bounds(), im.LogBounds{Cut: 0, Head: 10})

	fifth := read(w, func(r im.Reader) (im.EventWindow, error) { return r.Events("alice", 4, 5, 1) }).Events[0].At
	w.equal("a batch", trim(fifth, 3), 3)
	w.equal("bounds", w.bounds(), im.LogBounds{Cut: 3, Head: 10})
	w.equal("the rest", trim(fifth.Add(time.Microsecond), 3), 2)
	w.equal("no more", trim(fifth, 3), 0)
	w.equal("bounds", w.bounds(), im.LogBounds{Cut: 5, Head: 10})
	got, _ := w.events("alice", 0, 10, 100)
	w.equal("remaining events", positions(got), []im.Position{6, 7, 8, 9, 10})

	// After all events were trimmed, positions continue.
	w.equal("all", trim(w.now.Add(time.Hour), 100), 5)
	w.equal("bounds", w.bounds(), im.LogBounds{Cut: 10, Head: 10})
	w.send(w.text(id, "alice", "x"))
	w.equal("bounds", w.bounds(), im.LogBounds{Cut: 10, Head: 11})
}
