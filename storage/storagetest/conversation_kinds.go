package storagetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

// make creates a conversation of any kind with members, at a new time.
func (w *world) make(c im.Conversation, members ...im.UserID) im.ID {
	w.Helper()
	at := w.tick()
	c.CreatedAt, c.UpdatedAt, c.EditedAt = at, at, at
	if c.ID == 0 {
		c.ID = w.ids.Next(at)
	}
	if c.History == 0 {
		c.History = im.HistoryAll
	}
	w.write(func(tx im.Tx) error { return makeGroup(tx, c, members) })
	return c.ID
}

func (w *world) space(members ...im.UserID) im.ID {
	w.Helper()
	return w.make(im.Conversation{Kind: im.Space, Name: "a space"}, members...)
}

func (w *world) channel(space im.ID) im.ID {
	w.Helper()
	return w.make(im.Conversation{Kind: im.Channel, Name: "a channel", Space: space})
}

// thread creates a thread under a new message of a group or of a channel of a space.
func (w *world) thread(space, parent im.ID, members ...im.UserID) im.ID {
	w.Helper()
	root := w.send(w.text(parent, "alice", "the root"))
	return w.make(im.Conversation{Kind: im.Thread, Name: "a thread", Space: space, Parent: parent, Root: root.ID}, members...)
}

// idsOf returns the ids of conversations.
func idsOf(list []im.Conversation) []im.ID {
	var ids []im.ID
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids
}

// testConversationKinds checks that all fields of a conversation of each kind but direct are
// stored, and that UpdateConversation changes the fields that it may change and no others.
func testConversationKinds(w *world) {
	window := 5 * time.Minute
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }
	for kind := im.Group; kind <= im.Space; kind++ {
		c := im.Conversation{
			ID: w.ids.Next(w.tick()), Kind: kind, Name: "name", History: im.HistoryAll, FirstSeq: 1,
			Announcement: "an announcement 公告", Avatar: "https://example.com/a.png", Join: im.JoinOpen, Invite: im.InviteByMembers,
			MuteAll: true, SlowMode: 90 * time.Second, Private: true, RevokeWindow: &window, RevokeOthersWindow: &window,
			Creator: "carol", Parent: 1<<62 + 1, Root: 1<<62 + im.ID(kind), Space: 1<<62 + 3, Messages: 1 << 40, ActiveAt: at(1),
			CreatedAt: w.now, UpdatedAt: w.now, EditedAt: w.now,
		}
		w.write(func(tx im.Tx) error { return tx.CreateConversation(c) })
		c.ListedAt = c.CreatedAt
		w.sameConversation(w.conversation(c.ID), c)

		c.Name, c.Announcement, c.Avatar, c.Join, c.Invite = "another", "", "", im.JoinClosed, im.InviteByAdmins
		c.MuteAll, c.SlowMode, c.Private, c.RevokeOthersWindow = false, 0, false, new(time.Duration)
		w.write(func(tx im.Tx) error {
			changed := c
			changed.Kind, changed.Creator, changed.Messages, changed.ActiveAt = im.Group, "dave", 1, at(9) // UpdateConversation ignores these
			changed.Parent, changed.Root, changed.Space = 4, 5, 6
			return tx.UpdateConversation(changed)
		})
		w.sameConversation(w.conversation(c.ID), c)
	}
	plain := w.make(im.Conversation{Kind: im.Room, Name: "a room"})
	c := w.conversation(plain)
	w.equal("unset fields", []any{c.Creator, c.Parent, c.Root, c.Space, c.Messages, c.ActiveAt, deref(c.RevokeOthersWindow)},
		[]any{"", im.ID(0), im.ID(0), im.ID(0), 0, time.Time{}, nil})
}

