package im

import (
	"iter"
	"math/bits"
	"slices"
)

// Permissions is a set of permissions of one user in a conversation or space.
type Permissions uint32

// The permissions, each a set of one. The numbers are stored: never reuse one.
const (
	// PermissionView allows a user to see that the conversation exists, and to read it.
	PermissionView Permissions = 1 << iota
	PermissionSend
	// PermissionMentionAll allows a user to mention all members at once.
	PermissionMentionAll
	PermissionCreateThread
	// PermissionManageThreads allows a user to rename and delete threads, and to remove
	// their members.
	PermissionManageThreads
	PermissionRevokeOwn
	PermissionRevokeOthers
	// PermissionDeleteOthers allows a user to revoke messages of any age, without a window.
	PermissionDeleteOthers
	PermissionInvite
	PermissionKick
	// PermissionMute allows a user to mute members, to mute all, and to set slow mode.
	PermissionMute
	// PermissionManageMembers allows a user to add members to a space without an
	// invitation, and to edit the allow and deny lists.
	PermissionManageMembers
	// PermissionManageRoles allows a user to change roles and their permissions, and to
	// give them to members.
	PermissionManageRoles
	// PermissionManageConversation allows a user to change the name and the settings; in a
	// space also to create and delete channels.
	PermissionManageConversation
	// PermissionManageSpace allows a user to change the name and the settings of a space.
	PermissionManageSpace
	// PermissionManageRetention allows a user to change the retention of messages.
	PermissionManageRetention
	// PermissionDelete allows a user to delete the conversation or space for everyone.
	PermissionDelete

	pastPermissions // ends the list
)

const allPermissions = pastPermissions - 1

// RolePermissions are the permissions that roles of a space can allow and deny. In the space, only
// the owner has the others.
const RolePermissions = allPermissions &^ (PermissionManageRetention | PermissionDelete)

// ChannelPermissions are the permissions that overrides of a channel can allow and deny. The
// other RolePermissions concern the space as a whole.
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

// String returns the name of one permission in the API, "" for a set of several.
func (p Permissions) String() string { return permissionNames[p] }

// ParsePermission reads what [Permissions.String] wrote.
func ParsePermission(s string) (Permissions, bool) { return permissionNames.parse(s) }

// Has reports whether the set has all of the others.
func (p Permissions) Has(others Permissions) bool { return p&others == others }

// Each returns the permissions of the set one by one.
func (p Permissions) Each() iter.Seq[Permissions] {
	return func(yield func(Permissions) bool) {
		for ; p != 0; p &= p - 1 {
			if !yield(1 << bits.TrailingZeros32(uint32(p))) {
				return
			}
		}
	}
}

// speaking are the permissions that a muted member loses.
const speaking = PermissionSend | PermissionMentionAll | PermissionCreateThread

// The permissions of each role in the kinds with fixed roles.
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

// DefaultPermissions are the permissions of all members of a new space.
const DefaultPermissions = PermissionView | PermissionSend | PermissionCreateThread | PermissionRevokeOwn

// Grants are the permissions that a role allows and denies. On all others the role is silent, and
// the next lower role decides.
type Grants struct{ Allow, Deny Permissions }

// over returns the grants of g completed with those of the next lower role, below.
func (g Grants) over(below Grants) Grants {
	said := g.Allow | g.Deny
	return Grants{Allow: g.Allow | below.Allow&^said, Deny: g.Deny | below.Deny&^said}
}

// SpaceRole is a role of a space without its name.
type SpaceRole struct {
	// ID is [Everyone] for the role that every member has.
	ID ID
	Grants
}

// NamedRole is a role of a space with its name, which is content.
type NamedRole struct {
	SpaceRole
	Name string
}

// Everyone is the id of the role that every member of a space has, and everyoneName is its
// name.
const (
	Everyone     ID = 0
	everyoneName    = "everyone"
)

// RoleSet holds the roles of a space, the highest first. The last is everyone's.
type RoleSet []SpaceRole

// SpaceRoles are the owner of a space, who has all permissions, and its roles. A channel may
// have overrides in addition.
type SpaceRoles struct {
	Owner UserID // "" if all members have left
	Roles RoleSet
}

// roleOf returns [Owner] for the owner of the space and [Member] for other members.
func (s SpaceRoles) roleOf(user UserID) Role {
	if user == s.Owner {
		return Owner
	}
	return Member
}

// rank returns the index of a role, where 0 is the highest, and the length of the set for an
// unknown role.
func (s RoleSet) rank(id ID) int {
	if i := slices.IndexFunc(s, func(r SpaceRole) bool { return r.ID == id }); i >= 0 {
		return i
	}
	return len(s)
}

// Override is what a role allows and denies in one channel.
type Override struct {
	Role ID
	Grants
}

// ChannelAccess is what determines access to a channel in addition to the roles of its space.
type ChannelAccess struct {
	// Private hides the channel from every member who is not the owner, is not on its allow list and
	// has no role whose override allows viewing the channel.
	Private   bool
	Overrides []Override
}

// override returns the grants of a role in the channel, which are empty for most roles.
func (a ChannelAccess) override(role ID) Grants {
	for i := range a.Overrides {
		if a.Overrides[i].Role == role {
			return a.Overrides[i].Grants
		}
	}
	return Grants{}
}

// PermissionInput is what determines the permissions of a user in a conversation or space of one
// kind. Fields of other kinds are zero.
type PermissionInput struct {
	Kind Kind
	// Member is set for a member, in a channel for a member of its space.
	Member bool
	// Role is the role of a member.
	Role Role
	// Muted is set while the user is muted. MuteAll is set while all users without [PermissionMute]
	// are muted.
	Muted, MuteAll bool
	// MembersInvite is set for a group in which every member may add others.
	MembersInvite bool
	// Creator is set for the user who created a thread, and Parent are the user's permissions
	// in the parent.
	Creator bool
	Parent  Permissions

	// Roles are the roles of the space. Has are the ids of the member's roles, except for the
	// role that everyone has. Both are set for spaces and channels only.
	Roles RoleSet
	Has   []ID
	// Channel is set for a channel.
	Channel *ChannelAccess
	// Allowed and Denied say whether the member is on the allow and deny lists of the
	// channel.
	Allowed, Denied bool
}

// Permissions returns the permissions of the user. There are none if they cannot see the
// conversation.
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
		_, said := s.combined()
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

// inThread derives permissions in a thread from those in its parent. A user who can read the
// parent can read the thread; only members of the thread can send.
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

// combined returns the combined grants of the member's roles, from the overrides of the
// channel and from the space. For each permission the highest role decides that allows or
// denies it.
func (s PermissionInput) combined() (here, space Grants) {
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

// inChannel applies the lists of the channel first, which decide about [PermissionView], then
// its overrides, then the roles of the space.
func (s PermissionInput) inChannel() Permissions {
	if s.Channel == nil {
		return 0
	}
	here, space := s.combined()
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
