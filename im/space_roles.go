package im

import (
	"context"
	"slices"
)

// RoleDraft is a role to be created, or a change of one. Fields that are zero change nothing.
type RoleDraft struct {
	Name *string
	// Allow, Deny and Inherit are the permissions that the role allows, denies and inherits from
	// now on.
	Allow, Deny, Inherit Permissions
	// Position is the position among the roles, 1 being the highest. 0 keeps the position; a
	// new role gets the lowest above everyone's.
	Position int
}

// MaxRoleName is the maximum length of the name of a role, in characters.
const MaxRoleName = 64

func errUnknownRole() error { return Refuse(NotFound, "role_not_found", "no such role") }

func errEveryone() error {
	return Refuse(Rule, "everyone_role", "the role everyone cannot be renamed, moved, given or deleted")
}

func (d RoleDraft) check() error {
	if d.Name != nil {
		if err := checkName(*d.Name, MaxRoleName); err != nil {
			return err
		}
	}
	return nil
}

// grants returns the grants of a role after the draft.
func (d RoleDraft) grants(g Grants) Grants {
	said := d.Allow | d.Deny | d.Inherit
	return Grants{Allow: g.Allow&^said | d.Allow, Deny: g.Deny&^said | d.Deny}
}

// changes returns the permissions whose grants differ.
func (g Grants) changes(after Grants) Permissions {
	return (g.Allow ^ after.Allow) | (g.Deny ^ after.Deny)
}

// allowGrants refuses a change of grants to permissions that cannot be granted here, or that
// the actor does not have.
func allowGrants(may Permissions, before, after Grants, grantable Permissions) error {
	if p := (after.Allow | after.Deny) &^ grantable; p != 0 {
		return RefuseField(Rule, "permission_not_grantable", "permissions/"+first(p).String(), "roles cannot allow or deny this permission here")
	}
	if lacks := before.changes(after) &^ may; lacks != 0 {
		return errDenied(first(lacks))
	}
	return nil
}

func first(p Permissions) Permissions { return p & -p }

// SpaceRoles returns the roles of a space, the highest first.
func (s *Service) SpaceRoles(ctx context.Context, actor Actor, id ID) ([]NamedRole, error) {
	return view(ctx, s, func(r Reader) ([]NamedRole, error) {
		if _, _, err := s.enterSpace(r, actor, id); err != nil {
			return nil, err
		}
		roles, err := r.RolesAt(id, Latest)
		if err != nil {
			return nil, err
		}
		return named(r, id, roles.Roles...)
	})
}

// named returns roles of a space with their names.
func named(r SpaceReader, space ID, roles ...SpaceRole) ([]NamedRole, error) {
	names, err := r.RoleNames(space)
	if err != nil {
		return nil, err
	}
	list := make([]NamedRole, len(roles))
	for i, role := range roles {
		list[i] = NamedRole{SpaceRole: role, Name: names[role.ID]}
		if role.ID == Everyone {
			list[i].Name = everyoneName
		}
	}
	return list, nil
}

// roleChange is the state of a change of the roles of a space.
type roleChange struct {
	space Conversation
	me    Access
	mine  SpaceMember // the actor, as a member of the space
	rank  int         // of the actor
	owner UserID
	roles RoleSet
}

// changeRoles loads what a change of roles needs. It checks only that the actor is a member.
func (s *Service) changeRoles(r Reader, actor Actor, id ID) (roleChange, error) {
	c, me, err := s.enterSpace(r, actor, id)
	if err != nil {
		return roleChange{}, err
	}
	roles, err := r.RolesAt(id, Latest)
	if err != nil {
		return roleChange{}, err
	}
	mine, err := spaceMember(r, id, 0, actor.User)
	return roleChange{space: c, me: me, mine: mine, rank: mine.rank(roles), owner: roles.Owner, roles: roles.Roles}, err
}

// spaceRoles returns the owner and the roles after the change.
func (c roleChange) spaceRoles() SpaceRoles { return SpaceRoles{Owner: c.owner, Roles: c.roles} }

