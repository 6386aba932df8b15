package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// run is a running load.
type run struct {
	config   config
	endpoint endpoint
	world    *world
	progress *progress

	listeners  []*listener // those whose events are checked
	deliveries deliveries
	counts     map[string]*counts // by operation
	recent     ring
	file       []byte
	replayed   atomic.Int64 // events
	messages   atomic.Int64 // numbers client_ids
	schedule   schedule
	// made is when the run was created; other times are relative to it. measured is when measuring
	// began, a time in the far future until then.
	made     time.Time
	measured atomic.Int64
}

// counts are the outcomes of an operation.
type counts struct {
	done, shed, failed atomic.Int64
	latency            histogram // of those that succeeded, from when they were due
	shedLatency        histogram

	mu     sync.Mutex
	errors map[string]int64
}

// fault counts a failure by its kind.
func (c *counts) fault(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.errors == nil {
		c.errors = make(map[string]int64)
	}
	c.errors[what]++
}

// clientID returns a client_id that contains the time at which the message was due, so that each
// stream can measure the latency.
func (r *run) clientID(due time.Time) string {
	return fmt.Sprintf("%s-%d-%d", r.world.run, r.messages.Add(1), due.Sub(r.made).Microseconds())
}

// dueOf returns when the message with a client_id was due; false if it is not a message of the
// load.
func (r *run) dueOf(clientID []byte) (time.Time, bool) {
	rest, ours := strings.CutPrefix(string(clientID), r.world.run+"-")
	_, offset, _ := strings.Cut(rest, "-")
	us, err := strconv.ParseInt(offset, 10, 64)
	if !ours || err != nil {
		return time.Time{}, false
	}
	return r.made.Add(time.Duration(us) * time.Microsecond), true
}

// measures reports whether what happens at a time is measured.
func (r *run) measures(at time.Time) bool { return int64(at.Sub(r.made)) >= r.measured.Load() }

// began returns when measuring began.
func (r *run) began() time.Time { return r.made.Add(time.Duration(r.measured.Load())) }

// newRun returns a run that has not started.
func newRun(c config, p *progress) (*run, error) {
	w, err := newWorld(c)
	if err != nil {
		return nil, err
	}
	r := &run{
		config: c, endpoint: *c.endpoint(), world: w, progress: p, counts: make(map[string]*counts), file: make([]byte, c.uploadBytes),
		made: time.Now(),
	}
	r.measured.Store(math.MaxInt64)
	for name, weight := range c.mix {
		if weight > 0 {
			r.counts[name] = &counts{}
		}
	}
	return r, nil
}

// prepare makes the world, fills it and opens the streams. The streams end with streaming.
func (r *run) prepare(ctx, streaming context.Context, streams *sync.WaitGroup) error {
	if err := r.world.setUp(ctx, r.config, r.progress.step); err != nil {
		return err
	}
	if err := r.fill(ctx); err != nil {
		return err
	}
	return r.listen(ctx, streaming, streams)
}

