package im

import (
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"maps"
	"slices"
	"time"
)

// This file has the rules of data streams, which package datastreams runs. A data stream carries
// frames from publishers to readers and exists only in memory. The rules are here because they
// depend on conversations.

// The bounds of a data stream.
const (
	MaxStreamReaders    = 1000 // listed users who may read
	MaxStreamPublishers = 100
	MaxStreamIdle       = 24 * time.Hour
	DefaultStreamIdle   = 5 * time.Minute
)

// DataStreamID is the id of a data stream: 128 random bits. Whoever knows it may read a data stream
// with [StreamForAnyone].
type DataStreamID [16]byte

// newDataStreamID returns a random id.
func newDataStreamID() (id DataStreamID) {
	_, _ = rand.Read(id[:]) // crypto/rand never fails
	return id
}

// streamIDText encodes the ids of data streams like other ids.
var streamIDText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// String returns the id as clients know it: 26 characters.
func (id DataStreamID) String() string { return streamIDText.EncodeToString(id[:]) }

// ParseDataStreamID reads an id. It returns false for any text that String does not return.
func ParseDataStreamID(s string) (id DataStreamID, ok bool) {
	if len(s) != streamIDText.EncodedLen(len(id)) {
		return id, false
	}
	_, err := streamIDText.Decode(id[:], []byte(s))
	return id, err == nil && id.String() == s // several texts decode to one id, because the last character has unused bits
}

// StreamAccess says who may read a data stream.
type StreamAccess uint8

// The values of StreamAccess.
const (
	StreamForMembers StreamAccess = iota + 1 // users who can see its conversation
	StreamForListed                          // listed users, who must also see its conversation if it is in one
	StreamForAnyone                          // all users who know its id
)

var streamAccesses = map[StreamAccess]string{StreamForMembers: "members", StreamForListed: "listed", StreamForAnyone: "anyone"}

// String returns the name in the API.
func (a StreamAccess) String() string { return streamAccesses[a] }

// ParseStreamAccess reads a name of the API.
func ParseStreamAccess(s string) (StreamAccess, bool) {
	for a, name := range streamAccesses {
		if name == s {
			return a, true
		}
	}
	return 0, false
}

// StreamEndReason is why a data stream ended.
type StreamEndReason uint8

// The reasons.
const (
	StreamEndedByOwner   StreamEndReason = iota + 1 // by its owner or an admin, or its owner may no longer use its conversation
	StreamEndedIdle                                 // it had no frame for its idle time
	StreamEndedByMessage                            // it ended with a final message
	StreamDeleted                                   // by its owner, an admin, or with its conversation
	StreamEndedByServer                             // the server stops
)

var streamEndReasons = [...]string{"", "owner", "idle", "message", "deleted", "server"}

// String returns the name in the API.
func (r StreamEndReason) String() string { return streamEndReasons[r] }

// DataStreamDraft is a data stream to be started.
type DataStreamDraft struct {
	// Owner is the owner if that is not the actor; only admins may set it.
	Owner UserID
	// Conversation is the conversation of the data stream, nil if it is in none.
	Conversation *ConversationRef
	Access       StreamAccess
	Readers      []UserID
	Publishers   []UserID
	Label        string
	// Idle is the time without a frame after which it ends; 0 means DefaultStreamIdle.
	Idle time.Duration
}

// ActingAs returns the user in whose name an actor starts a data stream or pushes: as, or the actor
// if as is "". It refuses another user than the actor, unless the actor is an admin.
func ActingAs(actor Actor, as UserID) (UserID, error) {
	user := cmp.Or(as, actor.User)
	if user != actor.User && !actor.Admin {
		return "", RefuseField(Forbidden, "admin_required", "as", "acting as another user needs a token with the scope admin")
	}
	return user, nil
}

