package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"
)

// role is what a connection is for.
type role uint8

const (
	setup role = iota // migrations
	writing
	reading
	moving  // moves the write-ahead log into the database
	copying // a backup that is being made, in the journal mode that it has
)

// busyTimeout is how long a connection waits for a lock that another one has.
const busyTimeout = 5 * time.Second

// pragmas returns what is set on a connection before anything else. Each is
// per connection, or must come before the first table.
func (o Options) pragmas(r role) []string {
	list := []string{fmt.Sprint("busy_timeout = ", busyTimeout.Milliseconds())}
	if r == copying {
		return append(list, "secure_delete = ON", "temp_store = MEMORY")
	}
	list = append(list,
		"journal_mode = WAL",
		"synchronous = "+o.Synchronous,
		"foreign_keys = ON",
		// Metadata that is deleted is overwritten, and nothing gets into temporary
		// files or, before its commit, into the log. Content is sealed wherever it is.
		"secure_delete = ON",
		"temp_store = MEMORY",
		"cache_spill = OFF",
	)
	switch r {
	case reading:
		list = append(list, "query_only = ON")
	case writing:
		// The write-ahead log is moved by another connection, and once it begins anew
		// its file does not stay larger than it should be.
		list = append(list, "wal_autocheckpoint = 0", fmt.Sprint("journal_size_limit = ", o.log.restart))
	default:
	}
	return list
}

// connector opens connections of one kind. It is given to database/sql in
// place of a driver registered by name, so that nothing is global.
type connector struct {
	driver *sqlite3.SQLiteDriver
	dsn    string
}

func (c *connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c *connector) Driver() driver.Driver                        { return c.driver }

// session is one connection with its prepared statements. It is used by one
// goroutine at a time.
type session struct {
	role  role
	db    *sql.DB
	conn  *sql.Conn
	raw   *sqlite3.SQLiteConn
	stmts map[string]*sql.Stmt
	// ctx ends the statements of a read. The writer's is never done: the
	// driver would interrupt a statement, and SQLite may then roll back the
	// transaction of the whole batch without anyone noticing.
	ctx context.Context
	// fault is asked before each statement; tests inject errors by it.
	fault func(s *session, query string) error
	// logger gets what no caller is told.
	logger *slog.Logger

	// wrote says that a statement that writes was begun, and failed is the
	// error of the driver that was met, both since [session.reset].
	wrote  bool
	failed error
	// writes counts the statements that write.
	writes uint64
}

// openSession opens a connection to the file at path, which must exist.
func openSession(path string, o Options, r role) (*session, error) {
	return openSource(dataSource(path), o, r)
}

// openSource is openSession for the driver's name of a file.
func openSource(source string, o Options, r role) (*session, error) {
	s := &session{role: r, stmts: map[string]*sql.Stmt{}, ctx: context.Background(), logger: o.Logger}
	c := &connector{dsn: source}
	c.driver = &sqlite3.SQLiteDriver{ConnectHook: func(raw *sqlite3.SQLiteConn) error {
		for _, p := range o.pragmas(r) {
			if _, err := raw.Exec("PRAGMA "+p, nil); err != nil {
				return fmt.Errorf("PRAGMA %s: %w", p, err)
			}
		}
		s.raw = raw
		return nil
	}}
	s.db = sql.OpenDB(c)
	s.db.SetMaxOpenConns(1)
	conn, err := s.db.Conn(s.ctx)
	if err != nil {
		_ = s.db.Close()
		return nil, err
	}
	s.conn = conn
	if r != setup {
		s.fault = o.fault
	}
	return s, nil
}

// dataSource returns the driver's name for a file. It is a URI, so that every
// character may be in the path; mode=rw keeps SQLite from making a file, which
// would have the permissions of the umask.
func dataSource(path string) string { return dataFile(path) + "?mode=rw" }

func dataFile(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	return "file:" + u.EscapedPath()
}

