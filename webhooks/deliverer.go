package webhooks

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/outgoing"
)

// Source reads and stores the data of webhooks; it is [im.Service].
type Source interface {
	ContinueWebhooks(ctx context.Context) error
	ActiveWebhooks(ctx context.Context) ([]im.ActiveWebhook, map[im.WebhookState]int, error)
	ForgetPreviousSecrets(ctx context.Context) (int, error)
	QueuedDeliveries(ctx context.Context, webhook im.ID, limit int) ([]im.WebhookDelivery, error)
	WebhookEvents(ctx context.Context, webhook im.ID, after im.Position) (im.WebhookWindow, error)
	WebhookEvent(ctx context.Context, webhook im.ID, at im.Position) (im.Event, bool, error)
	WebhookContent(ctx context.Context, webhook im.ID, e im.Event, offline func([]im.UserID) []im.UserID) (im.WebhookContent, bool, error)
	SaveWebhook(ctx context.Context, w im.Webhook, list []im.WebhookDelivery) (bool, error)
}

var _ Source = (*im.Service)(nil)

// Client makes requests; it is [outgoing.Client].
type Client interface {
	Post(ctx context.Context, url string, header http.Header, body []byte) (outgoing.Answer, error)
}

// Observer receives measurements. Its methods must not block.
type Observer interface {
	// WebhookAttempted is called after each request. The result is "delivered", "failed" if
	// it will be repeated, or "skipped" if it will not.
	WebhookAttempted(result string)
	// WebhookStates is called with the number of webhooks in each state when it may have
	// changed.
	WebhookStates(active, paused, off int)
}

// Options are the options of a deliverer. All are required except those with a default.
type Options struct {
	Source Source
	Client Client
	// Encode returns the body of a request.
	Encode func(im.WebhookContent) []byte
	// ID returns the id of the event at a position.
	ID func(im.Position) string
	// Offline returns the users in a list who have no open stream. It must not block.
	Offline func([]im.UserID) []im.UserID
	Logger  *slog.Logger
	// Observer receives measurements. Default: none.
	Observer Observer
	// Now is the clock, and After the timer. Default: time.Now and time.After.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Deliverer delivers events to all active webhooks. It is safe for concurrent use.
type Deliverer struct {
	opts Options
	// reload holds a token if webhooks may have changed.
	reload chan struct{}
	// endpoints are the running endpoints, for Committed and Lag.
	endpoints atomic.Pointer[[]*endpoint]
}

// New returns a deliverer that does nothing until Run. The caller must pass all commits to
// [Deliverer.Committed].
func New(o Options) *Deliverer {
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	return &Deliverer{opts: o, reload: make(chan struct{}, 1)}
}

type unobserved struct{}

func (unobserved) WebhookAttempted(string)     {}
func (unobserved) WebhookStates(int, int, int) {}

// Committed informs the deliverer of a commit. It does not block.
func (d *Deliverer) Committed(c im.Commit) {
	if c.Webhooks || c.Gap {
		signal(d.reload)
	}
	if len(c.Events) == 0 && !c.Gap {
		return
	}
	for _, e := range d.running() {
		signal(e.wake)
	}
}

// Lag returns the age of the oldest event that is yet to be delivered to an active webhook, 0 if
// there is none.
func (d *Deliverer) Lag() time.Duration {
	var lag time.Duration
	for _, e := range d.running() {
		if at := e.pending.Load(); at != 0 {
			lag = max(lag, d.opts.Now().Sub(time.UnixMilli(at)))
		}
	}
	return lag
}

func (d *Deliverer) running() []*endpoint {
	if list := d.endpoints.Load(); list != nil {
		return *list
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const (
	// refresh is the interval at which webhooks are read even without a commit that changed them,
	// and expired previous secrets are erased.
	refresh = time.Minute
	// failurePause is the pause after a failure of the store.
	failurePause = time.Second
	// grace is the time that requests in flight get when the deliverer stops.
	grace = 2 * time.Second
)

// Run delivers until ctx ends. Then it gives requests in flight two seconds, stores the progress of
// each webhook, and returns. Call it once.
func (d *Deliverer) Run(ctx context.Context) {
	// Requests and the last writes outlive ctx.
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	for {
		err := d.opts.Source.ContinueWebhooks(ctx)
		if err == nil {
			break
		}
		if !d.failed(ctx, err) {
			return
		}
	}
	var all sync.WaitGroup
	known := make(map[im.ID]*endpoint)
	for ctx.Err() == nil {
		if err := d.load(working, &all, known); err != nil {
			if !d.failed(ctx, err) {
				break
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-d.reload:
		case <-time.After(refresh):
			if _, err := d.opts.Source.ForgetPreviousSecrets(ctx); err != nil {
				d.failed(ctx, err)
			}
		}
	}
	for _, e := range known {
		e.stop()
	}
	stopped := make(chan struct{})
	go func() {
		all.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(grace):
		for _, e := range known {
			e.cut()
		}
		<-stopped
	}
}

// failed logs a failure of the store and waits. It returns false when ctx ends.
func (d *Deliverer) failed(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	d.opts.Logger.ErrorContext(ctx, "webhooks not read or stored", "error", faults.Text(err))
	select {
	case <-ctx.Done():
		return false
	case <-d.opts.After(failurePause):
		return true
	}
}

// load starts goroutines for new webhooks, passes changes to those that run, and stops those
// whose webhooks are no longer active.
func (d *Deliverer) load(ctx context.Context, all *sync.WaitGroup, known map[im.ID]*endpoint) error {
	active, others, err := d.opts.Source.ActiveWebhooks(ctx)
	if err != nil {
		return err
	}
	there := make(map[im.ID]bool, len(active))
	for _, w := range active {
		there[w.ID] = true
		e := known[w.ID]
		if e != nil && e.ended() {
			e = nil
		}
		if e != nil {
			e.change(w)
			continue
		}
		e = newEndpoint(ctx, d, w)
		known[w.ID] = e
		all.Go(e.run)
	}
	list := make([]*endpoint, 0, len(known))
	for id, e := range known {
		switch {
		case e.ended():
			delete(known, id)
			continue
		case !there[id]:
			e.stop()
		}
		list = append(list, e)
	}
	d.endpoints.Store(&list)
	d.opts.Observer.WebhookStates(len(active), others[im.WebhookPaused], others[im.WebhookOff])
	return nil
}
