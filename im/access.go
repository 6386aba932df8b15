package im

// Permission is something that a member may be allowed to do.
type Permission string

// The permissions of a conversation.
const (
	PermissionAddMembers    Permission = "add_members"
	PermissionRemoveMembers Permission = "remove_members"
	PermissionManageRoles   Permission = "manage_roles"
	PermissionManage        Permission = "manage_conversation"
	PermissionRevokeOthers  Permission = "revoke_others"
	// PermissionManageRetention is about how long messages are kept.
	PermissionManageRetention Permission = "manage_retention"
	// PermissionDelete is about the whole conversation, for everyone.
	PermissionDelete Permission = "delete_conversation"
)

// least is the lowest role of a group that has each permission.
var least = map[Permission]Role{
	PermissionAddMembers:    Admin,
	PermissionRemoveMembers: Admin,
	PermissionManage:        Admin,
	PermissionRevokeOthers:  Admin,
	PermissionManageRoles:   Owner,

	PermissionManageRetention: Owner,
	PermissionDelete:          Owner,
}

// Allow refuses what a member may not do in a conversation; nil allows it.
func Allow(c Conversation, m Membership, p Permission) error {
	if c.Kind == Direct {
		return Refuse(Rule, "direct_conversation", "a direct conversation has no %s", p)
	}
	if m.Role < least[p] {
		return Refuse(Forbidden, "permission_denied", "you need the permission %s here", p)
	}
	return nil
}

// allowRemoval refuses the removal of a member by another one: who removes
// must stand above.
func allowRemoval(c Conversation, m, target Membership) error {
	if err := Allow(c, m, PermissionRemoveMembers); err != nil {
		return err
	}
	if target.Role >= m.Role {
		return Refuse(Forbidden, "permission_denied", "you may only remove members whose role is below yours")
	}
	return nil
}

// errUnknownConversation is the answer for a conversation that is not there
// and for one that the actor is not in: the two must not be told apart.
func errUnknownConversation() error {
	return Refuse(NotFound, "conversation_not_found", "no such conversation")
}

func errUnknownMessage() error {
	return Refuse(NotFound, "message_not_found", "no such message")
}

func errNotAdmin() error {
	return Refuse(Forbidden, "admin_required", "this takes a token with the scope admin")
}

func errUnknownMember() error {
	return Refuse(NotFound, "member_not_found", "no such member")
}

// enter finds the conversation that an actor means, in which they are a member
// now.
func enter(r Reader, actor Actor, ref ConversationRef) (Conversation, Membership, error) {
	c, err := lookup(r, actor, ref)
	if err != nil {
		return Conversation{}, Membership{}, err
	}
	m, found, err := maybe(r.Membership(c.ID, actor.User))
	if err != nil {
		return Conversation{}, Membership{}, err
	}
	if !found || !m.Active() || !c.DeletedAt.IsZero() {
		return Conversation{}, Membership{}, errUnknownConversation()
	}
	return c, m, nil
}

// lookup finds a conversation by id or by the other user of a direct one.
func lookup(r Reader, actor Actor, ref ConversationRef) (Conversation, error) {
	var (
		c   Conversation
		err error
	)
	switch {
	case ref.Peer == "":
		c, err = r.Conversation(ref.ID)
	case ref.Peer == actor.User:
		return Conversation{}, errSelf()
	default:
		c, err = r.DirectConversation(PeersOf(actor.User, ref.Peer))
	}
	c, found, err := maybe(c, err)
	if err == nil && !found {
		err = errUnknownConversation()
	}
	return c, err
}

func errSelf() error {
	return RefuseField(Rule, "direct_with_self", "conversation", "a direct conversation has two users; this one would be with yourself")
}
