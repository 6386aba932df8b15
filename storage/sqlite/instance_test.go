package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/imapi/imapi/im"
)

// TestLastID: a store that is opened again knows how far ids have come.
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
	makePlace(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	expect(0) // ids of conversations do not count: some are random
	s = openAt(t, path, Options{})
	err := s.Write(t.Context(), func(tx im.Tx) error {
		_, err := tx.InsertMessage(im.Message{ID: firstID + 7, Conversation: place, Sender: "alice", Type: im.Text, State: im.Active})
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
