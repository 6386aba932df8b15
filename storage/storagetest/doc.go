// Package storagetest is the test suite that every storage engine must pass, and the
// benchmarks that every engine runs. Its files are named after the files of an engine that
// they test.
//
//	suite.go                Run, and the world that tests act in
//	bench.go                Bench, and the worlds of benchmarks
//	write.go                transactions, fairness, commits; blocks and tokens
//	entry.go                what most use cases load first
//
//	conversations.go        conversations; conversation_list.go a user's list
//	conversation_kinds.go   differences between kinds; threads.go
//	texts.go                sealed names and other texts
//	many.go                 reading many conversations at once
//	members.go              memberships; marks.go
//	spaces.go               channels and lists; space_model.go a model of a space
//	space_members.go        members of a space; versions.go roles and access as of an event
//
//	messages.go             a message is read as it was stored; pages; messages_by_time.go
//	insert_message.go       what a new message changes in its conversation
//	attachments.go          rows of attachments, and which messages refer to them
//	thumbnails.go           thumbnails: turns, and erasing with their attachments
//	receipts.go, hidden.go  ranges of received, read and hidden messages
//	unread.go               unread counts against a model
//	erase.go                erasing; erasures.go lists of erasures
//	sealed.go               repairing a restored store; restore.go
//	events.go               the event log
//	webhooks.go             webhooks, and the log as they read it
//	retention.go, purge.go  trimming and purging; remembered.go
//
//	erase_bench.go, import_bench.go, spaces_bench.go, views_bench.go
package storagetest
