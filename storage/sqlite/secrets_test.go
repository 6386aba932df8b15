package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imapi/imapi/im"
)

// testConversation is the conversation of these tests, and firstID the id of its first message.
const (
	testConversation im.ID = 7
	firstID          im.ID = 1000
)

// secret is a message with a marker.
type secret struct {
	id      im.ID
	marker  string
	content *im.Content
	// erased is set once its erasure is acknowledged.
	erased atomic.Bool
}

// secrets returns messages of mixed sizes: tiny ones, some of up to a page, and some of many pages.
func secrets(random *rand.Rand, n int) []*secret {
	list := make([]*secret, n)
	for i := range list {
		size := 30 + random.IntN(900)
		switch p := random.IntN(200); {
		case p < 10:
			size = 1 + random.IntN(30)
		case p < 60:
			size = 1000 + random.IntN(3100)
		case p < 66:
			size = 4096 + random.IntN(30_000)
		case p == 66:
			size = 256 << 10
		}
		m := newMarker(random)
		list[i] = &secret{id: firstID + im.ID(i), marker: m, content: marked(m, size)}
	}
	return list
}

// createConversation creates testConversation.
func createConversation(tb testing.TB, s *Store) {
	tb.Helper()
	err := s.Write(context.Background(), func(tx im.Tx) error {
		if err := tx.CreateConversation(im.Conversation{ID: testConversation, Kind: im.Group, History: im.HistoryAll}); err != nil {
			return err
		}
		return tx.AddMember(im.Membership{Conversation: testConversation, User: "alice", Role: im.Owner}, 1)
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// sendAll stores messages, 50 per transaction.
func sendAll(tb testing.TB, s *Store, list []*secret) {
	tb.Helper()
	for part := range slices.Chunk(list, 50) {
		err := s.Write(context.Background(), func(tx im.Tx) error {
			for _, m := range part {
				if err := insertSecret(tx, m); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func insertSecret(tx im.Tx, m *secret) error {
	_, err := tx.InsertMessage(im.Message{
		ID: m.id, Conversation: testConversation, Sender: "alice", ClientID: fmt.Sprint(m.id), Type: im.Text, State: im.Active,
		CreatedAt: fromMillis(int64(m.id)), Content: m.content,
	})
	return err
}

// eraseSecret erases a message.
func eraseSecret(s *Store, m *secret) error {
	return s.Write(context.Background(), func(tx im.Tx) error {
		done, err := tx.Erase(m.id, im.Erasure{State: im.Revoked, At: fromMillis(1), By: "alice"}, fromMillis(2))
		if err == nil && !done {
			err = fmt.Errorf("%d was not active", m.id)
		}
		return err
	})
}

// eraseAll erases messages in order, several concurrently.
func eraseAll(tb testing.TB, s *Store, list []*secret) {
	tb.Helper()
	next := make(chan *secret)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for m := range next {
				if err := eraseSecret(s, m); err != nil {
					tb.Error(err)
				}
				m.erased.Store(true)
			}
		})
	}
	for _, m := range list {
		next <- m
	}
	close(next)
	group.Wait()
}

// checkSecrets checks that each message is either unchanged or a tombstone without content.
func checkSecrets(tb testing.TB, s *Store, list []*secret) {
	tb.Helper()
	for part := range slices.Chunk(list, 50) {
		err := s.View(context.Background(), func(r im.Reader) error {
			for _, m := range part {
				if err := m.check(r, m.erased.Load()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	err := s.View(context.Background(), func(r im.Reader) error {
		var n int
		_, err := r.(*reader).session.row(countMissealed, nil, &n)
		if n != 0 {
			tb.Errorf("%d messages have sealed content that does not match their state", n)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// check reads a message. If erased is set it must be a tombstone.
func (s *secret) check(r im.Reader, erased bool) error {
	m, err := r.Message(s.id)
	switch {
	case err != nil:
		return err
	case m.State == im.Active && erased:
		return fmt.Errorf("%d is active after it was erased", s.id)
	case m.State == im.Active && !bytes.Equal(m.Content.Sent, s.content.Sent):
		return fmt.Errorf("%d has other content", s.id)
	case m.State != im.Active && (m.Content != nil || m.Erased == nil):
		return fmt.Errorf("%d is an incomplete tombstone", s.id)
	}
	return nil
}
