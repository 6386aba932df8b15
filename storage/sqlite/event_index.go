package sqlite

import "github.com/imapi/imapi/im"

// The event of a message is not added immediately to the index of its conversation's events.
// Senders write to many conversations, and each event would dirty an index page of its own.
// Instead, readers scan the newest events without the index. When there are too many of them, the
// oldest are added together, so that events of one conversation share a page.

// maxUnindexed is the maximum number of unindexed events. The transaction that exceeds it adds a
// quarter of them to the index.
const maxUnindexed = 2048

const (
	selectIndexedThrough = "SELECT value FROM meta WHERE key = 'indexed_through'"
	putIndexedThrough    = "UPDATE meta SET value = ? WHERE key = 'indexed_through'"
	indexEvents          = "UPDATE events SET indexed = 1 WHERE pos > ? AND pos <= ? AND indexed = 0 AND to_user IS NULL"
)

// indexedThrough returns the position up to which all events are indexed.
func (r *reader) indexedThrough() (pos im.Position, err error) {
	_, err = r.session.row(selectIndexedThrough, nil, &pos)
	return pos, err
}

// indexOldest indexes the oldest events if there are too many unindexed ones.
func (t *tx) indexOldest() error {
	if t.last-t.indexed <= t.maxUnindexed {
		return nil
	}
	return t.indexThrough(t.indexed + t.maxUnindexed/4 + 1)
}

// indexThrough indexes all events up to a position.
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
