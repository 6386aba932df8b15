package im

import (
	"cmp"
	"context"
	"time"
)

// ThreadDraft is a thread to be created.
type ThreadDraft struct {
	// ClientID makes creating idempotent, unless it is "".
	ClientID string
	Name     string
}

// CreateThread creates a thread under a message of a group or channel and publishes it to all
// members of the parent. The actor is its first member. A message has at most one thread. With a
// client_id it is idempotent, as CreateGroup is.
func (s *Service) CreateThread(ctx context.Context, actor Actor, message ID, d ThreadDraft) (Created, error) {
	if err := cmp.Or(checkName(d.Name, MaxThreadName), checkClientID(d.ClientID)); err != nil {
		return Created{}, err
	}
	return write(ctx, s, func(tx Tx) (Created, error) {
		parent, me, m, err := s.readable(tx, actor, message)
		if err != nil {
			return Created{}, err
		}
		q := creation{actor: actor, clientID: d.ClientID, wanted: defaults(Thread, actor)}
		q.wanted.Name, q.wanted.Parent, q.wanted.Root = d.Name, parent.ID, m.ID
		q.wanted.Space, q.wanted.Retention = parent.Space, parent.Retention
		before, err := q.earlier(tx)
		if err != nil || before.created != 0 {
			return s.createdAgain(tx, actor, before, err)
		}
		if err := s.allowThread(tx, parent, me, m, before); err != nil {
			return Created{}, err
		}
		now := s.time()
		if err := slowDown(tx, parent, me, now); err != nil {
			return Created{}, err
		}
		c, err := s.newConversation(tx, q.wanted, now)
		if err != nil {
			return Created{}, err
		}
		c.ActiveAt = now
		if err := tx.CreateConversation(c); err != nil {
			return Created{}, err
		}
		at, err := tx.Append(c.event(created, actor, now))
		if err != nil {
			return Created{}, err
		}
		if err := tx.AddMember(Membership{Conversation: c.ID, User: actor.User, Role: Member, JoinedAt: now}, at); err != nil {
			return Created{}, err
		}
		return s.createdNow(tx, q, c.ID)
	})
}

// allowThread refuses a thread that the actor may not create under a message, and a client_id that
// cannot be used.
func (s *Service) allowThread(r ConversationReader, parent Conversation, me Access, m Message, before earlier) error {
	if parent.Kind != Group && parent.Kind != Channel || m.VisibleTo != "" {
		return Refuse(Rule, "thread_unsupported", "only messages of groups and channels that all members can see have threads")
	}
	if err := allowSpeaking(parent, me, PermissionCreateThread); err != nil {
		return err
	}
	if before.refusal != nil {
		return before.refusal
	}
	if m.State != Active {
		return errErased(m.State)
	}
	_, found, err := maybe(r.ThreadOf(m.ID))
	if err == nil && found {
		err = Refuse(Conflict, "thread_exists", "the message already has a thread")
	}
	return err
}

// ThreadUnder returns the thread under a message. It refuses with thread_not_found if there
// is none.
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
		return s.currentView(r, actor, c.ID)
	})
}

// Threads returns a page of the threads of a group or channel that the actor can see, in descending
// order of id. before is the last id of the previous page; 0 starts at the beginning. Next has only
// an ID.
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
		return s.viewVisible(r, actor, list, limit)
	})
}

// MyThreads is Threads for all threads that the actor has joined.
func (s *Service) MyThreads(ctx context.Context, actor Actor, before ID, limit int) (ConversationPage, error) {
	return view(ctx, s, func(r Reader) (ConversationPage, error) {
		list, err := r.JoinedThreads(actor.User, before, limit+1)
		if err != nil {
			return ConversationPage{}, err
		}
		return s.viewVisible(r, actor, list, limit)
	})
}

// viewVisible returns the views of the conversations in a list that the actor can see. The list was
// read with one more item than the limit; the page may be shorter.
func (s *Service) viewVisible(r Reader, actor Actor, list []Conversation, limit int) (ConversationPage, error) {
	var page ConversationPage
	if len(list) > limit {
		list = list[:limit]
		page.Next = &ConversationKey{ID: list[limit-1].ID}
	}
	var visible []entered
	for _, c := range list {
		me, err := s.access(r, c, actor.User)
		if err != nil {
			return page, err
		}
		if me.Can(PermissionView) {
			visible = append(visible, entered{Conversation: c, me: me})
		}
	}
	var err error
	page.Items, err = s.conversationViews(r, visible)
	if n := len(page.Items); err == nil && n < len(visible) {
		page.Next = &ConversationKey{ID: page.Items[n-1].ID}
	}
	return page, err
}

// threadsAtOnce is the maximum number of threads that one transaction removes a user from, or whose
// retention one statement changes. A conversation may have any number of threads.
const threadsAtOnce = 100

// leaveThreads removes a user from the threads of a group or space that they leave. more is
// true if there are more threads than one step takes.
func (s *Service) leaveThreads(tx Tx, actor Actor, c Conversation, user UserID) (more bool, err error) {
	if c.Kind != Group && c.Kind != Space {
		return false, nil
	}
	list, err := tx.JoinedThreadsIn(user, c.ID, threadsAtOnce+1)
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

// newInThread counts a new message of a thread.
func (s *Service) newInThread(tx Tx, actor Actor, c Conversation, at time.Time) error {
	c.Messages++
	c.ActiveAt = at
	return s.putActivity(tx, actor, c, s.time())
}

// lessInThread subtracts messages that were erased or trimmed in a thread, and finds the newest
// remaining one.
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

// putActivity stores the number of messages and the last activity of a thread, and publishes
// them to the members of the parent.
func (s *Service) putActivity(tx Tx, actor Actor, c Conversation, now time.Time) error {
	if err := tx.PutActivity(c.ID, c.Messages, c.ActiveAt); err != nil {
		return err
	}
	_, err := tx.Append(c.event(updated, actor, now))
	return err
}
