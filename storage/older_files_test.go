package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

// TestOlderDatabaseWithoutRestore copies an old database back without the restore command.
func TestOlderDatabaseWithoutRestore(t *testing.T) {
	s := newSite(t)
	e := s.sendBefore()
	s.close()
	older := readFile(t, filepath.Join(s.data, "imapi.db"))
	s.open()
	log := s.store.Instance().Log
	s.eraseAfter(e)
	s.close()
	writeFile(t, filepath.Join(s.data, "imapi.db"), older)
	s.open()
	s.checkErased(e)
	if s.store.Instance().Log == log {
		t.Error("no new log was begun")
	}
}

// TestOlderDatabaseWithoutErasures does the same when nothing was erased since. Later
// positions are assigned again, so later cursors must not be valid.
func TestOlderDatabaseWithoutErasures(t *testing.T) {
	s := newSite(t)
	stays := s.send("stays")
	s.close()
	older := readFile(t, filepath.Join(s.data, "imapi.db"))
	s.open()
	log, head := s.store.Instance().Log, s.store.Head()
	later := s.send("later")
	s.close()
	writeFile(t, filepath.Join(s.data, "imapi.db"), older)
	s.open()
	s.checkState(stays, im.Active)
	s.checkState(later, 0)
	if past := s.store.Instance().PastLogs; s.store.Instance().Log == log || len(past) != 1 || past[0] != (im.PastLog{Log: log, Head: head}) {
		t.Errorf("the log is %d with past logs %v, want a new one after %d up to %d", s.store.Instance().Log, past, log, head)
	}
}

// TestPlainCrash checks that nothing is lost, and no new log begun, when a crash leaves the keys
// ahead of the data.
func TestPlainCrash(t *testing.T) {
	s := newSite(t)
	e := s.sendBefore()
	log := s.store.Instance().Log
	crashed := filepath.Join(t.TempDir(), "data")
	_, err := s.Revoke(t.Context(), alice, e.revoked.ID, im.RevokeNote{})
	s.must(err)
	// Combine the database from before the note of the doomed key was deleted with the keys from
	// after it was shredded.
	copyDir(t, s.data, crashed)
	s.waitShredded()
	writeFile(t, filepath.Join(crashed, "keys"), readFile(t, filepath.Join(s.data, "keys")))
	s.close()
	s.data, s.options.DataDir = crashed, crashed
	s.open()
	s.checkState(e.revoked, im.Revoked)
	s.checkState(e.stays, im.Active)
	s.checkState(e.expired, im.Active)
	if s.store.Instance().Log != log || s.store.Instance().PastLogs != nil {
		t.Error("a plain crash has begun a new log")
	}
}

// TestOlderKeys opens data with an older copy of their keys.
func TestOlderKeys(t *testing.T) {
	s := newSite(t)
	e := s.sendBefore()
	s.backup()
	older := filepath.Join(s.backups, "keys")
	s.eraseAfter(e)
	// Send more messages than the extent in the copy has keys for, so that some keys are lost.
	var later []im.Message
	for i := range 2000 {
		later = append(later, s.send(fmt.Sprint("later ", i)))
	}
	s.close()
	path := filepath.Join(s.data, "keys")
	present := readFile(t, path)
	writeFile(t, path, readFile(t, older))

	s.step(t, "older keys are refused", func(t *testing.T) {
		err := s.tryOpen()
		var lost *im.LostKeysError
		if !errors.As(err, &lost) || lost.Lost < 100 || lost.Lost > 1900 || !strings.Contains(err.Error(), "--accept-lost-keys") {
			t.Fatalf("older keys: %v", err)
		}
	})
	s.step(t, "the present keys still work after that", func(t *testing.T) {
		writeFile(t, path, present)
		s.open()
		s.checkErased(e)
		s.checkState(later[1999], im.Active)
		s.close()
	})
	s.step(t, "accepted, messages with lost keys are expired", func(t *testing.T) {
		writeFile(t, path, readFile(t, older))
		s.options.AcceptLostKeys = true
		s.open()
		s.options.AcceptLostKeys = false
		s.checkErased(e)
		s.checkState(later[0], im.Active)
		s.checkState(later[1999], im.Expired)
	})
	s.step(t, "another start changes nothing", func(t *testing.T) {
		log := s.store.Instance().Log
		checkSealed(t, s)
		s.close()
		s.open()
		s.checkState(later[1999], im.Expired)
		if s.store.Instance().Log != log {
			t.Error("older keys have begun a new log")
		}
	})
	s.step(t, "new messages have keys", func(t *testing.T) {
		m := s.send("now")
		s.checkState(m, im.Active)
	})
}

