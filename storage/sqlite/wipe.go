package sqlite

import (
	"encoding/json"
	"fmt"
)

// Of every 64 rows of contents it is counted how many are wiped; when all are,
// they may be deleted; see reclaim.go. Ids begin at 1.
const (
	// wipeContent writes as many zeros over what a message says. The size
	// stays, so SQLite overwrites the cell and its overflow pages in place,
	// where the only copy is; see migrations/0001_initial.sql.
	wipeContent = "UPDATE contents SET data = zeroblob(length(data)) WHERE id = ?"
	countWiped  = `INSERT INTO wiped (block, n) VALUES ((?1 - 1) / 64, 1)
		ON CONFLICT (block) DO UPDATE SET n = n + 1`

	wipeContents = "UPDATE contents SET data = zeroblob(length(data)) WHERE id IN (SELECT j.value FROM json_each(?1) AS j)"
	countAll     = `INSERT INTO wiped (block, n) SELECT (j.value - 1) / 64, 1 FROM json_each(?1) AS j WHERE true
		ON CONFLICT (block) DO UPDATE SET n = n + 1`
)

// wipeOne destroys a row of contents, which is not to be referred to any more.
// The scrubber then wipes the log.
func (t *tx) wipeOne(content int64) error {
	t.erased = true
	if err := t.must(t.wipe, content); err != nil {
		return err
	}
	return t.must(countWiped, content)
}

// wipeAll is wipeOne for many rows, the bodies and notes of messages, each
// named once. It takes two statements, however many there are.
func (t *tx) wipeAll(contents []int64) error {
	if len(contents) == 0 {
		return nil
	}
	list, err := json.Marshal(contents)
	if err != nil {
		return err
	}
	t.erased = true
	n, err := t.session.update(wipeContents, string(list))
	if err == nil && n != int64(len(contents)) {
		err = fmt.Errorf("sqlite: %d rows of contents are to be wiped, and %d are there", len(contents), n)
	}
	if err != nil {
		return err
	}
	_, err = t.session.update(countAll, string(list))
	return err
}
