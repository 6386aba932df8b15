package events

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
)

func TestHeartbeatMovesTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
		if got := idle.read(); len(got) != 0 {
			t.Errorf("told %v within 15 s", got)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if got := idle.read(); len(got) != 1 || !got[0].block || idle.cursor.Position != 15 {
			t.Errorf("after 15 s: %v, want a heartbeat at 15", got)
		}
		if got := busy.read(); len(got) != 14 {
			t.Errorf("told %v, want 14 events and no heartbeat", got)
		}
		<-time.After(14 * time.Second)
		synctest.Wait()
		if got := busy.read(); len(got) != 1 || !got[0].block {
			t.Errorf("15 s after the last event: %v, want a heartbeat", got)
		}
		if got := idle.read(); len(got) != 0 {
			t.Errorf("14 s after the last heartbeat: %v", got)
		}
		// What the cursor has passed is not told again, what follows is.
		idle.disconnect()
		m.commit(im.Event{Type: im.MessageCreated, To: "idle"})
		idle.connect(newPipe())
		synctest.Wait()
		idle.read()
		idle.expect(m)
	})
}

// A heartbeat that is due just when an event happens must not carry the cursor
// past the event before it was told.
func TestHeartbeatDoesNotPassEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
			c.read() // finds a cursor that goes back
			c.expect(m)
		}
	})
}

// A heartbeat says nothing of what waits, or is yet to be read from the log.
func TestSettled(t *testing.T) {
	m := newModel()
	h := newTestHub(t, m, Options{})
	h.delivered.Store(5)
	s, err := h.Subscribe(Subscriber{Actor: im.Actor{User: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if position, ok := s.settled(); !ok || position != 5 {
		t.Errorf("an idle stream is settled at %d, %t", position, ok)
	}
	f, err := newFrame(im.Event{Position: 6}, testLog, testEncode)
	if err != nil {
		t.Fatal(err)
	}
	s.offer(f)
	if _, ok := s.settled(); ok {
		t.Error("settled while a frame waits")
	}
	if batch, _, _ := s.take(); len(batch) != 1 {
		t.Errorf("took %d frames", len(batch))
	}
	s.fallBehind()
	if _, ok := s.settled(); ok {
		t.Error("settled while behind")
	}
}
