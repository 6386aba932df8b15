package im

import (
	"cmp"
	"context"
)

// SpaceDraft is a space to be created.
type SpaceDraft struct {
	// ClientID makes creating idempotent, unless it is "".
	ClientID string
	Name     string
	Settings ConversationPatch
}

// SpaceView is a space as one of its members sees it.
type SpaceView struct {
	Conversation
	Me    Access
	Owner UserID
}

func errUnknownSpace() error { return Refuse(NotFound, "space_not_found", "no such space") }

// enterSpace returns a space and the actor's access to it. It refuses with space_not_found if
// the actor is not a member.
func (s *Service) enterSpace(r Reader, actor Actor, id ID) (Conversation, Access, error) {
	c, err := findSpace(r, id)
	if err != nil {
		return c, Access{}, err
	}
	me, err := s.access(r, c, actor.User)
	if err == nil && !me.Can(PermissionView) {
		err = errUnknownSpace()
	}
	return c, me, err
}

// enterSpaceTo is enterSpace for a use case that needs a permission.
func (s *Service) enterSpaceTo(r Reader, actor Actor, id ID, p Permissions) (Conversation, Access, error) {
	c, me, err := s.enterSpace(r, actor, id)
	if err == nil {
		err = allow(c, me, p)
	}
	return c, me, err
}

// findSpace returns a space, whoever the actor is.
func findSpace(r ConversationReader, id ID) (Conversation, error) {
	c, found, err := maybe(r.Conversation(id))
	if err == nil && (!found || c.Kind != Space || !c.DeletedAt.IsZero()) {
		err = errUnknownSpace()
	}
	return c, err
}

// spaceView returns the view of a space for a member.
func spaceView(r MemberReader, c Conversation, me Access) (SpaceView, error) {
	owner, _, err := maybe(r.OwnerOf(c.ID))
	return SpaceView{Conversation: c, Me: me, Owner: owner}, err
}

// CreateSpace creates a space that the actor owns. With a client_id it is idempotent, as
// CreateGroup is.
func (s *Service) CreateSpace(ctx context.Context, actor Actor, d SpaceDraft) (CreatedSpace, error) {
	d.Settings.Name = &d.Name
	if err := d.Settings.checkFor(Space, s.policy); err != nil {
		return CreatedSpace{}, err
	}
	q := creation{actor: actor, clientID: d.ClientID, wanted: d.Settings.apply(defaults(Space, actor))}
	if err := q.check(); err != nil {
		return CreatedSpace{}, err
	}
	return write(ctx, s, func(tx Tx) (CreatedSpace, error) {
		before, err := q.earlier(tx)
		if err = cmp.Or(err, before.refusal); err != nil {
			return CreatedSpace{}, err
		}
		id := before.created
		if id == 0 {
			if id, err = s.createSpace(tx, q); err != nil {
				return CreatedSpace{}, err
			}
		}
		v, err := s.currentSpaceView(tx, actor, id)
		return CreatedSpace{SpaceView: v, Again: before.created != 0}, err
	})
}

// createSpace stores a new space and publishes that to its owner.
func (s *Service) createSpace(tx Tx, q creation) (ID, error) {
	now := s.time()
	c, err := s.newConversation(tx, q.wanted, now)
	if err != nil {
		return 0, err
	}
	if err := tx.CreateConversation(c); err != nil {
		return 0, err
	}
	at, err := tx.Append(c.event(created, q.actor, now))
	if err != nil {
		return 0, err
	}
	if err := tx.AddMember(Membership{Conversation: c.ID, User: q.actor.User, Role: Owner, JoinedAt: now}, at); err != nil {
		return 0, err
	}
	everyone := SpaceRole{ID: Everyone, Grants: Grants{Allow: DefaultPermissions}}
	if err := tx.PutRoles(c.ID, SpaceRoles{Owner: q.actor.User, Roles: RoleSet{everyone}}, at); err != nil {
		return 0, err
	}
	return c.ID, q.remember(tx, c.ID)
}

// currentSpaceView returns the actor's view of a space.
func (s *Service) currentSpaceView(r Reader, actor Actor, id ID) (SpaceView, error) {
	c, me, err := s.enterSpace(r, actor, id)
	if err != nil {
		return SpaceView{}, err
	}
	return spaceView(r, c, me)
}

// SpaceOf returns a space of which the actor is a member.
func (s *Service) SpaceOf(ctx context.Context, actor Actor, id ID) (SpaceView, error) {
	return view(ctx, s, func(r Reader) (SpaceView, error) { return s.currentSpaceView(r, actor, id) })
}

// Spaces returns up to limit spaces of which the actor is a member, in the order of their ids,
// beginning after the id after; 0 starts at the beginning.
func (s *Service) Spaces(ctx context.Context, actor Actor, after ID, limit int) ([]SpaceView, error) {
	return view(ctx, s, func(r Reader) ([]SpaceView, error) {
		list, err := r.Spaces(actor.User, after, limit)
		if err != nil {
			return nil, err
		}
		views := make([]SpaceView, 0, len(list))
		for _, c := range list {
			me, err := s.access(r, c, actor.User)
			if err != nil {
				return nil, err
			}
			v, err := spaceView(r, c, me)
			if err != nil {
				return nil, err
			}
			views = append(views, v)
		}
		return views, nil
	})
}

// UpdateSpace changes the name or settings of a space and publishes that to its members.
func (s *Service) UpdateSpace(ctx context.Context, actor Actor, id ID, p ConversationPatch) (SpaceView, error) {
	if err := p.check(s.policy); err != nil {
		return SpaceView{}, err
	}
	return write(ctx, s, func(tx Tx) (SpaceView, error) {
		c, me, err := s.enterSpace(tx, actor, id)
		if err != nil {
			return SpaceView{}, err
		}
		if _, _, err := s.patchShared(tx, actor, c, me, p, 0); err != nil {
			return SpaceView{}, err
		}
		return s.currentSpaceView(tx, actor, id)
	})
}

// DeleteSpace deletes a space with its channels and their messages. The actor must be its
// owner or an admin.
func (s *Service) DeleteSpace(ctx context.Context, actor Actor, id ID) error {
	return s.store.Write(WithBulk(ctx), func(tx Tx) error {
		c, err := findSpace(tx, id)
		if err == nil && !actor.Admin {
			_, _, err = s.enterSpaceTo(tx, actor, id, PermissionDelete)
		}
		if err != nil {
			return err
		}
		return s.delete(tx, actor, c)
	})
}
