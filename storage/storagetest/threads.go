package storagetest

import (
	"fmt"
	"slices"

	"github.com/imapi/imapi/im"
)

// pagesOf reads a list of conversations in pages of different sizes and compares it with
// want.
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
		w.equal(fmt.Sprintf("%s in pages of %d", what, limit), got, want)
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
	w.pagesOf("threads of another group", threads(other), elsewhere)
	w.pagesOf("unknown group", threads(1))

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
	w.equal("thread of a message", c, w.conversation(ids[2]))
	_, err = of(root + 1)
	w.notFound("message without a thread", err)
	twin := c
	twin.ID = w.ids.Next(w.now)
	if w.store.Write(w.Context(), func(tx im.Tx) error { return tx.CreateConversation(twin) }) == nil {
		w.Fatal("created a second thread of a message")
	}

	w.deleteConversation(ids[2])
	_, err = of(root)
	w.notFound("deleted thread", err)
	w.pagesOf("remaining threads", threads(group), ids[4], ids[3], ids[1], ids[0])
	c = w.conversation(ids[2])
	w.equal("parent and root of the deleted thread", []any{c.Parent, c.Root, c.Name}, []any{group, root, ""})
	again := w.make(im.Conversation{Kind: im.Thread, Parent: group, Root: root}, "alice")
	c, err = of(root)
	w.must(err)
	w.equal("the new thread", c.ID, again)
}

func testJoinedThreads(w *world) {
	group, space := w.group(im.HistoryAll, "alice", "bob"), w.space("alice", "bob")
	channel := w.channel(space)
	joined := func(user im.UserID) func(im.Reader, im.ID, int) ([]im.Conversation, error) {
		return func(r im.Reader, before im.ID, limit int) ([]im.Conversation, error) {
			return r.JoinedThreads(user, before, limit)
		}
	}
	children := func(user im.UserID, id im.ID, limit int) []im.ID {
		ids := read(w, func(r im.Reader) ([]im.ID, error) { return r.JoinedThreadsIn(user, id, limit) })
		slices.Sort(ids)
		return ids
	}
	w.pagesOf("before", joined("alice"))
	first, second := w.thread(0, group, "alice", "bob"), w.thread(space, channel, "alice")
	w.thread(0, group, "bob")
	third, left, deleted := w.thread(0, group, "alice"), w.thread(0, group, "alice"), w.thread(space, channel, "alice")
	w.leave(left, "alice")
	w.deleteConversation(deleted)
	w.pagesOf("all", joined("alice"), third, second, first)
	w.pagesOf("unknown user", joined("nobody"))
	elsewhere := w.group(im.HistoryAll, "alice")
	w.thread(0, elsewhere, "alice")
	inOther := w.thread(space, w.channel(space), "alice", "bob")
	w.equal("in a group", children("alice", group, 9), []im.ID{first, third})
	w.equal("another user", len(children("bob", group, 9)), 2)
	w.equal("up to a limit", len(children("alice", group, 1)), 1)
	w.equal("in a channel", children("alice", channel, 9), []im.ID{second})
	w.equal("in a space", children("alice", space, 9), []im.ID{second, inOther})
	w.equal("unknown user", len(children("nobody", group, 9)), 0)
	w.deleteConversation(elsewhere)
	w.leave(inOther, "alice")

	// Threads and spaces are not in the list of conversations.
	room := w.make(im.Conversation{Kind: im.Room}, "alice")
	var listed []im.ID
	for _, c := range w.list(im.ConversationQuery{User: "alice", AsOf: w.now, Limit: 100}) {
		listed = append(listed, c.ID)
	}
	w.equal("listed", listed, []im.ID{room, group})
	w.equal("rooms in the list", w.list(im.ConversationQuery{User: "alice", AsOf: w.now, Kind: im.Room, Limit: 100})[0].ID, room)
	w.equal("changed", len(w.list(im.ConversationQuery{User: "alice", AsOf: w.now, ChangedSince: epoch, Limit: 100})), 2)
	w.equal("ConversationsOf", w.conversationsOf("alice"), []im.ID{group})
	more := []im.ID{group, w.group(im.HistoryAll, "alice"), w.group(im.HistoryAll, "alice")}
	slices.Reverse(more)
	w.equal("ConversationsOf in pages", w.conversationsOf("alice"), more)
}

