package blobs

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/imapi/imapi/im"
)

// Open opens a blob of size bytes. It checks only that the blob exists; the bytes are checked
// as they are read.
func (f *Files) Open(ctx context.Context, b im.Blob, size int64) (im.BlobReader, error) {
	r := &reader{ctx: ctx, files: f, name: b.ID.String(), seal: newSeal(f.id, b), size: size, have: -1}
	if err := r.seekChunk(0); err != nil {
		return nil, err
	}
	return r, nil
}

// reader opens chunks as they are read. It keeps one chunk in memory.
type reader struct {
	ctx   context.Context //nolint:containedctx // that of the request
	files *Files
	name  string
	seal  seal
	size  int64

	at     int64 // offset of the next byte
	in     io.ReadCloser
	ahead  int64 // number of the chunk at which in is
	buf    *buffer
	have   int64 // number of the chunk that is in plain, -1 if none is
	plain  []byte
	closed bool
}

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
	part, err := r.Next(len(p))
	n := copy(p, part)
	if err == nil && r.at == r.size {
		r.forget()
	}
	return n, err
}

// Next returns up to limit bytes of one chunk, as [im.BlobReader] says.
func (r *reader) Next(limit int) ([]byte, error) {
	switch {
	case r.closed:
		return nil, fs.ErrClosed
	case r.at >= r.size:
		return nil, io.EOF
	}
	chunk := r.at / chunkSize
	if r.have != chunk {
		if err := r.load(chunk); err != nil {
			return nil, err
		}
	}
	part := r.plain[r.at%chunkSize:]
	part = part[:min(len(part), limit)]
	r.at += int64(len(part))
	return part, nil
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
	r.ahead++
	plain, err := r.seal.open(r.buf[:length], n, last)
	if err != nil {
		return err
	}
	r.plain, r.have = plain, n
	return nil
}

// forget returns the buffer to the pool.
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