// TestOlderKeysWithoutErasures opens data with a copy of the keys that has the same epoch,
// because nothing was erased since, but lacks keys that were made later.
func TestOlderKeysWithoutErasures(t *testing.T) {
	s := newSite(t)
	first := s.send("first")
	s.backup()
	var last im.Message
	for i := range 2100 {
		last = s.send(fmt.Sprint("later ", i))
	}
	s.close()
	path := filepath.Join(s.data, "keys")
	newest := readFile(t, path)
	copied := readFile(t, filepath.Join(s.backups, "keys"))

	writeFile(t, path, copied)
	var lost *im.LostKeysError
	s.step(t, "missing keys are refused", func(t *testing.T) {
		if err := s.tryOpen(); !errors.As(err, &lost) || lost.Lost == 0 {
			t.Fatalf("open with missing keys: %v, want LostKeysError", err)
		}
	})
	s.step(t, "the newest keys still work after that", func(t *testing.T) {
		writeFile(t, path, newest)
		s.open()
		s.checkState(last, im.Active)
		s.close()
	})
	s.step(t, "an interrupted start that accepts the loss erases nothing", func(t *testing.T) {
		writeFile(t, path, copied)
		s.options.AcceptLostKeys = true
		ctx, cancel := context.WithCancel(t.Context())
		looks := 0
		s.options.Progress = func(im.Progress) {
			if looks++; looks == 2 {
				cancel()
			}
		}
		if _, err := Open(ctx, "", s.options); !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted open: %v, want context.Canceled", err)
		}
		s.options.AcceptLostKeys, s.options.Progress = false, nil
		if err := s.tryOpen(); !errors.As(err, &lost) {
			t.Fatalf("open after an interrupted one: %v, want LostKeysError", err)
		}
		writeFile(t, path, newest)
		s.open()
		s.checkState(first, im.Active)
		s.checkState(last, im.Active)
		checkSealed(t, s)
		s.close()
	})
	s.step(t, "accepted, messages with lost keys are expired", func(t *testing.T) {
		writeFile(t, path, copied)
		s.options.AcceptLostKeys = true
		s.open()
		s.checkState(first, im.Active)
		s.checkState(last, im.Expired)
		s.waitShredded()
		checkSealed(t, s)
	})
}

// checkSealed checks that all active content can be unsealed and no erased content can.
func checkSealed(t *testing.T, s *site) {
	t.Helper()
	n := int64(0)
	s.must(s.store.View(t.Context(), func(r im.Reader) error {
		n = 0
		page, err := r.Sealed(im.SealedKey{}, 10_000, im.SealedContent)
		for _, x := range page.Items {
			if x.Find() != im.Fine {
				t.Errorf("%v of %v: %v", x.Kind, x.ID, x.Find())
			}
			n++
		}
		return err
	}))
	if n == 0 {
		t.Error("the store has no sealed content")
	}
}

// TestBothOlder restores an old backup with an old copy of the keys into a new directory.
func TestBothOlder(t *testing.T) {
	s := newSite(t)
	e := s.sendBefore()
	s.backup()
	_, err := s.Revoke(t.Context(), alice, e.revoked.ID, im.RevokeNote{})
	s.must(err)
	file := s.backup()
	kept := filepath.Join(t.TempDir(), "keys")
	writeFile(t, kept, readFile(t, filepath.Join(s.backups, "keys")))
	s.eraseRest(e)
	s.close()
	s.data = filepath.Join(t.TempDir(), "new")
	s.options.DataDir = s.data
	// Without keys, Restore must not create a database.
	_, err = Restore(t.Context(), "", s.options, Restoring{File: file})
	if err == nil || !strings.Contains(err.Error(), "--keys-from") {
		t.Fatalf("restore without keys: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.data, "imapi.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("restore without keys has created a database: %v", err)
	}
	s.restore(file, kept)
	s.checkState(e.revoked, im.Revoked)
	s.checkState(e.stays, im.Active)
	s.checkState(e.burned, im.Active) // neither file knows of the later burn
	if len(s.store.Instance().PastLogs) != 1 {
		t.Error("no new log was begun")
	}
}

// eraseRest burns the message that will be burned after the backup.
func (s *site) eraseRest(e sentMessages) {
	s.Helper()
	_, err := s.Burn(context.Background(), bob, e.burned.ID)
	s.must(err)
	s.waitShredded()
}
