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
