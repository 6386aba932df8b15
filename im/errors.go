package im

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrorKind is the class of a refusal. Handlers map it to an HTTP status; nothing below
// them knows HTTP.
type ErrorKind uint8

// The kinds of refusal, roughly in the order in which they are checked. Those less than Unavailable
// are due to the request and the state; the others mean that the server cannot serve the request
// now.
const (
	Invalid     ErrorKind = iota + 1 // malformed, whatever the state
	NotFound                         // unknown, or not visible to the actor
	Forbidden                        // the actor lacks the permission
	Conflict                         // the state does not allow it
	Gone                             // it existed and was trimmed, purged or deleted
	Rule                             // well-formed and permitted, but against a rule
	TooLarge                         // over a size limit
	TooMany                          // over a limit on a number or a rate
	Unavailable                      // temporary; may be tried again
	Full                             // the storage is full
)

// Error is a refusal with a stable code for clients.
type Error struct {
	Kind ErrorKind
	// Code is in snake_case and listed in api/openapi.yaml.
	Code string
	// Field is the JSON path or parameter at fault, "" if there is none.
	Field string
	// Message is for developers. It has no content of messages.
	Message string
	// HookCode and HookText are the answer of the application if its pre-send hook refuses.
	HookCode, HookText string
	// RetryAfter is the time to wait before a retry, 0 if that is not known.
	RetryAfter time.Duration
	// Cause is the underlying error, for the log only.
	Cause error
}

// Error returns the code, the message and the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Code + ": " + e.Message + ": " + e.Cause.Error()
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Refuse returns an [Error] that is not about one field.
func Refuse(kind ErrorKind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// RefuseField returns an [Error] about one field.
func RefuseField(kind ErrorKind, code, field, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// maxField is the maximum length of a field that a refusal names, in bytes.
const maxField = 128

// ClipField returns a field name cut to 128 bytes. Clients choose the names of fields, and a
// long one must not fill an answer.
func ClipField(name string) string {
	if len(name) <= maxField {
		return name
	}
	return strings.ToValidUTF8(name[:maxField], "")
}

// AsError returns the refusal in an error's chain, if there is one.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// ErrNotFound is the error of a [Reader] for anything that does not exist. Use cases turn it into a
// refusal that names what was requested.
var ErrNotFound = errors.New("not found")