// fill sends messages to each conversation.
func (r *run) fill(ctx context.Context) error {
	all := r.config.fill * len(r.world.conversations)
	workers := make(chan *worker, setupWorkers)
	for range setupWorkers {
		workers <- r.newWorker()
	}
	var filled atomic.Int64
	err := each(ctx, all, func(ctx context.Context, i int) error {
		w := <-workers
		defer func() { workers <- w }()
		c := r.world.conversations[i%len(r.world.conversations)]
		u := c.members[i/len(r.world.conversations)%len(c.members)]
		id := fmt.Sprintf("%s-fill-%d", r.world.run, i)
		for {
			a, err := w.sendTo(c, u, id)
			switch {
			case err != nil:
				return err
			case a.status == http.StatusCreated || a.status == http.StatusOK:
				r.progress.step("messages", int(filled.Add(1)), all)
				return nil
			case !a.shed():
				return fmt.Errorf("fill a conversation: %s", refusalOf(a.status, a.body))
			}
			if pause(ctx, max(a.retryAfter, 100*time.Millisecond)); ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	})
	close(workers)
	for w := range workers {
		w.conn.close()
	}
	return err
}

// refusalOf describes a refusal by its status and code.
func refusalOf(status int, body []byte) string {
	var problem struct{ Code, Detail string }
	_ = json.Unmarshal(body, &problem) // the answer of a proxy has no code
	return strings.TrimSuffix(strings.TrimSpace(fmt.Sprintf("%d %s: %s", status, problem.Code, problem.Detail)), ":")
}

const (
	// bufferSize is the size of the buffer of a checked stream, idleBuffer that of an idle one.
	bufferSize = 32 << 10
	idleBuffer = 4 << 10
	// opening is the number of streams that are opened at once.
	opening = 32
)

// listen opens the streams and returns when all are ready.
func (r *run) listen(ctx, streaming context.Context, streams *sync.WaitGroup) error {
	all := r.config.streams + r.config.idle
	var ready atomic.Int64
	failed := make(chan error, all)
	opened := make(chan struct{}, opening)
	everyone := make(chan struct{})
	for i := range all {
		u := r.world.users[i%len(r.world.users)]
		l := &listener{run: r, user: u, device: fmt.Sprintf("stream-%s-%d", r.world.run, i), size: idleBuffer}
		if i < r.config.streams {
			l.size, l.received = bufferSize, newReceived(r.world.of[u])
			r.listeners = append(r.listeners, l)
		}
		select {
		case opened <- struct{}{}:
		case err := <-failed:
			return fmt.Errorf("open stream %d of %d: %w", i+1, all, err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		streams.Go(func() {
			once := sync.OnceFunc(func() {
				<-opened
				n := int(ready.Add(1))
				r.progress.step("streams", n, all)
				if n == all {
					close(everyone)
				}
			})
			if err := l.listen(streaming, once); err != nil {
				failed <- err
			}
		})
	}
	if all == 0 {
		return nil
	}
	select {
	case <-everyone:
		return nil
	case err := <-failed:
		return fmt.Errorf("open streams: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *run) newWorker() *worker {
	return &worker{run: r, conn: conn{to: &r.endpoint}}
}

// load runs operations until the duration is over or ctx ends, and lets those in flight finish. An
// operation that begins during the warmup is counted only if it fails.
func (r *run) load(ctx context.Context) {
	var end time.Time
	begin := time.Now()
	measured := begin.Add(r.config.warmup)
	r.measured.Store(int64(measured.Sub(r.made)))
	until := ctx
	if r.config.duration > 0 {
		end = measured.Add(r.config.duration)
		var cancel context.CancelFunc
		until, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	turns := r.config.mix.turns()
	if len(turns) == 0 {
		<-until.Done()
		return
	}
	r.schedule.begin(begin, measured, end, r.config.rate)
	var workers sync.WaitGroup
	for range r.config.connections {
		workers.Go(func() {
			w := r.newWorker()
			defer w.conn.close()
			for {
				n, due, ok := r.schedule.next(until)
				if !ok {
					return
				}
				name := turns[n%int64(len(turns))]
				wait := r.do(ctx, w, name, due)
				if r.config.rate == 0 {
					pause(until, wait)
				}
			}
		})
	}
	workers.Wait()
}

// do runs an operation and counts its outcome. It returns the wait that the server asks for, or
// backoff if the connection failed.
func (r *run) do(ctx context.Context, w *worker, name string, due time.Time) (wait time.Duration) {
	measured := r.measures(time.Now())
	a, err := operations[name](w, ctx, due)
	took := time.Since(due)
	c := r.counts[name]
	switch {
	case err != nil && ctx.Err() != nil && a.status == 0 && streams(name):
		// Interrupted; nothing is wrong with it.
	case err != nil:
		c.failed.Add(1)
		c.fault("connection: " + err.Error())
		return backoff // so that a stopped server does not get thousands of attempts a second
	case a.shed():
		if measured {
			c.shed.Add(1)
			c.shedLatency.add(took)
			c.fault(refusalOf(a.status, a.body))
		}
		return a.retryAfter
	case a.status >= http.StatusBadRequest:
		c.failed.Add(1)
		c.fault(refusalOf(a.status, a.body))
	case measured:
		c.done.Add(1)
		c.latency.add(took)
	}
	return 0
}

// streams reports whether an operation waits for a stream, which is closed when the load ends.
func streams(name string) bool { return name == "replay" || name == "reconnect" }

// shed reports whether the server refused a request because of load, and said when to retry.
func (a answer) shed() bool {
	return a.retryAfter > 0 && (a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable)
}

// settle waits until the streams have received every message that was answered, the configured
// time is up, or ctx ends.
func (r *run) settle(ctx context.Context) {
	end := time.Now().Add(r.config.settle)
	for r.lost() > 0 && time.Now().Before(end) && ctx.Err() == nil {
		pause(ctx, 50*time.Millisecond)
	}
}

// lost returns the number of answered messages that streams have not received.
func (r *run) lost() (n int64) {
	for _, l := range r.listeners {
		n += l.received.lost(r.world.of[l.user])
	}
	return n
}

// sentMessage is a message that its sender can revoke.
type sentMessage struct {
	id string
	by *user
	at time.Time
}

// revocable is the maximum age of a message to revoke, shorter than the server's revoke window.
const revocable = time.Minute

// ring holds the newest messages.
type ring struct {
	mu   sync.Mutex
	list [256]sentMessage
	n    int
}

func (r *ring) add(m sentMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list[r.n%len(r.list)] = m
	r.n++
}

// take removes the newest message and returns it. ok is false if there is none or the message
// is too old to revoke.
func (r *ring) take() (m sentMessage, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 {
		return m, false
	}
	at := &r.list[(r.n-1)%len(r.list)]
	m, *at = *at, sentMessage{}
	r.n--
	return m, m.id != "" && time.Since(m.at) < revocable
}
