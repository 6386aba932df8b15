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

// defaultReadLimit is the maximum duration of a read transaction. A longer one would keep
// the write-ahead log from restarting.
const defaultReadLimit = 500 * time.Millisecond

// Options configures a [Store]. Keys is required; the zero values of the others are the defaults of
// a server.
type Options struct {
	// Synchronous is "full", the default, with which acknowledged writes survive a power
	// cut, or "normal", with which they survive only a crash of the process.
	Synchronous string
	// Readers is the number of read connections, 4 by default.
	Readers int
	// Observe is called by the writer after every batch. It must not block. It may be nil.
	Observe func(BatchStats)
	// Logger logs errors that no caller receives; the default is slog's.
	Logger *slog.Logger
	// Now is the clock; the default is time.Now.
	Now func() time.Time
	// ReadLimit is the maximum duration of a read transaction, 500 ms by default.
	ReadLimit time.Duration

	// Keys opens the keys of a store by its id. fresh is set if nothing was ever sealed, so that
	// new keys may be created.
	Keys func(store im.StoreID, fresh bool) (im.Keys, error)
	// ObserveShred is called after every batch of shredded keys. It must not block. It may be
	// nil.
	ObserveShred func(ShredStats)
	// AcceptLostKeys turns messages into tombstones if their keys are missing from a key
	// file older than the data. Without it, Open fails in that case.
	AcceptLostKeys bool
	// Reconciled is called with the changes that Open made to data and keys that had not always
	// been together. It may be nil.
	Reconciled func(im.Reconciled)
	// Progress is called while Open checks all keys, which may take a long time. It may be nil.
	Progress func(im.Progress)

	// ObserveLog is called after each check of the write-ahead log with the number of bytes
	// that are not in the database yet. It must not block. It may be nil.
	ObserveLog func(unmoved int64)

	// unindexed replaces maxUnindexed; only tests set it.
	unindexed im.Position
	// examined replaces mostExamined; only tests set it.
	examined int
	// log replaces the sizes at which the write-ahead log is checkpointed, and logFault is called
	// before each checkpoint; only tests set them.
	log      logLimits
	logFault func(s *session, query string) error
	// fault is called before each statement of the writer and the readers; only tests set it.
	fault func(s *session, query string) error
	// flushAt is passed to the search index; only tests set it.
	flushAt int
}

// BatchStats describes a transaction of the writer.
type BatchStats struct {
	// Calls is the number of Write calls in the transaction, 0 if it ended before COMMIT.
	Calls int
	// Events is the number of events that the transaction appended, 0 if it ended before COMMIT.
	Events int
	// Duration is the time from before BEGIN to the end of the transaction, and Commit the time
	// that COMMIT took with its sync, 0 if the transaction was not committed.
	Duration time.Duration
	Commit   time.Duration
	// Err is the error of the transaction, nil if it was committed.
	Err error
}

