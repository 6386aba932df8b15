package blobs

import "sync"

// pageSize is the page size of the system's file cache, in bytes. A write that begins or ends
// within a page costs more.
const pageSize = 4 << 10

// buffer has room for a sealed chunk and, before it, for the end of the previous chunk, which may not
// fill a page. It may hold content, so it is cleared before another upload uses it.
type buffer [pageSize + sealedSize]byte

// buffers holds the free buffers of uploads. An upload uses up to three.
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

// runChunks is how many chunks a download reads before it writes them to its client. While it
// writes, another goroutine reads: with fewer chunks, waking it costs more than it saves.
const runChunks = 2

// runBuffer has room for a run of chunks and the tag of the last one.
type runBuffer [runChunks*chunkSize + tagSize]byte

// runBuffers holds the free buffers of downloads. A download uses up to two.
var runBuffers = sync.Pool{New: func() any { return new(runBuffer) }}

func takeRunBuffer() *runBuffer {
	b, _ := runBuffers.Get().(*runBuffer)
	return b
}

// giveRunBuffer clears a buffer and returns it to the pool.
func giveRunBuffer(b *runBuffer) {
	clear(b[:])
	runBuffers.Put(b)
}
