package im

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"sync"
	"time"
)

// ID identifies a conversation, a message, an attachment, a role or a webhook. It is an integer in
// the server and an opaque text of 13 characters for clients.
//
// The id of a group, room or space is 64 random bits. It may admit any user who knows it, so it
// must be impossible to guess. See [randomID].
//
// All other ids give no access. They increase with time, as integers and as text: the 42 bits after
// the sign are milliseconds since the Unix epoch, and 20 of the lower 21 are random, so that ids do
// not reveal how many there are. See [IDs].
type ID int64

// idAlphabet is base32hex (RFC 4648 §7) in lower case. Its characters are in the order of
// their values, so texts sort as their numbers do.
const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

// idLength is the number of base32 digits of 64 bits. The first digit has the upper four.
const idLength = 13

// idRandomBits is the number of bits of a rising id below its time. The first id of a millisecond
// is in the lower half of their range, which leaves room for others above it. idStepBits is the
// number of random bits in the step to the next id.
const (
	idRandomBits = 21
	idStepBits   = 16
)

// noID is less than every id, so a list can begin after it. Like 0 it is not an id.
const noID ID = math.MinInt64

// String returns the 13 characters of the id.
func (id ID) String() string {
	return string(id.Append(make([]byte, 0, idLength)))
}

// Append appends the characters that String returns.
func (id ID) Append(into []byte) []byte {
	var b [idLength]byte
	v := uint64(id)
	for i := idLength - 1; i >= 0; i-- {
		b[i] = idAlphabet[v&31]
		v >>= 5
	}
	return append(into, b[:]...)
}

// ParseID parses the result of [ID.String]. It returns false for any other text; each id has
// exactly one text.
func ParseID(s string) (ID, bool) {
	if len(s) != idLength || s[0] > 'f' {
		return 0, false
	}
	var v uint64
	for i := range idLength {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			v = v<<5 | uint64(c-'0')
		case 'a' <= c && c <= 'v':
			v = v<<5 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	id := ID(v)
	if id == noID {
		return 0, false
	}
	return id, id != 0
}

// randomID returns an id of 64 random bits, for conversations that may admit any user who
// knows their id.
func randomID() ID {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // crypto/rand never fails
		if id := ID(binary.LittleEndian.Uint64(b[:])); id != 0 && id != noID {
			return id
		}
	}
}

// FirstID returns the smallest rising id that can be made at a time or later.
func FirstID(at time.Time) ID { return ID(max(at.UnixMilli(), 0) << idRandomBits) }

// Made returns when a rising id was made, to the millisecond. The result is later than that if the
// clock had been set back, or if many ids were made in one millisecond.
func (id ID) Made() time.Time { return time.UnixMilli(int64(id >> idRandomBits)).UTC() }

// IDs makes ids that rise and never repeat, whatever the clock does. It is safe for
// concurrent use.
type IDs struct {
	mu   sync.Mutex
	last ID
}

// Next returns the next id, made at now.
func (g *IDs) Next(now time.Time) ID {
	random := randomBits()

	g.mu.Lock()
	defer g.mu.Unlock()
	id := idOf(now.UnixMilli(), random)
	if id <= g.last {
		// Another id of the same millisecond, or the clock was set back.
		id = g.last.following(random)
		if id>>idRandomBits != g.last>>idRandomBits {
			id = idOf(int64(g.last>>idRandomBits)+1, random)
		}
	}
	g.last = id
	return id
}

// following returns the id after a random step. It may be of the next millisecond.
func (id ID) following(random uint32) ID { return id + 1 + ID(random&(1<<idStepBits-1)) }

// idOf returns an id in the lower half of the ids of a time, given in milliseconds.
func idOf(ms int64, random uint32) ID {
	return ID(ms<<idRandomBits | int64(random&(1<<(idRandomBits-1)-1)))
}

func randomBits() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return binary.LittleEndian.Uint32(b[:])
}
