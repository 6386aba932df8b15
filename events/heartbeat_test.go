package events

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
)

// heartbeats returns the number of heartbeats since the last call, and the cursor of the
// latest one.
func (c *client) heartbeats() (n int, at im.Position) {
	c.t.Helper()
	c.pipe.mu.Lock()
	defer c.pipe.mu.Unlock()
	p := &c.pipe.parser
	n, p.beats = p.beats, 0
	cursor, err := ParseCursor(p.idBuf)
	if err != nil {
		c.t.Fatal(err)
	}
	return n, cursor.Position
}

func TestHeartbeatHasTheCursorAndNoEvent(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "busy")
		synctest.Wait()
		idle, busy := newClient(t, h, "idle", ""), newClient(t, h, "busy", "")
		idle.connect(newPipe())
		busy.connect(newPipe())
		synctest.Wait()
		idle.read()
		busy.read()
		for range 14 {
			m.commit(sent(1))
			<-time.After(time.Second)
		}
		synctest.Wait()
		if n, _ := idle.heartbeats(); n != 0 {
			t.Errorf("%d heartbeats within 15 s", n)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if n, at := idle.heartbeats(); n != 1 || at != 15 {
			t.Errorf("after 15 s: %d heartbeats at %d, want one at 15", n, at)
		}
		if got := idle.read(); len(got) != 0 {
			t.Errorf("received %v", got)
		}
		if n, _ := busy.heartbeats(); len(busy.read()) != 14 || n != 0 {
			t.Errorf("%d heartbeats between 14 events", n)
		}
		<-time.After(14 * time.Second)
		synctest.Wait()
		if n, _ := busy.heartbeats(); n != 1 {
			t.Errorf("15 s after the last event: %d heartbeats", n)
		}
		n, at := idle.heartbeats()
		if n != 0 {
			t.Errorf("14 s after the last heartbeat: %d", n)
		}
		// A client that reads line by line has this cursor and resumes there.
		idle.cursor = &Cursor{Log: testLog, Position: at}
		idle.disconnect()
		m.commit(im.Event{Type: im.MessageCreated, To: "idle"})
		idle.connect(newPipe())
		synctest.Wait()
		idle.read()
		idle.expect(m)
	})
}

// A client that takes its cursor only from events gets one before its cursor is older than the log.
func TestReadyRefreshesTheCursor(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "busy")
		idle := newClient(t, h, "idle", "")
		idle.connect(newPipe())
		synctest.Wait()
		idle.read()
		for hour := range 3 {
			<-time.After(30 * time.Minute)
			m.commit(sent(1))
			<-time.After(29 * time.Minute)
			synctest.Wait()
			if got := idle.read(); len(got) != 0 {
				t.Errorf("hour %d: received %v", hour, got)
			}
			<-time.After(time.Minute)
			synctest.Wait()
			if got := idle.read(); len(got) != 1 || got[0].event != string(Ready) || idle.cursor.Position != m.head() {
				t.Errorf("hour %d: %v, want ready at %d", hour, got, m.head())
			}
		}
		// Any other event resets the timer.
		<-time.After(59 * time.Minute)
		m.commit(im.Event{Type: im.MessageCreated, To: "idle"})
		<-time.After(59 * time.Minute)
		synctest.Wait()
		if got := idle.read(); len(got) != 1 || got[0].event != string(im.MessageCreated) {
			t.Errorf("received %v, want only the message", got)
		}
		idle.expect(m)
	})
}

// A heartbeat must not have a cursor past an event that was not written before it.
func TestHeartbeatDoesNotPassEvents(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{QueueSize: 2})
		var clients []*client
		for range 20 {
			c := newClient(t, h, "a", "")
			c.connect(newPipe())
			clients = append(clients, c)
		}
		m.create(1, "a")
		for n := range 100 {
			<-time.After(h.opts.Heartbeat)
			for range 1 + n%5 {
				m.commit(sent(1))
			}
			for _, c := range clients {
				c.read()
			}
		}
		synctest.Wait()
		for _, c := range clients {
			c.read() // fails if the cursor moves back
			c.expect(m)
		}
	})
}

// A stream is not settled while it has queued frames or must read the log.
func TestSettled(t *testing.T) {
	m := newModel()
	h := newTestHub(t, m, Options{})
	h.queued.Store(5)
	s, err := h.Subscribe(Subscriber{Actor: im.Actor{User: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if position, ok := s.settled(); !ok || position != 5 {
		t.Errorf("an idle stream is settled at %d, %t", position, ok)
	}
	f := h.newFrame(im.Event{Position: 6})
	s.offer(f)
	if _, ok := s.settled(); ok {
		t.Error("settled with a queued frame")
	}
	if batch, _, _ := s.take(); len(batch) != 1 {
		t.Errorf("took %d frames", len(batch))
	}
	s.fallBehind()
	if _, ok := s.settled(); ok {
		t.Error("settled while behind")
	}
}
