package datastreams

import (
	"context"
	"time"

	"github.com/imapi/imapi/im"
)

// Client is the caller of a request that reads or pushes.
type Client struct {
	Actor im.Actor
	// IssuedAt and ExpiresAt are those of the token. Every cut-off ends a token with a zero
	// IssuedAt. A token with a zero ExpiresAt does not expire.
	IssuedAt, ExpiresAt time.Time
}

// attached is a request that reads or pushes, as its data stream and the hub see it.
type attached struct {
	stream    *stream
	actor     im.Actor
	issuedAt  time.Time
	expiresAt time.Time
	reader    *Reader    // nil if it pushes
	publisher *Publisher // nil if it reads
	counted   bool       // against the limits; guarded by stream.mu

	// err is why the request was ended; guarded by stream.mu.
	err  error
	gone chan struct{} // closed with err
}

// kick ends the request with a reason, unless it has one. The caller holds stream.mu.
func (c *attached) kick(reason error) {
	if c.err != nil {
		return
	}
	c.err = reason
	close(c.gone)
	if c.reader != nil {
		c.reader.signal()
	}
}

// attach adds a request to its data stream, if a rule allows it and no limit refuses it. Unless it
// returns an error, the caller must call detach.
//
// The right is checked after the request is registered, so that no change in between is missed, and
// before it counts against a limit, so that a user without the right learns nothing about the data
// stream and uses up no capacity.
func (h *Hub) attach(ctx context.Context, s *stream, c *attached, rule func(*im.DataStream, im.Actor, im.StreamUser) error) error {
	s.mu.Lock()
	c.stream, c.gone = s, make(chan struct{})
	s.clients[c] = struct{}{}
	s.mu.Unlock()
	err := h.allowed(ctx, s, c.actor, rule)
	if err == nil {
		err = h.count(s, c)
	}
	if err != nil {
		h.detach(c)
	}
	return err
}

// count counts a request against the limits, or refuses it.
func (h *Hub) count(s *stream, c *attached) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	mine := h.attachedBy[c.actor.User]
	switch {
	case h.closed:
		return ErrClosed
	case h.attachments >= h.opts.MaxAttached:
		return errOverloaded()
	case mine >= h.opts.MaxAttachedPerUser && !c.actor.Admin:
		return errTooManyStreams("you have %d requests open that read or push data streams", mine)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.reader != nil {
		if s.readers >= h.opts.MaxReaders {
			return errTooManyStreams("the data stream has %d readers", s.readers)
		}
		s.readers++
		h.readers++
	}
	c.counted = true
	h.attachments++
	h.attachedBy[c.actor.User] = mine + 1
	return nil
}

// detach removes a request. It may be called more than once.
func (h *Hub) detach(c *attached) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := c.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
	if !c.counted {
		return
	}
	c.counted = false
	h.attachments--
	if h.attachedBy[c.actor.User]--; h.attachedBy[c.actor.User] == 0 {
		delete(h.attachedBy, c.actor.User)
	}
	if c.reader == nil {
		return
	}
	s.readers--
	h.readers--
	if s.end != nil && s.readers == 0 {
		s.drop() // no reader is left for the rest
	}
}
