package im

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// ID names a conversation or a message. It is an integer inside and an opaque,
// sortable text outside: ids made later sort later, as integers and as text.
//
// The upper 42 bits are milliseconds since the Unix epoch, the lower 21 are
// random, so that an id tells neither how many there are nor what comes next.
type ID int64

// idAlphabet is base32hex (RFC 4648 §7) in lower case: its order is that of
// the values, so the text sorts as the number does.
const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

// idLength is the number of base32 digits that hold 63 bits.
const idLength = 13

const idRandomBits = 21

// String returns the 13 characters by which clients know the id.
func (id ID) String() string {
	var b [idLength]byte
	v := uint64(id)
	for i := idLength - 1; i >= 0; i-- {
		b[i] = idAlphabet[v&31]
		v >>= 5
	}
	return string(b[:])
}

// ParseID reads what [ID.String] wrote. It reports false for anything else;
// there is one text for each id.
func ParseID(s string) (ID, bool) {
	if len(s) != idLength || s[0] > '7' {
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
	return ID(v), v != 0
}

// FirstID returns the least id that something could have that came to be at this
// time or later.
func FirstID(at time.Time) ID { return ID(max(at.UnixMilli(), 0) << idRandomBits) }

// IDs makes ids that rise without a repeat, whatever the clock does. It is
// safe for concurrent use.
type IDs struct {
	mu   sync.Mutex
	last ID
}

// Next returns an id for something that comes to be at now.
func (g *IDs) Next(now time.Time) ID {
	var r [4]byte
	_, _ = rand.Read(r[:]) // never fails, says crypto/rand
	random := binary.LittleEndian.Uint32(r[:])

	g.mu.Lock()
	defer g.mu.Unlock()
	id := ID(now.UnixMilli()<<idRandomBits | int64(random&(1<<idRandomBits-1)))
	if id <= g.last {
		// Several within a millisecond, or a clock that was set back: go on
		// from the last one by a step that cannot be guessed.
		id = g.last + 1 + ID(random&0xff)
	}
	g.last = id
	return id
}
