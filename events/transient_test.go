package events

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/imapi/imapi/im"
)

const transientType = "transient"

func transientIn(c im.ID, text string) Transient {
	return Transient{Type: transientType, Conversation: c, Actor: "a", ActorDevice: "phone", At: time.Now(), Data: []byte(text)}
}

// transientScene is conversation 1 with the members a, b and c. They and d, who is not a member,
// have open streams.
type transientScene struct {
	*model
	hub     *Hub
	dropped *droppedTransients
	clients map[string]*client // by user and device
}

type droppedTransients struct {
	unobserved
	n atomic.Int64
}

func (o *droppedTransients) TransientsDropped(n int) { o.n.Add(int64(n)) }

func newTransientScene(t *testing.T, opts Options) *transientScene {
	s := &transientScene{model: newModel(), dropped: new(droppedTransients), clients: make(map[string]*client)}
	opts.Observer = s.dropped
	s.hub = newTestHub(t, s.model, opts)
	s.create(1, "a", "b", "c")
	synctest.Wait()
	for _, name := range []string{"a phone", "a laptop", "b ", "c ", "d "} {
		user, device, _ := strings.Cut(name, " ")
		c := newClient(t, s.hub, im.UserID(user), device)
		c.connect(newPipe())
		s.clients[strings.TrimSpace(name)] = c
	}
	synctest.Wait()
	return s
}

// expect checks which transient events each client has received since the last call. Those
// that are not named have received none.
func (s *transientScene) expect(t *testing.T, want map[string][]string) {
	t.Helper()
	synctest.Wait()
	for name, c := range s.clients {
		c.read()
		if diff := cmp.Diff(want[name], c.transients, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: unexpected transient events (-want +received):\n%s", name, diff)
		}
		c.transients = nil
	}
}

func TestTransientGoesToOpenStreamsOfTheAudience(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := newTransientScene(t, Options{})
		s.hub.PublishTransient(transientIn(1, "all"))
		s.expect(t, map[string][]string{"a laptop": {"all"}, "b": {"all"}, "c": {"all"}})

		some := transientIn(1, "some")
		some.To = []im.UserID{"b", "d", "nobody", "b"}
		s.hub.PublishTransient(some)
		s.expect(t, map[string][]string{"b": {"some"}})

		none := transientIn(1, "none")
		none.To = []im.UserID{}
		s.hub.PublishTransient(none)
		s.hub.PublishTransient(transientIn(2, "no such conversation"))
		s.expect(t, nil)

		// The event is neither in the log nor delivered to a stream that opens later.
		late := newClient(t, s.hub, "b", "late")
		late.connect(newPipe())
		late.cursor = &Cursor{Log: testLog}
		s.clients["late"] = late
		s.expect(t, nil)
		expectNoFrames(t, s.hub)
	})
}

// A transient event has no id, so that an EventSource keeps its cursor and resumes there.
func TestTransientKeepsTheCursor(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := newTransientScene(t, Options{})
		s.commit(sent(1))
		synctest.Wait()
		b := s.clients["b"]
		b.read()
		cursor := b.cursor.String()
		s.hub.PublishTransient(transientIn(1, "x"))
		synctest.Wait()
		b.pipe.mu.Lock()
		raw := b.pipe.parser.idBuf
		b.pipe.mu.Unlock()
		b.read()
		if want := []string{cursor}; !slices.Equal(b.transientIDs, want) || raw != cursor {
			t.Errorf("ids of transient events %q, the last %s, want the cursor %s", b.transientIDs, raw, cursor)
		}
		if f := string(appendFrame(nil, "", transientType, []byte("{}"))); f != "event: transient\ndata: {}\n\n" {
			t.Errorf("frame %q", f)
		}
		// The client resumes after the last event of the log.
		b.disconnect()
		s.commit(sent(1))
		b.connect(newPipe())
		synctest.Wait()
		b.read()
		b.expect(s.model)
	})
}

