// Package keyring keeps the keys that content is sealed under, in one file that is made
// for being erased.
//
// A key is 16 random bytes in a numbered slot, and slot n is at a fixed offset. To erase
// content is to shred its key: the 16 bytes are overwritten with zeros and a [Code] that
// says why, and that is synced. Then nothing that was sealed under it can be read again,
// in any copy that was ever made of the data.
//
// The ideas are Boneh and Lipton's (A Revocable Backup System, 1996), Perlman's (The
// Ephemerizer, 2005) and NIST's (SP 800-88, cryptographic erase).
//
//	ring.go     Ring: Next, Key, Shred, what a store asks for
//	keeper.go   the one goroutine that writes: extents ahead of use, shredding, holes
//	header.go   the first page: what file this is, whose, and the search key
//	slot.go     what the 16 bytes of a slot mean
//	file.go     the file as the keeper needs it, and the real one
//	copy.go     copies for backups, of which there is one at a time
package keyring
