package events

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

func TestOpening(t *testing.T) {
	created := slices.Repeat([]string{"message.created"}, 6)
	for name, tt := range map[string]struct {
		cursor *Cursor
		then   []string // the events after ready
	}{
		"now":                     {nil, nil},
		"at the head":             {&Cursor{testLog, 10}, nil},
		"missed two":              {&Cursor{testLog, 8}, created[:2]},
		"at the oldest":           {&Cursor{testLog, 4}, created},
		"before the oldest":       {&Cursor{testLog, 3}, []string{"reset"}},
		"ahead of the log":        {&Cursor{testLog, 11}, []string{"reset"}},
		"in another log":          {&Cursor{testLog + 1, 10}, []string{"reset"}},
		"at the start of the log": {&Cursor{testLog, 0}, []string{"reset"}},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m := newModel()
				h := newTestHub(t, m, Options{Retry: time.Second})
				m.create(1, "a")
				for range 9 {
					m.commit(sent(1))
				}
				m.trim(4)
				synctest.Wait()
				c := newClient(t, h, "a", "")
				c.cursor = tt.cursor
				c.connect(newPipe())
				synctest.Wait()

				got := c.read()
				if retry := c.pipe.parser.retry; len(retry) != 4 || retry[0] != '1' {
					t.Errorf("retry %q, want 1000 to 1500", retry)
				}
				ready := Cursor{testLog, 10}
				if tt.cursor != nil {
					ready = *tt.cursor
				}
				if got[0].event != "ready" || got[0].id != ready.String() {
					t.Errorf("first is %v, want ready at %v", got[0], ready)
				}
				var then []string
				for _, e := range got[1:] {
					then = append(then, e.event)
				}
				if diff := cmp.Diff(tt.then, then); diff != "" {
					t.Errorf("unexpected events (-want +received):\n%s", diff)
				}
				if *c.cursor != (Cursor{testLog, 10}) {
					t.Errorf("cursor %v, want the head", *c.cursor)
				}

				m.commit(im.Event{Type: im.MessageCreated, To: "a"})
				synctest.Wait()
				if got := c.read(); len(got) != 1 || got[0].event != "message.created" {
					t.Errorf("live events are %v", got)
				}
			})
		})
	}
}

// A client that does not read while the log is trimmed receives reset, and continues.
func TestLogTrimmedWhileLagging(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{QueueSize: 4})
		m.create(1, "a")
		synctest.Wait()
		c := newClient(t, h, "a", "")
		c.connect(newPipe())
		synctest.Wait()
		c.pipe.block(true)
		for range 20 {
			m.commit(sent(1))
			synctest.Wait()
		}
		m.trim(15)
		c.pipe.block(false)
		synctest.Wait()
		got := c.read()
		if c.resets != 1 || c.cursor.Position != 21 {
			t.Errorf("%d resets, cursor %v: %v", c.resets, c.cursor, got)
		}
		c.from, c.got = 21, nil
		m.commit(sent(1))
		synctest.Wait()
		c.read()
		c.expect(m)
	})
}

// The log is trimmed between two windows of one replay.
func TestLogTrimmedWhileReplaying(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a")
		for range 500 {
			m.commit(sent(1))
		}
		synctest.Wait()
		m.mu.Lock()
		m.onEvents = func() { // called with m.mu held, after the snapshot of the second window
			if m.eventsReads == 2 {
				m.cut = 400
			}
		}
		m.mu.Unlock()
		c := newClient(t, h, "a", "")
		c.cursor = &Cursor{testLog, 1}
		c.connect(newPipe())
		synctest.Wait()
		c.read()
		if c.resets != 1 || c.cursor.Position != 501 || len(c.got) != 2*window {
			t.Errorf("%d resets after %d events, cursor %v", c.resets, len(c.got), c.cursor)
		}
	})
}

func TestTokenExpiryEndsTheStream(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		start := time.Now()
		c := newClient(t, h, "a", "")
		c.ends = start.Add(40 * time.Second)
		c.connect(newPipe())
		if err := <-c.served; !errors.Is(err, ErrTokenExpired) {
			t.Errorf("Serve = %v", err)
		}
		if d := time.Since(start); d != 40*time.Second {
			t.Errorf("ended after %s, want 40s", d)
		}
		if n := h.Streams(); n != 0 {
			t.Errorf("%d streams left", n)
		}
		// Queued events are not written after it.
		c.ends = time.Now().Add(time.Second)
		c.connect(newPipe())
		synctest.Wait()
		c.pipe.block(true)
		m.commit(im.Event{Type: im.MessageCreated, To: "a"})
		synctest.Wait()
		m.commit(im.Event{Type: im.MessageCreated, To: "a"})
		<-time.After(2 * time.Second)
		c.pipe.block(false)
		if err := <-c.served; !errors.Is(err, ErrTokenExpired) {
			t.Errorf("Serve = %v", err)
		}
		c.read()
		// A writer does not begin to write frames that the connection does not accept.
		if len(c.got) != 1 && (!byWriters || len(c.got) > 1) {
			t.Errorf("received %v, want only the event that was being written", c.got)
		}
	})
}

