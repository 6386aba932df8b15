package storagetest

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

func testSpaces(w *world) {
	spaces := func(user im.UserID) func(im.Reader, im.ID, int) ([]im.Conversation, error) {
		return func(r im.Reader, after im.ID, limit int) ([]im.Conversation, error) {
			return r.Spaces(user, after, limit)
		}
	}
	w.pagesOf("before", spaces("alice"))
	w.group(im.HistoryAll, "alice")
	var ids []im.ID
	for range 5 {
		ids = append(ids, w.space("alice", "bob"))
	}
	w.channel(ids[0])
	w.leave(ids[1], "alice")
	w.deleteConversation(ids[2])
	w.pagesOf("spaces of a member", spaces("alice"), ids[0], ids[3], ids[4])
	w.pagesOf("spaces of another user", spaces("bob"), ids[0], ids[1], ids[3], ids[4])
	w.pagesOf("spaces of an unknown user", spaces("nobody"))
	w.join(ids[1], "alice")
	w.pagesOf("after rejoining", spaces("alice"), ids[0], ids[1], ids[3], ids[4])

	// A restored membership counts like any other.
	w.write(func(tx im.Tx) error {
		return tx.RestoreMember(im.Membership{
			Conversation: ids[3], User: "carol", Role: im.Member, JoinedAt: epoch,
			Intervals: []im.Interval{{FromEvent: 1, ToEvent: 2, FromSeq: 1, ToSeq: 1}, {FromEvent: 3, FromSeq: 1}},
		}, 3)
	})
	w.pagesOf("spaces of a restored member", spaces("carol"), ids[3])
}

func testChannels(w *world) {
	space, other := w.space("alice"), w.space("alice")
	channels := func(space im.ID) func(im.Reader, im.ID, int) ([]im.Conversation, error) {
		return func(r im.Reader, after im.ID, limit int) ([]im.Conversation, error) {
			return r.Channels(space, after, limit)
		}
	}
	w.pagesOf("before", channels(space))
	var ids []im.ID
	for range 5 {
		ids = append(ids, w.channel(space))
	}
	elsewhere := w.channel(other)
	w.thread(space, ids[0], "alice")
	w.deleteConversation(ids[3])
	w.pagesOf("channels", channels(space), ids[0], ids[1], ids[2], ids[4])
	w.pagesOf("channels of another space", channels(other), elsewhere)
	w.pagesOf("unknown space", channels(1))

	// An event of a channel is the newest event of its space, but does not change the
	// space's activity.
	before := w.conversation(space)
	w.send(w.text(ids[0], "alice", "said"))
	after := w.conversation(space)
	w.equal("the newest event", after.LastEvent, w.bounds().Head)
	before.LastEvent = after.LastEvent
	w.equal("other fields", after, before)
	w.write(func(tx im.Tx) error {
		_, err := tx.Append(im.Event{Type: im.ChannelOpened, At: w.now, Conversation: ids[0], Space: space, To: "alice"})
		return err
	})
	w.equal("after an event to one user", w.conversation(space), after)
}

func testChannelsGoneSince(w *world) {
	space, gone, left := w.space("alice", "bob"), w.space("alice", "bob"), w.space("alice", "bob")
	var ids []im.ID
	for range 4 {
		ids = append(ids, w.channel(space))
	}
	inGone, inLeft := w.channel(gone), w.channel(left)
	w.leave(left, "alice")
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }
	deleteAt := func(id im.ID, n int) (pos im.Position) {
		w.Helper()
		w.write(func(tx im.Tx) (err error) {
			if pos, err = tx.Append(im.Event{Type: im.ChannelDeleted, At: at(n), Conversation: id, Space: space}); err != nil {
				return err
			}
			return tx.DeleteConversation(id, at(n), pos)
		})
		return pos
	}
	var want []im.GoneConversation
	for n, id := range ids[:3] {
		want = append(want, im.GoneConversation{Conversation: id, At: at(n), Deleted: true, Space: space, By: deleteAt(id, n)})
	}
	slices.Reverse(want)
	deleteAt(inGone, 3)
	by := deleteAt(inLeft, 4)
	deleteAt(gone, 5)
	// Channels of a space that was deleted later are included.
	want = append([]im.GoneConversation{{Conversation: inGone, At: at(3), Deleted: true, Space: gone, By: by - 1}}, want...)
	since := func(user im.UserID, at time.Time, limit int) []im.GoneConversation {
		w.Helper()
		return w.goneSince(user, at, limit)
	}
	w.equal("all", since("alice", epoch, 10), want)
	w.equal("some", since("alice", epoch, 2), want[:2])
	w.equal("since", since("alice", at(1), 10), want[:3])
	w.equal("a member who stayed", since("bob", at(4), 10),
		[]im.GoneConversation{{Conversation: inLeft, At: at(4), Deleted: true, Space: left, By: by}})
	w.equal("unknown user", len(since("nobody", epoch, 10)), 0)
}

