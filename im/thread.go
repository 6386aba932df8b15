package im

import (
	"context"
	"time"
)

// CreateThread makes a thread under a message of a group or channel, of which the
// actor is the first member, and tells all members of that. A message has one.
func (s *Service) CreateThread(ctx context.Context, actor Actor, message ID, name string) (ConversationView, error) {
	if err := checkName(name, MaxThreadName); err != nil {
		return ConversationView{}, err
	}
	return write(ctx, s, func(tx Tx) (ConversationView, error) {
		parent, me, m, err := s.readable(tx, actor, message)
		if err != nil {
			return ConversationView{}, err
		}
		if err := s.allowThread(tx, parent, me, m); err != nil {
			return ConversationView{}, err
		}
		now := s.time()
		if err := slowDown(tx, parent, me, now); err != nil {
			return ConversationView{}, err
		}
		c, err := s.newConversation(tx, Thread, actor, now)
		if err != nil {
			return ConversationView{}, err
		}
		c.Name, c.Parent, c.Root, c.Space = name, parent.ID, m.ID, parent.Space
		c.Retention, c.ActiveAt = parent.Retention, now
		if err := tx.CreateConversation(c); err != nil {
			return ConversationView{}, err
		}
		at, err := tx.Append(c.event(created, actor, now))
		if err != nil {
			return ConversationView{}, err
		}
		if err := tx.AddMember(Membership{Conversation: c.ID, User: actor.User, Role: Member, JoinedAt: now}, at); err != nil {
			return ConversationView{}, err
		}
		return s.seen(tx, actor, c.ID)
	})
}

// allowThread refuses a thread under a message as of now.
func (s *Service) allowThread(r Reader, parent Conversation, me Access, m Message) error {
	if parent.Kind != Group && parent.Kind != Channel || m.VisibleTo != "" {
		return Refuse(Rule, "thread_unsupported", "threads hang under messages of groups and channels")
	}
	if err := allowSpeaking(parent, me, PermissionCreateThread); err != nil {
		return err
	}
	if m.State != Active {
		return errErased(m.State)
	}
	_, found, err := maybe(r.ThreadOf(m.ID))
	if err == nil && found {
		err = Refuse(Conflict, "thread_exists", "the message has a thread already")
	}
	return err
}

// ThreadUnder returns the thread under a message.
func (s *Service) ThreadUnder(ctx context.Context, actor Actor, message ID) (ConversationView, error) {
	return view(ctx, s, func(r Reader) (ConversationView, error) {
		_, _, m, err := s.readable(r, actor, message)
		if err != nil {
			return ConversationView{}, err
		}
		c, found, err := maybe(r.ThreadOf(m.ID))
		if err == nil && !found {
			err = Refuse(NotFound, "thread_not_found", "the message has no thread")
		}
		if err != nil {
			return ConversationView{}, err
		}
		return s.seen(r, actor, c.ID)
	})
}

// Threads returns a page of the threads of a group or channel, the newest first,
// by id; before is the last of the page before, 0 begins. Next has its ID alone.
func (s *Service) Threads(ctx context.Context, actor Actor, ref ConversationRef, before ID, limit int) (ConversationPage, error) {
	return view(ctx, s, func(r Reader) (ConversationPage, error) {
		c, _, err := s.enter(r, actor, ref)
		if err != nil {
			return ConversationPage{}, err
		}
		list, err := r.Threads(c.ID, before, limit+1)
		if err != nil {
			return ConversationPage{}, err
		}
		return s.lookAll(r, actor, list, limit)
	})
}

// MyThreads is Threads for all threads that the actor has joined.
func (s *Service) MyThreads(ctx context.Context, actor Actor, before ID, limit int) (ConversationPage, error) {
	return view(ctx, s, func(r Reader) (ConversationPage, error) {
		list, err := r.JoinedThreads(actor.User, before, limit+1)
		if err != nil {
			return ConversationPage{}, err
		}
		return s.lookAll(r, actor, list, limit)
	})
}

// lookAll makes a page of those of a list that the actor can see now. It was
// asked for one more than the page looks at, and the page may be short.
func (s *Service) lookAll(r Reader, actor Actor, list []Conversation, limit int) (ConversationPage, error) {
	var page ConversationPage
	size := 0
	for i, c := range list {
		if i == limit || size >= enoughContent {
			page.Next = &ConversationKey{ID: list[i-1].ID}
			break
		}
		me, err := s.access(r, c, actor.User)
		if err != nil {
			return page, err
		}
		if !me.Can(PermissionView) {
			continue
		}
		v, err := s.look(r, c, me)
		if err != nil {
			return page, err
		}
		if v.LastMessage != nil {
			size += v.LastMessage.size()
		}
		page.Items = append(page.Items, v)
	}
	return page, nil
}

// threadsAtOnce is the most threads that one transaction takes a user out of, who may
// have joined any number.
const threadsAtOnce = 100

// leaveThreads takes a user out of the threads that hang in a group or space that they
// leave: who cannot see that any more has lost them. It reports whether there are more
// than one step does.
func (s *Service) leaveThreads(tx Tx, actor Actor, c Conversation, user UserID) (more bool, err error) {
	if c.Kind != Group && c.Kind != Space {
		return false, nil
	}
	list, err := tx.JoinedBelow(user, c.ID, threadsAtOnce+1)
	if err != nil {
		return false, err
	}
	step := s.pace()
	for i, id := range list {
		if i == threadsAtOnce || i > 0 && step.over() {
			return true, nil
		}
		t, err := tx.Conversation(id)
		if err != nil {
			return false, err
		}
		if err := s.endMembership(tx, actor, t, MemberView{User: user}); err != nil {
			return false, err
		}
	}
	return false, nil
}

// newInThread counts a message that is new in a thread.
func (s *Service) newInThread(tx Tx, actor Actor, c Conversation, at time.Time) error {
	c.Messages++
	c.ActiveAt = at
	return s.putActivity(tx, actor, c, s.time())
}

// lessInThread counts messages that are not in a thread any more, and looks for the
// newest that is.
func (s *Service) lessInThread(tx Tx, actor Actor, id ID, n int) error {
	c, err := tx.Conversation(id)
	if err != nil || c.Kind != Thread || n == 0 || !c.DeletedAt.IsZero() {
		return err
	}
	newest, found, err := tx.LastActive(id)
	if err != nil {
		return err
	}
	if !found {
		newest = c.CreatedAt
	}
	c.Messages, c.ActiveAt = c.Messages-int64(n), newest
	return s.putActivity(tx, actor, c, s.time())
}

// putActivity stores what a thread holds and tells the members of the place that
// it hangs in, which need not have joined it.
func (s *Service) putActivity(tx Tx, actor Actor, c Conversation, now time.Time) error {
	if err := tx.PutActivity(c.ID, c.Messages, c.ActiveAt); err != nil {
		return err
	}
	_, err := tx.Append(c.event(updated, actor, now))
	return err
}
