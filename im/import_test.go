package im_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

var root = im.Actor{User: "root", Admin: true}

// old returns a message from alice to bob of some time ago.
func (w *world) old(ago time.Duration, edit ...func(*im.ImportMessage)) im.ImportMessage {
	m := im.ImportMessage{
		Conversation: "@bob", Sender: "alice", Type: im.Text, Body: []byte(`{"text":"old"}`), CreatedAt: w.clock().Add(-ago),
	}
	for _, change := range edit {
		change(&m)
	}
	return m
}

// imports imports messages in one batch and returns the results.
func (w *world) imports(list ...im.ImportMessage) []im.ImportResult {
	w.Helper()
	var batch []im.Prepared
	for _, m := range list {
		batch = append(batch, w.PrepareMessage(m))
	}
	results, err := w.Import(w.ctx, root, batch)
	w.must(err)
	for i, r := range results {
		if r.Err != nil {
			w.Fatalf("line %d: %v", i, r.Err)
		}
	}
	return results
}

func (w *world) stored(id im.ID) im.Message {
	w.Helper()
	var m im.Message
	w.must(w.store.View(w.ctx, func(r im.Reader) (err error) {
		m, err = r.Message(id)
		return err
	}))
	return m
}

// TestImportKeepsIDsThatRise checks which ids and seqs are kept: those greater than the
// last of the conversation, with a time neither before the message's nor in the future.
// Whatever follows has a greater id.
func TestImportKeepsIDsThatRise(t *testing.T) {
	w := newWorld(t)
	at := func(ago time.Duration) im.ID { return im.ID(w.clock().Add(-ago).UnixMilli()<<21 | 5) }
	for _, c := range []struct {
		name         string
		id           im.ID
		seq          int64
		ago          time.Duration
		keeps        bool
		storedSeqIs  int64
		idOfItsTimes bool
	}{
		{"the first id", at(time.Hour), 10, time.Hour, true, 10, true},
		{"a greater id and seq", at(time.Minute), 20, time.Hour, true, 20, false},
		{"a lower seq", at(2 * time.Minute), 15, 2 * time.Minute, false, 21, false},
		{"without id and seq", 0, 0, time.Second, false, 22, false},
		{"an id older than its message", at(time.Millisecond), 0, 0, false, 23, true},
		{"an id of a future time", at(-time.Second), 30, 0, false, 30, true},
		{"an id with the current time", at(0) | 1<<20, 31, 0, true, 31, true},
		{"a seq that leaves no room for later ones", 0, 1<<52 + 1, 0, false, 32, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := w.old(c.ago, func(m *im.ImportMessage) { m.Seq, m.ClientID = c.seq, c.name })
			if c.id != 0 {
				m.ID = c.id.String()
			}
			if c.name == "an id with the current time" { // above the random bits of earlier ids
				m.ID = (w.lastID() + 1).String()
			}
			got := w.stored(w.imports(m)[0].ID)
			if (got.ID.String() == m.ID) != c.keeps || got.Seq != c.storedSeqIs {
				t.Errorf("stored as %v %d, was %s %d", got.ID, got.Seq, m.ID, c.seq)
			}
			if of := int64(got.ID) >> 21; c.idOfItsTimes && of != m.CreatedAt.UnixMilli() {
				t.Errorf("the id is of %v, not of %v", time.UnixMilli(of), m.CreatedAt)
			}
			if again := w.imports(m)[0]; !again.Again || again.ID != got.ID {
				t.Errorf("again: %+v", again)
			}
		})
	}
	last := w.lastID()
	sent, err := w.Send(w.ctx, as("bob"), direct("alice"), text("next"))
	w.must(err)
	if sent.Message.ID <= last || sent.Message.Seq != 33 {
		t.Errorf("after %v: %v %d", last, sent.Message.ID, sent.Message.Seq)
	}
}

// lastID returns the id of the newest message between alice and bob.
func (w *world) lastID() im.ID {
	w.Helper()
	page, err := w.Messages(w.ctx, as("alice"), direct("bob"), im.HistoryFilter{Limit: 1})
	w.must(err)
	return page.Messages[0].ID
}

// TestImportRecognisesMessages checks how messages are recognised, within a batch and after
// it, and that repeating an import does not restore messages that were erased since.
func TestImportRecognisesMessages(t *testing.T) {
	w := newWorld(t)
	plain := w.old(time.Hour)
	other := w.old(time.Hour, func(m *im.ImportMessage) { m.Body = []byte(`{"text":"other"}`) })
	later := w.old(time.Hour - time.Millisecond)
	byClient := w.old(time.Hour, func(m *im.ImportMessage) { m.ClientID = "c" })
	moved := w.old(time.Minute, func(m *im.ImportMessage) { m.ClientID = "c" })
	first := w.imports(plain, plain, other, later, byClient, moved)
	for i, again := range []bool{false, true, false, false, false, true} {
		if first[i].Again != again {
			t.Errorf("line %d: %+v", i, first[i])
		}
	}
	if _, err := w.Revoke(w.ctx, root, first[2].ID, im.RevokeNote{}); err != nil {
		t.Fatal(err)
	}
	for i, r := range w.imports(plain, plain, other, later, byClient, moved) {
		if !r.Again || r.ID != first[i].ID {
			t.Errorf("repeated line %d: %+v, was %+v", i, r, first[i])
		}
	}
	// With ids, two messages of one millisecond with the same content stay two messages.
	for i := range 2 {
		id := im.ID(w.clock().UnixMilli()<<21 + int64(100*i+7))
		twin := w.old(time.Minute, func(m *im.ImportMessage) { m.ID, m.Conversation = id.String(), "@carol" })
		if r := w.imports(twin)[0]; r.Again || r.ID != id {
			t.Errorf("twin %d: %+v", i, r)
		}
	}
}