func testActivity(w *world) {
	group := w.group(im.HistoryAll, "alice")
	id, other := w.thread(0, group, "alice"), w.thread(0, group)
	want := w.conversation(id)
	want.Messages, want.ActiveAt = 7, epoch.Add(time.Hour)
	w.write(func(tx im.Tx) error { return tx.PutActivity(id, want.Messages, want.ActiveAt) })
	w.equal("the thread", w.conversation(id), want)
	w.equal("another thread", w.conversation(other).Messages, 0)
	w.notFound("unknown thread", w.store.Write(w.Context(), func(tx im.Tx) error { return tx.PutActivity(1, 1, epoch) }))
}

func testChildRetention(w *world) {
	group, other := w.group(im.HistoryAll, "alice"), w.group(im.HistoryAll, "alice")
	first, second, elsewhere := w.thread(0, group), w.thread(0, group), w.thread(0, other)
	w.deleteConversation(w.thread(0, group))
	set := func(keep *time.Duration, past time.Time, after im.ID, limit int, last im.ID, more bool) {
		w.Helper()
		w.write(func(tx im.Tx) error {
			through, is, err := tx.SetThreadRetention(group, keep, past, after, limit)
			if err == nil && (through != last || is != more) {
				err = fmt.Errorf("through %v, more: %v", through, is)
			}
			return err
		})
	}
	set(new(time.Hour), time.Time{}, 0, 1, first, true)
	for id, want := range map[im.ID]any{first: time.Hour, second: nil} {
		w.equal("retention of the first", deref(w.conversation(id).Retention), want)
	}
	set(new(time.Hour), time.Time{}, first, 1, second, false)
	set(new(time.Hour), time.Time{}, second, 1, 0, false)
	w.equal("retention of the second", deref(w.conversation(second).Retention), time.Hour)
	for _, keep := range []*time.Duration{new(24 * time.Hour), new(time.Duration), nil} {
		set(keep, time.Time{}, 0, 9, second, false)
		for id, want := range map[im.ID]any{first: deref(keep), second: deref(keep), group: nil, elsewhere: nil} {
			w.equal("retention", deref(w.conversation(id).Retention), want)
		}
	}
	// A cutoff never moves back, and is set only where there are older messages.
	w.send(w.text(first, "alice", "old"))
	past := w.tick()
	for _, test := range []struct {
		name       string
		past, want time.Time
	}{
		{"the first cutoff", past, past},
		{"an earlier cutoff", past.Add(-time.Second), past},
		{"a later cutoff", past.Add(time.Second), past.Add(time.Second)},
		{"no cutoff", time.Time{}, past.Add(time.Second)},
	} {
		set(nil, test.past, 0, 9, second, false)
		w.equal(test.name, w.conversation(first).TrimBefore, test.want)
		w.equal(test.name+" in an empty thread", w.conversation(second).TrimBefore, time.Time{})
	}
}

