// Package sqlite implements im.Store with one SQLite file.
//
// One goroutine writes. The calls that queue while it commits share the next transaction and
// its sync. Readers have their own connections and see committed snapshots. Content is
// sealed, and erased by shredding its key.
//
// The store:
//
//	store.go           Store: Open, View, Close
//	tx.go              reader and tx, which implement im.Reader and im.Tx
//	writer.go          the goroutine that writes: group commit, failures, listeners
//	write_queue.go     the fair queue of waiting calls; write_door.go requests that wait to enter it
//	session.go         connections and prepared statements
//	row.go             rows that are read, one by one or as a list
//	columns.go         times, durations and ids as columns
//	numbers.go         Go constants in SQL
//	migrate.go         the schema, its versions, migrations/; the ids of store and log; the clock last seen
//	checkpointer.go    moving the write-ahead log into the database
//	lock.go            locks of the data directory, the database and backups
//	errors.go          errors of the driver as errors for callers
//	platform.go        the platforms that the driver supports
//
// Sealing and erasing:
//
//	seal.go            sealing content with a new key, unsealing it
//	sealed_texts.go    names and other texts of conversations and roles
//	erase.go           erasing a message; starting timers, due messages; stamps
//	erasure_note.go    the note of a tombstone
//	erasures.go        lists of erasures for clients
//	shredder.go        shredding keys after the commit; keys that wait for it
//	attachments.go     attachments, which messages have them, and dead blobs
//	thumbnails.go      thumbnails of attachments, and which are waiting
//	reconcile.go       making data and keys agree that have not always been together; listing what is sealed
//
// Messages:
//
//	messages.go          reading messages
//	insert.go            storing messages
//	history.go           pages of a conversation's history
//	newest.go            the newest message of many conversations
//	messages_by_time.go  messages before a time; those whose order by seq is not that of time
//	seq_since.go         the first seq since a time
//	hidden.go            messages that a user has hidden, and conversations that are gone for them
//	receipts.go          ranges of received, read and hidden messages
//	unread_count.go      unread counts
//	unstarted.go         messages that burn after reading, or were sent with receipt
//	search.go            search; search_index.go feeds the index
//
// Conversations and users:
//
//	conversations.go      a conversation; children.go threads, channels and spaces
//	conversation_list.go  a user's list of conversations
//	entry.go              what most use cases load, in one query
//	members.go            present members, joining, leaving: the table of intervals
//	members_at.go         members at an event
//	space_members.go      members of a space with roles, lists and mutes; giving and taking roles
//	versions.go           roles and access rules as of an event
//	access_lists.go       allow and deny lists
//	marks.go              a user's own state of a conversation: pinned, muted, cleared, hidden
//	mutes.go              mutes by moderators; slow_mode.go when a user last spoke
//	invitations.go, blocks.go
//	users.go              the numbers of users, and cut-offs of their tokens
//
// The event log and retention:
//
//	events.go        appending events, reading a user's events, trimming the log
//	webhooks.go      webhooks, their deliveries, and the log for them
//	event_index.go   adding events to the index, many at a time
//	retention.go     conversations with messages past retention
//	trim.go          trimming messages; trim_related.go their events and receipts
//	purge.go         deleting a conversation and purging the rest
//	remembered.go    ids and client_ids of messages that were trimmed or purged; creations.go
//	                 client_ids under which conversations were created
//
// Backups and imports:
//
//	backup.go        online backups
//	replace.go       replacing the database by a backup
//	import.go        which ids and client_ids are taken; storing imported memberships and tombstones
package sqlite
