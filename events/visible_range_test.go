package events

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

func revoked(c im.ID, seq int64) im.Event {
	return im.Event{Type: im.MessageRevoked, Conversation: c, MessageID: im.ID(seq), Seq: seq}
}

func TestVisibleRange(t *testing.T) {
	first := im.Interval{FromEvent: 1, ToEvent: 5, FromSeq: 3, ToSeq: 6}
	silent := im.Interval{FromEvent: 6, ToEvent: 7, FromSeq: 8, ToSeq: 7} // nothing was sent
	open := im.Interval{FromEvent: 9, FromSeq: 10}
	for name, tt := range map[string]struct {
		history im.History
		stays   []im.Interval
		want    []int64 // of seqs 1 to 12
	}{
		"member":          {im.HistoryJoined, []im.Interval{open}, []int64{10, 11, 12}},
		"came back":       {im.HistoryJoined, []im.Interval{first, silent, open}, []int64{3, 4, 5, 6, 10, 11, 12}},
		"left since then": {im.HistoryJoined, []im.Interval{first}, []int64{3, 4, 5, 6}},
		"entire history":  {im.HistoryAll, []im.Interval{open}, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
	} {
		t.Run(name, func(t *testing.T) {
			r := visibleRangeOf(&im.Conversation{History: tt.history}, &im.AudienceMember{Intervals: tt.stays})
			var got []int64
			for seq := int64(1); seq <= 12; seq++ {
				if r.includes(seq) {
					got = append(got, seq)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("unexpected messages (-want +got):\n%s", diff)
			}
		})
	}
}

// A member who joined later receives events about older messages only if they may read
// them, and all events that are not about messages.
func TestEventsAboutMessagesFromBeforeJoining(t *testing.T) {
	for name, joined := range map[string]bool{"history from joining on": true, "entire history": false} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m := newModel()
				m.joined[1] = joined
				h := newTestHub(t, m, Options{})
				m.create(1, "old")
				m.commit(sent(1), sent(1), sent(1))
				synctest.Wait()
				old, late := newClient(t, h, "old", ""), newClient(t, h, "late", "")
				old.connect(newPipe())
				late.connect(newPipe())
				synctest.Wait()
				at := m.commit(added(1, "late"), revoked(1, 2), sent(1), revoked(1, 4), removed(1, "late")) - 5
				m.commit(sent(1), added(1, "late"), revoked(1, 3), revoked(1, 4), revoked(1, 5), sent(1))
				synctest.Wait()
				old.read()
				late.read()
				old.expect(m)
				late.expect(m)
				want := []im.Position{1, 3, 4, 5, 7, 9, 11}
				if !joined {
					want = []im.Position{1, 2, 3, 4, 5, 7, 8, 9, 10, 11}
				}
				for i := range want {
					want[i] += at
				}
				if diff := cmp.Diff(want, late.got); diff != "" {
					t.Errorf("unexpected positions (-want +received):\n%s", diff)
				}
			})
		})
	}
}

// Changing the history setting changes which events members receive from then on.
func TestHistorySettingChanges(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		m.joined[1] = true
		h := newTestHub(t, m, Options{})
		m.create(1, "old")
		m.commit(sent(1), added(1, "late"))
		synctest.Wait()
		c := newClient(t, h, "late", "")
		c.connect(newPipe())
		synctest.Wait()
		var received []int
		for _, joined := range []bool{true, false, true} {
			m.mu.Lock()
			m.joined[1] = joined
			m.mu.Unlock()
			m.commit(im.Event{Type: im.ConversationUpdated, Conversation: 1})
			m.commit(revoked(1, 1))
			synctest.Wait()
			c.read()
			received = append(received, len(c.got))
		}
		if diff := cmp.Diff([]int{1, 3, 4}, received); diff != "" {
			t.Errorf("unexpected numbers of events (-want +received):\n%s", diff)
		}
	})
}

// Once the visible ranges of members are known, an event needs no read, and one about a new
// member needs one.
func TestNoReadsOnceVisibleRangesAreKnown(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		m.joined[1] = true
		h := newTestHub(t, m, Options{})
		m.create(1, "a")
		synctest.Wait()
		a, b := newClient(t, h, "a", ""), newClient(t, h, "b", "")
		a.connect(newPipe())
		b.connect(newPipe())
		m.commit(sent(1))
		synctest.Wait()
		members, log := m.reads()
		for range 100 {
			m.commit(sent(1), revoked(1, 1))
			synctest.Wait()
		}
		m.commit(added(1, "nobody is online"))
		m.commit(added(1, "b"))
		for range 100 {
			m.commit(sent(1), revoked(1, 1))
			synctest.Wait()
		}
		synctest.Wait()
		moreMembers, moreLog := m.reads()
		if moreLog != log || moreMembers != members+1 {
			t.Errorf("%d reads of the log and %d of members, want 0 and 1", moreLog-log, moreMembers-members)
		}
		for _, c := range []*client{a, b} {
			c.read()
			c.expect(m)
		}
	})
}

// In a group that shows its history from joining on, only members who joined before a thread
// was created receive its activity.
func TestThreadActivityIsForEarlierMembers(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, history := range []im.History{im.HistoryJoined, im.HistoryAll} {
		a := newAudience(10)
		found := im.Audience{Conversation: im.Conversation{ID: 1, Kind: im.Group, History: history}}
		for user, joined := range map[im.UserID]time.Duration{
			"early": -time.Hour, "at once": 0, "late": time.Millisecond, "later": time.Hour, "left": -time.Hour,
		} {
			a.add(&Subscription{actor: im.Actor{User: user}})
			stay := im.Interval{FromEvent: 1, FromSeq: 1}
			m := im.AudienceMember{User: user, JoinedAt: created.Add(joined)}
			if user == "left" { // they left after the event
				stay.ToEvent, m.JoinedAt = 100, time.Time{}
			}
			m.Intervals = []im.Interval{stay}
			found.Members = append(found.Members, m)
		}
		e := im.Event{
			Type: im.ThreadUpdated, Position: 9, Conversation: 1, Thread: 2,
			Activity: &im.Activity{Messages: 7, At: created, Since: created},
		}
		for range 2 { // members are looked up for the first event only
			_, last := a.unchecked(&e)
			streams := a.recipients(nil, &e, found, last, created)
			found.Members = nil
			if len(streams) != 5 {
				t.Fatalf("%v: published to %d streams, want 5", history, len(streams))
			}
			n := a.partition(&e, streams)
			var got []string
			for _, s := range streams[:n] {
				got = append(got, string(s.actor.User))
			}
			slices.Sort(got)
			want := []string{"at once", "early"}
			if history == im.HistoryAll {
				want = []string{"at once", "early", "late", "later", "left"}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%v: unexpected recipients of the activity (-want +got):\n%s", history, diff)
			}
			plain := e
			plain.Activity = nil
			if n := a.partition(&plain, streams); n != 5 {
				t.Errorf("%v: %d streams get an event without activity, want 5", history, n)
			}
		}
	}
}
