package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
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

// busyTimeout is the time that a connection waits for another one's lock.
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

// session is a connection with its prepared statements. Only one goroutine may use it at a
// time. It calls the driver without database/sql, which for each query with a context starts
// a goroutine, and for each row converts the columns by reflection.
type session struct {
	role  role
	conn  *sqlite3.SQLiteConn
	stmts map[string]*statement
	lists map[string]string // queries of list, with the statements that pack their rows
	// ctx bounds the statements of a read transaction. The writer's context never ends, because an
	// interrupted statement may make SQLite roll back the transaction of the whole batch unnoticed.
	ctx context.Context
	// fault is called before each statement. Tests use it to inject errors.
	fault func(s *session, query string) error
	// logger logs errors that no caller receives.
	logger *slog.Logger

	// wrote is set if a writing statement was started, and failed is an error of a statement or of
	// reading its rows, both since the last [session.reset].
	wrote  bool
	failed error
	// writes counts the writing statements.
	writes uint64
}

// statement is a prepared statement.
type statement struct {
	*sqlite3.SQLiteStmt
	inputs int // the number of its arguments
	args   []driver.NamedValue
	values []driver.Value // the columns of a row
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
	s := &session{role: r, stmts: map[string]*statement{}, lists: map[string]string{}, ctx: context.Background(), logger: o.Logger}
	conn, err := (&sqlite3.SQLiteDriver{ConnectHook: func(conn *sqlite3.SQLiteConn) error {
		for _, p := range o.pragmas(r) {
			if _, err := conn.Exec("PRAGMA "+p, nil); err != nil {
				return fmt.Errorf("PRAGMA %s: %w", p, err)
			}
		}
		s.conn = conn
		return nil
	}}).Open(source)
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, err
	}
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
// first: SQLite keeps a connection with open statements, and its locks.
func (s *session) close() error {
	errs := make([]error, 0, len(s.stmts)+1)
	for _, stmt := range s.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, s.conn.Close())...)
}

// reset clears wrote and failed before the next function runs.
func (s *session) reset() { s.wrote, s.failed = false, nil }

// inTransaction reports whether a transaction is open. SQLite ends it by itself after some
// errors.
func (s *session) inTransaction() bool { return !s.conn.AutoCommit() }

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
	if _, err := stmt.ExecContext(context.Background(), nil); err != nil {
		return refusal(err)
	}
	return nil
}

// prepare returns the prepared statement of a query, see [expand].
//
// Each parameter gets a plus sign, which has no effect except to hide it from the planner.
// SQLite plans for the value of a bare parameter in a join or an order, and recompiles the
// statement whenever the value changes, which takes several times as long as running it.
func (s *session) prepare(query string) (*statement, error) {
	if stmt := s.stmts[query]; stmt != nil {
		return stmt, nil
	}
	prepared, err := s.conn.Prepare(strings.ReplaceAll(expand(query), "?", "+?"))
	if err != nil {
		return nil, refusal(err)
	}
	stmt := &statement{SQLiteStmt: prepared.(*sqlite3.SQLiteStmt), inputs: prepared.NumInput()}
	s.stmts[query] = stmt
	return stmt, nil
}

// bind returns the arguments of a call, valid until the next one. The driver would bind missing
// ones as NULL.
func (s *statement) bind(args []any) ([]driver.NamedValue, error) {
	if len(args) != s.inputs {
		return nil, fmt.Errorf("a statement with %d parameters got %d arguments", s.inputs, len(args))
	}
	s.args = s.args[:0]
	for i, arg := range args {
		v, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return nil, err
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return s.args, nil
}

// fail converts an error of a statement, or of reading its rows, and stores it. If the context has
// ended, it stores the cause instead.
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
func (s *session) exec(query string, args ...any) (driver.Result, error) {
	s.wrote = true
	s.writes++
	stmt, err := s.ready(query)
	if err != nil {
		return nil, err
	}
	values, err := stmt.bind(args)
	if err != nil {
		return nil, s.fail(err)
	}
	res, err := stmt.ExecContext(s.ctx, values)
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
func (s *session) query(query string, args []any, scan func(row) (bool, error)) error {
	stmt, err := s.ready(query)
	if err != nil {
		return err
	}
	return s.rows(stmt, args, func(values []driver.Value) (bool, error) { return scan(singleRow(values)) })
}

// list is query for a statement that returns a bounded number of rows, most of which are
// needed. It reads all of them in one call into C, which is several times as fast, and holds
// them in memory.
func (s *session) list(query string, args []any, scan func(packedRow) (bool, error)) error {
	stmt, err := s.readyList(query, len(args))
	if err != nil {
		return err
	}
	return s.rows(stmt, args, func(values []driver.Value) (bool, error) {
		blob, _ := values[0].([]byte) // NULL without rows
		for list := (packedRow{packed.NewRows(blob)}); list.rows.More(); {
			if more, err := scan(list); err != nil || !more {
				return false, err
			}
		}
		return false, nil
	})
}

// rows runs a statement and calls scan for each row until scan returns false or an error.
func (s *session) rows(stmt *statement, args []any, scan func([]driver.Value) (bool, error)) error {
	bound, err := stmt.bind(args)
	if err != nil {
		return s.fail(err)
	}
	rows, err := stmt.QueryContext(s.ctx, bound)
	if err != nil {
		return s.fail(err)
	}
	defer func() { _ = rows.Close() }()
	if stmt.values == nil {
		stmt.values = make([]driver.Value, len(rows.Columns()))
	}
	for {
		switch err := rows.Next(stmt.values); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return s.fail(err)
		}
		more, err := scan(stmt.values)
		if err != nil {
			return s.fail(err)
		}
		if !more {
			return nil
		}
	}
}

// readyList is ready for a list.
func (s *session) readyList(query string, args int) (*statement, error) {
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

// columns returns the number of columns of a query without running it.
func (s *session) columns(query string, args int) (int, error) {
	rows, err := s.conn.Query(packed.Shape(expand(query)), make([]driver.Value, args))
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	return len(rows.Columns()), nil
}

// row reads the first row of a query into dest and reports whether there is one.
func (s *session) row(query string, args []any, dest ...any) (bool, error) {
	found := false
	err := s.query(query, args, func(rows row) (bool, error) {
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
	err := s.query(query, args, func(rows row) (bool, error) {
		found = true
		return true, rows.Scan(dest...)
	})
	return found, err
}

// ready prepares a statement. It fails after any error that [session.fail] has stored: SQLite may
// have rolled back the transaction, and further writes would then be committed on their own.
func (s *session) ready(query string) (*statement, error) { return s.readyAs(query, query) }

// readyAs is ready for a query that is run in the form of another statement.
func (s *session) readyAs(query, statement string) (*statement, error) {
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
