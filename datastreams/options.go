package datastreams

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/imapi/imapi/im"
)

// Domain is what a hub needs from the domain; [im.Service] is one.
type Domain interface {
	// StreamConversation returns a conversation and what the actor may do there. It refuses one
	// that they cannot see.
	StreamConversation(ctx context.Context, actor im.Actor, ref im.ConversationRef) (im.Conversation, im.StreamUser, error)
	// StreamUsers returns what users may do in a conversation. Those who cannot see it are
	// missing.
	StreamUsers(ctx context.Context, conversation im.ID, users []im.UserID) (map[im.UserID]im.StreamUser, error)
	// Send sends a message.
	Send(ctx context.Context, actor im.Actor, ref im.ConversationRef, d im.Draft) (im.Sent, error)
}

// Notice is the news that a data stream in a conversation has started or ended.
type Notice struct {
	// Stream is the data stream without its lists.
	Stream im.DataStream
	// To are the users who receive the notice, nil for all who can see the conversation.
	To []im.UserID
	// Not is a user who does not receive the notice, "" for none.
	Not im.UserID
	// End is how the data stream ended, nil if it has started.
	End *End
	// Actor is the actor who started or ended the data stream, zero if nobody did.
	Actor im.Actor
	At    time.Time
}

// Options are the options of a hub. Domain is required. The zero value of any other selects the
// default in its comment. The limits of a user do not apply to admins.
type Options struct {
	Domain Domain
	// Publish publishes a notice to its conversation. It must not block. Default: notices are
	// not published.
	Publish func(Notice)
	// Logger logs failures. Default: none.
	Logger *slog.Logger
	// Now is the clock; time.Now by default.
	Now func() time.Time

	// MaxFrameBytes bounds the body of a frame, in bytes. Default: 1 MiB.
	MaxFrameBytes int
	// MaxStreams bounds the running data streams, MaxStreamsPerUser those of an owner.
	// Defaults: 10,000 and 32.
	MaxStreams, MaxStreamsPerUser int
	// MaxReaders bounds the readers of a data stream. Default: 5,000.
	MaxReaders int
	// MaxAttached bounds the requests that read or push, in all; MaxAttachedPerUser those of
	// a user. Defaults: 20,000 and 32.
	MaxAttached, MaxAttachedPerUser int
	// StreamBytes bounds the buffer of a data stream, and Bytes all of them together, in
	// bytes of memory. Defaults: 4 MiB and 256 MiB. StreamBytes must have room for a frame.
	StreamBytes, Bytes int
	// Rate is the number of bytes a second that a user may push; bursts may be four times that.
	// Each frame counts 160 bytes in addition to its body. Default: 1 MiB.
	Rate int
	// Leeway is how far the clock of a token's issuer may be ahead. A cut-off ends requests
	// with tokens issued up to that long after it. Default: 0.
	Leeway time.Duration
	// Heartbeat is the longest time without a write to a reader. Default: 15 s.
	Heartbeat time.Duration
	// Retry is the time that an EventSource waits before it reconnects. Default: 2 s.
	Retry time.Duration
}

// Times and bounds that are not options.
const (
	// After a data stream has ended, its readers have linger to read the rest of the buffer, or at
	// a shutdown lingerAtClose, which is less than the 3 s that all requests have then.
	linger        = 10 * time.Second
	lingerAtClose = 2 * time.Second
	// remembered is the time for which the hub remembers how a data stream ended.
	remembered = time.Minute
	// mostRemembered bounds the ended data streams that the hub remembers.
	mostRemembered = 10_000
	// stuck and patience are those of [Hub].
	stuck    = 100 * time.Millisecond
	patience = time.Second
)

// burst is the size of a burst, in seconds of the rate.
const burst = 4

func (o Options) withDefaults() Options {
	setDefault(&o.MaxFrameBytes, 1<<20)
	setDefault(&o.MaxStreams, 10_000)
	setDefault(&o.MaxStreamsPerUser, 32)
	setDefault(&o.MaxReaders, 5000)
	setDefault(&o.MaxAttached, 20_000)
	setDefault(&o.MaxAttachedPerUser, 32)
	setDefault(&o.StreamBytes, 4<<20)
	setDefault(&o.Bytes, 256<<20)
	setDefault(&o.Rate, 1<<20)
	setDefault(&o.Heartbeat, 15*time.Second)
	setDefault(&o.Retry, 2*time.Second)
	if o.Publish == nil {
		o.Publish = func(Notice) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// The reasons why a request is refused or ended, besides the refusals of package im.
var (
	// ErrClosed refuses and ends requests when the server stops.
	ErrClosed = errors.New("data streams closed")
	// ErrTokenCut ends a request whose token was cut off.
	ErrTokenCut = errors.New("token cut off")
	// ErrTokenExpired ends a request whose token has expired.
	ErrTokenExpired = errors.New("token expired")
)

func errTooManyStreams(format string, args ...any) error {
	return im.Refuse(im.TooMany, "too_many_streams", format, args...)
}

func errOverloaded() error {
	return im.Refuse(im.Unavailable, "overloaded", "too many data streams, or requests that use one, are open on this server")
}