// testChannelEvents compares the events of channels that each user receives with a log in
// memory, while members join and leave, and channels and whole spaces are created and
// deleted.
func testChannelEvents(w *world) {
	random := rand.New(rand.NewPCG(91, 92))
	users := []im.UserID{"u1", "u2", "u3", "u4"}
	var log []loggedEvent
	members := map[im.ID]map[im.UserID]bool{}
	channels := map[im.ID][]im.ID{}
	var spaces []im.ID
	publish := func(space im.ID, also im.UserID) { log = appendLogged(log, members[space], also) }
	createSpace := func() {
		first := users[random.IntN(len(users))]
		id := w.space(first)
		spaces = append(spaces, id)
		members[id] = map[im.UserID]bool{first: true}
		publish(id, first)
	}
	for range 3 {
		createSpace()
	}
	for range 500 {
		space := spaces[random.IntN(len(spaces))]
		user, in := users[random.IntN(len(users))], members[space]
		open := channels[space]
		switch n := random.IntN(20); {
		case n < 3 && in[user] && len(in) > 1:
			w.leave(space, user)
			publish(space, user)
			delete(in, user)
		case n < 5 && !in[user]:
			w.join(space, user)
			in[user] = true
			publish(space, user)
		case n == 5 || len(open) == 0:
			channels[space] = append(open, w.channel(space))
			publish(space, "")
		case n == 6:
			i := random.IntN(len(open))
			w.deleteConversation(open[i])
			channels[space] = slices.Delete(open, i, i+1)
			publish(space, "")
		case n == 7 && random.IntN(3) == 0:
			w.deleteConversation(space)
			publish(space, "")
			delete(members, space)
			spaces = slices.DeleteFunc(spaces, func(id im.ID) bool { return id == space })
			createSpace()
		default:
			w.send(w.text(open[random.IntN(len(open))], user, "x"))
			publish(space, "")
		}
	}
	w.checkDelivered(log, users, random)
}