// conversationsOf returns the direct conversations and groups of a user, read in pages of
// two.
func (w *world) conversationsOf(user im.UserID) (all []im.ID) {
	w.Helper()
	for before := im.ID(0); ; before = all[len(all)-1] {
		page := read(w, func(r im.Reader) ([]im.ID, error) { return r.ConversationsOf(user, before, 2) })
		if all = append(all, page...); len(page) < 2 {
			return all
		}
	}
}

// testSearchedBy checks that a user can search the conversations they are a member of, and
// the children of those.
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
	w.deleteConversation(w.thread(0, group, "alice"))
	deletedChannel := w.channel(space)
	w.thread(space, deletedChannel)
	w.deleteConversation(deletedChannel)
	found := func(user im.UserID) []im.ID {
		ids := read(w, func(r im.Reader) ([]im.ID, error) { return r.SearchedBy(user, 100) })
		slices.Sort(ids)
		some := read(w, func(r im.Reader) ([]im.ID, error) { return r.SearchedBy(user, 2) })
		w.equal("some", len(some), min(len(ids), 2))
		return ids
	}
	slices.Sort(want)
	w.equal("a member", found("alice"), want)
	w.equal("unknown user", len(found("nobody")), 0)
	w.leave(space, "alice")
	w.equal("after leaving the space", len(found("alice")), 5)
}

// testDeleteChildren checks that the children of a conversation are deleted with it, by the
// same event, and that each is purged separately.
func testDeleteChildren(w *world) {
	children := func(id im.ID) []im.ID {
		ids := read(w, func(r im.Reader) ([]im.ID, error) { return r.Descendants(id) })
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
		w.equal("children", children(id), want)
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
						w.Fatalf("the stay of %s ended at %d, want %d", user, m.Intervals[0].ToEvent, by)
					}
					return nil
				})
			}
		}
	}
	w.step("a channel", func() {
		by := w.deleteConversation(first)
		deleted(by, append(inFirst, first)...)
		w.equal("remaining children of the space", children(space), []im.ID{second, inSecond})
		w.equal("membership in another thread", w.membership(inSecond, "bob").Active(), true)
	})
	w.step("a space", func() {
		by := w.deleteConversation(space)
		deleted(by, space, second, inSecond)
		w.equal("the last message of a stay", w.membership(inSecond, "bob").Intervals[0].ToSeq, m.Seq)
		w.equal("children of the deleted space", children(space), []im.ID(nil))
		w.equal("children of another space", children(other), []im.ID{elsewhere})
		w.equal("on the allow list", read(w, func(r im.Reader) (bool, error) { return r.OnList(second, im.AllowList, "bob") }), false)
		invited := read(w, func(r im.Reader) ([]im.Invitation, error) { return r.InvitationsOf("carol", 0, 9) })
		w.equal("invitations", invited, []im.Invitation{{Conversation: other, User: "carol", By: "alice", At: epoch}})
	})
	w.step("a group", func() {
		by := w.deleteConversation(group)
		deleted(by, append(inGroup, group)...)
	})
	w.step("purging all of them", func() {
		n := 0
		for ; ; n++ {
			list := read(w, func(r im.Reader) ([]im.Conversation, error) { return r.Unpurged(1) })
			if len(list) == 0 {
				break
			}
			w.purgeAll(list[0].ID, 10, w.now)
		}
		w.equal("number of purged conversations", n, 1+len(inSpace)+1+len(inGroup))
		w.checkTrimmed(m)
	})
}

// testErasuresInChildren checks that the erasures of a user include those in the children
// of their conversations.
func testErasuresInChildren(w *world) {
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
		var ids, expected []im.ID
		got, _ := w.erasures(im.ErasureQuery{User: user, Limit: 2})
		for _, e := range got {
			ids = append(ids, e.ID)
		}
		for _, i := range want {
			expected = append(expected, all[i].ID)
		}
		w.equal("erasures for "+string(user), ids, expected)
	}
}
