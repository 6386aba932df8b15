package events

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
)

// aheadClient returns a client that resumes after the events before these, whose windows have
// one event each. Its stream writes the second one, which the client does not take yet, while
// the third one is read.
func aheadClient(t *testing.T, m *model, h *Hub, events ...im.Event) *client {
	t.Helper()
	m.create(1, "a", "b")
	m.create(2, "a")
	c := newClient(t, h, "a", "")
	c.from = m.head()
	c.cursor = &Cursor{testLog, c.from}
	m.commit(events...)
	m.stride = 1
	synctest.Wait()
	p := newPipe()
	p.blockAt = 2 // after ready and the first window
	c.connect(p)
	synctest.Wait()
	return c
}

func (m *model) windows() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.eventsReads
}

// While a window is written, the next one is read, once.
func TestReadAhead(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		c := aheadClient(t, m, h, sent(1), sent(1), sent(1), sent(1), sent(1))
		if n := m.windows(); n != 3 {
			t.Errorf("%d windows were read while the second one is written, want 3", n)
		}
		c.pipe.block(false)
		synctest.Wait()
		c.read()
		c.expect(m)
		if n := m.windows(); n != 5 {
			t.Errorf("5 windows were read %d times", n)
		}
		c.disconnect()
		expectNoFrames(t, h)
	})
}

// A window that waits for a slow client for too long is read again, so that the client gets what
// its user may read now, and the next one is not read ahead.
func TestSlowClientIsNotReadAheadFor(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		c := aheadClient(t, m, h, sent(1), sent(1), sent(1), sent(1), sent(1))
		time.Sleep(2 * keptAhead)
		c.pipe.mu.Lock()
		c.pipe.blockAt = c.pipe.writes + 1
		c.pipe.mu.Unlock()
		c.pipe.block(false)
		synctest.Wait()
		if n := m.windows(); n != 4 {
			t.Errorf("the log was read %d times while the third window is written, want 4: the third one twice", n)
		}
		c.pipe.block(false)
		synctest.Wait()
		c.read()
		c.expect(m)
		c.disconnect()
		expectNoFrames(t, h)
	})
}

// What is retracted while it waits for its turn is not written.
func TestRetractionReachesWindowReadAhead(t *testing.T) {
	cases := retracting("a")
	cases["erased"] = erasureOf(1, 11)
	for name, e := range cases {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m := newModel()
				h := newTestHub(t, m, Options{})
				c := aheadClient(t, m, h, withText(1, 10, "xxx"), sent(2), withText(1, 11, "secret"), sent(1))
				m.commit(e)
				synctest.Wait()
				c.pipe.block(false)
				synctest.Wait()
				c.read()
				c.expectRetracted(m)
			})
		})
	}
}

// stuckLog is a log whose third window takes until its context ends.
type stuckLog struct {
	*model
	read int
}

func (l *stuckLog) Events(ctx context.Context, a im.Actor, after, upTo im.Position, limit int) (im.EventWindow, error) {
	l.mu.Lock()
	l.read++
	third := l.read == 3
	l.mu.Unlock()
	if third {
		<-ctx.Done()
		return im.EventWindow{}, ctx.Err()
	}
	return l.model.Events(ctx, a, after, upTo, limit)
}

// A stream ends at once while the log is read ahead, whether it waits for that or not.
func TestStreamEndsWhileItReadsAhead(t *testing.T) {
	for name, waits := range map[string]bool{"writing": false, "waiting": true} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m := newModel()
				h := newTestHub(t, m, Options{})
				h.opts.Log = &stuckLog{model: m}
				c := aheadClient(t, m, h, sent(1), sent(1), sent(1), sent(1))
				if waits {
					c.pipe.block(false)
					synctest.Wait()
				}
				h.Publish(im.Commit{Head: m.head(), Cuts: []im.TokenCut{{User: "a", At: time.Now()}}})
				synctest.Wait()
				c.pipe.block(false)
				if err := <-c.served; !errors.Is(err, ErrTokenCut) {
					t.Errorf("the stream ended with %v, want %v", err, ErrTokenCut)
				}
				expectNoFrames(t, h)
			})
		})
	}
}

// A panic while the log is read ahead ends the stream and nothing else.
func TestPanicWhileReadingAhead(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.onEvents = func() {
			if m.eventsReads == 3 {
				panic("a fault")
			}
		}
		c := aheadClient(t, m, h, sent(1), sent(1), sent(1), sent(1))
		c.pipe.block(false)
		if err := <-c.served; err == nil || !strings.Contains(err.Error(), "panic") {
			t.Errorf("the stream ended with %v", err)
		}
		expectNoFrames(t, h)
	})
}
