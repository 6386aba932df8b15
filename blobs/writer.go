package blobs

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/imapi/imapi/im"
)

// Create begins a blob as [im.Blobs] says.
func (f *Files) Create(ctx context.Context, b im.Blob, seen func([]byte)) (im.BlobWriter, error) {
	w, err := f.store.Create(ctx, b.ID.String())
	if err != nil {
		return nil, refusal(err)
	}
	out := &writer{out: w, seal: newSeal(f.id, b), seen: watcher{look: seen}, plain: takeBuffer(), sealed: takeBuffer()}
	out.ready = copy(out.sealed[:], out.seal.header())
	return out, nil
}

// writer seals what is written to it. It holds a full chunk back until more data arrives, because
// the last chunk is sealed differently. While any other chunk is sealed and written, another
// goroutine calls seen with it: hashing a chunk takes about as long as the rest. Commit itself
// calls seen with the last chunk.
type writer struct {
	out  Writer
	seal seal
	seen watcher
	// plain is what has not been sealed yet. next holds the previous chunk until seen returns, and
	// is then free for the next chunk. next is nil as long as the first chunk is not full.
	plain, next *buffer
	used        int // of plain
	// sealed is what has not been written yet. Every write except the last ends on a page boundary.
	sealed *buffer
	ready  int   // of sealed
	chunk  int64 // number of the next one
	err    error
}

// Write seals each full chunk once more data arrives.
func (w *writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		if w.used == chunkSize {
			w.flush()
			continue
		}
		took := copy(w.plain[w.used:chunkSize], p)
		w.used, n, p = w.used+took, n+took, p[took:]
	}
	return n, w.err
}

// ReadFrom reads straight into the chunk, which saves a copy. It reads until EOF.
func (w *writer) ReadFrom(r io.Reader) (n int64, err error) {
	for w.err == nil {
		full := w.used == chunkSize // and may be the last one
		into := w.plain[w.used:chunkSize]
		if full {
			into = w.spare()[:chunkSize]
		}
		took, err := r.Read(into)
		if full && took > 0 {
			w.flush()
		}
		w.used, n = w.used+took, n+int64(took)
		if errors.Is(err, io.EOF) {
			return n, w.err
		}
		if err != nil {
			return n, err
		}
	}
	return n, w.err
}

// spare waits until seen has returned, and returns the memory for the next chunk.
func (w *writer) spare() *buffer {
	if w.next == nil {
		w.next = takeBuffer()
	}
	w.seen.wait()
	return w.next
}

// flush seals and writes a chunk that is not the last one.
func (w *writer) flush() {
	next := w.spare()
	w.seen.pass(w.plain[:w.used])
	w.write(false)
	w.plain, w.next, w.used = next, w.plain, 0
}

// write seals the chunk in plain. It writes the full pages of what is sealed, or all of it if the
// chunk is the last.
func (w *writer) write(last bool) {
	if w.chunk >= maxChunks {
		w.err = errors.New("blobs: too many chunks")
		return
	}
	sealed := w.seal.close(w.sealed[:w.ready], w.plain[:w.used], w.chunk, last)
	pages := len(sealed)
	if !last {
		pages -= pages % pageSize
	}
	if _, err := w.out.Write(sealed[:pages]); err != nil {
		w.err = refusal(err)
	}
	w.ready = copy(w.sealed[:], sealed[pages:])
	w.chunk++
}

// Commit seals the last chunk and makes the blob durable and visible.
func (w *writer) Commit() error {
	if w.err == nil {
		w.seen.wait()
		w.seen.look(w.plain[:w.used])
		w.write(true)
	}
	if err := w.err; err != nil {
		return errors.Join(err, w.Abort()) // Abort sets w.err
	}
	w.release()
	if err := w.out.Commit(); err != nil {
		return refusal(err)
	}
	return nil
}

// Abort discards the blob.
func (w *writer) Abort() error {
	w.release()
	return w.out.Abort()
}

func (w *writer) release() {
	w.seen.close()
	for _, b := range []**buffer{&w.plain, &w.next, &w.sealed} {
		giveBuffer(*b)
		*b = nil
	}
	w.used, w.err = 0, fs.ErrClosed
}

// watcher calls look with the parts of a file, in a goroutine of its own.
type watcher struct {
	look  func(part []byte)
	parts chan []byte // nil if there is no goroutine
	done  chan any    // receives the panic of look, or nil, for each part
	busy  bool        // a part was passed and not awaited
}

// pass starts a call of look with a part, which must not change before wait returns. Call wait
// before passing the next part.
func (w *watcher) pass(part []byte) {
	if w.parts == nil {
		parts, done := make(chan []byte), make(chan any, 1)
		w.parts, w.done = parts, done
		go func() {
			for part := range parts {
				done <- recovered(w.look, part)
			}
		}()
	}
	w.busy = true
	w.parts <- part
}

// recovered calls look and returns its panic.
func recovered(look func([]byte), part []byte) (panicked any) {
	defer func() { panicked = recover() }()
	look(part)
	return nil
}

// wait waits until look has returned. It repeats a panic of look, which in the other goroutine
// would end the process.
func (w *watcher) wait() {
	if !w.busy {
		return
	}
	w.busy = false
	if panicked := <-w.done; panicked != nil {
		w.close()
		panic(panicked)
	}
}

// close ends the goroutine once look has returned.
func (w *watcher) close() {
	if w.busy {
		w.busy = false
		<-w.done
	}
	if w.parts != nil {
		close(w.parts)
		w.parts = nil
	}
}
