package im

import (
	"math"
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// Membership is what is stored about a user in a conversation, even after they have left. What they
// may do and see there now is an [Access].
type Membership struct {
	Conversation ID
	User         UserID
	// Role and JoinedAt are zero for a former member.
	Role     Role
	JoinedAt time.Time
	// ReturnedAt is when the user rejoined, as [ErasureWriter.Stamp] returned it; zero if they
	// never left. The store accepts it but does not return it.
	ReturnedAt time.Time
	// Mark holds the user's own settings of the conversation.
	Mark Mark
	// MutedUntil is the time until which the user is or was muted here, which may have
	// passed; zero if they never were. See [MutedForGood].
	MutedUntil time.Time
	// Intervals are the stays, oldest first. The last one is open exactly when the user
	// is a member now.
	Intervals Stays
}

// MutedForGood is the stored end of a mute that has no end.
var MutedForGood = time.UnixMilli(math.MaxInt64 >> idRandomBits).UTC()

// Active reports whether the user is a member now.
func (m Membership) Active() bool { return m.Intervals.Active() }

// Left reports whether the user was a member and left. It is false for a user who was
// removed.
func (m Membership) Left() bool {
	return len(m.Intervals) > 0 && !m.Active() && m.Intervals[len(m.Intervals)-1].Left
}

// Interval is one stay of a member, from joining to leaving. A user who leaves and rejoins has
// several, and may see the events and messages of each.
type Interval struct {
	FromEvent Position // the event that made them a member
	ToEvent   Position // the event that ended it; 0 while it lasts
	FromSeq   int64    // the first message of the stay
	ToSeq     int64    // the last one; meaningful once ToEvent is set
	Left      bool     // the member ended it themselves
}

// Open reports whether the stay lasts.
func (i Interval) Open() bool { return i.ToEvent == 0 }

// Stays are the stays of one user in a conversation, oldest first.
type Stays []Interval

// Active reports whether the last stay is open.
func (s Stays) Active() bool { return len(s) > 0 && s[len(s)-1].Open() }

// Messages returns the messages of the stays, where lastSeq is the newest one of the
// conversation.
func (s Stays) Messages(lastSeq int64) seqs.Set {
	ranges := make([]SeqRange, len(s))
	for i, stay := range s {
		ranges[i] = SeqRange{From: stay.FromSeq, To: stay.ToSeq}
		if stay.Open() {
			ranges[i].To = lastSeq
		}
	}
	return seqs.Union(ranges...) // adjacent stays become one range, because nothing was missed between them
}

// has reports whether a message was sent during one of the stays.
func (s Stays) has(seq int64) bool {
	return slices.ContainsFunc(s, func(i Interval) bool {
		return i.FromSeq <= seq && (i.Open() || seq <= i.ToSeq)
	})
}

// inChannel converts stays in a space to stays in one of its channels, where every member who can
// see the channel may read all messages. Stays that have ended have no messages there.
func (s Stays) inChannel() Stays {
	s = slices.Clone(s)
	for i := range s {
		s[i].FromSeq, s[i].ToSeq = 1, 0
	}
	return s
}

// SeqRange is a range of messages, both ends included.
type SeqRange = seqs.Range
