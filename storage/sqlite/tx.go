package sqlite

import (
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/searchindex"
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
	infos map[im.ID]convInfo
	// counted are the counts of the conversation that was read last.
	counted  counted
	searcher *searchindex.Index
	sealer   *sealer
	// outdated says that content was met whose key is shredded.
	outdated bool
}

var _ im.Reader = (*reader)(nil)

// tx implements [im.Tx]. One is shared by the calls of a batch.
type tx struct {
	reader
	// last is the newest position of the log, all up to filed are filed, and mostUnfiled
	// may not be.
	last, indexed, maxUnindexed im.Position
	events                      []im.Event
	cuts                        []im.TokenCut
	// due is the earliest time at which a message erases itself that was set,
	// zero if none was.
	due time.Time
	// stamp is the latest time that Stamp has given, zero if it gave none.
	stamp time.Time
	// doomed are the keys that are to be shredded once this is committed.
	doomed []doomed
	// used are the slots that content was sealed under, and named, if it is not 0, the one
	// below which they all are, for [sealer].
	used    []im.Slot
	slotEnd uint64

	// indexed and unindexed are what the search index is told once this is committed.
	searchAdded   []searchindex.Document
	searchRemoved []int64
}

var _ im.Tx = (*tx)(nil)

func newTx(s *session, store *Store) *tx {
	return &tx{reader: reader{
		session: s, users: store.users, interned: map[im.UserID]int64{}, infos: map[im.ID]convInfo{},
		searcher: store.index, sealer: store.sealer,
	}}
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
