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
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/internal/testsize"
)

// TestReconcilingIsInterrupted makes the start after a restore fail at each statement. The next
// start must reach the same result as an uninterrupted one, with exactly one new log.
func TestReconcilingIsInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	s := openAt(t, path, Options{Synchronous: "normal"})
	step := steps.Begin(t)
	step("make a backup")
	service := im.NewService(s, im.DefaultPolicy(), nil)
	ctx, alice := t.Context(), im.Actor{User: "alice"}
	g, err := service.CreateGroup(ctx, alice, im.GroupDraft{Name: "before", Members: []im.UserID{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	ref := im.ConversationRef{ID: g.ID}
	var sent []im.Message
	for i := range 6 {
		m, err := service.Send(ctx, alice, ref, im.Draft{ClientID: fmt.Sprint("c", i), Type: im.Text, Body: json.RawMessage(`{"text":"x"}`)})
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, m.Message)
	}
	backup, err := s.Backup(ctx, filepath.Join(t.TempDir(), "backups"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	step("revoke and remove messages")
	log, head := s.Instance().Log, s.Head()
	for _, m := range sent[:2] {
		if _, err := service.Revoke(ctx, alice, m.ID, im.RevokeNote{}); err != nil {
			t.Fatal(err)
		}
	}
	// Two more are deleted without a tombstone, as retention does.
	err = s.Write(ctx, func(tx im.Tx) error {
		_, err := tx.Remove(g.ID, []im.ID{sent[2].ID, sent[3].ID}, sent[3].CreatedAt)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	name := "after"
	if _, err := service.UpdateConversation(ctx, alice, ref, im.ConversationPatch{Name: &name}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	step("restore, and interrupt the start at each statement, or every third in a short run")
	broken := errors.New("interrupted")
	for n := 1; ; n += testsize.Pick(1, 3) {
		dir := t.TempDir()
		path := filepath.Join(dir, "imapi.db")
		copyFile(t, filepath.Join(dir, "keys"), filepath.Join(filepath.Dir(s.path), "keys"))
		if _, err := Replace(ctx, path, Replacing{Backup: backup.Path, Keys: func(im.StoreID) error { return nil }}); err != nil {
			t.Fatal(err)
		}
		var left atomic.Int64
		left.Store(int64(n))
		o := withKeys(path, Options{Synchronous: "normal", Logger: quiet, fault: func(s *session, _ string) error {
			if s.role != writing {
				return nil
			}
			if left.Add(-1) <= 0 {
				return broken
			}
			return nil
		}})
		store, err := Open(ctx, path, o)
		done := err == nil
		if done {
			left.Store(math.MaxInt64)
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
		again := openAt(t, path, Options{Synchronous: "normal"})
		states := map[im.ID]im.State{}
		for _, x := range sealedIn(t, again) {
			if f := x.Find(); f != im.Fine {
				t.Errorf("after %d statements: %v %v: finding %v", n, x.Kind, x.ID, f)
			}
			if x.Kind == im.SealedMessage {
				states[x.ID] = max(x.Erased, im.Active)
			}
			if x.Kind == im.SealedName {
				t.Errorf("after %d statements a name can be read", n)
			}
		}
		for i, want := range []im.State{im.Revoked, im.Revoked, 0, 0, im.Active, im.Active} {
			if got := states[sent[i].ID]; got != want {
				t.Errorf("after %d statements message %d is %v, want %v", n, i, got, want)
			}
		}
		if past := again.Instance().PastLogs; len(past) != 1 || past[0] != (im.PastLog{Log: log, Head: head}) || again.Instance().Log == log {
			t.Errorf("after %d statements past logs are %v, want %d up to %d", n, past, log, head)
		}
		erased := 0
		err = again.View(ctx, func(r im.Reader) error {
			w, err := r.Events("bob", head, again.Head(), 100)
			erased = 0
			for _, e := range w.Events {
				if e.Type.Erases() {
					erased++
				}
			}
			return err
		})
		if err != nil || erased != 2 {
			t.Errorf("after %d statements %d erasures are delivered, want 2: %v", n, erased, err)
		}
		if done {
			if n < 10 {
				t.Errorf("reconciling took only %d statements", n)
			}
			return
		}
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