// A stream that gets only transient events still gets newer cursors.
func TestTransientsDoNotReplaceHeartbeats(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := newTransientScene(t, Options{})
		s.create(2, "d")
		b := s.clients["b"]
		b.heartbeats()
		ready := 0
		for range 1000 { // a little more than 66 minutes
			s.commit(sent(2))
			s.hub.PublishTransient(transientIn(1, "x"))
			<-time.After(4 * time.Second)
			synctest.Wait()
			for _, e := range b.read() {
				if e.event == string(Ready) {
					ready++
				}
			}
		}
		n, at := b.heartbeats()
		if n < 200 || at < s.head()-8 {
			t.Errorf("%d heartbeats, the last at %d of %d", n, at, s.head())
		}
		if ready != 2 {
			t.Errorf("%d ready events, want the first and one after an hour", ready)
		}
	})
}

func TestTransientsAndEventsKeepTheirOrder(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := newTransientScene(t, Options{})
		b := s.clients["b"]
		b.read()
		// The dispatcher takes all of them at once.
		stall := make(chan struct{})
		s.mu.Lock()
		s.onMembers = func() error { <-stall; return nil }
		s.mu.Unlock()
		s.create(2, "b")
		s.commit(sent(2))
		synctest.Wait()
		s.hub.PublishTransient(transientIn(1, "1"))
		s.hub.PublishTransient(transientIn(1, "2"))
		s.commit(sent(1))
		s.hub.PublishTransient(transientIn(1, "3"))
		s.commit(sent(1))
		close(stall)
		synctest.Wait()
		var got []string
		for _, e := range b.read() {
			got = append(got, e.event)
		}
		if diff := cmp.Diff([]string{
			"conversation.created", "message.created", transientType, transientType, "message.created", transientType, "message.created",
		}, got); diff != "" {
			t.Errorf("unexpected order (-want +received):\n%s", diff)
		}
	})
}

// A user who loses access before a transient event, or while it waits, does not get it.
func TestTransientNotAfterLosingAccess(t *testing.T) {
	for name, lose := range map[string]func(*transientScene){
		"removed": func(s *transientScene) { s.commit(removed(1, "b")) },
		"removed, published only to the user": func(s *transientScene) {
			e := removed(1, "b")
			e.To = "b"
			s.commit(e)
		},
		"conversation deleted": func(s *transientScene) {
			s.commit(im.Event{Type: im.ConversationDeleted, Conversation: 1, Gone: []im.ID{1}})
		},
		"removed by a commit that the hub missed": func(s *transientScene) {
			s.mu.Lock()
			defer s.mu.Unlock()
			lost := s.append(removed(1, "b"))
			s.publish(im.Commit{Head: lost.Head, Gap: true})
		},
	} {
		for when, loses := range map[string]func(*testing.T, func(*transientScene)){
			"before": losesBefore, "while it waits": losesWhileItWaits, "while it is about to be written": losesBeforeTheWrite,
		} {
			t.Run(name+" "+when, func(t *testing.T) {
				bothWays(t, func(t *testing.T) { loses(t, lose) })
			})
		}
	}
	t.Run("blocked the sender", func(t *testing.T) { bothWays(t, blocksTheSender) })
}

func losesBefore(t *testing.T, lose func(*transientScene)) {
	s := newTransientScene(t, Options{})
	// The commit is not published yet; only Head includes it.
	var published []im.Commit
	s.mu.Lock()
	s.publish = func(c im.Commit) { published = append(published, c) }
	s.mu.Unlock()
	lose(s)
	s.hub.PublishTransient(transientIn(1, "x"))
	synctest.Wait()
	for _, c := range published {
		s.hub.Publish(c)
	}
	synctest.Wait()
	b := s.clients["b"]
	if b.read(); len(b.transients) > 0 {
		t.Errorf("received %q", b.transients)
	}
}

func losesWhileItWaits(t *testing.T, lose func(*transientScene)) {
	s := newTransientScene(t, Options{})
	b := s.clients["b"]
	b.pipe.block(true)
	s.commit(sent(1))
	synctest.Wait() // the first is being written, the rest is queued
	s.hub.PublishTransient(transientIn(1, "x"))
	synctest.Wait()
	lose(s)
	synctest.Wait()
	b.pipe.block(false)
	synctest.Wait()
	b.read()
	if len(b.transients) > 0 {
		t.Errorf("received %q", b.transients)
	}
}

