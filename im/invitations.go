package im

import (
	"context"
	"time"
)

// Invitation asks a user to join a group, a room or a space.
type Invitation struct {
	Conversation ID
	User         UserID
	By           UserID
	At           time.Time
}

// InvitationView is an invitation with what the one who is invited is shown of what
// it is to.
type InvitationView struct {
	Invitation
	Kind Kind
	Name string
}

// viewOf returns an invitation to c as it is shown.
func (c Conversation) viewOf(i Invitation) InvitationView {
	return InvitationView{Invitation: i, Kind: c.Kind, Name: c.Name}
}

// MaxInvited is how many users one request may invite.
const MaxInvited = 200

// inviting finds what users are invited to, for an actor who may invite.
type inviting func(Reader, Actor) (Conversation, error)

func (s *Service) intoSpace(id ID) inviting {
	return func(r Reader, actor Actor) (Conversation, error) {
		c, _, err := s.enterSpaceTo(r, actor, id, PermissionInvite)
		return c, err
	}
}

func (s *Service) intoConversation(ref ConversationRef) inviting {
	return func(r Reader, actor Actor) (Conversation, error) {
		c, me, err := s.enter(r, actor, ref)
		if err == nil {
			err = hasOwnMembers(c)
		}
		if err == nil {
			err = Allow(c, me, PermissionInvite)
		}
		return c, err
	}
}

// InviteToSpace asks users to join a space, each told by an event of their own. Who is
// a member or is on the deny list is passed over; the invitations of the users named
// are returned. Who has blocked the actor cannot be invited.
func (s *Service) InviteToSpace(ctx context.Context, actor Actor, id ID, users []UserID) ([]InvitationView, error) {
	return s.invite(ctx, actor, users, s.intoSpace(id))
}

// Invite is InviteToSpace for a group or room.
func (s *Service) Invite(ctx context.Context, actor Actor, ref ConversationRef, users []UserID) ([]InvitationView, error) {
	return s.invite(ctx, actor, users, s.intoConversation(ref))
}

func (s *Service) invite(ctx context.Context, actor Actor, named []UserID, into inviting) ([]InvitationView, error) {
	if err := checkUsers("users", named); err != nil {
		return nil, err
	}
	users := unique(named)
	if len(users) > MaxInvited {
		return nil, RefuseField(Invalid, "invalid_request", "users", "at most %d users", MaxInvited)
	}
	return write(ctx, s, func(tx Tx) ([]InvitationView, error) {
		c, err := into(tx, actor)
		if err != nil {
			return nil, err
		}
		_, strangers, err := sortOut(tx, c, users, Member, s.time())
		if err != nil {
			return nil, err
		}
		if err := notBlockedBy(tx, actor, usersOf(strangers), "users", named); err != nil {
			return nil, err
		}
		views := []InvitationView{}
		for _, m := range strangers {
			i, err := s.inviteOne(tx, actor, c, m.User)
			if err != nil {
				return nil, err
			}
			if i.Conversation != 0 {
				views = append(views, c.viewOf(i))
			}
		}
		return views, nil
	})
}

// inviteOne returns the invitation of one user, the zero one if they are on the deny
// list.
func (s *Service) inviteOne(tx Tx, actor Actor, c Conversation, user UserID) (Invitation, error) {
	i, found, err := maybe(tx.Invitation(c.ID, user))
	if err != nil || found {
		return i, err
	}
	if denied, err := tx.OnList(c.ID, DenyList, user); err != nil || denied {
		return Invitation{}, err
	}
	i = Invitation{Conversation: c.ID, User: user, By: actor.User, At: s.time()}
	if err := tx.PutInvitation(i); err != nil {
		return i, err
	}
	return i, tellInvited(tx, actor, c, i, true)
}

// tellInvited tells a user that they are invited to c, or are not any more.
func tellInvited(tx Tx, actor Actor, c Conversation, i Invitation, invited bool) error {
	e := Event{
		Type: ConversationUninvited, At: i.At, Conversation: c.ID, To: i.User, User: i.User,
		Actor: actor.User, ActorDevice: actor.Device,
	}
	switch {
	case c.Kind == Space && invited:
		e.Type, e.Space = SpaceInvited, c.ID
	case c.Kind == Space:
		e.Type, e.Space = SpaceUninvited, c.ID
	case invited:
		e.Type = ConversationInvited
	}
	_, err := tx.Append(e)
	return err
}

