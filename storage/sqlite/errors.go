package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/im"
)

// The errors that callers get. The cause is logged, not sent to the client.

func unavailable(cause error) *im.Error {
	return &im.Error{
		Kind: im.Unavailable, Code: "storage_unavailable",
		Message: "the storage is not available", Cause: cause,
	}
}

func overloaded(message string) *im.Error {
	return &im.Error{Kind: im.Unavailable, Code: "overloaded", Message: message, RetryAfter: retryAfter}
}

func full(cause error) *im.Error {
	return &im.Error{
		Kind: im.Full, Code: "storage_full",
		Message: "the storage is full", Cause: cause,
	}
}

var (
	errClosed     = errors.New("the storage is closed")
	errOverloaded = overloaded("too many writes are waiting")
	errTooManyOwn = overloaded("too many of your own writes are waiting")
	errSlowRead   = unavailable(errors.New("the read transaction exceeded its time limit"))
)

// refusal converts an error of the database. A full disk becomes [im.Full]. Errors that show a bug,
// such as a violated constraint, and errors of another origin are only wrapped. All others, such as
// a lock, a damaged file or a lost connection, become [im.Unavailable]. An [im.Error] is returned
// unchanged.
func refusal(err error) error {
	if _, ok := im.AsError(err); ok {
		return err
	}
	var e sqlite3.Error
	if !errors.As(err, &e) {
		if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
			return unavailable(err)
		}
		return fmt.Errorf("sqlite: %w", err)
	}
	if e.SystemErrno == syscall.ENOSPC || e.SystemErrno == syscall.EDQUOT {
		return full(err)
	}
	switch e.Code {
	case sqlite3.ErrFull:
		return full(err)
	case sqlite3.ErrError, sqlite3.ErrInternal, sqlite3.ErrConstraint, sqlite3.ErrMismatch,
		sqlite3.ErrMisuse, sqlite3.ErrRange, sqlite3.ErrTooBig, sqlite3.ErrAuth:
		return fmt.Errorf("sqlite: %w", err)
	default:
		return unavailable(err)
	}
}
