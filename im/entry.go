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
