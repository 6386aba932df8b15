// Package keyring stores the keys that content is sealed with in one file from which they
// can be erased.
//
// A key is 16 random bytes in a numbered slot; slot n is at a fixed offset. Content is
// erased by shredding its key: the 16 bytes are overwritten with zeros and an
// [im.ShredCode] that says why, and the file is synced. After that, nothing sealed with the
// key can be read again, in any copy of the data.
//
// The ideas come from Boneh and Lipton (A Revocable Backup System, 1996), Perlman (The
// Ephemerizer, 2005) and NIST (SP 800-88, cryptographic erase).
//
//	ring.go     Ring: Next, Key, Shred and what else a store calls
//	keeper.go   the goroutine that writes: extents ahead of use, shredding, holes
//	pages.go    the page cache, through which keys are read and shredded
//	header.go   the first page: format, store, search key, epoch
//	slot.go     what the 16 bytes of a slot mean
//	file.go     [File]: a key file as a ring uses it; its implementation on a real file
//	file_*.go   locking, syncing and holes, for each operating system
//	copy.go     the copy for backups, and installing one
package keyring