// close ends the connection and with it a transaction that is under way. The
// statements come first: database/sql leaves those of a single connection to
// who prepared them, and with one that is open SQLite would keep the connection
// and its locks behind the scenes.
func (s *session) close() error {
	errs := make([]error, 0, len(s.stmts)+2)
	for _, stmt := range s.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, s.conn.Close(), s.db.Close())...)
}

// reset forgets what the closure before wrote and failed at.
func (s *session) reset() { s.wrote, s.failed = false, nil }

// inTransaction reports whether one is open, as SQLite sees it: it ends one by
// itself after some errors.
func (s *session) inTransaction() bool { return !s.raw.AutoCommit() }

// control runs BEGIN, COMMIT or ROLLBACK.
func (s *session) control(query string) error {
	if s.fault != nil {
		if err := s.fault(s, query); err != nil {
			return refusal(err)
		}
	}
	stmt, err := s.prepare(query)
	if err != nil {
		return err
	}
	if _, err := stmt.ExecContext(context.Background()); err != nil {
		return refusal(err)
	}
	return nil
}

// prepare returns the prepared statement of a query, see [expand].
//
// Each parameter gets a plus, which does nothing but hide it: where SQLite sees
// a bare parameter beside the columns of a join or an order, it plans for the
// value, and compiles the statement again whenever another one is bound. That
// takes several times as long as running it.
func (s *session) prepare(query string) (*sql.Stmt, error) {
	if stmt := s.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := s.conn.PrepareContext(context.Background(), strings.ReplaceAll(expand(query), "?", "+?"))
	if err != nil {
		return nil, refusal(err)
	}
	s.stmts[query] = stmt
	return stmt, nil
}

// fail remembers and translates an error of the driver.
func (s *session) fail(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		err = cause
	} else {
		err = refusal(err)
	}
	s.failed = err
	return err
}

// exec runs a statement that writes and returns its result.
func (s *session) exec(query string, args ...any) (sql.Result, error) {
	s.wrote = true
	s.writes++
	stmt, err := s.ready(query)
	if err != nil {
		return nil, err
	}
	res, err := stmt.ExecContext(s.ctx, args...)
	if err != nil {
		return nil, s.fail(err)
	}
	return res, nil
}

// update is exec for a statement of which only the number of rows counts.
func (s *session) update(query string, args ...any) (int64, error) {
	res, err := s.exec(query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query runs a statement and calls scan for each row, until scan reports false
// or an error.
func (s *session) query(query string, args []any, scan func(*sql.Rows) (bool, error)) error {
	stmt, err := s.ready(query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(s.ctx, args...)
	if err != nil {
		return s.fail(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		more, err := scan(rows)
		if err != nil {
			return s.fail(err)
		}
		if !more {
			return nil
		}
	}
	if err := rows.Err(); err != nil {
		return s.fail(err)
	}
	return nil
}

// row reads the one row of a query into dest and reports whether there is one.
func (s *session) row(query string, args []any, dest ...any) (bool, error) {
	found := false
	err := s.query(query, args, func(rows *sql.Rows) (bool, error) {
		found = true
		return false, rows.Scan(dest...)
	})
	return found, err
}

// writeRow is row for a statement that writes and returns what it wrote. It
// lets the statement come to its end.
func (s *session) writeRow(query string, args []any, dest ...any) (bool, error) {
	s.wrote = true
	s.writes++
	found := false
	err := s.query(query, args, func(rows *sql.Rows) (bool, error) {
		found = true
		return true, rows.Scan(dest...)
	})
	return found, err
}

// ready prepares a statement. After an error of the driver none is: SQLite may
// have rolled the transaction back, and what a function that went on wrote
// then would be committed at once and by itself.
func (s *session) ready(query string) (*sql.Stmt, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	if s.fault != nil {
		if err := s.fault(s, query); err != nil {
			return nil, s.fail(err)
		}
	}
	stmt, err := s.prepare(query)
	if err != nil {
		return nil, s.fail(err)
	}
	return stmt, nil
}
