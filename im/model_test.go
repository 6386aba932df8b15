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

func shown(m im.Message) string {
	if m.State != im.Active {
		return fmt.Sprintf("%d %s", m.Seq, m.State)
	}
	return fmt.Sprintf("%d %s", m.Seq, words(m))
}

// player performs random acts in a world and in its model.
type player struct {
	*world
	*model
	random *rand.Rand
	users  []im.UserID
	heard  int // the number of events that the model has
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// step performs a random act and returns a description.
func (p *player) step() string {
	conv, user := pick(p.random, p.conversations), pick(p.random, p.users)
	v := conv.users[user]
	if v == nil || !v.member {
		if !conv.direct && p.random.IntN(3) == 0 {
			return p.join(conv, user)
		}
		return "nothing"
	}
	ref := byID(conv.id)
	visible := p.visible(conv, user)
	switch what := p.random.IntN(22); {
	case what < 7:
		return p.speak(conv, user, ref)
	case what < 9 && len(visible) > 0:
		return p.readUpTo(conv, user, pick(p.random, visible))
	case what < 10 && len(visible) > 0:
		s := pick(p.random, visible)
		p.readEach(user, ref, s.id)
		p.wasRead(conv, user, s)
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
		return p.hideMany(conv, user, v)
	case what < 16:
		_, err := p.ClearUnread(p.ctx, as(user), ref)
		p.must(err)
		v.cleared = max(v.cleared, conv.lastSeq)
		return fmt.Sprint(user, " clears ", conv.id)
	case what < 18 && !conv.direct && user != "u0":
		p.remove(conv.id, user, user)
		v.member = false
		v.stays[len(v.stays)-1][1] = conv.lastSeq
		return fmt.Sprint(user, " leaves ", conv.id)
	case what < 19 && !conv.direct:
		p.rename("u0", conv.id)
		return fmt.Sprint(conv.id, " is renamed")
	case what < 20:
		return p.insert(conv, user)
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

// spend lets time pass in the world and in the model.
func (p *player) spend() time.Duration {
	d := time.Duration(p.random.IntN(30)) * time.Minute
	p.model.now = p.model.now.Add(d)
	return d
}

func (p *player) join(conv *conv, user im.UserID) string {
	v := conv.users[user]
	if v == nil {
		v = newView()
		conv.users[user] = v
		p.add(conv.id, "u0", im.Member, user)
	} else {
		p.back(conv.id, "u0", user)
	}
	v.member, v.hiddenNow, v.joined = true, false, p.clock()
	v.stays = append(v.stays, [2]int64{conv.lastSeq + 1, -1})
	p.hear()
	for _, s := range conv.messages {
		if s.sender == user { // a client that rejoins requests the receipts again
			s.published = maps.Clone(s.readers)
		}
	}
	return fmt.Sprint(user, " joins ", conv.id)
}

func newView() *view { return &view{read: map[int64]bool{}, hidden: map[int64]bool{}} }

// vocabulary are the words of messages. There are few, so that searches have hits.
var vocabulary = []string{"apple", "application", "banana", "上海", "我家在上海东边", "ＡＰＰＬＥ", "海上"}

func (p *player) speak(conv *conv, user im.UserID, ref im.ConversationRef) string {
	s := &said{
		sender: user, words: pick(p.random, vocabulary) + " " + pick(p.random, vocabulary), at: p.clock(), reading: -1,
		receipt: conv.direct || p.random.IntN(2) == 0, readers: map[im.UserID]bool{}, published: map[im.UserID]bool{},
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
	case n == 1 && conv.direct:
		d.Burn = &im.Burn{After: time.Duration(p.random.IntN(2)) * time.Minute, UnreadTTL: time.Hour}
		s.reading = d.Burn.After
		s.due = s.at.Add(time.Hour)
	}
	m := p.send(user, ref, d)
	s.id, s.seq = m.ID, m.Seq
	conv.messages = append(conv.messages, s)
	conv.lastSeq, conv.active = s.seq, s.at
	for _, v := range conv.users {
		v.hiddenNow = false
	}
	return fmt.Sprintf("%s says %d in %v: %s", user, s.seq, conv.id, s.words)
}

// insert inserts a message with an old time, without an event.
func (p *player) insert(conv *conv, user im.UserID) string {
	s := &said{
		sender: user, words: pick(p.random, vocabulary), at: p.clock().Add(-time.Duration(p.random.IntN(60)) * time.Minute), reading: -1,
		receipt: conv.direct, quiet: true, readers: map[im.UserID]bool{}, published: map[im.UserID]bool{},
	}
	m, _, err := p.Insert(p.ctx, im.Actor{User: "root", Admin: true}, im.ImportMessage{
		Conversation: conv.id.String(), Sender: user, Type: im.Text, Body: fmt.Appendf(nil, `{"text":%q}`, s.words), CreatedAt: s.at,
	})
	p.must(err)
	s.id, s.seq = m.ID, m.Seq
	conv.messages = append(conv.messages, s)
	conv.lastSeq = s.seq
	if s.at.After(conv.active) {
		conv.active = s.at
	}
	return fmt.Sprintf("%d of %s is inserted into %v", s.seq, user, conv.id)
}

func (p *player) readUpTo(conv *conv, user im.UserID, last *said) string {
	for _, s := range p.visible(conv, user) {
		if s.seq <= last.seq {
			p.wasRead(conv, user, s)
		}
	}
	p.read(user, byID(conv.id), last.id)
	return fmt.Sprint(user, " reads up to ", last.seq)
}

// wasRead records in the model that a message was read, which starts its timer.
func (p *player) wasRead(conv *conv, user im.UserID, s *said) {
	if s.sender == user {
		return
	}
	starts := s.reading >= 0 && p.state(s) == 0 && !conv.users[user].read[s.seq]
	conv.users[user].read[s.seq] = true
	if p.state(s) == 0 && conv.users[user].stayed(s.seq) {
		s.readers[user] = true
	}
	if starts {
		s.due = p.model.now.Add(s.reading)
	}
}

func (p *player) hideMany(conv *conv, user im.UserID, v *view) string {
	switch p.random.IntN(3) {
	case 0:
		p.must(p.Hide(p.ctx, as(user), byID(conv.id), im.HideDraft{All: true}))
	case 1:
		at := p.model.now.Add(-time.Duration(p.random.IntN(60)) * time.Minute)
		p.must(p.Hide(p.ctx, as(user), byID(conv.id), im.HideDraft{Before: at}))
		if at.After(v.before) {
			v.before = at
		}
		return fmt.Sprint(user, " hides what is older than ", p.model.now.Sub(at))
	default:
		p.must(p.HideConversation(p.ctx, as(user), byID(conv.id), false))
		v.hiddenNow = true
		v.cleared = max(v.cleared, conv.lastSeq)
	}
	for _, s := range conv.messages {
		v.hidden[s.seq] = true
	}
	return fmt.Sprint(user, " hides all in ", conv.id)
}

// hear records the published receipts in the model.
func (p *player) hear() {
	p.Helper()
	all := p.committed()
	for _, e := range all[p.heard:] {
		if e.Type != im.ReceiptRead {
			continue
		}
		for _, conv := range p.conversations {
			var upTo int64
			for _, s := range conv.messages {
				if s.id == e.UpTo {
					upTo = s.seq
				}
			}
			for _, s := range conv.messages {
				if s.sender == e.User || e.To != "" && e.To != s.sender {
					continue
				}
				// A message that burns at once existed until it was read.
				erased := p.state(s) != 0 && !(s.reading == 0 && s.due.Equal(e.At))
				if named := slices.Contains(e.MessageIDs, s.id); named || s.seq <= upTo && !erased {
					if named && (s.published[e.User] || erased) {
						p.Errorf("it is published again, or too late, that %s has read %d", e.User, s.seq)
					}
					s.published[e.User] = true
				}
				if v := conv.users[e.User]; s.id == e.UpTo && (v.hidden[s.seq] || erased) {
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
	for _, conv := range p.conversations {
		for _, s := range conv.messages {
			if !s.receipt || !p.sees(conv, s.sender, s) {
				continue
			}
			r, err := p.Receipts(p.ctx, as(s.sender), s.id)
			p.must(err)
			got := make(map[im.UserID]bool)
			for _, rc := range r.Read {
				got[rc.User] = true
			}
			p.equal(fmt.Sprint("who has read ", s.seq, " of ", s.sender), got, s.readers)
			p.equal(fmt.Sprint("whose receipt was published for ", s.seq, " of ", s.sender), s.published, s.readers)
		}
	}
}

// check compares what every user sees with the model.
func (p *player) check() {
	p.Helper()
	p.checkReceipts()
	for _, user := range p.users {
		total, mentioned := 0, 0
		var order []*conv
		for _, conv := range p.conversations {
			if v := conv.users[user]; v == nil || !v.member {
				continue
			}
			p.checkConversation(conv, user)
			if conv.users[user].hiddenNow {
				continue
			}
			order = append(order, conv)
			n, mentions := p.model.unread(conv, user)
			total, mentioned = total+n, mentioned+mentions
		}
		all, err := p.Unread(p.ctx, as(user), nil)
		p.must(err)
		p.equal(fmt.Sprintf("all that %s has not read", user), fmt.Sprintf("%d/%d", all.Total, all.Mentions), fmt.Sprintf("%d/%d", total, mentioned))
		p.checkList(user, order)
		p.checkSearch(user)
	}
}

func (p *player) checkConversation(conv *conv, user im.UserID) {
	p.Helper()
	what := fmt.Sprintf("%v for %s: ", conv.id, user)
	var want []string
	for _, s := range p.visible(conv, user) {
		want = append(want, p.model.text(s))
	}
	for _, ascending := range []bool{true, false} {
		var got []string
		f := im.HistoryFilter{Ascending: ascending, Limit: 3}
		for {
			page, err := p.Messages(p.ctx, as(user), byID(conv.id), f)
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
	for _, s := range conv.messages {
		_, err := p.Message(p.ctx, as(user), s.id)
		p.equal(fmt.Sprint(what, s.seq), err == nil, p.sees(conv, user, s))
	}
	v, err := p.Conversation(p.ctx, as(user), byID(conv.id))
	p.must(err)
	n, mentions := p.model.unread(conv, user)
	p.equal(what+"unread", v.Unread, im.UnreadCount{Messages: n, Mentions: mentions})
	last := ""
	if v.LastMessage != nil {
		last = shown(*v.LastMessage)
	}
	newest := ""
	if visible := p.visible(conv, user); len(visible) > 0 {
		newest = p.model.text(slices.MaxFunc(visible, func(a, b *said) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq))
		}))
	}
	p.equal(what+"preview", last, newest)
	p.equal(what+"hidden", v.Hidden, conv.users[user].hiddenNow)
}

func (p *player) checkList(user im.UserID, want []*conv) {
	p.Helper()
	listed := func(c *conv) time.Time {
		return slices.MaxFunc([]time.Time{c.active, c.users[user].joined}, time.Time.Compare)
	}
	slices.SortFunc(want, func(a, b *conv) int {
		return cmp.Or(listed(b).Compare(listed(a)), cmp.Compare(b.id, a.id))
	})
	var got, ids []im.ID
	for _, conv := range want {
		ids = append(ids, conv.id)
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

// checkSearch searches for words, including parts of others.
func (p *player) checkSearch(user im.UserID) {
	p.Helper()
	for query, matches := range map[string]func(string) bool{
		"app":   func(s string) bool { return strings.Contains(" "+s, " app") || strings.Contains(s, "ＡＰＰ") },
		"上海":    func(s string) bool { return strings.Contains(s, "上海") },
		"apple": func(s string) bool { return strings.Contains(s, "apple") || strings.Contains(s, "ＡＰＰＬＥ") },
	} {
		want := make(map[im.ID]bool)
		for _, conv := range p.conversations {
			for _, s := range p.visible(conv, user) {
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

func (p *player) newConversation(id im.ID, direct bool, history im.History, users []im.UserID) *conv {
	conv := &conv{id: id, direct: direct, history: history, users: map[im.UserID]*view{}, active: p.clock()}
	for _, user := range users {
		conv.users[user] = newView()
		conv.users[user].member = true
		conv.users[user].stays = [][2]int64{{1, -1}}
	}
	return conv
}

func (p *player) newDirect() *conv {
	m := p.say("u1", direct("u2"), "apple pie")
	conv := p.newConversation(m.Conversation, true, im.HistoryAll, []im.UserID{"u1", "u2"})
	conv.messages = []*said{{
		id: m.ID, seq: 1, sender: "u1", words: "apple pie", at: p.clock(), reading: -1,
		receipt: true, readers: map[im.UserID]bool{}, published: map[im.UserID]bool{},
	}}
	conv.lastSeq = 1
	return conv
}
