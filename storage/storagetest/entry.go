package storagetest

import (
	"errors"
	"time"

	"github.com/imapi/imapi/im"
)

// testEntry compares Entry, which loads several things with one query, with loading each of
// them separately.
func testEntry(w *world) {
	group := w.group(im.HistoryAll, "alice", "bob")
	direct := w.ids.Next(w.tick())
	peers := im.PeersOf("alice", "bob")
	w.write(func(tx im.Tx) error {
		return makeGroup(tx, im.Conversation{
			ID: direct, Kind: im.Direct, History: im.HistoryAll, Peers: peers, CreatedAt: w.now, UpdatedAt: w.now,
		}, []im.UserID{"alice", "bob"})
	})
	first := w.text(group, "alice", "one")
	first.ClientID = "c-1"
	first = w.send(first)
	elsewhere := w.text(direct, "alice", "two")
	elsewhere.ClientID = "c-2"
	elsewhere = w.send(elsewhere)
	trimmed := w.group(im.HistoryAll, "alice", "bob")
	old := w.text(trimmed, "alice", "three")
	old.ClientID = "c-3"
	w.send(old)
	w.write(func(tx im.Tx) error {
		_, err := tx.Trim(trimmed, w.now.Add(time.Hour), 10, w.now)
		return err
	})
	w.write(func(tx im.Tx) error {
		if err := tx.PutMark(group, "alice", im.Mark{PinnedAt: w.now, HiddenSeq: 1, ChangedAt: w.now}); err != nil {
			return err
		}
		if err := tx.PutMute(group, "bob", w.now.Add(time.Hour)); err != nil {
			return err
		}
		return tx.PutBlock("bob", "alice", w.now)
	})
	for range 3 { // carol joins and leaves several times
		w.write(func(tx im.Tx) error {
			at, err := tx.Append(im.Event{Type: im.MemberAdded, At: w.tick(), Conversation: group, User: "carol"})
			if err != nil {
				return err
			}
			return tx.AddMember(im.Membership{Conversation: group, User: "carol", Role: im.Member, JoinedAt: w.now}, at)
		})
		w.send(w.text(group, "bob", "hi"))
		w.write(func(tx im.Tx) error {
			at, err := tx.Append(im.Event{Type: im.MemberRemoved, At: w.tick(), Conversation: group, User: "carol"})
			if err != nil {
				return err
			}
			return tx.RemoveMember(group, "carol", at, true)
		})
	}

	// In a transaction, Entry may cache counts. They must include the transaction's own
	// writes.
	check := func(r im.Reader) error {
		for _, id := range []im.ID{group, direct, trimmed} {
			for _, user := range []im.UserID{"alice", "bob", "carol", "dave"} {
				e, err := r.Entry(im.EntryQuery{Conversation: id, User: user, ClientID: "c-1"})
				if err != nil {
					return err
				}
				c, err := r.Conversation(id)
				if err != nil {
					return err
				}
				w.equal("conversation", e.Conversation, c)
				m, err := r.Membership(id, user)
				switch {
				case errors.Is(err, im.ErrNotFound):
					if e.Member {
						w.Errorf("%s is reported as a member of %v", user, id)
					}
				case err != nil:
					return err
				default:
					w.equal("membership", e.Membership, m)
					if !e.Member {
						w.Errorf("%s is not reported as a member of %v", user, id)
					}
				}
				if want := id == direct && user == "alice"; e.Blocked != want {
					w.Errorf("Blocked = %v for %s in %v", e.Blocked, user, id)
				}
				if want := user == "alice"; e.Sent == first.ID != want || e.Gone {
					w.Errorf("for %s: Sent = %v, Gone = %v", user, e.Sent, e.Gone)
				}
			}
		}
		for clientID, want := range map[string]im.Entry{
			"": {}, "c-2": {Sent: elsewhere.ID}, "c-3": {Gone: true}, "c-4": {},
		} {
			e, err := r.Entry(im.EntryQuery{Peers: [2]im.UserID{"bob", "alice"}, User: "alice", ClientID: clientID})
			if err != nil {
				return err
			}
			w.equal("the direct conversation", e.Conversation.ID, direct)
			w.equal("sent as "+clientID, im.Entry{Sent: e.Sent, Gone: e.Gone}, want)
		}
		for _, q := range []im.EntryQuery{
			{Conversation: 12345, User: "alice"},
			{Peers: im.PeersOf("alice", "dave"), User: "alice"},
			{Peers: im.PeersOf("carol", "alice"), User: "alice"},
		} {
			if _, err := r.Entry(q); !errors.Is(err, im.ErrNotFound) {
				w.Errorf("%+v: %v", q, err)
			}
		}
		return nil
	}
	w.step("in a read", func() {
		w.must(w.store.View(w.Context(), check))
	})
	w.step("in a transaction", func() {
		w.write(func(tx im.Tx) error { return check(tx) })
	})
	w.step("after writes of the same transaction", func() {
		w.write(func(tx im.Tx) error {
			if _, err := tx.Entry(im.EntryQuery{Conversation: group, User: "alice"}); err != nil {
				return err
			}
			one, two := w.text(group, "alice", "four"), w.text(group, "alice", "five")
			before, _, err := insert(tx, one)
			if err != nil {
				return err
			}
			if after, _, err := insert(tx, two); err != nil || after != before+1 {
				w.Errorf("seq %d after %d: %v", after, before, err)
			}
			return check(tx)
		})
	})
}
