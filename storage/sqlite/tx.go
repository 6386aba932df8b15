package sqlite

import (
	"time"

	"github.com/imapi/imapi/im"
)

// reader implements [im.Reader] on a session, within its transaction.
type reader struct {
	session *session
	users   *userCache
	// interned are the users that this transaction has found or made, which
	// the cache must not know of before it is committed; nil in a read.
	interned map[im.UserID]int64
	// places are what never changes of conversations that this transaction has
	// read; nil in a read.
	places map[im.ID]placed
	// recent are the messages that the file's index may not have.
	recent []*recentMessage
	sealer *sealer
	// outdated says that content was met whose key is shredded.
	outdated bool
}

var _ im.Reader = (*reader)(nil)

// tx implements [im.Tx]. One is shared by the calls of a batch.
type tx struct {
	reader
	events []im.Event
	cuts   []im.TokenCut
	// due is the earliest time at which a message erases itself that was set,
	// zero if none was.
	due time.Time
	// stamp is the latest time that Stamp has given, zero if it gave none.
	stamp time.Time
	// doomed are the keys that are to be shredded once this is committed.
	doomed []doomed
	// used are the slots that content was sealed under, and named, if it is not 0, the one
	// below which they all are, for [sealer].
	used  []im.Slot
	named uint64

	// index are the recent messages, of which fresh are to be added once this is
	// committed. Those up to written went to the file, and forgotten were erased.
	index     *recentIndex
	fresh     []*recentMessage
	written   int64
	forgotten []int64
}

var _ im.Tx = (*tx)(nil)

func newTx(s *session, users *userCache, sealer *sealer, index *recentIndex) *tx {
	r := reader{session: s, users: users, interned: map[im.UserID]int64{}, places: map[im.ID]placed{}, recent: index.all(), sealer: sealer}
	return &tx{reader: r, index: index}
}

// head returns the position of the newest event that was appended, 0 if none
// was.
func (t *tx) head() im.Position {
	if n := len(t.events); n > 0 {
		return t.events[n-1].Position
	}
	return 0
}

// noteDue remembers that a message erases itself at a time.
func (t *tx) noteDue(at time.Time) {
	if t.due.IsZero() || at.Before(t.due) {
		t.due = at
	}
}
