package im

import (
	"iter"
	"math/bits"
	"slices"
)

// Permissions is a set of things that somebody may do in a place. A place is a
// conversation of any kind, or a space.
type Permissions uint32

// The permissions, each a set of one. Their numbers are stored: never reuse one.
const (
	// PermissionView is seeing that the place is there, and reading it.
	PermissionView Permissions = 1 << iota
	PermissionSend
	// PermissionMentionAll is mentioning everyone at once.
	PermissionMentionAll
	PermissionCreateThread
	// PermissionManageThreads is renaming and dissolving threads, and removing
	// their members.
	PermissionManageThreads
	PermissionRevokeOwn
	PermissionRevokeOthers
	// PermissionDeleteOthers is deleting messages for everyone, however old.
	PermissionDeleteOthers
	PermissionInvite
	PermissionKick
	// PermissionMute is keeping members, or all, from sending for a time.
	PermissionMute
	// PermissionManageMembers is adding members of a space without asking them,
	// and the lists of who may not, or may, see a place.
	PermissionManageMembers
	// PermissionManageRoles is changing roles, what they may, and who has them.
	PermissionManageRoles
	// PermissionManageConversation is the name and the settings; in a space,
	// creating and deleting channels, too.
	PermissionManageConversation
	// PermissionManageSpace is the name and the settings of a space.
	PermissionManageSpace
	// PermissionManageRetention is about how long messages are kept.
	PermissionManageRetention
	// PermissionDelete is about the whole place, for everyone.
	PermissionDelete

	pastPermissions // ends the list
)

const allPermissions = pastPermissions - 1

// RolePermissions are those that roles of a space can give and take. The others
// stay with its owner.
const RolePermissions = allPermissions &^ (PermissionManageRetention | PermissionDelete)

// ChannelPermissions are those of them that are about a channel. The others are about
// the space: no channel says something else.
const ChannelPermissions = RolePermissions &^ (PermissionInvite | PermissionKick | PermissionManageSpace)

var permissionNames = names[Permissions]{
	PermissionView: "view", PermissionSend: "send", PermissionMentionAll: "mention_all",
	PermissionCreateThread: "create_thread", PermissionManageThreads: "manage_threads",
	PermissionRevokeOwn: "revoke_own", PermissionRevokeOthers: "revoke_others", PermissionDeleteOthers: "delete_others",
	PermissionInvite: "invite", PermissionKick: "kick", PermissionMute: "mute",
	PermissionManageMembers: "manage_members", PermissionManageRoles: "manage_roles",
	PermissionManageConversation: "manage_conversation", PermissionManageSpace: "manage_space",
	PermissionManageRetention: "manage_retention", PermissionDelete: "delete",
}

// String returns the name of one permission as clients know it.
func (p Permissions) String() string { return permissionNames[p] }

// ParsePermission reads what [Permissions.String] wrote.
func ParsePermission(s string) (Permissions, bool) { return permissionNames.parse(s) }

// Has reports whether all of others are in the set.
func (p Permissions) Has(others Permissions) bool { return p&others == others }

// Each are the single permissions of the set.
func (p Permissions) Each() iter.Seq[Permissions] {
	return func(yield func(Permissions) bool) {
		for ; p != 0; p &= p - 1 {
			if !yield(1 << bits.TrailingZeros32(uint32(p))) {
				return
			}
		}
	}
}

// speaking are the permissions that somebody who is muted does not have.
const speaking = PermissionSend | PermissionMentionAll | PermissionCreateThread

// What members of each role may in the kinds that have roles of their own. A
// higher role may all that a lower one may.
const (
	memberOfDirect = PermissionView | PermissionSend | PermissionRevokeOwn | PermissionDelete

	memberOfRoom = PermissionView | PermissionSend | PermissionRevokeOwn
	adminOfRoom  = memberOfRoom | PermissionMentionAll | PermissionRevokeOthers | PermissionInvite | PermissionKick |
		PermissionMute | PermissionManageMembers | PermissionManageConversation
	ownerOfRoom = adminOfRoom | PermissionDeleteOthers | PermissionManageRoles | PermissionManageRetention | PermissionDelete

	ownerOfChannel = ChannelPermissions | PermissionManageRetention | PermissionDelete

	memberOfGroup = memberOfRoom | PermissionCreateThread
	adminOfGroup  = adminOfRoom | PermissionCreateThread | PermissionManageThreads
	ownerOfGroup  = ownerOfRoom | PermissionCreateThread | PermissionManageThreads
)

// EveryoneMay is what every member of a new space may.
const EveryoneMay = PermissionView | PermissionSend | PermissionCreateThread | PermissionRevokeOwn

// Grants is what a role says of permissions: those that it gives, and those that
// it takes. Of the others it says nothing: what decides those is below it.
type Grants struct{ Allow, Deny Permissions }

// over decides by g, then by what is below.
func (g Grants) over(below Grants) Grants {
	said := g.Allow | g.Deny
	return Grants{Allow: g.Allow | below.Allow&^said, Deny: g.Deny | below.Deny&^said}
}

// SpaceRole is what of a role of a space decides who may what.
type SpaceRole struct {
	// ID is [Everyone] of the role that every member has.
	ID ID
	Grants
}

// NamedRole is a role of a space with its name, which is content.
type NamedRole struct {
	SpaceRole
	Name string
}

// Everyone is the id of the role that every member of a space has, and everyoneName its
// name.
const (
	Everyone     ID = 0
	everyoneName    = "everyone"
)

