package events

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/imapi/imapi/im"
)

// Log is the event log, which the hub reads for streams that resume or fall behind. The
// contexts say who reads; see [im.WithCaller] and [im.WithStream].
type Log interface {
	// Events returns up to limit events for the actor with after < position <= upTo, and the
	// position up to which it has searched, which is greater than after.
	Events(ctx context.Context, actor im.Actor, after, upTo im.Position, limit int) (im.EventWindow, error)
	// LogBounds returns the oldest and the newest position of the log.
	LogBounds(ctx context.Context) (im.LogBounds, error)
	// MembersAt returns which of the users were members when the event at a position
	// happened, with their stays. It includes users who joined or left with that event. users may
	// have duplicates.
	MembersAt(ctx context.Context, conversation im.ID, at im.Position, users []im.UserID) (im.Audience, error)
}

// Observer receives measurements. Its methods are called from many goroutines and must
// not block.
type Observer interface {
	// StreamsOpen is called with the number of open streams when it changes.
	StreamsOpen(n int)
	// EventDelivered is called when a published event was written to a stream, lag after
	// it happened.
	EventDelivered(lag time.Duration)
	// EventsReplayed is called when n events from the log were written to a stream.
	EventsReplayed(n int)
	// StreamsLagged is called when n streams fell back to reading the log.
	StreamsLagged(n int)
	// TransientDelivered is called when a transient event was written to a stream, lag after
	// it happened.
	TransientDelivered(lag time.Duration)
	// TransientsDropped is called when streams dropped transient events: n is the sum over the
	// streams. An event that the hub dropped for all streams counts once.
	TransientsDropped(n int)
}

// Options are the options of a hub. Log, Head and Encode are required. Where the comment of a field
// names a default, the zero value selects it.
type Options struct {
	Log Log
	// Head returns the position of the newest committed event, which the hub may not have
	// dispatched yet. A new stream gets the events after it. It must not block.
	Head func() im.Position
	// LogID names the log in cursors.
	LogID  uint32
	Encode Encode
	// Logger logs failures. Default: none.
	Logger *slog.Logger
	// Observer receives measurements. Default: none.
	Observer Observer
	// Deliver stores which messages were written to streams of their recipients. It is
	// called by one goroutine, at most every 500 ms and once more by [Hub.Close]. After an
	// error it gets the same deliveries again, together with newer ones; after 60 errors in a
	// row they are dropped. It must return when its context ends. Default: deliveries are not
	// recorded.
	Deliver func(ctx context.Context, deliveries []im.Delivery) error

	// MaxStreamsPerUser is the maximum number of streams of a user. Default: 32.
	MaxStreamsPerUser int
	// MaxStreams is the maximum number of streams in all. Default: no limit.
	MaxStreams int
	// MaxConversations is the maximum number of conversations whose online members are kept in
	// memory. Default: 65,536.
	MaxConversations int
	// QueueSize is the maximum number of events queued for one stream. Default: 256.
	QueueSize int
	// MaxTransients is the maximum number of transient events queued for one stream, in addition to
	// QueueSize. Default: 64.
	MaxTransients int
	// InboxSize is the maximum number of events queued for the hub. Default: 8,192.
	InboxSize int
	// Leeway is how far the clock of a token's issuer may be ahead. A cut-off ends streams
	// of tokens issued up to that long after it.
	Leeway time.Duration
	// Heartbeat is the longest time without a write to a stream. Default: 15 s.
	Heartbeat time.Duration
	// Refresh is the longest time without an event on a stream. A [Ready] then gives a fresh cursor
	// to clients that take theirs only from events. Default: 1 h.
	Refresh time.Duration
	// Retry is the minimum time that a client waits before it reconnects. Each client gets a random
	// time up to 1.5 times as long. Default: 2 s.
	Retry time.Duration
}

func (o Options) withDefaults() Options {
	setDefault(&o.MaxStreamsPerUser, 32)
	setDefault(&o.MaxConversations, 1<<16)
	setDefault(&o.QueueSize, 256)
	setDefault(&o.MaxTransients, 64)
	setDefault(&o.InboxSize, 8192)
	setDefault(&o.Heartbeat, 15*time.Second)
	setDefault(&o.Refresh, time.Hour)
	setDefault(&o.Retry, 2*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	return o
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

type unobserved struct{}

func (unobserved) StreamsOpen(int)              {}
func (unobserved) EventDelivered(time.Duration) {}
func (unobserved) EventsReplayed(int)           {}
func (unobserved) StreamsLagged(int)            {}

func (unobserved) TransientDelivered(time.Duration) {}
func (unobserved) TransientsDropped(int)            {}

// The reasons why a stream is refused or ends.
var (
	// ErrTooManyStreams refuses a stream to a user who has MaxStreamsPerUser open.
	ErrTooManyStreams = im.Refuse(im.TooMany, "too_many_streams", "this user has the maximum number of event streams open")
	// ErrOverloaded refuses a stream because MaxStreams are open. The client should try again
	// later, see [Hub.RetryLater].
	ErrOverloaded = errors.New("too many event streams in all")
	// ErrClosed refuses a stream because the hub was closed.
	ErrClosed = errors.New("event hub closed")
	// ErrTokenCut refuses or ends a stream whose token was cut off.
	ErrTokenCut = errors.New("token cut off")
	// ErrTokenExpired ends a stream whose token has expired.
	ErrTokenExpired = errors.New("token expired")
)
