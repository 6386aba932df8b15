package blobs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/imapi/imapi/im"
)

// A copy replaces a truncated blob by a whole one, but never a whole one by a truncated one.
func TestCopyKeepsTheWholeBlob(t *testing.T) {
	const size = 2*chunkSize + 9
	for name, truncated := range map[string]bool{"the source is truncated": true, "the copy is truncated": false} {
		t.Run(name, func(t *testing.T) {
			f, from := newFiles(t)
			g, to := newFiles(t)
			b, data := blobNamed(1), content(size)
			put(t, f, b, data)
			put(t, g, b, data) // a file of its own, not a link
			short := to
			if truncated {
				short = from
			}
			if err := os.Truncate(short.file(b.ID.String()), fileSize(chunkSize)); err != nil {
				t.Fatal(err)
			}
			done, err := Copy(t.Context(), from, to, f.id, nil, nil)
			if err != nil || truncated && done.Existing != 1 || !truncated && done.Files != 1 {
				t.Errorf("copied %+v, %v", done, err)
			}
			if got, err := get(g, b, size); err != nil || !bytes.Equal(got, data) {
				t.Errorf("the copy has %d bytes, %v", len(got), err)
			}
		})
	}
}

// An interrupted copy has only whole blobs, and the next one completes it.
func TestCopyIsInterrupted(t *testing.T) {
	f, from := newFiles(t)
	g, to := newFiles(t)
	const blobsThere = 20
	for n := range byte(blobsThere) {
		put(t, f, blobNamed(n), content(100+int(n)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done, err := Copy(ctx, from, to, f.id, nil, func(int64) { cancel() })
	if !errors.Is(err, context.Canceled) || done.Files != 1 {
		t.Errorf("interrupted after %+v, %v", done, err)
	}
	// An unfinished file, as a crash leaves it behind in a copy between file systems.
	if err := os.WriteFile(to.unfinished(blobNamed(3).ID.String()), []byte("imapblob"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), from, to, f.id, nil, nil); err != nil {
		t.Fatal(err)
	}
	for n := range byte(blobsThere) {
		if got, err := get(g, blobNamed(n), 100+int(n)); err != nil || !bytes.Equal(got, content(100+int(n))) {
			t.Errorf("blob %d: %d bytes, %v", n, len(got), err)
		}
	}
	if done, err := Copy(t.Context(), from, to, f.id, nil, nil); err != nil || done.Files != 0 || done.Existing != blobsThere {
		t.Errorf("copied again: %+v, %v", done, err)
	}
}

// A blob whose key is gone is garbage, and is not copied. A blob of another store, or with a
// damaged header, is copied, because its key may exist elsewhere.
func TestCopyLeavesOutWhatIsErased(t *testing.T) {
	f, from := newFiles(t)
	_, to := newFiles(t)
	there, erased, damaged := blobNamed(1), blobNamed(2), blobNamed(3)
	for _, b := range []im.Blob{there, erased, damaged} {
		put(t, f, b, content(9))
	}
	foreign := NewFiles(from, im.StoreID{9})
	other := blobNamed(4)
	put(t, foreign, other, content(9))
	if err := os.WriteFile(from.file(damaged.ID.String()), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := map[im.Slot]bool{erased.Slot: true, damaged.Slot: true, other.Slot: true}
	done, err := Copy(t.Context(), from, to, f.id, func(s im.Slot) bool { return gone[s] }, nil)
	if err != nil || done.Files != 3 {
		t.Errorf("copied %+v, %v", done, err)
	}
	if _, err := os.Stat(to.file(erased.ID.String())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the erased blob: %v", err)
	}
}

func TestOneDirectoryByTwoPaths(t *testing.T) {
	_, d := newFiles(t)
	_, other := newFiles(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(d.path, link); err != nil {
		t.Fatal(err)
	}
	if !d.Is(ReadDir(link)) || d.Is(other) || d.Is(ReadDir(filepath.Join(d.path, "none"))) {
		t.Error("two paths of one directory are taken for two directories")
	}
}
