package im

import (
	"crypto/sha256"
	"slices"
)

// Creation is the use of a client_id for creating a conversation or space.
type Creation struct {
	// Creator is the user who created it, under ClientID.
	Creator      UserID
	ClientID     string
	Conversation ID
	// Members identifies the users whom the request named as members.
	Members [sha256.Size]byte
}

// Created is a conversation that was created as its creator sees it.
type Created struct {
	ConversationView
	// Again is set if an earlier request with the same client_id created it.
	Again bool
}

// CreatedSpace is Created for a space.
type CreatedSpace struct {
	SpaceView
	Again bool
}

// creation is a request to create a conversation or space.
type creation struct {
	actor    Actor
	clientID string // "" if the request may create another one each time
	// wanted is what the request asks for, without an id, and members are the users whom it names.
	wanted  Conversation
	members []UserID
}

// check refuses a malformed client_id.
func (q creation) check() error { return checkClientID(q.clientID) }

// earlier is what an earlier request with the same client_id means for a creation.
type earlier struct {
	// created is the conversation that the request repeats, 0 if it repeats none.
	created ID
	// refusal is the reason why the client_id cannot be used. It comes after those about
	// permissions, as that of a message does.
	refusal error
}

// earlier finds the earlier request with the same client_id.
func (q creation) earlier(r ConversationReader) (earlier, error) {
	if q.clientID == "" {
		return earlier{}, nil
	}
	first, found, err := maybe(r.Creation(q.actor.User, q.clientID))
	if err != nil || !found {
		return earlier{}, err
	}
	c, err := r.Conversation(first.Conversation)
	switch {
	case err != nil:
		return earlier{}, err
	case !c.DeletedAt.IsZero():
		return earlier{refusal: RefuseField(Gone, "conversation_gone", "client_id", "belongs to a deleted conversation, which is not created again")}, nil
	case q.digest() != first.Members || !q.asks(c):
		return earlier{refusal: RefuseField(Conflict, "client_id_reused", "client_id", "was used for another conversation that you have created")}, nil
	default:
		return earlier{created: c.ID}, nil
	}
}

// asks reports whether c is what the request asks for. The name and settings that c had at first
// are known only until the first change of them. After it, any are taken for a repetition, as any
// content is of an erased message.
func (q creation) asks(c Conversation) bool {
	if q.wanted.Kind != c.Kind || q.wanted.Space != c.Space || q.wanted.Root != c.Root {
		return false
	}
	if !c.EditedAt.Equal(c.CreatedAt) {
		return true
	}
	wanted := q.wanted
	if c.Kind == Thread {
		wanted.Retention = c.Retention // follows the parent
	}
	return sameSettings(wanted, c)
}

// remember stores that the request has created a conversation.
func (q creation) remember(tx ConversationWriter, id ID) error {
	if q.clientID == "" {
		return nil
	}
	return tx.PutCreation(Creation{Creator: q.actor.User, ClientID: q.clientID, Conversation: id, Members: q.digest()})
}

// createdAgain returns the view of a conversation that an earlier request created.
func (s *Service) createdAgain(r Reader, actor Actor, before earlier, err error) (Created, error) {
	if err != nil {
		return Created{}, err
	}
	v, err := s.currentView(r, actor, before.created)
	return Created{ConversationView: v, Again: true}, err
}

// createdNow remembers the client_id of a request and returns the view of the conversation that it
// has created.
func (s *Service) createdNow(tx Tx, q creation, id ID) (Created, error) {
	if err := q.remember(tx, id); err != nil {
		return Created{}, err
	}
	v, err := s.currentView(tx, q.actor, id)
	return Created{ConversationView: v}, err
}

// digest returns a hash of the users whom the request names. Members leave and others join, so the
// members of the conversation do not say whom a request named.
func (q creation) digest() (sum [sha256.Size]byte) {
	h := sha256.New()
	users := slices.DeleteFunc(unique(q.members), func(u UserID) bool { return u == q.actor.User })
	slices.Sort(users)
	for _, u := range users {
		h.Write(append([]byte(u), 0)) // no user id contains a zero byte
	}
	h.Sum(sum[:0])
	return sum
}
