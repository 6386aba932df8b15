package storagetest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/imapi/imapi/im"
)

func testMembership(w *world) {
	id := w.group(im.HistoryJoined, "alice")
	w.view(func(r im.Reader) error {
		_, err := r.Membership(id, "bob")
		w.notFound("not a member", err)
		_, err = r.Membership(id+1, "alice")
		w.notFound("another conversation", err)
		return nil
	})
	w.send(w.text(id, "alice", "one"))

	first := w.join(id, "bob")
	joined := w.now
	want := im.Membership{
		Conversation: id, User: "bob", Role: im.Member, JoinedAt: joined,
		Intervals: []im.Interval{{FromEvent: first, FromSeq: 2}},
	}
	w.equal("joined", w.membership(id, "bob"), want)
	w.equal("count", w.conversation(id).MemberCount, 2)

	w.write(func(tx im.Tx) error { return tx.SetRole(id, "bob", im.Admin) })
	want.Role = im.Admin
	w.equal("role", w.membership(id, "bob"), want)

	w.send(w.text(id, "alice", "two"))
	left := w.leave(id, "bob")
	stay := im.Interval{FromEvent: first, ToEvent: left, FromSeq: 2, ToSeq: 2}
	m := w.membership(id, "bob")
	w.equal("left", m.Intervals, im.Stays{stay})
	if m.Active() {
		w.Fatal("active after leaving")
	}
	w.equal("count", w.conversation(id).MemberCount, 1)

	w.send(w.text(id, "alice", "three"))
	again := w.join(id, "bob")
	leftAgain := w.leave(id, "bob") // no message was sent in the meantime
	last := w.join(id, "bob")
	w.send(w.text(id, "alice", "four"))
	m = w.membership(id, "bob")
	w.equal("after rejoining", m.Intervals, im.Stays{
		stay,
		{FromEvent: again, ToEvent: leftAgain, FromSeq: 4, ToSeq: 3},
		{FromEvent: last, FromSeq: 4},
	})
	w.equal("role after rejoining", m.Role, im.Member)
	w.equal("visible", m.Intervals.Messages(w.conversation(id).LastSeq), []im.SeqRange{{From: 2, To: 2}, {From: 4, To: 4}})

	// Calls that fail change nothing.
	refused := map[string]func(tx im.Tx) error{
		"adding a member again": func(tx im.Tx) error {
			return tx.AddMember(im.Membership{Conversation: id, User: "bob", Role: im.Owner, JoinedAt: w.now}, last+1)
		},
		"removing a non-member":   func(tx im.Tx) error { return tx.RemoveMember(id, "carol", last+1, false) },
		"a role for a non-member": func(tx im.Tx) error { return tx.SetRole(id, "carol", im.Owner) },
		"adding to an unknown conversation": func(tx im.Tx) error {
			return tx.AddMember(im.Membership{Conversation: id + 1, User: "bob", Role: im.Owner, JoinedAt: w.now}, last+1)
		},
	}
	for what, fn := range refused {
		if w.store.Write(w.Context(), fn) == nil {
			w.Fatalf("%s succeeded", what)
		}
	}
	w.equal("unchanged", w.membership(id, "bob"), m)
	w.equal("count", w.conversation(id).MemberCount, 2)
}

func testMembers(w *world) {
	var want []im.UserID
	for i := range 23 {
		want = append(want, im.UserID(fmt.Sprintf("user %d", i)))
	}
	w.group(im.HistoryAll, want[5], want[9], "somebody else")
	id := w.group(im.HistoryAll, want...)
	w.leave(id, want[7])
	w.leave(id, want[0])
	w.join(id, want[0])
	want = slices.Delete(want, 7, 8)
	slices.Sort(want)
	var order []im.UserID
	for _, limit := range []int{100, 22, 1, 4} {
		var got []im.UserID
		after := ""
		for {
			page := read(w, func(r im.Reader) ([]im.Membership, error) {
				return r.Members(id, im.Page{After: after, Limit: limit})
			})
			for _, m := range page {
				w.equal("conversation and role", []any{m.Conversation, m.Role, m.JoinedAt.IsZero(), len(m.Intervals)}, []any{id, im.Member, false, 0})
				got = append(got, m.User)
			}
			if len(page) < limit {
				break
			}
			after = string(page[limit-1].User)
		}
		if order == nil {
			order = slices.Clone(got)
		}
		w.equal("the order is stable", got, order)
		slices.Sort(got)
		w.equal(fmt.Sprintf("members in pages of %d", limit), got, want)
	}
	for _, page := range []im.Page{{Limit: 5}, {After: "nobody", Limit: 5}} {
		got := read(w, func(r im.Reader) ([]im.Membership, error) { return r.Members(id+1, page) })
		w.equal("unknown conversation", len(got), 0)
	}
}

