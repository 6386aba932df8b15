package searchindex

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"os"

	"github.com/imapi/imapi/faults"
)

const (
	// formatVersion rises when the file or the folding of words changes, see package search. A file
	// of another version is rebuilt. 2: accents, the Turkish i and others.
	formatVersion = 2
	selectMeta    = "SELECT value FROM meta WHERE key = ?"
	putMeta       = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
	deleteMeta    = "DELETE FROM meta WHERE key = ?"

	keyFormat      = "format"
	keyFingerprint = "fits"
	keyGeneration  = "generation"
	keyClosed      = "closed"
)

// open opens the file. It creates a new one if the file is missing, damaged, of another database
// or of another format.
func (x *Index) open() error {
	c, now, closed, err := x.tryOpen()
	switch {
	case err == nil:
	case errors.Is(err, os.ErrNotExist):
		return x.recreate()
	case isDamaged(err) || errors.Is(err, errForeign) || errors.Is(err, errFormat):
		x.options.Logger.Warn("rebuilding the search index", "error", faults.Text(err))
		return x.recreate()
	default:
		return err
	}
	x.conn = c
	x.setStored(now)
	if closed != nil && bytes.Equal(closed, x.options.Mark) {
		x.mu.Lock()
		x.verifyBelow = 0
		x.verified.Store(0)
		x.mu.Unlock()
	}
	return nil
}

var (
	errForeign = errors.New("the search index belongs to another database")
	errFormat  = errors.New("the search index was written by another version of imapi")
)

// tryOpen opens the file if it belongs to the database and has the present format. It deletes the
// mark of the last Close, so that the next Open recognises a file that was not closed.
func (x *Index) tryOpen() (_ *conn, now *stored, closed []byte, err error) {
	if _, err := os.Stat(x.path); err != nil {
		return nil, nil, nil, err
	}
	c, err := openConn(x.path, x.options.fault)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	tables, err := c.integer("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'")
	if err == nil && tables == 0 {
		err = errForeign
	}
	if err != nil {
		return nil, nil, nil, err
	}
	format, err := c.value(selectMeta, keyFormat)
	if err != nil {
		return nil, nil, nil, err
	}
	fingerprint, err := c.bytes(selectMeta, keyFingerprint)
	switch {
	case err != nil:
	case !bytes.Equal(fingerprint, x.options.fingerprint()):
		err = errForeign
	case format != int64(formatVersion):
		err = errFormat
	}
	if err != nil {
		return nil, nil, nil, err
	}
	now = &stored{}
	if now.generation, err = c.integer(selectMeta, keyGeneration); err != nil {
		return nil, nil, nil, err
	}
	if now.segments, err = readSegments(c); err != nil {
		return nil, nil, nil, err
	}
	if closed, err = c.bytes(selectMeta, keyClosed); err != nil {
		return nil, nil, nil, err
	}
	if closed != nil {
		err = c.exec(deleteMeta, keyClosed)
	}
	return c, now, closed, err
}

// recreate replaces the file with an empty one. Everything must be indexed again.
func (x *Index) recreate() error {
	if x.conn != nil {
		if err := x.conn.close(); err != nil {
			x.options.Logger.Warn("cannot close the search index", "error", faults.Text(err))
		}
		x.conn = nil
	}
	x.mu.Lock()
	x.verifyBelow = noneVerified
	x.verified.Store(noneVerified)
	x.mu.Unlock()
	x.setStored(&stored{})
	x.recreated, x.reported = true, x.options.now()
	// No connection may have the old file open: the last connection to close the old file would
	// delete the log by its name, which is by then the log of the new file.
	err := x.exclusively(func() error { return createFile(x.path) })
	if err != nil {
		return err
	}
	c, err := openConn(x.path, x.options.fault)
	if err != nil {
		return err
	}
	err = c.transact(func() error {
		if err := c.script(schema); err != nil {
			return err
		}
		for key, value := range map[string]driver.Value{keyFormat: int64(formatVersion), keyFingerprint: x.options.fingerprint(), keyGeneration: int64(0)} {
			if err := c.exec(putMeta, key, value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, c.close())
	}
	x.conn = c
	return nil
}
