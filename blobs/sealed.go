package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"github.com/imapi/imapi/im"
)

// Files are the sealed blobs of one store of messages. It implements [im.Blobs].
type Files struct {
	store Store
	id    im.StoreID
}

var _ im.Blobs = (*Files)(nil)

// NewFiles returns the blobs that an engine has for a store.
func NewFiles(engine Store, store im.StoreID) *Files { return &Files{store: engine, id: store} }

// buffers are chunks with room for their tags. One upload or download has one of them.
var buffers = sync.Pool{New: func() any { return new([sealedSize]byte) }}

func takeBuffer() *[sealedSize]byte {
	b, _ := buffers.Get().(*[sealedSize]byte)
	return b
}

// giveBuffer clears a buffer and makes it available. It may have had content.
func giveBuffer(b *[sealedSize]byte) {
	clear(b[:])
	buffers.Put(b)
}

// Create begins a blob as [im.Blobs] says.
func (f *Files) Create(ctx context.Context, b im.Blob, seen func([]byte)) (im.BlobWriter, error) {
	w, err := f.store.Create(ctx, b.ID.String())
	if err != nil {
		return nil, refusal(err)
	}
	s := newSeal(f.id, b)
	if _, err := w.Write(s.header()); err != nil {
		return nil, errors.Join(refusal(err), w.Abort())
	}
	return &writer{out: w, seal: s, seen: seen, buf: takeBuffer()}, nil
}

// writer seals what it is given. It holds a full chunk back until there is more, because the
// last chunk is sealed differently.
type writer struct {
	out   Writer
	seal  seal
	seen  func([]byte)
	buf   *[sealedSize]byte
	used  int
	chunk int64 // number of the next one
	err   error
}

// Write seals each full chunk.
func (w *writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		if w.used == chunkSize {
			w.flush(false)
			continue
		}
		took := copy(w.buf[w.used:chunkSize], p)
		w.used, n, p = w.used+took, n+took, p[took:]
	}
	return n, w.err
}

// ReadFrom reads straight into the chunk, which saves a copy. It reads until EOF.
func (w *writer) ReadFrom(r io.Reader) (n int64, err error) {
	var next [1]byte
	for w.err == nil {
		into := w.buf[w.used:chunkSize]
		if len(into) == 0 {
			into = next[:] // a full chunk may be the last one
		}
		took, err := r.Read(into)
		if w.used == chunkSize && took > 0 {
			w.flush(false)
			w.buf[0] = next[0]
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

func (w *writer) flush(last bool) {
	switch {
	case w.err != nil:
	case w.buf == nil:
		w.err = fs.ErrClosed
	case w.chunk >= maxChunks:
		w.err = errors.New("blobs: too many chunks")
	default:
		w.seen(w.buf[:w.used])
		if _, err := w.out.Write(w.seal.close(w.buf[:w.used], w.chunk, last)); err != nil {
			w.err = refusal(err)
		}
		w.chunk++
		w.used = 0
	}
}

// Commit seals the last chunk and makes the blob durable and visible.
func (w *writer) Commit() error {
	w.flush(true)
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
	if w.buf != nil {
		giveBuffer(w.buf)
		w.buf, w.err = nil, fs.ErrClosed
	}
}

// Open opens a blob of size bytes. It checks only that the blob exists; the bytes are checked
// as they are read.
func (f *Files) Open(ctx context.Context, b im.Blob, size int64) (io.ReadSeekCloser, error) {
	r := &reader{ctx: ctx, files: f, name: b.ID.String(), seal: newSeal(f.id, b), size: size, have: -1}
	if err := r.seekChunk(0); err != nil {
		return nil, err
	}
	return r, nil
}

// reader opens chunks as they are read. It has one of them in memory until all of it is read.
type reader struct {
	ctx   context.Context //nolint:containedctx // that of the request
	files *Files
	name  string
	seal  seal
	size  int64

	at     int64 // offset of the next byte
	in     io.ReadCloser
	next   int64 // number of the chunk at which in is
	buf    *[sealedSize]byte
	have   int64 // number of the chunk that is in plain, -1 if none is
	plain  []byte
	closed bool
}

// seekChunk makes chunk n the next to be read.
func (r *reader) seekChunk(n int64) error {
	if r.in != nil && r.next == n {
		return nil
	}
	if r.in != nil {
		_ = r.in.Close() // only read
		r.in = nil
	}
	in, length, err := r.files.store.Open(r.ctx, r.name, headerSize+n*sealedSize)
	if errors.Is(err, ErrNotFound) {
		return im.ErrNotFound
	}
	if err != nil {
		return refusal(err)
	}
	if length != fileSize(r.size) {
		_ = in.Close()
		return ErrDamaged
	}
	r.in, r.next = in, n
	return nil
}

// Read reads from one chunk. It returns [ErrDamaged] if the chunk is not what was written.
func (r *reader) Read(p []byte) (int, error) {
	switch {
	case r.closed:
		return 0, fs.ErrClosed
	case r.at >= r.size:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	chunk := r.at / chunkSize
	if r.have != chunk {
		if err := r.load(chunk); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.plain[r.at%chunkSize:])
	if r.at += int64(n); r.at == r.size {
		r.forget()
	}
	return n, nil
}

// load opens a chunk.
func (r *reader) load(n int64) error {
	if err := r.seekChunk(n); err != nil {
		return err
	}
	if r.buf == nil {
		r.buf = takeBuffer()
	}
	r.have = -1
	last := n == chunks(r.size)-1
	length := int64(sealedSize)
	if last {
		length = r.size - n*chunkSize + tagSize
	}
	if _, err := io.ReadFull(r.in, r.buf[:length]); err != nil {
		_ = r.in.Close()
		r.in = nil
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return ErrDamaged
		}
		return refusal(err)
	}
	r.next++
	plain, err := r.seal.open(r.buf[:length], n, last)
	if err != nil {
		return err
	}
	r.plain, r.have = plain, n
	return nil
}

// forget gives the buffer away.
func (r *reader) forget() {
	if r.buf != nil {
		giveBuffer(r.buf)
		r.buf, r.plain, r.have = nil, nil, -1
	}
}

// Seek sets the offset of the next Read.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	default:
		return 0, errors.New("blobs: invalid whence")
	}
	if offset < 0 {
		return 0, errors.New("blobs: negative offset")
	}
	r.at = offset
	return offset, nil
}

// Close closes the blob.
func (r *reader) Close() error {
	r.forget()
	r.closed = true
	if r.in == nil {
		return nil
	}
	in := r.in
	r.in = nil
	return in.Close()
}

// Check reads a whole blob and returns why it cannot be read: [im.ErrNotFound],
// [ErrDamaged], or that of reading.
func (f *Files) Check(ctx context.Context, b im.Blob, size int64) error {
	if err := f.checkHeader(ctx, b); err != nil {
		return err
	}
	r, err := f.Open(ctx, b, size)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	if err == nil && size == 0 { // nothing was read, but there is a chunk
		in := r.(*reader) //nolint:forcetypeassert // Open returns nothing else
		err = in.load(0)
	}
	return errors.Join(err, r.Close())
}

func (f *Files) checkHeader(ctx context.Context, b im.Blob) error {
	in, _, err := f.store.Open(ctx, b.ID.String(), 0)
	if errors.Is(err, ErrNotFound) {
		return im.ErrNotFound
	}
	if err != nil {
		return refusal(err)
	}
	h, err := readHeader(in)
	if err == nil && !newSeal(f.id, b).fits(h) {
		err = ErrDamaged
	}
	return err
}

// readHeader reads the header of a file and closes it.
func readHeader(in io.ReadCloser) ([]byte, error) {
	h := make([]byte, headerSize)
	_, err := io.ReadFull(in, h)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrDamaged
	}
	return h, errors.Join(err, in.Close())
}

