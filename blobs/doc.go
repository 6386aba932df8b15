// Package blobs stores the bytes of attachments as sealed files.
//
// A blob is immutable: it is written once, under a name that is never used again, and later
// deleted. Its bytes are sealed in chunks of 64 KiB under a key of its own, so any range of
// it can be read. Shredding the key erases the blob in every copy of the file. From then on
// the file is garbage and is deleted when convenient.
//
//	store.go   Store: named streams of bytes; an engine implements it
//	dir.go     Dir: the engine that uses a directory
//	copy.go    copying blobs between directories, for backups
//	format.go  the header of a file and its chunks
//	sealed.go  Files: sealed blobs on an engine, as package im uses them
//	writer.go  writing a sealed blob; reader.go reading one; buffers.go the memory for both
//	writeback_*.go starts writing a range to the disk early, for each operating system
//
// # Adding a kind of blob
//
// Files implements [im.Blobs]. It knows neither messages nor rights: package im decides who
// may read a blob and when its key is shredded. Code that stores another kind of blob, such
// as a thumbnail, takes an id and a key for it from package im, names both in a row of the
// database, and lets that row be found by [im.AttachmentReader.NamedBlobs] (else the file is
// swept as garbage) and by [im.SealedReader.Sealed] (else a start with older keys shreds the
// key). When the row goes, its key is doomed in the same transaction and the blob is put into
// the table dead_blobs.
package blobs
