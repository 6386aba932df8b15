package searchindex

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
)

// conn is a connection to the file with its prepared statements, for one goroutine at a
// time. It uses the driver directly: a segment is thousands of rows, and database/sql would
// double the cost of each.
type conn struct {
	raw   *sqlite3.SQLiteConn
	stmts map[string]*sqlite3.SQLiteStmt
	fault func(query string) error
}

// pragmas are set on each connection. secure_delete overwrites deleted rows, so that the file
// keeps no entries of erased messages, although they are only hashes. With synchronous = NORMAL a
// commit is durable after the next checkpoint; a comparison with the database finds what a crash
// has lost. Only the keeper writes, so busy_timeout matters only while it empties the log.
var pragmas = []string{
	"busy_timeout = 250", "journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON", "temp_store = MEMORY",
	"cache_size = -8192",
}

// dataSource returns the driver's name for a file. mode=rw keeps SQLite from creating the
// file, which would get the permissions of the umask.
func dataSource(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	return "file:" + u.EscapedPath() + "?mode=rw"
}

func openConn(path string, fault func(query string) error) (*conn, error) {
	raw, err := (&sqlite3.SQLiteDriver{}).Open(dataSource(path))
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw.(*sqlite3.SQLiteConn), stmts: map[string]*sqlite3.SQLiteStmt{}, fault: fault}
	for _, p := range pragmas {
		if err := c.script("PRAGMA " + p); err != nil {
			return nil, errors.Join(fmt.Errorf("PRAGMA %s: %w", p, err), c.close())
		}
	}
	return c, nil
}

// createFile creates an empty file that only the operating-system user of this process can read or
// write. It replaces an existing file.
func createFile(path string) error {
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

// script runs statements and discards their results.
func (c *conn) script(text string) error {
	if c.fault != nil {
		if err := c.fault(text); err != nil {
			return err
		}
	}
	_, err := c.raw.Exec(text, nil)
	return err
}

func (c *conn) prepare(query string) (*sqlite3.SQLiteStmt, error) {
	if c.fault != nil {
		if err := c.fault(query); err != nil {
			return nil, err
		}
	}
	if s := c.stmts[query]; s != nil {
		return s, nil
	}
	s, err := c.raw.Prepare(query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s.(*sqlite3.SQLiteStmt)
	return c.stmts[query], nil
}

// exec runs a statement that writes.
func (c *conn) exec(query string, args ...driver.Value) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	_, err = s.Exec(args)
	return err
}

// query calls scan for each row until scan returns false or an error.
func (c *conn) query(query string, args []driver.Value, scan func(row []driver.Value) (bool, error)) (err error) {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	rows, err := s.Query(args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if more, err := scan(row); err != nil || !more {
			return err
		}
	}
}

// value returns the first column of the first row, nil if there is no row.
func (c *conn) value(query string, args ...driver.Value) (v driver.Value, err error) {
	err = c.query(query, args, func(row []driver.Value) (bool, error) {
		v = row[0]
		return false, nil
	})
	return v, err
}

// integer returns an integer, or errDamaged if the query returns none.
func (c *conn) integer(query string, args ...driver.Value) (int64, error) {
	v, err := c.value(query, args...)
	if err != nil {
		return 0, err
	}
	n, ok := v.(int64)
	if !ok {
		return 0, errDamaged
	}
	return n, nil
}

// bytes returns a blob, nil if there is no row, or errDamaged if the value is not a blob.
func (c *conn) bytes(query string, args ...driver.Value) ([]byte, error) {
	v, err := c.value(query, args...)
	if err != nil || v == nil {
		return nil, err
	}
	b, ok := v.([]byte)
	if !ok {
		return nil, errDamaged
	}
	return b, nil
}

// transact runs fn in a transaction.
func (c *conn) transact(fn func() error) error {
	if err := c.script("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		err = c.script("COMMIT")
	}
	if err != nil && !c.raw.AutoCommit() {
		if _, undone := c.raw.Exec("ROLLBACK", nil); undone != nil {
			err = errors.Join(err, undone)
		}
	}
	return err
}

// isDamaged reports whether an error means that the file is damaged.
func isDamaged(err error) bool {
	var e sqlite3.Error
	return errors.Is(err, errDamaged) ||
		errors.As(err, &e) && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB || e.Code == sqlite3.ErrFormat)
}
