package im

import (
	"context"
	"time"
)

// Invitation asks a user to join a space.
type Invitation struct {
	Space ID
	User  UserID
	By    UserID
	At    time.Time
}

// InvitationView is an invitation with what the one who is invited is shown of the
// space.
type InvitationView struct {
	Invitation
	SpaceName string
}

// MaxInvited is how many users one request may invite.
const MaxInvited = 200

// Invite asks users to join a space, each told by an event of their own. Who is a
// member, has blocked the actor or is on the deny list is passed over; the
// invitations of the users named are returned.
func (s *Service) Invite(ctx context.Context, actor Actor, id ID, users []UserID) ([]InvitationView, error) {
	if err := checkUsers("users", users); err != nil {
		return nil, err
	}
	users = unique(users)
	if len(users) > MaxInvited {
		return nil, RefuseField(Invalid, "invalid_request", "users", "at most %d users", MaxInvited)
	}
	return write(ctx, s, func(tx Tx) ([]InvitationView, error) {
		c, _, err := s.enterSpaceTo(tx, actor, id, PermissionInvite)
		if err != nil {
			return nil, err
		}
		_, strangers, err := sortOut(tx, c, users, Member, s.time())
		if err != nil {
			return nil, err
		}
		views := []InvitationView{}
		for _, m := range strangers {
			i, err := s.invite(tx, actor, c, m.User)
			if err != nil {
				return nil, err
			}
			if i.Space != 0 {
				views = append(views, InvitationView{Invitation: i, SpaceName: c.Name})
			}
		}
		return views, nil
	})
}

// invite returns the invitation of one user, the zero one if they take none from
// the actor.
func (s *Service) invite(tx Tx, actor Actor, c Conversation, user UserID) (Invitation, error) {
	i, found, err := maybe(tx.Invitation(c.ID, user))
	if err != nil || found {
		return i, err
	}
	if blocked, err := tx.Blocked(user, actor.User); err != nil || blocked {
		return Invitation{}, err
	}
	if denied, err := tx.OnList(c.ID, DenyList, user); err != nil || denied {
		return Invitation{}, err
	}
	i = Invitation{Space: c.ID, User: user, By: actor.User, At: s.time()}
	if err := tx.PutInvitation(i); err != nil {
		return i, err
	}
	return i, tellInvited(tx, SpaceInvited, actor, i)
}

// tellInvited tells a user of their invitation.
func tellInvited(tx Tx, t EventType, actor Actor, i Invitation) error {
	_, err := tx.Append(Event{
		Type: t, At: i.At, Conversation: i.Space, Space: i.Space, To: i.User, User: i.User,
		Actor: actor.User, ActorDevice: actor.Device,
	})
	return err
}

// Invitations returns those to a space that are open, by user.
func (s *Service) Invitations(ctx context.Context, actor Actor, id ID, p Page) ([]InvitationView, error) {
	return view(ctx, s, func(r Reader) ([]InvitationView, error) {
		c, _, err := s.enterSpaceTo(r, actor, id, PermissionInvite)
		if err != nil {
			return nil, err
		}
		list, err := r.Invitations(id, p)
		views := make([]InvitationView, len(list))
		for i, one := range list {
			views[i] = InvitationView{Invitation: one, SpaceName: c.Name}
		}
		return views, err
	})
}

// MyInvitations returns those of the actor, by space, those after one.
func (s *Service) MyInvitations(ctx context.Context, actor Actor, after ID, limit int) ([]InvitationView, error) {
	return view(ctx, s, func(r Reader) ([]InvitationView, error) {
		list, err := r.InvitationsOf(actor.User, after, limit)
		if err != nil {
			return nil, err
		}
		views := make([]InvitationView, 0, len(list))
		for _, one := range list {
			c, err := findSpace(r, one.Space)
			if err != nil {
				return nil, err
			}
			views = append(views, InvitationView{Invitation: one, SpaceName: c.Name})
		}
		return views, nil
	})
}

// DeleteInvitation withdraws an invitation; with oneself as the user it declines
// one.
func (s *Service) DeleteInvitation(ctx context.Context, actor Actor, id ID, user UserID) error {
	return s.store.Write(ctx, func(tx Tx) error {
		_, err := findSpace(tx, id)
		if err == nil && user != actor.User {
			_, _, err = s.enterSpaceTo(tx, actor, id, PermissionInvite)
		}
		if err != nil {
			return err
		}
		i, found, err := maybe(tx.Invitation(id, user))
		if err == nil && !found {
			err = Refuse(NotFound, "invitation_not_found", "no such invitation")
			if user == actor.User {
				// A stranger must not learn that there is such a space.
				if _, _, hidden := s.enterSpace(tx, actor, id); hidden != nil {
					err = hidden
				}
			}
		}
		if err != nil {
			return err
		}
		return s.endInvitation(tx, actor, i)
	})
}

// endInvitation removes an invitation and tells who was invited.
func (s *Service) endInvitation(tx Tx, actor Actor, i Invitation) error {
	if err := tx.DeleteInvitation(i.Space, i.User); err != nil {
		return err
	}
	i.At = s.time()
	return tellInvited(tx, SpaceUninvited, actor, i)
}
