package sqlite

import "github.com/imapi/imapi/im"

// An event that tells of a message is not put into the index of its conversation's
// events at once. Senders write to many conversations, and each would write a page of the
// index for its own entry. Instead the newest such events are looked through, of which
// there are few, and when there are too many the oldest of them are filed: the entries of
// one conversation then share a page.

// mostUnfiled is how many positions may be unfiled. A quarter of them is filed at once, by
// the transaction that goes over it.
const mostUnfiled = 2048

const (
	selectFiled = "SELECT value FROM meta WHERE key = 'filed'"
	putFiled    = "UPDATE meta SET value = ? WHERE key = 'filed'"
	fileEvents  = "UPDATE events SET filed = 1 WHERE pos > ? AND pos <= ? AND filed = 0"
)

// filedThrough returns the position up to which all events are filed.
func (r *reader) filedThrough() (pos im.Position, err error) {
	_, err = r.session.row(selectFiled, nil, &pos)
	return pos, err
}

// file files events if too many are not.
func (t *tx) file() error {
	if t.last-t.filed <= t.mostUnfiled {
		return nil
	}
	return t.fileThrough(t.filed + t.mostUnfiled/4 + 1)
}

// fileThrough files all events up to a position.
func (t *tx) fileThrough(pos im.Position) error {
	if pos <= t.filed {
		return nil
	}
	if _, err := t.session.exec(fileEvents, int64(t.filed), int64(pos)); err != nil {
		return err
	}
	t.filed = pos
	return t.must(putFiled, int64(pos))
}
