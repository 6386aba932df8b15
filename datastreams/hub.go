package datastreams

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/imapi/imapi/im"
)

// Hub runs data streams. It is safe for concurrent use.
type Hub struct {
	opts  Options
	began time.Time

	bytes                   atomic.Int64 // of all buffers
	pushed, delivered, lost atomic.Int64 // frames
	shrinking               sync.Mutex
	// stuck is the duration of a write after which publishers stop waiting for its reader, and
	// patience the longest that they wait in all. Only tests change them.
	stuck, patience time.Duration

	changes changes
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	numbers     int64
	streams     map[im.DataStreamID]*stream // running and remembered ones
	running     int
	ownedBy     map[im.UserID]int // running ones
	endedBy     [len(reasons)]int64
	remembered  []*stream // in the order of their ends
	attachments int
	readers     int // of the attachments
	attachedBy  map[im.UserID]int
	paces       map[im.UserID]*rate.Limiter
}

// reasons are the reasons that [Stats] counts.
var reasons = [...]im.StreamEndReason{
	im.StreamEndedByOwner, im.StreamEndedIdle, im.StreamEndedByMessage, im.StreamDeleted, im.StreamEndedByServer,
}

// NewHub returns a hub. The caller must pass all commits to [Hub.Committed], and call [Hub.Close]
// in the end.
func NewHub(o Options) *Hub {
	h := &Hub{
		opts: o.withDefaults(), began: time.Now(), stuck: stuck, patience: patience,
		streams: make(map[im.DataStreamID]*stream), ownedBy: make(map[im.UserID]int),
		attachedBy: make(map[im.UserID]int), paces: make(map[im.UserID]*rate.Limiter),
		changes: newChanges(),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.done.Go(h.watch)
	h.done.Go(h.check)
	return h
}

// age returns the time since the hub was created, by the monotonic clock; it is never 0. Were the
// times of writes taken from the wall clock, setting it would make readers that keep up look stuck,
// and cost them frames.
func (h *Hub) age() time.Duration { return max(time.Since(h.began), 1) }

// Stats are figures of a hub.
type Stats struct {
	Streams, Readers, Publishers int
	Bytes                        int64
	Pushed, Delivered, Lost      int64
	Ended                        map[im.StreamEndReason]int64
}

// Stats returns the figures of the hub: the current state, and counts since it was created.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := Stats{
		Streams: h.running, Bytes: h.bytes.Load(), Pushed: h.pushed.Load(), Delivered: h.delivered.Load(), Lost: h.lost.Load(),
		Ended: make(map[im.StreamEndReason]int64, len(reasons)),
	}
	st.Readers, st.Publishers = h.readers, h.attachments-h.readers
	for i, r := range reasons {
		st.Ended[r] = h.endedBy[i]
	}
	return st
}

// Create starts a data stream. It refuses an invalid draft, an owner other than the actor unless
// the actor is an admin, a conversation that the owner cannot see or may not send to, and too many
// data streams: an admin may exceed the limit of a user. After [Hub.Drain] the error is ErrClosed.
func (h *Hub) Create(ctx context.Context, actor im.Actor, d im.DataStreamDraft) (View, error) {
	if err := d.Check(); err != nil {
		return View{}, err
	}
	owner, err := im.ActingAs(actor, d.Owner)
	if err != nil {
		return View{}, err
	}
	var conversation im.Conversation
	if d.Conversation != nil {
		c, u, err := h.opts.Domain.StreamConversation(ctx, im.Actor{User: owner}, *d.Conversation)
		if err != nil {
			return View{}, err
		}
		if u.Speak != nil {
			return View{}, u.Speak
		}
		conversation = c
	}
	now := h.opts.Now()
	s := &stream{
		hub: h, is: im.NewDataStream(d, owner, conversation, now), clients: make(map[*attached]struct{}),
		active: now, first: 1, taken: 1,
	}
	if err := h.add(s, actor); err != nil {
		return View{}, err
	}
	// The owner may have lost the conversation before the data stream was registered, so nothing
	// would end it.
	if conversation.ID != 0 {
		h.changes.add([]im.AccessChange{{Conversation: conversation.ID, User: owner}})
	}
	s.mu.Lock()
	v, started := s.view(), s.notice(actor)
	s.mu.Unlock()
	h.publish(started)
	return v, nil
}

