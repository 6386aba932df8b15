package im

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrorKind says what class of answer a refusal is. Handlers turn it into an
// HTTP status; nothing below them knows of HTTP.
type ErrorKind uint8

// The kinds of refusal, in the order in which they are asked for.
const (
	Invalid     ErrorKind = iota + 1 // malformed, whatever the state
	NotFound                         // unknown, or not visible to the actor
	Forbidden                        // not the actor's to do
	Conflict                         // the state does not allow it
	Gone                             // it was there and is no more
	Rule                             // well-formed and allowed, but against a rule
	TooLarge                         // over a size limit
	TooMany                          // over a limit of number or rate
	Unavailable                      // not now; may be tried again
	Full                             // no room left to store it
)

// Error is a refusal with a code that clients may rely on.
type Error struct {
	Kind ErrorKind
	// Code is stable, snake_case, and listed in api/openapi.yaml.
	Code string
	// Field is the JSON path or parameter that is at fault, if one is.
	Field string
	// Message is for a developer to read. It holds no content of messages.
	Message string
	// RetryAfter is when it may be tried again, 0 where that is not known.
	RetryAfter time.Duration
	// Cause is what lies beneath, for the log only.
	Cause error
}

// Error returns the code and the message.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Code + ": " + e.Message + ": " + e.Cause.Error()
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Refuse makes an [Error] that is not about one field.
func Refuse(kind ErrorKind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// RefuseField makes an [Error] about one field.
func RefuseField(kind ErrorKind, code, field, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// maxField is the longest field that a refusal names, in bytes.
const maxField = 128

// ClipField returns a field name cut to 128 bytes: clients make up names, which must
// not fill an answer.
func ClipField(name string) string {
	if len(name) <= maxField {
		return name
	}
	return strings.ToValidUTF8(name[:maxField], "")
}

// AsError finds the refusal in an error's chain.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// ErrNotFound is what a [Reader] answers for what is not there. Use cases turn
// it into the refusal that names what was asked for.
var ErrNotFound = errors.New("not found")
