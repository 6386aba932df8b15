package events

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/loopback"
	"github.com/imapi/imapi/sockets"
)

// counter counts events delivered to streams, and signals when it reaches its goal.
type counter struct {
	unobserved
	n    atomic.Int64
	goal atomic.Int64
	met  chan struct{}
}

func newCounter() *counter { return &counter{met: make(chan struct{}, 1)} }

func (o *counter) EventDelivered(time.Duration) {
	if o.n.Add(1) == o.goal.Load() {
		o.met <- struct{}{}
	}
}

// drained returns n connections. Their other ends are read as fast as possible.
func drained(b *testing.B, n int) []*net.TCPConn {
	b.Helper()
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		reading, writing := loopback.Pair(b)
		conns[i] = writing
		b.Cleanup(func() { _ = writing.Close() })
		go func() {
			buf := make([]byte, 4<<10)
			for {
				if _, err := reading.Read(buf); err != nil {
					return
				}
			}
		}()
	}
	return conns
}

// BenchmarkFanOut delivers one event after another to 1,000 streams over loopback sockets.
// Each is written to all streams before the next is published, so that no two are joined in
// one write. "bare" only writes the same bytes to the same sockets in a loop: the lower
// bound.
func BenchmarkFanOut(b *testing.B) {
	const streams = 1000
	report := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*streams/b.Elapsed().Seconds(), "frames/s")
	}
	b.Run("bare", func(b *testing.B) {
		conns := drained(b, streams)
		bare := &Hub{opts: Options{LogID: testLog, Encode: testEncode}}
		f := bare.newFrame(benchEvent(1))
		for b.Loop() {
			for _, c := range conns {
				if _, err := c.Write(f.current().block()); err != nil {
					b.Fatal(err)
				}
			}
		}
		report(b)
	})
	for name, serve := range benchWays {
		b.Run(name, func(b *testing.B) {
			o := newCounter()
			h, m, wait := benchHub(b, streams, o, serve)
			defer wait()
			defer h.Close()
			b.ReportAllocs()
			for b.Loop() {
				o.goal.Store(o.n.Load() + streams)
				m.commit(benchEvent(0))
				<-o.met
			}
			report(b)
		})
	}
}

// benchWays are ways to serve a stream over a connection: by the writers of the hub, as over
// HTTP/1.1, and by a goroutine of its own, as over HTTP/2.
var benchWays = map[string]func(*testing.B, *Subscription, *net.TCPConn, func(error)){
	"writers": func(b *testing.B, s *Subscription, c *net.TCPConn, done func(error)) {
		conn, err := sockets.New(c)
		if err != nil {
			b.Fatal(err)
		}
		go s.ServeConn(conn, 10*time.Second, done)
	},
	"goroutines": func(_ *testing.B, s *Subscription, c *net.TCPConn, done func(error)) {
		go func() { done(s.Serve(context.Background(), loopback.Sink{Conn: c})) }()
	},
}

// BenchmarkFanOutBusy publishes events as fast as streams write them, so that queued frames
// are joined.
func BenchmarkFanOutBusy(b *testing.B) {
	const streams, ahead = 1000, 64
	for name, serve := range benchWays {
		b.Run(name, func(b *testing.B) {
			o := newCounter()
			h, m, wait := benchHub(b, streams, o, serve)
			defer wait()
			defer h.Close()
			b.ReportAllocs()
			for b.Loop() {
				o.goal.Store(o.n.Load() + streams*ahead)
				for range ahead {
					m.commit(benchEvent(0))
				}
				<-o.met
			}
			b.ReportMetric(float64(b.N)*streams*ahead/b.Elapsed().Seconds(), "frames/s")
		})
	}
}

func benchEvent(position im.Position) im.Event {
	e := withText(1, 10, "about a hundred bytes, the size of an average message between two people who know each other")
	e.Position, e.At = position, time.Now()
	return e
}

// benchHub returns a hub with n streams over sockets, all of different members of one
// conversation, and a function that waits for their end.
func benchHub(b *testing.B, n int, o Observer, serve func(*testing.B, *Subscription, *net.TCPConn, func(error))) (*Hub, *model, func()) {
	b.Helper()
	m := newModel()
	h := newTestHub(b, m, Options{Observer: o})
	var users []im.UserID
	for i := range n {
		users = append(users, im.UserID(fmt.Sprint("user", i)))
	}
	m.create(1, users...)
	for h.position() < 1 {
		runtime.Gosched()
	}
	var serving sync.WaitGroup
	serving.Add(n)
	for i, c := range drained(b, n) {
		sub, err := h.Subscribe(Subscriber{Actor: im.Actor{User: users[i]}})
		if err != nil {
			b.Fatal(err)
		}
		serve(b, sub, c, func(err error) {
			if err != nil {
				b.Error(err)
			}
			serving.Done()
		})
	}
	return h, m, serving.Wait
}

type discard struct{ opened *sync.WaitGroup }

func (d discard) Write(p []byte) error { _, err := io.Discard.Write(p); return err }

func (d discard) Flush() error {
	d.opened.Done()
	return nil
}

// BenchmarkIdleStreams measures the memory of 10,000 idle streams of as many users, with
// their stacks and without HTTP.
func BenchmarkIdleStreams(b *testing.B) {
	const streams = 10_000
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for b.Loop() {
		m := newModel()
		h := newTestHub(b, m, Options{})
		before := memory()
		var opened, serving sync.WaitGroup
		opened.Add(streams)
		for i := range streams {
			sub, err := h.Subscribe(Subscriber{Actor: im.Actor{User: im.UserID(fmt.Sprint("user", i))}})
			if err != nil {
				b.Fatal(err)
			}
			serving.Go(func() {
				_ = sub.Serve(context.Background(), discard{&opened})
			})
		}
		opened.Wait()
		b.ReportMetric(float64(memory()-before)/streams, "bytes/stream")
		opened.Add(streams) // the last flush
		h.Close()
		serving.Wait()
	}
}

// BenchmarkErase measures the dispatcher's work for an erasure with 20,000 users online, most of
// whom have no queued frames.
func BenchmarkErase(b *testing.B) {
	h := newTestHub(b, newModel(), Options{})
	for i := range 20_000 {
		s, err := h.Subscribe(Subscriber{Actor: im.Actor{User: im.UserID(fmt.Sprint("user", i))}})
		if err != nil {
			b.Fatal(err)
		}
		if i%1000 != 0 {
			continue
		}
		e := withText(1, im.ID(i+1), "waits")
		e.Position = 1
		f := h.newFrame(e)
		h.unwritten.add(f)
		s.offer(f)
	}
	b.ReportAllocs()
	id := im.ID(0)
	for b.Loop() {
		id++
		h.retract(retraction{tombstone: &im.Message{ID: id}})
	}
}

// BenchmarkDispatch measures the dispatcher's work for an event for two of 10,000 users
// online, in a conversation that is already in the audience.
func BenchmarkDispatch(b *testing.B) {
	m := newModel()
	h := newTestHub(b, m, Options{})
	for i := range 10_000 {
		if _, err := h.Subscribe(Subscriber{Actor: im.Actor{User: im.UserID(fmt.Sprint("user", i))}}); err != nil {
			b.Fatal(err)
		}
	}
	m.create(1, "user1", "user2")
	for h.position() < 1 {
		runtime.Gosched()
	}
	h.Close() // the loop calls the dispatcher itself
	b.ReportAllocs()
	position := im.Position(1)
	for b.Loop() {
		position++
		e := benchEvent(position)
		h.enqueue(&e)
	}
}
