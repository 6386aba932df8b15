package events

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/imapi/imapi/im"
)

// Cursor is the position of a client in an event log: the client has received all events
// up to and including Position.
type Cursor struct {
	Log      uint32 // the log, because a position means nothing in another one
	Position im.Position
}

// ErrBadCursor is the error of [ParseCursor] for a text that is not a cursor.
var ErrBadCursor = errors.New("not a cursor")

// The text of a cursor is the base64url encoding of 15 bytes. They fill its 20 characters without
// spare bits, so each cursor has exactly one text: version (1), log (4), position (8), checksum of
// those (2), big endian.
const (
	cursorVersion = 1
	cursorSummed  = 1 + 4 + 8
	cursorBytes   = cursorSummed + 2
	cursorLength  = cursorBytes / 3 * 4
)

// String returns the 20 URL-safe characters that clients get.
func (c Cursor) String() string {
	var text [cursorLength]byte
	c.appendTo(text[:0])
	return string(text[:])
}

func (c Cursor) appendTo(dst []byte) []byte {
	var b [cursorBytes]byte
	b[0] = cursorVersion
	binary.BigEndian.PutUint32(b[1:], c.Log)
	binary.BigEndian.PutUint64(b[5:], uint64(c.Position))
	binary.BigEndian.PutUint16(b[cursorSummed:], cursorSum(b[:cursorSummed]))
	return base64.RawURLEncoding.AppendEncode(dst, b[:])
}

// ParseCursor parses the text of [Cursor.String]. For any other text the error is
// [ErrBadCursor]. The checksum detects mistakes, not forgeries: a cursor gives no rights.
func ParseCursor(s string) (Cursor, error) {
	// The decoder skips line breaks, so the number of bytes is checked, too.
	if len(s) != cursorLength {
		return Cursor{}, ErrBadCursor
	}
	var b [cursorBytes]byte
	n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(s))
	if err != nil || n != cursorBytes || b[0] != cursorVersion {
		return Cursor{}, ErrBadCursor
	}
	if binary.BigEndian.Uint16(b[cursorSummed:]) != cursorSum(b[:cursorSummed]) {
		return Cursor{}, ErrBadCursor
	}
	c := Cursor{
		Log:      binary.BigEndian.Uint32(b[1:]),
		Position: im.Position(binary.BigEndian.Uint64(b[5:])),
	}
	if c.Position < 0 {
		return Cursor{}, ErrBadCursor
	}
	return c, nil
}

func cursorSum(b []byte) uint16 {
	return uint16(crc32.ChecksumIEEE(b))
}

// resolve returns the position after which a client continues to read. If reset is true, events
// between the cursor and from are unknown: the cursor is older than the log, belongs to another
// log, or is ahead of this one. from is then the head of the log, and the client must get [Reset].
// After restores, each log that this one continues counts as this one, up to the position where
// that log was left.
func resolve(c Cursor, bounds im.LogBounds, logID uint32) (from im.Position, reset bool) {
	head, known := bounds.Head, c.Log == logID
	for _, past := range bounds.Past {
		if !known && c.Log == past.Log {
			head, known = min(past.Head, bounds.Head), true
		}
	}
	if !known || c.Position < bounds.Cut || c.Position > head {
		return bounds.Head, true
	}
	return c.Position, false
}