// SpaceInvitations returns those to a space that are open, by user.
func (s *Service) SpaceInvitations(ctx context.Context, actor Actor, id ID, p Page) ([]InvitationView, error) {
	return s.invitations(ctx, actor, p, s.intoSpace(id))
}

// Invitations is SpaceInvitations for a group or room.
func (s *Service) Invitations(ctx context.Context, actor Actor, ref ConversationRef, p Page) ([]InvitationView, error) {
	return s.invitations(ctx, actor, p, s.intoConversation(ref))
}

func (s *Service) invitations(ctx context.Context, actor Actor, p Page, into inviting) ([]InvitationView, error) {
	return view(ctx, s, func(r Reader) ([]InvitationView, error) {
		c, err := into(r, actor)
		if err != nil {
			return nil, err
		}
		list, err := r.Invitations(c.ID, p)
		views := make([]InvitationView, len(list))
		for i, one := range list {
			views[i] = c.viewOf(one)
		}
		return views, err
	})
}

// MyInvitations returns those of the actor, by the id of what they are to, those after
// one; 0 begins.
func (s *Service) MyInvitations(ctx context.Context, actor Actor, after ID, limit int) ([]InvitationView, error) {
	return view(ctx, s, func(r Reader) ([]InvitationView, error) {
		list, err := r.InvitationsOf(actor.User, after, limit)
		if err != nil {
			return nil, err
		}
		views := make([]InvitationView, 0, len(list))
		for _, one := range list {
			c, err := r.Conversation(one.Conversation)
			if err != nil {
				return nil, err
			}
			views = append(views, c.viewOf(one))
		}
		return views, nil
	})
}

// DeleteSpaceInvitation withdraws an invitation to a space; with oneself as the user it
// declines one.
func (s *Service) DeleteSpaceInvitation(ctx context.Context, actor Actor, id ID, user UserID) error {
	return s.store.Write(ctx, func(tx Tx) error {
		c, err := findSpace(tx, id)
		if err != nil {
			return err
		}
		return s.deleteInvitation(tx, actor, c, user, s.intoSpace(id), func() error {
			_, _, err := s.enterSpace(tx, actor, id)
			return err
		})
	})
}

// DeleteInvitation is DeleteSpaceInvitation for a group or room.
func (s *Service) DeleteInvitation(ctx context.Context, actor Actor, ref ConversationRef, user UserID) error {
	return s.store.Write(ctx, func(tx Tx) error {
		c, err := lookup(tx, actor, ref)
		if err == nil && (c.Kind == Space || !c.DeletedAt.IsZero()) {
			err = errUnknownConversation()
		}
		if err != nil {
			return err
		}
		return s.deleteInvitation(tx, actor, c, user, s.intoConversation(ref), func() error {
			_, _, err := s.enter(tx, actor, ref)
			return err
		})
	})
}

// deleteInvitation ends the invitation of a user to c. enter refuses who cannot see c,
// and into who may not invite to it.
func (s *Service) deleteInvitation(tx Tx, actor Actor, c Conversation, user UserID, into inviting, enter func() error) error {
	if user != actor.User {
		if _, err := into(tx, actor); err != nil {
			return err
		}
	}
	i, found, err := maybe(tx.Invitation(c.ID, user))
	if err == nil && !found {
		err = Refuse(NotFound, "invitation_not_found", "no such invitation")
		if user == actor.User {
			// A stranger must not learn that there is such a place.
			if hidden := enter(); hidden != nil {
				err = hidden
			}
		}
	}
	if err != nil {
		return err
	}
	return s.endInvitation(tx, actor, c, i)
}

// endInvitation removes an invitation and tells who was invited.
func (s *Service) endInvitation(tx Tx, actor Actor, c Conversation, i Invitation) error {
	if err := tx.DeleteInvitation(c.ID, i.User); err != nil {
		return err
	}
	i.At = s.time()
	return tellInvited(tx, actor, c, i, false)
}
