// Package sqlite keeps the state of imapi in one SQLite file.
//
// One goroutine writes, and what is queued while it commits shares the next
// transaction and its fsync (see writer.go). Readers have connections of their
// own and see what was committed. What a message says is sealed, and erased by
// shredding its key (see shredder.go).
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/searchindex"
)

// defaultReadLimit is how long a read transaction may last. A longer one would keep
// the write-ahead log from being moved into the database, and grow it.
const defaultReadLimit = 500 * time.Millisecond

// Options say how a [Store] works. The zero value is what a server uses.
type Options struct {
	// Synchronous is "full" (the default: what was acknowledged survives a
	// power cut) or "normal" (it survives a crash of the process alone).
	Synchronous string
	// Readers is the number of connections that read, 4 by default.
	Readers int
	// Observe is told of every batch on the writer's own time: it must not
	// block. It may be nil.
	Observe func(BatchStats)
	// Logger gets what no caller is told; slog's default if nil.
	Logger *slog.Logger
	// Now is the clock that Observe's times are taken from; time.Now if nil.
	Now func() time.Time
	// ReadLimit is how long a read may take, 500 ms by default.
	ReadLimit time.Duration

	// Keys opens the keys of a store, whose id it is given. fresh says that no content was
	// ever sealed: then they may be made anew.
	Keys func(store im.StoreID, fresh bool) (im.Keys, error)
	// ObserveShred is told of every batch of keys that was shredded. It may be nil.
	ObserveShred func(ShredStats)
	// AcceptLostKeys makes tombstones of messages whose keys are missing from a key file
	// that is older than the data, instead of failing.
	AcceptLostKeys bool
	// Reconciled is told what Open has made of data and keys that were not always
	// together. It may be nil.
	Reconciled func(im.Reconciled)
	// Progress is told how far Open is with what may take long: looking at all keys. It
	// may be nil.
	Progress func(im.Progress)

	// ObserveLog is told how many bytes of the write-ahead log are not in the database
	// yet, whenever it was looked at. It may be nil.
	ObserveLog func(unmoved int64)

	// unfiled is mostUnfiled, or less in tests.
	unindexed im.Position
	// log are the sizes at which the write-ahead log is moved, and logFault is asked before
	// it is looked at or moved, in tests.
	log      logLimits
	logFault func(s *session, query string) error
	// fault is asked before each statement of the writer and the readers.
	fault func(s *session, query string) error
	// flushAt is that of the search index.
	flushAt int
}

// BatchStats tell how one transaction of the writer went.
type BatchStats struct {
	// Calls is the number of calls of Write that shared it.
	Calls int
	// Events is the number of events that it appended.
	Events int
	// Duration is from BEGIN to the end of COMMIT, Commit that of the COMMIT,
	// with its fsync, alone.
	Duration time.Duration
	Commit   time.Duration
	// Queued is the number of calls that were waiting at its end.
	Queued int
	// Err is why it was not committed; nil if it was.
	Err error
}

