package im

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"sync"
	"time"
)

// ID names a conversation, a message or a role. It is an integer inside and an
// opaque text of 13 characters outside. How it is made depends on what it names.
//
// Groups, rooms and spaces may be open to whoever knows their id, so that is a
// secret: it is 64 random bits and says nothing of the time. See [RandomID].
//
// Whatever else has an id (messages, threads, channels, direct conversations and
// roles) is reached by membership alone, and in the order in which it was made: its
// id rises with time, as an integer and as text. The upper 42 bits are
// milliseconds since the Unix epoch, 20 of the lower 21 are random, so that an id
// does not tell how many there are. See [IDs].
type ID int64

// idAlphabet is base32hex (RFC 4648 §7) in lower case: its order is that of
// the values, so the text sorts as the number does.
const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

// idLength is the number of base32 digits that hold 64 bits. The first holds the
// upper four.
const idLength = 13

// idRandomBits is how many bits of a rising id are below its time. The first id of a
// millisecond is in the lower half of what they can say, so that there is room for
// others above it; idStepBits is how many bits of the step to each of those are random.
const (
	idRandomBits = 21
	idStepBits   = 16
)

// noID is, besides 0, the integer that names nothing: it is below all ids, so that
// a list can begin there.
const noID ID = math.MinInt64

// String returns the 13 characters by which clients know the id.
func (id ID) String() string {
	return string(id.Append(make([]byte, 0, idLength)))
}

// Append appends what String returns.
func (id ID) Append(into []byte) []byte {
	var b [idLength]byte
	v := uint64(id)
	for i := idLength - 1; i >= 0; i-- {
		b[i] = idAlphabet[v&31]
		v >>= 5
	}
	return append(into, b[:]...)
}

// ParseID reads what [ID.String] wrote. It reports false for anything else;
// there is one text for each id.
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

// RandomID returns an id of 64 random bits, for what may be open to whoever knows
// its id.
func RandomID() ID {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails, says crypto/rand
		if id := ID(binary.LittleEndian.Uint64(b[:])); id != 0 && id != noID {
			return id
		}
	}
}

// FirstID returns the least id that something could have that came to be at this
// time or later.
func FirstID(at time.Time) ID { return ID(max(at.UnixMilli(), 0) << idRandomBits) }

// Made returns when an id that rises was made, by the clock or, where that was set back,
// by the ids before it.
func (id ID) Made() time.Time { return time.UnixMilli(int64(id >> idRandomBits)).UTC() }

// IDs makes ids that rise without a repeat, whatever the clock does. It is
// safe for concurrent use.
type IDs struct {
	mu   sync.Mutex
	last ID
}

// Next returns an id for something that comes to be at now.
func (g *IDs) Next(now time.Time) ID {
	random := randomBits()

	g.mu.Lock()
	defer g.mu.Unlock()
	id := idOf(now.UnixMilli(), random)
	if id <= g.last {
		// Several within a millisecond, or a clock that was set back.
		id = g.last.following(random)
		if id>>idRandomBits != g.last>>idRandomBits {
			id = idOf(int64(g.last>>idRandomBits)+1, random)
		}
	}
	g.last = id
	return id
}

// following returns an id after another, by a step that cannot be guessed. It may be
// of the next millisecond.
func (id ID) following(random uint32) ID { return id + 1 + ID(random&(1<<idStepBits-1)) }

// idOf returns an id of a time in milliseconds, in the lower half of those.
func idOf(ms int64, random uint32) ID {
	return ID(ms<<idRandomBits | int64(random&(1<<(idRandomBits-1)-1)))
}

func randomBits() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return binary.LittleEndian.Uint32(b[:])
}
