package im

import (
	"context"
	"maps"
)

// streamUsersAtATime limits the users of one read, which holds a reader.
const streamUsersAtATime = 100

// StreamConversation returns the conversation that an actor names for a data stream, and what they
// may do there. It refuses one that they cannot see.
func (s *Service) StreamConversation(ctx context.Context, actor Actor, ref ConversationRef) (c Conversation, u StreamUser, err error) {
	err = s.read(ctx, func(r Reader) error {
		e, me, err := s.enterAs(r, actor, ref, "")
		if err == nil {
			c, u = e.Conversation, streamUser(e, me)
		}
		return err
	})
	return c, u, withField(err, "conversation", "conversation_id")
}

// StreamUsers returns what each of the users may do in a conversation. Those who cannot see
// it are missing. Many users take several reads.
func (s *Service) StreamUsers(ctx context.Context, conversation ID, users []UserID) (map[UserID]StreamUser, error) {
	all := make(map[UserID]StreamUser, len(users))
	for len(users) > 0 {
		part := users[:min(len(users), streamUsersAtATime)]
		users = users[len(part):]
		found, err := view(ctx, s, func(r Reader) (map[UserID]StreamUser, error) {
			found := make(map[UserID]StreamUser, len(part))
			for _, user := range part {
				e, me, err := s.enterAs(r, Actor{User: user}, ConversationRef{ID: conversation}, "")
				if refusal, ok := AsError(err); ok && refusal.Kind == NotFound {
					continue
				}
				if err != nil {
					return nil, err
				}
				found[user] = streamUser(e, me)
			}
			return found, nil
		})
		if err != nil {
			return nil, err
		}
		maps.Copy(all, found)
	}
	return all, nil
}

func streamUser(e Entry, me Access) StreamUser {
	u := StreamUser{Sees: true, Blocked: e.Blocked, Speak: allowSpeaking(e.Conversation, me, PermissionSend)}
	if e.Blocked {
		u.Speak = errBlocked()
	}
	return u
}

// AccessChange is a possible loss of access to a conversation, or of the right to send to it.
type AccessChange struct {
	// Conversation is the conversation, or the space or parent of the conversations, that the
	// change affects.
	Conversation ID
	// User is the affected user, "" for all.
	User UserID
	// Deleted is set if the conversation was deleted.
	Deleted bool
}

// AccessChanges returns the access that a commit may have taken from users, usually none. It does
// not cover the gap of a commit that has one.
func AccessChanges(c Commit) []AccessChange {
	var list []AccessChange
	for i := range c.Events {
		e := &c.Events[i]
		if e.Type.Deletes() {
			for _, id := range e.Gone {
				list = append(list, AccessChange{Conversation: id, Deleted: true})
			}
			continue
		}
		if !e.takesAccess() {
			continue
		}
		for _, id := range unique([]ID{e.Conversation, e.Space, e.Thread}) {
			if id != 0 {
				list = append(list, AccessChange{Conversation: id, User: e.User})
			}
		}
	}
	return list
}

// takesAccess reports whether the change in the event may take access or the right to send
// from its User, or from any user if it has none.
func (e *Event) takesAccess() bool {
	switch e.Type {
	case MemberRemoved, MemberUpdated, ChannelClosed, ChannelOpened, ChannelUpdated, SpaceUpdated,
		RoleCreated, RoleUpdated, RoleDeleted:
		return true
	case ConversationUpdated:
		return e.Own == nil
	default: // about messages, or giving access
		return false
	}
}
