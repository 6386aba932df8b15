package im

// allow returns nil if a user has a permission in a conversation, and otherwise a refusal that
// names it.
func allow(c Conversation, a Access, p Permissions) error {
	if a.Can(p) {
		return nil
	}
	if c.Kind == Direct {
		return Refuse(Rule, "direct_conversation", "members of a direct conversation do not have the permission %s", p)
	}
	return errDenied(p)
}

// errDenied names the permission that the actor lacks.
func errDenied(p Permissions) error {
	return Refuse(Forbidden, "permission_denied", "you need the permission %s here", p)
}

// allowRemoval refuses the removal of a member by a user who lacks [PermissionKick] or, except in a
// thread, whose role is not above the member's.
func allowRemoval(c Conversation, a Access, target MemberView) error {
	if err := allow(c, a, PermissionKick); err != nil {
		return err
	}
	if c.Kind != Thread && target.Role >= a.role {
		return Refuse(Forbidden, "permission_denied", "you may only remove members whose role is below yours")
	}
	return nil
}

// errUnknownConversation is the answer for a conversation that does not exist and for one
// that the actor cannot see. The two must not differ.
func errUnknownConversation() error {
	return Refuse(NotFound, "conversation_not_found", "no such conversation")
}

func errUnknownMessage() error {
	return Refuse(NotFound, "message_not_found", "no such message")
}

func errNotAdmin() error {
	return Refuse(Forbidden, "admin_required", "this needs a token with the scope admin")
}

func errUnknownMember() error {
	return Refuse(NotFound, "member_not_found", "no such member")
}