func losesBeforeTheWrite(t *testing.T, lose func(*transientScene)) {
	s := newTransientScene(t, Options{})
	b := s.clients["b"]
	b.pipe.block(true)
	s.commit(sent(1))
	synctest.Wait()
	// The first event fills a write, so the second waits in the same batch.
	s.hub.PublishTransient(transientIn(1, strings.Repeat("x", chunkSize)))
	s.hub.PublishTransient(transientIn(1, "second"))
	b.pipe.mu.Lock()
	b.pipe.blockAt = b.pipe.writes + 1
	b.pipe.mu.Unlock()
	b.pipe.block(false)
	synctest.Wait()
	lose(s)
	synctest.Wait()
	b.pipe.block(false)
	synctest.Wait()
	if b.read(); slices.Contains(b.transients, "second") {
		t.Error("received the second")
	}
}

// blocksTheSender: a block ends what waits for the user who made it, and nothing for others or
// later.
func blocksTheSender(t *testing.T) {
	s := newTransientScene(t, Options{})
	b, c := s.clients["b"], s.clients["c"]
	b.pipe.block(true)
	c.pipe.block(true)
	s.commit(sent(1))
	synctest.Wait()
	s.hub.PublishTransient(transientIn(1, "waits for the stream"))
	synctest.Wait()
	s.hub.PublishTransient(transientIn(1, "waits for the hub"))
	s.hub.Publish(im.Commit{Head: s.head(), Blocks: []im.UserBlock{{By: "b", User: "a"}}})
	synctest.Wait()
	b.pipe.block(false)
	c.pipe.block(false)
	both := []string{"waits for the stream", "waits for the hub"}
	s.expect(t, map[string][]string{"a laptop": both, "c": both})
	s.hub.PublishTransient(transientIn(1, "later"))
	s.expect(t, map[string][]string{"a laptop": {"later"}, "b": {"later"}, "c": {"later"}})
}

// A slow stream loses transient events. It loses no other event because of them, and no other
// stream loses any.
func TestTransientsOfASlowStream(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := newTransientScene(t, Options{QueueSize: 4, MaxTransients: 8})
		b, c := s.clients["b"], s.clients["c"]
		b.pipe.block(true)
		s.commit(sent(1))
		synctest.Wait()
		var all []string
		for i := range 100 {
			all = append(all, strconv.Itoa(i))
			s.hub.PublishTransient(transientIn(1, all[i]))
			synctest.Wait()
		}
		for range 4 {
			s.commit(sent(1))
		}
		synctest.Wait()
		if n := s.dropped.n.Load(); n != 92 {
			t.Errorf("%d dropped, want 92", n)
		}
		b.sub.mu.Lock()
		if b.sub.behind || len(b.sub.queue) != 12 {
			t.Errorf("behind = %t with %d frames", b.sub.behind, len(b.sub.queue))
		}
		b.sub.mu.Unlock()
		b.pipe.block(false)
		s.expect(t, map[string][]string{"a laptop": all, "b": all[:8], "c": all})
		b.expect(s.model)
		c.expect(s.model)

		// A stream that is behind drops waiting ones, and gets no others until it has caught up.
		b.pipe.block(true)
		s.commit(sent(1))
		synctest.Wait()
		s.hub.PublishTransient(transientIn(1, "waits"))
		for range 5 {
			s.commit(sent(1))
			synctest.Wait()
		}
		s.hub.PublishTransient(transientIn(1, "too late"))
		synctest.Wait()
		b.pipe.block(false)
		both := []string{"waits", "too late"}
		s.expect(t, map[string][]string{"a laptop": both, "c": both})
		b.expect(s.model)
		s.hub.PublishTransient(transientIn(1, "caught up"))
		s.expect(t, map[string][]string{"a laptop": {"caught up"}, "b": {"caught up"}, "c": {"caught up"}})
		expectNoFrames(t, s.hub)
	})
}

