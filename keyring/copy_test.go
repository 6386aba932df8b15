package keyring

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/imapi/imapi/im"
)

// TestCopy checks that a copy opens as a key file, that it has the keys made and shredded before
// it, and that the copy that it replaces is overwritten.
func TestCopy(t *testing.T) {
	path := newFile(t)
	r := mustOpen(t, path)
	defer mustClose(t, r)
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	one, key, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	two, shredded, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "keys")
	var done, total int64
	if err := r.Copy(t.Context(), to, func(d, of int64) { done, total = d, of }); err != nil {
		t.Fatal(err)
	}
	if done == 0 || done != total {
		t.Errorf("progress is %d of %d bytes", done, total)
	}
	// A second link shows what happens to the bytes of the first copy.
	first := filepath.Join(t.TempDir(), "first")
	if err := os.Link(to, first); err != nil {
		t.Fatal(err)
	}
	if b := readAll(t, first); !bytes.Contains(b, shredded[:]) {
		t.Fatal("the first copy does not have the key")
	}
	if err := r.Shred([]im.Shredding{{Slot: two, Code: im.ShredBurned}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Copy(t.Context(), to, nil); err != nil {
		t.Fatal(err)
	}
	if b := readAll(t, first); !zeros(b) {
		t.Error("the copy that was replaced was not overwritten")
	}
	if names := namesIn(t, filepath.Dir(to)); len(names) != 1 {
		t.Errorf("the directory has %v, want only the copy", names)
	}
	c := mustOpen(t, to)
	defer mustClose(t, c)
	if got, err := c.Key(one); got != key || err != nil {
		t.Errorf("the key is %x, %v, want %x", got, err, key)
	}
	if _, code, err := stateOf(c, two); code != im.ShredBurned || err != nil {
		t.Errorf("the shredded key is %v, %v", code, err)
	}
	if c.SearchKey() != r.SearchKey() || c.Epoch() != r.Epoch() {
		t.Errorf("the copy has another header: epoch %d, want %d", c.Epoch(), r.Epoch())
	}
}

// TestCopyIsRefused checks that a file is not overwritten unless it is an older copy.
func TestCopyIsRefused(t *testing.T) {
	path := newFile(t)
	r := mustOpen(t, path)
	defer mustClose(t, r)
	foreign := filepath.Join(t.TempDir(), "keys")
	if err := Create(foreign, im.StoreID{9}); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(other, bytes.Repeat([]byte("text"), 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	ahead := filepath.Join(t.TempDir(), "keys")
	if err := r.Copy(t.Context(), ahead, nil); err != nil {
		t.Fatal(err)
	}
	newer := mustOpen(t, ahead)
	if err := newer.Shred(nil); err != nil {
		t.Fatal(err)
	}
	mustClose(t, newer)
	for to, want := range map[string]error{path: errSelf, foreign: ErrForeign, other: ErrNotKeys, ahead: ErrAhead} {
		before := readAll(t, to)
		if err := r.Copy(t.Context(), to, nil); !errors.Is(err, want) {
			t.Errorf("copy: %[2]v, want %[1]v", want, err)
		}
		if !bytes.Equal(before, readAll(t, to)) {
			t.Errorf("after %v the existing file was changed", want)
		}
	}
}

// TestCopyAfterCrashes checks that the leftovers of a call that was interrupted at any step are
// destroyed, and that the last complete copy is kept.
func TestCopyAfterCrashes(t *testing.T) {
	r := mustOpen(t, newFile(t))
	defer mustClose(t, r)
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	to := filepath.Join(dir, "keys")
	if err := r.Copy(t.Context(), to, nil); err != nil {
		t.Fatal(err)
	}
	whole := readAll(t, to)
	// The call is interrupted while it writes.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Copy(ctx, to, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("copy: %v, want context.Canceled", err)
	}
	// It crashes while it writes, and between the link and the rename.
	if err := os.WriteFile(to+".new-123", whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(to, to+oldSuffix); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(t.TempDir(), "left")
	if err := os.Link(to+".new-123", left); err != nil {
		t.Fatal(err)
	}
	if err := destroyLeftovers(to); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readAll(t, to), whole) {
		t.Error("the last complete copy was destroyed with the leftovers")
	}
	if !zeros(readAll(t, left)) {
		t.Error("the leftover was not overwritten")
	}
	// After a crash after the rename, the next call destroys the old copy.
	if err := os.WriteFile(to+oldSuffix, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Copy(t.Context(), to, nil); err != nil {
		t.Fatal(err)
	}
	if names := namesIn(t, dir); len(names) != 1 {
		t.Errorf("the directory has %v, want only the copy", names)
	}
}

// TestCopyOfClosedRing checks that copying a closed ring keeps the existing copy.
func TestCopyOfClosedRing(t *testing.T) {
	r := mustOpen(t, newFile(t))
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "keys")
	if err := r.Copy(t.Context(), to, nil); err != nil {
		t.Fatal(err)
	}
	whole := readAll(t, to)
	mustClose(t, r)
	if err := r.Copy(t.Context(), to, nil); err == nil {
		t.Error("copying a closed ring succeeded")
	}
	if !bytes.Equal(readAll(t, to), whole) {
		t.Error("the existing copy was replaced")
	}
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestInstallAfterCrash checks that Install destroys keys that an interrupted call has
// replaced, even if it is refused, and whatever characters are in the file's name.
func TestInstallAfterCrash(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "keys[1]")
	store := im.StoreID{1}
	for _, path := range []string{from, to} {
		if err := Create(path, store); err != nil {
			t.Fatal(err)
		}
	}
	for _, left := range []string{to + oldSuffix, to + newInfix + "1"} {
		if err := os.WriteFile(left, []byte("keys"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Install(t.Context(), from, to, store); !errors.Is(err, ErrAhead) {
		t.Fatalf("install over keys of the same epoch: %v, want ErrAhead", err)
	}
	if names := namesIn(t, dir); len(names) != 2 {
		t.Errorf("the directory has %v, want two files", names)
	}
}