func (h *Hub) add(s *stream, actor im.Actor) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	mine := h.ownedBy[s.is.Owner]
	switch {
	case h.closed:
		return ErrClosed
	case h.running >= h.opts.MaxStreams:
		return errOverloaded()
	case mine >= h.opts.MaxStreamsPerUser && !actor.Admin:
		return errTooManyStreams("you have %d data streams", mine)
	}
	h.numbers++
	s.number = h.numbers
	h.streams[s.is.ID] = s
	h.running++
	h.ownedBy[s.is.Owner] = mine + 1
	return nil
}

// notice returns the notice of the state of the data stream. The caller holds mu.
func (s *stream) notice(actor im.Actor) Notice {
	n := Notice{Stream: s.is.WithoutLists(), To: s.is.Recipients(), End: s.end, Actor: actor, At: s.is.CreatedAt}
	if s.end != nil {
		n.At = s.end.At
	}
	return n
}

// publish publishes a notice to the conversation of its data stream, if it has one.
func (h *Hub) publish(n Notice) {
	if n.Stream.Conversation != 0 {
		h.opts.Publish(n)
	}
}

// find returns a data stream, even one that has ended and is remembered.
func (h *Hub) find(id im.DataStreamID) (*stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[id]
	if s == nil {
		return nil, im.ErrUnknownDataStream()
	}
	return s, nil
}

