package storagetest

import (
	"fmt"
	"slices"

	"github.com/imapi/imapi/im"
)

// pagesOf follows a list of conversations to its end, and holds that it is the same
// by pages of every size.
func (w *world) pagesOf(what string, page func(r im.Reader, past im.ID, limit int) ([]im.Conversation, error), want ...im.ID) {
	w.Helper()
	for _, limit := range []int{1, 2, 100} {
		var got []im.ID
		for past := im.ID(0); ; {
			list := read(w, func(r im.Reader) ([]im.Conversation, error) { return page(r, past, limit) })
			for _, c := range list {
				w.sameConversation(c, w.conversation(c.ID))
			}
			if got = append(got, idsOf(list)...); len(list) < limit {
				break
			}
			past = list[limit-1].ID
		}
		w.equal(fmt.Sprintf("%s by %d", what, limit), got, want)
	}
}

func testThreads(w *world) {
	group, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice")
	threads := func(parent im.ID) func(im.Reader, im.ID, int) ([]im.Conversation, error) {
		return func(r im.Reader, before im.ID, limit int) ([]im.Conversation, error) {
			return r.Threads(parent, before, limit)
		}
	}
	w.pagesOf("before", threads(group))
	var ids []im.ID
	for range 5 {
		ids = append(ids, w.thread(0, group, "bob"))
	}
	elsewhere := w.thread(0, other)
	w.pagesOf("threads", threads(group), ids[4], ids[3], ids[2], ids[1], ids[0])
	w.pagesOf("of another", threads(other), elsewhere)
	w.pagesOf("of nothing", threads(1))

	root := w.conversation(ids[2]).Root
	of := func(message im.ID) (c im.Conversation, err error) {
		w.view(func(r im.Reader) error {
			c, err = r.ThreadOf(message)
			return nil
		})
		return c, err
	}
	c, err := of(root)
	w.must(err)
	w.equal("under a message", c, w.conversation(ids[2]))
	_, err = of(root + 1)
	w.notFound("under another", err)
	twin := c
	twin.ID = w.ids.Next(w.now)
	if w.store.Write(w.Context(), func(tx im.Tx) error { return tx.CreateConversation(twin) }) == nil {
		w.Fatal("two threads under a message")
	}

	w.deleteForAll(ids[2])
	_, err = of(root)
	w.notFound("one that was deleted", err)
	w.pagesOf("what is left", threads(group), ids[4], ids[3], ids[1], ids[0])
	c = w.conversation(ids[2])
	w.equal("where it hung", []any{c.Parent, c.Root, c.Name}, []any{group, root, ""})
	again := w.make(im.Conversation{Kind: im.Thread, Parent: group, Root: root}, "alice")
	c, err = of(root)
	w.must(err)
	w.equal("another one", c.ID, again)
}

func testJoinedThreads(w *world) {
	group, space := w.group(im.HistoryAll, "alice", "bob"), w.space("alice", "bob")
	channel := w.channel(space)
	joined := func(user im.UserID) func(im.Reader, im.ID, int) ([]im.Conversation, error) {
		return func(r im.Reader, before im.ID, limit int) ([]im.Conversation, error) {
			return r.JoinedThreads(user, before, limit)
		}
	}
	below := func(user im.UserID, id im.ID, limit int) []im.ID {
		ids := read(w, func(r im.Reader) ([]im.ID, error) { return r.JoinedBelow(user, id, limit) })
		slices.Sort(ids)
		return ids
	}
	w.pagesOf("before", joined("alice"))
	first, second := w.thread(0, group, "alice", "bob"), w.thread(space, channel, "alice")
	w.thread(0, group, "bob")
	third, left, deleted := w.thread(0, group, "alice"), w.thread(0, group, "alice"), w.thread(space, channel, "alice")
	w.leave(left, "alice")
	w.deleteForAll(deleted)
	w.pagesOf("all", joined("alice"), third, second, first)
	w.pagesOf("of nobody", joined("nobody"))
	elsewhere := w.group(im.HistoryAll, "alice")
	w.thread(0, elsewhere, "alice")
	inOther := w.thread(space, w.channel(space), "alice", "bob")
	w.equal("of a group", below("alice", group, 9), []im.ID{first, third})
	w.equal("of another user", len(below("bob", group, 9)), 2)
	w.equal("as many as asked for", len(below("alice", group, 1)), 1)
	w.equal("of a channel", below("alice", channel, 9), []im.ID{second})
	w.equal("of a space", below("alice", space, 9), []im.ID{second, inOther})
	w.equal("of nobody", len(below("nobody", group, 9)), 0)
	w.deleteForAll(elsewhere)
	w.leave(inOther, "alice")

	// They are in no list of conversations, nor are spaces.
	room := w.make(im.Conversation{Kind: im.Room}, "alice")
	var listed []im.ID
	for _, c := range w.list(im.ConversationQuery{User: "alice", AsOf: w.now, Limit: 100}) {
		listed = append(listed, c.ID)
	}
	w.equal("listed", listed, []im.ID{room, group})
	w.equal("listed of a kind", w.list(im.ConversationQuery{User: "alice", AsOf: w.now, Kind: im.Room, Limit: 100})[0].ID, room)
	w.equal("changed", len(w.list(im.ConversationQuery{User: "alice", AsOf: w.now, ChangedSince: epoch, Limit: 100})), 2)
	w.equal("with unread ones", w.conversationsOf("alice"), []im.ID{group})
	more := []im.ID{group, w.group(im.HistoryAll, "alice"), w.group(im.HistoryAll, "alice")}
	slices.Reverse(more)
	w.equal("with unread ones, by pages", w.conversationsOf("alice"), more)
}

