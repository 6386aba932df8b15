package im

import "time"

// LogReader reads the event log and the cut-offs of tokens.
type LogReader interface {
	// LogBounds returns the ends of the log, without the logs that it continues.
	LogBounds() (LogBounds, error)
	// Events returns up to limit events with after < position <= upTo that happened while
	// the user was a member of their conversation, or that are addressed to the user. Each
	// has the message that it is about as it is stored, nil if it no longer exists; other
	// events than [MessageCreated] have it without its content. The event's HiddenBy has the user
	// if they have hidden the message by its id.
	//
	// It may examine only a part of that range, and ends early after [EnoughContent]. The window's
	// Through is the position up to which it has examined the log, which is greater than after
	// unless after >= upTo. The window has no Cut.
	Events(user UserID, after, upTo Position, limit int) (EventWindow, error)
	// AllEvents returns the events of all users with after < position <= upTo, of these types
	// or of all types if there are none, without their messages. It examines up to limit events;
	// the window's Through is the position up to which it has done so. The window has no Cut.
	AllEvents(after, upTo Position, types []EventType, limit int) (EventWindow, error)
	// EventAt returns the event at a position, without its message, or ErrNotFound.
	EventAt(at Position) (Event, error)
	// TokenCuts returns up to limit cut-offs in the order of At and user, all greater than the
	// argument after; nil starts at the beginning.
	TokenCuts(after *TokenCut, limit int) ([]TokenCut, error)
	// ForgottenCut returns the latest At of the cut-offs that were forgotten, zero if none
	// was.
	ForgottenCut() (time.Time, error)
}

// LogWriter changes the event log and the cut-offs of tokens.
type LogWriter interface {
	// Append adds an event to the log and returns its position. Its Message is published
	// with the commit and not stored. It returns ErrNotFound if its conversation is
	// unknown.
	Append(e Event) (Position, error)
	// TrimLog deletes up to limit events older than before from the start of the log and returns
	// their number.
	TrimLog(before time.Time, limit int) (int, error)
	// CutTokens stores that the user's tokens issued at or before cut.At are invalid. It never
	// makes a token valid again: a later cut-off of the user stays.
	CutTokens(cut TokenCut) error
	// ForgetCuts deletes up to limit cut-offs made before a time, the oldest first, and returns
	// their number.
	ForgetCuts(before time.Time, limit int) (int, error)
	// PutClockSeen stores the current time of the clock, for [Instance].ClockSeen.
	PutClockSeen(at time.Time) error
}
