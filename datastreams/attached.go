package datastreams

import (
	"time"

	"github.com/imapi/imapi/im"
)

// Client is who makes a request that reads or pushes.
type Client struct {
	Actor im.Actor
	// IssuedAt and ExpiresAt are those of the token. Every cut-off ends a token with a zero
	// IssuedAt. A token with a zero ExpiresAt does not expire.
	IssuedAt, ExpiresAt time.Time
}

// attached is a request that reads or pushes, as far as its data stream and the hub need to
// know.
type attached struct {
	stream    *stream
	actor     im.Actor
	issuedAt  time.Time
	expiresAt time.Time
	reader    *Reader    // nil if it pushes
	publisher *Publisher // nil if it reads

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

// attach adds a request to its data stream. The caller must call detach.
func (h *Hub) attach(s *stream, c *attached) error {
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
	c.stream, c.gone = s, make(chan struct{})
	s.clients[c] = struct{}{}
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
	if _, there := s.clients[c]; !there {
		return
	}
	delete(s.clients, c)
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
		s.drop() // nobody is left to read the rest
	}
}