// RoleSet is the roles of a space, the highest first. Everyone's is the last.
type RoleSet []SpaceRole

// SpaceRoles is what decides, besides what a channel has of its own, who may do what in a
// space: its owner, who may do everything, and its roles.
type SpaceRoles struct {
	Owner UserID // "" while nobody owns it
	Roles RoleSet
}

// roleOf returns whether a member of the space is its owner or one of its other members.
func (s SpaceRoles) roleOf(user UserID) Role {
	if user == s.Owner {
		return Owner
	}
	return Member
}

// rank returns the place of a role: 0 is the highest. Of one that is not there it
// is below all.
func (s RoleSet) rank(id ID) int {
	if i := slices.IndexFunc(s, func(r SpaceRole) bool { return r.ID == id }); i >= 0 {
		return i
	}
	return len(s)
}

// Override is what a role says in one channel.
type Override struct {
	Role ID
	Grants
}

// ChannelAccess is what decides, besides the roles of the space, who may what in
// a channel.
type ChannelAccess struct {
	// Private leaves the channel to those on its allow list and to the roles
	// that an override lets view it.
	Private   bool
	Overrides []Override
}

// override returns what a role says in the channel: nothing, mostly.
func (a ChannelAccess) override(role ID) Grants {
	for i := range a.Overrides {
		if a.Overrides[i].Role == role {
			return a.Overrides[i].Grants
		}
	}
	return Grants{}
}

// PermissionInput is all that decides what somebody may do in a place. It is of one
// kind, and what others have is left out.
type PermissionInput struct {
	Kind Kind
	// Member is set for a member, of a channel for one of its space.
	Member bool
	// Role is what a member is.
	Role Role
	// Muted is set while they may not speak, MuteAll while none may who cannot
	// mute.
	Muted, MuteAll bool
	// MembersInvite is set in a group that lets every member add others.
	MembersInvite bool
	// Creator is set for who created a thread, and Parent is what they may in
	// the place that it hangs in.
	Creator bool
	Parent  Permissions

	// Of a space and of a channel: its roles, and which of them the member has,
	// besides everyone's.
	Roles RoleSet
	Has   []ID
	// Of a channel alone.
	Channel *ChannelAccess
	// Allowed and Denied say whether they are on those lists of the channel.
	Allowed, Denied bool
}

// Permissions returns what somebody may do in a place of any kind. It decides
// all that depends on who they are: nothing, if they cannot know of the place.
func (s PermissionInput) Permissions() Permissions {
	var may Permissions
	switch {
	case s.Kind == Thread:
		may = s.inThread()
	case !s.Member:
		return 0
	case s.Kind == Direct:
		return memberOfDirect
	case s.Kind == Group:
		may = byRole(s.Role, memberOfGroup, adminOfGroup, ownerOfGroup)
		if s.MembersInvite {
			may |= PermissionInvite
		}
	case s.Kind == Room:
		may = byRole(s.Role, memberOfRoom, adminOfRoom, ownerOfRoom)
	case s.Role == Owner && s.Kind == Channel:
		may = ownerOfChannel
	case s.Role == Owner:
		may = allPermissions
	case s.Kind == Space:
		_, said := s.said()
		may = said.Allow | PermissionView
	case s.Kind == Channel:
		may = s.inChannel()
	}
	if s.Muted || s.MuteAll && !may.Has(PermissionMute) {
		may &^= speaking
	}
	return may
}

func byRole(r Role, member, admin, owner Permissions) Permissions {
	switch r {
	case Owner:
		return owner
	case Admin:
		return admin
	default:
		return member
	}
}

// inThread follows what somebody may in the parent: who can read that can read
// the thread, who has joined can speak there.
func (s PermissionInput) inThread() Permissions {
	if !s.Parent.Has(PermissionView) {
		return 0
	}
	may := s.Parent & (PermissionView | PermissionRevokeOwn | PermissionRevokeOthers | PermissionDeleteOthers | PermissionManageThreads)
	if s.Member {
		may |= s.Parent & (PermissionSend | PermissionMentionAll)
	}
	if may.Has(PermissionManageThreads) {
		may |= PermissionKick | PermissionManageConversation | PermissionDelete
	}
	if s.Creator && s.Parent.Has(PermissionCreateThread) {
		may |= PermissionManageConversation
	}
	return may
}

// said goes from the highest of the member's roles to everyone's: the first that
// says something of a permission decides it. It returns what they say in the
// channel, and what in the space.
func (s PermissionInput) said() (here, space Grants) {
	for i := range s.Roles {
		role := &s.Roles[i]
		if role.ID != Everyone && !slices.Contains(s.Has, role.ID) {
			continue
		}
		space = space.over(role.Grants)
		if s.Channel != nil {
			here = here.over(s.Channel.override(role.ID))
		}
	}
	return here, space
}

// inChannel asks the channel's overrides before the space. Whether the channel can
// be seen at all, its lists decide first.
func (s PermissionInput) inChannel() Permissions {
	if s.Channel == nil {
		return 0
	}
	here, space := s.said()
	may := here.over(space).Allow & ChannelPermissions
	switch {
	case s.Channel.Private && s.Allowed:
		may |= PermissionView
	case s.Channel.Private && !here.Allow.Has(PermissionView), !s.Channel.Private && s.Denied:
		return 0
	}
	if !may.Has(PermissionView) {
		return 0
	}
	if may.Has(PermissionManageConversation) {
		may |= PermissionDelete
	}
	return may
}
