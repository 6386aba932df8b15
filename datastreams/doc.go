// Package datastreams carries frames of data from publishers to readers, through a bounded
// buffer in memory. Nothing is ever stored. The rules about who may read and push are
// in package im.
//
// The files, from the publisher to the reader:
//
//	options.go    what a hub needs, and its limits
//	hub.go        [Hub]: starts and ends data streams, and finds them
//	decode.go     [Decoder]: frames in a request body, in three forms
//	publisher.go  [Publisher]: one request that pushes
//	frame.go      [Payload]: a frame, and the forms in which readers get it
//	stream.go     stream: a data stream with its buffer
//	reader.go     [Reader]: one response that reads
//	attached.go   what requests that read and push have in common: limits and endings
//	watch.go      ends requests and data streams because of time, commits or lost rights
//
// Locks are taken in the order stream.ending, Hub.mu, stream.mu. No lock is held during reads from
// or writes to a client or calls of the store, except that stream.ending is held while the final
// message is sent.
package datastreams
