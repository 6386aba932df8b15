package sqlite

import (
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/searchindex"
)

// reader implements [im.Reader] on a session, within a transaction.
type reader struct {
	session *session
	users   *userCache
	// interned holds the users that this transaction has found or created. They must not enter the
	// cache before the commit. It is nil in a read.
	interned map[im.UserID]int64
	// infos caches the fields of conversations that never change; nil in a read.
	infos map[im.ID]convInfo
	// counted caches the counts of the conversation that was read last.
	counted  counted
	searcher *searchindex.Index
	sealer   *sealer
	examined int // how much a window of the log examines, see mostExamined
	// row holds the columns of the message that is being read, event those of the event; nil
	// before the first.
	row   *messageRow
	event *eventRow
	// hiding records, in a read, which users have hidden messages by their ids.
	hiding map[int64]bool
	// unsealed is memory for unsealed content, see [reader.room].
	unsealed []byte
	// outdated is set when a read meets content whose key is shredded.
	outdated bool
}

var _ im.Reader = (*reader)(nil)

// tx implements [im.Tx]. The calls of a batch share it.
type tx struct {
	reader
	// last is the newest position of the log. Positions up to indexed are in the index of events;
	// maxUnindexed is the maximum number of those that are not.
	last, indexed, maxUnindexed im.Position
	events                      []im.Event
	cuts                        []im.TokenCut
	blocks                      []im.UserBlock
	// webhooks is set if webhooks have changed or deliveries were queued, as an admin requests.
	webhooks bool
	// due is the earliest time set at which a message burns or expires, zero if none was
	// set.
	due time.Time
	// stamp is the last result of Stamp, zero if there is none.
	stamp time.Time
	// doomed are the keys to shred after the commit.
	doomed []doomed
	// used are the slots whose keys sealed content in this transaction. slotEnd, unless 0, is the
	// new bound for [sealer].
	used    []im.Slot
	slotEnd uint64

	// searchAdded and searchRemoved are passed to the search index after the commit.
	searchAdded   []searchindex.Document
	searchRemoved []int64
}

var _ im.Tx = (*tx)(nil)

func newTx(s *session, store *Store) *tx {
	return &tx{reader: reader{
		session: s, users: store.users, interned: map[im.UserID]int64{}, infos: map[im.ID]convInfo{},
		searcher: store.index, sealer: store.sealer, examined: store.options.examined,
	}}
}

// head returns the position of the newest event that was appended, 0 if there is none.
func (t *tx) head() im.Position {
	if n := len(t.events); n > 0 {
		return t.events[n-1].Position
	}
	return 0
}

// noteDue records the time at which a message burns or expires.
func (t *tx) noteDue(at time.Time) {
	if t.due.IsZero() || at.Before(t.due) {
		t.due = at
	}
}
