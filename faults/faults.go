// Package faults decides what the log may say about an error or a panic. The value
// of a panic and the text of many errors quote their input, which may be the content
// of a message or a secret.
package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Panic returns the keys and values to log for a recovered panic: the type of its
// value and the stack. Call it in the deferred function that recovered the panic.
func Panic(v any) []any {
	return []any{"type", fmt.Sprintf("%T", v), "stack", stack()}
}

// Recovered returns an error for a recovered panic. It names only the type of the
// panic's value.
func Recovered(v any) error { return fmt.Errorf("panic of type %T", v) }

// stack returns the stack of Panic's caller, a function and a line each. The stack
// of runtime/debug would include the arguments of each call, such as ids.
func stack() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)]) // skip Callers, stack and Panic
	var b strings.Builder
	for {
		frame, more := frames.Next()
		fmt.Fprintf(&b, "%s %s:%d\n", frame.Function, frame.File, frame.Line)
		if !more {
			return b.String()
		}
	}
}

// Text returns the text of an error, or only the types in its chain if one of them
// is known to quote its input.
func Text(err error) string {
	types, quotes := inspect(err)
	if quotes {
		return strings.Join(types, ": ")
	}
	return err.Error()
}

// inspect returns the types of an error and of all that it wraps, and whether one of
// them quotes its input.
func inspect(err error) (types []string, quotes bool) {
	types = []string{fmt.Sprintf("%T", err)}
	switch err.(type) { //nolint:errorlint // walks the chain itself
	case *strconv.NumError, *time.ParseError, *url.Error, url.EscapeError, url.InvalidHostError,
		*net.ParseError, *json.UnmarshalTypeError, *json.MarshalerError, *json.UnsupportedValueError:
		quotes = true
	}
	var inner []error
	switch w := err.(type) { //nolint:errorlint // walks the chain itself
	case interface{ Unwrap() []error }:
		inner = w.Unwrap()
	case interface{ Unwrap() error }:
		if e := errors.Unwrap(err); e != nil {
			inner = []error{e}
		}
	}
	for _, e := range inner {
		more, also := inspect(e)
		types, quotes = append(types, more...), quotes || also
	}
	return types, quotes
}
