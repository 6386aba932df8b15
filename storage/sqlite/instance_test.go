package sqlite

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestLastID checks that a reopened store knows the greatest id of a message.
func TestLastID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	expect := func(want im.ID) {
		t.Helper()
		s := openAt(t, path, Options{})
		if got := s.Instance().LastID; got != want {
			t.Errorf("last id %d, want %d", got, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	expect(0)
	s := openAt(t, path, Options{})
	createConversation(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	expect(0) // ids of conversations do not count, because some are random
	s = openAt(t, path, Options{})
	err := s.Write(t.Context(), func(tx im.Tx) error {
		_, err := tx.InsertMessage(im.Message{ID: firstID + 7, Conversation: testConversation, Sender: "alice", Type: im.Text, State: im.Active})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	expect(firstID + 7)
}

// TestClockSeen checks that a reopened store knows the last time of the clock, even if it
// went back.
func TestClockSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	want := time.Time{}
	for _, at := range []int64{5, 9, 7} {
		s := openAt(t, path, Options{})
		if got := s.Instance().ClockSeen; !got.Equal(want) {
			t.Errorf("ClockSeen = %v, want %v", got, want)
		}
		want = fromMillis(at)
		err := s.Write(t.Context(), func(tx im.Tx) error { return tx.PutClockSeen(want) })
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
