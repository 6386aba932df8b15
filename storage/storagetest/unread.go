package storagetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// unreadModel is a conversation whose unread counts are computed by scanning all messages.
type unreadModel struct {
	*world
	random  *rand.Rand
	id      im.ID
	users   []im.UserID
	members map[im.UserID]bool
	all     []im.Message
	// mentioned holds, by the seq of a message, the mentioned users who were members when it was
	// sent.
	mentioned    map[int64][]im.UserID
	readOrHidden map[im.UserID]map[int64]bool
}

// testUnreadModel makes random changes and compares unread counts with a scan, with few
// messages and with more than are counted.
func testUnreadModel(w *world) {
	for round, longest := range []int{3, 40, 700} {
		m := &unreadModel{
			world: w, random: rand.New(rand.NewPCG(41, uint64(round))), users: []im.UserID{"alice", "bob", "carol", "non-member"},
			members: map[im.UserID]bool{"alice": true, "bob": true}, mentioned: map[int64][]im.UserID{},
			readOrHidden: map[im.UserID]map[int64]bool{},
		}
		m.id = w.group(im.HistoryAll, "alice", "bob")
		for _, user := range m.users {
			m.readOrHidden[user] = map[int64]bool{}
		}
		for range testsize.Pick(120, 40) {
			m.step(longest)
			for _, user := range m.users {
				m.compare(user)
			}
		}
	}
}

// step makes a random change.
func (m *unreadModel) step(longest int) {
	m.Helper()
	user := m.users[m.random.IntN(3)]
	switch m.random.IntN(12) {
	case 0, 1, 2, 3:
		m.sendSome(1 + m.random.IntN(longest))
	case 4, 5:
		m.readOrHide(im.Read, user, longest)
	case 6:
		m.readOrHide(0, user, longest)
	case 7, 8:
		m.eraseSome(longest)
	case 9:
		if m.members["carol"] = !m.members["carol"]; m.members["carol"] {
			m.join(m.id, "carol")
		} else {
			m.leave(m.id, "carol")
		}
	case 10:
		m.now = m.now.Add(time.Minute) // some messages are due but not erased yet
	case 11:
		if len(m.all) > 0 && m.random.IntN(2) == 0 {
			m.trim(m.all[m.random.IntN(len(m.all)/2+1)].CreatedAt)
		}
	}
}

