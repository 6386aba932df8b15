package storagetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

// list reads one page of a list of conversations.
func (w *world) list(q im.ConversationQuery) []im.ListedConversation {
	w.Helper()
	return read(w, func(r im.Reader) ([]im.ListedConversation, error) { return r.Conversations(q) })
}

// lists reads all pages of a list and calls between after each page except the last.
func (w *world) lists(q im.ConversationQuery, between func()) (all []im.ListedConversation) {
	w.Helper()
	for {
		page := w.list(q)
		if len(page) > q.Limit {
			w.Fatalf("%d conversations on a page of %d", len(page), q.Limit)
		}
		all = append(all, page...)
		if len(page) < q.Limit {
			return all
		}
		key := page[len(page)-1].Key()
		q.Past = &key
		between()
	}
}

func keysOf(list []im.ListedConversation) []im.ConversationKey {
	k := make([]im.ConversationKey, len(list))
	for i, c := range list {
		k[i] = c.Key()
	}
	return k
}

// testListAsOf checks that a list read in pages stays as it was at its start, whatever happens in
// the meantime.
func testListAsOf(w *world) {
	random := rand.New(rand.NewPCG(31, 32))
	for _, limit := range []int{1, 2, 5} {
		user := im.UserID(fmt.Sprint("user ", limit))
		var ids []im.ID
		for range 20 {
			ids = append(ids, w.group(im.HistoryAll, user, "bob"))
		}
		send := func(id im.ID, at time.Time, quiet bool, to im.UserID) {
			m := w.text(id, "bob", "hi")
			m.CreatedAt, m.Quiet, m.VisibleTo = at, quiet, to
			w.send(m)
		}
		for _, i := range random.Perm(20)[:15] { // some have no messages
			send(ids[i], w.tick(), false, "")
			if i%3 == 0 {
				send(ids[i], w.tick().Add(-time.Hour), true, "")
			}
			if i%5 == 0 {
				send(ids[i], w.tick(), true, "")
			}
			send(ids[i], w.tick(), true, user)
		}
		rename := func(id im.ID, at time.Time) {
			c := w.conversation(id)
			c.UpdatedAt, c.EditedAt = at, at
			w.write(func(tx im.Tx) error { return tx.UpdateConversation(c) })
		}
		for _, i := range random.Perm(20)[:7] {
			rename(ids[i], w.tick())
		}
		last := read(w, func(r im.Reader) (im.ID, error) { return r.LastMessage() })
		q := im.ConversationQuery{User: user, AsOf: w.tick(), Through: last, Limit: limit}
		whole := q
		whole.Limit = 100
		want := w.list(whole)
		w.equal("how many", len(want), 20)
		for _, c := range want {
			w.equal("sort key", c.ActiveAt, c.ListedAt)
		}
		w.now = w.now.Add(time.Minute)
		got := w.lists(q, func() {
			for range 3 {
				id := ids[random.IntN(len(ids))]
				switch at := w.tick(); random.IntN(5) {
				case 0, 1:
					send(id, at, false, "")
				case 2:
					w.group(im.HistoryAll, user)
					send(id, at.Add(-2*time.Hour), true, "")
					send(id, q.AsOf, true, user)
				case 3:
					rename(id, at)
				case 4:
					send(id, q.AsOf.Add(-time.Millisecond), true, "") // older than the list
				}
			}
		})
		w.equal(fmt.Sprint("pages of ", limit), keysOf(got), keysOf(want))

		// Conversations created while the clock was ahead are listed first, if Now is
		// given.
		w.now = w.now.Add(time.Hour)
		ahead := w.group(im.HistoryAll, user)
		q.Now = q.AsOf.Add(30 * time.Minute)
		got = w.lists(q, func() {})
		w.equal("created in the future", got[0].ID, ahead)
		w.equal("listed before the rest", keysOf(got[1:]), keysOf(want))
	}
}

// testListFilters compares every filter with a scan of all conversations.
func testListFilters(w *world) {
	random := rand.New(rand.NewPCG(33, 34))
	type entry struct {
		im.Conversation
		mark            im.Mark
		changed, joined time.Time
		listed          time.Time
	}
	var all []*entry
	for i := range 40 {
		at := w.tick()
		c := im.Conversation{
			ID: w.ids.Next(at), Kind: im.Group, History: im.HistoryAll, FirstSeq: 1, CreatedAt: at, UpdatedAt: at, EditedAt: at,
		}
		if i%3 == 0 {
			c.Kind, c.Peers = im.Direct, im.PeersOf("alice", im.UserID(fmt.Sprint("peer ", i)))
		}
		w.write(func(tx im.Tx) error { return makeGroup(tx, c, []im.UserID{"zoe", "bob"}) })
		e := &entry{changed: at}
		for range random.IntN(3) {
			e.changed = w.send(w.text(c.ID, "bob", "hi")).CreatedAt
		}
		w.join(c.ID, "alice")
		e.joined, e.changed = w.now, w.now
		if random.IntN(2) == 0 {
			e.mark.ChangedAt = w.tick()
			if random.IntN(2) == 0 {
				e.mark.PinnedAt = w.now
			}
			if random.IntN(2) == 0 {
				e.mark.Gone, e.mark.GoneCounted = true, w.conversation(c.ID).Counted
			}
			w.putMark(c.ID, "alice", e.mark)
		}
		if random.IntN(4) == 0 {
			e.changed = w.send(w.text(c.ID, "bob", "shows it again")).CreatedAt
		}
		e.Conversation = w.conversation(c.ID)
		e.listed = slices.MaxFunc([]time.Time{e.ListedAt, e.joined}, time.Time.Compare)
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return b.listed.Compare(a.listed) })
	for _, kind := range []im.Kind{0, im.Direct, im.Group} {
		for _, pinned := range []*bool{nil, new(true), new(false)} {
			for _, hidden := range []bool{false, true} {
				for _, since := range []time.Time{{}, all[20].changed, all[9].changed.Add(time.Microsecond), w.now.Add(time.Hour)} {
					q := im.ConversationQuery{
						User: "alice", AsOf: w.now, Kind: kind, Pinned: pinned, Hidden: hidden, ChangedSince: since,
						Limit: 1 + random.IntN(50),
					}
					var want []im.ConversationKey
					for _, e := range all {
						last := slices.MaxFunc([]time.Time{e.changed, e.joined, e.mark.ChangedAt}, time.Time.Compare)
						hiddenFromList := e.mark.Gone && e.Counted <= e.mark.GoneCounted
						if (kind == 0 || e.Kind == kind) && (pinned == nil || *pinned == !e.mark.PinnedAt.IsZero()) &&
							(hidden || !since.IsZero() || !hiddenFromList) && !last.Before(since) {
							want = append(want, im.ConversationKey{ActiveAt: e.listed, ID: e.ID})
						}
					}
					w.equal(fmt.Sprintf("%+v", q), keysOf(w.lists(q, func() {})), append([]im.ConversationKey{}, want...))
				}
			}
		}
	}
}
