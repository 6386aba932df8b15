package sqlite

import (
	"database/sql"
	"iter"
	"slices"
)

// Rows of contents are deleted in the midst of wiped ones alone. Where pages get
// empty, SQLite moves the cells of a page and of up to two beside it about, and
// leaves copies of them in gaps, which overwriting would miss later; see
// migrations/0001_initial.sql. So between a row that is deleted and one that is
// not wiped there stay so many wiped ones that the three pages hold these alone.
const (
	// pageSize is that of the file.
	pageSize = 4096
	// margin is how many bytes of wiped rows stay, as they are within pages: what
	// is long continues on pages of its own.
	margin = 3 * pageSize
	// leastLocal is the least that a page holds of a row that continues elsewhere.
	leastLocal = (pageSize-12)*32/255 - 23
	// deleteBatch is about how many bytes of rows one step deletes, and
	// deleteRows how many rows.
	deleteBatch = 128 << 10
	deleteRows  = 512
	// beforeLimit is how many bytes within pages are looked at before the first
	// row that may be deleted.
	beforeLimit = 4 * margin
)

const (
	selectWhole = "SELECT block FROM wiped INDEXED BY wiped_whole WHERE n >= 64 ORDER BY block LIMIT 1"
	// What was wiped begins with a zero, and JSON does not.
	contentColumns      = "SELECT id, length(data), substr(data, 1, 1) = x'00' FROM contents "
	selectContentBefore = contentColumns + "WHERE id < ? ORDER BY id DESC"
	selectContentFrom   = contentColumns + "WHERE id >= ? ORDER BY id"
	deleteContents      = "DELETE FROM contents WHERE id BETWEEN ? AND ?"
	deleteWhole         = "DELETE FROM wiped WHERE block <= ? AND n >= 64"
)

// wipedRow is a row of contents that was wiped.
type wipedRow struct{ id, length int64 }

// local is no more than what the row takes of its page.
func (r wipedRow) local() int64 { return min(r.length, leastLocal) }

// wipedRun are wiped rows without another between them.
type wipedRun struct {
	rows []wipedRow
	// atStart says that there is no row before them.
	atStart bool
}

// deletable returns the stretch of rows that may be deleted: all but the margin
// at both ends. None is needed at the table's start. At its end one stays, for
// what comes next will not be wiped.
func (w wipedRun) deletable() []wipedRow {
	rows := w.rows
	if !w.atStart {
		rows = rows[marginOf(slices.Values(rows)):]
	}
	backward := func(yield func(wipedRow) bool) {
		for _, r := range slices.Backward(rows) {
			if !yield(r) {
				return
			}
		}
	}
	return rows[:len(rows)-marginOf(backward)]
}

// marginOf returns how many of the rows are a margin.
func marginOf(rows iter.Seq[wipedRow]) (n int) {
	bytes := int64(0)
	for r := range rows {
		if bytes >= margin {
			break
		}
		bytes += r.local()
		n++
	}
	return n
}

// deleteWiped deletes some of what was wiped and may be, and reports whether it
// has to be called again. It begins at the first block of which everything was
// wiped, takes in what was wiped around it, and is done with the block once
// nothing more of it can be deleted: should something beside it be wiped later,
// that will lead here again.
func (t *tx) deleteWiped() (more bool, err error) {
	var block int64
	found, err := t.session.row(selectWhole, nil, &block)
	if err != nil || !found {
		return false, err
	}
	run, err := t.wipedBefore(block*64 + 1)
	if err != nil {
		return false, err
	}
	ended, err := t.wipedFrom(block*64+1, &run)
	if err != nil {
		return false, err
	}
	var last int64 // all of the run up to this is done
	if n := len(run.rows); n > 0 {
		last = run.rows[n-1].id
	}
	if rows := run.deletable(); len(rows) > 0 {
		first, through := rows[0].id, rows[len(rows)-1].id
		if _, err := t.session.update(deleteContents, first, through); err != nil {
			return false, err
		}
		if !ended {
			last = through
		}
	}
	done := last/64 - 1
	if ended {
		done = max(done, block)
	}
	_, err = t.session.update(deleteWhole, done)
	return true, err
}

// wipedBefore returns the run that ends before a row.
func (t *tx) wipedBefore(id int64) (run wipedRun, err error) {
	local := int64(0)
	run.atStart = true
	err = t.session.query(selectContentBefore, []any{id}, func(rows *sql.Rows) (bool, error) {
		r, wiped, err := scanWiped(rows)
		if err != nil || !wiped || local >= beforeLimit {
			run.atStart = false
			return false, err
		}
		run.rows = append(run.rows, r)
		local += r.local()
		return true, nil
	})
	slices.Reverse(run.rows)
	return run, err
}

// wipedFrom adds to the run what was wiped from a row on: a margin, unless it has
// one, as much as one step deletes, and a margin behind that. It reports whether
// the run ended before.
func (t *tx) wipedFrom(id int64, run *wipedRun) (ended bool, err error) {
	var front, bytes, n, behind int64
	for _, r := range run.rows {
		front += r.local()
	}
	ended = true
	err = t.session.query(selectContentFrom, []any{id}, func(rows *sql.Rows) (bool, error) {
		r, wiped, err := scanWiped(rows)
		if err != nil || !wiped {
			return false, err
		}
		run.rows = append(run.rows, r)
		switch {
		case !run.atStart && front < margin:
			front += r.local()
		case bytes < deleteBatch && n < deleteRows:
			bytes, n = bytes+r.length, n+1
		default:
			behind += r.local()
			ended = behind < margin
		}
		return ended, nil
	})
	return ended, err
}

func scanWiped(rows *sql.Rows) (r wipedRow, wiped bool, err error) {
	err = rows.Scan(&r.id, &r.length, &wiped)
	return r, wiped, err
}