// While the hub is blocked, a bounded number of transient events waits.
func TestTransientsWaitingForTheHub(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := newTransientScene(t, Options{})
		stall := make(chan struct{})
		s.mu.Lock()
		s.onMembers = func() error { <-stall; return nil }
		s.mu.Unlock()
		s.hub.PublishTransient(transientIn(2, "holds up"))
		synctest.Wait()
		for range maxPendingTransients + 10 {
			s.hub.PublishTransient(transientIn(1, "x"))
		}
		s.hub.inbox.mu.Lock()
		if n := len(s.hub.inbox.transients); n != maxPendingTransients {
			t.Errorf("%d wait", n)
		}
		s.hub.inbox.mu.Unlock()
		if n := s.dropped.n.Load(); n != 10 {
			t.Errorf("%d dropped, want 10", n)
		}
		close(stall)
		synctest.Wait()
	})
}

func TestTransientWithoutMembersLookUp(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := newTransientScene(t, Options{})
		s.mu.Lock()
		s.onMembers = func() error { return errors.New("busy") }
		s.mu.Unlock()
		s.hub.PublishTransient(transientIn(1, "lost"))
		synctest.Wait()
		s.mu.Lock()
		s.onMembers = nil
		s.mu.Unlock()
		s.hub.PublishTransient(transientIn(1, "x"))
		s.expect(t, map[string][]string{"a laptop": {"x"}, "b": {"x"}, "c": {"x"}})
		if n := s.dropped.n.Load(); n != 1 {
			t.Errorf("%d dropped, want 1", n)
		}
	})
}

func TestTransientAfterClose(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := newTransientScene(t, Options{})
		s.hub.Close()
		s.hub.PublishTransient(transientIn(1, "x"))
		s.hub.inbox.mu.Lock()
		defer s.hub.inbox.mu.Unlock()
		if n := len(s.hub.inbox.transients); n != 0 {
			t.Errorf("%d wait in a closed hub", n)
		}
	})
}

// Senders publish transient events while members come and go, messages are sent, streams are
// slow, and the hub misses commits. No client gets a transient event that was published after its
// user had left, or gets one twice, or two of a sender in the wrong order; and other events are not
// affected.
func TestTransientsAmongEvents(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{QueueSize: 16, InboxSize: 64, MaxConversations: 2})
		users := []im.UserID{"a", "b", "c", "d"}
		conversations := []im.ID{1, 2, 3}
		for _, c := range conversations {
			m.create(c, users[:2]...)
		}
		m.mu.Lock()
		m.publish = func(c im.Commit) {
			if rand.N(50) == 0 {
				c.Events, c.Gap = nil, true
			}
			h.Publish(c)
		}
		m.mu.Unlock()
		var clients []*client
		for _, u := range users {
			c := newClient(t, h, u, "")
			c.connect(newPipe())
			clients = append(clients, c)
		}
		synctest.Wait()
		var working sync.WaitGroup
		for sender := range 3 {
			working.Go(func() {
				for i := range 400 {
					c := conversations[rand.N(len(conversations))]
					h.PublishTransient(transientIn(c, fmt.Sprintf("%d %d %d %d", sender, i, c, m.head())))
					u := users[rand.N(len(users))]
					switch rand.N(6) {
					case 0:
						m.commit(added(c, u))
					case 1:
						m.commit(removed(c, u))
					case 2:
						clients[rand.N(len(clients))].pipe.block(rand.N(2) == 0)
					case 3:
						m.commit(sent(c))
					default:
						<-time.After(time.Millisecond)
					}
				}
			})
		}
		working.Wait()
		received := 0
		for _, c := range clients {
			c.pipe.block(false)
		}
		synctest.Wait()
		for _, c := range clients {
			c.disconnect()
			c.expect(m)
			last := map[int]int{}
			for _, text := range c.transients {
				var sender, i int
				var in im.ID
				var head im.Position
				if _, err := fmt.Sscan(text, &sender, &i, &in, &head); err != nil {
					t.Fatal(err)
				}
				if before, ok := last[sender]; ok && i <= before {
					t.Errorf("%v: %d of sender %d after %d", c.actor, i, sender, before)
				}
				last[sender] = i
				if !slices.ContainsFunc(m.stays[in][c.actor.User], func(stay im.Interval) bool { return stay.Open() || stay.ToEvent > head }) {
					t.Errorf("%v: received %q after having left: %v", c.actor, text, m.stays[in][c.actor.User])
				}
			}
			received += len(c.transients)
		}
		if received < 300 {
			t.Errorf("only %d received in all", received)
		}
		expectNoFrames(t, h)
	})
}
