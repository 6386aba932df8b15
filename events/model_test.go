package events

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

const testLog = 7

// model is a store for tests: it commits events, records who was a member when, and
// publishes after the commit.
type model struct {
	mu      sync.Mutex
	events  []im.Event // position i+1 at i
	stays   map[im.ID]map[im.UserID][]im.Interval
	seqs    map[im.ID]int64
	joined  map[im.ID]bool // conversations that show their history from joining on
	erased  map[im.ID]*im.Message
	below   map[im.ID]int64 // messages with lower seqs than this were deleted
	hidden  map[im.UserID][]im.Event
	cut     im.Position
	publish func(im.Commit)

	stride    im.Position // the maximum number of positions that one read of the log covers, 0 for all
	onMembers func() error
	onEvents  func()

	membersReads, eventsReads, boundsReads, asked int
}

func newModel() *model {
	return &model{
		stays:   make(map[im.ID]map[im.UserID][]im.Interval),
		seqs:    make(map[im.ID]int64),
		joined:  make(map[im.ID]bool),
		erased:  make(map[im.ID]*im.Message),
		below:   make(map[im.ID]int64),
		hidden:  make(map[im.UserID][]im.Event),
		publish: func(im.Commit) {},
	}
}

// commit appends events, updates members by them, and publishes them.
func (m *model) commit(events ...im.Event) im.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.append(events...)
	m.publish(c)
	return c.Head
}

func (m *model) append(events ...im.Event) im.Commit {
	events = slices.Clone(events)
	for i := range events {
		e := &events[i]
		e.Position = im.Position(len(m.events) + 1)
		e.At = time.Now()
		if e.Type == im.MessageCreated && e.To == "" {
			m.seqs[e.Conversation]++
			e.Seq = m.seqs[e.Conversation]
			e.MessageID = cmp.Or(e.MessageID, im.ID(e.Position))
		}
		if carriesTombstone(e) {
			m.erased[e.Message.ID] = e.Message
		}
		m.events = append(m.events, *e)
		for _, r := range retractionsOf(e) {
			switch {
			case r.hiddenBy != "":
				m.hidden[e.To] = append(m.hidden[e.To], *e)
			case r.tombstone == nil:
				m.below[r.conversation] = max(m.below[r.conversation], r.below)
			}
		}
		switch e.Type {
		case im.ConversationDeleted:
			for _, stays := range m.stays[e.Conversation] {
				if n := len(stays); stays[n-1].Open() {
					stays[n-1].ToEvent, stays[n-1].ToSeq = e.Position, m.seqs[e.Conversation]
				}
			}
		case im.MemberAdded:
			if !m.memberAt(e.Conversation, e.User, e.Position) {
				m.open(e.Conversation, e.User, e.Position)
			}
		case im.MemberRemoved:
			stays := m.stays[e.Conversation][e.User]
			if n := len(stays); n > 0 && stays[n-1].Open() {
				stays[n-1].ToEvent, stays[n-1].ToSeq = e.Position, m.seqs[e.Conversation]
			}
		default: // changes no membership
		}
	}
	return im.Commit{Events: events, Head: im.Position(len(m.events))}
}

func (m *model) open(c im.ID, u im.UserID, from im.Position) {
	if m.stays[c] == nil {
		m.stays[c] = make(map[im.UserID][]im.Interval)
	}
	m.stays[c][u] = append(m.stays[c][u], im.Interval{FromEvent: from, FromSeq: m.seqs[c] + 1})
}

// create creates a conversation with its members in one event, as the use case does.
func (m *model) create(c im.ID, users ...im.UserID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	commit := m.append(im.Event{Type: im.ConversationCreated, Conversation: c})
	for _, u := range users {
		m.open(c, u, commit.Head)
	}
	m.publish(commit)
}

func (m *model) memberAt(c im.ID, u im.UserID, at im.Position) bool {
	for _, i := range m.stays[c][u] {
		if i.FromEvent <= at && (i.Open() || at <= i.ToEvent) {
			return true
		}
	}
	return false
}

func (m *model) isFor(e im.Event, a im.Actor) bool {
	switch {
	case a.ActedHere(e.Actor, e.ActorDevice), e.Seq < m.below[e.Conversation] && e.MessageID != 0:
		return false
	case e.MessageID != 0 && e.Type != im.MessageCreated && m.hides(e, a.User):
		return false
	case e.To != "":
		return e.To == a.User
	default:
		return m.memberAt(e.Conversation, a.User, e.Position) &&
			(e.MessageID == 0 || m.sees(e.Conversation, a.User, e.Seq))
	}
}

