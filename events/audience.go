package events

import (
	"cmp"
	"container/list"
	"slices"
	"sort"
	"time"

	"github.com/imapi/imapi/im"
)

// conversationIdle is the time for which the members of a conversation are remembered after its
// last event. By then so many users have come online that looking them up costs about as much as
// looking up everyone.
const conversationIdle = time.Hour

// audience knows which users are online, which of them are members of the conversations
// that have events, and which messages they see there. The hub locks it.
//
// Opening a stream looks nothing up, so its cost does not depend on the number of
// conversations of its user. Instead, the first event of a conversation looks up which of
// the online users are members. Each later event looks up only the users who came online
// since the previous one, all in one call. In between, events about members keep the set up
// to date. A user who joins is looked up, because the event does not say from which
// message on they see the conversation.
type audience struct {
	users map[im.UserID]*user

	// arrivals are the users who came online, the newest last, and numbers their
	// arrival numbers, which rise. Users who went offline stay in until compact. Both
	// slices are only appended to or replaced: the dispatcher reads parts of them without
	// a lock.
	arrivals []im.UserID
	numbers  []uint64
	last     uint64 // the number of the newest arrival

	conversations map[im.ID]*conversation
	// children are the channels and threads among the conversations, by their space or
	// parent: an event there may change who sees them.
	children map[im.ID]map[*conversation]struct{}
	recent   *list.List // of *conversation, the one with the newest event first
	limit    int

	transients uint64 // the number of the newest transient event
}

// user is a user with at least one stream.
type user struct {
	id            im.UserID
	streams       []*Subscription
	conversations []*conversation // those whose members include the user
	arrival       uint64
}

// conversation is a conversation that had an event while a user was online.
type conversation struct {
	id      im.ID
	parent  im.ID                  // its space or parent, 0 for none
	members map[*user]visibleRange // the online members among arrivals up to checked
	checked uint64
	used    time.Time
	entry   *list.Element
}

func newAudience(limit int) *audience {
	return &audience{
		users:         make(map[im.UserID]*user),
		conversations: make(map[im.ID]*conversation),
		children:      make(map[im.ID]map[*conversation]struct{}),
		recent:        list.New(),
		limit:         limit,
	}
}

// add adds a stream. Its user comes online with the first one.
func (a *audience) add(s *Subscription) {
	u := a.users[s.actor.User]
	if u == nil {
		a.last++
		u = &user{id: s.actor.User, arrival: a.last}
		a.users[u.id] = u
		a.arrivals = append(a.arrivals, u.id)
		a.numbers = append(a.numbers, u.arrival)
	}
	u.streams = append(u.streams, s)
}

// remove removes a stream. Its user goes offline with the last one.
func (a *audience) remove(s *Subscription) {
	u := a.users[s.actor.User]
	if u == nil {
		return
	}
	i := slices.Index(u.streams, s)
	if i < 0 {
		return
	}
	u.streams = slices.Delete(u.streams, i, i+1)
	if len(u.streams) > 0 {
		return
	}
	delete(a.users, u.id)
	for _, c := range u.conversations {
		delete(c.members, u)
	}
	u.conversations = nil
	if len(a.users) == 0 {
		a.forget()
		a.arrivals, a.numbers = nil, nil
		return
	}
	a.compactIfMany()
}

// compactIfMany compacts the arrivals once most of them are outdated.
func (a *audience) compactIfMany() {
	if len(a.arrivals) > 64 && len(a.arrivals) > 2*len(a.users) {
		a.compact()
	}
}

// recheck makes every conversation look the user up at its next event, as if the user had just come
// online. Until then, existing memberships stay.
func (a *audience) recheck(u *user) {
	a.last++
	u.arrival = a.last
	a.arrivals = append(a.arrivals, u.id)
	a.numbers = append(a.numbers, u.arrival)
	a.compactIfMany()
}