// role returns the rank of a role that the actor may change. It refuses an unknown role before it
// checks whether the actor may change roles.
func (c roleChange) role(id ID) (int, error) {
	at := c.roles.rank(id)
	if at == len(c.roles) {
		return 0, errUnknownRole()
	}
	return at, c.allow(at)
}

// allow refuses an actor who may not change roles, or not at this rank.
func (c roleChange) allow(rank int) error {
	if err := allow(c.space, c.me, PermissionManageRoles); err != nil {
		return err
	}
	if rank <= c.rank {
		return Refuse(Forbidden, "permission_denied", "you may only change roles below your highest")
	}
	return nil
}

// roleEffect is the effect of a change on the holders of the role at a rank. gives is set if users
// may gain the role's grants, takes if users may lose them. Moving a role can do both.
type roleEffect struct {
	rank         int
	gives, takes bool
}

// allowEffects refuses to give, take, move or delete roles that allow or deny a permission that the
// actor lacks, in the space or in a channel with an override: the change would pass on more than
// the actor has. In a channel that the actor cannot see, only a change that may reveal the channel
// to a user is refused. Any other refusal would disclose that the channel exists.
func (s *Service) allowEffects(r SpaceReader, actor Actor, c roleChange, effects ...roleEffect) error {
	ids := make([]ID, len(effects))
	for i, t := range effects {
		if err := allowGrants(c.me.Permissions(), c.roles[t.rank].Grants, Grants{}, RolePermissions); err != nil {
			return err
		}
		ids[i] = c.roles[t.rank].ID
	}
	channels, err := r.Overridden(c.space.ID, ids, actor.User)
	if err != nil {
		return err
	}
	for _, channel := range channels {
		may := s.mayInChannel(c, channel)
		for i, t := range effects {
			said := channel.Access.override(ids[i])
			if !may.Has(PermissionView) && !t.opens(said) {
				continue
			}
			if err := allowGrants(may, said, Grants{}, ChannelPermissions); err != nil {
				return err
			}
		}
	}
	return nil
}

// opens reports whether the change may reveal a channel to a user, given the grants of the
// role there.
func (t roleEffect) opens(said Grants) bool {
	return t.gives && said.Allow.Has(PermissionView) || t.takes && said.Deny.Has(PermissionView)
}

// mayInChannel returns the actor's permissions in a channel of the space.
func (s *Service) mayInChannel(c roleChange, in ChannelOf) Permissions {
	mine := c.mine
	mine.Lists, mine.MutedHere = in.Lists, in.MutedHere
	may := s.mayInSpace(Conversation{MuteAll: in.MuteAll}, mine, rules{roles: c.spaceRoles(), access: &in.Access}, Latest)
	if !may.Has(PermissionView) {
		return 0
	}
	return may
}

// move moves a role to a position and returns its new rank.
func (c *roleChange) move(from, position int) (int, error) {
	if position == 0 {
		return from, nil
	}
	to := min(position, len(c.roles)-1) - 1 // everyone's role stays the last
	if to == from {
		return from, nil
	}
	if err := c.allow(to); err != nil {
		return 0, err
	}
	role := c.roles[from]
	c.roles = slices.Insert(slices.Delete(slices.Clone(c.roles), from, from+1), to, role)
	return to, nil
}

// putRoles stores the roles and publishes the change.
func (s *Service) putRoles(tx Tx, actor Actor, c roleChange, t EventType, role ID) error {
	at, err := tx.Append(Event{
		Type: t, At: s.time(), Conversation: c.space.ID, Space: c.space.ID, RoleID: role,
		Actor: actor.User, ActorDevice: actor.Device,
	})
	if err != nil {
		return err
	}
	return tx.PutRoles(c.space.ID, c.spaceRoles(), at)
}

