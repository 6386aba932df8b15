package events

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// Four writers send to three conversations and revoke messages there while members join and
// leave, the hub misses some commits, and clients disconnect in the middle of frames and
// resume. Each client receives every event for it once and in order.
func TestEverythingOnceInOrder(t *testing.T) {
	for name, opts := range map[string]Options{
		"default limits":        {},
		"small queue":           {QueueSize: 2},
		"small inbox":           {InboxSize: 8, QueueSize: 16},
		"one conversation kept": {MaxConversations: 1},
	} {
		for _, faults := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/faults=%t", name, faults), func(t *testing.T) {
				bothWays(t, func(t *testing.T) { everythingOnce(t, opts, faults) })
			})
		}
	}
}

func everythingOnce(t *testing.T, opts Options, faults bool) {
	const writers = 4
	rounds := testsize.Pick(300, 100)
	users := []im.UserID{"a", "b", "c", "d", "e", "f"}
	conversations := []im.ID{1, 2, 3}
	m := newModel()
	m.stride = 40
	m.joined[2], m.joined[3] = true, true
	h := newTestHub(t, m, opts)
	for _, c := range conversations {
		m.create(c, users[:3]...)
	}
	if faults {
		m.mu.Lock()
		m.publish = func(c im.Commit) {
			if rand.N(50) == 0 {
				c.Events, c.Gap = nil, true
			}
			h.Publish(c)
		}
		m.onMembers = func() error {
			if rand.N(20) == 0 {
				return errors.New("no members")
			}
			return nil
		}
		m.mu.Unlock()
	}

	var clients []*client
	for _, u := range users {
		for _, device := range []string{"", "phone"} {
			clients = append(clients, newClient(t, h, u, device))
		}
	}
	writing := make(chan struct{})
	var reading sync.WaitGroup
	for _, c := range clients {
		reading.Go(func() {
			for n := 0; ; n++ {
				p := newPipe()
				p.sips = rand.N(2) == 0
				if n > 0 && rand.N(2) == 0 {
					p.bytes = rand.N(2000)
				}
				c.connect(p)
				// Connections last for random times.
				select {
				case <-writing:
					c.disconnect()
					return
				case <-time.After(time.Duration(rand.N(40)) * time.Millisecond):
				}
				c.disconnect()
			}
		})
	}
	var writer sync.WaitGroup
	for range writers {
		writer.Go(func() {
			for range rounds {
				c := conversations[rand.N(len(conversations))]
				u := users[rand.N(len(users))]
				switch rand.N(10) {
				case 0:
					m.commit(added(c, u))
				case 1:
					m.commit(removed(c, u))
				case 2:
					m.commit(im.Event{Type: im.MessageCreated, Conversation: c, To: u})
				case 3:
					m.commit(sent(c), removed(c, u), sent(c), added(c, u), sent(c))
				case 4:
					e := m.erasureOfSome(c)
					e.Message = &im.Message{ID: im.ID(rand.N(100))}
					m.commit(e)
				case 5:
					m.commit(added(c, u), m.erasureOfSome(c), removed(c, u), m.erasureOfSome(c))
				default:
					e := sent(c)
					e.Actor, e.ActorDevice = u, "phone"
					e.Message = &im.Message{ID: im.ID(rand.N(100)), Content: &im.Content{Body: []byte("text")}}
					m.commit(e)
				}
				if rand.N(4) == 0 {
					<-time.After(time.Millisecond)
				}
			}
		})
	}
	writer.Wait()
	close(writing)
	reading.Wait()

	// Another stream for each client delivers the rest.
	for _, c := range clients {
		c.connect(newPipe())
	}
	synctest.Wait()
	for _, c := range clients {
		c.disconnect()
		c.expect(m)
		if c.resets > 0 {
			t.Errorf("%v: %d resets", c.actor, c.resets)
		}
	}
	if n := h.Streams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
	expectNoFrames(t, h)
}

// A client that does not read costs a bounded queue and delays no other client. It receives
// everything once it reads again.
func TestSlowReader(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{QueueSize: 16})
		m.create(1, "slow", "fast")
		synctest.Wait()
		slow, fast := newClient(t, h, "slow", ""), newClient(t, h, "fast", "")
		slow.connect(newPipe())
		fast.connect(newPipe())
		synctest.Wait()
		slow.pipe.block(true)
		for range 1000 {
			m.commit(sent(1))
			synctest.Wait()
			fast.read()
		}
		fast.expect(m)
		slow.read()
		if len(slow.got) > 0 {
			t.Fatalf("a blocked client received %d events", len(slow.got))
		}
		slow.sub.mu.Lock()
		if n := cap(slow.sub.queue) + cap(slow.sub.batch); n > 64 || !slow.sub.behind {
			t.Errorf("a blocked client holds %d frames, behind = %t", n, slow.sub.behind)
		}
		slow.sub.mu.Unlock()
		slow.pipe.block(false)
		synctest.Wait()
		slow.read()
		slow.expect(m)

		// It has joined again: later events come from memory.
		_, before := m.reads()
		m.commit(sent(1))
		synctest.Wait()
		if _, after := m.reads(); after != before {
			t.Errorf("the log was read %d more times", after-before)
		}
		slow.read()
		slow.expect(m)
	})
}

