package blobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

func TestRangesOfABlob(t *testing.T) {
	f, _ := newFiles(t)
	const size = 3*chunkSize + 77
	b, data := blobNamed(1), content(size)
	put(t, f, b, data)
	r, err := f.Open(t.Context(), b, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(r, data); err != nil {
		t.Error(err)
	}
	for range 200 {
		at := rand.Int64N(size)
		part := make([]byte, 1+rand.IntN(2*chunkSize))
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(r, part)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(part[:n], data[at:at+int64(n)]) {
			t.Fatalf("%d bytes from %d: %v", n, at, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// TestNextSavesTheCopy: the parts that Next returns are those that Read copies, whatever the caller
// still wants.
func TestNextSavesTheCopy(t *testing.T) {
	f, _ := newFiles(t)
	for i, size := range sizes {
		b, data := blobNamed(byte(i)), content(size)
		put(t, f, b, data)
		for name, limit := range map[string]func(left int64) int64{
			"all of it":     func(left int64) int64 { return left },
			"more than all": func(left int64) int64 { return left + chunkSize },
			"any part":      func(int64) int64 { return 1 + rand.Int64N(2*runChunks*chunkSize) },
		} {
			r, err := f.Open(t.Context(), b, int64(size))
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for {
				part, err := r.Next(limit(int64(size - len(got))))
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || len(part) == 0 {
					t.Fatalf("%d bytes, %s: %d, %v", size, name, len(part), err)
				}
				got = append(got, part...)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %s: %d others", size, name, len(got))
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestSeekWhileLoading: Next returns what follows the offset, although other chunks are being
// loaded, and a reader may be closed meanwhile.
func TestSeekWhileLoading(t *testing.T) {
	f, _ := newFiles(t)
	const size = 5*runChunks*chunkSize + 77
	b, data := blobNamed(1), content(size)
	put(t, f, b, data)
	for range 50 {
		r, err := f.Open(t.Context(), b, size)
		if err != nil {
			t.Fatal(err)
		}
		for range rand.IntN(5) {
			at := rand.Int64N(size)
			if _, err := r.Seek(at, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			for range rand.IntN(3) {
				part, err := r.Next(size - at)
				if err != nil && (at < size || !errors.Is(err, io.EOF)) || !bytes.Equal(part, data[at:at+int64(len(part))]) {
					t.Fatalf("%d bytes at %d: %v", len(part), at, err)
				}
				at += int64(len(part))
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.Next(1); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// countingDir counts what is read.
type countingDir struct {
	*Dir
	read atomic.Int64
}

type countingReader struct {
	io.ReadCloser
	read *atomic.Int64
}

func (d *countingDir) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	in, size, err := d.Dir.Open(ctx, name, offset)
	return countingReader{in, &d.read}, size, err
}

func (r countingReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.read.Add(int64(n))
	return n, err
}

// TestNextLoadsNoMoreThanWanted: a range of a file costs the chunks that it is in, and a reader
// that is slow has at most two runs of them loaded.
func TestNextLoadsNoMoreThanWanted(t *testing.T) {
	files, d := newFiles(t)
	const size = 5 * runChunks * chunkSize
	b := blobNamed(1)
	put(t, files, b, content(size))
	for name, test := range map[string]struct {
		at, limit int64
		chunks    int64
	}{
		"a byte":                  {7 * chunkSize, 1, 1},
		"the end of a chunk":      {chunkSize - 1, 1, 1},
		"across two chunks":       {chunkSize - 1, 2, 2},
		"a run":                   {chunkSize, runChunks * chunkSize, runChunks},
		"a run and a byte":        {0, runChunks*chunkSize + 1, runChunks + 1},
		"all of it":               {0, size, 2 * runChunks},
		"all from within a chunk": {chunkSize / 2, size, 2 * runChunks},
	} {
		counting := &countingDir{Dir: d}
		r, err := NewFiles(counting, testStore).Open(t.Context(), b, size)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Seek(test.at, io.SeekStart)
		if err == nil {
			_, err = r.Next(test.limit)
		}
		if err := errors.Join(err, r.Close()); err != nil { // Close waits for what is being loaded
			t.Fatal(err)
		}
		if got := counting.read.Load(); got != test.chunks*sealedSize {
			t.Errorf("%s: %d bytes were read, want %d chunks", name, got, test.chunks)
		}
	}
}

// TestDataBeforeDamageIsRead: what comes before a damaged chunk can be read, whether or not the
// chunk was loaded ahead.
func TestDataBeforeDamageIsRead(t *testing.T) {
	const size = 3 * runChunks * chunkSize
	for _, damaged := range []int{0, 1, runChunks - 1, runChunks, runChunks + 1, 3*runChunks - 1} {
		f, d := newFiles(t)
		b, data := blobNamed(1), content(size)
		put(t, f, b, data)
		path := d.file(b.ID.String())
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file[headerSize+damaged*sealedSize+5] ^= 1
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := f.Open(t.Context(), b, size)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for err == nil {
			var part []byte
			part, err = r.Next(int64(size - len(got)))
			got = append(got, part...)
		}
		if !errors.Is(err, ErrDamaged) || !bytes.Equal(got, data[:damaged*chunkSize]) {
			t.Errorf("chunk %d is damaged: read %d bytes, %v", damaged, len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