// testMembersAt compares MembersAt with a model. It asks for fewer and for more users than there
// are members, because an engine may look up the users or scan the members.
func testMembersAt(w *world) {
	random := rand.New(rand.NewPCG(1, 2))
	users := make([]im.UserID, 12)
	for i := range users {
		users[i] = im.UserID(fmt.Sprintf("%d", i)) // many applications use numbers as user ids
	}
	id := w.group(im.HistoryAll, users[:6]...)
	is := map[im.UserID]bool{}
	for _, u := range users[:6] {
		is[u] = true
	}
	first := w.conversation(id).LastEvent
	at := map[im.Position]map[im.UserID]bool{}
	// A user who is added or removed by an event also receives it.
	snapshot := func(pos im.Position, also im.UserID) {
		now := map[im.UserID]bool{also: true}
		for u := range is {
			now[u] = true
		}
		at[pos] = now
	}
	for range 60 {
		u := users[random.IntN(len(users))]
		if is[u] {
			pos := w.leave(id, u)
			snapshot(pos, u)
			delete(is, u)
		} else {
			pos := w.join(id, u)
			is[u] = true
			snapshot(pos, u)
		}
	}
	queries := [][]im.UserID{nil, users, {"nobody"}, {users[0]}, {users[3], users[1]}}
	queries = append(queries, append(slices.Clone(users), "nobody", "x", "y", "z"))
	queries = append(queries, []im.UserID{"1", "0", "1", "1"}, append(slices.Clone(users), users...)) // with duplicates
	w.view(func(r im.Reader) error {
		for pos, members := range at {
			for _, list := range queries {
				got, err := r.MembersAt(id, pos, list)
				w.must(err)
				var want []im.UserID
				for _, u := range slices.Compact(slices.Sorted(slices.Values(list))) {
					if members[u] {
						want = append(want, u)
					}
				}
				slices.SortFunc(got, func(a, b im.Membership) int { return cmp.Compare(a.User, b.User) })
				w.equal(fmt.Sprintf("members at %d of %v", pos, list), usersOf(got), want)
				for _, m := range got {
					whole, err := r.Membership(id, m.User)
					w.must(err)
					w.equal("membership", m, whole)
				}
			}
		}
		got, err := r.MembersAt(id, first-1, users)
		w.equal("before the first", len(got), 0)
		return err
	})
	got := read(w, func(r im.Reader) ([]im.Membership, error) { return r.MembersAt(id+1, first, users) })
	w.equal("unknown conversation", len(got), 0)
}

func usersOf(list []im.Membership) []im.UserID {
	var users []im.UserID
	for _, m := range list {
		users = append(users, m.User)
	}
	return users
}

// testMembersAtSeq compares the members at the time of a message with a model.
func testMembersAtSeq(w *world) {
	random := rand.New(rand.NewPCG(7, 8))
	users := []im.UserID{"zoe", "9", "alice", "bob", "carol", "dave", "eve"}
	id := w.group(im.HistoryJoined, users[:3]...)
	is := map[im.UserID]bool{users[0]: true, users[1]: true, users[2]: true}
	at := map[int64][]im.UserID{}
	for range 120 {
		switch u := users[random.IntN(len(users))]; {
		case random.IntN(2) == 0:
			m := w.send(w.text(id, "a bot", "x"))
			at[m.Seq] = slices.Sorted(maps.Keys(is))
		case is[u]:
			w.leave(id, u)
			delete(is, u)
		default:
			w.join(id, u)
			is[u] = true
		}
	}
	for seq, want := range at {
		for _, limit := range []int{1, 3, 100} {
			got := read(w, func(r im.Reader) ([]im.UserID, error) { return r.MembersAtSeq(id, seq, limit) })
			w.equal(fmt.Sprintf("members at seq %d, up to %d", seq, limit), got, want[:min(limit, len(want))])
		}
	}
	got := read(w, func(r im.Reader) ([]im.UserID, error) { return r.MembersAtSeq(id+1, 1, 10) })
	w.equal("unknown conversation", len(got), 0)
}

func testOwnerOf(w *world) {
	id, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	owner := func(of im.ID) (user im.UserID, err error) {
		w.view(func(r im.Reader) error {
			user, err = r.OwnerOf(of)
			return nil
		})
		return user, err
	}
	role := func(user im.UserID, role im.Role) {
		w.Helper()
		w.write(func(tx im.Tx) error { return tx.SetRole(id, user, role) })
	}
	_, err := owner(id)
	w.notFound("owner of a group without one", err)
	role("bob", im.Owner)
	user, err := owner(id)
	w.must(err)
	w.equal("owner", user, "bob")
	_, err = owner(other)
	w.notFound("owner of another group", err)
	role("bob", im.Admin)
	role("alice", im.Owner)
	user, err = owner(id)
	w.must(err)
	w.equal("after a transfer", user, "alice")
	w.leave(id, "alice")
	_, err = owner(id)
	w.notFound("after the owner left", err)
}

// testLeftOrRemoved checks that it is stored whether a member left or was removed.
func testLeftOrRemoved(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob", "carol")
	space := w.space("alice", "bob")
	end := func(id im.ID, user im.UserID, left bool) {
		w.Helper()
		w.write(func(tx im.Tx) error {
			pos, err := tx.Append(im.Event{Type: im.MemberRemoved, At: w.tick(), Conversation: id, User: user})
			if err != nil {
				return err
			}
			return tx.RemoveMember(id, user, pos, left)
		})
	}
	end(id, "bob", true)
	end(id, "carol", false)
	end(space, "bob", true)
	w.equal("left", w.membership(id, "bob").Left(), true)
	w.equal("was removed", w.membership(id, "carol").Left(), false)
	w.equal("left a space", w.membership(space, "bob").Left(), true)
	w.equal("still a member", w.membership(id, "alice").Left(), false)
	w.join(id, "bob")
	w.equal("rejoined", w.membership(id, "bob").Left(), false)
	end(id, "bob", false)
	w.equal("rejoined and was removed", w.membership(id, "bob").Left(), false)
	var stays []bool
	for _, stay := range w.membership(id, "bob").Intervals {
		stays = append(stays, stay.Left)
	}
	w.equal("both stays", stays, []bool{true, false})
	every := read(w, func(r im.Reader) ([]im.Membership, error) { return r.EveryMembership(space, "", 10) })
	for _, m := range every {
		w.equal("EveryMembership", m.Left(), m.User == "bob")
	}
}
