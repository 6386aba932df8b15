package im_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// model is the expected state, stored in the simplest way and computed again for every
// question.
type model struct {
	now       time.Time
	retention time.Duration
	places    []*place
}

// place is a conversation of the model.
type place struct {
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
	reading  time.Duration // after which it burns once read, -1 for never
	readers  map[im.UserID]bool
	// told are the readers of which the sender knows from events.
	told map[im.UserID]bool
}

// view is one user's view of a conversation.
type view struct {
	member  bool
	stays   [][2]int64 // the last one ends at -1 while it lasts
	read    map[int64]bool
	hidden  map[int64]bool
	cleared int64
	before  time.Time
	gone    bool
	joined  time.Time
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
func (m *model) sees(p *place, user im.UserID, s *said) bool {
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

func (m *model) visible(p *place, user im.UserID) []*said {
	return slices.DeleteFunc(slices.Clone(p.messages), func(s *said) bool { return !m.sees(p, user, s) })
}

func (m *model) unread(p *place, user im.UserID) (n, mentions int) {
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

// text is what a user sees of a message.
func (m *model) text(s *said) string {
	if state := m.state(s); state != 0 {
		return fmt.Sprintf("%d %s", s.seq, state)
	}
	return fmt.Sprintf("%d %s", s.seq, s.words)
}

func shown(m im.Message) string {
	if m.State != im.Active {
		return fmt.Sprintf("%d %s", m.Seq, m.State)
	}
	return fmt.Sprintf("%d %s", m.Seq, words(m))
}

// player does random things to a world and to its model.
type player struct {
	*world
	*model
	random *rand.Rand
	users  []im.UserID
	heard  int // how many events were taken note of
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// step performs a random act and returns a description.
func (p *player) step() string {
	place, user := pick(p.random, p.places), pick(p.random, p.users)
	v := place.users[user]
	if v == nil || !v.member {
		if !place.direct && p.random.IntN(3) == 0 {
			return p.join(place, user)
		}
		return "nothing"
	}
	ref := byID(place.id)
	visible := p.visible(place, user)
	switch what := p.random.IntN(22); {
	case what < 7:
		return p.speak(place, user, ref)
	case what < 9 && len(visible) > 0:
		return p.readUpTo(place, user, pick(p.random, visible))
	case what < 10 && len(visible) > 0:
		s := pick(p.random, visible)
		p.readEach(user, ref, s.id)
		p.wasRead(place, user, s)
		return fmt.Sprint(user, " reads ", s.seq)
	case what < 12 && len(visible) > 0:
		s := pick(p.random, visible)
		_, err := p.Revoke(p.ctx, im.Actor{User: user, Admin: true}, s.id, im.RevokeNote{})
		if p.state(s) == 0 {
			p.must(err)
			s.erased = im.Revoked
		}
		return fmt.Sprint(user, " revokes ", s.seq)
	case what < 13 && len(visible) > 0:
		s := pick(p.random, visible)
		_, err := p.Burn(p.ctx, as(user), s.id)
		if err == nil && p.state(s) == 0 {
			s.erased = im.Burned
		}
		return fmt.Sprint(user, " burns ", s.seq, ": ", answer(err))
	case what < 14 && len(visible) > 0:
		s := pick(p.random, visible)
		p.hide(user, ref, s.id)
		v.hidden[s.seq] = true
		return fmt.Sprint(user, " hides ", s.seq)
	case what < 15:
		return p.hideMany(place, user, v)
	case what < 16:
		_, err := p.ClearUnread(p.ctx, as(user), ref)
		p.must(err)
		v.cleared = max(v.cleared, place.lastSeq)
		return fmt.Sprint(user, " clears ", place.id)
	case what < 18 && !place.direct && user != "u0":
		p.remove(place.id, user, user)
		v.member = false
		v.stays[len(v.stays)-1][1] = place.lastSeq
		return fmt.Sprint(user, " leaves ", place.id)
	case what < 19 && !place.direct:
		p.rename("u0", place.id)
		return fmt.Sprint(place.id, " is renamed")
	case what < 20:
		return p.insert(place, user)
	case what < 21:
		p.pass(p.spend())
		_, _, err := p.EraseDue(p.ctx)
		p.must(err)
		p.must(p.Trim(p.ctx, time.Time{}, nil))
		return "the jobs run"
	default:
		p.pass(p.spend())
		return "time passes"
	}
}

// tick lets a moment pass, so that no two steps are at the same time.
func (p *player) tick() {
	p.pass(time.Millisecond)
	p.model.now = p.model.now.Add(time.Millisecond)
}

// spend is some time, which the model takes note of.
func (p *player) spend() time.Duration {
	d := time.Duration(p.random.IntN(30)) * time.Minute
	p.model.now = p.model.now.Add(d)
	return d
}

func (p *player) join(place *place, user im.UserID) string {
	v := place.users[user]
	if v == nil {
		v = newView()
		place.users[user] = v
		p.add(place.id, "u0", im.Member, user)
	} else {
		p.back(place.id, "u0", user)
	}
	v.member, v.gone, v.joined = true, false, p.clock()
	v.stays = append(v.stays, [2]int64{place.lastSeq + 1, -1})
	p.hear()
	for _, s := range place.messages {
		if s.sender == user { // a client that rejoins reads receipts again
			s.told = maps.Clone(s.readers)
		}
	}
	return fmt.Sprint(user, " joins ", place.id)
}

func newView() *view { return &view{read: map[int64]bool{}, hidden: map[int64]bool{}} }

// vocabulary are the words of messages, so that searches find something.
var vocabulary = []string{"apple", "application", "banana", "上海", "我家在上海东边", "ＡＰＰＬＥ", "海上"}

func (p *player) speak(place *place, user im.UserID, ref im.ConversationRef) string {
	s := &said{
		sender: user, words: pick(p.random, vocabulary) + " " + pick(p.random, vocabulary), at: p.clock(), reading: -1,
		receipt: place.direct || p.random.IntN(2) == 0, readers: map[im.UserID]bool{}, told: map[im.UserID]bool{},
	}
	d := text("%s", s.words)
	d.Receipt = s.receipt
	if p.random.IntN(3) == 0 {
		s.mentions = []im.UserID{pick(p.random, p.users), "nobody"}
		d.Mentions = s.mentions
	}
	switch n := p.random.IntN(6); {
	case n == 0:
		d.ExpireAfter = time.Duration(1+p.random.IntN(60)) * time.Minute
		s.due = s.at.Add(d.ExpireAfter)
	case n == 1 && place.direct:
		d.Burn = &im.Burn{After: time.Duration(p.random.IntN(2)) * time.Minute, UnreadTTL: time.Hour}
		s.reading = d.Burn.After
		s.due = s.at.Add(time.Hour)
	}
	m := p.send(user, ref, d)
	s.id, s.seq = m.ID, m.Seq
	place.messages = append(place.messages, s)
	place.lastSeq, place.active = s.seq, s.at
	for _, v := range place.users {
		v.gone = false
	}
	return fmt.Sprintf("%s says %d in %v: %s", user, s.seq, place.id, s.words)
}

// insert puts in a message with an old time, silently.
func (p *player) insert(place *place, user im.UserID) string {
	s := &said{
		sender: user, words: pick(p.random, vocabulary), at: p.clock().Add(-time.Duration(p.random.IntN(60)) * time.Minute), reading: -1,
		receipt: place.direct, quiet: true, readers: map[im.UserID]bool{}, told: map[im.UserID]bool{},
	}
	m, _, err := p.Insert(p.ctx, im.Actor{User: "root", Admin: true}, im.ImportMessage{
		Conversation: place.id.String(), Sender: user, Type: im.Text, Body: fmt.Appendf(nil, `{"text":%q}`, s.words), CreatedAt: s.at,
	})
	p.must(err)
	s.id, s.seq = m.ID, m.Seq
	place.messages = append(place.messages, s)
	place.lastSeq = s.seq
	if s.at.After(place.active) {
		place.active = s.at
	}
	return fmt.Sprintf("%d of %s is inserted into %v", s.seq, user, place.id)
}

func (p *player) readUpTo(place *place, user im.UserID, last *said) string {
	for _, s := range p.visible(place, user) {
		if s.seq <= last.seq {
			p.wasRead(place, user, s)
		}
	}
	p.read(user, byID(place.id), last.id)
	return fmt.Sprint(user, " reads up to ", last.seq)
}

// wasRead takes note of a message that was read, which starts its clock.
func (p *player) wasRead(place *place, user im.UserID, s *said) {
	if s.sender == user {
		return
	}
	starts := s.reading >= 0 && p.state(s) == 0 && !place.users[user].read[s.seq]
	place.users[user].read[s.seq] = true
	if p.state(s) == 0 && place.users[user].stayed(s.seq) {
		s.readers[user] = true
	}
	if starts {
		s.due = p.model.now.Add(s.reading)
	}
}

func (p *player) hideMany(place *place, user im.UserID, v *view) string {
	switch p.random.IntN(3) {
	case 0:
		p.must(p.Hide(p.ctx, as(user), byID(place.id), im.HideDraft{All: true}))
	case 1:
		at := p.model.now.Add(-time.Duration(p.random.IntN(60)) * time.Minute)
		p.must(p.Hide(p.ctx, as(user), byID(place.id), im.HideDraft{Before: at}))
		if at.After(v.before) {
			v.before = at
		}
		return fmt.Sprint(user, " hides what is older than ", p.model.now.Sub(at))
	default:
		p.must(p.HideConversation(p.ctx, as(user), byID(place.id), false))
		v.gone = true
		v.cleared = max(v.cleared, place.lastSeq)
	}
	for _, s := range place.messages {
		v.hidden[s.seq] = true
	}
	return fmt.Sprint(user, " hides all in ", place.id)
}

// hear takes note of the receipts that were published.
func (p *player) hear() {
	p.Helper()
	all := p.committed()
	for _, e := range all[p.heard:] {
		if e.Type != im.ReceiptRead {
			continue
		}
		for _, place := range p.places {
			var upTo int64
			for _, s := range place.messages {
				if s.id == e.UpTo {
					upTo = s.seq
				}
			}
			for _, s := range place.messages {
				if s.sender == e.User || e.To != "" && e.To != s.sender {
					continue
				}
				// A message that burns at once existed until it was read.
				gone := p.state(s) != 0 && !(s.reading == 0 && s.due.Equal(e.At))
				if named := slices.Contains(e.MessageIDs, s.id); named || s.seq <= upTo && !gone {
					if named && (s.told[e.User] || gone) {
						p.Errorf("it is published again, or too late, that %s has read %d", e.User, s.seq)
					}
					s.told[e.User] = true
				}
				if v := place.users[e.User]; s.id == e.UpTo && (v.hidden[s.seq] || gone) {
					p.Errorf("a receipt of %s names %d", e.User, s.seq)
				}
			}
		}
	}
	p.heard = len(all)
}

// checkReceipts compares receipts, as lists and events report them to senders, with the
// model.
func (p *player) checkReceipts() {
	p.Helper()
	for _, place := range p.places {
		for _, s := range place.messages {
			if !s.receipt || !p.sees(place, s.sender, s) {
				continue
			}
			r, err := p.Receipts(p.ctx, as(s.sender), s.id)
			p.must(err)
			got := make(map[im.UserID]bool)
			for _, rc := range r.Read {
				got[rc.User] = true
			}
			p.equal(fmt.Sprint("who has read ", s.seq, " of ", s.sender), got, s.readers)
			p.equal(fmt.Sprint("who was told to have read ", s.seq, " of ", s.sender), s.told, s.readers)
		}
	}
}

// check compares what every user sees with the model.
func (p *player) check() {
	p.Helper()
	p.checkReceipts()
	for _, user := range p.users {
		total, mentioned := 0, 0
		var order []*place
		for _, place := range p.places {
			if v := place.users[user]; v == nil || !v.member {
				continue
			}
			p.checkPlace(place, user)
			if place.users[user].gone {
				continue
			}
			order = append(order, place)
			n, mentions := p.model.unread(place, user)
			total, mentioned = total+n, mentioned+mentions
		}
		all, err := p.Unread(p.ctx, as(user), nil)
		p.must(err)
		p.equal(fmt.Sprintf("all that %s has not read", user), fmt.Sprintf("%d/%d", all.Total, all.Mentions), fmt.Sprintf("%d/%d", total, mentioned))
		p.checkList(user, order)
		p.checkSearch(user)
	}
}

func (p *player) checkPlace(place *place, user im.UserID) {
	p.Helper()
	what := fmt.Sprintf("%v for %s: ", place.id, user)
	var want []string
	for _, s := range p.visible(place, user) {
		want = append(want, p.model.text(s))
	}
	for _, ascending := range []bool{true, false} {
		var got []string
		f := im.HistoryFilter{Ascending: ascending, Limit: 3}
		for {
			page, err := p.Messages(p.ctx, as(user), byID(place.id), f)
			p.must(err)
			for _, m := range page.Messages {
				got = append(got, shown(m))
			}
			if f.Past = page.Next; f.Past == nil {
				break
			}
		}
		if !ascending {
			slices.Reverse(got)
		}
		p.equal(what+"history", got, want)
	}
	for _, s := range place.messages {
		_, err := p.Message(p.ctx, as(user), s.id)
		p.equal(fmt.Sprint(what, s.seq), err == nil, p.sees(place, user, s))
	}
	v, err := p.Conversation(p.ctx, as(user), byID(place.id))
	p.must(err)
	n, mentions := p.model.unread(place, user)
	p.equal(what+"unread", v.Unread, im.UnreadCount{Messages: n, Mentions: mentions})
	last := ""
	if v.LastMessage != nil {
		last = shown(*v.LastMessage)
	}
	newest := ""
	if visible := p.visible(place, user); len(visible) > 0 {
		newest = p.model.text(slices.MaxFunc(visible, func(a, b *said) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq))
		}))
	}
	p.equal(what+"preview", last, newest)
	p.equal(what+"hidden", v.Hidden, place.users[user].gone)
}

func (p *player) checkList(user im.UserID, want []*place) {
	p.Helper()
	listed := func(pl *place) time.Time {
		return slices.MaxFunc([]time.Time{pl.active, pl.users[user].joined}, time.Time.Compare)
	}
	slices.SortFunc(want, func(a, b *place) int {
		return cmp.Or(listed(b).Compare(listed(a)), cmp.Compare(b.id, a.id))
	})
	var got, ids []im.ID
	for _, place := range want {
		ids = append(ids, place.id)
	}
	f := im.ConversationFilter{Limit: 2}
	for {
		page, err := p.Conversations(p.ctx, as(user), f)
		p.must(err)
		for _, v := range page.Items {
			got = append(got, v.ID)
		}
		if f.Past, f.AsOf, f.Through = page.Next, page.AsOf, page.Through; f.Past == nil {
			break
		}
	}
	p.equal(fmt.Sprintf("the list of %s", user), got, ids)
}

// checkSearch searches for words that are parts of others, too.
func (p *player) checkSearch(user im.UserID) {
	p.Helper()
	for query, matches := range map[string]func(string) bool{
		"app":   func(s string) bool { return strings.Contains(" "+s, " app") || strings.Contains(s, "ＡＰＰ") },
		"上海":    func(s string) bool { return strings.Contains(s, "上海") },
		"apple": func(s string) bool { return strings.Contains(s, "apple") || strings.Contains(s, "ＡＰＰＬＥ") },
	} {
		want := make(map[im.ID]bool)
		for _, place := range p.places {
			for _, s := range p.visible(place, user) {
				if p.state(s) == 0 && matches(s.words) {
					want[s.id] = true
				}
			}
		}
		got := make(map[im.ID]bool)
		f := im.SearchFilter{Words: query, Limit: 3}
		last := im.ID(0)
		for {
			page, err := p.Search(p.ctx, as(user), f)
			p.must(err)
			for _, hit := range page.Hits {
				id := hit.Message.ID
				if got[id] || last != 0 && id >= last {
					p.Errorf("%s finds %v twice or out of order", user, id)
				}
				got[id], last = true, id
			}
			if f.Past = page.Next; f.Past == 0 {
				break
			}
		}
		p.equal(fmt.Sprintf("what %s finds of %q", user, query), got, want)
	}
}

// Whatever happens in whatever order, after every step every user sees what the naive model
// says.
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
				p.places = append(p.places, p.placeOf(id, false, history, p.users))
			}
			p.places = append(p.places, p.directPlace())
			for i := range testsize.Pick(150, 50) {
				did := p.step()
				p.hear()
				p.check()
				p.tick()
				if t.Failed() {
					t.Fatalf("after step %d: %s", i, did)
				}
			}
		})
	}
}

func (p *player) placeOf(id im.ID, direct bool, history im.History, users []im.UserID) *place {
	place := &place{id: id, direct: direct, history: history, users: map[im.UserID]*view{}, active: p.clock()}
	for _, user := range users {
		place.users[user] = newView()
		place.users[user].member = true
		place.users[user].stays = [][2]int64{{1, -1}}
	}
	return place
}

func (p *player) directPlace() *place {
	m := p.say("u1", direct("u2"), "apple pie")
	place := p.placeOf(m.Conversation, true, im.HistoryAll, []im.UserID{"u1", "u2"})
	place.messages = []*said{{
		id: m.ID, seq: 1, sender: "u1", words: "apple pie", at: p.clock(), reading: -1,
		receipt: true, readers: map[im.UserID]bool{}, told: map[im.UserID]bool{},
	}}
	place.lastSeq = 1
	return place
}
