package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// TestReconcilingIsInterrupted makes the start after a restore fail at each statement. The next
// start must reach the same result as an uninterrupted one, with exactly one new log.
func TestReconcilingIsInterrupted(t *testing.T) {
	o := newOutdated(t)
	for n := 1; ; n += testsize.Pick(1, 3) { // each statement, or every third in a short run
		path, done := o.restore(t, n)
		o.check(t, openAt(t, path, Options{Synchronous: "normal"}), fmt.Sprintf("after %d statements", n))
		if done {
			if n < 10 {
				t.Errorf("reconciling took only %d statements", n)
			}
			return
		}
	}
}

// outdated is a backup, and the keys of a store in which more has happened since.
type outdated struct {
	backup, keys string
	asked        im.GroupDraft // created the group, which has got other texts since
	group        im.ID
	sent         []im.Message // two are revoked, two removed and two are left
	log          uint32       // of the store
	head         im.Position  // of the backup
}

func newOutdated(t *testing.T) *outdated {
	t.Helper()
	s := openAt(t, filepath.Join(t.TempDir(), "imapi.db"), Options{Synchronous: "normal"})
	service := im.NewService(s, im.DefaultPolicy(), nil)
	ctx, alice := t.Context(), im.Actor{User: "alice"}
	o := &outdated{asked: im.GroupDraft{
		ClientID: "g", Name: "before", Members: []im.UserID{"bob"}, Settings: im.ConversationPatch{Avatar: new("a picture")},
	}}
	g, err := service.CreateGroup(ctx, alice, o.asked)
	if err != nil {
		t.Fatal(err)
	}
	o.keys, o.group = filepath.Join(filepath.Dir(s.path), "keys"), g.ID
	ref := im.ConversationRef{ID: g.ID}
	for i := range 6 {
		m, err := service.Send(ctx, alice, ref, im.Draft{ClientID: fmt.Sprint("c", i), Type: im.Text, Body: json.RawMessage(`{"text":"x"}`)})
		if err != nil {
			t.Fatal(err)
		}
		o.sent = append(o.sent, m.Message)
	}
	backup, err := s.Backup(ctx, filepath.Join(t.TempDir(), "backups"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.backup, o.log, o.head = backup.Path, s.Instance().Log, s.Head()
	for _, m := range o.sent[:2] {
		if _, err := service.Revoke(ctx, alice, m.ID, im.RevokeNote{}); err != nil {
			t.Fatal(err)
		}
	}
	// Two more are deleted without a tombstone, as retention does.
	err = s.Write(ctx, func(tx im.Tx) error {
		_, err := tx.Remove(g.ID, []im.ID{o.sent[2].ID, o.sent[3].ID}, o.sent[3].CreatedAt)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.UpdateConversation(ctx, alice, ref, im.ConversationPatch{Name: new("after"), Avatar: new("another")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// restore restores the backup, and interrupts the start of the store at its nth statement. done
// reports that the start took fewer statements.
func (o *outdated) restore(t *testing.T, n int) (path string, done bool) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "imapi.db")
	copyFile(t, filepath.Join(dir, "keys"), o.keys)
	if _, err := Replace(t.Context(), path, Replacing{Backup: o.backup, Keys: func(im.StoreID) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(n))
	s, err := Open(t.Context(), path, withKeys(path, Options{Synchronous: "normal", Logger: quiet, fault: func(s *session, _ string) error {
		if s.role == writing && left.Add(-1) <= 0 {
			return errors.New("interrupted")
		}
		return nil
	}}))
	if err != nil {
		return path, false
	}
	left.Store(math.MaxInt64)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path, true
}

// check checks that the restored store is reconciled with the keys: what they no longer have is
// erased, and the erasures are published in a new log.
func (o *outdated) check(t *testing.T, s *Store, when string) {
	t.Helper()
	states := map[im.ID]im.State{}
	for _, x := range sealedIn(t, s) {
		if f := x.Find(); f != im.Fine {
			t.Errorf("%s: %v %v: finding %v", when, x.Kind, x.ID, f)
		}
		if x.Kind == im.SealedMessage {
			states[x.ID] = max(x.Erased, im.Active)
		}
		if x.Kind == im.SealedName {
			t.Errorf("%s a name can be read", when)
		}
	}
	for i, want := range []im.State{im.Revoked, im.Revoked, 0, 0, im.Active, im.Active} {
		if got := states[o.sent[i].ID]; got != want {
			t.Errorf("%s message %d is %v, want %v", when, i, got, want)
		}
	}
	if past := s.Instance().PastLogs; len(past) != 1 || past[0] != (im.PastLog{Log: o.log, Head: o.head}) || s.Instance().Log == o.log {
		t.Errorf("%s past logs are %v, want %d up to %d", when, past, o.log, o.head)
	}
	erased := 0
	err := s.View(t.Context(), func(r im.Reader) error {
		w, err := r.Events("bob", o.head, s.Head(), 100)
		erased = 0
		for _, e := range w.Events {
			if e.Type.Erases() {
				erased++
			}
		}
		return err
	})
	if err != nil || erased != 2 {
		t.Errorf("%s %d erasures are delivered, want 2: %v", when, erased, err)
	}
	// The texts that the group was created with are unknown, so its creation is still repeated by
	// the same request.
	again, err := im.NewService(s, im.DefaultPolicy(), nil).CreateGroup(t.Context(), im.Actor{User: "alice"}, o.asked)
	if err != nil || !again.Again || again.ID != o.group {
		t.Errorf("%s the repeated creation is %v, again %v: %v", when, again.ID, again.Again, err)
	}
}

// sealedIn returns everything sealed in a store.
func sealedIn(t *testing.T, s *Store) (list []im.Sealed) {
	t.Helper()
	err := s.View(context.Background(), func(r im.Reader) error {
		list = nil
		for after := (&im.SealedKey{}); after != nil; {
			page, err := r.Sealed(*after, 100, im.SealedContent)
			if err != nil {
				return err
			}
			list, after = append(list, page.Items...), page.Next
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
