package storagetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

func testConversations(w *world) {
	w.view(func(r im.Reader) error {
		_, err := r.Conversation(1)
		w.notFound("before", err)
		return nil
	})
	c := im.Conversation{
		ID: w.ids.Next(w.now), Kind: im.Group, Name: "naïve 名前", History: im.HistoryJoined, FirstSeq: 1,
		CreatedAt: w.now, UpdatedAt: w.now.Add(time.Second), EditedAt: w.now.Add(time.Millisecond),
	}
	w.write(func(tx im.Tx) error { return tx.CreateConversation(c) })
	c.ListedAt = c.CreatedAt
	w.equal("created", w.conversation(c.ID), c)

	c.Name, c.History, c.UpdatedAt, c.EditedAt = "", im.HistoryAll, w.now.Add(time.Hour), w.now.Add(time.Minute)
	w.write(func(tx im.Tx) error {
		changed := c
		changed.Kind, changed.MemberCount, changed.LastSeq = im.Direct, 7, 8 // UpdateConversation ignores these
		changed.FirstSeq, changed.Counted, changed.OldestAt, changed.DeletedAt = 2, 3, w.now, w.now
		return tx.UpdateConversation(changed)
	})
	w.equal("updated", w.conversation(c.ID), c)

	// A revoke window or retention of 0 is different from none.
	for _, window := range []*time.Duration{new(time.Duration), new(90 * time.Second), nil} {
		c.RevokeWindow, c.Retention, c.ExpireAfter = window, window, c.ExpireAfter+time.Hour
		w.write(func(tx im.Tx) error { return tx.UpdateConversation(c) })
		w.sameConversation(w.conversation(c.ID), c)
		c.ID = w.ids.Next(w.tick())
		w.write(func(tx im.Tx) error { return tx.CreateConversation(c) })
		w.sameConversation(w.conversation(c.ID), c)
	}
}

func (w *world) sameConversation(got, want im.Conversation) {
	w.Helper()
	w.equal("conversation", got, want)
}

func testDirectConversations(w *world) {
	find := func(a, b im.UserID) (im.Conversation, error) {
		var c im.Conversation
		var err error
		w.view(func(r im.Reader) error {
			c, err = r.DirectConversation([2]im.UserID{a, b})
			return nil
		})
		return c, err
	}
	_, err := find("alice", "bob")
	w.notFound("before", err)

	// Peers are stored in the byte order of their names, whatever order they are given in.
	for _, user := range []im.UserID{"zoe", "bob", "alice"} {
		w.group(im.HistoryAll, user)
	}
	c := im.Conversation{
		ID: w.ids.Next(w.now), Kind: im.Direct, History: im.HistoryAll,
		Peers: im.PeersOf("zoe", "alice"), FirstSeq: 1, CreatedAt: w.now, UpdatedAt: w.now, EditedAt: w.now,
	}
	w.write(func(tx im.Tx) error { return tx.CreateConversation(c) })
	c.ListedAt = c.CreatedAt
	for _, pair := range [][2]im.UserID{{"alice", "zoe"}, {"zoe", "alice"}} {
		got, err := find(pair[0], pair[1])
		w.must(err)
		w.equal("found", got, c)
	}
	_, err = find("alice", "bob")
	w.notFound("another pair", err)
	_, err = find("alice", "nobody")
	w.notFound("an unknown user", err)

	twin := c
	twin.ID = w.ids.Next(w.now)
	if w.store.Write(w.Context(), func(tx im.Tx) error { return tx.CreateConversation(twin) }) == nil {
		w.Fatal("created a second direct conversation of the same users")
	}
}

func testConversationList(w *world) {
	var all []im.Conversation
	for i := range 25 {
		members := []im.UserID{"alice", "bob"}
		if i%5 == 0 {
			members = members[1:]
		}
		id := w.group(im.HistoryAll, members...)
		if i%5 != 0 {
			m := w.text(id, "bob", "hi")
			m.CreatedAt = epoch.Add(time.Duration(1+i%3) * time.Hour) // many at the same time
			w.send(m)
			all = append(all, w.conversation(id))
		}
	}
	w.leave(all[3].ID, "alice")
	all = slices.Delete(all, 3, 4)
	slices.SortFunc(all, func(a, b im.Conversation) int {
		if n := b.ListedAt.Compare(a.ListedAt); n != 0 {
			return n
		}
		return int(b.ID - a.ID)
	})
	for _, limit := range []int{1, 3, 7, 100} {
		var got []im.ID
		q := im.ConversationQuery{User: "alice", AsOf: w.now.Add(24 * time.Hour), Limit: limit}
		for {
			page := w.list(q)
			for _, c := range page {
				got = append(got, c.ID)
			}
			if len(page) < limit {
				break
			}
			key := page[len(page)-1].Key()
			q.Past = &key
		}
		var want []im.ID
		for _, c := range all {
			want = append(want, c.ID)
		}
		w.equal(fmt.Sprintf("list in pages of %d", limit), got, want)
	}
	q := im.ConversationQuery{User: "alice", AsOf: w.now.Add(24 * time.Hour), Limit: 1}
	page := w.list(q)
	w.equal("first of the list", page[0].Conversation, w.conversation(page[0].ID))
	q.User = "nobody"
	w.equal("unknown user", len(w.list(q)), 0)
}

func testInstance(w *world) {
	i := w.store.Instance()
	if len(i.TicketKey) != 32 || slices.Max(i.TicketKey) == 0 {
		w.Fatal("the ticket key is not 32 random bytes")
	}
	w.must(w.store.Ready(w.Context()))
}
