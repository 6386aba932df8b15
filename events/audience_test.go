package events

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// audienceModel compares an audience with a simple model of members, stays and streams.
type audienceModel struct {
	t       *testing.T
	a       *audience
	members map[im.ID]map[im.UserID]bool
	stays   map[im.ID]map[im.UserID][]im.Interval
	history map[im.ID]im.History
	lastSeq int64
	streams map[im.UserID][]*Subscription
	now     time.Time
}

func (m *audienceModel) sees(e im.Event, u im.UserID) bool {
	c := e.Conversation
	return e.MessageID == 0 || m.history[c] == im.HistoryAll ||
		slices.ContainsFunc(m.stays[c][u], func(i im.Interval) bool {
			return i.FromSeq <= e.Seq && (i.Open() || e.Seq <= i.ToSeq)
		})
}

func (m *audienceModel) online(u im.UserID) {
	s := &Subscription{actor: im.Actor{User: u}}
	m.a.add(s)
	m.streams[u] = append(m.streams[u], s)
}

func (m *audienceModel) offline(u im.UserID) {
	if n := len(m.streams[u]); n > 0 {
		i := rand.N(n)
		m.a.remove(m.streams[u][i])
		m.streams[u] = slices.Delete(m.streams[u], i, i+1)
	}
}

// dispatch dispatches an event. It calls between after members were looked up.
func (m *audienceModel) dispatch(e im.Event, between func()) {
	m.t.Helper()
	c := e.Conversation
	if m.members[c] == nil {
		m.members[c] = make(map[im.UserID]bool)
		m.stays[c] = make(map[im.UserID][]im.Interval)
		m.history[c] = im.HistoryJoined
		if inSpace(c) {
			m.history[c] = im.HistoryAll
		}
	}
	switch e.Type {
	case im.MemberAdded:
		m.members[c][e.User] = true
		m.stays[c][e.User] = append(m.stays[c][e.User], im.Interval{FromSeq: m.lastSeq + 1})
	case im.ConversationUpdated:
		if e.Own == nil && !inSpace(c) {
			m.history[c] = 3 - m.history[c] // the other one
		}
	default: // changes no visible range
	}
	before := make(map[*Subscription]bool) // the streams that must get it
	for u, streams := range m.streams {
		if m.isFor(e, u) {
			for _, s := range streams {
				before[s] = true
			}
		}
	}
	found := im.Audience{Conversation: im.Conversation{History: m.history[c]}}
	if inSpace(c) {
		found.Conversation.Space = theSpace
	}
	var last uint64
	if e.To == "" {
		var unchecked []im.UserID
		unchecked, last = m.a.unchecked(&e)
		for _, u := range unchecked {
			if m.members[c][u] {
				found.Members = append(found.Members, im.AudienceMember{User: u, Intervals: slices.Clone(m.stays[c][u])})
			}
		}
	}
	between()
	got := make(map[*Subscription]bool)
	for _, s := range m.a.recipients(nil, &e, found, last, m.now) {
		if got[s] {
			m.t.Errorf("a stream of %v gets %v twice", s.actor.User, e)
		}
		got[s] = true
	}
	for s := range before {
		if slices.Contains(m.streams[s.actor.User], s) && !got[s] {
			m.t.Errorf("a stream of %v does not get %v", s.actor.User, e)
		}
	}
	for s := range got {
		// Streams that were opened in the meantime may be among them: they have joined after the
		// event and ignore it.
		if u := s.actor.User; !before[s] && !m.openedMeanwhile(s, e) {
			m.t.Errorf("a stream of %v gets %v", u, e)
		}
	}
	for u := range m.members[c] {
		if e.Type == im.MemberRemoved && u == e.User || e.Type == im.ConversationDeleted {
			delete(m.members[c], u)
			stays := m.stays[c][u]
			stays[len(stays)-1].ToEvent, stays[len(stays)-1].ToSeq = 1, m.lastSeq
		}
	}
}

// isFor reports whether an event is for a user who was online when it happened.
func (m *audienceModel) isFor(e im.Event, u im.UserID) bool {
	return !slices.Contains(e.HiddenBy, u) && (e.To == u || e.To == "" && m.members[e.Conversation][u] && m.sees(e, u))
}

func (m *audienceModel) openedMeanwhile(s *Subscription, e im.Event) bool {
	u := s.actor.User
	return slices.Contains(m.streams[u], s) && m.isFor(e, u)
}

// theSpace is the space of conversations 3 and 4, which are channels. Events of the space about all
// members or one change who sees them.
const theSpace im.ID = 9

func inSpace(c im.ID) bool { return c == 3 || c == 4 }

