// Package client is a client of an imapi server, for one user on one device.
//
// A [Client] has a method for every operation of the server, such as
// ListMessagesWithResponse, generated from the OpenAPI document. Added to these is what
// such a document cannot describe:
//
//   - [Client.Send] sends a message and retries it without creating it twice. [Client.NewConversation],
//     [Client.NewThread], [Client.NewSpace] and [Client.NewChannel] do so for what they create.
//   - [Client.Events] follows the event stream and resumes it after a disconnect.
//   - [Client.Frames] and [Client.Push] read a data stream and push to one.
//   - [Client.Upload] and [Client.Download] stream files.
//   - A response with a status of 400 or more is an error of type [*Problem].
//
// The files:
//
//	client.go        the client and its options; client.gen.go the generated operations
//	send.go          sending with retries; draft.go drafts of messages, by type
//	create.go        creating conversations and spaces with retries
//	command.go, attachments.go
//	events.go        following the stream: resuming, idle timeout, refused tokens
//	sse.go           reading its blocks; seen.go recent ids; backoff.go pauses
//	data_streams.go  pushing and reading frames
//	problem.go       refusals
//	time.go          times as the server writes them
package client
