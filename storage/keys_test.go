package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/keyring"
)

// TestKeysThatAreRefused checks that unusable keys and backups are refused with an error that
// says what to do, and that nothing is changed.
func TestKeysThatAreRefused(t *testing.T) {
	s := newSite(t)
	m := s.send("here")
	file := s.backup()
	copied := filepath.Join(t.TempDir(), "keys")
	writeFile(t, copied, readFile(t, filepath.Join(s.backups, "keys")))
	s.close()
	path := filepath.Join(s.data, "keys")
	present := readFile(t, path)
	foreign := filepath.Join(t.TempDir(), "keys")
	s.must(keyring.Create(foreign, im.StoreID{7}))

	s.step(t, "open without keys", func(t *testing.T) {
		s.must(os.Remove(path))
		if err := s.tryOpen(); err == nil || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "--accept-lost-keys") {
			t.Errorf("open without keys: %v", err)
		}
	})
	s.step(t, "open with foreign keys", func(t *testing.T) {
		writeFile(t, path, readFile(t, foreign))
		if err := s.tryOpen(); !errors.Is(err, keyring.ErrForeign) {
			t.Errorf("open with foreign keys: %v, want ErrForeign", err)
		}
	})
	s.step(t, "restore over foreign keys", func(t *testing.T) {
		for what, r := range map[string]Restoring{
			"a backup, with foreign keys in place":   {File: file},
			"given keys, with foreign keys in place": {File: file, KeysFrom: copied},
		} {
			if _, err := Restore(t.Context(), "", s.options, r); !errors.Is(err, keyring.ErrForeign) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	writeFile(t, path, present)
	s.step(t, "restore with unusable arguments", func(t *testing.T) {
		for what, r := range map[string]Restoring{
			"older keys over newer ones": {File: file, KeysFrom: copied},
			"foreign keys":               {File: file, KeysFrom: foreign},
			"a key file as the backup":   {File: copied},
			"a missing backup":           {File: filepath.Join(t.TempDir(), "nothing")},
		} {
			if _, err := Restore(t.Context(), "", s.options, r); err == nil {
				t.Errorf("restore of %s succeeded", what)
			}
		}
	})
	s.step(t, "a failed restore creates no directory", func(t *testing.T) {
		elsewhere := Options{DataDir: filepath.Join(t.TempDir(), "new")}
		for _, name := range []string{filepath.Join(t.TempDir(), "nothing"), t.TempDir()} {
			if _, err := Restore(t.Context(), "", elsewhere, Restoring{File: name, KeysFrom: copied}); err == nil {
				t.Errorf("restore of %s succeeded", name)
			}
		}
		if _, err := os.Stat(elsewhere.DataDir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a failed restore has created the data directory: %v", err)
		}
	})
	s.step(t, "restore of a text file", func(t *testing.T) {
		text := filepath.Join(t.TempDir(), "text")
		writeFile(t, text, []byte(strings.Repeat("this is no database\n", 500)))
		if _, err := Restore(t.Context(), "", s.options, Restoring{File: text}); err == nil || !strings.Contains(err.Error(), "not an imapi database") {
			t.Errorf("restore of a text file: %v", err)
		}
	})
	s.step(t, "restore of a damaged backup", func(t *testing.T) {
		damaged := filepath.Join(t.TempDir(), "imapi.db")
		b := readFile(t, file)
		for i := 8192; i < len(b); i += 100 {
			b[i] ^= 0x55
		}
		writeFile(t, damaged, b)
		if _, err := Restore(t.Context(), "", s.options, Restoring{File: damaged}); err == nil {
			t.Error("restore of a damaged backup succeeded")
		}
	})
	s.step(t, "restore while the store is open", func(t *testing.T) {
		s.open()
		s.checkState(m, im.Active)
		if _, err := Restore(t.Context(), "", s.options, Restoring{File: file}); !errors.Is(err, ErrInUse) {
			t.Errorf("restore while the store is open: %v, want ErrInUse", err)
		}
	})
	s.step(t, "accepted loss of all keys", func(t *testing.T) {
		s.close()
		s.must(os.Remove(path))
		s.options.AcceptLostKeys = true
		s.open()
		s.checkState(m, im.Expired)
		s.checkState(s.send("new"), im.Active)
	})
}

// TestKeysByLink checks that backups, the first start and a restore follow a symbolic link to keys
// on another device and do not replace it.
func TestKeysByLink(t *testing.T) {
	s := newSite(t)
	m := s.send("one")
	device := t.TempDir()
	link := func(from, to string) {
		writeDir(t, filepath.Dir(from))
		s.must(os.Symlink(filepath.Join(device, to), from))
	}
	only := func(want ...string) {
		t.Helper()
		entries, err := os.ReadDir(device)
		s.must(err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if !slices.Equal(names, want) {
			t.Errorf("the device has %v, want %v", names, want)
		}
	}
	copied := filepath.Join(s.backups, "keys")
	link(copied, "copy")
	s.backup()
	file := s.backup()
	only("copy")
	if info, err := os.Lstat(copied); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link to the copy of the keys was replaced: %v, %v", info, err)
	}
	s.close()

	s.data = filepath.Join(t.TempDir(), "new")
	s.options.DataDir = s.data
	link(filepath.Join(s.data, "keys"), "keys")
	s.restore(file, copied)
	only("copy", "keys")
	s.checkState(m, im.Active)
	s.close()

	s.data = filepath.Join(t.TempDir(), "first")
	s.options.DataDir = s.data
	link(filepath.Join(s.data, "keys"), "made")
	s.open()
	only("copy", "keys", "made")
}
