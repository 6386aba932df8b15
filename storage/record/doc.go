// Package record defines how values are encoded and sealed in rows. All storage engines
// share it, so that data can move from one engine to another. It also has what every engine
// would otherwise compute in a way of its own.
//
//	seal.go            sealing content under a key
//	event.go           the fields of an event without a column
//	roles.go           the roles of a space; channel_access.go access to a channel
//	erasure_note.go    what is left with a tombstone
//	attachment.go      the info of an attachment
//	secrets.go         the secrets of a webhook
//	ranges.go          ranges of received, read and hidden messages; how they are merged, by asking
//	                   the engine for those it has
//	unread.go          unread counts from those ranges
//	search.go          whether a message is a hit of a search
package record
