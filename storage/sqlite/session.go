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

	"github.com/imapi/imapi/storage/sqlite/packed"
)

// role is the purpose of a connection.
type role uint8

const (
	setup role = iota // migrations
	writing
	reading
	moving  // checkpoints
	copying // a backup in progress, with any journal mode
)

// busyTimeout is how long a connection waits for another one's lock.
const busyTimeout = 5 * time.Second

// pragmas returns the settings of a connection. They are per connection, or must come
// before the first table.
func (o Options) pragmas(r role) []string {
	list := []string{fmt.Sprint("busy_timeout = ", busyTimeout.Milliseconds())}
	if r == copying {
		return append(list, "secure_delete = ON", "temp_store = MEMORY")
	}
	list = append(list,
		"journal_mode = WAL",
		"synchronous = "+o.Synchronous,
		"foreign_keys = ON",
		// secure_delete overwrites deleted metadata. The other two keep uncommitted data
		// out of temporary files and the log. Content is sealed everywhere.
		"secure_delete = ON",
		"temp_store = MEMORY",
		"cache_spill = OFF",
	)
	switch r {
	case reading:
		list = append(list, "query_only = ON")
	case writing:
		// Another connection runs the checkpoints. When the log restarts, its file is
		// truncated to the limit.
		list = append(list, "wal_autocheckpoint = 0", fmt.Sprint("journal_size_limit = ", o.log.restart))
	default:
	}
	return list
}

// connector opens connections of one kind. It is passed to database/sql instead of
// registering a driver by name, which would be global.
type connector struct {
	driver *sqlite3.SQLiteDriver
	dsn    string
}

func (c *connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c *connector) Driver() driver.Driver                        { return c.driver }

// session is a connection with its prepared statements. Only one goroutine may use it at a
// time.
type session struct {
	role  role
	db    *sql.DB
	conn  *sql.Conn
	raw   *sqlite3.SQLiteConn
	stmts map[string]*sql.Stmt
	lists map[string]string // queries of list, with the statements that pack their rows
	// ctx bounds the statements of a read transaction. The writer's is never done, because
	// an interrupted statement may make SQLite roll back the transaction of the whole batch
	// unnoticed.
	ctx context.Context
	// fault is called before each statement. Tests use it to inject errors.
	fault func(s *session, query string) error
	// logger logs what no caller receives.
	logger *slog.Logger

	// wrote says that a writing statement was started, failed is an error of the driver,
	// both since the last [session.reset].
	wrote  bool
	failed error
	// writes counts the writing statements.
	writes uint64
}

// openSession opens a connection to the existing file at path.
func openSession(path string, o Options, r role) (*session, error) {
	return openSource(dataSource(path), o, r)
}

// openSource is openSession with the driver's name of a file.
func openSource(source string, o Options, r role) (*session, error) {
	if err := packed.Register(); err != nil {
		return nil, err
	}
	s := &session{role: r, stmts: map[string]*sql.Stmt{}, lists: map[string]string{}, ctx: context.Background(), logger: o.Logger}
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

// dataSource returns the driver's name of a file. It is a URI, so that the path may contain
// any character. mode=rw keeps SQLite from creating the file, which would get the
// permissions of the umask.
func dataSource(path string) string { return dataFile(path) + "?mode=rw" }

func dataFile(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	return "file:" + u.EscapedPath()
}

// close closes the connection and rolls back an open transaction. It closes the statements
// first: database/sql does not, and SQLite keeps a connection with open statements, and its
// locks.
func (s *session) close() error {
	errs := make([]error, 0, len(s.stmts)+2)
	for _, stmt := range s.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, s.conn.Close(), s.db.Close())...)
}

// reset clears wrote and failed before the next closure.
func (s *session) reset() { s.wrote, s.failed = false, nil }

// inTransaction reports whether a transaction is open. SQLite ends it by itself after some
// errors.
func (s *session) inTransaction() bool { return !s.raw.AutoCommit() }