func TestTokenCut(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		at := time.Now()
		older, equal, newer, without, other := newClient(t, h, "a", ""), newClient(t, h, "a", ""), newClient(t, h, "a", ""), newClient(t, h, "a", ""), newClient(t, h, "b", "")
		older.issued, equal.issued, newer.issued, other.issued = at.Add(-1), at, at.Add(1), at.Add(-1)
		for _, c := range []*client{older, equal, newer, without, other} {
			c.connect(newPipe())
		}
		synctest.Wait()
		h.Publish(im.Commit{Cuts: []im.TokenCut{{User: "a", At: at}, {User: "a", At: at.Add(-time.Hour)}}})
		synctest.Wait()
		for _, c := range []*client{older, equal, without} {
			if err := <-c.served; !errors.Is(err, ErrTokenCut) {
				t.Errorf("issued %v: Serve = %v", c.issued, err)
			}
		}
		if n := h.Streams(); n != 2 {
			t.Errorf("%d streams left, want those of the newer token and of the other user", n)
		}
		// A request that was verified just before the cut-off is too late.
		if _, err := h.Subscribe(older.subscriber()); !errors.Is(err, ErrTokenCut) {
			t.Errorf("Subscribe = %v, want the cut to hold", err)
		}
		sub, err := h.Subscribe(newer.subscriber())
		if err != nil {
			t.Errorf("Subscribe = %v", err)
		}
		sub.Close()
	})
}

func TestHubClose(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		idle, blocked := newClient(t, h, "a", ""), newClient(t, h, "b", "")
		idle.connect(newPipe())
		blocked.connect(newPipe())
		synctest.Wait()
		blocked.pipe.block(true)
		m.commit(im.Event{Type: im.MessageCreated, To: "b"})
		synctest.Wait()
		h.Close()
		if err := <-idle.served; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		blocked.pipe.block(false)
		if err := <-blocked.served; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		if _, err := h.Subscribe(idle.subscriber()); !errors.Is(err, ErrClosed) {
			t.Errorf("Subscribe = %v", err)
		}
		m.commit(sent(1))
		h.Close()
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		c := newClient(t, h, "a", "")
		c.connect(newPipe())
		synctest.Wait()
		c.cancel(io.EOF)
		if err := <-c.served; !errors.Is(err, io.EOF) {
			t.Errorf("Serve = %v", err)
		}
		// A stream that is never served ends with Close.
		sub, err := h.Subscribe(c.subscriber())
		if err != nil {
			t.Fatal(err)
		}
		sub.Close()
		sub.Close()
		if n := h.Streams(); n != 0 {
			t.Errorf("%d streams left", n)
		}
		if err := sub.Serve(context.Background(), newPipe()); err != nil {
			t.Errorf("Serve of a closed one = %v", err)
		}
	})
}

func TestLimits(t *testing.T) {
	m := newModel()
	h := newTestHub(t, m, Options{MaxStreams: 40})
	subscribe := func(u im.UserID) (*Subscription, error) {
		return h.Subscribe(Subscriber{Actor: im.Actor{User: u}})
	}
	var subs []*Subscription
	for range 32 {
		s, err := subscribe("a")
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, s)
	}
	_, err := subscribe("a")
	if !errors.Is(err, ErrTooManyStreams) {
		t.Errorf("33rd stream of a user: %v", err)
	}
	if e, ok := im.AsError(err); !ok || e.Kind != im.TooMany {
		t.Errorf("33rd stream of a user: %v is not of the kind TooMany", err)
	}
	subs[5].Close()
	if _, err := subscribe("a"); err != nil {
		t.Errorf("after one was closed: %v", err)
	}
	for i := range 8 {
		if _, err := subscribe(im.UserID(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := subscribe("z"); !errors.Is(err, ErrOverloaded) {
		t.Errorf("41st stream in all: %v", err)
	}
	var p sseParser
	p.Write(h.RetryLater())
	if len(p.retry) != 5 || len(p.take()) > 0 {
		t.Errorf("retry later in %q ms, want 10000 to 20000 and nothing else", p.retry)
	}
}

func TestActingDeviceGetsNoEvent(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		phone, tablet, nameless, bob := newClient(t, h, "a", "phone"), newClient(t, h, "a", "tablet"), newClient(t, h, "a", ""), newClient(t, h, "b", "phone")
		m.create(1, "a", "b")
		synctest.Wait()
		for _, c := range []*client{phone, tablet, nameless, bob} {
			c.connect(newPipe())
		}
		synctest.Wait()
		e := sent(1)
		e.Actor, e.ActorDevice = "a", "phone"
		m.commit(e)
		e.ActorDevice = ""
		m.commit(e)
		synctest.Wait()
		for c, want := range map[*client]int{phone: 1, tablet: 2, nameless: 2, bob: 2} {
			c.read()
			c.expect(m)
			if len(c.got) != want {
				t.Errorf("%v: received %d events, want %d", c.actor, len(c.got), want)
			}
		}
	})
}

// A client that reads pages of the log may have a cursor ahead of the dispatcher.
func TestCursorAheadOfTheDispatcher(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a")
		synctest.Wait()
		m.mu.Lock()
		late := m.append(sent(1), sent(1), sent(1))
		m.mu.Unlock()
		c := newClient(t, h, "a", "")
		c.cursor = &Cursor{testLog, 3}
		c.connect(newPipe())
		synctest.Wait()
		h.Publish(late)
		m.commit(sent(1))
		synctest.Wait()
		c.read()
		c.expect(m)
		if c.from != 3 || c.resets != 0 || len(c.got) != 2 {
			t.Errorf("from %d, %d resets, received %v", c.from, c.resets, c.got)
		}
	})
}

// A new stream does not get events that were committed before it was opened, even if they are
// dispatched later.
func TestNewStreamAheadOfTheDispatcher(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a")
		synctest.Wait()
		m.mu.Lock()
		late := m.append(sent(1), sent(1))
		m.mu.Unlock()
		c := newClient(t, h, "a", "")
		c.connect(newPipe())
		synctest.Wait()
		h.Publish(late)
		next := m.commit(sent(1))
		synctest.Wait()
		c.read()
		c.expect(m)
		if c.from != late.Head || !slices.Equal(c.got, []im.Position{next}) {
			t.Errorf("from %d, received %v", c.from, c.got)
		}
	})
}