// compact drops the arrivals of users who went offline or arrived again.
func (a *audience) compact() {
	arrivals := make([]im.UserID, 0, len(a.users)*3/2)
	numbers := make([]uint64, 0, cap(arrivals))
	for i, id := range a.arrivals {
		if u := a.users[id]; u != nil && u.arrival == a.numbers[i] {
			arrivals = append(arrivals, id)
			numbers = append(numbers, a.numbers[i])
		}
	}
	a.arrivals, a.numbers = arrivals, numbers
}

// forget drops all conversations and the unwritten transient events of all users.
func (a *audience) forget() {
	for _, u := range a.users {
		u.conversations = nil
		a.dropTransients(u)
	}
	clear(a.conversations)
	clear(a.children)
	a.recent.Init()
}

// unchecked returns the users who have to be looked up to find the recipients of an
// event, and the number of the newest arrival, for [audience.recipients]. Users may be
// offline by now, or be named twice.
func (a *audience) unchecked(e *im.Event) (users []im.UserID, last uint64) {
	var checked uint64
	// An updated channel may have become visible to users who were not members: all have
	// to be looked up.
	if c := a.conversations[e.Conversation]; c != nil && e.Type != im.ChannelUpdated {
		checked = c.checked
	}
	i := sort.Search(len(a.numbers), func(i int) bool { return a.numbers[i] > checked })
	users = slices.Clip(a.arrivals[i:])
	if e.Type == im.MemberAdded && a.users[e.User] != nil {
		users = append(users, e.User)
	}
	return users, a.last
}

// recipients appends the streams that get an event to dst, and updates the members by what
// the event says. found are the members, at the position of the event, among the users
// that unchecked returned together with last.
func (a *audience) recipients(dst []*Subscription, e *im.Event, found im.Audience, last uint64, now time.Time) []*Subscription {
	if e.To != "" {
		// Even an event for a single user may change members.
		a.follow(a.conversations[e.Conversation], e)
		if slices.Contains(e.HiddenBy, e.To) {
			return dst
		}
		return appendStreams(dst, a.users[e.To], e)
	}
	c := a.use(e.Conversation, now)
	c.checked = max(c.checked, last)
	a.setParent(c, cmp.Or(found.Conversation.Space, found.Conversation.Parent))
	for i := range found.Members {
		m := &found.Members[i]
		a.join(c, a.users[m.User], visibleRangeOf(&found.Conversation, m))
	}
	hidden := a.online(e.HiddenBy)
	for u, r := range c.members {
		if !hidden[u] && (e.MessageID == 0 || r.includes(e.Seq)) {
			dst = appendStreams(dst, u, e)
		}
	}
	// After collecting them: a removed member gets the event of the removal.
	a.follow(c, e)
	return dst
}

// partition moves the streams of some users to the end: of those who joined after the activity
// of an updated thread had begun. These users get the event without the activity. It returns
// the number of the other streams.
func (a *audience) partition(e *im.Event, streams []*Subscription) int {
	c := a.conversations[e.Conversation]
	if e.Type != im.ThreadUpdated || e.Activity == nil || c == nil {
		return len(streams)
	}
	n := 0
	for i, s := range streams {
		if !e.Activity.Since.Before(c.members[a.users[s.actor.User]].joined) {
			streams[n], streams[i] = streams[i], streams[n]
			n++
		}
	}
	return n
}

// follow updates the conversations by what an event of c says. c may be nil.
func (a *audience) follow(c *conversation, e *im.Event) {
	a.followSpace(e)
	if e.Type == im.ConversationUpdated && e.Own == nil {
		a.dropChildren(e.Conversation)
	}
	for _, id := range e.Gone {
		if deleted := a.conversations[id]; deleted != nil {
			a.drop(deleted) // it no longer has members
		}
	}
	if c == nil || a.conversations[c.id] != c {
		return
	}
	switch {
	case e.Type == im.MemberRemoved:
		a.leave(c, a.users[e.User])
	case e.Type == im.ConversationUpdated && e.Own == nil:
		// The history setting may have changed, which decides what members see. The
		// next event looks them up.
		a.drop(c)
	case e.Type == im.MemberAdded && e.To != "":
		// An event for one user looks nobody up.
		if u := a.users[e.User]; u != nil {
			a.recheck(u)
		}
	case e.Type == im.ConversationCreated && e.To != "":
		// The user has joined a direct conversation that had only the other member.
		if u := a.users[e.To]; u != nil {
			a.recheck(u)
		}
	}
}