// flip makes a channel visible to users who did not see it, and invisible to the others.
func (m *audienceModel) flip(c im.ID, users ...im.UserID) {
	if m.members[c] == nil {
		m.members[c] = make(map[im.UserID]bool)
		m.stays[c] = make(map[im.UserID][]im.Interval)
		m.history[c] = im.HistoryAll
	}
	for _, u := range users {
		if m.members[c][u] {
			delete(m.members[c], u)
		} else {
			m.members[c][u] = true
		}
	}
}

// changeVisibility dispatches an event after which other users see the channels.
func (m *audienceModel) changeVisibility(user func() im.UserID, churn func()) {
	c, u := 3+im.ID(rand.N(2)), user()
	switch rand.N(4) {
	case 0:
		m.dispatch(im.Event{Type: im.RoleUpdated, Conversation: theSpace, Space: theSpace}, churn)
		m.flip(3, user(), user())
		m.flip(4, user(), user())
	case 1:
		m.dispatch(im.Event{Type: im.MemberUpdated, Conversation: theSpace, Space: theSpace, User: u, To: u}, churn)
		m.flip(3, u)
		m.flip(4, u)
	case 2:
		m.dispatch(im.Event{Type: im.ChannelClosed, Conversation: c, Space: theSpace, User: u, To: u}, churn)
		m.flip(c, u)
	case 3:
		// Users who gain sight of the channel get the event, and so do users who lose it.
		gain := make(map[im.UserID]bool)
		lose := make(map[im.UserID]bool)
		for _, u := range []im.UserID{user(), user(), user()} {
			if m.members[c][u] {
				lose[u] = true
			} else if !gain[u] {
				gain[u] = true
				m.flip(c, u)
			}
		}
		m.dispatch(im.Event{Type: im.ChannelUpdated, Conversation: c, Space: theSpace}, churn)
		for u := range lose {
			if !gain[u] {
				m.flip(c, u)
			}
		}
	}
}

// check checks the invariants of the audience.
func (m *audienceModel) check() {
	m.t.Helper()
	a := m.a
	online := 0
	for u, streams := range m.streams {
		if len(streams) > 0 {
			online++
		}
		if got := a.users[u]; (got != nil) != (len(streams) > 0) {
			m.t.Fatalf("%v has %d streams, audience has %v", u, len(streams), got)
		}
	}
	if len(a.users) != online {
		m.t.Fatalf("%d users, want %d", len(a.users), online)
	}
	if len(a.arrivals) != len(a.numbers) || len(a.arrivals) > 64+2*online {
		m.t.Fatalf("%d arrivals of %d users", len(a.arrivals), online)
	}
	if len(a.conversations) > a.limit || len(a.conversations) != a.recent.Len() {
		m.t.Fatalf("%d conversations, %d recent", len(a.conversations), a.recent.Len())
	}
	inSpaces := 0
	for _, in := range a.children {
		inSpaces += len(in)
		for c := range in {
			if a.conversations[c.id] != c {
				m.t.Fatalf("children have conversation %d, which was dropped", c.id)
			}
		}
	}
	for _, c := range a.conversations {
		if inSpace(c.id) {
			inSpaces--
		}
	}
	if inSpaces > 0 {
		m.t.Fatalf("%d conversations too many in spaces", inSpaces)
	}
	held := 0
	for _, c := range a.conversations {
		held += len(c.members)
		for u := range c.members {
			if a.users[u.id] != u {
				m.t.Fatalf("conversation %d has member %v, who is offline", c.id, u.id)
			}
		}
	}
	for _, u := range a.users {
		held -= len(u.conversations)
		for _, c := range u.conversations {
			if _, ok := c.members[u]; !ok || a.conversations[c.id] != c {
				m.t.Fatalf("%v has conversation %d, of which they are not a member", u.id, c.id)
			}
		}
	}
	if held != 0 {
		m.t.Fatalf("members and their conversations differ by %d", held)
	}
}

// changeGroup dispatches an event about a group or its members.
func (m *audienceModel) changeGroup(what int, e im.Event, user func() im.UserID, churn func()) {
	c := e.Conversation
	switch what {
	case 6:
		e.Type, e.User = im.MemberAdded, user()
		if rand.N(3) == 0 {
			e.To = e.User
		}
		if !m.members[c][e.User] {
			m.dispatch(e, churn)
		}
	case 7:
		e.Type, e.User = im.MemberRemoved, user()
		if rand.N(3) == 0 {
			e.To = e.User
		}
		if m.members[c][e.User] {
			m.dispatch(e, churn)
		}
	case 10:
		e.Type = im.ConversationUpdated
		switch rand.N(4) {
		case 0:
			e.To = user()
		case 1:
			e.To, e.Own = user(), &im.OwnSettings{Pinned: true}
		}
		m.dispatch(e, churn)
	case 14:
		if rand.N(4) == 0 {
			e.Type, e.Gone = im.ConversationDeleted, []im.ID{e.Conversation}
		}
		m.dispatch(e, churn)
	}
}

