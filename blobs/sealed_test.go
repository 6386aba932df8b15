package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/imapi/imapi/im"
)

var testStore = im.StoreID{1, 2, 3}

func newFiles(tb testing.TB) (*Files, *Dir) {
	tb.Helper()
	d, err := OpenDir(filepath.Join(tb.TempDir(), "blobs"))
	if err != nil {
		tb.Fatal(err)
	}
	return NewFiles(d, testStore), d
}

func blobNamed(n byte) im.Blob {
	return im.Blob{ID: im.FirstID(time.UnixMilli(1_700_000_000_000)) + im.ID(n), Slot: 300 + im.Slot(n), Key: im.Key{n, 7}}
}

func content(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = r.Read(b)
	return b
}

func put(tb testing.TB, f *Files, b im.Blob, data []byte) {
	tb.Helper()
	var seen []byte
	w, err := f.Create(tb.Context(), b, func(part []byte) { seen = append(seen, part...) })
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := io.Copy(w, bytes.NewReader(data)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(seen, data) {
		tb.Fatal("not all of it was seen")
	}
}

func get(f *Files, b im.Blob, size int) ([]byte, error) {
	r, err := f.Open(context.Background(), b, int64(size))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

var sizes = []int{
	0, 1, 100, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, 3*chunkSize + 5,
	runChunks * chunkSize, runChunks*chunkSize + 1, (3*runChunks-1)*chunkSize + 9,
}

func TestBlobIsReadAsItWasWritten(t *testing.T) {
	f, d := newFiles(t)
	for i, size := range sizes {
		b, data := blobNamed(byte(i)), content(size)
		put(t, f, b, data)
		got, err := get(f, b, size)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
		if err := f.Check(t.Context(), b, int64(size)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		info, err := os.Stat(d.file(b.ID.String()))
		if err != nil || info.Size() != fileSize(int64(size)) || info.Mode() != 0o600 {
			t.Errorf("%d bytes: file of %d, mode %v, %v", size, info.Size(), info.Mode(), err)
		}
		sealed, err := os.ReadFile(d.file(b.ID.String()))
		if err != nil {
			t.Fatal(err)
		}
		if size > 64 && bytes.Contains(sealed, data[:16]) {
			t.Error("the file has what was written in the clear")
		}
	}
}

// TestReadFromSealsOneLastChunk: a reader may report its end only at an additional call, like the
// body of a request of unknown length.
func TestReadFromSealsOneLastChunk(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once":           iotest.DataErrReader,
		"with another call": func(r io.Reader) io.Reader { return struct{ io.Reader }{r} },
		"byte by byte":      iotest.OneByteReader,
	} {
		f, _ := newFiles(t)
		for i, size := range sizes {
			b, data := blobNamed(byte(i)), content(size)
			w, err := f.Create(t.Context(), b, func([]byte) {})
			if err != nil {
				t.Fatal(err)
			}
			n, err := w.ReadFrom(wrap(bytes.NewReader(data)))
			if err := errors.Join(err, w.Commit()); err != nil || n != int64(size) {
				t.Fatalf("%s: %d bytes: read %d, %v", name, size, n, err)
			}
			if got, err := get(f, b, size); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes: got %d, %v", name, size, len(got), err)
			}
		}
	}
}

// Writes of any length give the same file.
func TestWritesOfAnyLength(t *testing.T) {
	f, d := newFiles(t)
	b, data := blobNamed(1), content(2*chunkSize+9)
	put(t, f, b, data)
	want, err := os.ReadFile(d.file(b.ID.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	w, err := f.Create(t.Context(), b, func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 1+rand.IntN(2*chunkSize))
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(d.file(b.ID.String()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the files differ, %v", err)
	}
}

// A file opens only if it is exactly what was written under the key.
func TestChangedBlobsDoNotOpen(t *testing.T) {
	const size = 3*chunkSize + 5
	chunk := func(b []byte, n int) []byte {
		return b[headerSize+n*sealedSize : min(len(b), headerSize+(n+1)*sealedSize)]
	}
	for name, change := range map[string]func(file, other []byte) []byte{
		"swapped chunks": func(b, _ []byte) []byte {
			c := bytes.Clone(b)
			copy(chunk(c, 0), chunk(b, 1))
			copy(chunk(c, 1), chunk(b, 0))
			return c
		},
		"a chunk twice":          func(b, _ []byte) []byte { copy(chunk(b, 1), chunk(b, 0)); return b },
		"a chunk of another":     func(b, o []byte) []byte { copy(chunk(b, 1), chunk(o, 1)); return b },
		"the last of another":    func(b, o []byte) []byte { copy(chunk(b, 3), chunk(o, 3)); return b },
		"cut at a chunk":         func(b, _ []byte) []byte { return b[:headerSize+3*sealedSize] },
		"cut within a chunk":     func(b, _ []byte) []byte { return b[:len(b)-1] },
		"only a header":          func(b, _ []byte) []byte { return b[:headerSize] },
		"empty":                  func([]byte, []byte) []byte { return nil },
		"extended":               func(b, _ []byte) []byte { return append(b, 0) },
		"extended by a chunk":    func(b, _ []byte) []byte { return append(b, chunk(b, 3)...) },
		"a flipped bit":          func(b, _ []byte) []byte { b[len(b)/2] ^= 1; return b },
		"a flipped bit in a tag": func(b, _ []byte) []byte { b[headerSize+sealedSize-1] ^= 0x80; return b },
		"another blob":           func(_, o []byte) []byte { return o },
	} {
		t.Run(name, func(t *testing.T) {
			f, d := newFiles(t)
			b, other := blobNamed(1), blobNamed(2)
			other.Key = b.Key // even under the same key
			put(t, f, b, content(size))
			put(t, f, other, content(size))
			path := d.file(b.ID.String())
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			foreign, err := os.ReadFile(d.file(other.ID.String()))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(file, foreign), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := get(f, b, size); !errors.Is(err, ErrDamaged) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
			if err := f.Check(t.Context(), b, size); !errors.Is(err, ErrDamaged) {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

// A truncated blob is detected even if the row has the shorter length.
func TestBlobsOfAnotherSizeOrKeyDoNotOpen(t *testing.T) {
	f, d := newFiles(t)
	b := blobNamed(1)
	put(t, f, b, content(2*chunkSize))
	if err := os.Truncate(d.file(b.ID.String()), fileSize(chunkSize)); err != nil {
		t.Fatal(err)
	}
	if got, err := get(f, b, chunkSize); !errors.Is(err, ErrDamaged) {
		t.Errorf("truncated: read %d bytes, %v", len(got), err)
	}
	b = blobNamed(2)
	put(t, f, b, content(100))
	for name, wrong := range map[string]im.Blob{
		"another key":  {ID: b.ID, Slot: b.Slot, Key: im.Key{9}},
		"another slot": {ID: b.ID, Slot: b.Slot + 1, Key: b.Key},
	} {
		if _, err := get(f, wrong, 100); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := get(NewFiles(d, im.StoreID{9}), b, 100); !errors.Is(err, ErrDamaged) {
		t.Errorf("another store: %v", err)
	}
	if _, err := get(f, blobNamed(3), 100); !errors.Is(err, im.ErrNotFound) {
		t.Errorf("no file: %v", err)
	}
}

func TestNothingIsVisibleBeforeCommit(t *testing.T) {
	f, d := newFiles(t)
	b := blobNamed(1)
	w, err := f.Create(t.Context(), b, func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content(2 * chunkSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := get(f, b, 2*chunkSize); !errors.Is(err, im.ErrNotFound) {
		t.Errorf("before Commit: %v", err)
	}
	list := all(t, f)
	if len(list) != 1 || !list[0].Unfinished || list[0].ID != b.ID || list[0].Slot != b.Slot {
		t.Errorf("listed as %+v", list)
	}
	if wrote, err := f.Wrote(t.Context(), list[0], b.Key); err != nil || !wrote {
		t.Errorf("Wrote = %v, %v", wrote, err)
	}
	if wrote, err := f.Wrote(t.Context(), list[0], im.Key{9}); err != nil || wrote {
		t.Errorf("with another key: Wrote = %v, %v", wrote, err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if list := all(t, f); len(list) != 0 {
		t.Errorf("after Abort: %+v", list)
	}
	if left := files(t, d); len(left) != 0 {
		t.Errorf("after Abort: %v", left)
	}
}

func all(tb testing.TB, f *Files) (list []im.BlobFile) {
	tb.Helper()
	err := f.List(tb.Context(), func(b im.BlobFile) error { list = append(list, b); return nil })
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// files returns the names of all files.
func files(tb testing.TB, d *Dir) (list []string) {
	tb.Helper()
	err := filepath.WalkDir(d.path, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// Blobs of other stores, and files that are not blobs, are neither listed nor changed.
func TestListSkipsForeignFiles(t *testing.T) {
	f, d := newFiles(t)
	put(t, f, blobNamed(1), content(10))
	put(t, f, blobNamed(2), content(chunkSize))
	put(t, NewFiles(d, im.StoreID{9}), blobNamed(3), content(10))
	name := blobNamed(4).ID.String()
	for path, data := range map[string]string{
		filepath.Join(d.path, "README"):                "hello",
		filepath.Join(d.path, "stranger", "file"):      "hello",
		filepath.Join(d.path, sub(name), "x"):          "hello",
		filepath.Join(d.path, sub(name), name):         strings.Repeat("not a blob ", 99),
		filepath.Join(d.path, "00", name+"0"):          "hello",
		filepath.Join(d.path, unfinishedDir, "UPPER"):  "hello",
		filepath.Join(d.path, unfinishedDir, name[2:]): "hello",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var ids []im.ID
	for _, b := range all(t, f) {
		ids = append(ids, b.ID)
	}
	slices.Sort(ids)
	if !slices.Equal(ids, []im.ID{blobNamed(1).ID, blobNamed(2).ID}) {
		t.Errorf("listed %v", ids)
	}
}

// An unfinished file without a whole header has no content and is listed, so that it is
// swept.
func TestListHasFilesThatWereJustBegun(t *testing.T) {
	f, d := newFiles(t)
	id := blobNamed(1).ID
	if err := os.WriteFile(d.unfinished(id.String()), []byte(magic), 0o600); err != nil {
		t.Fatal(err)
	}
	if list := all(t, f); len(list) != 1 || list[0].ID != id || list[0].Slot != 0 || !list[0].Unfinished {
		t.Errorf("listed %+v", list)
	}
}

func TestDeletingWhatDoesNotExist(t *testing.T) {
	f, _ := newFiles(t)
	b := blobNamed(1)
	put(t, f, b, content(10))
	for range 2 {
		if err := f.Delete(t.Context(), b.ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := get(f, b, 10); !errors.Is(err, im.ErrNotFound) {
		t.Error(err)
	}
}

// FuzzChangedBlob changes a file at any offset; whatever can still be read is what was written.
func FuzzChangedBlob(f *testing.F) {
	f.Add(uint32(0), byte(1), uint32(0))
	f.Add(uint32(headerSize), byte(0x80), uint32(0))
	f.Add(uint32(headerSize+sealedSize), byte(255), uint32(5))
	const size = chunkSize + 100
	files, d := newFiles(f)
	b, data := blobNamed(1), content(size)
	put(f, files, b, data)
	path := d.file(b.ID.String())
	original, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, at uint32, flip byte, cut uint32) {
		changed := bytes.Clone(original)
		if int(at) < len(changed) {
			changed[at] ^= flip
		}
		changed = changed[:len(changed)-min(len(changed), int(cut))]
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, length := range []int{size, len(changed) - headerSize - 2*tagSize, len(changed) - headerSize - tagSize} {
			if length < 0 {
				continue
			}
			got, err := get(files, b, length)
			if err == nil && length > 0 && !bytes.Equal(got, data) {
				t.Fatalf("read %d bytes that were not written", len(got))
			}
		}
		if err := files.Check(t.Context(), b, size); err == nil && !bytes.Equal(changed, original) {
			t.Fatal("Check found nothing")
		}
	})
}

// fullDisk is an engine with room for a number of writes, one per chunk.
type fullDisk struct {
	*Dir
	room int
}

type fullWriter struct {
	Writer
	room *int
}

func (d *fullDisk) Create(ctx context.Context, name string) (Writer, error) {
	w, err := d.Dir.Create(ctx, name)
	return fullWriter{w, &d.room}, err
}

func (w fullWriter) Write(p []byte) (int, error) {
	if *w.room == 0 {
		return 0, syscall.ENOSPC
	}
	*w.room--
	return w.Writer.Write(p)
}

// The disk may become full at any write, including the last one.
func TestFullDisk(t *testing.T) {
	for room := range 2 {
		_, d := newFiles(t)
		w, err := NewFiles(&fullDisk{d, room}, testStore).Create(t.Context(), blobNamed(1), func([]byte) {})
		if err == nil {
			if _, err = io.Copy(w, bytes.NewReader(content(2*chunkSize))); err == nil {
				err = w.Commit()
			} else {
				err = errors.Join(err, w.Abort())
			}
		}
		if e, ok := im.AsError(err); !ok || e.Kind != im.Full {
			t.Errorf("room for %d writes: %v", room, err)
		}
		if err := d.List(t.Context(), func(e Entry) error { return fmt.Errorf("%s is left", e.Name) }); err != nil {
			t.Error(err)
		}
	}
}

// TestSeenPanics: a panic of seen is repeated in the caller's goroutine, where it fails only one
// request. In the other goroutine it would end the process.
func TestSeenPanics(t *testing.T) {
	for _, at := range []int{1, 2, 3} { // chunks are numbered from 1; there are three
		f, d := newFiles(t)
		parts := 0
		w, err := f.Create(t.Context(), blobNamed(1), func([]byte) {
			if parts++; parts == at {
				panic("for a test")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if p := recover(); p != "for a test" {
					t.Errorf("chunk %d: the caller's panic is %v", at, p)
				}
			}()
			_, err = w.ReadFrom(bytes.NewReader(content(3 * chunkSize)))
			t.Error(errors.Join(err, w.Commit()))
		}()
		if err := w.Abort(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(d.file(blobNamed(1).ID.String())); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("chunk %d: the file still exists: %v", at, err)
		}
	}
}
