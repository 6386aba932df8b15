package im

import (
	"context"
	"slices"
)

// enterOverrides returns a channel with its overrides, and the roles of its space, to which
// the actor's access in the channel is added.
func (s *Service) enterOverrides(r Reader, actor Actor, ref ConversationRef) (Conversation, roleChange, ChannelAccess, error) {
	c, me, err := s.enter(r, actor, ref)
	if err != nil {
		return c, roleChange{}, ChannelAccess{}, err
	}
	if c.Kind != Channel {
		return c, roleChange{}, ChannelAccess{}, Refuse(Rule, "setting_unsupported", "only channels have overrides")
	}
	roles, err := s.changeRoles(r, actor, c.Space)
	if err != nil {
		return c, roles, ChannelAccess{}, err
	}
	roles.space, roles.me = c, me // the actor's permissions in the channel apply
	access, err := r.AccessAt(c.ID, Latest)
	if err != nil {
		return c, roles, access, err
	}
	// Overrides of a role that was deleted have no effect.
	access.Overrides = slices.DeleteFunc(access.Overrides, func(o Override) bool { return roles.roles.rank(o.Role) == len(roles.roles) })
	return c, roles, access, nil
}

// Overrides returns the overrides of a channel, the highest role's first.
func (s *Service) Overrides(ctx context.Context, actor Actor, ref ConversationRef) ([]Override, error) {
	return view(ctx, s, func(r Reader) ([]Override, error) {
		_, roles, access, err := s.enterOverrides(r, actor, ref)
		slices.SortFunc(access.Overrides, func(a, b Override) int { return roles.roles.rank(a.Role) - roles.roles.rank(b.Role) })
		return access.Overrides, err
	})
}

// PutOverride stores what a role allows and denies in a channel, and publishes it to members
// who can see the channel before or after the change. An override without grants is deleted.
func (s *Service) PutOverride(ctx context.Context, actor Actor, ref ConversationRef, o Override) (Override, error) {
	return o, s.store.Write(ctx, func(tx Tx) error {
		c, roles, access, err := s.enterOverrides(tx, actor, ref)
		if err != nil {
			return err
		}
		if _, err := roles.role(o.Role); err != nil {
			return err
		}
		before := access.override(o.Role)
		if err := allowGrants(roles.me.Permissions(), before, o.Grants, ChannelPermissions); err != nil {
			return err
		}
		if before == o.Grants {
			return nil
		}
		was := access
		access.Overrides = slices.Clone(access.Overrides)
		access.Overrides = slices.DeleteFunc(access.Overrides, func(old Override) bool { return old.Role == o.Role })
		if o.Grants != (Grants{}) {
			if len(access.Overrides) >= s.policy.MaxChannelRoles {
				return Refuse(Rule, "too_many_roles", "a channel has overrides of at most %d roles", s.policy.MaxChannelRoles)
			}
			access.Overrides = append(access.Overrides, o)
		}
		if err := roles.protectHigherRoles(roles.roles, was, access); err != nil {
			return err
		}
		at, err := tx.Append(c.event(updated, actor, s.time()))
		if err != nil {
			return err
		}
		return tx.PutAccess(c.ID, access, at)
	})
}

// protectHigherRoles refuses a change of roles or of a channel's access that would hide the channel
// from a role above the actor's highest, or take from such a role a permission that the role itself
// allows there. Otherwise a member could lock out those with higher roles, who could not undo the
// change. roles are the roles after the change.
func (c roleChange) protectHigherRoles(roles RoleSet, before, after ChannelAccess) error {
	for rank := range max(c.rank, 0) {
		role := c.roles[rank]
		protected := PermissionView | role.Allow | before.override(role.ID).Allow
		if lost := c.roles.mayWith(role.ID, before) &^ roles.mayWith(role.ID, after) & protected; lost != 0 {
			return Refuse(Forbidden, "permission_denied", "you may only take %s from roles below your highest", first(lost))
		}
	}
	return nil
}

// mayWith returns the permissions that one role, together with everyone's, gives a member in a
// channel.
func (s RoleSet) mayWith(role ID, access ChannelAccess) Permissions {
	return PermissionInput{Kind: Channel, Member: true, Role: Member, Roles: s, Has: []ID{role}, Channel: &access}.Permissions()
}

// DeleteOverride deletes the override of a role in a channel. It is not an error if there is
// none.
func (s *Service) DeleteOverride(ctx context.Context, actor Actor, ref ConversationRef, role ID) error {
	_, err := s.PutOverride(ctx, actor, ref, Override{Role: role})
	return err
}
