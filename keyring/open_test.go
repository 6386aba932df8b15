package keyring

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/imapi/imapi/im"
)

// newFile creates a key file in a new directory.
func newFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := Create(path, testStore); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t *testing.T, path string) *Ring {
	t.Helper()
	r, err := Open(path, testStore)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustClose(t *testing.T, r *Ring) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKeysPersist checks that keys persist when the file is opened again, and that only this user
// can read the file.
func TestKeysPersist(t *testing.T) {
	path := newFile(t)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	r := mustOpen(t, path)
	if _, _, err := r.Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("Next before Begin: %v, want ErrClosed", err)
	}
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	one, key, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Shred([]im.Shredding{{Slot: two, Code: im.ShredBurned}, {Slot: two + 1000, Code: im.ShredBurned}, {Slot: 3, Code: im.ShredBurned}}); err != nil {
		t.Fatal(err)
	}
	search := r.SearchKey()
	mustClose(t, r)
	mustClose(t, r) // a second Close does nothing

	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file mode is %v, %v", info.Mode(), err)
	}
	if h, err := ReadHeader(path); err != nil || h.Store != testStore || h.SearchKey != search {
		t.Errorf("the header is %+v, %v", h, err)
	}
	r = mustOpen(t, path)
	defer mustClose(t, r)
	if got, err := r.Key(one); got != key || err != nil {
		t.Errorf("the key is %x, %v, want %x", got, err, key)
	}
	if _, code, err := stateOf(r, two); code != im.ShredBurned || err != nil {
		t.Errorf("the shredded key is %v, %v", code, err)
	}
	if r.SearchKey() != search {
		t.Error("the search key has changed")
	}
	// Keys that were made and never used are shredded.
	if live, err := r.Live(0, 10); err != nil || len(live) != 1 || live[0] != one {
		t.Errorf("Live = %v, %v", live, err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, key[:]) {
		t.Errorf("the key is not in the file: %v", err)
	}
}

// TestEpoch checks that each shredding raises the epoch, and that the file keeps it.
func TestEpoch(t *testing.T) {
	path := newFile(t)
	r := mustOpen(t, path)
	if n := r.Epoch(); n != 0 {
		t.Errorf("the epoch of a new file is %d", n)
	}
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	slot, _, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	older, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range [][]im.Shredding{{{Slot: slot, Code: im.ShredRevoked}}, nil} {
		if err := r.Shred(list); err != nil {
			t.Fatal(err)
		}
		if n := r.Epoch(); n != uint64(i+1) {
			t.Errorf("after %d shreddings the epoch is %d", i+1, n)
		}
	}
	mustClose(t, r)
	r = mustOpen(t, path)
	if n := r.Epoch(); n != 2 {
		t.Errorf("after opening the file again the epoch is %d", n)
	}
	mustClose(t, r)
	if err := os.WriteFile(path, older, 0o600); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	defer mustClose(t, r)
	if n := r.Epoch(); n != 0 {
		t.Errorf("the epoch of an older copy is %d", n)
	}
}

func TestOpenRefusesDamagedFiles(t *testing.T) {
	whole, err := os.ReadFile(newFile(t))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(whole)
		b[at] = to
		return b
	}
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"empty":              {nil, ErrTorn},
		"truncated magic":    {whole[:5], ErrTorn},
		"truncated page":     {whole[:len(whole)-1], ErrTorn},
		"zeros":              {make([]byte, pageSize), ErrNotKeys},
		"another kind":       {append([]byte("SQLite format 3\x00"), whole...), ErrNotKeys},
		"no version":         {changed(atVersion+3, 0), ErrTorn},
		"newer version":      {changed(atVersion+3, version+1), ErrNewer},
		"another store":      {Header{Store: im.StoreID{9}}.page(), ErrForeign},
		"flipped search key": {changed(atSearchKey, whole[atSearchKey]^1), ErrTorn},
		"flipped checksum":   {changed(atSum, whole[atSum]^1), ErrTorn},
		"flipped epoch":      {changed(atEpoch+7, 1), ErrTorn},
		"flipped store id":   {changed(atStore, whole[atStore]^1), ErrTorn},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(path, test.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, testStore); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, test.data) {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "keys")
	if _, err := Open(missing, testStore); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open a missing file: %v, want fs.ErrNotExist", err)
	}
	path := newFile(t)
	if err := Create(path, testStore); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over an existing file: %v, want fs.ErrExist", err)
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("the directory has %v, %v, want one file", names, err)
	}
}

// TestFileIsLocked checks that a second Open fails under any name of the file.
func TestFileIsLocked(t *testing.T) {
	path := newFile(t)
	r := mustOpen(t, path)
	linked := filepath.Join(t.TempDir(), "linked")
	if err := os.Link(path, linked); err != nil {
		t.Fatal(err)
	}
	symlinked := filepath.Join(t.TempDir(), "symlinked")
	if err := os.Symlink(path, symlinked); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, linked, symlinked} {
		if _, err := Open(name, testStore); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustClose(t, r)
	mustClose(t, mustOpen(t, linked))
}

// TestFileShrinks checks that shredded keys take no space on the disk.
func TestFileShrinks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("holes are supported on Linux only")
	}
	path := newFile(t)
	r := mustOpen(t, path)
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	var list []im.Shredding
	for range 100_000 {
		s, _, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, im.Shredding{Slot: s, Code: im.ShredRemoved})
	}
	if used := diskUsage(t, path); used < 100_000*im.KeySize {
		t.Errorf("100,000 keys take %d bytes", used)
	}
	if err := r.Shred(list); err != nil {
		t.Fatal(err)
	}
	mustClose(t, r)
	if used := diskUsage(t, path); used > 64<<10 {
		t.Errorf("100,000 shredded keys take %d bytes", used)
	}
}

// diskUsage returns the number of bytes that a file takes on the disk.
func diskUsage(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// FuzzOpen checks that a damaged file is refused with one of the documented errors, or is
// read without a panic.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, uint16(0), byte(0), uint64(firstSlot))
	f.Add([]byte("imapikey"), uint16(11), byte(2), uint64(300))
	f.Add(newHeader(testStore).page(), uint16(0), byte(0), uint64(firstSlot))
	f.Add(append(newHeader(testStore).page(), make([]byte, 100)...), uint16(5000), byte(7), uint64(261))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, to byte, slot uint64) {
		if int(at) < len(data) {
			data[at] = to
		}
		d := &disk{seen: data}
		r, err := open(d, testStore)
		if err != nil {
			for _, known := range []error{ErrNotKeys, ErrTorn, ErrOlder, ErrNewer, ErrForeign} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("refused with %v", err)
		}
		key, err := r.Key(im.Slot(slot))
		past := slot < perPage || slot >= uint64(len(data)/im.KeySize)
		if past != errors.Is(err, im.ErrNoKey) {
			t.Errorf("slot %d of %d bytes: %x, %v", slot, len(data), key, err)
		}
		if err := r.Begin(min(im.Slot(slot), 1<<16)); err != nil {
			t.Errorf("begin: %v", err)
		}
		if s, _, err := r.Next(); err != nil || s <= min(im.Slot(slot), 1<<16) || offset(s) < int64(len(data)) {
			t.Errorf("Next = %d, %v", s, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