// followSpace updates the channels and threads of a space by what an event of the space
// says.
func (a *audience) followSpace(e *im.Event) {
	children := a.children[e.Space]
	if e.Space == 0 || len(children) == 0 {
		return
	}
	switch e.Type {
	case im.RoleCreated, im.RoleUpdated, im.RoleDeleted, im.ChannelUpdated:
		// Other members may see them now. The next event looks them up.
		a.dropChildren(e.Space)
	case im.MemberAdded, im.MemberRemoved, im.MemberUpdated, im.ChannelOpened, im.ChannelClosed:
		u := a.users[e.User]
		if u == nil || e.To == "" { // in a thread, which follow updates
			return
		}
		for c := range children {
			a.leave(c, u)
		}
		a.recheck(u)
	default: // nothing that decides who sees a channel
	}
}

// setParent records the space or parent of a conversation; 0 is none.
func (a *audience) setParent(c *conversation, parent im.ID) {
	if parent == 0 || c.parent != 0 {
		return
	}
	c.parent = parent
	siblings := a.children[parent]
	if siblings == nil {
		siblings = make(map[*conversation]struct{})
		a.children[parent] = siblings
	}
	siblings[c] = struct{}{}
}

// dropChildren drops the channels and threads of a space or parent.
func (a *audience) dropChildren(id im.ID) {
	for c := range a.children[id] {
		a.drop(c)
	}
}

// online returns the users who are online.
func (a *audience) online(users []im.UserID) map[*user]bool {
	if len(users) == 0 {
		return nil
	}
	online := make(map[*user]bool, len(users))
	for _, id := range users {
		if u := a.users[id]; u != nil {
			online[u] = true
		}
	}
	return online
}

func (a *audience) join(c *conversation, u *user, r visibleRange) {
	if u == nil {
		return
	}
	if _, ok := c.members[u]; !ok {
		u.conversations = append(u.conversations, c)
	}
	c.members[u] = r
}

// leave removes a user from the members of a conversation.
func (a *audience) leave(c *conversation, u *user) {
	if u == nil {
		return
	}
	if _, ok := c.members[u]; !ok {
		return
	}
	a.dropTransients(u)
	delete(c.members, u)
	i := slices.Index(u.conversations, c)
	n := len(u.conversations) - 1
	u.conversations[i] = u.conversations[n]
	u.conversations[n] = nil
	u.conversations = u.conversations[:n]
}

// use returns a conversation and makes it the most recent one. It drops the least recent
// ones if there are too many or they are idle.
func (a *audience) use(id im.ID, now time.Time) *conversation {
	c := a.conversations[id]
	if c == nil {
		c = &conversation{id: id, members: make(map[*user]visibleRange)}
		c.entry = a.recent.PushFront(c)
		a.conversations[id] = c
	} else {
		a.recent.MoveToFront(c.entry)
	}
	c.used = now
	// Drop up to two, so that idle ones are dropped faster than new ones are added.
	for range 2 {
		oldest := a.recent.Back().Value.(*conversation)
		if len(a.conversations) <= a.limit && now.Sub(oldest.used) <= conversationIdle {
			break
		}
		if oldest != c {
			a.drop(oldest)
		}
	}
	return c
}

func (a *audience) drop(c *conversation) {
	for u := range c.members {
		a.leave(c, u)
	}
	a.recent.Remove(c.entry)
	delete(a.conversations, c.id)
	if siblings := a.children[c.parent]; siblings != nil {
		if delete(siblings, c); len(siblings) == 0 {
			delete(a.children, c.parent)
		}
	}
}

// appendStreams appends the streams of a user to dst, except those of the device that
// caused the event.
func appendStreams(dst []*Subscription, u *user, e *im.Event) []*Subscription {
	if u == nil {
		return dst
	}
	for _, s := range u.streams {
		if !s.actor.ActedHere(e.Actor, e.ActorDevice) {
			dst = append(dst, s)
		}
	}
	return dst
}
