package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imapi/imapi/im"
)

// The state that a message must have.
const (
	active = iota
	erased
	deleted
)

// trackedMessage is a message in one of many conversations, and its expected state.
type trackedMessage struct {
	*secret
	in   im.ID
	at   int64 // time of creation, in milliseconds
	is   int
	slot im.Slot
	// note is the marker in its note.
	note string
}

// trimWorld is a store with many conversations, some of which are trimmed or deleted, and
// the messages that must be in it.
type trimWorld struct {
	testing.TB
	*Store
	random        *rand.Rand
	traces        *traces
	conversations []im.ID
	messages      []*trackedMessage
	deletedGroups map[im.ID]bool // deleted conversations
	next          im.ID
}

func newTrimWorld(tb testing.TB, s *Store, seed uint64) *trimWorld {
	return &trimWorld{
		TB: tb, Store: s, random: rand.New(rand.NewPCG(seed, 62)), traces: newTraces(), next: firstID, deletedGroups: map[im.ID]bool{},
	}
}

func (w *trimWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *trimWorld) write(fn func(*tx) error) {
	w.Helper()
	w.must(w.Write(context.Background(), func(t im.Tx) error { return fn(t.(*tx)) }))
}

// createGroup creates a group of alice and bob.
func (w *trimWorld) createGroup() im.ID {
	w.Helper()
	id := im.ID(100 + len(w.conversations))
	w.write(func(t *tx) error {
		if err := t.CreateConversation(im.Conversation{ID: id, Kind: im.Group, History: im.HistoryAll}); err != nil {
			return err
		}
		pos, err := t.Append(im.Event{Type: im.ConversationCreated, Conversation: id, Actor: "alice"})
		if err != nil {
			return err
		}
		for _, user := range []im.UserID{"alice", "bob"} {
			if err := t.AddMember(im.Membership{Conversation: id, User: user, Role: im.Member}, pos); err != nil {
				return err
			}
		}
		return nil
	})
	w.conversations = append(w.conversations, id)
	return id
}

