package events

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

func deleted(c im.ID) im.Event {
	return im.Event{Type: im.ConversationDeleted, Conversation: c, Gone: []im.ID{c}}
}

func trimmed(c im.ID, first int64) im.Event {
	return im.Event{Type: im.ConversationTrimmed, Conversation: c, FirstSeq: first}
}

// hid returns the event of a user hiding messages on a device that is offline.
func hid(u im.UserID, c im.ID, e im.Event) im.Event {
	e.Type, e.Conversation, e.To, e.Actor, e.ActorDevice = im.MessageHidden, c, u, u, "elsewhere"
	return e
}

// retracting returns the events after which a user may not read the second message any more, other
// than its erasure.
func retracting(u im.UserID) map[string]im.Event {
	all := hid(u, 1, im.Event{UpToSeq: 2})
	all.Type = im.ConversationHidden
	return map[string]im.Event{
		"deleted":                      deleted(1),
		"trimmed":                      trimmed(1, 3),
		"hidden by ids":                hid(u, 1, im.Event{MessageIDs: []im.ID{9, 11}}),
		"hidden by seq":                hid(u, 1, im.Event{UpToSeq: 2}),
		"hidden by time":               hid(u, 1, im.Event{Before: time.Now().Add(time.Hour)}),
		"hidden with the conversation": all,
	}
}

// Queued frames about messages that are deleted, trimmed or hidden are not written. All
// others are.
func TestRetractionReachesQueuedFrames(t *testing.T) {
	for name, e := range retracting("a") {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m := newModel()
				h := newTestHub(t, m, Options{})
				m.create(2, "a", "b")
				c := blockedClient(t, m, h) // in conversation 1, the retracted one
				m.commit(withText(2, 20, "elsewhere"), added(1, "b"))
				m.commit(e)
				m.commit(withText(2, 21, "later"))
				synctest.Wait()
				c.pipe.block(false)
				synctest.Wait()
				c.expectRetracted(m)
			})
		})
	}
}

// expectRetracted checks that the client of blockedClient has received everything except the
// retracted message.
func (c *client) expectRetracted(m *model) {
	c.t.Helper()
	c.disconnect()
	if strings.Contains(strings.Join(c.texts, " "), "secret") {
		c.t.Errorf("received %.20q", c.texts)
	}
	// If the first message was retracted, too, it was already being written.
	want := m.wanted(c.actor, c.from)
	if len(c.texts) > 0 && strings.HasPrefix(c.texts[0], "xxx") && !slices.Contains(want, c.got[0]) {
		want = slices.Insert(want, 0, c.got[0])
	}
	if diff := cmp.Diff(want, c.got); diff != "" {
		c.t.Errorf("unexpected positions (-want +received):\n%s", diff)
	}
	expectNoFrames(c.t, c.hub)
}

// Frames that were read from the log are retracted, too.
func TestRetractionReachesReplayedFrames(t *testing.T) {
	for name, e := range retracting("a") {
		for when, during := range map[string]bool{"before it": false, "during it": true} {
			t.Run(name+", read "+when, func(t *testing.T) {
				bothWays(t, func(t *testing.T) {
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
							// frames are in the index.
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
					c.expectRetracted(m)
				})
			})
		}
	}
}

// A retraction reaches queued frames even if it does not fit into the inbox, or is not known at
// all.
func TestRetractionInAnOverflowAndInAGap(t *testing.T) {
	for name, e := range map[string]im.Event{
		"deleted": deleted(1), "trimmed": trimmed(1, 3), "hidden": hid("a", 1, im.Event{UpToSeq: 2}),
	} {
		for where, gap := range map[string]bool{"in an overflow": false, "in a gap": true} {
			t.Run(name+" "+where, func(t *testing.T) {
				bothWays(t, func(t *testing.T) {
					m := newModel()
					h := newTestHub(t, m, Options{InboxSize: 4})
					c := blockedClient(t, m, h)
					if gap {
						lost := m.append(e)
						h.Publish(im.Commit{Head: lost.Head, Gap: true})
					} else {
						m.commit(e, sent(2), sent(2), sent(2), sent(2), sent(2))
					}
					synctest.Wait()
					c.pipe.block(false)
					synctest.Wait()
					c.expectRetracted(m)
				})
			})
		}
	}
}

// A user who has hidden a message receives no events about it on any device. All others do.
func TestHiddenMessagesHaveNoEvents(t *testing.T) {
	bothWays(t, func(t *testing.T) {
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
		forAll, forOne := erasureOf(1, 10), erasureOf(1, 11)
		forAll.HiddenBy, forOne.To, forOne.HiddenBy = []im.UserID{"a"}, "a", []im.UserID{"a"}
		m.commit(forAll, forOne)
		synctest.Wait()
		for i, want := range [][]im.Position{{at - 1, at}, {at - 1, at}, {at - 1, at + 1}} {
			clients[i].read()
			if diff := cmp.Diff(want, clients[i].got); diff != "" {
				t.Errorf("%v: unexpected positions (-want +received):\n%s", clients[i].actor, diff)
			}
		}
	})
}

// A message and its retraction may reach the hub together.
func TestRetractionInTheInbox(t *testing.T) {
	at := func(p im.Position, seq int64, e im.Event) im.Event {
		e.Position, e.Seq = p, seq
		return e
	}
	events, retractions := applyRetractions([]im.Event{
		at(1, 1, withText(1, 10, "trimmed")), at(2, 2, withText(1, 11, "hidden")), at(3, 1, withText(2, 20, "deleted")),
		at(4, 1, withText(3, 30, "kept")), at(5, 0, hid("a", 1, im.Event{MessageIDs: []im.ID{11}})),
		at(6, 0, hid("b", 1, im.Event{UpToSeq: 2})), at(7, 0, trimmed(1, 2)), at(8, 0, added(2, "a")), at(9, 0, deleted(2)),
		at(10, 3, withText(1, 12, "after all of them")),
	})
	var left []im.Position
	for _, e := range events {
		left = append(left, e.Position)
	}
	if diff := cmp.Diff([]im.Position{2, 4, 5, 6, 7, 8, 9, 10}, left); diff != "" {
		t.Errorf("unexpected positions (-want +left):\n%s", diff)
	}
	hidden := map[im.Position][]im.UserID{}
	for _, e := range events {
		if len(e.HiddenBy) > 0 {
			hidden[e.Position] = slices.Sorted(slices.Values(e.HiddenBy))
		}
	}
	if diff := cmp.Diff(map[im.Position][]im.UserID{2: {"a", "b"}}, hidden); diff != "" {
		t.Errorf("unexpected users who have hidden messages (-want +got):\n%s", diff)
	}
	want := []retraction{
		{conversation: 1, hiddenBy: "a"},
		{conversation: 1, hiddenBy: "b"},
		{conversation: 1, below: 2},
		{conversation: 2, below: math.MaxInt64},
	}
	if diff := cmp.Diff(want, retractions, cmp.AllowUnexported(retraction{})); diff != "" {
		t.Errorf("unexpected retractions (-want +got):\n%s", diff)
	}
}

// The members of a deleted conversation receive the event of its deletion and no later ones.
func TestDeletedConversationHasNoMembers(t *testing.T) {
	bothWays(t, func(t *testing.T) {
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

// A user's own settings do not change the audience of a conversation, so they cost no read.
func TestOwnSettingsCostNoRead(t *testing.T) {
	bothWays(t, func(t *testing.T) {
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
