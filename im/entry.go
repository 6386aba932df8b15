package im

// EntryQuery asks for an [Entry].
type EntryQuery struct {
	// Conversation is the id of the conversation. If it is 0, Peers are the users of a
	// direct one.
	Conversation ID
	Peers        [2]UserID
	// User is the acting user.
	User UserID
	// ClientID is the client_id of the message that they send, "" for none.
	ClientID string
}

// Entry is what a use case needs to know of a conversation and of the acting user, loaded in one
// call.
type Entry struct {
	Conversation Conversation
	// Membership is the user's membership, as [MemberReader.Membership] returns it. Member is false
	// if they never had one.
	Membership Membership
	Member     bool
	// Blocked is set if the other user of a direct conversation has blocked them.
	Blocked bool
	// Sent is their earlier message with the client_id, 0 if there is none.
	Sent ID
	// Gone is set if such a message was trimmed or purged and is remembered.
	Gone bool
}

// enter returns the conversation that an actor names, and their access to it. It refuses
// one that they cannot see in the same way as one that does not exist.
func (s *Service) enter(r Reader, actor Actor, ref ConversationRef) (Conversation, Access, error) {
	e, me, err := s.enterAs(r, actor, ref, "")
	if err != nil {
		return Conversation{}, Access{}, err
	}
	return e.Conversation, me, nil
}

// enterAs is enter, and also looks up a client_id of the actor. If the actor cannot see the
// conversation, it returns the entry together with the refusal.
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
		return e, Access{}, errUnknownConversation()
	}
	return e, me, nil
}

// lookup returns a conversation by its id or by the other user of a direct one, whether the
// actor can see it or not.
func lookup(r ConversationReader, actor Actor, ref ConversationRef) (Conversation, error) {
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
