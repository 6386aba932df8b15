package events

import (
	"cmp"
	"container/list"
	"slices"
	"sort"
	"time"

	"github.com/imapi/imapi/im"
)

// conversationIdle is how long a conversation is remembered after its last
// event. By then about as many users have arrived as would have to be looked
// up anew.
const conversationIdle = time.Hour

// audience knows who is online, which of them are members of the conversations
// that have news, and what they may see there. Its methods do not lock; the
// hub does.
//
// Opening a stream costs the same however many conversations its user has:
// nothing is looked up. Instead a conversation remembers who had arrived when
// it last had an event, and at its next one those who have arrived since are
// looked up together, as of that event. From there on the events themselves
// say who goes, and who comes: those are looked up with the event that says
// so, for it does not say from which message on they see.
type audience struct {
	users map[im.UserID]*user

	// arrivals are the users who came online, in that order, the newest last;
	// those who left again, too, until there are too many of them. The slices
	// are only appended to or replaced, so that the dispatcher may read a part
	// of one without a lock. numbers rise, with holes.
	arrivals []im.UserID
	numbers  []uint64
	last     uint64

	conversations map[im.ID]*conversation
	// within are those of them that hang in something, by the space, or else by the
	// group: who is told of them may change without an event of their own.
	within map[im.ID]map[*conversation]struct{}
	recent *list.List // of *conversation, the one with the newest event first
	limit  int
}

// user is somebody with at least one stream.
type user struct {
	id            im.UserID
	streams       []*Subscription
	conversations []*conversation // those that hold the user as a member
	arrival       uint64
}

// conversation is one that had an event while somebody was online.
type conversation struct {
	id      im.ID
	in      im.ID           // within this, 0 if it hangs in nothing
	members map[*user]sight // the online ones who had arrived by checked
	checked uint64
	used    time.Time
	place   *list.Element
}

func newAudience(limit int) *audience {
	return &audience{
		users:         make(map[im.UserID]*user),
		conversations: make(map[im.ID]*conversation),
		within:        make(map[im.ID]map[*conversation]struct{}),
		recent:        list.New(),
		limit:         limit,
	}
}

// add puts a stream to its user, who comes online with the first one.
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

// remove takes a stream from its user, who is gone with the last one.
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

// compactIfMany compacts the arrivals once most of them are of no use.
func (a *audience) compactIfMany() {
	if len(a.arrivals) > 64 && len(a.arrivals) > 2*len(a.users) {
		a.compact()
	}
}

// recheck has every conversation look the user up at its next event, as if they had
// just come online. Where they are known to be told they go on being.
func (a *audience) recheck(u *user) {
	a.last++
	u.arrival = a.last
	a.arrivals = append(a.arrivals, u.id)
	a.numbers = append(a.numbers, u.arrival)
	a.compactIfMany()
}

// compact drops the arrivals of those who have left.
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

// forget drops what is known of all conversations.
func (a *audience) forget() {
	for _, u := range a.users {
		u.conversations = nil
	}
	clear(a.conversations)
	clear(a.within)
	a.recent.Init()
}

