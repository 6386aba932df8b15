package im

import "time"

// ConversationReader reads conversations of all kinds and the threads and channels in
// them.
type ConversationReader interface {
	// Conversation returns a conversation by its id, even a deleted one, or ErrNotFound.
	Conversation(id ID) (Conversation, error)
	// ConversationsByID returns those of a list of conversations that exist, deleted ones too,
	// in the order of the list and in few statements.
	ConversationsByID(ids []ID) ([]Conversation, error)
	// DirectConversation returns the direct conversation of two users, or ErrNotFound if
	// they have none or it was deleted.
	DirectConversation(peers [2]UserID) (Conversation, error)
	// Entry returns a conversation with what a use case needs to know about a user who
	// acts in it. It returns ErrNotFound if there is no such conversation.
	Entry(q EntryQuery) (Entry, error)
	// Conversations returns a page of the direct conversations, groups and rooms that a
	// user is a member of now.
	Conversations(q ConversationQuery) ([]ListedConversation, error)
	// NthConversation returns the id of the nth of the direct conversations, groups and rooms that
	// the user is a member of now, in the order of ids and beginning with the id from; n counts
	// from 0. It returns ErrNotFound if there are fewer.
	NthConversation(user UserID, from ID, n int) (ID, error)
	// ConversationsOf returns up to limit ids of the direct conversations and groups that
	// the user is a member of now, in descending order, all less than the argument before; 0
	// starts at the beginning.
	ConversationsOf(user UserID, before ID, limit int) ([]ID, error)
	// ConversationIDs returns up to limit ids of conversations that were not deleted, in
	// ascending order, all greater than the argument after, which may be negative; 0 starts at
	// the beginning.
	ConversationIDs(after ID, limit int) ([]ID, error)

	// Creation returns the creation by a user under a client_id, or ErrNotFound if there is none
	// or it was forgotten.
	Creation(creator UserID, clientID string) (Creation, error)

	// Descendants returns the ids of the conversations in this one that were not deleted: the
	// threads of a group or channel, the channels of a space and their threads.
	Descendants(id ID) ([]ID, error)
	// Threads returns up to limit threads of a group or channel that were not deleted, in
	// descending order of id, with ids less than the argument before; 0 starts at the beginning.
	Threads(parent, before ID, limit int) ([]Conversation, error)
	// ThreadOf returns the thread under a message, or ErrNotFound if there is none or it
	// was deleted.
	ThreadOf(message ID) (Conversation, error)
	// JoinedThreads returns up to limit threads that the user is a member of now, in
	// descending order of id, with ids less than the argument before; 0 starts at the beginning.
	JoinedThreads(user UserID, before ID, limit int) ([]Conversation, error)
	// JoinedThreadsIn returns up to limit ids of threads of a group, channel or space that the
	// user is a member of now, in any order.
	JoinedThreadsIn(user UserID, id ID, limit int) ([]ID, error)
	// LastActive returns when the newest message of a thread was sent that was not erased
	// and that every member can see; false if there is none.
	LastActive(thread ID) (time.Time, bool, error)
	// Channels returns up to limit channels of a space that were not deleted, in ascending
	// order of id, with ids greater than the argument after; 0 starts at the beginning.
	Channels(space, after ID, limit int) ([]Conversation, error)
	// Spaces returns up to limit spaces that the user is a member of now, in ascending order of
	// id, with ids greater than the argument after; 0 starts at the beginning.
	Spaces(user UserID, after ID, limit int) ([]Conversation, error)
}

// ConversationWriter changes conversations.
type ConversationWriter interface {
	// CreateConversation stores a new conversation without members.
	CreateConversation(c Conversation) error
	// PutCreation stores that a conversation was created under a client_id, until it is forgotten
	// after the conversation was deleted. The creator must have no creation under the client_id.
	PutCreation(c Creation) error
	// UpdateConversation stores the texts and settings of a conversation, its UpdatedAt
	// and EditedAt, and its TrimBefore if that is later than the stored one. The old value
	// of a name, announcement or avatar that changes is erased. It returns ErrNotFound if
	// there is no such conversation.
	UpdateConversation(c Conversation) error
	// DeleteConversation marks a conversation and all conversations in it as deleted by
	// the event at position by. Their peers, members and lists end with that event, and
	// their texts and the names of their roles are erased. Their messages are left to
	// Purge. It returns ErrNotFound if the conversation is unknown or deleted.
	DeleteConversation(id ID, at time.Time, by Position) error
	// SetThreadRetention stores the retention of up to limit threads of a conversation, in
	// ascending order of id, with ids greater than the argument after; 0 starts at the beginning.
	// Threads with messages older than past get past as their TrimBefore, unless theirs is
	// later; a zero past changes no TrimBefore. It returns the id of the last of the threads and
	// whether there are more.
	SetThreadRetention(id ID, retention *time.Duration, past time.Time, after ID, limit int) (last ID, more bool, err error)
	// PutActivity stores Messages and ActiveAt of a thread, or returns ErrNotFound.
	PutActivity(thread ID, messages int64, at time.Time) error
}
