package blobs

import "sync"

// pageSize is that of the files' cache. A write that begins or ends within a page costs more.
const pageSize = 4 << 10

// buffer is a sealed chunk and what is left of a page before it. It may have content, so it is
// cleared before another upload or download gets it.
type buffer [pageSize + sealedSize]byte

// buffers are free. An upload has up to three and a download one of them.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

func takeBuffer() *buffer {
	b, _ := buffers.Get().(*buffer)
	return b
}

// giveBuffer clears a buffer and makes it available. It may be nil.
func giveBuffer(b *buffer) {
	if b != nil {
		clear(b[:])
		buffers.Put(b)
	}
}
