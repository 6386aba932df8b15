package sqlite

import "github.com/imapi/imapi/im"

// An event that tells of a message is not put into the index of its conversation's
// events at once. Senders write to many conversations, and each would write a page of the
// index for its own entry. Instead the newest such events are looked through, of which
// there are few, and when there are too many the oldest of them are filed: the entries of
// one conversation then share a page.

// mostUnfiled is how many positions may be unfiled. A quarter of them is filed at once, by
// the transaction that goes over it.
const maxUnindexed = 2048

const (
	selectIndexedThrough = "SELECT value FROM meta WHERE key = 'indexed_through'"
	putIndexedThrough    = "UPDATE meta SET value = ? WHERE key = 'indexed_through'"
	indexEvents          = "UPDATE events SET indexed = 1 WHERE pos > ? AND pos <= ? AND indexed = 0"
)

// filedThrough returns the position up to which all events are filed.
func (r *reader) indexedThrough() (pos im.Position, err error) {
	_, err = r.session.row(selectIndexedThrough, nil, &pos)
	return pos, err
}

// file files events if too many are not.
func (t *tx) file() error {
	if t.last-t.indexed <= t.maxUnindexed {
		return nil
	}
	return t.indexThrough(t.indexed + t.maxUnindexed/4 + 1)
}

// fileThrough files all events up to a position.
func (t *tx) indexThrough(pos im.Position) error {
	if pos <= t.indexed {
		return nil
	}
	if _, err := t.session.exec(indexEvents, int64(t.indexed), int64(pos)); err != nil {
		return err
	}
	t.indexed = pos
	return t.must(putIndexedThrough, int64(pos))
}
