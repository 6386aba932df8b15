package im_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

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

func newView() *view { return &view{read: map[int64]bool{}, hidden: map[int64]bool{}} }
