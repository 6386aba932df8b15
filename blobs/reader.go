package blobs

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/imapi/imapi/im"
)

// Open opens a blob of size bytes. It checks only that the file exists and has the length that
// belongs to the size; the bytes are checked as they are read.
func (f *Files) Open(ctx context.Context, b im.Blob, size int64) (im.BlobReader, error) {
	r := &reader{ctx: ctx, files: f, name: b.ID.String(), seal: newSeal(f.id, b), size: size}
	if err := r.seekChunk(0); err != nil {
		return nil, err
	}
	return r, nil
}

// reader reads a blob in runs of chunks. It keeps one run in memory and, if the caller will read
// further, loads the next run in another goroutine.
type reader struct {
	ctx   context.Context //nolint:containedctx // that of the request
	files *Files
	name  string
	seal  seal
	size  int64

	at     int64 // offset of the next byte
	have   run   // has that byte, or bytes before it, or is empty
	spare  []*runBuffer
	closed bool
	// loading gets the run that another goroutine loads; it is nil if none is being loaded.
	// While a run is being loaded, only that goroutine uses in and ahead.
	loading chan run
	in      io.ReadCloser
	ahead   int64 // number of the chunk that in reads next
}

// run is a part of a blob in memory: consecutive chunks, unsealed.
type run struct {
	buf   *runBuffer
	from  int64 // offset of the first byte
	plain []byte
}

// has reports whether a byte is in the run.
func (r run) has(at int64) bool { return at >= r.from && at < r.from+int64(len(r.plain)) }

// seekChunk makes chunk n the next to be read.
func (r *reader) seekChunk(n int64) error {
	if r.in != nil && r.ahead == n {
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
	r.in, r.ahead = in, n
	return nil
}

// Read reads from one chunk. It returns [ErrDamaged] if the chunk is not what was written.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 && !r.closed && r.at < r.size {
		return 0, nil
	}
	// Ask for no more than the rest of a chunk, so that a caller who reads little loads nothing
	// ahead.
	part, err := r.Next(min(int64(len(p)), chunkSize-r.at%chunkSize))
	n := copy(p, part)
	if err == nil && r.at == r.size {
		r.forget()
	}
	return n, err
}

// Next returns the next bytes, as [im.BlobReader] says. It begins to load the bytes after them, up
// to limit.
func (r *reader) Next(limit int64) ([]byte, error) {
	switch {
	case r.closed:
		return nil, fs.ErrClosed
	case r.at >= r.size:
		return nil, io.EOF
	}
	limit = min(limit, r.size-r.at)
	if !r.have.has(r.at) {
		if err := r.advance(limit); err != nil {
			return nil, err
		}
	}
	part := r.have.plain[r.at-r.have.from:]
	part = part[:min(int64(len(part)), limit)]
	r.at += int64(len(part))
	if limit -= int64(len(part)); limit > 0 && r.loading == nil {
		r.loadAhead(limit)
	}
	return part, nil
}

// advance sets have to the run with the next byte.
func (r *reader) advance(limit int64) error {
	r.free(r.have)
	r.have = r.wait()
	if r.have.has(r.at) {
		return nil
	}
	// Nothing was loaded, loading failed, or Seek was called in the meantime.
	r.free(r.have)
	var err error
	r.have, err = r.load(r.at, limit, r.take())
	return err
}

// loadAhead begins to load the run after the present one.
func (r *reader) loadAhead(limit int64) {
	at, buf, loading := r.at, r.take(), make(chan run, 1)
	r.loading = loading
	go func() {
		ahead, _ := r.load(at, limit, buf) // advance tries again and returns the error
		loading <- ahead
	}()
}

// wait returns the run that is being loaded, an empty one if there is none.
func (r *reader) wait() (ahead run) {
	if r.loading != nil {
		ahead = <-r.loading
		r.loading = nil
	}
	return ahead
}

// load reads and unseals the chunks with the limit bytes from an offset on, as many as a buffer has
// room for. If a chunk fails, load returns the chunks before it. It returns the error only if the
// first chunk fails.
func (r *reader) load(at, limit int64, buf *runBuffer) (run, error) {
	first := at / chunkSize
	end := min((at+limit-1)/chunkSize+1, first+runChunks, chunks(r.size))
	loaded := run{buf: buf, from: first * chunkSize}
	for n := first; n < end; n++ {
		// This chunk overwrites the tag of the previous one, so that the plain bytes are contiguous.
		chunk, err := r.loadChunk(n, buf[len(loaded.plain):])
		if n > first && err != nil {
			return loaded, nil //nolint:nilerr // the load that begins with this chunk returns it
		}
		if err != nil {
			return loaded, err
		}
		loaded.plain = buf[:len(loaded.plain)+len(chunk)]
	}
	return loaded, nil
}

// loadChunk reads chunk n and unseals it at the beginning of buf.
func (r *reader) loadChunk(n int64, buf []byte) ([]byte, error) {
	if err := r.seekChunk(n); err != nil {
		return nil, err
	}
	last := n == chunks(r.size)-1
	length := int64(sealedSize)
	if last {
		length = r.size - n*chunkSize + tagSize
	}
	if _, err := io.ReadFull(r.in, buf[:length]); err != nil {
		_ = r.in.Close()
		r.in = nil
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, ErrDamaged
		}
		return nil, refusal(err)
	}
	r.ahead++
	return r.seal.open(buf[:length], n, last)
}

// take returns a buffer. free keeps the buffer of a run for the next call of take.
func (r *reader) take() *runBuffer {
	if n := len(r.spare); n > 0 {
		buf := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return buf
	}
	return takeRunBuffer()
}

func (r *reader) free(used run) {
	if used.buf != nil {
		r.spare = append(r.spare, used.buf)
	}
}

// forget returns all buffers to the pool.
func (r *reader) forget() {
	r.free(r.wait())
	r.free(r.have)
	r.have = run{}
	for _, buf := range r.spare {
		giveRunBuffer(buf)
	}
	r.spare = nil
}

// Seek sets the offset at which the next Read or Next begins.
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