func (o Options) withDefaults() (Options, error) {
	switch strings.ToUpper(o.Synchronous) {
	case "", "FULL":
		o.Synchronous = "FULL"
	case "NORMAL":
		o.Synchronous = "NORMAL"
	default:
		return o, fmt.Errorf("synchronous is full or normal, not %q", o.Synchronous)
	}
	if o.Readers <= 0 {
		o.Readers = 4
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ReadLimit == 0 {
		o.ReadLimit = defaultReadLimit
	}
	if o.unindexed == 0 {
		o.unindexed = maxUnindexed
	}
	if o.log == (logLimits{}) {
		o.log = logLimits{step: logStep, restart: logRestart, max: logMax}
	}
	return o, nil
}

// Store implements [im.Store] on one SQLite file.
type Store struct {
	path     string
	options  Options
	lock     *DirLock
	file     io.Closer // the lock of the database file
	instance im.Instance
	users    *userCache
	index    *searchindex.Index
	sealer   *sealer
	shredder *shredder
	writer   *writer
	// committed is the position of the newest event.
	committed atomic.Int64
	// closed is what the database was closed with before.
	closed []byte
	// checkpointer moves the write-ahead log into the database.
	checkpointer *checkpointer

	// readers holds the sessions that nobody uses; a nil one was lost and is
	// opened again by who takes it.
	readers chan *session
	closing chan struct{}
	close   sync.Once
}

var _ im.Store = (*Store)(nil)

// Open opens the file at path, or makes it and its directory, readable by this
// user alone. The file, by whatever names it has, and the directory where it is are
// locked until Close. It fails if another process holds one of the two, if the file was
// written by a newer version, if it is not imapi's, or if its keys cannot be opened. When
// it returns, the keys of all that was erased are shredded.
func Open(ctx context.Context, path string, options Options) (_ *Store, err error) {
	options, err = options.withDefaults()
	if err != nil {
		return nil, err
	}
	if path, err = Resolve(path); err != nil {
		return nil, fmt.Errorf("find the database: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	s := &Store{
		path:    path,
		options: options,
		users:   newUserCache(userCacheSize),
		readers: make(chan *session, options.Readers),
		closing: make(chan struct{}),
	}
	if s.lock, err = LockDir(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.closeReaders()
			if s.sealer != nil {
				_ = s.sealer.keys.Close()
			}
			if s.file != nil {
				_ = s.file.Close()
			}
			_ = s.lock.Unlock()
		}
	}()
	if s.file, err = lockDatabase(path); err != nil {
		return nil, err
	}
	todo, err := s.prepareFile(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for range options.Readers {
		reader, err := openSession(path, options, reading)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		s.readers <- reader
	}
	var head im.Position
	err = s.View(im.AtStart(ctx), func(r im.Reader) error {
		bounds, err := r.LogBounds()
		head = bounds.Head
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.committed.Store(int64(head))
	s.shredder = newShredder(s)
	if s.checkpointer, err = newCheckpointer(s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.openIndex(s.closed)
	if s.writer, err = startWriter(s, head); err != nil {
		return nil, errors.Join(err, s.checkpointer.session.close(), s.index.Close(nil))
	}
	go s.shredder.loop()
	go s.checkpointer.loop()
	if err := s.reconcile(ctx, todo); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), s.Close())
	}
	return s, nil
}

// prepareFile does what comes before the first reader and writer: migrations,
// and shredding what a crash has left.
func (s *Store) prepareFile(ctx context.Context) (todo plan, err error) {
	session, err := openSession(s.path, s.options, setup)
	if err != nil {
		return todo, err
	}
	err = migrate(session, migrations)
	if err == nil {
		s.instance, err = loadInstance(session)
	}
	if err == nil {
		s.closed, err = session.takeClosed()
	}
	if err == nil {
		todo, err = s.openKeys(ctx, session)
	}
	return todo, errors.Join(err, session.close())
}

// openKeys opens the keys of these data, shreds what a crash has left, and has new ones
// given out. It returns what is to be done about keys that were not always together with
// these data.
func (s *Store) openKeys(ctx context.Context, session *session) (todo plan, err error) {
	var id []byte
	var slots, epoch uint64
	for key, dest := range map[string]any{"store_id": &id, "slots": &slots, "key_epoch": &epoch} {
		if found, err := session.row(selectMeta, []any{key}, dest); err != nil || !found {
			return todo, errors.Join(fmt.Errorf("%s is missing", key), err)
		}
	}
	if len(id) != len(im.StoreID{}) {
		return todo, errors.New("store_id is no id of a store")
	}
	keys, err := s.options.Keys(im.StoreID(id), slots == 0)
	if err != nil {
		return todo, err
	}
	s.sealer = &sealer{keys: keys, store: im.StoreID(id)}
	s.sealer.slotEnd.Store(slots)
	if todo, err = s.planReconciliation(ctx, session, keys, epoch); err != nil {
		return todo, err
	}
	if err := session.shredDoomed(keys, s.options.Now()); err != nil {
		return todo, err
	}
	return todo, keys.Begin(im.Slot(slots))
}

// Head returns the position of the newest event that was committed.
func (s *Store) Head() im.Position { return im.Position(s.committed.Load()) }

// Instance tells what these data were given when they were made.
func (s *Store) Instance() im.Instance { return s.instance }

// OnCommit registers what is told of every commit that appended events, cut
// tokens off or set when a message erases itself.
func (s *Store) OnCommit(fn func(im.Commit)) { s.writer.listen(fn) }

// Write runs fn in a transaction; see [im.Store].
func (s *Store) Write(ctx context.Context, fn func(im.Tx) error) error {
	return s.writer.write(ctx, fn)
}

// Ready reports an error while the store cannot take writes: it has the writer
// begin and end a transaction.
func (s *Store) Ready(ctx context.Context) error {
	ctx = im.WithCaller(ctx, im.Caller{Job: "ready"})
	c, err := s.writer.queue.add(ctx, func(im.Tx) error { return nil })
	if err != nil {
		return err
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

// Readers returns how many Views run at once.
func (s *Store) Readers() int { return cap(s.readers) }

// View runs fn on a consistent snapshot; see [im.Store].
func (s *Store) View(ctx context.Context, fn func(im.Reader) error) error {
	outdated, err := s.view(ctx, fn)
	if outdated {
		// What it read as active was erased since, and its key is shredded. Now that is
		// in the snapshot, too.
		_, err = s.view(ctx, fn)
	}
	return err
}

// view runs fn once, and reports whether it has met content that is in its snapshot and
// was erased since.
func (s *Store) view(ctx context.Context, fn func(im.Reader) error) (outdated bool, err error) {
	session, err := s.takeReader(ctx)
	if err != nil {
		return false, err
	}
	defer func() { s.readers <- session }()

	limit := s.options.ReadLimit
	if im.IsAtStart(ctx) {
		limit = math.MaxInt64
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSlowRead)
	defer cancel()
	session.reset()
	session.ctx = ctx
	defer func() { session.ctx = context.Background() }()
	if err := session.control("BEGIN"); err != nil {
		return false, err
	}
	// Also a snapshot that nobody reads from just now ends in time.
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_, _ = session.conn.ExecContext(context.Background(), "ROLLBACK")
	})
	defer func() {
		if !stop() {
			<-ended
		}
		if session.inTransaction() && (session.control("ROLLBACK") != nil || session.inTransaction()) {
			_ = session.close()
			session = nil
		}
	}()
	r := &reader{session: session, users: s.users, sealer: s.sealer, searcher: s.index}
	if err := fn(r); err != nil {
		return r.outdated, err
	}
	// What was read after the snapshot had ended may not belong together.
	return r.outdated, context.Cause(ctx)
}

// takeReader waits for a session that nobody uses.
func (s *Store) takeReader(ctx context.Context) (*session, error) {
	select {
	case <-s.closing: // also when a session is free
		return nil, unavailable(errClosed)
	default:
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case session := <-s.readers:
		if session != nil {
			return session, nil
		}
		session, err := openSession(s.path, s.options, reading)
		if err != nil {
			s.readers <- nil
			return nil, unavailable(err)
		}
		return session, nil
	case <-s.closing:
		return nil, unavailable(errClosed)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Unshredded returns how many keys of what was erased are yet to be shredded, and since
// when they are; see [im.Store].
func (s *Store) Unshredded() (n int, since time.Time) { return s.shredder.waits() }

// Close ends the store after the writes that are queued and the reads that are
// under way, shreds the keys of what was erased, and gives the directory up.
func (s *Store) Close() error {
	var err error
	s.close.Do(func() {
		s.shredder.stop()
		s.checkpointer.close()
		s.writer.stop()
		err = errors.Join(s.shredder.finish(s.writer.session), s.closeIndex(s.writer.session))
		if s.writer.session != nil {
			err = errors.Join(err, s.writer.session.close())
		}
		close(s.closing)
		for range cap(s.readers) {
			if session := <-s.readers; session != nil {
				err = errors.Join(err, session.close())
			}
		}
		err = errors.Join(err, s.checkpointer.finish(), s.sealer.keys.Close(), s.file.Close(), s.lock.Unlock())
	})
	return err
}

// closeReaders closes the sessions that are free; for an Open that failed.
func (s *Store) closeReaders() {
	for {
		select {
		case session := <-s.readers:
			_ = session.close()
		default:
			return
		}
	}
}