// TestImportPublishesNothing checks that an import publishes nothing, not even about messages that
// are due already, which are stored as tombstones.
func TestImportPublishesNothing(t *testing.T) {
	w := newWorld(t)
	due := []im.ImportMessage{
		w.old(time.Hour, func(m *im.ImportMessage) { m.ExpiresAt = m.CreatedAt.Add(time.Minute) }),
		w.old(time.Hour, func(m *im.ImportMessage) {
			m.ClientID, m.Burn = "b", &im.Burn{UnreadTTL: time.Minute}
		}),
		w.old(time.Hour, func(m *im.ImportMessage) {
			m.ClientID, m.Body, m.Erased = "r", nil, &im.Erasure{State: im.Revoked, At: m.CreatedAt, By: "alice", Postscript: "p", Extension: []byte(`[1]`)}
		}),
	}
	results := w.imports(due...)
	for i, state := range []im.State{im.Expired, im.Burned, im.Revoked} {
		m := w.stored(results[i].ID)
		if m.State != state || m.Content != nil || m.Erased == nil || !m.Quiet {
			t.Errorf("%v: %+v", state, m)
		}
	}
	w.equal("the note", fmt.Sprint(w.stored(results[2].ID).Erased), fmt.Sprint(&im.Erasure{
		State: im.Revoked, At: due[2].CreatedAt, By: "alice", Postscript: "p", Extension: []byte(`[1]`),
	}))
	if n, _, err := w.EraseDue(w.ctx); n != 0 || err != nil {
		t.Errorf("erased %d: %v", n, err)
	}
	w.imports(w.old(time.Second))
	if events := w.committed(); len(events) != 0 {
		t.Errorf("received %+v", events)
	}
	v, err := w.Conversation(w.ctx, as("bob"), direct("alice"))
	w.must(err)
	if v.Unread.Messages != 0 || !v.UpdatedAt.Equal(w.clock().Add(-time.Second)) || !v.CreatedAt.Equal(w.clock().Add(-time.Hour)) {
		t.Errorf("the conversation: %+v", v)
	}
	page, err := w.Service.Erasures(w.ctx, root, im.ErasureQuery{Limit: 10})
	w.must(err)
	if len(page.Items) != 0 {
		t.Errorf("erased here: %+v", page.Items)
	}
}

// TestInsertForOne checks that a message for one user is only inserted if they are a
// member.
func TestInsertForOne(t *testing.T) {
	w := newWorld(t)
	g, err := w.CreateGroup(w.ctx, as("alice"), im.GroupDraft{Name: "g", Members: []im.UserID{"bob", "carol"}})
	w.must(err)
	w.must(w.Leave(w.ctx, as("carol"), byID(g.ID)))
	notice := func(to im.UserID) im.ImportMessage {
		return w.old(0, func(m *im.ImportMessage) {
			m.Conversation, m.Sender, m.VisibleTo, m.CreatedAt = g.ID.String(), "system", to, time.Time{}
		})
	}
	m, again, err := w.Insert(w.ctx, root, notice("bob"))
	w.must(err)
	if again || m.VisibleTo != "bob" || !m.CreatedAt.Equal(w.clock()) {
		t.Errorf("%+v %v", m, again)
	}
	for _, to := range []im.UserID{"carol", "dave"} {
		if _, _, err := w.Insert(w.ctx, root, notice(to)); !refused(err, "member_not_found") {
			t.Errorf("to %s: %v", to, err)
		}
	}
	was := notice("carol")
	was.CreatedAt = w.clock()
	w.imports(was) // from the time of her membership
	if _, _, err := w.Insert(w.ctx, as("alice"), notice("bob")); !refused(err, "admin_required") {
		t.Errorf("by alice: %v", err)
	}
	if _, err := w.Import(w.ctx, as("alice"), nil); !refused(err, "admin_required") {
		t.Errorf("import by alice: %v", err)
	}
	if err := w.Export(w.ctx, as("alice"), 0, nil); !refused(err, "admin_required") {
		t.Errorf("export by alice: %v", err)
	}
	for _, user := range []im.UserID{"alice", "bob"} {
		page, err := w.Messages(w.ctx, as(user), byID(g.ID), im.HistoryFilter{Limit: 10})
		w.must(err)
		if want := map[im.UserID]int{"alice": 0, "bob": 1}[user]; len(page.Messages) != want {
			t.Errorf("%s sees %+v", user, page.Messages)
		}
	}
}

func refused(err error, code string) bool {
	e, ok := im.AsError(err)
	return ok && e.Code == code
}
