package im

import (
	"context"
	"time"

	"github.com/imapi/imapi/seqs"
)

// startKey marks the context of [AtStart].
type startKey struct{}

// AtStart returns a context for what a server reads before it answers anybody.
// Nothing is written yet that a long read could hold back, and a server that is slow to
// start, because it has much to read or the machine is busy, is better than none.
func AtStart(ctx context.Context) context.Context { return context.WithValue(ctx, startKey{}, true) }

// IsAtStart reports whether a context comes from [AtStart].
func IsAtStart(ctx context.Context) bool { return ctx.Value(startKey{}) != nil }

// Store keeps the state. There is one writer at a time, and readers see what
// was committed. It shares its time fairly between callers; see [CallerOf].
type Store interface {
	// View runs fn on a consistent snapshot. Reads that take over a limit, 500 ms by
	// default, are ended with an error: one that lasts keeps what is written meanwhile
	// in the write-ahead log, and a reader from others. fn must not write to a client. It
	// is run again, on a new snapshot, if it has met content that was erased since: it
	// must set, not add to, what it gives its caller.
	View(ctx context.Context, fn func(Reader) error) error

	// Readers returns how many Views run at once; more wait for each other.
	Readers() int

	// Write runs fn in a transaction, which other callers' functions may
	// share, and returns once it is durable or undone. fn may be run more than
	// once: it must set, not add to, what it tells its caller, use nothing but
	// its Tx, and refuse before it changes anything. An error of fn is
	// returned as it is. The context is looked at before fn is run, never
	// during it.
	//
	// The calls of one caller run in their order. Those of different callers take
	// turns, by how long they took: so nobody waits for what somebody else has
	// queued. Those that [IsBulk] says may take long share no transaction with
	// others. Too many calls, of all or of one caller, get "overloaded" at once.
	Write(ctx context.Context, fn func(Tx) error) error

	// OnCommit registers what is told of every commit, after it, in order,
	// on the writer's own time: fn must not block. Of one that cuts tokens off or
	// erases content it is told before the callers are answered, else after that,
	// and before the next commit. Register before the first Write.
	OnCommit(fn func(Commit))

	// Head returns the position of the newest event that was committed. It is known
	// before the caller of [Store.Write] is answered.
	Head() Position

	// Instance tells what this store's data was given when it was made.
	Instance() Instance

	// Ready reports an error while the store cannot take writes.
	Ready(ctx context.Context) error

	// Unshredded returns how many keys of what was erased are yet to be destroyed, which
	// is tried until it is done, and since when.
	Unshredded() (n int, since time.Time)

	// SearchState tells how the search index is.
	SearchState() SearchState

	// Close ends it, after the writes that are under way.
	Close() error
}

// Instance is what makes one set of data different from another.
type Instance struct {
	// LastID is the greatest id of a message when the store was opened: those
	// made later are greater, whatever the clock says.
	LastID ID
	// ClockSeen is what the clock showed when it was last stored before; zero if it
	// never was.
	ClockSeen time.Time
	// Log names the event log: cursors of another one are not good here, but for those of
	// PastLogs up to their heads.
	Log      uint32
	PastLogs []PastLog
	// TicketKey signs stream tickets: 32 random bytes.
	TicketKey []byte
}

// Page asks for one page of a list.
type Page struct {
	// After is the key of the last item of the page before; "" begins.
	After string
	Limit int
}

const (
	// MaxIntervals is how many of a user's intervals in a conversation count, the newest:
	// a user who joins and leaves again and again must not make each read of their
	// membership slower. It holds for a user's stays on a list or in a role, too.
	MaxIntervals = 100
	// MaxLastSent is how many of a conversation's newest messages [Reader.LastSent]
	// searches.
	MaxLastSent = 10_000
)

// ClientKey is what a message is known by to who sent it.
type ClientKey struct {
	Sender   UserID
	ClientID string
}

// SentKey is what a message is known by to who does not know its other names: who
// sent it and when.
type SentKey struct {
	Sender UserID
	At     time.Time
}

// GoneMessage is a message that was removed.
type GoneMessage struct {
	SentKey
	Conversation ID
}

