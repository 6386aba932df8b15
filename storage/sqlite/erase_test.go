package sqlite

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestDueUnreadable checks that unreadable content prevents neither its message nor later ones from
// being erased when they are due, and that the log does not quote it.
func TestDueUnreadable(t *testing.T) {
	var log bytes.Buffer
	s := openNew(t, Options{Synchronous: "normal", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	createConversation(t, s)
	err := s.Write(t.Context(), func(w im.Tx) error {
		for i := range 3 {
			m := im.Message{
				ID: firstID + im.ID(i), Conversation: testConversation, Sender: "alice", Type: im.Text, State: im.Active,
				CreatedAt: fromMillis(1), ExpiresAt: fromMillis(int64(10 + i)), Content: marked("a marker", 40),
			}
			if i == 1 {
				m.Content = &im.Content{Sent: []byte(`{"mentions":47110815}`)}
			}
			if _, err := w.InsertMessage(m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Write(t.Context(), func(w im.Tx) error {
		due, err := w.Due(fromMillis(100), 10)
		if err != nil {
			return err
		}
		if len(due) != 3 {
			t.Errorf("%d messages are due, want 3", len(due))
		}
		for i, m := range due {
			if m.ID != firstID+im.ID(i) || m.Content == nil || (m.Content.Body == nil) != (i == 1) {
				t.Errorf("due message %d is %v: %v", i, m.ID, m.Content)
			}
			at, state, _ := m.Due()
			if done, err := w.Erase(m.ID, im.Erasure{State: state, At: at}, fromMillis(100)); err != nil || !done {
				return fmt.Errorf("%v: %w", m.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if text := log.String(); strings.Count(text, "cannot be read") != 1 || strings.Contains(text, "4711") ||
		!strings.Contains(text, (firstID+1).String()) {
		t.Errorf("logged %q", text)
	}
}

// TestErasuresAfterClockSetBack checks that a client that knows all erasures up to a time
// receives later ones, even if the clock was set back.
func TestErasuresAfterClockSetBack(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	createConversation(t, s)
	clock := []int64{5000, 9000, 100, 4000, 9001}
	want := []int64{5000, 9000, 9000, 9000, 9001}
	for i, now := range clock {
		id := firstID + im.ID(i)
		err := s.Write(t.Context(), func(w im.Tx) error {
			_, err := w.InsertMessage(im.Message{ID: id, Conversation: testConversation, Sender: "alice", Type: im.Text, State: im.Active})
			if err != nil {
				return err
			}
			_, err = w.Erase(id, im.Erasure{State: im.Revoked, At: fromMillis(now)}, fromMillis(now))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := s.View(t.Context(), func(r im.Reader) error {
		page, err := r.Erasures(im.ErasureQuery{User: "alice", Since: fromMillis(9000), Limit: 10})
		var got []int64
		for _, m := range page.Items {
			got = append(got, m.Stamp.UnixMilli())
		}
		if !slices.Equal(got, want[1:]) {
			t.Errorf("%v, want %v", got, want[1:])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestUnreadIsFewStatements checks that counting takes few statements even if every other message
// was read and the rest were erased.
func TestUnreadIsFewStatements(t *testing.T) {
	const n = 10_000
	var statements atomic.Int64
	s := openNew(t, Options{Synchronous: "normal", fault: func(s *session, _ string) error {
		if s.role == reading {
			statements.Add(1)
		}
		return nil
	}})
	createConversation(t, s)
	err := s.Write(t.Context(), func(w im.Tx) error {
		tx := w.(*tx)
		for i := range n {
			id := firstID + im.ID(i)
			_, err := w.InsertMessage(im.Message{ID: id, Conversation: testConversation, Sender: "alice", Type: im.Text, State: im.Active})
			if err != nil {
				return err
			}
			if i%2 == 1 && i < n-2 {
				if _, err := w.Erase(id, im.Erasure{State: im.Revoked}, fromMillis(1)); err != nil {
					return err
				}
			}
		}
		bob, err := tx.intern("bob")
		if err != nil {
			return err
		}
		for seq := int64(3); seq <= n; seq += 2 {
			if _, err := tx.session.exec(putRange, int64(testConversation), int64(im.Read), bob, seq, seq, seq); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(r im.Reader) error {
		before, began := statements.Load(), time.Now()
		got, err := r.Unread(im.UnreadQuery{Conversation: testConversation, User: "bob", Ranges: []im.SeqRange{{From: 1, To: n}}, Now: fromMillis(2)})
		took := time.Since(began)
		if err != nil || got[0].Messages != 2 { // the first and the last
			t.Errorf("unread count is %+v, %v, want 2", got, err)
		}
		if made := statements.Load() - before; made > 12 {
			t.Errorf("%d statements, want at most 12", made)
		}
		t.Logf("counted in %v", took)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
