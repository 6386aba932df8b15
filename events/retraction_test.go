package events

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
)

func deleted(c im.ID) im.Event {
	return im.Event{Type: im.ConversationDeleted, Conversation: c, Gone: []im.ID{c}}
}

func trimmed(c im.ID, first int64) im.Event {
	return im.Event{Type: im.ConversationTrimmed, Conversation: c, FirstSeq: first}
}

// hid is the event of a user who has hidden messages on a device that is not online.
func hid(u im.UserID, c im.ID, e im.Event) im.Event {
	e.Type, e.Conversation, e.To, e.Actor, e.ActorDevice = im.MessageHidden, c, u, u, "elsewhere"
	return e
}

// hiding are the ways in which a user takes the second message from their view.
func hiding(u im.UserID) map[string]im.Event {
	gone := hid(u, 1, im.Event{UpToSeq: 2})
	gone.Type = im.ConversationHidden
	return map[string]im.Event{
		"by ids":                hid(u, 1, im.Event{MessageIDs: []im.ID{9, 11}}),
		"by seq":                hid(u, 1, im.Event{UpToSeq: 2}),
		"by time":               hid(u, 1, im.Event{Before: time.Now().Add(time.Hour)}),
		"with the conversation": gone,
	}
}

// Waiting frames of a conversation that is deleted or trimmed, or of messages that were
// hidden, are not delivered any more; live as on replay, everything else is.
func TestRetractionReachesWaitingFrames(t *testing.T) {
	cases := map[string]im.Event{"deleted": deleted(1), "trimmed": trimmed(1, 3)}
	for name, e := range hiding("a") {
		cases["hidden "+name] = e
	}
	for name, e := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				h := newTestHub(t, m, Options{})
				m.create(2, "a", "b")
				c := blockedBefore(t, m, h) // in conversation 1
				m.commit(withText(2, 20, "elsewhere"), added(1, "b"))
				m.commit(e)
				m.commit(withText(2, 21, "later"))
				synctest.Wait()
				c.pipe.block(false)
				synctest.Wait()
				c.expectRemoved(m)
			})
		})
	}
}

// expectRemoved checks that a client that was being sent one message while the next one was
// retracted has received everything but the latter.
func (c *client) expectRemoved(m *model) {
	c.t.Helper()
	c.disconnect()
	if strings.Contains(strings.Join(c.texts, " "), "secret") {
		c.t.Errorf("received %.20q", c.texts)
	}
	// A frame that was being written was delivered, even if it was retracted too.
	want := m.wanted(c.actor, c.from)
	if len(c.texts) > 0 && strings.HasPrefix(c.texts[0], "xxx") && !slices.Contains(want, c.got[0]) {
		want = slices.Insert(want, 0, c.got[0])
	}
	if !slices.Equal(c.got, want) {
		c.t.Errorf("received %v, want %v", c.got, want)
	}
	expectNothingWaits(c.t, c.hub)
}

// The same for frames from the log: read before the retraction, or while it happened.
func TestRemovalReachesReplayedFrames(t *testing.T) {
	cases := map[string]im.Event{"deleted": deleted(1), "trimmed": trimmed(1, 3)}
	for name, e := range hiding("a") {
		cases["hidden "+name] = e
	}
	for name, e := range cases {
		for _, during := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s during=%t", name, during), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newModel()
					h := newTestHub(t, m, Options{})
					m.create(1, "a")
					m.commit(withText(1, 10, strings.Repeat("x", chunkSize)), withText(1, 11, "secret"), sent(1))
					synctest.Wait()
					c := newClient(t, h, "a", "")
					c.cursor, c.from = &Cursor{testLog, 1}, 1
					p := newPipe()
					if during {
						m.onEvents = func() {
							m.onEvents = nil
							// Dispatched after the log was read and before the
							// frames are there to be found.
							lost := m.append(e)
							_, retractions := applyRetractions(lost.Events)
							h.retract(retractions[0])
							h.Publish(lost)
						}
					} else {
						p.blockAt = 1 // after ready
					}
					c.connect(p)
					synctest.Wait()
					if !during {
						m.commit(e)
						synctest.Wait()
						p.block(false)
						synctest.Wait()
					}
					c.expectRemoved(m)
				})
			})
		}
	}
}

// A retraction that does not fit into the inbox, or is not known at all, retracts waiting
// frames all the same.
func TestRemovalInAnOverflowAndInAGap(t *testing.T) {
	for name, e := range map[string]im.Event{
		"deleted": deleted(1), "trimmed": trimmed(1, 3), "hidden": hid("a", 1, im.Event{UpToSeq: 2}),
	} {
		for _, gap := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s gap=%t", name, gap), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newModel()
					h := newTestHub(t, m, Options{InboxSize: 4})
					c := blockedBefore(t, m, h)
					if gap {
						lost := m.append(e)
						h.Publish(im.Commit{Head: lost.Head, Gap: true})
					} else {
						m.commit(e, sent(2), sent(2), sent(2), sent(2), sent(2))
					}
					synctest.Wait()
					c.pipe.block(false)
					synctest.Wait()
					c.expectRemoved(m)
				})
			})
		}
	}
}

