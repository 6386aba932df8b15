package im_test

import (
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// ways are the ways in which a message of alice to bob, or to a group, is trimmed, deleted or
// purged.
var ways = map[string]func(*world, im.ID){
	"trimmed": func(w *world, _ im.ID) {
		w.pass(3*day + time.Second)
		w.must(w.Trim(w.ctx, time.Time{}, nil))
	},
	"deleted": func(w *world, id im.ID) {
		w.must(w.DeleteConversation(w.ctx, as("bob"), byID(id)))
	},
	"purged": func(w *world, id im.ID) {
		w.must(w.DeleteConversation(w.ctx, as("bob"), byID(id)))
		w.must(w.Purge(w.ctx))
	},
}

// forgetful returns a world with three days of retention that remembers trimmed messages for
// seven.
func forgetful(t *testing.T) *world {
	policy := im.DefaultPolicy()
	policy.Retention = 3 * day
	return newWorldWith(t, policy)
}

// Until its client_id is forgotten, a retry of such a message stores nothing, whatever
// conversation it names.
func TestRetryOfATrimmedMessage(t *testing.T) {
	for how, remove := range ways {
		t.Run(how, func(t *testing.T) {
			w := forgetful(t)
			d := text("secret")
			d.ClientID = "x"
			sent, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
			w.must(err)
			elsewhere := w.group(im.HistoryAll, "alice", "bob")
			remove(w, sent.Message.Conversation)
			other := text("other")
			other.ClientID = "x"
			try := func(ref im.ConversationRef, d im.Draft) string {
				_, err := w.Send(w.ctx, as("alice"), ref, d)
				return answer(err)
			}
			for range 2 {
				w.equal("the retry", try(direct("bob"), d), "410 message_gone")
				w.equal("with other content", try(direct("bob"), other), "410 message_gone")
				w.equal("to carol", try(direct("carol"), d), "410 message_gone")
				w.equal("to a group", try(byID(elsewhere), d), "410 message_gone")
				w.must(w.Purge(w.ctx))
			}
			_, err = w.Conversation(w.ctx, as("carol"), direct("alice"))
			w.equal("nothing was created", answer(err), "404 conversation_not_found")
			if how != "trimmed" {
				_, err := w.Conversation(w.ctx, as("bob"), direct("alice"))
				w.equal("nothing was restored", answer(err), "404 conversation_not_found")
			}
			w.equal("the client_id x of others", w.trySend("bob", direct("alice"), d), "ok")

			w.pass(7 * day)
			w.forget(0)
			w.equal("to the millisecond", try(direct("bob"), d), "410 message_gone")
			w.pass(time.Millisecond)
			w.forget(1)
			w.equal("in the end", try(direct("bob"), d), "ok")
			w.forget(0)
		})
	}
}

// A message that still exists, erased or not, is returned as usual.
func TestRetryOfExistingMessage(t *testing.T) {
	w := forgetful(t)
	d := text("secret")
	d.ClientID = "x"
	first, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
	w.must(err)
	_, err = w.Revoke(w.ctx, as("alice"), first.Message.ID, im.RevokeNote{})
	w.must(err)
	again, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
	w.must(err)
	w.equal("the tombstone", []any{again.Again, again.Message.ID, again.Message.State}, []any{true, first.Message.ID, im.Revoked})
	w.pass(3*day + time.Second) // past retention, and not trimmed yet
	again, err = w.Send(w.ctx, as("alice"), direct("bob"), d)
	w.must(err)
	w.equal("past retention", []any{again.Again, again.Message.ID}, []any{true, first.Message.ID})
	w.equal("in another conversation", w.trySend("alice", direct("carol"), d), "409 client_id_reused")
}

// Permissions are checked first: a user who may not send learns nothing about a client_id.
func TestRetryByABlockedUser(t *testing.T) {
	w := forgetful(t)
	d := text("secret")
	d.ClientID = "x"
	sent, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
	w.must(err)
	ways["purged"](w, sent.Message.Conversation)
	w.must(w.PutBlock(w.ctx, as("bob"), "alice"))
	w.equal("blocked", w.trySend("alice", direct("bob"), d), "403 blocked")
}

// Repeating an import stores nothing again, whichever key its lines have.
func TestRepeatedImportOfATrimmedMessage(t *testing.T) {
	for how, remove := range ways {
		for kind, group := range map[string]bool{"direct": false, "group": true} {
			t.Run(how+" "+kind, func(t *testing.T) {
				w := forgetful(t)
				at := "@bob"
				if group {
					at = w.group(im.HistoryAll, "bob", "alice").String()
				}
				line := func(body string, edit func(*im.ImportMessage)) im.ImportMessage {
					return w.old(2*day, func(m *im.ImportMessage) {
						m.Conversation, m.Body = at, []byte(`{"text":"`+body+`"}`)
						edit(m)
					})
				}
				ids := im.IDs{}
				id := func() string { return ids.Next(w.clock()).String() }
				lines := []im.ImportMessage{
					line("by id", func(m *im.ImportMessage) { m.ID = id() }),
					line("by client_id", func(m *im.ImportMessage) { m.ClientID = "easemob:1" }),
					line("by time", func(m *im.ImportMessage) { m.CreatedAt = m.CreatedAt.Add(time.Millisecond) }),
					line("by an id that is not kept", func(m *im.ImportMessage) {
						m.ID, m.CreatedAt = im.ID(m.CreatedAt.UnixMilli()<<21|9).String(), m.CreatedAt.Add(2*time.Millisecond)
					}),
					line("by id and client_id", func(m *im.ImportMessage) {
						m.ID, m.ClientID, m.CreatedAt = id(), "b", m.CreatedAt.Add(3*time.Millisecond)
					}),
				}
				stored := w.imports(lines...)
				for i, r := range w.imports(lines...) {
					w.equal("there already", []any{r.Again, r.ID}, []any{true, stored[i].ID})
				}
				conversation := w.stored(stored[0].ID).Conversation
				remove(w, conversation)
				want := "410 message_gone"
				if group && how != "trimmed" {
					want = "404 conversation_not_found" // a deleted group no longer exists
				}
				for range 2 {
					for i, m := range lines {
						w.equal(string(m.Body), w.tryImport(m), want)
						if group {
							m.Conversation = "@bob"
							if i != 2 && i != 3 { // without ids, it is a different message there
								w.equal(string(m.Body)+" elsewhere", w.tryImport(m), "410 message_gone")
							}
						}
					}
					w.must(w.Purge(w.ctx))
				}
				if !group && how != "trimmed" {
					_, err := w.Conversation(w.ctx, as("bob"), direct("alice"))
					w.equal("nothing was created", answer(err), "404 conversation_not_found")
					fresh := line("never seen", func(m *im.ImportMessage) { m.CreatedAt = m.CreatedAt.Add(time.Second) })
					w.equal("a message that was not stored", w.tryImport(fresh), "ok")
					w.equal("by time, into the new one", w.tryImport(lines[2]), "410 message_gone")
				}
				w.pass(7*day + time.Millisecond)
				n, err := w.Forget(w.ctx)
				w.must(err)
				w.equal("forgotten", n >= len(lines), true)
				for _, m := range lines {
					m.CreatedAt = w.clock() // otherwise it is past retention
					m.Conversation = "@bob"
					w.equal(string(m.Body)+" in the end", w.tryImport(m), "ok")
				}
			})
		}
	}
}

// Inserting is one line of an import.
func TestRepeatedInsertOfATrimmedMessage(t *testing.T) {
	for how, remove := range ways {
		t.Run(how, func(t *testing.T) {
			w := forgetful(t)
			m := w.old(time.Hour)
			stored, _, err := w.Insert(w.ctx, root, m)
			w.must(err)
			remove(w, stored.Conversation)
			_, _, err = w.Insert(w.ctx, root, m)
			w.equal("again", answer(err), "410 message_gone")
		})
	}
}

// An interrupted trim remembers exactly the messages that it has trimmed.
func TestInterruptedTrimming(t *testing.T) {
	const messages = 250
	w := forgetful(t)
	var drafts []im.Draft
	var conversation im.ID
	for i := range messages {
		d := text("%d", i)
		d.ClientID = d.ClientID + string(d.Body)
		sent, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
		w.must(err)
		drafts, conversation = append(drafts, d), sent.Message.Conversation
	}
	w.pass(3*day + time.Second)
	var left int64
	w.must(w.store.Write(w.ctx, func(tx im.Tx) error {
		step, err := tx.Trim(conversation, w.clock().Add(-3*day), 100, w.clock())
		left = step.FirstSeq
		return err
	}))
	for i, d := range drafts {
		want := "410 message_gone"
		if int64(i+1) >= left {
			want = "ok" // it still exists, so it is the answer
		}
		w.equal(d.ClientID, w.trySend("alice", direct("bob"), d), want)
	}
}

// Forgetting takes bounded steps.
func TestForgetInBatches(t *testing.T) {
	const messages = 1100
	w := forgetful(t)
	var batch []im.ImportMessage
	for i := range messages {
		batch = append(batch, w.old(time.Hour, func(m *im.ImportMessage) { m.CreatedAt = m.CreatedAt.Add(time.Duration(i) * time.Millisecond) }))
	}
	w.imports(batch...)
	ways["trimmed"](w, 0)
	w.pass(7*day + time.Millisecond)
	writes := &countedStore{Store: w.store}
	n, err := im.NewService(writes, im.DefaultPolicy(), w.clock).Forget(w.ctx)
	w.must(err)
	w.equal("forgotten", n, messages)
	w.equal("in steps", writes.writes >= messages/100, true)
}

// forget runs the job and checks the number of keys that it forgets.
func (w *world) forget(want int) {
	w.Helper()
	n, err := w.Forget(w.ctx)
	w.must(err)
	if want > 0 && n > 1 {
		n = 1 // a direct conversation that was deleted is forgotten with its messages
	}
	w.equal("forgotten", n, want)
}

func (w *world) trySend(user im.UserID, to im.ConversationRef, d im.Draft) string {
	_, err := w.Send(w.ctx, as(user), to, d)
	return answer(err)
}

// tryImport imports one message.
func (w *world) tryImport(m im.ImportMessage) string {
	w.Helper()
	results, err := w.Import(w.ctx, root, []im.Prepared{w.PrepareMessage(m)})
	w.must(err)
	if results[0].Err != nil {
		return answer(results[0].Err)
	}
	return "ok"
}
