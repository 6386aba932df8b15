package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// site is a data directory with a service on it, and a directory of backups.
type site struct {
	testing.TB
	data, backups string
	options       Options
	policy        im.Policy
	advanced      atomic.Int64 // the time by which the clock was advanced

	store im.Store
	*im.Service
	conversation im.ConversationRef
}

func newSite(t testing.TB) *site {
	s := &site{
		TB: t, data: filepath.Join(t.TempDir(), "data"), backups: filepath.Join(t.TempDir(), "backups"),
		policy: im.DefaultPolicy(),
	}
	s.policy.RevokeWindow, s.policy.BurnAny = 0, true
	s.policy.Retention = time.Hour
	s.options = Options{DataDir: s.data, Synchronous: "normal", ReadLimit: time.Minute, Now: s.clock, Logger: slog.New(slog.DiscardHandler)}
	s.open()
	t.Cleanup(s.close)
	c, err := s.CreateGroup(t.Context(), alice, im.GroupDraft{Name: "here", Members: []im.UserID{"bob"}})
	s.must(err)
	s.conversation = im.ConversationRef{ID: c.ID}
	return s
}

var alice, bob = im.Actor{User: "alice"}, im.Actor{User: "bob"}

// clock is also called by goroutines of the store.
func (s *site) clock() time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(s.advanced.Load()))
}

// advance advances the clock.
func (s *site) advance(d time.Duration) { s.advanced.Add(int64(d)) }

// step runs a part of a test as a subtest on the same site. It ends the test if it fails,
// because the next steps depend on it.
func (s *site) step(t *testing.T, name string, fn func(t *testing.T)) {
	t.Helper()
	outer := s.TB
	ok := t.Run(name, func(t *testing.T) {
		s.TB = t
		fn(t)
	})
	s.TB = outer
	if !ok {
		t.FailNow()
	}
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) open() {
	s.Helper()
	s.must(s.tryOpen())
}

func (s *site) tryOpen() (err error) {
	s.Helper()
	if s.store, err = Open(context.Background(), "", s.options); err == nil {
		s.Service = im.NewService(s.store, s.policy, s.clock)
	} else {
		s.store = nil
	}
	return err
}

func (s *site) close() {
	s.Helper()
	if s.store != nil {
		s.must(s.store.Close())
		s.store = nil
	}
}

func (s *site) send(text string) im.Message {
	s.Helper()
	return s.sendTo(s.conversation, text)
}

func (s *site) sendTo(to im.ConversationRef, text string) im.Message {
	s.Helper()
	body, err := json.Marshal(map[string]string{"text": text})
	s.must(err)
	sent, err := s.Send(context.Background(), alice, to, im.Draft{ClientID: "c-" + text, Type: im.Text, Body: body})
	s.must(err)
	return sent.Message
}

func (s *site) backup() string {
	s.Helper()
	b, err := s.store.(im.Backuper).Backup(context.Background(), s.backups, nil, nil)
	s.must(err)
	s.advance(time.Second)
	return b.Path
}

// restore restores a backup and opens it.
func (s *site) restore(file, keysFrom string) {
	s.Helper()
	s.close()
	s.advance(time.Second)
	_, err := Restore(context.Background(), "", s.options, Restoring{File: file, KeysFrom: keysFrom})
	s.must(err)
	s.open()
}

// waitShredded waits until the keys of all erased content are shredded.
func (s *site) waitShredded() {
	s.Helper()
	await.Until(s, "the keys of erased content are shredded", func() bool {
		n, _ := s.store.Unshredded()
		return n == 0
	})
}

// checkState checks the state of a message for bob; 0 means that it does not exist.
func (s *site) checkState(m im.Message, want im.State) {
	s.Helper()
	got, err := s.Message(context.Background(), bob, m.ID)
	switch {
	case want == 0 && err == nil:
		s.Errorf("%s exists and is %v, want it not to exist", m.ClientID, got.State)
	case want == 0:
	case err != nil:
		s.Errorf("%s: %v", m.ClientID, err)
	case got.State != want || (got.Content != nil) != (want == im.Active):
		s.Errorf("%s is %v with content %t, want %v", m.ClientID, got.State, got.Content != nil, want)
	}
}

// sentMessages are sent before a backup. After it, all except stays are erased, each in the way
// that its field names.
type sentMessages struct {
	stays, revoked, burned, expired, trimmed im.Message
	direct                                   im.Message
}

func (s *site) sendBefore() (e sentMessages) {
	s.Helper()
	e.trimmed = s.send("trimmed")
	s.advance(45 * time.Minute)
	e.stays, e.revoked = s.send("stays"), s.send("revoked")
	e.direct = s.sendTo(im.ConversationRef{Peer: "bob"}, "burned")
	e.burned = e.direct
	sent, err := s.Send(context.Background(), alice, s.conversation, im.Draft{
		ClientID: "c-expired", Type: im.Text, Body: json.RawMessage(`{"text":"expired"}`), ExpireAfter: 10 * time.Minute,
	})
	s.must(err)
	e.expired = sent.Message
	return e
}

func (s *site) eraseAfter(e sentMessages) {
	s.Helper()
	ctx := context.Background()
	_, err := s.Revoke(ctx, alice, e.revoked.ID, im.RevokeNote{Postscript: "sorry"})
	s.must(err)
	_, err = s.Burn(ctx, bob, e.burned.ID)
	s.must(err)
	s.advance(20 * time.Minute)
	_, _, err = s.EraseDue(ctx)
	s.must(err)
	s.must(s.Trim(ctx, time.Time{}, nil))
	s.rename("another name")
	s.waitShredded()
}

func (s *site) rename(name string) {
	s.Helper()
	_, err := s.UpdateConversation(context.Background(), alice, s.conversation, im.ConversationPatch{Name: &name})
	s.must(err)
}

func (s *site) checkName(want string) {
	s.Helper()
	c, err := s.Conversation(context.Background(), alice, s.conversation)
	s.must(err)
	if c.Name != want {
		s.Errorf("the conversation is called %q, want %q", c.Name, want)
	}
}

func (s *site) checkErased(e sentMessages) {
	s.Helper()
	s.checkState(e.stays, im.Active)
	s.checkState(e.revoked, im.Revoked)
	s.checkState(e.burned, im.Burned)
	s.checkState(e.expired, im.Expired)
	s.checkState(e.trimmed, 0)
	// Retries must not store an erased message again.
	for _, m := range []im.Message{e.revoked, e.expired, e.trimmed} {
		text := strings.TrimPrefix(m.ClientID, "c-")
		sent, err := s.Send(context.Background(), alice, s.conversation, im.Draft{
			ClientID: m.ClientID, Type: im.Text, Body: json.RawMessage(fmt.Sprintf(`{"text":%q}`, text)),
		})
		var refusal *im.Error
		gone := errors.As(err, &refusal) && refusal.Kind == im.Gone
		if !gone && (err != nil || !sent.Again || sent.Message.Content != nil) {
			s.Errorf("%s was sent again: %+v, %v", m.ClientID, sent, err)
		}
	}
}

func writeDir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		t.Fatal(err)
	}
	writeDir(t, to)
	for _, e := range entries {
		if e.Type().IsRegular() {
			writeFile(t, filepath.Join(to, e.Name()), readFile(t, filepath.Join(from, e.Name())))
		}
	}
}