func (m *unreadModel) sendSome(n int) {
	m.Helper()
	sender := m.users[m.random.IntN(3)] // runs of one sender, or random senders
	messages := make([]im.Message, n)
	for i := range messages {
		if m.random.IntN(2) == 0 {
			sender = m.users[m.random.IntN(3)]
		}
		c := m.text(m.id, sender, "hi")
		var mentions []im.UserID
		for _, user := range m.users {
			if m.random.IntN(8) == 0 {
				mentions = append(mentions, user)
			}
		}
		mentioning := *c.Content
		mentioning.Mentions, c.Content = mentions, &mentioning
		mentioning.MentionAll = m.random.IntN(8) == 0
		switch m.random.IntN(8) {
		case 0:
			c.Quiet, c.CreatedAt = true, c.CreatedAt.Add(-time.Duration(m.random.IntN(100))*time.Second)
		case 1:
			c.Quiet, c.VisibleTo = true, m.users[m.random.IntN(3)]
		case 2, 3:
			c.ExpiresAt = c.CreatedAt.Add(time.Duration(m.random.IntN(200)) * time.Second)
		}
		messages[i] = c
	}
	m.write(func(tx im.Tx) error {
		for i := range messages {
			var err error
			if messages[i].Seq, _, err = insert(tx, messages[i]); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range messages {
		if c.Quiet {
			continue
		}
		for _, user := range c.Content.Mentions {
			if m.members[user] && user != c.Sender {
				m.mentioned[c.Seq] = append(m.mentioned[c.Seq], user)
			}
		}
	}
	m.all = append(m.all, messages...)
}

// readOrHide marks a range as read, or hides it.
func (m *unreadModel) readOrHide(kind im.ReceiptKind, user im.UserID, longest int) {
	m.Helper()
	from := 1 + m.random.Int64N(m.conversation(m.id).LastSeq+1)
	to := from + m.random.Int64N(int64(longest))
	if kind == im.Read {
		m.put(kind, m.id, user, from, to, m.tick())
	} else {
		m.hide(m.id, user, from, to, m.tick())
	}
	for seq := from; seq <= to; seq++ {
		m.readOrHidden[user][seq] = true
	}
}

func (m *unreadModel) eraseSome(longest int) {
	m.Helper()
	if len(m.all) == 0 {
		return
	}
	from := m.random.IntN(len(m.all))
	e := im.Erasure{State: im.Revoked, At: m.now}
	m.write(func(tx im.Tx) error {
		for i := from; i < min(from+longest, len(m.all)); i += 1 + i%3 {
			if _, err := tx.Erase(m.all[i].ID, e, m.now); err != nil {
				return err
			}
		}
		return nil
	})
	for i := from; i < min(from+longest, len(m.all)); i += 1 + i%3 {
		if m.all[i].State == im.Active {
			m.all[i] = m.all[i].Tombstone(e)
		}
	}
}

func (m *unreadModel) trim(before time.Time) {
	m.Helper()
	for done := false; !done; {
		m.write(func(tx im.Tx) error {
			t, err := tx.Trim(m.id, before, 50, before)
			done = t.Done
			return err
		})
	}
	m.all = slices.DeleteFunc(m.all, func(c im.Message) bool { return c.CreatedAt.Before(before) })
}

// compare compares the unread count of all messages and of some ranges with a scan.
func (m *unreadModel) compare(user im.UserID) {
	m.Helper()
	last := m.conversation(m.id).LastSeq
	cut := 1 + m.random.Int64N(last+1)
	for _, ranges := range [][]im.SeqRange{
		{{From: 1, To: last}},
		{{From: 1, To: cut / 2}, {From: cut/2 + 2, To: cut}, {From: cut + 9, To: last + 9}},
	} {
		var want im.UnreadCount
		for _, c := range m.all {
			in := slices.ContainsFunc(ranges, func(r im.SeqRange) bool { return r.From <= c.Seq && c.Seq <= r.To })
			if !in || c.Quiet || c.Sender == user || c.AsOf(m.now).State != im.Active || m.readOrHidden[user][c.Seq] {
				continue
			}
			want.Messages++
			if c.Content.MentionAll || slices.Contains(m.mentioned[c.Seq], user) {
				want.Mentions++
			}
		}
		want.More = want.Messages > im.MaxUnread
		want.Messages, want.Mentions = min(want.Messages, im.MaxUnread), min(want.Mentions, im.MaxUnread)
		m.equal(fmt.Sprintf("unread by %s in %v", user, ranges), m.unread(m.id, user, ranges...), want)
	}
}

// testUnread compares unread counts with a scan of all messages.
func testUnread(w *world) {
	random := rand.New(rand.NewPCG(17, 18))
	const n = 300
	users := []im.UserID{"alice", "bob", "carol"}
	id := w.group(im.HistoryAll, users...)
	w.fill(id, n, func(int) im.UserID { return users[random.IntN(3)] })
	all := make([]im.Message, n)
	for i := range all {
		all[i] = w.history(id, int64(i+1))
		if random.IntN(5) == 0 {
			w.erase(all[i].ID, im.Erasure{State: im.Revoked, At: w.now})
			all[i].State = im.Revoked
		}
	}
	hasRead := map[im.UserID]map[int64]bool{}
	for round := range 60 {
		user := append(users, "non-member")[random.IntN(4)]
		if hasRead[user] == nil {
			hasRead[user] = map[int64]bool{}
		}
		from := 1 + random.Int64N(n)
		to := min(n, from+random.Int64N(1+int64(round)/3))
		w.put([]im.ReceiptKind{im.Read, im.Read, im.Delivered}[round%3], id, user, from, to, w.tick())
		for seq := from; seq <= to && round%3 < 2; seq++ {
			hasRead[user][seq] = true
		}
		for _, ranges := range [][]im.SeqRange{
			nil,
			{{From: 1, To: n}},
			{{From: 1, To: n + 100}},
			{{From: 100, To: 99}},
			{{From: 10, To: 50}, {From: 52, To: 52}, {From: 90, To: 280}},
		} {
			want := 0
			for _, m := range all {
				in := slices.ContainsFunc(ranges, func(r im.SeqRange) bool { return r.From <= m.Seq && m.Seq <= r.To })
				if in && m.State == im.Active && m.Sender != user && !hasRead[user][m.Seq] {
					want++
				}
			}
			w.equal(fmt.Sprintf("unread by %s in %v", user, ranges), w.unread(id, user, ranges...).Messages, want)
		}
	}
}

// unread returns a user's unread count in the ranges.
func (w *world) unread(id im.ID, user im.UserID, ranges ...im.SeqRange) im.UnreadCount {
	w.Helper()
	return read(w, func(r im.Reader) ([]im.UnreadCount, error) {
		return r.Unread(im.UnreadQuery{Conversation: id, User: user, Ranges: ranges, Now: w.now})
	})[0]
}