// A user who has hidden a message receives no further events about it, on any device; all
// others do. The commit names the users who have hidden it.
func TestHiddenMessagesAreNotDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a", "b")
		synctest.Wait()
		clients := []*client{newClient(t, h, "a", "phone"), newClient(t, h, "a", "tablet"), newClient(t, h, "b", "")}
		for _, c := range clients {
			c.connect(newPipe())
		}
		m.commit(withText(1, 10, "hidden"))
		synctest.Wait()
		at := m.commit(hid("a", 1, im.Event{MessageIDs: []im.ID{10}}))
		gone, other := erasureOf(1, 10), erasureOf(1, 11)
		gone.HiddenBy, other.To, other.HiddenBy = []im.UserID{"a"}, "a", []im.UserID{"a"}
		m.commit(gone, other)
		synctest.Wait()
		for i, want := range [][]im.Position{{at - 1, at}, {at - 1, at}, {at - 1, at + 1}} {
			clients[i].read()
			if !slices.Equal(clients[i].got, want) {
				t.Errorf("%v: received %v, want %v", clients[i].actor, clients[i].got, want)
			}
		}
	})
}

// A message and its retraction may reach the hub together.
func TestRemovalInTheInbox(t *testing.T) {
	at := func(p im.Position, seq int64, e im.Event) im.Event {
		e.Position, e.Seq = p, seq
		return e
	}
	events, retractions := applyRetractions([]im.Event{
		at(1, 1, withText(1, 10, "trimmed")), at(2, 2, withText(1, 11, "hidden")), at(3, 1, withText(2, 20, "deleted")),
		at(4, 1, withText(3, 30, "kept")), at(5, 0, hid("a", 1, im.Event{MessageIDs: []im.ID{11}})),
		at(6, 0, hid("b", 1, im.Event{UpToSeq: 2})), at(7, 0, trimmed(1, 2)), at(8, 0, added(2, "a")), at(9, 0, deleted(2)),
		at(10, 3, withText(1, 12, "after it all")),
	})
	var left []im.Position
	for _, e := range events {
		left = append(left, e.Position)
	}
	if want := []im.Position{2, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
	for _, e := range events {
		slices.Sort(e.HiddenBy)
		if want := map[im.Position]string{2: "[a b]"}[e.Position]; len(e.HiddenBy) > 0 && fmt.Sprint(e.HiddenBy) != want {
			t.Errorf("%d is hidden by %v, want %s", e.Position, e.HiddenBy, want)
		}
	}
	if len(events[0].HiddenBy) != 2 {
		t.Errorf("hidden by %v", events[0].HiddenBy)
	}
	want := []retraction{
		{conversation: 1, hiddenBy: "a"},
		{conversation: 1, hiddenBy: "b"},
		{conversation: 1, below: 2},
		{conversation: 2, below: math.MaxInt64},
	}
	if !slices.Equal(retractions, want) {
		t.Errorf("removes %+v, want %+v", retractions, want)
	}
}

// Members receive the deletion of a conversation, and nothing of it that is published
// later.
func TestNobodyIsInADeletedConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a", "b")
		m.commit(removed(1, "b"))
		synctest.Wait()
		a, b := newClient(t, h, "a", ""), newClient(t, h, "b", "")
		a.connect(newPipe())
		b.connect(newPipe())
		m.commit(added(1, "c"))
		at := m.commit(deleted(1))
		m.commit(added(1, "nobody"))
		synctest.Wait()
		a.read()
		b.read()
		if want := []im.Position{at - 1, at}; !slices.Equal(a.got, want) || len(b.got) != 0 {
			t.Errorf("a received %v, want %v, and b %v", a.got, want, b.got)
		}
		if c := h.audience.conversations[1]; c != nil && len(c.members) > 0 {
			t.Errorf("the audience keeps %d members", len(c.members))
		}
	})
}

// Pinning a conversation does not change its recipients.
func TestOwnSettingsCostNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a")
		synctest.Wait()
		c := newClient(t, h, "a", "")
		c.connect(newPipe())
		m.commit(sent(1))
		synctest.Wait()
		before, _ := m.reads()
		m.commit(im.Event{Type: im.ConversationUpdated, Conversation: 1, To: "a", Own: &im.OwnSettings{Muted: true}}, sent(1))
		synctest.Wait()
		if after, _ := m.reads(); after != before {
			t.Errorf("%d reads of members", after-before)
		}
		c.read()
		c.expect(m)
	})
}