// Reader reads the state. What is not there is [ErrNotFound]; users that
// nothing is known of are as good as any.
type Reader interface {
	// Conversation returns one by its id.
	Conversation(id ID) (Conversation, error)
	// DirectConversation returns the one of two users.
	DirectConversation(peers [2]UserID) (Conversation, error)
	// Conversations returns a stretch of those that the user is a member of now.
	Conversations(q ConversationQuery) ([]ListedConversation, error)
	// NthConversation returns the id of the nth of the direct conversations, groups and
	// rooms that the user is a member of now, by id from one on, 0 being the first.
	// It returns ErrNotFound if there are not so many.
	NthConversation(user UserID, from ID, n int) (ID, error)

	// ConversationsOf returns up to limit ids of the direct conversations and groups
	// that the user is a member of now, the greatest first, those before one; 0
	// begins.
	ConversationsOf(user UserID, before ID, limit int) ([]ID, error)
	// SearchedBy returns up to limit conversations in which the user may have
	// something to find, in any order: those that they are a member of, the channels
	// of their spaces, and the threads in any of them. Not all channels need be
	// theirs to see.
	SearchedBy(user UserID, limit int) ([]ID, error)

	// Entry returns a conversation with the user's membership and what a send needs to
	// know besides, at once. It returns ErrNotFound if there is no such conversation.
	Entry(q EntryQuery) (Entry, error)

	// Membership returns the user's standing, also of a former member, with what
	// they made of the conversation and until when they are muted. Of the intervals it
	// has the newest [MaxIntervals].
	Membership(conversation ID, user UserID) (Membership, error)
	// Members returns who is a member now, in a stable order, with until when they
	// are muted and without their intervals, those that come after the user
	// page.After.
	Members(conversation ID, page Page) ([]Membership, error)
	// MembersAt returns which of the users were members when the event at
	// this position happened, with their intervals. Users may be named more
	// than once.
	MembersAt(conversation ID, at Position, users []UserID) ([]Membership, error)
	// MembersAtSeq returns up to limit users who were members when the message
	// with this seq was sent, by user.
	MembersAtSeq(conversation ID, seq int64, limit int) ([]UserID, error)

	// Mark returns what a user made of a conversation; the zero Mark if they did
	// nothing. For conversations of which they have no membership of their own.
	Mark(conversation ID, user UserID) (Mark, error)
	// LastSent returns when the user last sent a message to the conversation that
	// was not quiet, of its newest [MaxLastSent]; false if they did not.
	LastSent(conversation ID, user UserID) (time.Time, bool, error)

	// Spoke returns when the user last did something to a conversation, or a thread in
	// it, that slow mode counts, as [Tx.PutSpoke] has it; false if they never did.
	Spoke(conversation ID, user UserID) (time.Time, bool, error)

	// LastActive returns when the newest message of a thread was sent of those that
	// were not erased and are for all to see; false without one.
	LastActive(thread ID) (time.Time, bool, error)

	// Below returns the ids of the conversations that hang in this one and were
	// not deleted: the threads of a group or channel, the channels of a space and
	// their threads.
	Below(id ID) ([]ID, error)
	// Threads returns up to limit threads of a group or channel, without deleted
	// ones, the newest first, by id, those before one; 0 begins.
	Threads(parent, before ID, limit int) ([]Conversation, error)
	// ThreadOf returns the thread under a message, unless it was deleted.
	ThreadOf(message ID) (Conversation, error)
	// JoinedThreads returns up to limit threads that the user is a member of now,
	// the newest first, by id, those before one; 0 begins.
	JoinedThreads(user UserID, before ID, limit int) ([]Conversation, error)
	// JoinedBelow returns up to limit threads of a group, channel or space that the
	// user is a member of now, in any order.
	JoinedBelow(user UserID, id ID, limit int) ([]ID, error)
	// Channels returns up to limit channels of a space, without deleted ones, by
	// id, those after one.
	Channels(space, after ID, limit int) ([]Conversation, error)
	// Spaces returns up to limit spaces that the user is a member of now, by id,
	// those after one.
	Spaces(user UserID, after ID, limit int) ([]Conversation, error)

	// SpaceMembersAt returns which of the users were members of the space when the
	// event at this position happened, or are now if that is [Latest], with their
	// standing there and in the channel; 0 asks for none. As of now it is without
	// roles and places on lists that have ended. Users may be named more than once.
	SpaceMembersAt(space, channel ID, at Position, users []UserID) ([]SpaceMember, error)
	// SpaceMembers returns who is a member of the space now, as Members does, with
	// their standing there and in the channel.
	SpaceMembers(space, channel ID, page Page) ([]SpaceMember, error)
	// RolesAt returns the roles of a space as they were after the event at this
	// position.
	RolesAt(space ID, at Position) (RoleSet, error)
	// RoleNames returns the names of the roles of a space as of now, but that of
	// [Everyone].
	RoleNames(space ID) (map[ID]string, error)
	// AccessAt returns the same of a channel; it is not found before there was one.
	AccessAt(channel ID, at Position) (ChannelAccess, error)
	// Overridden returns the channels of a space, without deleted ones, in which one of
	// these roles has an override, by id, with what of a user is theirs alone.
	Overridden(space ID, roles []ID, user UserID) ([]ChannelOf, error)
	// RolesSpan and AccessSpan return during which events held what RolesAt and
	// AccessAt return; it is not found if nothing did.
	RolesSpan(space ID, at Position) (Span, error)
	AccessSpan(channel ID, at Position) (Span, error)
	// InChannel returns of the user what SpaceMembersAt returns of the channel
	// alone: their stays on its lists, and until when they are muted there.
	InChannel(channel ID, user UserID) (lists []ListStay, muted time.Time, err error)
	// OwnerOf returns who owns a conversation or space now.
	OwnerOf(conversation ID) (UserID, error)
	// Listed returns who is on a list of a place now, by user, those after
	// page.After.
	Listed(conversation ID, list List, page Page) ([]Listing, error)
	// OnList reports whether the user is on a list of a place now.
	OnList(conversation ID, list List, user UserID) (bool, error)
	// Invitation returns that of a user to a group, room or space.
	Invitation(conversation ID, user UserID) (Invitation, error)
	// Invitations returns those to one, by user, those after page.After.
	Invitations(conversation ID, page Page) ([]Invitation, error)
	// InvitationsOf returns up to limit of those of a user, by the id of what they
	// are to, those after one; 0 begins.
	InvitationsOf(user UserID, after ID, limit int) ([]Invitation, error)

	// Message returns one with its content.
	Message(id ID) (Message, error)
	// LastMessage returns the highest id of a message, 0 without any.
	LastMessage() (ID, error)
	// MessageByClientID returns the message that the sender sent under this
	// client_id.
	MessageByClientID(sender UserID, clientID string) (Message, error)
	// Messages returns a stretch of a conversation's history.
	Messages(q HistoryQuery) (HistoryPage, error)

	// Unstarted returns up to limit messages of the conversation in the range,
	// by seq, which are active, were sent for burning, not by this user, and
	// have not begun to burn.
	Unstarted(conversation ID, r SeqRange, notBy UserID, limit int) ([]Message, error)
	// Burning returns those that have, without their content.
	Burning(conversation ID, r SeqRange, notBy UserID, limit int) ([]Message, error)
	// Tracked returns up to limit messages of the conversation in the range, by
	// seq, without their content, which are active, were sent with receipt, and
	// not by this user.
	Tracked(conversation ID, r SeqRange, notBy UserID, limit int) ([]Message, error)
	// Unread counts what a user has not read.
	Unread(q UnreadQuery) (UnreadCount, error)
	// Hidden reports whether the user has hidden the message with this seq by
	// its id.
	Hidden(conversation ID, user UserID, seq int64) (bool, error)
	// HiddenIn returns which messages of a stretch of the conversation the user has
	// hidden by their ids, as ranges that rise and lie within it.
	HiddenIn(conversation ID, user UserID, r SeqRange) (seqs.Set, error)
	// HiddenBy returns who has hidden a message, in whichever way.
	HiddenBy(m Message) ([]UserID, error)
	// HiddenSince returns up to limit of what the user has hidden since a time,
	// the newest first.
	HiddenSince(user UserID, since time.Time, limit int) ([]HiddenPart, error)
	// GoneSince returns up to limit conversations that the user was a member of
	// when they were deleted, or that they have hidden, since a time, the newest
	// first; of deleted channels all of spaces that the user was in then.
	// Of all that were ever deleted it looks at a bounded number: more says that
	// there may be others.
	GoneSince(user UserID, since time.Time, limit int) (gone []GoneConversation, more bool, err error)
	// SeqSince returns the seq of the first message of the conversation that was
	// stored at this time or later, the next one if none was. Messages are stored
	// in the order of their ids, whatever their CreatedAt says; none is stored
	// before it was created.
	SeqSince(conversation ID, at time.Time) (int64, error)
	// Search returns messages that have words in them.
	Search(q SearchQuery) (SearchPage, error)
	// Taken returns which of the ids are those of messages.
	Taken(ids []ID) ([]ID, error)
	// SentAs returns which of these are those of messages.
	SentAs(keys []ClientKey) ([]ClientKey, error)
	// Gone returns which of the ids are those of messages that were removed and are
	// not forgotten.
	Gone(ids []ID) ([]ID, error)
	// GoneAs returns which of these are those of messages that were removed and are
	// not forgotten.
	GoneAs(keys []ClientKey) ([]ClientKey, error)
	// GoneAt returns the messages that were removed, are not forgotten, and are known by
	// one of these.
	GoneAt(keys []SentKey) ([]GoneMessage, error)
	// GoneDirects returns the direct conversations of two users that were deleted and
	// are not forgotten, with or without messages that are left to be removed.
	GoneDirects(peers [2]UserID) ([]ID, error)
	// MessageAt returns a message of the sender in the conversation that was
	// created at this time and says this, which is canonical JSON.
	MessageAt(conversation ID, sender UserID, at time.Time, sent []byte) (Message, error)
	// ConversationIDs returns up to limit ids of conversations, deleted ones
	// left out, rising, those after one.
	ConversationIDs(after ID, limit int) ([]ID, error)
	// EveryMembership returns the standing of all who are or were members of the
	// conversation, without their marks, by user, those after one.
	EveryMembership(conversation ID, after UserID, limit int) ([]Membership, error)

	// Retentions returns which settings of retention there are among
	// conversations that have messages.
	Retentions() ([]*time.Duration, error)
	// Oldest returns up to limit conversations of this setting whose OldestAt is
	// before a time, by OldestAt, then by id, those after past.
	Oldest(retention *time.Duration, before time.Time, past *OldestKey, limit int) ([]Conversation, error)
	// CountBefore counts the messages of the conversation that were created
	// before a time.
	CountBefore(conversation ID, before time.Time) (int64, error)
	// Trimming returns conversations of which a trimming is under way.
	Trimming(limit int) ([]Conversation, error)
	// Unpurged returns conversations that were deleted and of which something is
	// left, the longest deleted first.
	Unpurged(limit int) ([]Conversation, error)
	// OldestMessage returns the oldest CreatedAt of all messages; false without
	// any.
	OldestMessage() (time.Time, bool, error)

	// ReceiptsIn returns for which messages of a stretch of the conversation the user
	// has given a receipt of this kind, as ranges that rise and lie within it.
	ReceiptsIn(kind ReceiptKind, conversation ID, user UserID, r SeqRange) (seqs.Set, error)
	// ReceiptsOf returns who has given a receipt of this kind for the message
	// with this seq, by user.
	ReceiptsOf(kind ReceiptKind, conversation ID, seq int64) ([]Receipt, error)

	// Due returns up to limit messages that erase themselves at now or before,
	// the longest due first, with their content.
	Due(now time.Time, limit int) ([]Message, error)
	// NextDue returns when the next message erases itself; false if none does.
	NextDue() (time.Time, bool, error)
	// Erasures returns a stretch of what was erased, in the order in which it
	// was. For a user it is of the conversations in which they are a member
	// now; "" asks for all. It looks at a bounded number of erasures: a page
	// may be short, even empty, and yet have a Next.
	Erasures(q ErasureQuery) (ErasurePage, error)

	// ErasedIn returns up to limit of what was erased in a conversation, by seq, what
	// is after one.
	ErasedIn(conversation ID, after int64, limit int) ([]ErasedMessage, error)
	// ReturnedTo returns up to limit ids, rising, those after one, of conversations to
	// which the user has come back since a time, by their ReturnedAt, and of the threads
	// in them.
	ReturnedTo(user UserID, since time.Time, after ID, limit int) ([]ID, error)
	// MessageShell returns a message without what it says, also if that cannot be read.
	MessageShell(id ID) (Message, error)
	// CountMessages returns how many messages there are, tombstones too.
	CountMessages() (int64, error)
	// Sealed returns what was sealed after one place, of at most so many messages or
	// conversations, and whether it can be read: erased messages are among it, as long as
	// it is known where their keys were.
	Sealed(after SealedKey, limit int, look SealedLook) (SealedPage, error)

	// Stamped returns the latest time that [Tx.Stamp] has given, zero if it gave none.
	Stamped() (time.Time, error)

	// Blocked reports whether by has blocked user.
	Blocked(by, user UserID) (bool, error)
	// BlockedBy returns which of some users have blocked one. Users may be named more
	// than once.
	BlockedBy(users []UserID, user UserID) ([]UserID, error)
	// Blocks returns whom a user has blocked, by user id, those after
	// page.After.
	Blocks(by UserID, page Page) ([]Block, error)

	// LogBounds returns the ends of the event log.
	LogBounds() (LogBounds, error)
	// Events returns up to limit events with after < position <= upTo that
	// happened while the user was a member or were addressed to them, without
	// their messages. It may look through less of the log than asked; the
	// window's Through says how much, and is always past after unless
	// after >= upTo.
	Events(user UserID, after, upTo Position, limit int) (EventWindow, error)

	// TokenCuts returns up to limit cut-offs by At, then by user, those after one; nil
	// begins.
	TokenCuts(after *TokenCut, limit int) ([]TokenCut, error)
	// ForgottenCut returns when the newest of the cut-offs was made that were forgotten;
	// zero if none was.
	ForgottenCut() (time.Time, error)
}

