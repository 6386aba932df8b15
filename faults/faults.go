// Package faults says what the log may have of a fault: never what a request
// or a secret held. A panic's value and the text of many errors quote what they
// were given.
package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Panic returns what the log may have of a recovered panic: the type of its
// value and the stack. To be called by the deferred function that recovered it.
func Panic(v any) []slog.Attr {
	return []slog.Attr{slog.String("type", fmt.Sprintf("%T", v)), slog.String("stack", stack())}
}

// Recovered returns a recovered panic as an error, which names the type of its
// value only.
func Recovered(v any) error { return fmt.Errorf("panic of type %T", v) }

// stack returns the caller's stack as functions and lines. That of
// runtime/debug has the arguments of each call as well, ids among them.
func stack() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)]) // without Callers, stack and Panic
	var b strings.Builder
	for {
		frame, more := frames.Next()
		fmt.Fprintf(&b, "%s %s:%d\n", frame.Function, frame.File, frame.Line)
		if !more {
			return b.String()
		}
	}
}

// Text returns what the log may have of an error: its text, or the types in its
// chain if one of them is known to quote what it was given.
func Text(err error) string {
	types, quotes := look(err)
	if quotes {
		return strings.Join(types, ": ")
	}
	return err.Error()
}

// look returns the types of an error and of what it wraps, and whether one of
// them quotes.
func look(err error) (types []string, quotes bool) {
	types = []string{fmt.Sprintf("%T", err)}
	switch err.(type) {
	case *strconv.NumError, *time.ParseError, *url.Error, url.EscapeError, url.InvalidHostError,
		*net.ParseError, *json.UnmarshalTypeError, *json.MarshalerError, *json.UnsupportedValueError:
		quotes = true
	}
	var inner []error
	switch w := err.(type) {
	case interface{ Unwrap() []error }:
		inner = w.Unwrap()
	case interface{ Unwrap() error }:
		if e := errors.Unwrap(err); e != nil {
			inner = []error{e}
		}
	}
	for _, e := range inner {
		more, also := look(e)
		types, quotes = append(types, more...), quotes || also
	}
	return types, quotes
}
