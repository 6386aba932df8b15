package storagetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/imapi/imapi/im"
)

// testManyConversations checks that reading many conversations at once returns the same as reading
// each by itself.
func testManyConversations(w *world) {
	random := rand.New(rand.NewPCG(91, 92))
	users := []im.UserID{"alice", "bob", "carol"}
	var ids []im.ID
	for range 30 {
		ids = append(ids, w.group([]im.History{im.HistoryAll, im.HistoryJoined}[random.IntN(2)], users[0]))
	}
	ids = append(ids, w.make(im.Conversation{Kind: im.Direct, Peers: im.PeersOf("alice", "bob")}, "alice", "bob"), w.space("alice", "bob"))
	members := map[im.ID]map[im.UserID]bool{}
	for range 600 {
		id, user := ids[random.IntN(len(ids)-2)], users[random.IntN(len(users))]
		is := members[id]
		if is == nil {
			is = map[im.UserID]bool{"alice": true}
			members[id] = is
		}
		last := w.conversation(id).LastSeq
		from := 1 + random.Int64N(last+1)
		switch n := random.IntN(20); {
		case n < 3 && user != "alice" && !is[user]:
			w.join(id, user)
			is[user] = true
		case n < 3 && user != "alice":
			w.leave(id, user)
			is[user] = false
		case n == 3 && last > 0:
			w.hide(id, user, max(1, last-random.Int64N(2)), last, w.tick())
		case n == 4 && last > 0 && from <= last:
			w.put(im.Read, id, user, from, last, w.tick())
		case n == 5:
			m := w.text(id, user, "for one")
			m.VisibleTo, m.Quiet = users[random.IntN(len(users))], true
			w.send(m)
		case n == 6 && id%3 == 0:
			m := w.text(id, user, "imported")
			m.CreatedAt, m.Quiet = m.CreatedAt.Add(-time.Duration(random.IntN(600))*time.Second), true
			w.send(m)
		case n == 7:
			m := w.send(w.text(id, user, "erased"))
			w.erase(m.ID, im.Erasure{State: im.Revoked, At: w.tick(), By: user})
		case n == 8:
			w.putMark(id, user, im.Mark{PinnedAt: w.tick(), ChangedAt: w.now, ClearedSeq: last})
		default:
			w.send(w.text(id, user, "hi"))
		}
	}
	deleted := ids[0]
	w.deleteConversation(deleted)
	asked := append([]im.ID{1, ids[3] + 1}, ids...)
	random.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })

	var conversations []im.Conversation
	for _, id := range asked {
		w.view(func(r im.Reader) error {
			if c, err := r.Conversation(id); err == nil {
				conversations = append(conversations, c)
			}
			return nil
		})
	}
	w.equal("conversations", read(w, func(r im.Reader) ([]im.Conversation, error) { return r.ConversationsByID(asked) }), conversations)
	w.equal("no conversations", len(read(w, func(r im.Reader) ([]im.Conversation, error) { return r.ConversationsByID(nil) })), 0)
	for _, user := range append(users, "nobody") {
		w.checkMany(random, user, asked, conversations)
	}
}

// checkMany compares what is read for many conversations of a user with what is read for each.
func (w *world) checkMany(random *rand.Rand, user im.UserID, asked []im.ID, conversations []im.Conversation) {
	w.Helper()
	want := map[im.ID]im.Membership{}
	for _, id := range asked {
		w.view(func(r im.Reader) error {
			if m, err := r.Membership(id, user); err == nil {
				want[id] = m
			}
			return nil
		})
	}
	got := map[im.ID]im.Membership{}
	for _, m := range read(w, func(r im.Reader) ([]im.Membership, error) { return r.Memberships(user, asked) }) {
		got[m.Conversation] = m
	}
	w.equal(fmt.Sprint("memberships of ", user), got, want)

	var newest []im.HistoryQuery
	var unread []im.UnreadQuery
	for _, c := range conversations {
		ranges := []im.SeqRange{{From: 1, To: max(c.LastSeq, 1)}}
		if half := c.LastSeq / 2; half > 2 && random.IntN(2) == 0 {
			ranges = []im.SeqRange{{From: 1, To: half - 1}, {From: half + 1, To: c.LastSeq - random.Int64N(2)}}
		}
		q := im.HistoryQuery{Conversation: c.ID, Ranges: ranges, Reader: user, Limit: 1, Timed: c.Counted != c.LastSeq}
		if random.IntN(3) == 0 {
			q.Since = w.now.Add(-time.Duration(random.IntN(1000)) * time.Second)
		}
		newest = append(newest, q)
		unread = append(unread, im.UnreadQuery{Conversation: c.ID, User: user, Ranges: ranges, Now: w.now})
	}
	pages := read(w, func(r im.Reader) ([]im.HistoryPage, error) { return r.Newest(newest) })
	w.equal("pages", len(pages), len(newest))
	counts := read(w, func(r im.Reader) ([]im.UnreadCount, error) { return r.Unread(unread...) })
	for i, q := range newest {
		page := read(w, func(r im.Reader) (im.HistoryPage, error) { return r.Messages(q) })
		if len(page.Messages) > 0 {
			page.Next = nil
		}
		w.equal(fmt.Sprintf("the newest of %s by %+v", user, q), pages[i], page)
		one := read(w, func(r im.Reader) ([]im.UnreadCount, error) { return r.Unread(unread[i]) })
		w.equal("unread", counts[i], one[0])
	}
}

// testNewestIsBounded checks that large messages end a list of the newest ones.
func testNewestIsBounded(w *world) {
	var queries []im.HistoryQuery
	large := strings.Repeat("x", im.EnoughContent/3)
	for range 6 {
		id := w.group(im.HistoryAll, "alice")
		w.send(w.text(id, "alice", large))
		queries = append(queries, im.HistoryQuery{Conversation: id, Ranges: []im.SeqRange{{From: 1, To: 1}}, Reader: "alice", Limit: 1})
	}
	found := 0
	for _, want := range []int{3, 3} {
		pages := read(w, func(r im.Reader) ([]im.HistoryPage, error) { return r.Newest(queries[found:]) })
		w.equal("pages", len(pages), want)
		found += len(pages)
	}
}
