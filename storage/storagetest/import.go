package storagetest

import (
	"encoding/json"
	"slices"

	"github.com/imapi/imapi/im"
)

// testRestoreMember checks that RestoreMember stores memberships unchanged, and that earlier
// events of the log are not delivered to the restored members.
func testRestoreMember(w *world) {
	other := w.group(im.HistoryAll, "alice") // the log is not empty
	at := w.tick()
	id := w.ids.Next(at)
	left := []im.Interval{{FromSeq: 1, ToSeq: 3, ToEvent: -1}, {FromSeq: 4, ToSeq: 3, ToEvent: -1, Left: true}}
	stayed := append(slices.Clone(left), im.Interval{FromSeq: 7})
	var head im.Position
	w.write(func(tx im.Tx) error {
		bounds, err := tx.LogBounds()
		if err != nil {
			return err
		}
		head = bounds.Head
		err = tx.CreateConversation(im.Conversation{
			ID: id, Kind: im.Group, Name: "g", History: im.HistoryJoined, FirstSeq: 1, CreatedAt: at, UpdatedAt: at, EditedAt: at,
		})
		for _, m := range []im.Membership{
			{Conversation: id, User: "bob", Role: im.Owner, JoinedAt: at, Intervals: stayed},
			{Conversation: id, User: "carol", Intervals: left},
		} {
			if err == nil {
				err = tx.RestoreMember(m, head)
			}
		}
		return err
	})
	w.equal("members", w.conversation(id).MemberCount, 1)
	for user, want := range map[im.UserID][]im.Interval{"bob": stayed, "carol": left} {
		m := w.membership(id, user)
		if m.Active() != (user == "bob") || len(m.Intervals) != len(want) {
			w.Fatalf("%s: %+v", user, m)
		}
		for i, stay := range m.Intervals {
			if stay.FromSeq != want[i].FromSeq || stay.ToSeq != want[i].ToSeq || stay.Open() != want[i].Open() ||
				stay.Left != want[i].Left || stay.FromEvent > head {
				w.Errorf("%s: stay %d: got %+v, want %+v", user, i, stay, want[i])
			}
		}
	}
	bob := w.membership(id, "bob")
	w.equal("role and time", []any{bob.Role, bob.JoinedAt}, []any{im.Owner, at})
	eventsFor := func(user im.UserID, upTo im.Position) int {
		return len(read(w, func(r im.Reader) (im.EventWindow, error) { return r.Events(user, 0, upTo, 10) }).Events)
	}
	w.equal("events before the restore", []int{eventsFor("bob", head), eventsFor("carol", head)}, []int{0, 0})
	w.send(w.text(id, "bob", "hi"))
	w.send(w.text(other, "alice", "hi"))
	head = read(w, im.Reader.LogBounds).Head
	w.equal("events since the restore", []int{eventsFor("bob", head), eventsFor("carol", head)}, []int{1, 0})
}

// testInsertErased checks that an imported tombstone is stored unchanged and is not listed
// among the erasures of this store.
func testInsertErased(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	m := w.text(id, "alice", "erased")
	m.Quiet = true
	m = m.Tombstone(im.Erasure{
		State: im.Revoked, At: w.tick(), By: "eve", Postscript: "p", Extension: json.RawMessage(`{"a":1}`),
	})
	m.ClientID = "c"
	w.write(func(tx im.Tx) (err error) {
		m.Seq, err = tx.InsertMessage(m)
		return err
	})
	got := read(w, func(r im.Reader) (im.Message, error) { return r.Message(m.ID) })
	w.equal("tombstone", got, m)
	page := read(w, func(r im.Reader) (im.ErasurePage, error) { return r.Erasures(im.ErasureQuery{Limit: 10}) })
	w.equal("erasures", len(page.Items), 0)
}

// testTaken checks which of many ids and client_ids belong to messages.
func testTaken(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	var ids []im.ID
	for _, client := range []string{"c-1", `"'\`, ""} {
		m := w.text(id, "alice", "hi")
		m.ClientID = client
		ids = append(ids, w.send(m).ID)
	}
	query := append([]im.ID{id, 1, 1<<62 + 1, ids[0] + 1}, ids...)
	taken := read(w, func(r im.Reader) ([]im.ID, error) { return r.Taken(query) })
	slices.Sort(taken)
	w.equal("taken", taken, ids)
	key := func(sender im.UserID, client string) im.ClientKey {
		return im.ClientKey{Sender: sender, ClientID: client}
	}
	sent := []im.ClientKey{key("alice", "c-1"), key("alice", `"'\`)}
	keys := append([]im.ClientKey{key("bob", "c-1"), key("alice", "c-2"), key("nobody", "c-1"), key("alice", "")}, sent...)
	w.equal("sent", read(w, func(r im.Reader) ([]im.ClientKey, error) { return r.SentAs(keys) }), sent)
	w.equal("Taken without ids", len(read(w, func(r im.Reader) ([]im.ID, error) { return r.Taken(nil) })), 0)
	w.equal("SentAs without keys", len(read(w, func(r im.Reader) ([]im.ClientKey, error) { return r.SentAs(nil) })), 0)
}