func TestAudienceAgainstModel(t *testing.T) {
	for seed := range 40 {
		m := &audienceModel{
			t: t, a: newAudience([]int{1, 2, 100}[seed%3]),
			members: make(map[im.ID]map[im.UserID]bool),
			stays:   make(map[im.ID]map[im.UserID][]im.Interval),
			history: make(map[im.ID]im.History),
			streams: make(map[im.UserID][]*Subscription),
			now:     time.Unix(1, 0),
		}
		users := 3 + 40*(seed%2)
		user := func() im.UserID { return im.UserID(fmt.Sprint("u", rand.N(users))) }
		churn := func() {
			for range rand.N(3) {
				if rand.N(2) == 0 {
					m.online(user())
				} else {
					m.offline(user())
				}
			}
		}
		for range 2000 {
			c := im.ID(1 + rand.N(4))
			e := im.Event{Type: im.MessageCreated, Conversation: c}
			switch what := rand.N(18); what {
			case 16, 17:
				m.changeVisibility(user, churn)
			case 6, 7, 10, 14: // only for groups
				if inSpace(c) {
					c -= 2
					e.Conversation = c
				}
				m.changeGroup(what, e, user, churn)
			case 0, 1, 2:
				m.online(user())
			case 3, 4, 5:
				m.offline(user())
			case 8:
				e.To = user()
				m.dispatch(e, churn)
			case 9:
				m.now = m.now.Add(conversationIdle / 3)
			case 11, 12, 13: // an older message is revoked
				e.Type, e.MessageID, e.Seq = im.MessageRevoked, 1, rand.Int64N(m.lastSeq+1)
				for range rand.N(4) {
					e.HiddenBy = append(e.HiddenBy, user())
				}
				if rand.N(4) == 0 {
					e.To = user()
				}
				m.dispatch(e, churn)
			default:
				m.lastSeq++
				e.MessageID, e.Seq = 1, m.lastSeq
				m.dispatch(e, churn)
			}
			m.check()
			if rand.N(300) == 0 {
				m.a.forget()
			}
		}
		for u := range m.streams {
			for len(m.streams[u]) > 0 {
				m.offline(u)
			}
		}
		if len(m.a.conversations)+len(m.a.arrivals)+len(m.a.users)+m.a.recent.Len() > 0 {
			t.Errorf("state is left after all users went offline")
		}
	}
}

// Users who come online are looked up once for each conversation with events, together with all
// others who have come online.
func TestArrivalsAreLookedUpTogether(t *testing.T) {
	a := newAudience(10)
	come := func(u im.UserID) { a.add(&Subscription{actor: im.Actor{User: u}}) }
	event := func() []im.UserID {
		e := &im.Event{Conversation: 1}
		users, last := a.unchecked(e)
		a.recipients(nil, e, im.Audience{}, last, time.Now())
		return users
	}
	come("a")
	come("b")
	for _, want := range [][]im.UserID{{"a", "b"}, nil, {"c", "d"}, nil} {
		if got := event(); !slices.Equal(got, want) {
			t.Errorf("looked up %v, want %v", got, want)
		}
		if want == nil {
			come("c")
			come("d")
			come("c") // a second stream is not an arrival
		}
	}
}

func TestArrivalsOfOfflineUsersAreDropped(t *testing.T) {
	a := newAudience(10)
	a.add(&Subscription{actor: im.Actor{User: "stays"}})
	for range 50 {
		s := &Subscription{actor: im.Actor{User: "comes and goes"}}
		a.add(s)
		a.remove(s)
	}
	a.add(&Subscription{actor: im.Actor{User: "comes and goes"}})
	a.compact()
	if want := []im.UserID{"stays", "comes and goes"}; !slices.Equal(a.arrivals, want) {
		t.Errorf("arrivals are %v, want %v", a.arrivals, want)
	}
}

func TestIdleConversationsAreDropped(t *testing.T) {
	a := newAudience(1000)
	a.add(&Subscription{actor: im.Actor{User: "a"}})
	now := time.Unix(1, 0)
	for c := range im.ID(100) {
		a.recipients(nil, &im.Event{Conversation: c}, im.Audience{Members: []im.AudienceMember{{User: "a"}}[:c%2]}, 1, now)
	}
	now = now.Add(conversationIdle + 1)
	for range 50 {
		a.recipients(nil, &im.Event{Conversation: 1000}, im.Audience{}, 1, now)
	}
	if n := len(a.conversations); n != 1 {
		t.Errorf("%d conversations are kept, want the one in use", n)
	}
}
