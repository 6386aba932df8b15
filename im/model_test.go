package im_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// model is the expected state, stored in the simplest way and recomputed for every check.
type model struct {
	now           time.Time
	retention     time.Duration
	conversations []*conv
}

// conv is a conversation of the model.
type conv struct {
	id       im.ID
	direct   bool
	history  im.History
	messages []*said
	users    map[im.UserID]*view
	active   time.Time // last activity
	lastSeq  int64
}

// said is a message of the model.
type said struct {
	id       im.ID
	seq      int64
	sender   im.UserID
	words    string
	mentions []im.UserID
	at       time.Time
	due      time.Time
	erased   im.State
	receipt  bool
	quiet    bool
	reading  time.Duration // the time from reading to burning, -1 for never
	readers  map[im.UserID]bool
	// published are the readers whose receipts were published to the sender.
	published map[im.UserID]bool
}

// view is one user's view of a conversation.
type view struct {
	member    bool
	stays     [][2]int64 // an open one ends at -1
	read      map[int64]bool
	hidden    map[int64]bool
	cleared   int64
	before    time.Time
	hiddenNow bool
	joined    time.Time
}

func (m *model) state(s *said) im.State {
	if s.erased == 0 && !s.due.IsZero() && !s.due.After(m.now) {
		if s.reading >= 0 {
			return im.Burned
		}
		return im.Expired
	}
	return s.erased
}

func (v *view) stayed(seq int64) bool {
	return slices.ContainsFunc(v.stays, func(s [2]int64) bool { return s[0] <= seq && (s[1] < 0 || seq <= s[1]) })
}

// sees reports whether a user can read a message, or its tombstone.
func (m *model) sees(p *conv, user im.UserID, s *said) bool {
	v := p.users[user]
	switch {
	case v == nil, !v.member, v.hidden[s.seq], s.at.Before(v.before):
		return false
	case m.retention > 0 && s.at.Before(m.now.Add(-m.retention)):
		return false
	default:
		return p.history == im.HistoryAll || v.stayed(s.seq)
	}
}

func (m *model) visible(p *conv, user im.UserID) []*said {
	return slices.DeleteFunc(slices.Clone(p.messages), func(s *said) bool { return !m.sees(p, user, s) })
}

func (m *model) unread(p *conv, user im.UserID) (n, mentions int) {
	v := p.users[user]
	for _, s := range m.visible(p, user) {
		if s.sender == user || s.quiet || m.state(s) != 0 || v.read[s.seq] || s.seq <= v.cleared || s.seq < v.stays[len(v.stays)-1][0] {
			continue
		}
		n++
		if slices.Contains(s.mentions, user) {
			mentions++
		}
	}
	return n, mentions
}

// text returns what a user sees of a message.
func (m *model) text(s *said) string {
	if state := m.state(s); state != 0 {
		return fmt.Sprintf("%d %s", s.seq, state)
	}
	return fmt.Sprintf("%d %s", s.seq, s.words)
}

// After every random step, every user sees what the naive model predicts. A short run checks after
// every third step.
func TestRandomHistoriesAgainstAModel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			retention := []time.Duration{0, 2 * time.Hour}[seed%2]
			policy := kept(retention, 0)
			policy.BurnAny = true
			w := newWorldWith(t, policy)
			p := &player{
				world: w, model: &model{now: epoch, retention: retention}, random: rand.New(rand.NewPCG(seed, 1)),
				users: []im.UserID{"u0", "u1", "u2"},
			}
			for _, history := range []im.History{im.HistoryJoined, im.HistoryAll} {
				id := w.group(history, "u0", "u1", "u2")
				p.conversations = append(p.conversations, p.newConversation(id, false, history, p.users))
			}
			p.conversations = append(p.conversations, p.newDirect())
			steps := testsize.Pick(150, 50)
			every := testsize.Pick(1, 3) // a check takes far longer than a step
			for i := range steps {
				did := p.step()
				p.hear()
				if i%every == 0 || i == steps-1 {
					p.check()
				}
				p.tick()
				if t.Failed() {
					t.Fatalf("after step %d: %s", i, did)
				}
			}
		})
	}
}
