package events

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/imapi/imapi/im"
)

// Log is what the hub reads when memory does not do. The contexts say for whom, by
// [im.WithCaller] and [im.WithStream].
type Log interface {
	// Events returns up to limit events with after < position <= upTo that the
	// actor is to be told, and how far it looked, which is past after.
	Events(ctx context.Context, actor im.Actor, after, upTo im.Position, limit int) (im.EventWindow, error)
	// LogBounds returns the ends of the log.
	LogBounds(ctx context.Context) (im.LogBounds, error)
	// MembersAt returns which of the users were members when the event at this
	// position happened, with their stays: those whom it made members and those
	// whose stay it ended among them. Users may be named more than once.
	MembersAt(ctx context.Context, conversation im.ID, at im.Position, users []im.UserID) (im.Audience, error)
}

// Observer receives what the hub does, for metrics. Its methods are called from
// many goroutines and must not block.
type Observer interface {
	// StreamsOpen is called with the number of open streams when it changes.
	StreamsOpen(n int)
	// EventDelivered is called when an event was written to a stream as it was published,
	// lag after it happened.
	EventDelivered(lag time.Duration)
	// EventsReplayed is called when n events from the log were written to a stream.
	EventsReplayed(n int)
	// StreamsLagged is called when n streams fell back to reading the log.
	StreamsLagged(n int)
}

// Options says how a hub works. Log, Head and Encode are needed; zero values of the
// others mean what their comments say.
type Options struct {
	Log Log
	// Head returns the position of the newest event that was committed: a stream that
	// begins now gets what comes after it, though the hub may not have come so far. It
	// must not block.
	Head func() im.Position
	// LogID names the log in cursors.
	LogID  uint32
	Encode Encode
	// Logger is where failures go; nowhere.
	Logger *slog.Logger
	// Observer is told what happens; nobody.
	Observer Observer
	// Deliver is handed what messages were written to the streams of their
	// recipients, together, at most every 500 ms and one call at a time; nobody
	// is. What fails is handed over again with what comes next. It must be done
	// when its context is.
	Deliver func(ctx context.Context, deliveries []im.Delivery) error

	// MaxStreamsPerUser is how many streams a user may have; 32.
	MaxStreamsPerUser int
	// MaxStreams is how many streams there may be in all; no limit.
	MaxStreams int
	// MaxConversations is how many conversations the online members are
	// remembered of; 65,536.
	MaxConversations int
	// QueueSize is how many events may wait for one stream in memory; 256.
	QueueSize int
	// InboxSize is how many events may wait for the hub; 8,192.
	InboxSize int
	// Leeway is how far the clock of who makes tokens may be ahead: a cut-off ends the
	// streams of tokens issued up to that long after it.
	Leeway time.Duration
	// Heartbeat is the longest silence on a stream; 15 s.
	Heartbeat time.Duration
	// Refresh is the longest that a stream goes without an event, so that clients
	// which take their cursor from events alone have a fresh one; 1 h.
	Refresh time.Duration
	// Retry is the least that a client waits before it connects again; 2 s.
	// Clients are told up to half as much more, each another time.
	Retry time.Duration
}

func (o Options) withDefaults() Options {
	setDefault(&o.MaxStreamsPerUser, 32)
	setDefault(&o.MaxConversations, 1<<16)
	setDefault(&o.QueueSize, 256)
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

// Why a stream is not opened, or has ended.
var (
	// ErrTooManyStreams refuses a stream to a user who has as many as may be.
	ErrTooManyStreams = im.Refuse(im.TooMany, "too_many_streams", "this user has as many event streams open as are allowed")
	// ErrOverloaded refuses a stream because there are as many as the server
	// is to carry. The client should come again, see [Hub.RetryLater].
	ErrOverloaded = errors.New("too many event streams in all")
	// ErrClosed refuses a stream because the hub was closed.
	ErrClosed = errors.New("event hub closed")
	// ErrTokenCut refuses or ends a stream whose token was cut off.
	ErrTokenCut = errors.New("token cut off")
	// ErrTokenExpired ends a stream whose token has expired.
	ErrTokenExpired = errors.New("token expired")
)
