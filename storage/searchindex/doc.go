// Package searchindex keeps the index by which messages are found by their words, in a
// file of its own beside a database. Any engine may feed it.
//
// The index is derived: everything in it can be made again from the messages. So its file
// is never backed up, nobody who sends waits for it, and a file that is missing, damaged
// or of other data is made anew. What it finds are candidates, which the engine holds
// against the messages: an entry that is out of date is never a result.
//
//	index.go    Index: Open, Add, Reindex, State, Close
//	memory.go   the newest messages, which no file has yet
//	keeper.go   the one goroutine that writes the file
//	verify.go   what a crash may have left out or left in is found by comparing
//	cursor.go   Search: candidates of memory and file, newest first
//	segment.go  up to 65,536 messages in the file, built at once
//	pairs.go    lists of which message has which entry, in blocks
//	conn.go     connections to the file
//
// # The file
//
// Messages are put into the file by the thousand, as segments. A segment numbers its
// messages by their id, and has a sorted list of pairs (entry, number), cut into blocks;
// what is looked for is one run of pairs. Small segments are merged. It has the entries
// of each message, too, so that they can be taken out of the lists again when the message
// is erased, at a time when nobody knows any more what it said.
//
// SQLite's FTS5, which was here before, takes 1.5 ms to take one message out of its lists,
// for it does so entry by entry in each of its trees; here those of all messages that go
// leave in one pass through the blocks.
package searchindex