// Tx is a transaction: it reads its own writes. Rules are asked before the
// first method that writes.
type Tx interface {
	Reader

	// CreateConversation stores a new conversation without members.
	CreateConversation(c Conversation) error
	// UpdateConversation stores the name and all that members or the owner set,
	// Private, UpdatedAt and EditedAt, and TrimBefore if it is later than the one
	// there is. A name, announcement or avatar that changes is erased.
	UpdateConversation(c Conversation) error
	// SetRetentionBelow stores the retention of up to limit threads of a conversation,
	// by id, those after one, 0 begins, and, as the TrimBefore of those with older
	// messages, a time before which they were past retention; zero is none. It returns
	// the last of them, and whether there are more.
	SetRetentionBelow(id ID, retention *time.Duration, past time.Time, after ID, limit int) (last ID, more bool, err error)
	// PutActivity stores Messages and ActiveAt of a thread.
	PutActivity(thread ID, messages int64, at time.Time) error
	// AddMember makes m.User a member with m.Role since m.JoinedAt: it opens an
	// interval from the event on, with the next message as its first, and
	// counts the member. The user must not be one.
	AddMember(m Membership, from Position) error
	// RemoveMember closes the open interval with the event and the newest
	// message, and uncounts the member. It remembers whether they left by
	// themselves.
	RemoveMember(conversation ID, user UserID, to Position, left bool) error
	// RestoreMember stores a standing as it was, of a user who has none in the
	// conversation: m.Role and m.JoinedAt of a member, whom it counts, and the
	// seqs of all intervals. Those that have ended were over before any event;
	// one that lasts begins with the event from.
	RestoreMember(m Membership, from Position) error
	// SetRole changes a member's role.
	SetRole(conversation ID, user UserID, role Role) error

	// PutMute stores until when a user may not send to a place; zero ends it.
	PutMute(conversation ID, user UserID, until time.Time) error
	// PutSpoke stores when a user did something that slow mode counts.
	PutSpoke(conversation ID, user UserID, at time.Time) error
	// PutRoles makes these the roles of a space from an event on.
	PutRoles(space ID, roles RoleSet, from Position) error
	// PutRoleName stores the name of a role of a space, and erases the one before; "" is
	// that of a role that was deleted. No other space has a role of this id.
	PutRoleName(space, role ID, name string) error
	// PutAccess makes this what decides about a channel from an event on.
	PutAccess(channel ID, access ChannelAccess, from Position) error
	// GrantRole gives a member of a space a role from an event on. They must not
	// have it.
	GrantRole(space ID, user UserID, role ID, from Position) error
	// EndRole takes it from them.
	EndRole(space ID, user UserID, role ID, to Position) error
	// PutListed puts a user on a list of a place from an event on; it is no error
	// if they are on it.
	PutListed(conversation ID, list List, user UserID, at time.Time, from Position) error
	// EndListed takes them from it; it is no error if they are not on it.
	EndListed(conversation ID, list List, user UserID, to Position) error
	// EndStanding takes from a user all roles in a space, and their places on the
	// allow lists of its channels.
	EndStanding(space ID, user UserID, to Position) error
	// PutInvitation stores an invitation in place of one that is there.
	PutInvitation(i Invitation) error
	// DeleteInvitation removes it; it is no error if there is none.
	DeleteInvitation(conversation ID, user UserID) error

	// DeleteConversation makes a conversation, and all that hang in it, ones that
	// were deleted, at a time and by an event: they lose their peers and all their
	// members, whose intervals end, and their texts and the names of their roles are
	// erased.
	DeleteConversation(id ID, at time.Time, by Position) error
	// Purge destroys and removes up to limit of what is left of a deleted
	// conversation, and reports whether that was all. What its messages are known by
	// is remembered as gone since at.
	Purge(id ID, limit int, at time.Time) (done bool, err error)
	// Trim destroys and removes up to limit messages of the conversation that
	// were created before a time, the oldest first, with all that was kept of
	// them. Until it is done the conversation's TrimBefore says so. What the messages
	// are known by is remembered as gone since at.
	Trim(conversation ID, before time.Time, limit int, at time.Time) (Trimmed, error)
	// Forget forgets up to limit of what has been gone since before a time, and
	// returns how much that was.
	Forget(before time.Time, limit int) (int, error)

	// PutMark stores what a user made of a conversation.
	PutMark(conversation ID, user UserID, mark Mark) error
	// Hide hides the messages in the range from the user and returns those parts
	// of it that were not.
	Hide(conversation ID, user UserID, r SeqRange, at time.Time) (fresh seqs.Set, err error)

	// InsertMessage stores a message under the next seq of its conversation,
	// which it returns, or under its own Seq if that is greater. One that is not
	// quiet makes its CreatedAt the conversation's UpdatedAt; a quiet one that
	// all can see, only if it is later. Its ID must be greater than that of the
	// message before it.
	InsertMessage(m Message) (seq int64, err error)

	// Send stores a message that is told, as InsertMessage does, and appends the event that
	// tells of it, of which it sets MessageID, Seq and Message.
	Send(m Message, e Event) (seq int64, at Position, err error)

	// Stamp returns a time by which what the transaction takes from readers can be
	// found: now, or, if the clock was set back or has not gone on, the millisecond after
	// the latest that an earlier transaction was given. So whoever has read all that was
	// taken up to [Reader.Stamped] finds the rest after it, whatever the clock does.
	Stamp(now time.Time) (time.Time, error)

	// Erase makes an active message a tombstone, whose key is shredded once that is
	// committed. stamp is when: no earlier than the one before it, whatever the clock
	// says, so that erasures are found in their order. It reports false, and changes
	// nothing, if the message is not active any more.
	Erase(id ID, e Erasure, stamp time.Time) (bool, error)
	// StartBurn sets when an active message burns.
	StartBurn(id ID, at time.Time) error
	// PutReceipt records that the user has given a receipt for the messages in
	// the range, and returns those parts of it for which they had not.
	PutReceipt(kind ReceiptKind, conversation ID, user UserID, r SeqRange, at time.Time) (fresh seqs.Set, err error)

	// PutBlock makes by block user; it is no error if by has already.
	PutBlock(by, user UserID, at time.Time) error
	// DeleteBlock ends it; it is no error if there is none.
	DeleteBlock(by, user UserID) error

	// Append adds an event to the log and returns its position. The event's
	// Message goes to those who are told of the commit and is not stored.
	Append(e Event) (Position, error)
	// TrimLog removes up to limit events older than before from the log's
	// start and returns how many it removed.
	TrimLog(before time.Time, limit int) (int, error)

	// Remove removes messages of a conversation, wherever they are in it, as
	// [Tx.Trim] does, and returns how many of them were active and for all to see. What
	// was kept of them is left to the trimming, which it begins.
	Remove(conversation ID, ids []ID, at time.Time) (active int, err error)
	// Empty removes a postscript or a name that cannot be read.
	Empty(s Sealed) error
	// Doom has the key shredded of something that was erased.
	Doom(s Sealed) error

	// PutClockSeen stores what the clock shows.
	PutClockSeen(at time.Time) error

	// CutTokens makes the user's tokens issued at or before the time bad.
	CutTokens(cut TokenCut) error
	// ForgetCuts forgets up to limit cut-offs that were made before a time, the oldest
	// first, and returns how many.
	ForgetCuts(before time.Time, limit int) (int, error)
}
