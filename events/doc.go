// Package events tells clients what happened: it takes commits from the store,
// finds the streams that they concern, and serves each stream as Server-Sent
// Events, from the memory of the commit while the stream keeps up and from the
// event log when it does not.
//
// The parts, one a file: [Cursor] is the resume point of a client, [Frame] an
// event as it goes over the wire, inbox what the writer hands over, audience
// who is online and in which conversation, sight what they see there, [Hub] the
// dispatcher between them, [Subscription] one stream, [Page] the log for clients
// that poll, and receipts what was told to whom, on its way back to the store.
//
// Locks are taken in the order Hub.mu, Subscription.mu, waiting.mu; those of
// receipts and removals are taken alone. None is held while the log is read, an
// event encoded, a client written to or a receipt stored.
package events