// conversationsOf returns the direct conversations and groups of a user, read in
// pages of two.
func (w *world) conversationsOf(user im.UserID) (all []im.ID) {
	w.Helper()
	for before := im.ID(0); ; before = all[len(all)-1] {
		page := read(w, func(r im.Reader) ([]im.ID, error) { return r.ConversationsOf(user, before, 2) })
		if all = append(all, page...); len(page) < 2 {
			return all
		}
	}
}

// testSearchedBy: what a user may find something in is what they are a member of,
// and what hangs in that.
func testSearchedBy(w *world) {
	direct := w.make(im.Conversation{Kind: im.Direct, Peers: im.PeersOf("alice", "bob")}, "alice", "bob")
	group, left := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	room, space, foreign := w.make(im.Conversation{Kind: im.Room}, "alice"), w.space("alice"), w.space("bob")
	want := []im.ID{direct, group, room, w.thread(0, group, "bob"), w.thread(0, group, "alice")}
	for range 2 {
		channel := w.channel(space)
		want = append(want, channel, w.thread(space, channel), w.thread(space, channel, "alice"))
	}
	w.thread(0, left, "alice")
	w.thread(foreign, w.channel(foreign), "alice")
	w.leave(left, "alice")
	w.deleteForAll(w.thread(0, group, "alice"))
	gone := w.channel(space)
	w.thread(space, gone)
	w.deleteForAll(gone)
	found := func(user im.UserID) []im.ID {
		ids := read(w, func(r im.Reader) ([]im.ID, error) { return r.SearchedBy(user, 100) })
		slices.Sort(ids)
		some := read(w, func(r im.Reader) ([]im.ID, error) { return r.SearchedBy(user, 2) })
		w.equal("some", len(some), min(len(ids), 2))
		return ids
	}
	slices.Sort(want)
	w.equal("of a member", found("alice"), want)
	w.equal("of nobody", len(found("nobody")), 0)
	w.leave(space, "alice")
	w.equal("after leaving the space", len(found("alice")), 5)
}

