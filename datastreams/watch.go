package datastreams

import (
	"slices"
	"sync"
	"time"

	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// watchInterval is the interval at which the hub looks for requests and data streams whose time is
// over.
const watchInterval = 250 * time.Millisecond

// watchPause is the minimum time between two such looks: an erasure causes one, and a user can
// erase thousands of messages a second. checkPause is the minimum time between two checks of lost
// rights, and checkRetry that after a failure of the store.
const (
	watchPause = 50 * time.Millisecond
	checkPause = 50 * time.Millisecond
	checkRetry = 500 * time.Millisecond
	// checkTimeout bounds a check: later ones wait for it.
	checkTimeout = 5 * time.Second
)

// changes are the changes of commits that have not been checked yet.
type changes struct {
	watch, check chan struct{} // hold a token when there is something to do

	mu      sync.Mutex
	over    over
	all     bool                             // everything may have changed
	access  map[im.ID]map[im.UserID]struct{} // nil stands for all users
	blocked []im.UserID                      // users who have been blocked by others
}

// over holds what commits have ended.
type over struct {
	cuts    []im.TokenCut
	erased  []im.ID // messages
	deleted []im.ID // conversations
}

func newChanges() changes {
	return changes{watch: make(chan struct{}, 1), check: make(chan struct{}, 1), access: make(map[im.ID]map[im.UserID]struct{})}
}

// maxChangedUsers is the maximum number of users of a conversation that are recorded individually.
const maxChangedUsers = 256

// Committed passes a commit to the hub. It must be called in the order of commits, and after the
// token verifier has learned of the cut-offs in it: a request that is attached too late for the hub
// to end it is then refused by the verifier's Recheck. It does not block.
func (h *Hub) Committed(c im.Commit) {
	list := im.AccessChanges(c)
	var erased, deleted []im.ID
	for i := range c.Events {
		if c.Events[i].Type.Erases() {
			erased = append(erased, c.Events[i].MessageID)
		}
	}
	list = slices.DeleteFunc(list, func(change im.AccessChange) bool {
		if change.Deleted {
			deleted = append(deleted, change.Conversation)
		}
		return change.Deleted
	})
	if len(c.Cuts) > 0 || len(erased) > 0 || len(deleted) > 0 {
		h.changes.mu.Lock()
		h.changes.over.deleted = append(h.changes.over.deleted, deleted...)
		h.changes.over.cuts = append(h.changes.over.cuts, c.Cuts...)
		h.changes.over.erased = append(h.changes.over.erased, erased...)
		h.changes.mu.Unlock()
		wake(h.changes.watch)
	}
	if c.Gap || len(c.Blocks) > 0 {
		h.changes.mu.Lock()
		h.changes.all = h.changes.all || c.Gap
		for _, b := range c.Blocks {
			h.changes.blocked = append(h.changes.blocked, b.User)
		}
		h.changes.mu.Unlock()
		wake(h.changes.check)
	}
	h.changes.add(list)
}

// add records changes of access.
func (c *changes) add(list []im.AccessChange) {
	if len(list) == 0 {
		return
	}
	c.mu.Lock()
	for _, change := range list {
		users, there := c.access[change.Conversation]
		switch {
		case there && users == nil: // all
		case change.User == "" || len(users) >= maxChangedUsers:
			c.access[change.Conversation] = nil
		default:
			if users == nil {
				users = make(map[im.UserID]struct{})
				c.access[change.Conversation] = users
			}
			users[change.User] = struct{}{}
		}
	}
	c.mu.Unlock()
	wake(c.check)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watch calls look at intervals, and when a commit has cut-offs, erasures or deleted conversations.
func (h *Hub) watch() {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-ticker.C:
		case <-h.changes.watch:
		}
		h.changes.mu.Lock()
		is := h.changes.over
		h.changes.over = over{}
		h.changes.mu.Unlock()
		h.look(h.opts.Now(), is)
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(watchPause):
		}
	}
}

// look ends the requests whose tokens have ended, and the data streams that are idle or whose
// conversations were deleted. It drops the buffer of an ended data stream when it has lingered, or
// when its final message was erased.
func (h *Hub) look(now time.Time, by over) {
	for _, s := range h.all() {
		s.mu.Lock()
		for c := range s.clients {
			switch {
			case !c.expiresAt.IsZero() && !now.Before(c.expiresAt):
				c.kick(ErrTokenExpired)
			case slices.ContainsFunc(by.cuts, func(cut im.TokenCut) bool { return cut.User == c.actor.User && h.isCut(c.issuedAt, cut.At) }):
				c.kick(ErrTokenCut)
			}
		}
		if e := s.end; e != nil && (!now.Before(s.dropAt) || e.Message != 0 && slices.Contains(by.erased, e.Message)) {
			s.drop()
			for c := range s.clients {
				if c.reader != nil {
					c.reader.signal()
				}
			}
		}
		deleted := s.end == nil && slices.Contains(by.deleted, s.is.Conversation)
		idle := s.isIdle(now)
		s.mu.Unlock()
		switch {
		case deleted:
			h.end(s, End{Reason: im.StreamDeleted}, 0, im.Actor{})
		case idle:
			// A frame may be pushed before endIf has the locks. It was accepted, so the data stream
			// goes on.
			h.endIf(func() bool { return s.isIdle(now) }, s, End{Reason: im.StreamEndedIdle}, linger, im.Actor{})
		}
	}
	h.forget(now)
}

