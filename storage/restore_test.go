package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/imapi/imapi/im"
)

// TestRestoreUnderPresentKeys checks that messages erased since the backup are tombstones of
// the same kind after restoring it, that cursors up to the backup stay valid and later ones do
// not, and that each erasure is delivered to clients with old cursors.
func TestRestoreUnderPresentKeys(t *testing.T) {
	s := newSite(t)
	e := s.sendBefore()
	before := s.store.Instance().Log
	head, err := s.LogBounds(t.Context())
	s.must(err)
	file := s.backup()
	later := s.send("after the backup")
	s.eraseAfter(e)
	s.checkErased(e)
	lastSeen, err := s.LogBounds(t.Context())
	s.must(err)
	s.restore(file, "")
	s.step(t, "messages erased since the backup are tombstones", func(t *testing.T) {
		s.checkErased(e)
		s.checkState(later, 0)
	})
	bounds, err := s.LogBounds(t.Context())
	s.must(err)
	s.step(t, "a new log continues the old one", func(t *testing.T) {
		if now := s.store.Instance().Log; now == before {
			t.Error("no new log was begun")
		}
		if len(bounds.Past) != 1 || bounds.Past[0] != (im.PastLog{Log: before, Head: head.Head}) || bounds.Past[0].Head >= lastSeen.Head {
			t.Errorf("past logs are %v, want %d up to %d", bounds.Past, before, head.Head)
		}
	})
	s.step(t, "the old name is erased, and the conversation can be renamed", func(t *testing.T) {
		s.checkName("")
		s.rename("here again")
		s.checkName("here again")
		s.waitShredded()
	})
	s.step(t, "erasures have the time of shredding", func(t *testing.T) {
		erased := map[im.ID]bool{}
		page, err := s.Erasures(t.Context(), im.Actor{User: "root", Admin: true}, im.ErasureQuery{Limit: 100})
		s.must(err)
		for _, x := range page.Items {
			erased[x.ID] = !x.Shredded.IsZero()
		}
		for _, m := range []im.Message{e.revoked, e.burned, e.expired} {
			if !erased[m.ID] {
				t.Errorf("the erasure of %s does not say when its key was shredded", m.ClientID)
			}
		}
	})
	s.step(t, "each erasure is delivered", func(t *testing.T) {
		delivered := map[im.EventType][]im.ID{}
		w, err := s.Events(t.Context(), bob, head.Head, bounds.Head, 100)
		s.must(err)
		for _, ev := range w.Events {
			delivered[ev.Type] = append(delivered[ev.Type], ev.MessageID)
		}
		for typ, m := range map[im.EventType]im.Message{im.MessageRevoked: e.revoked, im.MessageBurned: e.burned, im.MessageExpired: e.expired} {
			if len(delivered[typ]) != 1 || delivered[typ][0] != m.ID {
				t.Errorf("%s was delivered for %v, want %v", typ, delivered[typ], m.ID)
			}
		}
	})
	s.step(t, "another start changes nothing", func(t *testing.T) {
		s.waitShredded()
		log := s.store.Instance().Log
		s.close()
		s.open()
		s.checkErased(e)
		if now := s.store.Instance().Log; now != log {
			t.Error("a plain start has begun a new log")
		}
		if m := s.send("new"); m.ID <= later.ID {
			t.Errorf("id %v was assigned after %v", m.ID, later.ID)
		}
	})
}

// TestRestoreTwice restores a backup made after a restore, and then one made before it.
func TestRestoreTwice(t *testing.T) {
	s := newSite(t)
	one := s.send("one")
	first := s.backup()
	two := s.send("two")
	s.restore(first, "")
	s.checkState(one, im.Active)
	s.checkState(two, 0)
	three := s.send("three")
	second := s.backup()
	_, err := s.Revoke(t.Context(), alice, three.ID, im.RevokeNote{})
	s.must(err)
	s.waitShredded()
	s.restore(second, "")
	s.checkState(one, im.Active)
	s.checkState(three, im.Revoked)
	if past := s.store.Instance().PastLogs; len(past) != 2 || past[0].Head > past[1].Head {
		t.Errorf("past logs are %v", past)
	}
	s.restore(first, "")
	s.checkState(one, im.Active)
	s.checkState(three, 0)
	if past := s.store.Instance().PastLogs; len(past) != 1 {
		t.Errorf("past logs are %v", past)
	}
}

// TestCrashInRestore checks that a crash at any step of a restore leaves either the old data or
// the backup, that erased messages cannot be read in either, and that the restore can be
// repeated.
func TestCrashInRestore(t *testing.T) {
	for _, given := range []bool{false, true} {
		t.Run(map[bool]string{false: "keys beside the backup", true: "keys given"}[given], func(t *testing.T) {
			s := newSite(t)
			e := s.sendBefore()
			file := s.backup()
			keysFrom := ""
			later := s.send("later")
			s.eraseAfter(e)
			s.close()
			if given { // use the newest copy of the keys, without the present ones
				keysFrom = filepath.Join(t.TempDir(), "keys")
				writeFile(t, keysFrom, readFile(t, filepath.Join(s.data, "keys")))
				s.must(os.Remove(filepath.Join(s.data, "keys")))
			}
			crashes := t.TempDir()
			var steps []string
			_, err := Restore(t.Context(), "", s.options, Restoring{File: file, KeysFrom: keysFrom, step: func(step string) {
				steps = append(steps, step)
				copyDir(t, s.data, filepath.Join(crashes, step))
			}})
			s.must(err)
			for _, step := range steps {
				s.data = filepath.Join(crashes, step)
				s.options.DataDir = s.data
				if err := s.tryOpen(); err != nil {
					if given && errors.Is(err, fs.ErrNotExist) && (step == "copy" || step == "keys") {
						continue // no keys yet
					}
					t.Errorf("at %s: %v", step, err)
					continue
				}
				s.checkErased(e)
				restored := step == "sync" || step == "done"
				if _, err := s.Message(t.Context(), bob, later.ID); (err != nil) != restored {
					t.Errorf("at %s: the later message: %v", step, err)
				}
				s.close()
				// The restore can be repeated.
				s.restore(file, "")
				s.checkErased(e)
				s.checkState(later, 0)
				s.close()
			}
		})
	}
}

// TestRestoreAfterCrash checks that a restore shreds the keys that a crash has left unshredded.
// They are recorded only in the database that it replaces.
func TestRestoreAfterCrash(t *testing.T) {
	s := newSite(t)
	e := s.sendBefore()
	g, err := s.CreateGroup(t.Context(), alice, im.GroupDraft{Name: "deleted", Members: []im.UserID{"bob"}})
	s.must(err)
	deleted := s.sendTo(im.ConversationRef{ID: g.ID}, "deleted")
	file := s.backup()
	s.eraseAfter(e)
	late := s.send("late")
	newer := s.backup()
	_, err = s.Revoke(t.Context(), alice, late.ID, im.RevokeNote{})
	s.must(err)
	s.must(s.DeleteConversation(t.Context(), alice, im.ConversationRef{ID: g.ID}))
	crashed := filepath.Join(t.TempDir(), "crashed")
	copyDir(t, s.data, crashed) // as after kill -9, which loses no write
	s.close()
	s.data, s.options.DataDir = crashed, crashed
	s.store = nil
	for _, f := range []string{newer, file} {
		s.restore(f, "")
		s.checkErased(e)
		s.checkState(deleted, 0)
	}
	s.restore(newer, "")
	s.checkState(late, im.Revoked)
}
