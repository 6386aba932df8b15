package im

// Allow refuses what a member may not do in a conversation; nil allows it. The
// refusal names the permission that they lack.
func Allow(c Conversation, m Membership, p Permissions) error {
	if m.May.Has(p) {
		return nil
	}
	if c.Kind == Direct {
		return Refuse(Rule, "direct_conversation", "a direct conversation has no %s", p)
	}
	return errDenied(p)
}

// errDenied names the permission that somebody lacks.
func errDenied(p Permissions) error {
	return Refuse(Forbidden, "permission_denied", "you need the permission %s here", p)
}

// allowRemoval refuses the removal of a member by another one: who removes
// must stand above.
func allowRemoval(c Conversation, m, target Membership) error {
	if err := Allow(c, m, PermissionKick); err != nil {
		return err
	}
	if c.Kind != Thread && target.Role >= m.Role {
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

// enter finds the conversation that an actor means and can see now, with their
// standing there. It asks before anything else whether it is there for them.
func (s *Service) enter(r Reader, actor Actor, ref ConversationRef) (Conversation, Membership, error) {
	e, err := s.enterAs(r, actor, ref, "")
	return e.Conversation, e.Membership, err
}

// enterAs is enter with what is known of a client_id. The entry's Membership has what
// they may.
func (s *Service) enterAs(r Reader, actor Actor, ref ConversationRef, clientID string) (Entry, error) {
	q := EntryQuery{Conversation: ref.ID, User: actor.User, ClientID: clientID}
	if ref.Peer != "" {
		if ref.Peer == actor.User {
			return Entry{}, errSelf()
		}
		q.Conversation, q.Peers = 0, PeersOf(actor.User, ref.Peer)
	}
	e, found, err := maybe(r.Entry(q))
	if err == nil && !found {
		err = errUnknownConversation()
	}
	if err != nil {
		return Entry{}, err
	}
	if e.Membership, err = s.standAs(r, e.Conversation, actor.User, e.Membership, e.Member); err != nil {
		return Entry{}, err
	}
	if !e.Membership.May.Has(PermissionView) || e.Conversation.Kind == Space {
		return Entry{}, errUnknownConversation()
	}
	return e, nil
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