// send stores messages, some in long runs in one conversation.
func (w *trimWorld) send(n int) {
	w.Helper()
	var open []im.ID
	for _, id := range w.conversations {
		if !w.deletedGroups[id] {
			open = append(open, id)
		}
	}
	list := make([]*trackedMessage, n)
	in, run := im.ID(0), 0
	for i, s := range secrets(w.random, n) {
		if run == 0 {
			in, run = open[w.random.IntN(len(open))], 1
			if w.random.IntN(4) == 0 {
				run = w.random.IntN(400)
			}
		}
		run = max(run-1, 0)
		s.id = w.next
		w.next++
		list[i] = &trackedMessage{secret: s, in: in, at: int64(s.id)}
	}
	for part := range slices.Chunk(list, 50) {
		w.write(func(t *tx) error {
			for _, m := range part {
				seq, err := t.InsertMessage(im.Message{
					ID: m.id, Conversation: m.in, Sender: "alice", Type: im.Text, State: im.Active,
					CreatedAt: fromMillis(m.at), Content: m.content,
				})
				if err != nil {
					return err
				}
				_, err = t.Append(im.Event{
					Type: im.MessageCreated, At: fromMillis(m.at), Conversation: m.in, MessageID: m.id, Seq: seq, Actor: "alice",
				})
				if err != nil {
					return err
				}
				if m.id%3 == 0 {
					if _, err := t.PutReceipt(im.Read, m.in, "bob", im.SeqRange{From: seq, To: seq}, fromMillis(m.at)); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	w.messages = append(w.messages, list...)
	rows := sealedOf(w, w.Store)
	for _, m := range list {
		m.slot = im.Slot(rows[m.id].slot)
		w.traces.add(m.marker)
	}
}

// activeWhere returns the active messages that meet a condition.
func (w *trimWorld) activeWhere(is func(*trackedMessage) bool) (list []*trackedMessage) {
	for _, m := range w.messages {
		if m.is == active && is(m) {
			list = append(list, m)
		}
	}
	return list
}

// erase erases messages, some with notes.
func (w *trimWorld) erase(list []*trackedMessage) {
	w.Helper()
	for part := range slices.Chunk(list, 20) {
		w.write(func(t *tx) error {
			for _, m := range part {
				e := im.Erasure{State: im.Revoked, At: fromMillis(m.at), By: "alice"}
				if m.id%2 == 0 {
					if m.note == "" {
						m.note = newMarker(w.random)
					}
					w.traces.add(m.note)
					e.Postscript = m.note
				}
				if done, err := t.Erase(m.id, e, fromMillis(2)); err != nil || !done {
					return fmt.Errorf("%v: %v, %w", m.id, done, err)
				}
			}
			return nil
		})
		for _, m := range part {
			m.is = erased
		}
	}
}

// markDeleted records that messages were deleted.
func (w *trimWorld) markDeleted(is func(*trackedMessage) bool) {
	for _, m := range w.messages {
		if m.is != deleted && is(m) {
			m.is = deleted
		}
	}
}

// trim trims a conversation.
func (w *trimWorld) trim(id im.ID, before int64) {
	w.Helper()
	for done := false; !done; {
		w.write(func(t *tx) error {
			step, err := t.Trim(id, fromMillis(before), 100, fromMillis(before))
			done = step.Done
			return err
		})
	}
	w.markDeleted(func(m *trackedMessage) bool { return m.in == id && m.at < before })
}

// purge purges a deleted conversation.
func (w *trimWorld) purge(id im.ID) {
	w.Helper()
	for done := false; !done; {
		w.write(func(t *tx) (err error) {
			done, err = t.Purge(id, 100, fromMillis(0))
			return err
		})
	}
	w.markDeleted(func(m *trackedMessage) bool { return m.in == id })
}

// These statements count inconsistent rows.
const (
	countMissealed = `SELECT count(*) FROM messages WHERE (sealed IS NULL) <> (state <> 1) OR slot IS NULL
		OR (note IS NULL) <> (note_slot IS NULL)`
	countStale = `SELECT count(*) FROM conversations c
		WHERE first_seq <> coalesce((SELECT min(seq) FROM messages WHERE conversation_id = c.id), last_seq + 1)
		OR oldest_at IS NOT (SELECT min(created_at) FROM messages WHERE conversation_id = c.id)`
)

// check compares all messages and their keys with their expected states.
func (w *trimWorld) check() {
	w.Helper()
	for part := range slices.Chunk(w.messages, 200) {
		w.must(w.View(context.Background(), func(r im.Reader) error {
			for _, m := range part {
				if m.is == deleted {
					if _, err := r.Message(m.id); !errors.Is(err, im.ErrNotFound) {
						return fmt.Errorf("%v exists: %w", m.id, err)
					}
					continue
				}
				if err := m.check(r, m.is == erased); err != nil {
					return err
				}
				if got, err := r.Message(m.id); err != nil || got.Erased != nil && got.Erased.Postscript != m.note {
					return fmt.Errorf("%v has the erasure %+v: %w", m.id, got.Erased, err)
				}
			}
			return nil
		}))
	}
	waitShredded(w, w.Store)
	for _, m := range w.messages {
		_, err := w.sealer.keys.Key(m.slot)
		code, shredded := im.ShredCode(0), (*im.ShreddedError)(nil)
		if errors.As(err, &shredded) {
			code = shredded.Code
		} else {
			w.must(err)
		}
		if want := []im.ShredCode{active: 0, erased: im.ShredRevoked, deleted: im.ShredRemoved}[m.is]; code != want {
			w.Errorf("the key of %v is %v, want %v", m.id, code, want)
		}
	}
	for what, query := range map[string]string{
		"messages have sealed content that does not match their state": countMissealed,
		"conversations have a wrong first seq or oldest time":          countStale,
		"events of deleted messages remain": `SELECT count(*) FROM events e WHERE message_id IS NOT NULL
			AND pos < (SELECT max(pos) FROM events) AND NOT EXISTS (SELECT 1 FROM messages WHERE id = e.message_id)`,
		"receipts of trimmed messages remain": `SELECT count(*) FROM seq_ranges r CROSS JOIN conversations c ON c.id = r.conversation_id
			WHERE r.to_seq < c.first_seq`,
	} {
		if n := w.count(query); n != 0 {
			w.Errorf("%d %s", n, what)
		}
	}
	if w.Failed() {
		w.FailNow()
	}
}

// count returns the result of a query.
func (w *trimWorld) count(query string) (n int64) {
	w.Helper()
	w.must(w.View(context.Background(), func(r im.Reader) error {
		_, err := r.(*reader).session.row(query, nil, &n)
		return err
	}))
	return n
}

// checkIntegrity runs SQLite's integrity check on a separate connection.
func (w *trimWorld) checkIntegrity() {
	w.Helper()
	session, err := openSession(w.path, w.options, setup)
	w.must(err)
	err = session.query("PRAGMA integrity_check", nil, func(rows row) (bool, error) {
		var result string
		err := rows.Scan(&result)
		if result != "ok" {
			w.Error(result)
		}
		return true, err
	})
	w.must(errors.Join(err, session.close()))
}
