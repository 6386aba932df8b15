// Package handlers is the HTTP side of imapi. It implements the interface that is generated
// from the OpenAPI document: it validates requests, converts them for package im, and converts
// results and refusals into answers. It has no rules of its own.
//
// A request passes, in this order:
//
//   - middleware.go: path, HEAD, metrics and log, panics, CORS, authentication; rate_limit.go
//   - validate.go: parameters and body against the OpenAPI document
//   - param_fit.go: accepting parameters that fit
//   - body.go: media types of bodies, reading and scanning a body; body_budget.go bounds the memory for bodies
//   - body_fit.go: accepting a body without decoding it; body_outline.go: the parts of a body that
//     the validator gets if it was not accepted
//   - the handler of the operation
//   - answer.go: the response; problem.go: every refusal
//
// The handlers by topic:
//
//   - messages.go, revoke.go, receipts.go, search.go, erasures.go, unread.go; commands.go and
//     send_as.go, two other ways of sending
//   - attachments.go, which reads and writes files as they arrive; thumbnails.go
//   - conversations.go, threads.go, settings.go, members.go, mutes.go, invitations.go, lists.go,
//     blocks.go
//   - spaces.go, space_members.go, channels.go, roles.go, permissions.go
//   - events.go: streams and pages of events; accept.go: which of the two a client wants
//   - data_streams.go; data_stream_frames.go: pushing and reading their frames
//   - import.go, import_lines.go, export.go, retention.go; line_writer.go: answers of many
//     lines
//   - admin.go, webhooks.go, health.go
//
// server.go has the options and the routes, control.go the listener for commands on the same
// machine.
//
// Answers are encoded in two ways. Messages, conversations and events are appended member by
// member (message_json.go, conversation_json.go, event_json.go, all with json_object.go), so
// that stored JSON is copied as it is. Everything else is converted to the generated types
// (convert.go). Pages of lists continue with sealed tokens (page_token.go).
package handlers
