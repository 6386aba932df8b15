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

// InvitationView is an invitation as clients see it, with the kind and name of the conversation or
// space.
type InvitationView struct {
	Invitation
	Kind Kind
	Name string
}

// viewOf returns the view of an invitation to c.
func (c Conversation) viewOf(i Invitation) InvitationView {
	return InvitationView{Invitation: i, Kind: c.Kind, Name: c.Name}
}

// MaxInvited is the maximum number of users that one request may invite.
const MaxInvited = 200

// inviting returns the conversation or space that the actor invites to. It refuses an actor who may
// not invite.
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
			err = allow(c, me, PermissionInvite)
		}
		return c, err
	}
}

// InviteToSpace invites users to a space, publishes an event to each and returns their
// invitations. Users who are invited already keep their invitation, without an event. It skips
// members and users on the deny list, and it invites nobody if one of the users has blocked the
// actor.
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
		_, strangers, err := membershipsOf(tx, c, users, Member, s.time())
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

// inviteOne invites one user, or returns the invitation that the user already has. It returns the
// zero Invitation if the user is on the deny list.
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
	return i, publishInvitation(tx, actor, c, i, true)
}

// publishInvitation publishes to a user that they were invited to c, or that their invitation
// has ended.
func publishInvitation(tx LogWriter, actor Actor, c Conversation, i Invitation, invited bool) error {
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

// SpaceInvitations returns a page of the open invitations to a space.
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

// MyInvitations returns up to limit invitations of the actor, in the order of the ids of the
// conversations and spaces, after the one with the id after; 0 starts at the beginning.
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

// DeleteSpaceInvitation withdraws the invitation of a user to a space. The invited user
// calls it to decline.
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

// deleteInvitation ends the invitation of a user to c. into refuses an actor who may not invite to
// c, and enter refuses one who cannot see c.
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
			// A user without access must not learn that c exists.
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

// endInvitations ends up to limit invitations to a deleted conversation or space. It returns false
// if there were none.
func (s *Service) endInvitations(tx Tx, c Conversation, limit int) (bool, error) {
	list, err := tx.Invitations(c.ID, Page{Limit: limit})
	if err != nil {
		return false, err
	}
	for _, i := range list {
		if err := s.endInvitation(tx, Actor{}, c, i); err != nil {
			return false, err
		}
	}
	return len(list) > 0, nil
}

// endInvitation deletes an invitation and publishes that to the invited user.
func (s *Service) endInvitation(tx Tx, actor Actor, c Conversation, i Invitation) error {
	if err := tx.DeleteInvitation(c.ID, i.User); err != nil {
		return err
	}
	i.At = s.time()
	return publishInvitation(tx, actor, c, i, false)
}