// Check refuses a draft that is invalid in every state.
func (d DataStreamDraft) Check() error {
	if err := checkUsers("readers", d.Readers); err != nil {
		return err
	}
	if err := checkUsers("publishers", d.Publishers); err != nil {
		return err
	}
	switch {
	case d.Owner != "" && !d.Owner.Valid():
		return RefuseField(Invalid, "invalid_request", "as", "is not a user id: %s", UserIDRule)
	case d.Idle < 0 || d.Idle > MaxStreamIdle:
		return RefuseField(Invalid, "invalid_request", "idle_seconds", "must be 1 to %d", int(MaxStreamIdle.Seconds()))
	case d.Access == StreamForMembers && d.Conversation == nil:
		return RefuseField(Rule, "conversation_required", "conversation_id", "a data stream for members is in a conversation")
	case d.Access != StreamForListed && len(d.Readers) > 0:
		return RefuseField(Rule, "readers_unsupported", "readers", "is allowed only with access listed")
	case len(d.Readers) > MaxStreamReaders:
		return errTooManyListed("readers", MaxStreamReaders)
	case len(d.Publishers) > MaxStreamPublishers:
		return errTooManyListed("publishers", MaxStreamPublishers)
	default:
		return nil
	}
}

func errTooManyListed(list string, most int) error {
	return RefuseField(Rule, "too_many_listed", list, "a data stream has at most %d %s", most, list)
}

// DataStream is what the rules need to know of a data stream.
type DataStream struct {
	ID    DataStreamID
	Owner UserID
	// Conversation is the conversation that it is in, 0 for none. Parent is that of a thread
	// and Space that of a channel or of a thread in one.
	Conversation, Parent, Space ID
	Access                      StreamAccess
	Label                       string
	Idle                        time.Duration
	CreatedAt                   time.Time

	readers, publishers map[UserID]struct{}
}

// NewDataStream returns the data stream of a checked draft. c is its conversation, the zero
// Conversation for none.
func NewDataStream(d DataStreamDraft, owner UserID, c Conversation, now time.Time) DataStream {
	set := func(users []UserID) map[UserID]struct{} {
		out := make(map[UserID]struct{}, len(users))
		for _, u := range users {
			out[u] = struct{}{}
		}
		return out
	}
	return DataStream{
		ID: newDataStreamID(), Owner: owner, Conversation: c.ID, Parent: c.Parent, Space: c.Space,
		Access: d.Access, Label: d.Label, Idle: cmp.Or(d.Idle, DefaultStreamIdle), CreatedAt: now.UTC().Truncate(time.Millisecond),
		readers: set(d.Readers), publishers: set(d.Publishers),
	}
}

// WithoutLists returns the data stream without its readers and publishers, which may change while
// the result is in use.
func (d DataStream) WithoutLists() DataStream {
	d.readers, d.publishers = nil, nil
	return d
}

// Readers returns the listed readers, sorted.
func (d *DataStream) Readers() []UserID { return slices.Sorted(maps.Keys(d.readers)) }

// Publishers returns the users with the right to push besides the owner, sorted.
func (d *DataStream) Publishers() []UserID { return slices.Sorted(maps.Keys(d.publishers)) }

// PutPublisher gives a user the right to push. It refuses an invalid user id, and more than
// MaxStreamPublishers.
func (d *DataStream) PutPublisher(user UserID) error {
	return putListed(d.publishers, user, "publishers", MaxStreamPublishers)
}

// DeletePublisher takes the right to push from a user.
func (d *DataStream) DeletePublisher(user UserID) { delete(d.publishers, user) }

// PutReader lists a reader. It refuses a data stream without a list, an invalid user id, and more
// than MaxStreamReaders.
func (d *DataStream) PutReader(user UserID) error {
	if err := d.listsReaders(); err != nil {
		return err
	}
	return putListed(d.readers, user, "readers", MaxStreamReaders)
}

// DeleteReader takes a reader from the list. It refuses a data stream without a list.
func (d *DataStream) DeleteReader(user UserID) error {
	if err := d.listsReaders(); err != nil {
		return err
	}
	delete(d.readers, user)
	return nil
}

func (d *DataStream) listsReaders() error {
	if d.Access != StreamForListed {
		return Refuse(Rule, "readers_unsupported", "only a data stream with access listed has a list of readers, this one is for %s", d.Access)
	}
	return nil
}

func putListed(list map[UserID]struct{}, user UserID, name string, most int) error {
	if err := checkUsers("user", []UserID{user}); err != nil {
		return err
	}
	if _, there := list[user]; !there && len(list) >= most {
		return errTooManyListed(name, most)
	}
	list[user] = struct{}{}
	return nil
}

// StreamUser is what determines what a user may do with the data streams of a conversation. The
// zero value is a user who cannot see it.
type StreamUser struct {
	// Sees is set if the user can see the conversation.
	Sees bool
	// Blocked is set if the other user of a direct conversation has blocked them.
	Blocked bool
	// Speak is the refusal if the user may not send to the conversation, nil if they may.
	Speak error
}