// hides reports whether a user has hidden the message of an event.
func (m *model) hides(e im.Event, u im.UserID) bool {
	return slices.ContainsFunc(m.hidden[u], func(h im.Event) bool {
		return h.Conversation == e.Conversation && hides(&h, &e)
	})
}

// sees reports whether a user may see a message: it is in one of their stays, or the
// conversation shows its whole history.
func (m *model) sees(c im.ID, u im.UserID, seq int64) bool {
	return !m.joined[c] || slices.ContainsFunc(m.stays[c][u], func(i im.Interval) bool {
		return i.FromSeq <= seq && (i.Open() || seq <= i.ToSeq)
	})
}

// erasureOfSome returns the event of an erasure of a random message of a conversation, or of one
// before its first message.
func (m *model) erasureOfSome(c im.ID) im.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	seq := rand.Int64N(m.seqs[c] + 1)
	return im.Event{Type: im.MessageRevoked, Conversation: c, MessageID: 1, Seq: seq}
}

// wanted returns the positions of the events that the actor must receive after from.
func (m *model) wanted(a im.Actor, from im.Position) []im.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ps []im.Position
	for _, e := range m.events[from:] {
		if m.isFor(e, a) {
			ps = append(ps, e.Position)
		}
	}
	return ps
}

func (m *model) head() im.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	return im.Position(len(m.events))
}

func (m *model) trim(upTo im.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = upTo
}

func (m *model) Events(_ context.Context, a im.Actor, after, upTo im.Position, limit int) (im.EventWindow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.eventsReads++
	w := im.EventWindow{Through: after, Cut: m.cut}
	for after = max(after, m.cut); w.Through < upTo && len(w.Events) < limit; {
		if m.stride > 0 && w.Through >= after+m.stride {
			break
		}
		w.Through++
		if e := m.events[w.Through-1]; w.Through > m.cut && m.isFor(e, a) {
			if e.Message != nil && m.erased[e.Message.ID] != nil {
				e.Message = m.erased[e.Message.ID]
			}
			if e.Type == im.MessageCreated && m.hides(e, a.User) {
				e.Message = nil
			}
			w.Events = append(w.Events, e)
		}
	}
	if m.onEvents != nil {
		m.onEvents()
	}
	return w, nil
}

func (m *model) LogBounds(context.Context) (im.LogBounds, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boundsReads++
	return im.LogBounds{Cut: m.cut, Head: im.Position(len(m.events))}, nil
}

func (m *model) MembersAt(_ context.Context, c im.ID, at im.Position, users []im.UserID) (im.Audience, error) {
	m.mu.Lock()
	m.membersReads++
	m.asked += len(users)
	on := m.onMembers
	m.mu.Unlock()
	if on != nil {
		if err := on(); err != nil {
			return im.Audience{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found := im.Audience{Conversation: im.Conversation{ID: c, History: im.HistoryAll}}
	if m.joined[c] {
		found.Conversation.History = im.HistoryJoined
	}
	for _, u := range users {
		if m.memberAt(c, u, at) {
			found.Members = append(found.Members, im.AudienceMember{User: u, Intervals: slices.Clone(m.stays[c][u])})
		}
	}
	return found, nil
}

func (m *model) reads() (members, log int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.membersReads, m.eventsReads + m.boundsReads
}

type testEnvelope struct {
	ID   string       `json:"id"`
	Type im.EventType `json:"type"`
	Text string       `json:"text,omitempty"`
}

func testEncode(dst []byte, e *im.Event, cursor string) []byte {
	v := testEnvelope{ID: cursor, Type: e.Type}
	if e.Message != nil {
		v.Text = "erased"
		if e.Message.Content != nil {
			v.Text = string(e.Message.Content.Body)
		}
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(dst, data...)
}

// newTestHub returns a hub that follows the model until the test ends.
func newTestHub(t testing.TB, m *model, opts Options) *Hub {
	t.Helper()
	opts.Log, opts.Head, opts.LogID = m, m.head, testLog
	if opts.Encode == nil {
		opts.Encode = testEncode
	}
	h, err := NewHub(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.publish = h.Publish
	m.mu.Unlock()
	t.Cleanup(h.Close)
	return h
}

func sent(c im.ID) im.Event { return im.Event{Type: im.MessageCreated, Conversation: c} }

func added(c im.ID, u im.UserID) im.Event {
	return im.Event{Type: im.MemberAdded, Conversation: c, User: u}
}

func removed(c im.ID, u im.UserID) im.Event {
	return im.Event{Type: im.MemberRemoved, Conversation: c, User: u}
}
