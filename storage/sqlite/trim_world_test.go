package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imapi/imapi/im"
)

// what has become of a message.
const (
	stays = iota
	tombstone
	removed
)

// spoken is a secret in one of many conversations.
type spoken struct {
	*secret
	in   im.ID
	at   int64 // created, in milliseconds
	is   int
	slot im.Slot
	// note is the marker of what was left in its place.
	note string
}

// town is a store with many conversations, of which some keep their messages and
// others do not, and what must be in it.
type town struct {
	testing.TB
	*Store
	random        *rand.Rand
	traces        *traces
	conversations []im.ID
	said          []*spoken
	gone          map[im.ID]bool // conversations that were deleted
	next          im.ID
}

func newTown(tb testing.TB, s *Store, seed uint64) *town {
	return &town{
		TB: tb, Store: s, random: rand.New(rand.NewPCG(seed, 62)), traces: newTraces(), next: firstID, gone: map[im.ID]bool{},
	}
}

func (w *town) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *town) write(fn func(*tx) error) {
	w.Helper()
	w.must(w.Write(context.Background(), func(t im.Tx) error { return fn(t.(*tx)) }))
}

// found makes a conversation of alice and bob.
func (w *town) found() im.ID {
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

// say stores messages, some as long runs in one conversation, as who talks does,
// some one by one.
func (w *town) say(n int) {
	w.Helper()
	var open []im.ID
	for _, id := range w.conversations {
		if !w.gone[id] {
			open = append(open, id)
		}
	}
	list := make([]*spoken, n)
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
		list[i] = &spoken{secret: s, in: in, at: int64(s.id)}
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
	w.said = append(w.said, list...)
	rows := sealedOf(w, w.Store)
	for _, m := range list {
		m.slot = im.Slot(rows[m.id].slot)
		w.traces.add(m.marker)
	}
}

// pick returns messages that stay and fulfil a condition.
func (w *town) pick(is func(*spoken) bool) (list []*spoken) {
	for _, m := range w.said {
		if m.is == stays && is(m) {
			list = append(list, m)
		}
	}
	return list
}

// erase takes messages back, and leaves notes in the place of some.
func (w *town) erase(list []*spoken) {
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
			m.is = tombstone
		}
	}
}

// remove notes that messages are gone whole.
func (w *town) remove(is func(*spoken) bool) {
	for _, m := range w.said {
		if m.is != removed && is(m) {
			m.is = removed
		}
	}
}

// trim removes what a conversation has from before a time.
func (w *town) trim(id im.ID, before int64) {
	w.Helper()
	for done := false; !done; {
		w.write(func(t *tx) error {
			step, err := t.Trim(id, fromMillis(before), 100, fromMillis(before))
			done = step.Done
			return err
		})
	}
	w.remove(func(m *spoken) bool { return m.in == id && m.at < before })
}

// purgeRest removes what is left of a conversation that was deleted.
func (w *town) purgeRest(id im.ID) {
	w.Helper()
	for done := false; !done; {
		w.write(func(t *tx) (err error) {
			done, err = t.Purge(id, 100, fromMillis(0))
			return err
		})
	}
	w.remove(func(m *spoken) bool { return m.in == id })
}

// These count what does not fit together.
const (
	missealed = `SELECT count(*) FROM messages WHERE (sealed IS NULL) <> (state <> 1) OR slot IS NULL
		OR (note IS NULL) <> (note_slot IS NULL)`
	misknown = `SELECT count(*) FROM conversations c
		WHERE first_seq <> coalesce((SELECT min(seq) FROM messages WHERE conversation_id = c.id), last_seq + 1)
		OR oldest_at IS NOT (SELECT min(created_at) FROM messages WHERE conversation_id = c.id)`
)

// hold holds all messages against what they must be, and their keys.
func (w *town) hold() {
	w.Helper()
	for part := range slices.Chunk(w.said, 200) {
		w.must(w.View(context.Background(), func(r im.Reader) error {
			for _, m := range part {
				if m.is == removed {
					if _, err := r.Message(m.id); !errors.Is(err, im.ErrNotFound) {
						return fmt.Errorf("%v is there: %w", m.id, err)
					}
					continue
				}
				if err := m.check(r, m.is == tombstone); err != nil {
					return err
				}
				if got, err := r.Message(m.id); err != nil || got.Erased != nil && got.Erased.Postscript != m.note {
					return fmt.Errorf("%v has %+v in its place: %w", m.id, got.Erased, err)
				}
			}
			return nil
		}))
	}
	shredded(w, w.Store)
	for _, m := range w.said {
		_, err := w.sealer.keys.Key(m.slot)
		code, gone := im.ShredCode(0), (*im.ShreddedError)(nil)
		if errors.As(err, &gone) {
			code = gone.Code
		} else {
			w.must(err)
		}
		if want := []im.ShredCode{stays: 0, tombstone: im.ShredRevoked, removed: im.ShredRemoved}[m.is]; code != want {
			w.Errorf("the key of %v is %v, not %v", m.id, code, want)
		}
	}
	for what, query := range map[string]string{
		"messages are not sealed as their states say": missealed,
		"conversations do not know what is left":      misknown,
		"events are of messages that are gone": `SELECT count(*) FROM events e WHERE message_id IS NOT NULL
			AND pos < (SELECT max(pos) FROM events) AND NOT EXISTS (SELECT 1 FROM messages WHERE id = e.message_id)`,
		"receipts are for messages that are gone": `SELECT count(*) FROM seq_ranges r CROSS JOIN conversations c ON c.id = r.conversation_id
			WHERE r.to_seq < c.first_seq`,
	} {
		if n := w.number(query); n != 0 {
			w.Errorf("%d %s", n, what)
		}
	}
	if w.Failed() {
		w.FailNow()
	}
}

// number is what a query returns.
func (w *town) number(query string) (n int64) {
	w.Helper()
	w.must(w.View(context.Background(), func(r im.Reader) error {
		_, err := r.(*reader).session.row(query, nil, &n)
		return err
	}))
	return n
}

// intact has SQLite check the file, on a connection of its own.
func (w *town) intact() {
	w.Helper()
	session, err := openSession(w.path, w.options, setup)
	w.must(err)
	err = session.query("PRAGMA integrity_check", nil, func(rows *sql.Rows) (bool, error) {
		var says string
		err := rows.Scan(&says)
		if says != "ok" {
			w.Error(says)
		}
		return true, err
	})
	w.must(errors.Join(err, session.close()))
}
