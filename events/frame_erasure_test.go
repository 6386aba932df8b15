package events

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

func withText(c, id im.ID, text string) im.Event {
	e := sent(c)
	e.MessageID = id
	e.Message = &im.Message{ID: id, Conversation: c, Content: &im.Content{Body: []byte(text)}}
	return e
}

func erasureOf(c, id im.ID) im.Event {
	return im.Event{Type: "message.revoked", Conversation: c, MessageID: id, Message: &im.Message{ID: id, Conversation: c}}
}

// A frame that is not written yet when its message is erased is written with the tombstone, even to
// a user who has left in the meantime and does not get the event of the erasure.
func TestErasureReachesQueuedFrames(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a", "b")
		synctest.Wait()
		a, b := newClient(t, h, "a", ""), newClient(t, h, "b", "")
		for _, c := range []*client{a, b} {
			c.connect(newPipe())
			synctest.Wait()
			c.pipe.block(true)
		}
		m.commit(withText(1, 10, "already being written"))
		synctest.Wait()
		m.commit(withText(1, 11, "secret"), withText(1, 12, "kept"))
		synctest.Wait()
		m.commit(removed(1, "b"))
		m.commit(erasureOf(1, 11))
		synctest.Wait()
		a.pipe.block(false)
		b.pipe.block(false)
		synctest.Wait()
		a.read()
		b.read()
		if want := []string{"already being written", "erased", "kept", "", "erased"}; !slices.Equal(a.texts, want) {
			t.Errorf("a received %q, want %q", a.texts, want)
		}
		if want := []string{"already being written", "erased", "kept", ""}; !slices.Equal(b.texts, want) {
			t.Errorf("b received %q, want %q", b.texts, want)
		}
	})
}

// Frames that were read from the log are written with the tombstone, too.
func TestErasureReachesReplayedFrames(t *testing.T) {
	for name, during := range map[string]bool{"read before the erasure": false, "read during the erasure": true} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m := newModel()
				h := newTestHub(t, m, Options{})
				m.create(1, "a")
				// The first message fills a write, so that the second is written after it.
				m.commit(withText(1, 10, strings.Repeat("x", chunkSize)))
				m.commit(withText(1, 11, "secret"))
				synctest.Wait()
				c := newClient(t, h, "a", "")
				c.cursor, c.from = &Cursor{testLog, 1}, 1
				if during {
					// The erasure is dispatched after the log was read and before the
					// frames are in the index.
					m.onEvents = func() { h.retract(retraction{tombstone: erasureOf(1, 11).Message}) }
				}
				p := newPipe()
				if !during {
					p.blockAt = 1 // after ready
				}
				c.connect(p)
				if !during {
					synctest.Wait()
					// The erasure is not in the log, so only the frame can change.
					h.Publish(im.Commit{Events: []im.Event{erasureOf(1, 11)}, Head: 3})
					synctest.Wait()
					p.block(false)
				}
				synctest.Wait()
				c.read()
				if len(c.texts) != 2 || c.texts[1] != "erased" {
					t.Errorf("received %.20q", c.texts)
				}
			})
		})
	}
}

// A commit and the erasure of its messages may reach the hub together.
func TestErasureInTheInbox(t *testing.T) {
	events := []im.Event{
		withText(1, 10, "erased"), withText(1, 11, "kept"), erasureOf(1, 10), withText(1, 12, "kept"),
	}
	events, _ = applyRetractions(events)
	var got []bool
	for _, e := range events {
		got = append(got, e.Message.Content == nil)
	}
	if want := []bool{true, false, true, false}; !slices.Equal(got, want) {
		t.Errorf("erased: %v, want %v", got, want)
	}
}

func TestRetractionsAreKept(t *testing.T) {
	var r retractions
	add := func(n int) {
		for range n {
			r.add(retraction{tombstone: &im.Message{ID: im.ID(r.count() + 1)}})
		}
	}
	for _, tt := range []struct {
		name string
		add  int
		want bool
	}{
		{"none", 0, true},
		{"one", 1, true},
		{"one fewer than are kept", len(r.recent) - 1, true},
		{"as many as are kept", len(r.recent), true},
		{"one more than are kept", len(r.recent) + 1, false},
	} {
		before := r.count()
		add(tt.add)
		got, ok := r.since(before)
		if ok != tt.want {
			t.Errorf("%s: known = %t, want %t", tt.name, ok, tt.want)
		}
		var want []im.ID
		for i := range tt.add {
			want = append(want, im.ID(before)+im.ID(i)+1)
		}
		var ids []im.ID
		for _, m := range got {
			ids = append(ids, m.tombstone.ID)
		}
		if diff := cmp.Diff(want, ids); ok && diff != "" {
			t.Errorf("%s: unexpected retractions (-want +got):\n%s", tt.name, diff)
		}
	}
}

// expectNoFrames checks, after all streams have ended, that the index has no frames.
func expectNoFrames(t testing.TB, h *Hub) {
	t.Helper()
	h.unwritten.mu.Lock()
	defer h.unwritten.mu.Unlock()
	if n, c := len(h.unwritten.messages.newest), len(h.unwritten.conversations.newest); n+c != 0 {
		t.Errorf("frames of %d messages in %d conversations are left", n, c)
	}
}

// blockedClient returns a client that blocks while the first of two messages is written.
// The second, whose text is "secret", is queued behind it.
func blockedClient(t *testing.T, m *model, h *Hub) *client {
	t.Helper()
	m.create(1, "a")
	synctest.Wait()
	c := newClient(t, h, "a", "")
	c.connect(newPipe())
	synctest.Wait()
	c.pipe.block(true)
	m.commit(withText(1, 10, strings.Repeat("x", chunkSize)), withText(1, 11, "secret"))
	synctest.Wait()
	return c
}

