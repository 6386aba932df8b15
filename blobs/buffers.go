package blobs

import "sync"

// pageSize is the page size of the system's file cache, in bytes. A write that begins or ends
// within a page costs more.
const pageSize = 4 << 10

// buffer has room for a sealed chunk, after the end of the last one that does not fill a page. It
// may hold content, so it is cleared before another upload or download uses it.
type buffer [pageSize + sealedSize]byte

// buffers holds the buffers that are not in use. An upload uses up to three, a download one.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

func takeBuffer() *buffer {
	b, _ := buffers.Get().(*buffer)
	return b
}

// giveBuffer clears a buffer and returns it to the pool. It does nothing if b is nil.
func giveBuffer(b *buffer) {
	if b != nil {
		clear(b[:])
		buffers.Put(b)
	}
}