// testAnyID checks that an id may be any integer except 0 and the least one. The ids of groups,
// rooms and spaces are random, so half of them are negative.
func testAnyID(w *world) {
	ids := []im.ID{math.MinInt64 + 1, -1 << 40, -1, 1, 1 << 40, math.MaxInt64}
	for i := range ids { // out of order
		id := ids[(i*5+3)%len(ids)]
		w.make(im.Conversation{ID: id, Kind: im.Space, Name: "a space"}, "alice")
		w.write(func(tx im.Tx) error {
			_, err := tx.Append(im.Event{Type: im.SpaceInvited, At: w.now, Conversation: id, Space: id, To: "bob"})
			if err != nil {
				return err
			}
			return tx.PutInvitation(im.Invitation{Conversation: id, User: "bob", By: "alice", At: w.now})
		})
	}
	w.step("spaces and invitations in pages", func() {
		w.pagesOf("spaces", func(r im.Reader, after im.ID, limit int) ([]im.Conversation, error) {
			return r.Spaces("alice", after, limit)
		}, ids...)
		for _, limit := range []int{1, 2, 100} {
			var every, invited []im.ID
			for after := im.ID(0); ; {
				page := read(w, func(r im.Reader) ([]im.ID, error) { return r.ConversationIDs(after, limit) })
				if len(page) == 0 {
					break
				}
				every, after = append(every, page...), page[len(page)-1]
			}
			for after := im.ID(0); ; {
				page := read(w, func(r im.Reader) ([]im.Invitation, error) { return r.InvitationsOf("bob", after, limit) })
				if len(page) == 0 {
					break
				}
				for _, i := range page {
					invited, after = append(invited, i.Conversation), i.Conversation
				}
			}
			w.equal(fmt.Sprint("ConversationIDs in pages of ", limit), every, ids)
			w.equal(fmt.Sprint("InvitationsOf in pages of ", limit), invited, ids)
		}
	})

	// Children find their parent by its id, and lists by activity use the id as a
	// tie-breaker.
	at := w.tick()
	var groups []im.ID
	for n := range 6 {
		id := im.ID(n*2-5) << 60
		w.write(func(tx im.Tx) error {
			return makeGroup(tx, im.Conversation{
				ID: id, Kind: im.Group, Name: "a group", History: im.HistoryAll, FirstSeq: 1, CreatedAt: at, UpdatedAt: at, EditedAt: at,
			}, []im.UserID{"carol"})
		})
		groups = append(groups, id)
	}
	w.step("groups in the list of conversations", func() {
		for _, limit := range []int{1, 4, 100} {
			var got []im.ID
			q := im.ConversationQuery{User: "carol", AsOf: w.tick(), Limit: limit}
			for {
				page := read(w, func(r im.Reader) ([]im.ListedConversation, error) { return r.Conversations(q) })
				if len(page) == 0 {
					break
				}
				for _, c := range page {
					key := c.Key()
					got, q.Past = append(got, c.ID), &key
				}
			}
			slices.Reverse(got)
			w.equal(fmt.Sprint("the list in pages of ", limit), got, groups)
		}
	})
	w.step("the nth conversation", func() {
		nth := func(from im.ID, n int) (im.ID, error) {
			var id im.ID
			err := w.store.View(w.Context(), func(r im.Reader) (err error) {
				id, err = r.NthConversation("carol", from, n)
				return err
			})
			return id, err
		}
		for n, id := range groups {
			got, err := nth(math.MinInt64, n)
			w.must(err)
			w.equal("nth", got, id)
		}
		got, err := nth(groups[2]+1, 1)
		w.must(err)
		w.equal("nth from an id", got, groups[4])
		if _, err := nth(groups[2], 4); !errors.Is(err, im.ErrNotFound) {
			w.Errorf("past the last: %v, want ErrNotFound", err)
		}
		w.equal("within a range of ids", keysOf(w.list(im.ConversationQuery{
			User: "carol", AsOf: w.tick(), Among: &im.IDRange{From: groups[1], To: groups[3] - 1}, Limit: 9,
		})), []im.ConversationKey{{ActiveAt: at, ID: groups[2]}, {ActiveAt: at, ID: groups[1]}})
	})
	w.step("threads of each group", func() {
		sent := at.Add(time.Second)
		for _, id := range groups {
			m := w.text(id, "carol", "said")
			m.CreatedAt = sent
			w.send(m)
			thread := w.thread(0, id, "carol")
			w.equal("children", read(w, func(r im.Reader) ([]im.ID, error) { return r.Descendants(id) }), []im.ID{thread})
			w.equal("joined children", read(w, func(r im.Reader) ([]im.ID, error) {
				return r.JoinedThreadsIn("carol", id, 10)
			}), []im.ID{thread})
		}
	})
	w.step("conversations by their oldest message", func() {
		var aged []im.ID
		for past := (*im.OldestKey)(nil); ; {
			page := read(w, func(r im.Reader) ([]im.Conversation, error) {
				return r.Oldest(nil, w.now.Add(time.Hour), past, 2)
			})
			if len(page) == 0 {
				break
			}
			for _, c := range page {
				aged, past = append(aged, c.ID), &im.OldestKey{OldestAt: c.OldestAt, ID: c.ID}
			}
		}
		w.equal("by the oldest message", aged, groups)
	})
}

// deref returns what a pointer points to, nil for a nil pointer.
func deref[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}