// named reports whether a user is the owner, a publisher or a listed reader.
func (d *DataStream) named(user UserID) bool {
	_, publishes := d.publishers[user]
	_, reads := d.readers[user]
	return user == d.Owner || publishes || reads
}

// AllowView refuses an actor who may not see the data stream, with the same refusal as for an
// unknown data stream. Only an actor whom the other user has blocked is told so. Admins may see
// all.
func (d *DataStream) AllowView(actor Actor, u StreamUser) error {
	switch {
	case actor.Admin || d.Access == StreamForAnyone:
		return nil
	case d.Conversation != 0 && !u.Sees, d.Access == StreamForListed && !d.named(actor.User):
		return ErrUnknownDataStream()
	case u.Blocked:
		return errStreamBlocked()
	default:
		return nil
	}
}

// AllowRead refuses an actor who may not read. An admin reads as the user of their token.
func (d *DataStream) AllowRead(actor Actor, u StreamUser) error {
	if err := d.AllowView(actor, u); err != nil {
		return err
	}
	_, listed := d.readers[actor.User]
	switch {
	case d.Access == StreamForAnyone:
		return nil
	case d.Conversation != 0 && !u.Sees, d.Access == StreamForListed && !listed && actor.User != d.Owner:
		return Refuse(Forbidden, "not_reader", "you may not read this data stream")
	case u.Blocked:
		return errStreamBlocked()
	default:
		return nil
	}
}

// AllowPush refuses an actor who may not push. Admins may always push.
func (d *DataStream) AllowPush(actor Actor, u StreamUser) error {
	if actor.Admin {
		return nil
	}
	if err := d.AllowView(actor, u); err != nil {
		return err
	}
	return d.AllowMorePushes(actor, u)
}

// AllowMorePushes is AllowPush for an actor who is pushing already, and so knows that the data
// stream exists.
func (d *DataStream) AllowMorePushes(actor Actor, u StreamUser) error {
	if actor.Admin {
		return nil
	}
	if _, publishes := d.publishers[actor.User]; !publishes && actor.User != d.Owner {
		return Refuse(Forbidden, "not_publisher", "you may not push to this data stream")
	}
	switch {
	case d.Conversation == 0:
		return nil
	case !u.Sees:
		return errDenied(PermissionSend)
	default:
		return u.Speak
	}
}

// AllowManage refuses an actor who is neither the owner nor an admin.
func (d *DataStream) AllowManage(actor Actor, u StreamUser) error {
	if actor.Admin || actor.User == d.Owner {
		return nil
	}
	if err := d.AllowView(actor, u); err != nil {
		return err
	}
	return Refuse(Forbidden, "not_stream_owner", "only the owner of a data stream may do this")
}

// Outlives reports whether the data stream goes on if this is what its owner may do in the
// conversation.
func (d *DataStream) Outlives(owner StreamUser) bool {
	return d.Conversation == 0 || owner.Sees && !owner.Blocked
}

// Recipients returns the users to whom the start and end of the data stream are published;
// nil stands for all who can see the conversation.
func (d *DataStream) Recipients() []UserID {
	if d.Access != StreamForListed {
		return nil
	}
	users := append(d.Readers(), d.Publishers()...)
	return unique(append(users, d.Owner))
}

// ErrUnknownDataStream is the refusal of a data stream that does not exist.
func ErrUnknownDataStream() error {
	return Refuse(NotFound, "stream_not_found", "no such data stream")
}

func errStreamBlocked() error {
	return Refuse(Forbidden, "blocked", "this user has blocked you, so you share no data streams")
}

// ErrStreamEnded refuses an operation that needs a running data stream.
func ErrStreamEnded(r StreamEndReason) error {
	return Refuse(Gone, "stream_ended", "the data stream has ended: %s", r)
}

// FinalMessageNeedsConversation returns the refusal of a final message if the data stream is in no
// conversation, nil if it is in one.
func (d *DataStream) FinalMessageNeedsConversation() error {
	if d.Conversation == 0 {
		return RefuseField(Rule, "conversation_required", "message", "this data stream is in no conversation")
	}
	return nil
}

// FinalClientID is the client_id of a final message without one, so that a repetition of the
// request sends it once.
func (d *DataStream) FinalClientID() string { return fmt.Sprintf("stream-%s", d.ID) }
