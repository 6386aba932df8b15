// Package presend asks the application about messages before they are stored: it implements
// [im.PresendHook] over HTTP.
//
// A question is one request, signed according to the Standard Webhooks specification. Anything but
// a usable answer in time is an error; package im decides what happens then. A hook that has failed
// for several users in a row is not asked for a moment, so that a dead hook does not delay every
// message.
//
//	client.go    [Client]: asking, failures, the log
//	question.go  the body of a question; answer.go reading the answer
//	pauses.go    when a failing hook is not asked
package presend
