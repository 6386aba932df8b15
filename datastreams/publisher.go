package datastreams

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/imapi/imapi/im"
)

// Publisher is one request that pushes frames, one after another.
type Publisher struct {
	attached
	hub  *Hub
	from []byte // the user, as JSON
	pace *rate.Limiter
	ctx  context.Context

	frames, last int64 // guarded by stream.mu
}

// Publish opens a publisher. as is the user who sends the frames if that is not the actor; only
// admins may set it. The caller must call [Publisher.Close]. ctx is that of the request: the waits
// of [Publisher.Push] end with it.
//
// It refuses an unknown data stream, one that has ended, an actor who may not push, and one more
// request than the limits allow.
func (h *Hub) Publish(ctx context.Context, c Client, id im.DataStreamID, as im.UserID) (*Publisher, error) {
	s, err := h.find(id)
	if err != nil {
		return nil, err
	}
	from, err := im.ActingAs(c.Actor, as)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		attached: attached{actor: c.Actor, issuedAt: c.IssuedAt, expiresAt: c.ExpiresAt},
		hub:      h, from: im.AppendQuoted(nil, string(from)), ctx: ctx,
	}
	p.attached.publisher = p
	if !c.Actor.Admin {
		p.pace = h.pace(c.Actor.User)
	}
	if err := h.attach(ctx, s, &p.attached, (*im.DataStream).AllowPush); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if p.err == nil && s.end != nil {
		p.err = im.ErrStreamEnded(s.end.as(c.Actor.User).Reason)
	}
	err = p.err
	s.mu.Unlock()
	if err != nil {
		h.detach(&p.attached)
		return nil, err
	}
	return p, nil
}

// longestPause is the longest time that a request with one frame waits for the rate limit of its
// user.
const longestPause = 2 * time.Second

// Push pushes a frame and returns its id. It waits for as long as the rate limit requires, except
// that it refuses a frame that is alone in its request if that wait would be over 2 s. If the
// buffer is full, it then waits for readers, for a limited time. Any other error is the reason for
// which the publisher was ended.
func (p *Publisher) Push(f Payload, alone bool) (int64, error) {
	if p.pace != nil {
		r := p.pace.ReserveN(time.Now(), min(f.cost(), p.pace.Burst()))
		wait := r.Delay()
		if alone && wait > longestPause {
			r.Cancel()
			return 0, &im.Error{
				Kind: im.TooMany, Code: "rate_limited", RetryAfter: wait,
				Message: "too many bytes pushed: wait as long as Retry-After says",
			}
		}
		if wait > 0 {
			p.sleep(wait)
		}
	}
	return p.stream.push(p, f)
}

// sleep waits for d, or until the publisher or its request ends.
func (p *Publisher) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.gone:
	case <-p.ctx.Done():
		p.stream.mu.Lock()
		p.kick(context.Cause(p.ctx))
		p.stream.mu.Unlock()
	}
}

// Pushed returns the number of frames that were pushed, and the id of the last one, 0 if there is
// none.
func (p *Publisher) Pushed() (frames, last int64) {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	return p.frames, p.last
}

// Gone returns a channel that is closed when the publisher is ended. From then on no frame is
// accepted.
func (p *Publisher) Gone() <-chan struct{} { return p.gone }

// Err returns why the publisher was ended, nil if it was not.
func (p *Publisher) Err() error {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	return p.err
}

// Close removes the publisher from its data stream.
func (p *Publisher) Close() { p.hub.detach(&p.attached) }