// isIdle reports whether a running data stream has had no frame for its idle time. While its final
// message is being sent, it is not idle. The caller holds mu.
func (s *stream) isIdle(now time.Time) bool {
	return s.end == nil && s.held == 0 && now.Sub(s.active) >= s.is.Idle
}

// isCut reports whether a cut-off invalidates a token, as package events does.
func (h *Hub) isCut(issued, cut time.Time) bool {
	return issued.IsZero() || !issued.After(cut.Add(h.opts.Leeway))
}

// forget forgets data streams that ended a while ago, and those that ended first if there are too
// many, but keeps a data stream with requests and all that ended after it. It also forgets paces
// that allow a full burst.
func (h *Hub) forget(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, s := range h.remembered {
		s.mu.Lock()
		keep := now.Sub(s.endedAt) < remembered && len(h.remembered)-n <= mostRemembered || len(s.clients) > 0
		s.mu.Unlock()
		if !keep {
			delete(h.streams, s.is.ID)
			n++
			continue
		}
		break
	}
	h.remembered = slices.Delete(h.remembered, 0, n)
	for user, p := range h.paces {
		if p.TokensAt(time.Now()) >= float64(p.Burst()) {
			delete(h.paces, user)
		}
	}
}

// check ends the requests of users who have lost access to a conversation, and the data streams
// whose owners have lost it. It looks up the users that a commit may affect, in one goroutine for
// all data streams.
func (h *Hub) check() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.changes.check:
		}
		h.changes.mu.Lock()
		all, access, blocked := h.changes.all, h.changes.access, h.changes.blocked
		h.changes.all, h.changes.access, h.changes.blocked = false, make(map[im.ID]map[im.UserID]struct{}), nil
		h.changes.mu.Unlock()
		pause := checkPause
		for _, s := range h.all() {
			users, concerned := s.concerned(all, access, blocked)
			if !concerned {
				continue
			}
			if err := h.recheck(s, users); err != nil {
				if h.ctx.Err() != nil {
					return
				}
				h.opts.Logger.Error("rights to a data stream not checked, trying again", "error", faults.Text(err))
				h.changes.add([]im.AccessChange{{Conversation: s.is.Conversation}})
				pause = checkRetry
			}
		}
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// concerned returns the users of the data stream that changes may affect.
func (s *stream) concerned(all bool, access map[im.ID]map[im.UserID]struct{}, blocked []im.UserID) ([]im.UserID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.is.Conversation == 0 || s.end != nil && len(s.clients) == 0 {
		return nil, false
	}
	users := s.attachedUsers()
	if all {
		return users, true
	}
	found := make(map[im.UserID]bool)
	for _, u := range blocked { // perhaps by the other user of this direct conversation
		found[u] = true
	}
	for _, id := range []im.ID{s.is.Conversation, s.is.Parent, s.is.Space} {
		changed, there := access[id]
		switch {
		case id == 0 || !there:
		case changed == nil:
			return users, true
		default:
			for _, u := range users {
				if _, is := changed[u]; is {
					found[u] = true
				}
			}
		}
	}
	users = slices.DeleteFunc(users, func(u im.UserID) bool { return !found[u] })
	return users, len(users) > 0
}

// recheck ends the requests of users who have lost the right to read or push, and the data
// stream if its owner has lost the conversation.
func (h *Hub) recheck(s *stream, users []im.UserID) error {
	ctx, cancel := awake.WithTimeout(h.ctx, checkTimeout)
	defer cancel()
	ctx = im.WithCaller(ctx, im.Caller{Job: im.DeliveryJob})
	now, err := h.opts.Domain.StreamUsers(ctx, s.is.Conversation, users)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.enforce(func(user im.UserID) (im.StreamUser, bool) {
		_, asked := slices.BinarySearch(users, user)
		return now[user], asked
	})
	_, asked := slices.BinarySearch(users, s.is.Owner)
	over := asked && s.end == nil && !s.is.Outlives(now[s.is.Owner])
	s.mu.Unlock()
	if over {
		h.end(s, End{Reason: im.StreamEndedByOwner}, linger, im.Actor{})
	}
	return nil
}
