package datastreams

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/loopback"
)

// group is the log of a hub for events: one group, whose members never change.
type group struct{}

func (group) Events(_ context.Context, _ im.Actor, _, upTo im.Position, _ int) (im.EventWindow, error) {
	return im.EventWindow{Through: upTo}, nil
}

func (group) LogBounds(context.Context) (im.LogBounds, error) { return im.LogBounds{Head: 1}, nil }

func (group) MembersAt(_ context.Context, id im.ID, _ im.Position, users []im.UserID) (im.Audience, error) {
	a := im.Audience{Conversation: im.Conversation{ID: id, Kind: im.Group, History: im.HistoryAll}}
	for _, u := range users {
		a.Members = append(a.Members, im.AudienceMember{User: u, Intervals: im.Stays{{FromSeq: 1}}})
	}
	return a, nil
}

// arrivals counts frames that arrived, and signals when there are as many as expected.
type arrivals struct {
	n, goal atomic.Int64
	met     chan struct{}
}

func newArrivals() *arrivals { return &arrivals{met: make(chan struct{}, 1)} }

func (a *arrivals) add(n int) {
	now := a.n.Add(int64(n))
	if goal := a.goal.Load(); now >= goal && now-int64(n) < goal {
		a.met <- struct{}{}
	}
}

// await calls fn, which sends frames, and waits until a number of them have arrived.
func (a *arrivals) await(frames int64, fn func()) {
	a.goal.Store(a.n.Load() + frames)
	fn()
	<-a.met
}

// sink returns one end of a connection whose other end counts the frames that arrive: each has
// two line breaks at its end.
func (a *arrivals) sink(b *testing.B) loopback.Sink {
	b.Helper()
	reading, writing := loopback.Pair(b)
	b.Cleanup(func() { _ = writing.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		var last byte
		for {
			n, err := reading.Read(buf)
			frames := 0
			for _, c := range buf[:n] {
				if c == '\n' && last == '\n' {
					frames++
					last = 0
				} else {
					last = c
				}
			}
			if frames > 0 {
				a.add(frames)
			}
			if err != nil {
				return
			}
		}
	}()
	return loopback.Sink{Conn: writing}
}

// BenchmarkFanOut delivers frames to 100 readers over loopback sockets: one at a time, and up to 64
// ahead, so that they are joined. "events" delivers events of the same size from the event hub;
// "of-events" is the ratio to it in the same run.
func BenchmarkFanOut(b *testing.B) {
	const readers = 100
	words := strings.Repeat("a", 150)
	for _, ahead := range []int64{1, 64} {
		var rate float64
		report := func(b *testing.B) float64 {
			r := float64(b.N) * readers * float64(ahead) / b.Elapsed().Seconds()
			b.ReportMetric(r, "frames/s")
			return r
		}
		b.Run(fmt.Sprintf("events/%d", ahead), func(b *testing.B) {
			got := newArrivals()
			position := im.Position(1)
			h, err := events.NewHub(context.Background(), events.Options{
				Log: group{}, Head: func() im.Position { return 1 },
				Encode: func(dst []byte, e *im.Event, cursor string) []byte {
					return fmt.Appendf(dst, `{"id":%q,"type":%q,"text":%q}`, cursor, e.Type, words)
				},
			})
			if err != nil {
				b.Fatal(err)
			}
			var serving sync.WaitGroup
			got.await(readers, func() { // ready
				for i := range readers {
					s, err := h.Subscribe(events.Subscriber{Actor: im.Actor{User: im.UserID(fmt.Sprint("user", i))}})
					if err != nil {
						b.Fatal(err)
					}
					conn := got.sink(b)
					serving.Go(func() { _ = s.Serve(context.Background(), conn) })
				}
			})
			b.Cleanup(func() { h.Close(); serving.Wait() })
			for b.Loop() {
				got.await(readers*ahead, func() {
					for range ahead {
						position++
						e := im.Event{Type: im.ConversationUpdated, Conversation: 7, Position: position, At: time.Now(), Own: &im.OwnSettings{}}
						h.Publish(im.Commit{Events: []im.Event{e}, Head: position})
					}
				})
			}
			rate = report(b)
		})
		b.Run(fmt.Sprintf("frames/%d", ahead), func(b *testing.B) {
			got := newArrivals()
			h := NewHub(Options{Domain: &domain{}})
			id, p := open(b, h)
			var serving sync.WaitGroup
			for i := range readers {
				r, err := h.Read(context.Background(), as(im.UserID(fmt.Sprint("user", i))), id, Now, false)
				if err != nil {
					b.Fatal(err)
				}
				conn := got.sink(b)
				serving.Go(func() { _, _ = r.Serve(context.Background(), conn) })
			}
			b.Cleanup(func() { h.Close(); serving.Wait() })
			f := text(words)
			for b.Loop() {
				got.await(readers*ahead, func() {
					for range ahead {
						push(b, p, f)
					}
				})
			}
			if r := report(b); rate > 0 {
				b.ReportMetric(r/rate, "of-events")
			}
		})
	}
}
