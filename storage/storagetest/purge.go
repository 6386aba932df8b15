package storagetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
)

// deleteConversation deletes a conversation for all members.
func (w *world) deleteConversation(id im.ID) (pos im.Position) {
	w.Helper()
	at := w.tick()
	w.write(func(tx im.Tx) (err error) {
		pos, err = tx.Append(im.Event{Type: im.ConversationDeleted, At: at, Conversation: id, Actor: "alice"})
		if err != nil {
			return err
		}
		return tx.DeleteConversation(id, at, pos)
	})
	return pos
}

// purgeAll purges a deleted conversation in steps of limit messages.
func (w *world) purgeAll(id im.ID, limit int, now time.Time) {
	w.Helper()
	for done := false; !done; {
		w.write(func(tx im.Tx) (err error) {
			done, err = tx.Purge(id, limit, now)
			return err
		})
	}
}

func testDeleteConversation(w *world) {
	peers := im.PeersOf("alice", "bob")
	at := w.tick()
	create := func() im.ID {
		id := w.ids.Next(w.tick())
		w.write(func(tx im.Tx) error {
			return makeGroup(tx, im.Conversation{
				ID: id, Kind: im.Direct, History: im.HistoryAll, Peers: peers, CreatedAt: at, UpdatedAt: at,
			}, []im.UserID{"alice", "bob"})
		})
		return id
	}
	id, other := create(), w.group(im.HistoryAll, "alice", "bob", "carol")
	m := w.send(w.text(id, "alice", "said"))
	w.leave(other, "carol")
	w.send(w.text(other, "alice", "said"))
	unpurged := func() (ids []im.ID) {
		for _, c := range read(w, func(r im.Reader) ([]im.Conversation, error) { return r.Unpurged(10) }) {
			ids = append(ids, c.ID)
		}
		return ids
	}
	w.equal("before the deletion", unpurged(), []im.ID(nil))
	pos := w.deleteConversation(id)
	c := w.conversation(id)
	w.equal("deleted", []any{c.DeletedAt, c.Name, c.Peers, c.MemberCount}, []any{w.now, "", [2]im.UserID{}, 0})
	for _, user := range []im.UserID{"alice", "bob"} {
		me := w.membership(id, user)
		last := me.Intervals[len(me.Intervals)-1]
		w.equal("the stay of "+string(user), []any{me.Active(), last.ToEvent, last.ToSeq}, []any{false, pos, m.Seq})
		events, _ := w.events(user, 0, w.bounds().Head, 100)
		w.equal("the last event of the conversation", events[len(events)-1].Position, pos)
	}
	w.equal("members", len(read(w, func(r im.Reader) ([]im.Membership, error) { return r.Members(id, im.Page{Limit: 9}) })), 0)
	w.notFound("the deleted direct conversation", w.store.View(w.Context(), func(r im.Reader) error {
		_, err := r.DirectConversation(peers)
		return err
	}))
	again := create()
	got := read(w, func(r im.Reader) (im.Conversation, error) { return r.DirectConversation(peers) })
	w.equal("the new direct conversation", got.ID, again)

	w.deleteConversation(other)
	me := w.membership(other, "carol")
	w.equal("a user who had left before", []any{len(me.Intervals), me.Intervals[0].ToEvent < pos}, []any{1, true})
	w.equal("the first deleted comes first", unpurged(), []im.ID{id, other})
	for _, id := range []im.ID{id, 1} {
		err := w.store.Write(w.Context(), func(tx im.Tx) error { return tx.DeleteConversation(id, at, pos) })
		w.notFound("delete an unknown conversation", err)
	}
}

func testPurge(w *world) {
	purge := func(id im.ID, limit int) (done bool) {
		w.Helper()
		w.write(func(tx im.Tx) (err error) {
			done, err = tx.Purge(id, limit, w.now)
			return err
		})
		return done
	}
	id, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	var list []im.Message
	for i := range 25 {
		m := w.text(id, "alice", "said")
		m.ClientID = fmt.Sprint("client ", i)
		m.Content.Mentions, m.Content.MentionAll = []im.UserID{"bob"}, i%2 == 0
		list = append(list, w.send(m))
		if i%3 == 0 {
			w.erase(m.ID, im.Erasure{State: im.Revoked, At: w.now, By: "alice", Postscript: "sorry"})
		}
	}
	kept := w.send(w.text(other, "alice", "stays"))
	w.put(im.Read, other, "bob", 1, 1, w.now)
	w.put(im.Read, id, "bob", 3, 9, w.now)
	w.putMark(id, "bob", im.Mark{PinnedAt: w.now, ChangedAt: w.now})
	err := w.store.Write(w.Context(), func(tx im.Tx) error {
		_, err := tx.Purge(id, 10, w.now)
		return err
	})
	w.notFound("purge a conversation that is not deleted", err)
	pos := w.deleteConversation(id)
	steps := 1
	for !purge(id, 10) {
		steps++
	}
	if steps < 3 || steps > 6 {
		w.Fatalf("25 messages took %d steps of 10", steps)
	}
	w.equal("once more", purge(id, 10), true)
	for _, m := range list {
		w.checkTrimmed(m)
	}
	w.equal("unpurged conversations", len(read(w, func(r im.Reader) ([]im.Conversation, error) { return r.Unpurged(10) })), 0)
	w.equal("receipts", len(w.receiptsOf(im.Read, id, 5)), 0)
	c := w.conversation(id)
	w.equal("the purged conversation", []any{c.DeletedAt.IsZero(), c.FirstSeq, c.OldestAt}, []any{false, 26, time.Time{}})
	w.equal("a mark", w.membership(id, "bob").Mark, im.Mark{})
	events, _ := w.events("bob", 0, w.bounds().Head, 100)
	var types []im.EventType
	for _, e := range events {
		if e.Conversation == id {
			types = append(types, e.Type)
		}
	}
	w.equal("remaining events", types, []im.EventType{im.ConversationCreated, im.ConversationDeleted})
	w.equal("the last event", events[len(events)-1].Position, pos)
	w.sameMessage(w.message(kept.ID), kept)
	w.equal("receipts in another conversation", len(w.receiptsOf(im.Read, other, 1)), 1)

	// A rolled back purge changes nothing.
	kept = w.message(kept.ID)
	w.deleteConversation(other)
	undone := errors.New("for a test")
	err = w.store.Write(w.Context(), func(tx im.Tx) error {
		if _, err := tx.Purge(other, 10, w.now); err != nil {
			return err
		}
		return undone
	})
	w.equal("error", err, undone)
	w.sameMessage(w.message(kept.ID), kept)
}