// testDeleteBelow: what hangs in a conversation is deleted with it, by the same
// event, and each is removed on its own.
func testDeleteBelow(w *world) {
	below := func(id im.ID) []im.ID {
		ids := read(w, func(r im.Reader) ([]im.ID, error) { return r.Below(id) })
		slices.Sort(ids)
		return ids
	}
	group, space, other := w.group(im.HistoryAll, "alice", "bob"), w.space("alice", "bob"), w.space("alice")
	inGroup := []im.ID{w.thread(0, group, "alice"), w.thread(0, group, "alice", "bob")}
	first, second, elsewhere := w.channel(space), w.channel(space), w.channel(other)
	inFirst := []im.ID{w.thread(space, first, "alice", "bob"), w.thread(space, first)}
	inSecond := w.thread(space, second, "bob")
	inSpace := append([]im.ID{first, second, inSecond}, inFirst...)
	slices.Sort(inSpace)
	for id, want := range map[im.ID][]im.ID{
		group: inGroup, first: inFirst, second: {inSecond}, other: {elsewhere}, space: inSpace, inSecond: nil, 1: nil,
	} {
		w.equal("below", below(id), want)
	}
	m := w.send(w.text(inSecond, "bob", "said"))
	w.write(func(tx im.Tx) error {
		if err := tx.PutInvitation(im.Invitation{Conversation: space, User: "carol", By: "alice", At: epoch}); err != nil {
			return err
		}
		if err := tx.PutInvitation(im.Invitation{Conversation: other, User: "carol", By: "alice", At: epoch}); err != nil {
			return err
		}
		c, err := tx.Conversation(second)
		if err != nil {
			return err
		}
		c.Announcement, c.Avatar = "read this", "https://example.com"
		if err := tx.UpdateConversation(c); err != nil {
			return err
		}
		return tx.PutListed(second, im.AllowList, "bob", epoch, 3)
	})

	deleted := func(by im.Position, ids ...im.ID) {
		w.Helper()
		for _, id := range ids {
			c := w.conversation(id)
			w.equal("deleted", []any{c.DeletedAt, c.Name, c.Announcement, c.Avatar, c.MemberCount}, []any{w.now, "", "", "", 0})
			for _, user := range []im.UserID{"alice", "bob"} {
				w.view(func(r im.Reader) error {
					if m, err := r.Membership(id, user); err == nil && m.Intervals[0].ToEvent != by {
						w.Fatalf("the stay of %s ended at %d, not %d", user, m.Intervals[0].ToEvent, by)
					}
					return nil
				})
			}
		}
	}
	by := w.deleteForAll(first)
	deleted(by, append(inFirst, first)...)
	w.equal("what is left of the space", below(space), []im.ID{second, inSecond})
	w.equal("a stay elsewhere", w.membership(inSecond, "bob").Active(), true)
	by = w.deleteForAll(space)
	deleted(by, space, second, inSecond)
	w.equal("the last message of a stay", w.membership(inSecond, "bob").Intervals[0].ToSeq, m.Seq)
	w.equal("what is left of it", below(space), []im.ID(nil))
	w.equal("of another", below(other), []im.ID{elsewhere})
	w.equal("who is listed", read(w, func(r im.Reader) (bool, error) { return r.OnList(second, im.AllowList, "bob") }), false)
	invited := read(w, func(r im.Reader) ([]im.Invitation, error) { return r.InvitationsOf("carol", 0, 9) })
	w.equal("invitations", invited, []im.Invitation{{Conversation: other, User: "carol", By: "alice", At: epoch}})
	by = w.deleteForAll(group)
	deleted(by, append(inGroup, group)...)

	n := 0
	for ; ; n++ {
		list := read(w, func(r im.Reader) ([]im.Conversation, error) { return r.Unpurged(1) })
		if len(list) == 0 {
			break
		}
		for done := false; !done; {
			w.write(func(tx im.Tx) (err error) {
				done, err = tx.Purge(list[0].ID, 10, w.now)
				return err
			})
		}
	}
	w.equal("how many were removed", n, 1+len(inSpace)+1+len(inGroup))
	w.removed(m)
}

// testErasuresBelow: what was erased in what hangs in a conversation of the user
// is told.
func testErasuresBelow(w *world) {
	group, space := w.group(im.HistoryAll, "alice", "bob"), w.space("alice", "carol")
	channel := w.channel(space)
	foreign := w.space("bob")
	elsewhere := w.channel(foreign)
	var all []im.Message
	for _, id := range []im.ID{
		group, channel, w.thread(0, group, "dave"), w.thread(space, channel, "dave"), elsewhere, w.thread(foreign, elsewhere),
	} {
		m := w.send(w.text(id, "bob", "secret"))
		w.erase(m.ID, im.Erasure{State: im.Revoked, At: w.now, By: "bob"})
		all = append(all, m)
	}
	for user, want := range map[im.UserID][]int{
		"alice": {0, 1, 2, 3}, "bob": {0, 2, 4, 5}, "carol": {1, 3}, "dave": {2, 3}, "nobody": nil,
	} {
		var ids, asked []im.ID
		got, _ := w.erasures(im.ErasureQuery{User: user, Limit: 2})
		for _, e := range got {
			ids = append(ids, e.ID)
		}
		for _, i := range want {
			asked = append(asked, all[i].ID)
		}
		w.equal("of "+string(user), ids, asked)
	}
}
