// Package im is the domain of imapi: conversations, members, messages, events, and the rules
// about them.
//
// Rules are pure functions of state, actor, policy and time. Use cases are methods of
// [Service]: each loads state through [Store] and [Tx], checks the rules, changes the state
// and appends events, in one transaction, or in several if it is long. Besides the standard
// library, the package imports only package seqs and golang.org/x/text/unicode/norm.
// Storage engines implement its interfaces; HTTP is in the package handlers.
//
// The frame:
//
//	service.go         Policy, Service, and how use cases read and write
//	store.go           the interfaces Store, Reader and Tx
//	store_*.go         the interfaces that Reader and Tx are composed of, by concept
//	entry.go           what most use cases load first
//	snapshot_cache.go  a Reader that caches what access is computed from
//	errors.go          refusals
//	id.go, user.go     ids; users, devices and actors
//	requested_ids.go   the ids that requests name things by
//	names.go           the names of constants in the API
//	caller.go          the caller of a read or write, bulk writes; read_turns.go how reads take turns
//	long_work.go       long requests of one user; pacer.go steps and pauses of jobs
//	clock.go           jumps of the wall clock
//
// Access:
//
//	membership.go         Membership: what is stored of a member
//	access.go             Access: what follows from it now; members as others see them
//	visibility.go         which messages a user may read
//	audience.go           which users receive an event
//	permission.go         permissions and how they are computed; allow.go refuses without them
//	mute.go               muting and unmuting; block.go blocks
//	lists.go              allow and deny lists
//
// Conversations:
//
//	conversation.go        a conversation; settings.go its settings
//	conversation_list.go   a user's list
//	group.go               creating groups and rooms; thread.go threads
//	space.go, channels.go  spaces and their channels
//	space_members.go       members of a space: lists, joining, leaving, adding, removing, the owner
//	space_roles.go         roles of a space: defining and giving them
//	channel_overrides.go   what roles allow and deny in one channel
//	members.go             members of a conversation: lists, events; checks of lists of users
//	add_members.go         adding members; remove_members.go leaving and removing them
//	member_roles.go        owner, admin and member in groups and rooms
//	join.go                joining at one's own request; invitations.go
//	delete_conversation.go deleting and purging
//
// Messages:
//
//	message.go           Message, its states and its tombstone
//	content.go           drafts and content; canonical.go the writer of canonical JSON
//	send.go              sending; presend.go asking the application before
//	send_as.go           sending as any user, for admins
//	command.go           commands: messages that are not stored
//	counts.go            what a stored message changes in its conversation
//	history.go           reading one message, and pages of history
//	search.go            queries and hits; search_messages.go the use case
//	attachment.go        Attachment; attachment_body.go bodies of messages that have one
//	attachment_access.go who may read and send one; attached.go those of a message
//	upload.go, download.go
//	blob_cleanup.go      erasing uploads that nobody sent, and deleting files
//	attachments.go       what these share; blobs.go the files under them
//	thumbnail.go         Thumbnail and its states; thumbnails.go making and reading them
//	receipts.go          storing receipts; deliver.go those of streams
//	receipt_events.go    events about receipts, which go to senders
//	message_receipts.go  the receipts of a message, for its sender
//	unread.go            unread counts
//	mark.go              a user's own state of a conversation
//	hide.go              hiding; what was hidden or deleted while a device was away
//
// Erasing:
//
//	erasure.go           erasing a message, and those that are due; lists of erasures
//	revoke.go, burn.go   the two that users cause
//	start_burn.go        messages that start to burn when they are read
//	keys.go              what the domain needs of a keyring, and its errors; slot_set.go
//	reconcile.go         data and keys of different age; verify.go checks them
//	backup.go            backups
//
// Data streams, which package datastreams runs:
//
//	data_stream.go       who may read and push
//	data_stream_users.go what users may do in a conversation, and commits that change it
//
// The event log:
//
//	event.go             Event and its types
//	event_log.go         what a user receives of the log
//	token_cuts.go        cut-offs of tokens
//	webhook.go           webhooks: types and rules; webhooks.go what admins do
//	webhook_delivery.go  what delivering to webhooks reads and stores
//
// Retention:
//
//	retention_cutoff.go  the time before which messages are past retention
//	retention.go         trimming, and previews of it; retentions as text, such as the names of plans
//	remembered_keys.go   ids and client_ids of trimmed and purged messages
//	creation.go          creating conversations and spaces once for each client_id
//
// Imports and exports:
//
//	import.go            lines of an import; prepare.go checks one by itself
//	import_batch.go      storing lines
//	export.go            exporting
package im
