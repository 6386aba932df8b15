// Package handlers is the HTTP side of imapi. It implements the interface that is generated
// from the OpenAPI document: it validates requests, converts them for package im, and converts
// results and refusals into answers. It has no rules of its own.
//
// A request passes these files, in this order:
//
//	server.go        options, routes, callers; control.go the listener for commands on this machine
//	middleware.go    path, HEAD, metrics and log, panics, CORS, authentication
//	rate_limit.go    rate limits
//	validate.go      parameters and body against the OpenAPI document
//	requirement.go   what the document requires of a value that does not fit, in words
//	param_fit.go     accepting parameters that fit
//	body.go          what the body of an operation may be; reading and scanning one
//	body_budget.go   bounds on the memory for bodies and files, and reading a body within them
//	body_fit.go      accepting a body without decoding it
//	body_outline.go  the parts that the validator gets of a body that was not accepted
//	direct.go        operations that read the scanned body instead of a decoded one
//	                 (the handler of the operation)
//	answer.go        the response; problem.go every refusal
//
// The handlers by topic:
//
//	messages.go, receipts.go, search.go, unread.go
//	revoke.go                  revoking and burning
//	erasures.go                what was erased, hidden or deleted meanwhile; erasures for admins
//	commands.go, send_as.go    two other ways of sending
//	attachments.go             files, read and written as they arrive; thumbnails.go
//	conversations.go, threads.go, settings.go, members.go, mutes.go, invitations.go
//	lists.go                   allow and deny lists; blocks.go
//	spaces.go, space_members.go, channels.go, roles.go, permissions.go
//	events.go                  streams and pages of events, tickets; accept.go what a client wants
//	data_streams.go            data streams; data_stream_frames.go their frames
//	import.go, import_lines.go, export.go, retention.go
//	line_writer.go             answers of many lines
//	token_cuts.go, webhooks.go
//	health.go                  whether the server is up and ready, metrics, the OpenAPI document
//
// Answers are encoded in two ways. Messages, conversations and events are appended member by
// member, so that stored JSON is copied as it is. Everything else is converted to the generated
// types, in the file of its topic.
//
//	json_object.go   appending members to an object
//	message_json.go, conversation_json.go, event_json.go
//	convert.go       conversions that several topics need
//	page_token.go    sealed tokens with which lists continue
package handlers