// A stream that keeps up reads nothing from the log, neither when it opens nor later, and
// neither does one that resumes without having missed events.
func TestNoReadsWhileKeepingUp(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		encoded := 0
		h := newTestHub(t, m, Options{Encode: func(dst []byte, e *im.Event, cursor string) []byte {
			if e.Type == im.MessageCreated {
				encoded++
			}
			return testEncode(dst, e, cursor)
		}})
		m.create(1, "a", "b")
		m.create(2, "a", "b")
		synctest.Wait()
		_, before := m.reads()
		clients := []*client{newClient(t, h, "a", ""), newClient(t, h, "b", ""), newClient(t, h, "b", "x")}
		for range 3 {
			for _, c := range clients {
				c.connect(newPipe())
			}
			synctest.Wait()
			for range 100 {
				m.commit(sent(1))
				m.commit(sent(2))
			}
			synctest.Wait()
			for _, c := range clients {
				c.disconnect()
				c.expect(m)
			}
		}
		members, log := m.reads()
		if log != before {
			t.Errorf("the log was read %d times", log-before)
		}
		if members != 6 {
			t.Errorf("members were looked up %d times, want once for each conversation and arrival", members)
		}
		if encoded != 600 {
			t.Errorf("encoded %d times, want once for each of 600 events", encoded)
		}
	})
}

func TestMissedBatchesAreFlushedTogether(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a")
		synctest.Wait()
		c := newClient(t, h, "a", "")
		c.connect(newPipe())
		synctest.Wait()
		c.pipe.block(true)
		m.commit(sent(1))
		synctest.Wait() // the first is being written, the rest is queued
		for range 200 {
			m.commit(sent(1))
		}
		synctest.Wait()
		w0, f0 := c.pipe.counts()
		c.pipe.block(false)
		synctest.Wait()
		w, f := c.pipe.counts()
		flushes := 2
		if byWriters {
			flushes = 0
		}
		if w-w0 != 2 || f-f0 != flushes {
			t.Errorf("%d writes and %d flushes, want 2 and %d", w-w0, f-f0, flushes)
		}
		c.read()
		c.expect(m)
	})
}

func TestInboxOverflow(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{InboxSize: 10, QueueSize: 4})
		m.create(1, "a")
		synctest.Wait()
		c := newClient(t, h, "a", "")
		c.connect(newPipe())
		d := newClient(t, h, "cut", "")
		d.connect(newPipe())
		synctest.Wait()
		// The dispatcher waits for the database while commits go on.
		stall := make(chan struct{})
		m.mu.Lock()
		m.onMembers = func() error { <-stall; return nil }
		m.mu.Unlock()
		m.commit(sent(1))
		synctest.Wait()
		h.Publish(im.Commit{Head: m.head(), Cuts: []im.TokenCut{{User: "cut", At: time.Now()}}})
		for range 1000 {
			m.commit(sent(1))
		}
		h.inbox.mu.Lock()
		if n := cap(h.inbox.next.events); n > 32 {
			t.Errorf("the inbox holds %d events", n)
		}
		h.inbox.mu.Unlock()
		close(stall)
		synctest.Wait()
		c.read()
		c.expect(m)
		if err := <-d.served; !errors.Is(err, ErrTokenCut) {
			t.Errorf("the cut-off was lost: Serve = %v", err)
		}
	})
}

// A commit with an unknown outcome may have changed members, so all are looked up again.
func TestGap(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a", "b")
		synctest.Wait()
		a, b, c := newClient(t, h, "a", ""), newClient(t, h, "b", ""), newClient(t, h, "c", "")
		for _, c := range []*client{a, b, c} {
			c.connect(newPipe())
		}
		m.commit(sent(1))
		synctest.Wait()
		m.mu.Lock()
		lost := m.append(sent(1), removed(1, "b"), added(1, "c"), sent(1))
		m.publish(im.Commit{Head: lost.Head, Gap: true})
		m.mu.Unlock()
		m.commit(sent(1))
		synctest.Wait()
		for _, c := range []*client{a, b, c} {
			c.read()
			c.expect(m)
		}
		if n := len(b.got); n != 3 {
			t.Errorf("b received %d events, want 3", n)
		}
	})
}

func TestMembersLookUpFails(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a")
		synctest.Wait()
		c := newClient(t, h, "a", "")
		c.connect(newPipe())
		m.mu.Lock()
		m.onMembers = func() error { return errors.New("busy") }
		m.mu.Unlock()
		for range 10 {
			m.commit(sent(1))
			synctest.Wait()
		}
		m.mu.Lock()
		m.onMembers = nil
		m.mu.Unlock()
		m.commit(sent(1))
		synctest.Wait()
		c.read()
		c.expect(m)
	})
}