// expectErased checks that the client has received everything except the secret.
func (c *client) expectErased(m *model) {
	c.t.Helper()
	c.disconnect()
	c.expect(m)
	if len(c.texts) < 2 || c.texts[1] != "erased" {
		c.t.Errorf("received %.20q", c.texts)
	}
	expectNoFrames(c.t, c.hub)
}

// An erasure that does not fit into the inbox still erases queued frames, even if there are more
// erasures than the inbox keeps.
func TestErasureInAnOverflow(t *testing.T) {
	for _, more := range []int{0, 5} {
		bothWays(t, func(t *testing.T) {
			m := newModel()
			h := newTestHub(t, m, Options{InboxSize: 4})
			c := blockedClient(t, m, h)
			events := []im.Event{erasureOf(1, 11), sent(1), sent(1), sent(1), sent(1), sent(1)}
			for i := range more {
				events = append(events, erasureOf(1, im.ID(100+i)))
			}
			m.commit(events...)
			synctest.Wait()
			c.pipe.block(false)
			synctest.Wait()
			c.expectErased(m)
		})
	}
}

// The erasures of a commit with an unknown outcome are unknown, so all unwritten frames are read
// from the log again.
func TestErasureInAGap(t *testing.T) {
	gap := func(m *model, h *Hub) {
		lost := m.append(sent(1), erasureOf(1, 11), sent(1))
		h.Publish(im.Commit{Head: lost.Head, Gap: true})
	}
	t.Run("live", func(t *testing.T) {
		bothWays(t, func(t *testing.T) {
			m := newModel()
			h := newTestHub(t, m, Options{})
			c := blockedClient(t, m, h)
			m.commit(sent(1))
			gap(m, h)
			synctest.Wait()
			c.pipe.block(false)
			synctest.Wait()
			m.commit(sent(1))
			synctest.Wait()
			c.expectErased(m)
		})
	})
	replay := func(name string, do func(m *model, h *Hub, c *client)) {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m := newModel()
				h := newTestHub(t, m, Options{})
				m.create(1, "a")
				m.commit(withText(1, 10, strings.Repeat("x", chunkSize)), withText(1, 11, "secret"))
				synctest.Wait()
				c := newClient(t, h, "a", "")
				c.cursor, c.from = &Cursor{testLog, 1}, 1
				do(m, h, c)
				synctest.Wait()
				m.commit(sent(1))
				synctest.Wait()
				c.expectErased(m)
			})
		})
	}
	replay("read from the log", func(m *model, h *Hub, c *client) {
		p := newPipe()
		p.blockAt = 1 // after ready
		c.connect(p)
		synctest.Wait()
		gap(m, h)
		synctest.Wait()
		p.block(false)
	})
	replay("while the log is read", func(m *model, h *Hub, c *client) {
		m.onEvents = func() {
			m.onEvents = nil
			// As the dispatcher does, before the frames are in the index.
			lost := m.append(sent(1), erasureOf(1, 11), sent(1))
			h.retractUnknown()
			h.fallBack(lost.Head)
		}
		c.connect(newPipe())
	})
}

// A message whose burn or expiry time passes while its frame is queued is written as its
// tombstone, before the event of the erasure. Reading it on another device brings its burn time
// forward.
func TestMessageErasesItselfWhileQueued(t *testing.T) {
	message := func(change func(*im.Message)) im.Event {
		e := withText(1, 11, "secret")
		e.Tracked = true
		e.Message.Sender, e.Message.State, e.Message.CreatedAt = "b", im.Active, time.Now()
		change(e.Message)
		return e
	}
	for name, tt := range map[string]struct {
		change func(*im.Message)
		wait   time.Duration
		read   bool
		want   string
	}{
		"without a timer":        {func(*im.Message) {}, 2 * time.Hour, false, "secret"},
		"just before it expires": {func(m *im.Message) { m.ExpiresAt = m.CreatedAt.Add(time.Hour) }, time.Hour - 1, false, "secret"},
		"expired":                {func(m *im.Message) { m.ExpiresAt = m.CreatedAt.Add(time.Hour) }, time.Hour, false, "erased"},
		"unread":                 {func(m *im.Message) { m.Burn = &im.Burn{UnreadTTL: time.Hour} }, time.Hour, false, "erased"},
		"read elsewhere":         {func(m *im.Message) { m.Burn = &im.Burn{UnreadTTL: time.Hour} }, time.Minute, true, "erased"},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m := newModel()
				var delivered []im.Delivery
				h := newTestHub(t, m, Options{Deliver: func(_ context.Context, d []im.Delivery) error {
					delivered = append(delivered, d...)
					return nil
				}})
				m.create(1, "a")
				synctest.Wait()
				c := newClient(t, h, "a", "")
				c.connect(newPipe())
				synctest.Wait()
				c.pipe.block(true)
				m.commit(withText(1, 10, strings.Repeat("x", chunkSize)), message(tt.change))
				if tt.read {
					m.commit(im.Event{
						Type: im.MessageBurnStarted, Conversation: 1, MessageID: 11, BurnAt: time.Now().Add(time.Minute),
					})
				}
				<-time.After(tt.wait)
				c.pipe.block(false)
				synctest.Wait()
				c.disconnect()
				c.expect(m)
				if len(c.texts) < 2 || c.texts[1] != tt.want {
					t.Errorf("received %.20q, want %q", c.texts, tt.want)
				}
				h.Close()
				if got := len(delivered) > 0; got != (tt.want == "secret") {
					t.Errorf("delivered: %v", delivered)
				}
			})
		})
	}
}