// CreateRole creates a role of a space and returns it with its position.
func (s *Service) CreateRole(ctx context.Context, actor Actor, id ID, d RoleDraft) (NamedRole, int, error) {
	if err := d.check(); err != nil {
		return NamedRole{}, 0, err
	}
	if d.Name == nil {
		return NamedRole{}, 0, checkName("", MaxRoleName)
	}
	return s.writeRole(ctx, func(tx Tx) (NamedRole, int, error) {
		c, err := s.changeRoles(tx, actor, id)
		if err != nil {
			return NamedRole{}, 0, err
		}
		at := len(c.roles) - 1
		if err := c.allow(at); err != nil {
			return NamedRole{}, 0, err
		}
		if len(c.roles) >= s.policy.MaxRoles {
			return NamedRole{}, 0, Refuse(Rule, "too_many_roles", "a space has at most %d roles", s.policy.MaxRoles)
		}
		role := SpaceRole{ID: s.ids.Next(s.time()), Grants: d.grants(Grants{})}
		if err := allowGrants(c.me.Permissions(), Grants{}, role.Grants, RolePermissions); err != nil {
			return NamedRole{}, 0, err
		}
		c.roles = slices.Insert(slices.Clone(c.roles), at, role)
		if at, err = c.move(at, d.Position); err != nil {
			return NamedRole{}, 0, err
		}
		if err := s.putRoles(tx, actor, c, RoleCreated, role.ID); err != nil {
			return NamedRole{}, 0, err
		}
		return NamedRole{SpaceRole: role, Name: *d.Name}, at + 1, tx.PutRoleName(id, role.ID, *d.Name)
	})
}

// UpdateRole changes a role of a space and returns it with its position. It publishes nothing
// if nothing changes.
func (s *Service) UpdateRole(ctx context.Context, actor Actor, id, role ID, d RoleDraft) (NamedRole, int, error) {
	if err := d.check(); err != nil {
		return NamedRole{}, 0, err
	}
	return s.writeRole(ctx, func(tx Tx) (NamedRole, int, error) {
		c, err := s.changeRoles(tx, actor, id)
		if err != nil {
			return NamedRole{}, 0, err
		}
		at, err := c.role(role)
		if err != nil {
			return NamedRole{}, 0, err
		}
		if role == Everyone && (d.Name != nil || d.Position != 0) {
			return NamedRole{}, 0, errEveryone()
		}
		with, err := named(tx, id, c.roles[at])
		if err != nil {
			return NamedRole{}, 0, err
		}
		before := with[0]
		after := before
		set(&after.Name, d.Name)
		after.Grants = d.grants(before.Grants)
		if err := allowGrants(c.me.Permissions(), before.Grants, after.Grants, RolePermissions); err != nil {
			return NamedRole{}, 0, err
		}
		if d.Position != 0 {
			if err := s.allowEffects(tx, actor, c, roleEffect{rank: at, gives: true, takes: true}); err != nil {
				return NamedRole{}, 0, err
			}
		}
		changed := slices.Clone(c.roles)
		changed[at] = after.SpaceRole
		if err := c.protectHigherRoles(changed, ChannelAccess{}, ChannelAccess{}); err != nil { // the rule for a public channel applies
			return NamedRole{}, 0, err
		}
		c.roles = changed
		to, err := c.move(at, d.Position)
		if err != nil {
			return NamedRole{}, 0, err
		}
		if to == at && after == before {
			return after, to + 1, nil
		}
		if err := s.putRoles(tx, actor, c, RoleUpdated, role); err != nil || role == Everyone {
			return after, to + 1, err
		}
		return after, to + 1, tx.PutRoleName(id, role, after.Name)
	})
}

// writeRole is [write] for a use case that returns a role and its position.
func (s *Service) writeRole(ctx context.Context, fn func(Tx) (NamedRole, int, error)) (role NamedRole, position int, err error) {
	err = s.store.Write(WithBulk(ctx), func(tx Tx) (err error) {
		role, position, err = fn(tx)
		return err
	})
	return role, position, err
}