// Delete deletes a blob. It does nothing if there is none.
func (f *Files) Delete(ctx context.Context, id im.ID) error { return f.store.Delete(ctx, id.String()) }

// List calls fn with each blob of this store, in any order. It leaves out blobs of other
// stores, and files that are not blobs. It returns an error of fn unchanged.
func (f *Files) List(ctx context.Context, fn func(im.BlobFile) error) error {
	return f.store.List(ctx, func(e Entry) error {
		file, ours, err := f.describe(ctx, e)
		if err != nil || !ours {
			return err
		}
		return fn(file)
	})
}

// describe reads the header of a blob. It reports false for one that is not of this store, that
// does not say so, or that is gone.
func (f *Files) describe(ctx context.Context, e Entry) (file im.BlobFile, ours bool, err error) {
	id, ok := im.ParseID(e.Name)
	if !ok {
		return file, false, nil
	}
	file = im.BlobFile{ID: id, Changed: e.Changed, Unfinished: e.Unfinished}
	header, err := f.headerOf(ctx, e)
	switch o, is := readOwner(header); {
	case errors.Is(err, ErrNotFound): // deleted or finished meanwhile
		return file, false, nil
	case errors.Is(err, ErrDamaged): // cut off; while it is unfinished, nothing is in it
		return file, e.Unfinished, nil
	case err != nil:
		return file, false, refusal(err)
	default:
		file.Slot = o.slot
		return file, is && o.store == f.id && o.id == id, nil
	}
}

func (f *Files) headerOf(ctx context.Context, e Entry) ([]byte, error) {
	in, err := f.store.OpenEntry(ctx, e)
	if err != nil {
		return nil, err
	}
	return readHeader(in)
}

// Wrote reports whether a blob was begun under this key. The slot of a [im.BlobFile] is only
// what its header says; a key must not be shredded because a file claims it.
func (f *Files) Wrote(ctx context.Context, file im.BlobFile, key im.Key) (bool, error) {
	header, err := f.headerOf(ctx, Entry{Name: file.ID.String(), Unfinished: file.Unfinished})
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
		return false, nil
	}
	if err != nil {
		return false, refusal(err)
	}
	return newSeal(f.id, im.Blob{ID: file.ID, Slot: file.Slot, Key: key}).fits(header), nil
}

// refusal converts an error of the engine: a full disk is [im.Full], others are
// [im.Unavailable].
func refusal(err error) error {
	if _, ok := im.AsError(err); ok {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &im.Error{Kind: im.Full, Code: "storage_full", Message: "the storage is full", Cause: err}
	}
	return &im.Error{
		Kind: im.Unavailable, Code: "storage_unavailable", Message: "the storage of attachments is not available",
		Cause: fmt.Errorf("blobs: %w", err),
	}
}
