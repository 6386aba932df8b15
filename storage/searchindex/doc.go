// Package searchindex finds messages by their words, with an index in a file of its own
// beside the database. Any storage engine may feed it.
//
// The index is derived: everything in it can be rebuilt from the messages. Therefore its
// file is never backed up, no sender waits for it, and a file that is missing, damaged or
// of another database is rebuilt. A search returns candidates, which the engine compares
// with the messages, so an outdated entry never becomes a result.
//
//	index.go    Index: Open, Add, Reindex, State, Close
//	memory.go   the newest messages, which are not in the file yet
//	keeper.go   the goroutine that writes the file
//	open.go     opening the file, and creating it anew
//	verify.go   comparing the file with the database, after a crash or for a rebuild
//	cursor.go   Search: candidates from memory and file, newest first
//	segment.go  up to 65,536 messages in the file, written together
//	pairs.go    lists of which message has which entry, in blocks
//	conn.go     connections to the file; platform.go the supported platforms
//
// # The file
//
// Messages are written to the file thousands at a time, as segments. A segment numbers its messages
// in the order of their ids and has a sorted list of pairs (entry, number), cut into blocks; the
// messages with an entry are one run of pairs. Small segments are merged. A segment also stores the
// entries of each message, so that they can be deleted from the lists when the message is erased
// and its text is no longer known.
//
// SQLite's FTS5 takes 1.5 ms to delete one message, because it does so entry by entry in
// each of its trees. Here one pass through the blocks deletes the entries of all erased messages.
package searchindex