// DeleteRole deletes a role. Members lose it, and its overrides no longer have an effect.
func (s *Service) DeleteRole(ctx context.Context, actor Actor, id, role ID) error {
	return s.store.Write(WithBulk(ctx), func(tx Tx) error {
		c, err := s.changeRoles(tx, actor, id)
		if err != nil {
			return err
		}
		at, err := c.role(role)
		if err != nil {
			return err
		}
		if role == Everyone {
			return errEveryone()
		}
		if err := s.allowEffects(tx, actor, c, roleEffect{rank: at, takes: true}); err != nil {
			return err
		}
		c.roles = slices.Delete(slices.Clone(c.roles), at, at+1)
		if err := s.putRoles(tx, actor, c, RoleDeleted, role); err != nil {
			return err
		}
		return tx.PutRoleName(id, role, "")
	})
}

// GrantRole gives a role to a member of a space. It is not an error if they have it.
func (s *Service) GrantRole(ctx context.Context, actor Actor, id, role ID, user UserID) error {
	return s.setMemberRoles(ctx, actor, id, user, func(held []ID) []ID { return append(held, role) }, role)
}

// RevokeRole takes a role from a member of a space. It is not an error if they do not have it.
func (s *Service) RevokeRole(ctx context.Context, actor Actor, id, role ID, user UserID) error {
	without := func(held []ID) []ID { return slices.DeleteFunc(held, func(r ID) bool { return r == role }) }
	return s.setMemberRoles(ctx, actor, id, user, without, role)
}

// SetSpaceRoles replaces the roles of a member of a space.
func (s *Service) SetSpaceRoles(ctx context.Context, actor Actor, id ID, user UserID, roles []ID) (SpaceMemberView, error) {
	if err := s.setMemberRoles(ctx, actor, id, user, func([]ID) []ID { return slices.Clone(roles) }, roles...); err != nil {
		return SpaceMemberView{}, err
	}
	return view(ctx, s, func(r Reader) (SpaceMemberView, error) {
		target, err := spaceMember(r, id, 0, user)
		if err != nil {
			return SpaceMemberView{}, err
		}
		roles, err := r.RolesAt(id, Latest)
		return s.spaceMemberView(target, roles), err
	})
}

// setMemberRoles sets the roles of a member to a function of their present roles. named are the
// roles in the request, which must exist.
func (s *Service) setMemberRoles(ctx context.Context, actor Actor, id ID, user UserID, change func([]ID) []ID, named ...ID) error {
	return s.store.Write(WithBulk(ctx), func(tx Tx) error {
		c, err := s.changeRoles(tx, actor, id)
		if err != nil {
			return err
		}
		for _, role := range named {
			if c.roles.rank(role) == len(c.roles) {
				return errUnknownRole()
			}
		}
		target, err := spaceMember(tx, id, 0, user)
		if err != nil {
			return err
		}
		if err := allow(c.space, c.me, PermissionManageRoles); err != nil {
			return err
		}
		if user != actor.User && target.rank(c.spaceRoles()) <= c.rank {
			return errNotBelow()
		}
		if slices.Contains(named, Everyone) {
			return errEveryone()
		}
		held := s.spaceMemberView(target, c.spaceRoles()).Roles
		wanted := unique(change(slices.Clone(held)))
		given := missing(wanted, held)
		taken := missing(held, wanted)
		if len(given)+len(taken) == 0 {
			return nil
		}
		var effects []roleEffect
		for i, role := range slices.Concat(given, taken) {
			rank := c.roles.rank(role)
			if err := c.allow(rank); err != nil {
				return err
			}
			effects = append(effects, roleEffect{rank: rank, gives: i < len(given), takes: i >= len(given)})
		}
		if err := s.allowEffects(tx, actor, c, effects...); err != nil {
			return err
		}
		at, err := tx.Append(memberEvent(MemberUpdated, actor, c.space, s.memberView(target.Membership), s.time()))
		if err != nil {
			return err
		}
		for _, role := range given {
			if err := tx.GrantRole(id, user, role, at); err != nil {
				return err
			}
		}
		for _, role := range taken {
			if err := tx.EndRole(id, user, role, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// missing returns the elements of list that are not in the other list.
func missing(list, in []ID) []ID {
	return slices.DeleteFunc(slices.Clone(list), func(id ID) bool { return slices.Contains(in, id) })
}