func (o Options) withDefaults() (Options, error) {
	switch strings.ToUpper(o.Synchronous) {
	case "", "FULL":
		o.Synchronous = "FULL"
	case "NORMAL":
		o.Synchronous = "NORMAL"
	default:
		return o, fmt.Errorf("synchronous must be full or normal, not %q", o.Synchronous)
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
	if o.examined == 0 {
		o.examined = mostExamined
	}
	if o.log == (logLimits{}) {
		o.log = logLimits{step: logStep, restart: logRestart, max: logMax}
	}
	return o, nil
}

// Store implements [im.Store] with a SQLite file.
type Store struct {
	path     string
	options  Options
	lock     *dirLock
	file     io.Closer // the lock of the database file
	instance im.Instance
	users    *userCache
	index    *searchindex.Index
	sealer   *sealer
	shredder *shredder
	writer   *writer
	// committed is the position of the newest committed event.
	committed atomic.Int64
	// closed is the mark with which the database was last closed.
	closed []byte
	// checkpointer moves the write-ahead log into the database.
	checkpointer *checkpointer

	// readers holds idle sessions. A nil one was lost: the call that takes it opens a new one.
	readers chan *session
	closing chan struct{}
	close   sync.Once
}

var _ im.Store = (*Store)(nil)

// Open opens or creates the file at path and its directory, with permissions for the
// operating-system user of this process only. The file, under all of its names, and its directory
// are locked until Close. Open fails if another process has locked either, if the file was written
// by a newer version or is not an imapi database, if its keys cannot be opened, or if some keys
// are missing and [Options].AcceptLostKeys is not set. When Open returns, the keys of all erased
// content are shredded.
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
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	s := &Store{
		path:    path,
		options: options,
		users:   newUserCache(userCacheSize),
		readers: make(chan *session, options.Readers),
		closing: make(chan struct{}),
	}
	if s.lock, err = lockDir(dir); err != nil {
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
			_ = s.lock.unlock()
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

// prepareFile runs the migrations and shreds keys that a crash has left behind, before the first
// reader and writer.
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

// openKeys opens the keys of the store, shreds keys that a crash has left behind, and begins to
// give out new ones. It returns the work to do if the keys and the data have not always been
// together.
func (s *Store) openKeys(ctx context.Context, session *session) (todo plan, err error) {
	id := s.instance.Store
	var slots, epoch uint64
	for key, dest := range map[string]any{"slots": &slots, "key_epoch": &epoch} {
		if found, err := session.row(selectMeta, []any{key}, dest); err != nil || !found {
			return todo, errors.Join(fmt.Errorf("%s is missing", key), err)
		}
	}
	keys, err := s.options.Keys(id, slots == 0)
	if err != nil {
		return todo, err
	}
	s.sealer = &sealer{keys: keys, store: id}
	s.sealer.slotEnd.Store(slots)
	if todo, err = s.planReconciliation(ctx, session, keys, epoch); err != nil {
		return todo, err
	}
	if err := session.shredDoomed(keys, s.options.Now()); err != nil {
		return todo, err
	}
	return todo, keys.Begin(im.Slot(slots))
}

// Head returns the position of the newest committed event.
func (s *Store) Head() im.Position { return im.Position(s.committed.Load()) }

// Instance returns the identity of the data of this store.
func (s *Store) Instance() im.Instance { return s.instance }

// OnCommit registers a listener that is called for every commit that appended events, cut off
// tokens, blocked a user, changed webhooks or set the time at which a message burns or expires; see
// [im.Store].
func (s *Store) OnCommit(fn func(im.Commit)) { s.writer.listen(fn) }

// Write runs fn in a transaction; see [im.Store].
func (s *Store) Write(ctx context.Context, fn func(im.Tx) error) error {
	return s.writer.write(ctx, fn)
}

// Admit waits until a request that will write may begin; see [im.Store].
func (s *Store) Admit(ctx context.Context, caller im.Caller) error {
	return s.writer.queue.admit(ctx, caller)
}

// Ready returns an error if the store cannot write. It makes the writer run an empty transaction.
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

// Readers returns the number of calls of View that can run concurrently.
func (s *Store) Readers() int { return cap(s.readers) }

// View runs fn on a consistent snapshot; see [im.Store].
func (s *Store) View(ctx context.Context, fn func(im.Reader) error) error {
	outdated, err := s.view(ctx, fn)
	if outdated {
		// The snapshot has active content that was erased since, and whose key is shredded.
		// A new snapshot has the tombstone.
		_, err = s.view(ctx, fn)
	}
	return err
}

// view runs fn once. It reports whether fn met content that is in the snapshot but was erased after
// it.
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
	// The snapshot must end with ctx even while fn runs no statement.
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_, _ = session.conn.Exec("ROLLBACK", nil)
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
	r := &reader{session: session, users: s.users, sealer: s.sealer, searcher: s.index, examined: s.options.examined}
	if err := fn(r); err != nil {
		return r.outdated, err
	}
	// Reads after the end of the snapshot may be inconsistent with those before.
	return r.outdated, context.Cause(ctx)
}

// takeReader waits for an idle session.
func (s *Store) takeReader(ctx context.Context) (*session, error) {
	select {
	case <-s.closing: // checked first, because an idle session could be chosen instead
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

// Unshredded returns the number of keys of erased content that are not shredded yet; see
// [im.Store].
func (s *Store) Unshredded() (n int, since time.Time) { return s.shredder.waits() }

// Close waits for queued writes and running reads, shreds the keys of erased content, and
// releases the directory.
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
		err = errors.Join(err, s.checkpointer.finish(), s.sealer.keys.Close(), s.file.Close(), s.lock.unlock())
	})
	return err
}

// closeReaders closes the idle sessions after Open has failed.
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