// unchecked returns the users of whom it is not known whether they are members
// of the event's conversation and what they see there, and the number of the
// last to arrive, for [audience.told]. Some may have left, some are named twice.
func (a *audience) unchecked(e *im.Event) (users []im.UserID, last uint64) {
	var checked uint64
	// It is told to those who could see the channel before, and to those who can
	// after it, of whom nothing is known.
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

// told appends the streams that an event is for to dst, and follows what the
// event says of members. Of those whom unchecked returned with last, found were
// members at the event's position.
func (a *audience) told(dst []*Subscription, e *im.Event, found im.Audience, last uint64, now time.Time) []*Subscription {
	if e.To != "" {
		// Whose business it is does not change what it says of the members.
		a.follow(a.conversations[e.Conversation], e)
		if slices.Contains(e.HiddenBy, e.To) {
			return dst
		}
		return appendStreams(dst, a.users[e.To], e)
	}
	c := a.use(e.Conversation, now)
	c.checked = max(c.checked, last)
	a.hang(c, cmp.Or(found.Conversation.Space, found.Conversation.Parent))
	for i := range found.Members {
		m := &found.Members[i]
		a.join(c, a.users[m.User], sightOf(&found.Conversation, m))
	}
	hidden := a.online(e.HiddenBy)
	for u, s := range c.members {
		if !hidden[u] && (e.MessageID == 0 || s.sees(e.Seq)) {
			dst = appendStreams(dst, u, e)
		}
	}
	// Not before, for who is removed was a member up to and including this.
	a.follow(c, e)
	return dst
}

// latecomers moves the streams of those to the end of a list of [audience.told] who are
// published the event without its activity, and returns how many others there are.
func (a *audience) latecomers(e *im.Event, told []*Subscription) int {
	c := a.conversations[e.Conversation]
	if e.Type != im.ThreadUpdated || e.Activity == nil || c == nil {
		return len(told)
	}
	n := 0
	for i, s := range told {
		if !e.Activity.Since.Before(c.members[a.users[s.actor.User]].joined) {
			told[n], told[i] = told[i], told[n]
			n++
		}
	}
	return n
}

// follow changes what is known of conversations as an event of c says, which may
// not be known itself.
func (a *audience) follow(c *conversation, e *im.Event) {
	a.followSpace(e)
	if e.Type == im.ConversationUpdated && e.Own == nil {
		a.dropWithin(e.Conversation)
	}
	for _, id := range e.Gone {
		if gone := a.conversations[id]; gone != nil {
			a.drop(gone) // nobody is a member any more
		}
	}
	if c == nil || a.conversations[c.id] != c {
		return
	}
	switch {
	case e.Type == im.MemberRemoved:
		a.leave(c, a.users[e.User])
	case e.Type == im.ConversationUpdated && e.Own == nil:
		// It may be another history that they see now, also of its threads: the next
		// event finds out.
		a.drop(c)
	case e.Type == im.MemberAdded && e.To != "":
		// Somebody who was not looked up with this.
		if u := a.users[e.User]; u != nil {
			a.recheck(u)
		}
	}
}

// followSpace does the same to the channels of a space, and what hangs in those, as
// an event says that is none of theirs.
func (a *audience) followSpace(e *im.Event) {
	in := a.within[e.Space]
	if e.Space == 0 || len(in) == 0 {
		return
	}
	switch e.Type {
	case im.RoleCreated, im.RoleUpdated, im.RoleDeleted, im.ChannelUpdated:
		// It may be others who see them now: the next event finds out.
		a.dropWithin(e.Space)
	case im.MemberAdded, im.MemberRemoved, im.MemberUpdated, im.ChannelOpened, im.ChannelClosed:
		u := a.users[e.User]
		if u == nil || e.To == "" { // of a thread, which says it itself
			return
		}
		for c := range in {
			a.leave(c, u)
		}
		a.recheck(u)
	default: // nothing that decides who sees a channel
	}
}

// hang notes what a conversation hangs in; 0 is nothing.
func (a *audience) hang(c *conversation, in im.ID) {
	if in == 0 || c.in != 0 {
		return
	}
	c.in = in
	all := a.within[in]
	if all == nil {
		all = make(map[*conversation]struct{})
		a.within[in] = all
	}
	all[c] = struct{}{}
}

// dropWithin forgets what is known of the conversations that hang in something.
func (a *audience) dropWithin(id im.ID) {
	for c := range a.within[id] {
		a.drop(c)
	}
}

// online returns those of the users who are online, nil for none.
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

func (a *audience) join(c *conversation, u *user, s sight) {
	if u == nil {
		return
	}
	if _, ok := c.members[u]; !ok {
		u.conversations = append(u.conversations, c)
	}
	c.members[u] = s
}

func (a *audience) leave(c *conversation, u *user) {
	if u == nil {
		return
	}
	if _, ok := c.members[u]; !ok {
		return
	}
	delete(c.members, u)
	i := slices.Index(u.conversations, c)
	n := len(u.conversations) - 1
	u.conversations[i] = u.conversations[n]
	u.conversations[n] = nil
	u.conversations = u.conversations[:n]
}

// use returns the conversation, which becomes the most recent one, and drops
// the least recent if it is one too many or idle.
func (a *audience) use(id im.ID, now time.Time) *conversation {
	c := a.conversations[id]
	if c == nil {
		c = &conversation{id: id, members: make(map[*user]sight)}
		c.place = a.recent.PushFront(c)
		a.conversations[id] = c
	} else {
		a.recent.MoveToFront(c.place)
	}
	c.used = now
	// Two at a time, so that idle ones go faster than new ones come.
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
	a.recent.Remove(c.place)
	delete(a.conversations, c.id)
	if all := a.within[c.in]; all != nil {
		if delete(all, c); len(all) == 0 {
			delete(a.within, c.in)
		}
	}
}

// appendStreams appends a user's streams to dst but for those on the device
// that caused the event.
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
