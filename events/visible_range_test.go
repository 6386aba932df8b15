package events

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
)

func revoked(c im.ID, seq int64) im.Event {
	return im.Event{Type: im.MessageRevoked, Conversation: c, MessageID: im.ID(seq), Seq: seq}
}

func TestSight(t *testing.T) {
	first := im.Interval{FromEvent: 1, ToEvent: 5, FromSeq: 3, ToSeq: 6}
	silent := im.Interval{FromEvent: 6, ToEvent: 7, FromSeq: 8, ToSeq: 7} // nothing was sent
	open := im.Interval{FromEvent: 9, FromSeq: 10}
	for _, tt := range []struct {
		history im.History
		stays   []im.Interval
		want    []int64 // of seqs 1 to 12
	}{
		{im.HistoryJoined, []im.Interval{open}, []int64{10, 11, 12}},
		{im.HistoryJoined, []im.Interval{first, silent, open}, []int64{3, 4, 5, 6, 10, 11, 12}},
		{im.HistoryJoined, []im.Interval{first}, []int64{3, 4, 5, 6}}, // left since
		{im.HistoryAll, []im.Interval{open}, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
	} {
		s := visibleRangeOf(&im.Conversation{History: tt.history}, &im.AudienceMember{Intervals: tt.stays})
		var got []int64
		for seq := int64(1); seq <= 12; seq++ {
			if s.includes(seq) {
				got = append(got, seq)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("history %v, stays %v: sees %v, want %v", tt.history, tt.stays, got, tt.want)
		}
	}
}

// A user who joins later receives events about older messages only where they may read
// them, and all other events.
func TestOlderMessagesAreNotForWhoJoinsLater(t *testing.T) {
	for _, joined := range []bool{true, false} {
		t.Run(fmt.Sprintf("joined=%t", joined), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
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
				if !slices.Equal(late.got, want) {
					t.Errorf("received %v, want %v", late.got, want)
				}
			})
		})
	}
}

// Changing what members may read changes what they receive from then on.
func TestHistorySettingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
		if want := []int{1, 3, 4}; !slices.Equal(received, want) {
			t.Errorf("received %v events in all, want %v", received, want)
		}
	})
}

// Once it is known what members see, no event causes a read, except one about a new member.
func TestNoReadsOnceSightIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
		m.commit(added(1, "nobody online"))
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

// If a group shows history from joining on, the activity of a thread is published only to
// those who joined before it was created.
func TestLatecomersDoNotReceiveActivity(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, history := range []im.History{im.HistoryJoined, im.HistoryAll} {
		a := newAudience(10)
		found := im.Audience{Conversation: im.Conversation{ID: 1, Kind: im.Group, History: history}}
		for user, joined := range map[im.UserID]time.Duration{
			"early": -time.Hour, "then": 0, "late": time.Millisecond, "later": time.Hour, "gone": -time.Hour,
		} {
			a.add(&Subscription{actor: im.Actor{User: user}})
			stay := im.Interval{FromEvent: 1, FromSeq: 1}
			m := im.AudienceMember{User: user, JoinedAt: created.Add(joined)}
			if user == "gone" { // since the event
				stay.ToEvent, m.JoinedAt = 100, time.Time{}
			}
			m.Intervals = []im.Interval{stay}
			found.Members = append(found.Members, m)
		}
		e := im.Event{
			Type: im.ThreadUpdated, Position: 9, Conversation: 1, Thread: 2,
			Activity: &im.Activity{Messages: 7, At: created, Since: created},
		}
		for range 2 { // once looked up, and once known
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
			want := []string{"early", "then"}
			if history == im.HistoryAll {
				want = []string{"early", "gone", "late", "later", "then"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v: %v get what it holds, want %v", history, got, want)
			}
			plain := e
			plain.Activity = nil
			if n := a.partition(&plain, streams); n != 5 {
				t.Errorf("%v: of an event that says nothing %d streams get all, want 5", history, n)
			}
		}
	}
}
