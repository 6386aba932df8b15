package im

import "time"

// MaxIntervals bounds the intervals of a user in a conversation: only the newest count. Without it,
// each joining and leaving would make every read of the membership slower. The same limit applies
// to a user's intervals on a list and in a role.
const MaxIntervals = 100

// MemberReader reads the current and former members of a conversation, and mutes, lists,
// invitations and blocks.
type MemberReader interface {
	// Membership returns the membership of a current or former member, with their mark and
	// mute, and the newest [MaxIntervals] of their intervals. It returns ErrNotFound if
	// they never were a member.
	Membership(conversation ID, user UserID) (Membership, error)
	// Memberships returns for each of a list of conversations what Membership returns for a
	// user, in any order and in few statements. It leaves out conversations that they never
	// were a member of.
	Memberships(user UserID, conversations []ID) ([]Membership, error)
	// Members returns a page of the current members, in a stable order, with their mutes
	// and without their intervals. page.After is a user.
	Members(conversation ID, page Page) ([]Membership, error)
	// MembersAt returns the users of a list who were members when the event at a position
	// happened, with their intervals, each user once. The list may contain duplicates.
	MembersAt(conversation ID, at Position, users []UserID) ([]Membership, error)
	// MembersAtSeq returns up to limit users who were members when the message with this
	// seq was sent, in the order of users.
	MembersAtSeq(conversation ID, seq int64, limit int) ([]UserID, error)
	// EveryMembership returns up to limit memberships of current and former members,
	// without their marks, in the order of users, all greater than the argument after.
	EveryMembership(conversation ID, after UserID, limit int) ([]Membership, error)
	// Muting returns the users among the given ones who have muted the conversation for themselves.
	Muting(conversation ID, users []UserID) ([]UserID, error)
	// OwnerOf returns the owner of a conversation or space, or ErrNotFound if it has none.
	OwnerOf(conversation ID) (UserID, error)

	// Spoke returns when the user last did something in a conversation or its threads that
	// slow mode counts, as [MemberWriter.PutSpoke] stored it; false if they never did.
	Spoke(conversation ID, user UserID) (time.Time, bool, error)

	// Listed returns a page of the users on a list of a conversation now, in the order of users.
	// page.After is a user.
	Listed(conversation ID, list List, page Page) ([]Listing, error)
	// OnList reports whether the user is on a list of a conversation now.
	OnList(conversation ID, list List, user UserID) (bool, error)
	// Invitation returns a user's invitation to a group, room or space, or ErrNotFound.
	Invitation(conversation ID, user UserID) (Invitation, error)
	// Invitations returns a page of the invitations to a conversation, in the order of their
	// users. page.After is a user.
	Invitations(conversation ID, page Page) ([]Invitation, error)
	// InvitationsOf returns up to limit invitations of a user, except those to deleted
	// conversations and spaces, in ascending order of the conversation's id, with ids greater than
	// the argument after; 0 starts at the beginning.
	InvitationsOf(user UserID, after ID, limit int) ([]Invitation, error)
	// Blocked reports whether by has blocked user.
	Blocked(by, user UserID) (bool, error)
	// BlockedBy returns the users of a list who have blocked one user. The list may contain
	// duplicates.
	BlockedBy(users []UserID, user UserID) ([]UserID, error)
	// Blocks returns a page of the users that one user, by, has blocked, in the order of the
	// blocked users. page.After is a blocked user.
	Blocks(by UserID, page Page) ([]Block, error)
}

// MemberWriter changes the members of a conversation, and what it stores about single users.
type MemberWriter interface {
	// AddMember makes m.User a member with m.Role since m.JoinedAt, and raises the member
	// count. It opens an interval at the event from, whose first message is the next one sent.
	// The user must not be a member. It returns ErrNotFound if there is no such conversation.
	AddMember(m Membership, from Position) error
	// RemoveMember ends the membership of a user, and lowers the member count. It closes
	// their interval at the event to, with the newest message as its last. left reports whether
	// they left and were not removed. It returns ErrNotFound if they are not a member.
	RemoveMember(conversation ID, user UserID, to Position, left bool) error
	// RestoreMember stores a membership from an import: m.Role and m.JoinedAt of a current member,
	// for whom it raises the member count, and the seqs of all intervals. Closed intervals ended
	// before any event; an open one begins at the event from. The user must have no membership in
	// the conversation.
	RestoreMember(m Membership, from Position) error
	// SetRole stores a member's role, or returns ErrNotFound if they are not a member.
	SetRole(conversation ID, user UserID, role Role) error

	// PutMute stores the time until which a user may not send to a conversation; zero ends
	// the mute. The user need not be a member.
	PutMute(conversation ID, user UserID, until time.Time) error
	// PutSpoke stores when a user did something that slow mode counts.
	PutSpoke(conversation ID, user UserID, at time.Time) error

	// PutListed puts a user on a list of a conversation, from an event on. It does nothing
	// if they are on it.
	PutListed(conversation ID, list List, user UserID, at time.Time, from Position) error
	// EndListed takes a user off a list, from an event on. It does nothing if they are not
	// on it.
	EndListed(conversation ID, list List, user UserID, to Position) error
	// PutInvitation stores an invitation. It replaces one of the same user to the same
	// conversation.
	PutInvitation(i Invitation) error
	// DeleteInvitation deletes an invitation. It does nothing if there is none.
	DeleteInvitation(conversation ID, user UserID) error
	// PutBlock stores that by has blocked user. It does nothing if that is stored already.
	PutBlock(by, user UserID, at time.Time) error
	// DeleteBlock ends a block. It does nothing if there is none.
	DeleteBlock(by, user UserID) error
}
