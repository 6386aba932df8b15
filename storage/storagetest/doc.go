// Package storagetest is the test suite that every storage engine must pass, and the
// benchmarks that every engine runs. A file is named after what it tests, as are the files of an
// engine.
//
//	suite.go                Run, and the world that tests act in
//	bench.go                Bench, and the worlds of benchmarks
//	write.go                transactions and snapshots, failures, commits, admission
//	entry.go                what most use cases load first
//
//	conversations.go        conversations, and the ids of store and log; conversation_list.go a user's list
//	conversation_kinds.go   differences between kinds, and the makers of each; threads.go
//	texts.go                sealed names and other texts
//	many.go                 reading many conversations at once
//	members.go              memberships; marks.go
//	mutes.go, slow_mode.go, access_lists.go, invitations.go
//	users.go                blocks, and cut-offs of tokens
//	spaces.go               channels; space_model.go a model of a space
//	space_members.go        members of a space; versions.go roles and access as of an event
//
//	messages.go             a message is read as it was stored; pages; messages_by_time.go
//	insert_message.go       what a new message changes in its conversation; the first seq since a time
//	attachments.go          rows of attachments, and which messages refer to them
//	thumbnails.go           thumbnails: turns, and erasing with their attachments
//	receipts.go, hidden.go  ranges of received, read and hidden messages
//	unread.go               unread counts, against models
//	erase.go                erasing; erasures.go lists of erasures
//	sealed.go               repairing a restored store
//	import.go               imported memberships and tombstones, and which ids are taken
//	events.go               the event log
//	webhooks.go             webhooks, and the log as they read it
//	retention.go, purge.go  trimming and purging; remembered.go, creations.go
//
//	erase_bench.go          erasing, receipts and timers
//	views_bench.go          lists, unread counts, history
//	import_bench.go, spaces_bench.go
package storagetest