// allowed applies a rule to an actor.
func (h *Hub) allowed(ctx context.Context, s *stream, actor im.Actor, rule func(*im.DataStream, im.Actor, im.StreamUser) error) error {
	var u im.StreamUser
	if s.is.Conversation != 0 { // which never changes
		users, err := h.opts.Domain.StreamUsers(ctx, s.is.Conversation, []im.UserID{actor.User})
		if err != nil {
			return err
		}
		u = users[actor.User]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return rule(&s.is, actor, u)
}

// View returns a data stream. It refuses an actor who may not see it.
func (h *Hub) View(ctx context.Context, actor im.Actor, id im.DataStreamID) (View, error) {
	s, err := h.find(id)
	if err != nil {
		return View{}, err
	}
	if err := h.allowed(ctx, s, actor, (*im.DataStream).AllowView); err != nil {
		return View{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.viewFor(actor), nil
}

// viewFor is view for one actor: the list of readers, and an end that only its sender may know, are
// for the owner and admins. The caller holds mu.
func (s *stream) viewFor(actor im.Actor) View {
	v := s.view()
	if !actor.Admin && actor.User != s.is.Owner {
		v.Readers, v.End = nil, v.End.as(actor.User)
	}
	return v
}

// List returns the running data streams of a conversation that the actor may see, or those that the
// actor owns if ref is nil, in the order in which they were started. It returns up to limit of
// them. after is 0 for the first page, and then the next of the page before; next is 0 on the last
// page.
func (h *Hub) List(ctx context.Context, actor im.Actor, ref *im.ConversationRef, after int64, limit int) (list []View, next int64, err error) {
	var (
		conversation im.Conversation
		u            im.StreamUser
	)
	if ref != nil {
		if conversation, u, err = h.opts.Domain.StreamConversation(ctx, actor, *ref); err != nil {
			return nil, 0, err
		}
	}
	h.mu.Lock()
	found := make([]*stream, 0, len(h.streams))
	for _, s := range h.streams {
		if s.number > after && (ref == nil && s.is.Owner == actor.User || ref != nil && s.is.Conversation == conversation.ID) {
			found = append(found, s)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(found, func(a, b *stream) int { return cmp.Compare(a.number, b.number) })
	for _, s := range found {
		s.mu.Lock()
		// An admin's list, too, has only what the user of the token may see.
		if s.end == nil && (ref == nil || s.is.AllowView(im.Actor{User: actor.User}, u) == nil) {
			if len(list) == limit {
				s.mu.Unlock()
				return list, next, nil
			}
			list, next = append(list, s.viewFor(actor)), s.number
		}
		s.mu.Unlock()
	}
	return list, 0, nil
}

// Change changes the lists of a data stream. It refuses an actor who is neither the owner nor
// an admin, and a data stream that has ended. A loss of the right to read or push has taken effect
// when Change returns.
func (h *Hub) Change(ctx context.Context, actor im.Actor, id im.DataStreamID, change func(*im.DataStream) error) error {
	s, err := h.find(id)
	if err != nil {
		return err
	}
	if err := h.allowed(ctx, s, actor, (*im.DataStream).AllowManage); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return im.ErrStreamEnded(s.end.Reason)
	}
	if err := change(&s.is); err != nil {
		return err
	}
	// Only the lists changed, not what the conversation allows.
	s.enforce(func(im.UserID) (im.StreamUser, bool) { return im.StreamUser{Sees: true}, true })
	return nil
}

// enforce ends the requests of those who have lost the right to read or push. The function
// user returns what a user may do in the conversation, and false for a user who is not
// affected. The caller holds mu.
func (s *stream) enforce(user func(im.UserID) (im.StreamUser, bool)) {
	for c := range s.clients {
		u, concerned := user(c.actor.User)
		if !concerned {
			continue
		}
		rule := s.is.AllowRead
		if c.publisher != nil {
			rule = s.is.AllowMorePushes
		}
		if err := rule(c.actor, u); err != nil {
			c.kick(err)
		}
	}
}

// End ends a data stream, with a final message if draft is not nil. Repeating it sends no second
// message. It refuses an actor who is neither the owner nor an admin, a draft that
// [im.Service.Send] refuses, and a draft if the data stream has no conversation, or has ended
// without this message. A refusal does not end the data stream.
func (h *Hub) End(ctx context.Context, actor im.Actor, id im.DataStreamID, draft *im.Draft) (View, error) {
	s, err := h.find(id)
	if err != nil {
		return View{}, err
	}
	if err := h.allowed(ctx, s, actor, (*im.DataStream).AllowManage); err != nil {
		return View{}, err
	}
	s.ending.Lock()
	defer s.ending.Unlock()
	end := End{Reason: im.StreamEndedByOwner}
	if draft != nil {
		if end, err = h.sendLast(ctx, actor, s, *draft); err != nil {
			return View{}, err
		}
	}
	h.end(s, end, linger, actor)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.viewFor(actor), nil
}

// sendLast sends the final message of a data stream. The caller holds ending.
func (h *Hub) sendLast(ctx context.Context, actor im.Actor, s *stream, d im.Draft) (End, error) {
	if err := s.is.FinalMessageNeedsConversation(); err != nil {
		return End{}, err
	}
	s.mu.Lock()
	before := s.end
	s.held++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.held--
		s.mu.Unlock()
	}()
	if d.ClientID == "" {
		d.ClientID = s.is.FinalClientID()
		if before != nil && before.Message != 0 {
			d.ClientID = before.clientID
		}
	}
	// A message with a different client_id would be a second message.
	if before != nil && (before.Message == 0 || before.clientID != d.ClientID) {
		return End{}, im.ErrStreamEnded(before.Reason)
	}
	as := im.Actor{User: s.is.Owner}
	if actor.User == as.User {
		as = actor
	}
	sent, err := h.opts.Domain.Send(ctx, as, im.ConversationRef{ID: s.is.Conversation}, d)
	if err != nil {
		return End{}, err
	}
	return End{Reason: im.StreamEndedByMessage, Message: sent.Message.ID, clientID: d.ClientID, onlyFor: sent.Message.VisibleTo}, nil
}

// Delete ends a data stream and drops its buffer at once. It is not an error if the data stream has
// ended.
func (h *Hub) Delete(ctx context.Context, actor im.Actor, id im.DataStreamID) error {
	s, err := h.find(id)
	if err != nil {
		return err
	}
	if err := h.allowed(ctx, s, actor, (*im.DataStream).AllowManage); err != nil {
		return err
	}
	h.end(s, End{Reason: im.StreamDeleted}, 0, actor)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop() // readers may still be reading the rest
	return nil
}

// end ends a data stream, unless it has ended, and publishes that to its conversation.
func (h *Hub) end(s *stream, e End, lingers time.Duration, actor im.Actor) {
	h.endIf(func() bool { return true }, s, e, lingers, actor)
}

// endIf is end if a condition holds. It checks the condition while it holds mu of the data stream.
func (h *Hub) endIf(holds func() bool, s *stream, e End, lingers time.Duration, actor im.Actor) {
	h.mu.Lock()
	s.mu.Lock()
	ended := holds() && s.finish(e, lingers)
	n := s.notice(actor)
	if ended {
		h.running--
		if h.ownedBy[s.is.Owner]--; h.ownedBy[s.is.Owner] == 0 {
			delete(h.ownedBy, s.is.Owner)
		}
		h.endedBy[slices.Index(reasons[:], e.Reason)]++
		h.remembered = append(h.remembered, s)
	}
	s.mu.Unlock()
	h.mu.Unlock()
	if !ended {
		return
	}
	if e.onlyFor != "" {
		others := n
		others.End, others.Not = n.End.as(""), e.onlyFor
		h.publish(others)
		n.To = []im.UserID{e.onlyFor}
	}
	h.publish(n)
}

// all returns the data streams, including those that are remembered.
func (h *Hub) all() []*stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*stream, 0, len(h.streams))
	for _, s := range h.streams {
		list = append(list, s)
	}
	return list
}

// shrink shrinks the largest buffers if all together take too much memory.
func (h *Hub) shrink() {
	if h.bytes.Load() <= int64(h.opts.Bytes) || !h.shrinking.TryLock() {
		return
	}
	defer h.shrinking.Unlock()
	list := h.all()
	sizes := make([]int, len(list))
	for i, s := range list {
		s.mu.Lock()
		sizes[i] = s.bytes
		s.mu.Unlock()
	}
	size := level(sizes, h.opts.Bytes-h.opts.Bytes/10) // a tenth less, so that shrinking is rare
	for _, s := range list {
		s.shrinkTo(size)
	}
}

// level returns the largest size such that the sum of all sizes, each capped at it, is at most
// total.
func level(sizes []int, total int) int {
	sizes = slices.Clone(sizes)
	slices.Sort(sizes)
	for i, size := range sizes {
		left := len(sizes) - i
		if size > total/left {
			return total / left
		}
		total -= size
	}
	return total
}

// pace returns the rate limiter for what a user pushes. All requests of the user share it.
func (h *Hub) pace(user im.UserID) *rate.Limiter {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.paces[user]
	if p == nil {
		p = rate.NewLimiter(rate.Limit(h.opts.Rate), burst*h.opts.Rate)
		h.paces[user] = p
	}
	return p
}

// Drain ends all data streams and refuses new ones. Readers get the rest of the buffers and how
// their data streams ended.
func (h *Hub) Drain() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	for _, s := range h.all() {
		h.end(s, End{Reason: im.StreamEndedByServer}, lingerAtClose, im.Actor{})
	}
}

// Close ends all data streams and stops the goroutines of the hub.
func (h *Hub) Close() {
	h.Drain()
	h.cancel()
	h.done.Wait()
}
