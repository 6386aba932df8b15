package events

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/imapi/imapi/im"
)

// Cursor is a client's place in an event log: everything up to and including
// Position was told.
type Cursor struct {
	// Log names the log, for a position means nothing in another one.
	Log      uint32
	Position im.Position
}

// ErrBadCursor is what [ParseCursor] answers for what is no cursor.
var ErrBadCursor = errors.New("not a cursor")

// The text of a cursor is base64url of 15 bytes, which fill its 20 characters
// without a bit to spare, so that there is one text for each cursor:
// version (1), log (4), position (8), checksum of those (2), big endian.
const (
	cursorVersion = 1
	cursorSummed  = 1 + 4 + 8
	cursorBytes   = cursorSummed + 2
	cursorLength  = cursorBytes / 3 * 4
)

// String returns the 20 URL-safe characters by which clients know the cursor.
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

// ParseCursor reads what [Cursor.String] wrote. Anything else is
// [ErrBadCursor]; the checksum is there to find mistakes, not forgeries, for a
// cursor gives no rights.
func ParseCursor(s string) (Cursor, error) {
	// The decoder skips line breaks, so the length alone does not settle it.
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

// Resolve says where a reader who comes with a cursor reads on: after from. If
// reset is true the log cannot tell what the reader missed, because the cursor
// is older than the log, of another log, or ahead of it; from is then the head
// and the reader must be told so. A log that this one goes on from counts as this one
// up to its head.
func Resolve(c Cursor, bounds im.LogBounds, logID uint32) (from im.Position, reset bool) {
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
