// Package events delivers events to clients. It takes commits from the store, finds the
// streams that get their events, and serves each stream as server-sent events: from memory
// while the stream keeps up, and from the event log when it does not.
//
// The files, from the log to the client:
//
//	cursor.go         the position of a client in the log, as clients see it
//	options.go        what a hub needs and measures, and the errors of streams
//	hub.go            [Hub]: takes commits and dispatches their events
//	inbox.go          the queue of commits for the dispatcher
//	audience.go       which users are online, and in which conversations
//	visible_range.go  which messages of a conversation a member sees
//	frame.go          [Frame]: an event as streams write it
//	frame_index.go    unwritten frames by message and conversation
//	frame_erasure.go  replacing messages in frames when they are erased, burn or expire
//	transient.go      [Transient]: events that are not in the log, from the inbox to the queues
//	retraction.go     what an event removes from frames that are not written yet
//	subscription.go   [Subscription]: the queue of one stream
//	serve.go          writing one stream, and reading the log for it
//	ahead.go          reading the log while what was read before is written
//	sink.go           [Sink]: the HTTP response of a stream
//	pooled.go         [Conn]: the connection of a stream that a writer writes
//	writer.go         the writers, each of which writes many streams
//	page.go           [Page]: the log for clients that poll
//	receipts.go       reporting delivered messages back to the store
//
// Locks are taken in the order Hub.mu, Subscription.mu, frameIndex.mu or writer.mu. The locks of
// receipts and retractions are never held together with another one. No lock is held while the log
// is read, an event encoded, a client written to or a receipt stored.
package events