func testLists(w *world) {
	id, other := w.channel(w.space("alice")), w.make(im.Conversation{Kind: im.Room}, "alice")
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	on := func(id im.ID, list im.List, user im.UserID) bool {
		return read(w, func(r im.Reader) (bool, error) { return r.OnList(id, list, user) })
	}
	listed := func(id im.ID, list im.List, after string, limit int) []im.Listing {
		w.Helper()
		return read(w, func(r im.Reader) ([]im.Listing, error) {
			return r.Listed(id, list, im.Page{After: after, Limit: limit})
		})
	}
	w.equal("before", []any{on(id, im.AllowList, "bob"), len(listed(id, im.AllowList, "", 9))}, []any{false, 0})
	users := []im.UserID{"zoe", "Bob", "bob", "eve 2", "~"}
	w.write(func(tx im.Tx) error {
		for i, u := range users {
			if err := tx.PutListed(id, im.AllowList, u, at(i), im.Position(10+i)); err != nil {
				return err
			}
		}
		if err := tx.PutListed(id, im.AllowList, "zoe", at(99), 50); err != nil { // already on the list
			return err
		}
		if err := tx.PutListed(id, im.DenyList, "carol", at(7), 51); err != nil {
			return err
		}
		return tx.PutListed(other, im.DenyList, "bob", at(8), 52)
	})
	want := []im.Listing{{User: "Bob", At: at(1)}, {User: "bob", At: at(2)}, {User: "eve 2", At: at(3)}, {User: "zoe", At: at(0)}, {User: "~", At: at(4)}}
	w.equal("all", listed(id, im.AllowList, "", 100), want)
	w.equal("first", listed(id, im.AllowList, "", 2), want[:2])
	w.equal("next", listed(id, im.AllowList, "bob", 2), want[2:4])
	w.equal("last", listed(id, im.AllowList, "zoe", 2), want[4:])
	w.equal("the other list", listed(id, im.DenyList, "", 9), []im.Listing{{User: "carol", At: at(7)}})
	w.equal("another conversation", listed(other, im.DenyList, "", 9), []im.Listing{{User: "bob", At: at(8)}})
	for who, is := range map[im.UserID]bool{"bob": true, "carol": false, "nobody": false} {
		w.equal("OnList "+string(who), on(id, im.AllowList, who), is)
	}
	for range 2 {
		w.write(func(tx im.Tx) error { return tx.EndListed(id, im.AllowList, "bob", 60) })
		w.equal("ended", []any{on(id, im.AllowList, "bob"), on(id, im.AllowList, "Bob"), on(other, im.DenyList, "bob")}, []any{false, true, true})
	}
	// A user who is put back by the event that ended the entry is on the list.
	w.write(func(tx im.Tx) error {
		for _, from := range []im.Position{61, 61, 70} {
			if err := tx.PutListed(id, im.AllowList, "bob", at(9), from); err != nil {
				return err
			}
			if err := tx.EndListed(id, im.AllowList, "bob", from); err != nil {
				return err
			}
		}
		return tx.PutListed(id, im.AllowList, "bob", at(11), 70)
	})
	want[1].At = at(11)
	w.equal("again", listed(id, im.AllowList, "", 100), want)
}

func testInvitations(w *world) {
	space, other := w.space("alice"), w.space("bob")
	invite := func(space im.ID, user, by im.UserID, n int) im.Invitation {
		w.Helper()
		i := im.Invitation{Conversation: space, User: user, By: by, At: epoch.Add(time.Duration(n) * time.Second)}
		w.write(func(tx im.Tx) error { return tx.PutInvitation(i) })
		return i
	}
	invitations := func(space im.ID, after string, limit int) []im.Invitation {
		w.Helper()
		return read(w, func(r im.Reader) ([]im.Invitation, error) {
			return r.Invitations(space, im.Page{After: after, Limit: limit})
		})
	}
	of := func(user im.UserID, after im.ID, limit int) []im.Invitation {
		w.Helper()
		return read(w, func(r im.Reader) ([]im.Invitation, error) { return r.InvitationsOf(user, after, limit) })
	}
	w.equal("before", []any{len(invitations(space, "", 9)), len(of("carol", 0, 9))}, []any{0, 0})
	carol, bob, inOther := invite(space, "carol", "alice", 1), invite(space, "bob", "alice", 2), invite(other, "carol", "bob", 3)
	w.equal("invitations to a space", invitations(space, "", 9), []im.Invitation{bob, carol})
	w.equal("after one", invitations(space, "bob", 9), []im.Invitation{carol})
	w.equal("up to one", invitations(space, "", 1), []im.Invitation{bob})
	w.equal("invitations of a user", of("carol", 0, 9), []im.Invitation{carol, inOther})
	w.equal("after a space", of("carol", space, 9), []im.Invitation{inOther})
	w.equal("up to one", of("carol", 0, 1), []im.Invitation{carol})

	carol = invite(space, "carol", "bob", 4)
	one := read(w, func(r im.Reader) (im.Invitation, error) { return r.Invitation(space, "carol") })
	w.equal("replaced invitation", one, carol)
	for range 2 {
		w.write(func(tx im.Tx) error { return tx.DeleteInvitation(space, "carol") })
	}
	w.notFound("deleted invitation", w.store.View(w.Context(), func(r im.Reader) error {
		_, err := r.Invitation(space, "carol")
		return err
	}))
	w.equal("remaining invitations", of("carol", 0, 9), []im.Invitation{inOther})
}
