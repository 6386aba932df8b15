package handlers_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/storage"
)

// heldStore blocks the reads of one user, each within its snapshot.
type heldStore struct {
	im.Store
	user    im.UserID
	entered chan struct{}
	leave   chan struct{}
}

func (s *heldStore) View(ctx context.Context, fn func(im.Reader) error) error {
	return s.Store.View(ctx, func(r im.Reader) error {
		if im.CallerOf(ctx).User == s.user {
			s.entered <- struct{}{}
			<-s.leave
		}
		return fn(r)
	})
}

// TestOneUserDoesNotStarveTheOthers makes one user read as much as they may: others can read at the
// same time, and reads beyond the user's share are refused in time.
func TestOneUserDoesNotStarveTheOthers(t *testing.T) {
	store, err := storage.Open(t.Context(), "", storage.Options{
		DataDir: t.TempDir(), Synchronous: "normal", ReadLimit: await.Limit,
	})
	if err != nil {
		t.Fatal(err)
	}
	held := &heldStore{Store: store, user: "mallory", entered: make(chan struct{}), leave: make(chan struct{})}
	w := newWorldOn(t, held, func(_ *handlers.Options, _ *events.Options, p *im.Policy) { p.ReadWait = 10 * time.Millisecond })

	const search = "/v1/messages/search?q=needle"
	answers := make(chan answer)
	for range store.Readers() / 2 {
		go func() { answers <- w.do("mallory", http.MethodGet, search, "") }()
		<-held.entered
	}
	a := w.do("mallory", http.MethodGet, search, "")
	if a.status != http.StatusServiceUnavailable || a.code(t) != "overloaded" || a.header.Get("Retry-After") != "1" {
		t.Errorf("one search too many was answered %d %q, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
	}
	for _, path := range []string{"/v1/conversations", search, "/v1/unread"} {
		if a := w.do("alice", http.MethodGet, path, ""); a.status != http.StatusOK {
			t.Errorf("%s of somebody else was answered %d %s", path, a.status, a.body)
		}
	}
	close(held.leave)
	for range store.Readers() / 2 {
		if a := <-answers; a.status != http.StatusOK {
			t.Errorf("a search was answered %d %s", a.status, a.body)
		}
	}
	go func() { <-held.entered }()
	if a := w.do("mallory", http.MethodGet, search, ""); a.status != http.StatusOK {
		t.Errorf("afterwards a search was answered %d %s", a.status, a.body)
	}
}

// TestUnreadByPages checks that a user with more conversations than one answer counts gets
// the rest by the page token.
func TestUnreadByPages(t *testing.T) {
	const n = 5001
	w := newWorld(t)
	var ids im.IDs
	for made := 0; made < n; made += 667 {
		err := w.store.Write(context.Background(), func(tx im.Tx) error {
			for range min(667, n-made) {
				if err := groupWithNews(tx, ids.Next(time.Now()), ids.Next(time.Now())); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	total, path := 0.0, "/v1/unread"
	for page := 1; ; page++ {
		got := w.do("alice", http.MethodGet, path, "").json(t)
		total += got["total"].(float64)
		token, more := got["next_page_token"].(string)
		if more != (page == 1) || got["total_more"] != more {
			t.Fatalf("page %d: total_more %v, next_page_token %v", page, got["total_more"], got["next_page_token"])
		}
		if !more {
			break
		}
		path = "/v1/unread?page_token=" + token
		if a := w.do("alice", http.MethodGet, path+"&conversation_id=@mallory", ""); a.status != http.StatusBadRequest {
			t.Errorf("the token was accepted for one conversation: %d %s", a.status, a.body)
		}
	}
	if total != n {
		t.Errorf("the pages count %v, want %d", total, n)
	}
}

func groupWithNews(tx im.Tx, id, message im.ID) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	err := tx.CreateConversation(im.Conversation{
		ID: id, Kind: im.Group, Name: "g", History: im.HistoryAll, Join: im.JoinClosed, Invite: im.InviteByAdmins,
		CreatedAt: now, UpdatedAt: now,
	})
	if err != nil {
		return err
	}
	at, err := tx.Append(im.Event{Type: im.ConversationCreated, At: now, Conversation: id})
	if err != nil {
		return err
	}
	for _, user := range []im.UserID{"alice", "mallory"} {
		if err := tx.AddMember(im.Membership{Conversation: id, User: user, Role: im.Member, JoinedAt: now}, at); err != nil {
			return err
		}
	}
	content, err := im.ParseContent([]byte(`{"body":{"text":"hi"},"type":"text"}`))
	if err != nil {
		return fmt.Errorf("content: %w", err)
	}
	_, err = tx.InsertMessage(im.Message{
		ID: message, Conversation: id, Sender: "mallory", Type: im.Text, State: im.Active, CreatedAt: now, Content: content,
	})
	return err
}