// control runs BEGIN, COMMIT or ROLLBACK.
func (s *session) control(query string) error {
	if s.fault != nil {
		if err := s.fault(s, query); err != nil {
			return refusal(err)
		}
	}
	stmt, err := s.prepare(query) //nolint:sqlclosecheck // kept for the next time
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
// Each parameter gets a plus sign, which has no effect except to hide it from the planner.
// SQLite plans for the value of a bare parameter in a join or an order, and compiles the
// statement again whenever the value changes, which takes several times as long as running
// it.
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

// fail converts an error of the driver and stores it.
func (s *session) fail(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		err = cause
	} else {
		err = refusal(err)
	}
	s.failed = err
	return err
}

// exec runs a statement that writes.
func (s *session) exec(query string, args ...any) (sql.Result, error) {
	s.wrote = true
	s.writes++
	stmt, err := s.ready(query) //nolint:sqlclosecheck // kept for the next time
	if err != nil {
		return nil, err
	}
	res, err := stmt.ExecContext(s.ctx, args...)
	if err != nil {
		return nil, s.fail(err)
	}
	return res, nil
}

// update runs a statement that writes and returns the number of rows it changed.
func (s *session) update(query string, args ...any) (int64, error) {
	res, err := s.exec(query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query runs a statement and calls scan for each row until scan returns false or an error.
func (s *session) query(query string, args []any, scan func(*sql.Rows) (bool, error)) error {
	stmt, err := s.ready(query) //nolint:sqlclosecheck // kept for the next time
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

// list is query for a statement that returns a bounded number of rows, most of which are
// needed. It reads all of them in one call into C, which is several times as fast, and holds
// them in memory.
func (s *session) list(query string, args []any, scan func(packedRow) (bool, error)) error {
	stmt, err := s.readyList(query, len(args)) //nolint:sqlclosecheck // kept for the next time
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(s.ctx, args...)
	if err != nil {
		return s.fail(err)
	}
	defer func() { _ = rows.Close() }()
	var blob sql.RawBytes
	if rows.Next() {
		if err := rows.Scan(&blob); err != nil {
			return s.fail(err)
		}
		for list := (packedRow{packed.NewRows(blob)}); list.rows.More(); {
			more, err := scan(list)
			if err != nil {
				return s.fail(err)
			}
			if !more {
				return nil
			}
		}
	}
	if err := rows.Err(); err != nil {
		return s.fail(err)
	}
	return nil
}

// readyList is ready for a list.
func (s *session) readyList(query string, args int) (*sql.Stmt, error) {
	packing := s.lists[query]
	if packing == "" {
		columns, err := s.columns(query, args)
		if err != nil {
			return nil, s.fail(err)
		}
		packing = packed.Query(query, columns)
		s.lists[query] = packing
	}
	return s.readyAs(query, packing)
}

// columns returns the number of columns of a query, which it does not run.
func (s *session) columns(query string, args int) (int, error) {
	rows, err := s.conn.QueryContext(s.ctx, packed.Shape(expand(query)), make([]any, args)...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	return len(names), errors.Join(err, rows.Err())
}

// row reads the first row of a query into dest and reports whether there is one.
func (s *session) row(query string, args []any, dest ...any) (bool, error) {
	found := false
	err := s.query(query, args, func(rows *sql.Rows) (bool, error) {
		found = true
		return false, rows.Scan(dest...)
	})
	return found, err
}

// writeRow is row for a writing statement with RETURNING. It runs the statement to its end.
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

// ready prepares a statement. It fails after an error of the driver: SQLite may have rolled
// back the transaction, and further writes would then be committed on their own.
func (s *session) ready(query string) (*sql.Stmt, error) { return s.readyAs(query, query) }

// readyAs is ready for a query that runs as another statement.
func (s *session) readyAs(query, statement string) (*sql.Stmt, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	if s.fault != nil {
		if err := s.fault(s, query); err != nil {
			return nil, s.fail(err)
		}
	}
	stmt, err := s.prepare(statement)
	if err != nil {
		return nil, s.fail(err)
	}
	return stmt, nil
}
