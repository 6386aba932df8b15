package im

// EntryQuery asks for what is to be known when a user comes to a conversation.
type EntryQuery struct {
	// Conversation is its id; if that is 0 it is the direct one of Peers.
	Conversation ID
	Peers        [2]UserID
	// User is who comes.
	User UserID
	// ClientID is what a message of theirs may be known by that they send again, "" for
	// none.
	ClientID string
}

// Entry is what is known of a conversation and of a user who comes to it.
type Entry struct {
	Conversation Conversation
	// Membership is theirs, as [MemberReader.Membership] returns it, if Member is set; else they
	// have none.
	Membership Membership
	Member     bool
	// Blocked is set if the other user of a direct conversation has blocked them.
	Blocked bool
	// Sent is their message that has this client_id, 0 without one.
	Sent ID
	// Gone is set if they had one that was removed and is not forgotten.
	Gone bool
}

// enter returns the conversation that an actor names, and their access to it. It refuses
// one that they cannot see in the same way as one that does not exist.
func (s *Service) enter(r Reader, actor Actor, ref ConversationRef) (Conversation, Access, error) {
	e, me, err := s.enterAs(r, actor, ref, "")
	return e.Conversation, me, err
}

// enterAs is enter with what is known of a client_id.
func (s *Service) enterAs(r Reader, actor Actor, ref ConversationRef, clientID string) (Entry, Access, error) {
	q := EntryQuery{Conversation: ref.ID, User: actor.User, ClientID: clientID}
	if ref.Peer != "" {
		if ref.Peer == actor.User {
			return Entry{}, Access{}, errSelf()
		}
		q.Conversation, q.Peers = 0, PeersOf(actor.User, ref.Peer)
	}
	e, found, err := maybe(r.Entry(q))
	if err == nil && !found {
		err = errUnknownConversation()
	}
	if err != nil {
		return Entry{}, Access{}, err
	}
	me, err := s.accessOf(r, e.Conversation, actor.User, e.Membership)
	if err != nil {
		return Entry{}, Access{}, err
	}
	if !me.Can(PermissionView) || e.Conversation.Kind == Space {
		return Entry{}, Access{}, errUnknownConversation()
	}
	return e, me, nil
}

// lookup finds a conversation by id or by the other user of a direct one.
func lookup(r Reader, actor Actor, ref ConversationRef) (Conversation, error) {
	var (
		c   Conversation
		err error
	)
	switch ref.Peer {
	case "":
		c, err = r.Conversation(ref.ID)
	case actor.User:
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
