package searchindex

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/search"
)

// Document is a message to index.
type Document struct {
	ID, Conversation int64
	// Kind can restrict a search, unless it is 0.
	Kind uint8
	// Words returns the text to index. It is called later, on any goroutine and possibly by several
	// at once, or never if the message is erased before that.
	Words func() string
}

// Source is the database that the index is derived from. Each call reads a committed snapshot.
type Source interface {
	// Searchable returns up to limit ids less than below, in descending order, of messages that can
	// be found and whose type has words.
	Searchable(ctx context.Context, below int64, limit int) ([]int64, error)
	// Documents returns the messages of a list that can be found, in any order. A message
	// whose text cannot be read has no words.
	Documents(ctx context.Context, ids []int64) ([]Document, error)
	// CountSearchable returns the approximate number of messages that can be found.
	CountSearchable(ctx context.Context) (int64, error)
}

// Options configures an index.
type Options struct {
	// Source is the database.
	Source Source
	// Key is the key of the hashes in the file, [search.KeySize] bytes.
	Key []byte
	// Data identifies the database. The file of another database is rebuilt.
	Data []byte
	// Mark is the mark with which the database was closed. If the index was closed with the same
	// mark, the two agree. Nil matches no mark.
	Mark []byte
	// Searches is the maximum number of searches that hold a connection at a time; 4 if 0. Others
	// wait.
	Searches int
	// FlushAt is the number of messages that are written to the file together; 8,192 if 0.
	FlushAt int
	// Logger logs errors that no caller receives; the default is slog's.
	Logger *slog.Logger

	// maxItems replaces the constant, and fault is called before each statement; only tests set
	// them.
	maxItems int
	fault    func(query string) error
	// now and after replace those of package time; only tests set them.
	now   func() time.Time
	after func(time.Duration) <-chan time.Time
}

const (
	// flushAt is the number of messages in memory that are written to the file as a segment.
	flushAt = 8192
	// maxItems bounds the messages in memory while the file cannot be written. Searches examine the
	// messages beyond it and all older ones one by one, until a comparison with the database has
	// added what the file lacks.
	maxItems = 1 << 16
	// maxDeletions bounds the list of ids that wait for deletion from the file.
	maxDeletions = 1 << 20
)

// noneVerified is the value of verified while no message is known to be indexed.
const noneVerified = math.MaxInt64

// Index is the search index of one database.
type Index struct {
	path    string
	options Options
	hasher  *search.Hasher

	memory atomic.Pointer[memory]
	// verified is an id: every message with this id or a greater one is in memory or in the file.
	verified atomic.Int64
	// stored are the segments of the file.
	stored atomic.Pointer[stored]

	mu             sync.Mutex
	items          map[int64]*item // the messages in memory
	deletions      []int64         // to be deleted from the file
	deletionsSince time.Time       // when the first of them was added
	verifyBelow    int64           // compare everything below this id again; 0 for nothing
	rebuilds       []*rebuild      // callers of Reindex
	closing        bool
	damaged        bool  // a search has found the file damaged
	failure        error // of the last write, nil if it succeeded
	fails          int64

	// conns are the idle connections for searches. A nil one must be opened first.
	conns chan *conn

	wake  chan struct{}
	ended chan struct{}
	// closed is closed once no new search may begin.
	closed chan struct{}
	stop   context.CancelFunc
	keeper
}

// stored are the segments of the file after a commit.
type stored struct {
	generation int64
	segments   []*segment
}

// State is the state of an index.
type State struct {
	// Waiting is the number of messages that are only in memory.
	Waiting int
	// Removals is the number of messages yet to be deleted from the file.
	Removals int
	// Complete is false while the index is being rebuilt or compared with the database, and
	// searches examine older messages one by one.
	Complete bool
	// Failing is set if the last write to the file failed. Failures counts such failures.
	Failing  bool
	Failures int64
}

// Open opens the index in the file at path. A file that is missing, damaged, of another database or
// of another format is rebuilt. If the file cannot be opened, the index works without it and tries
// again later. Open never fails: searches examine messages that are not in the index one by one.
func Open(path string, o Options) *Index {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Searches <= 0 {
		o.Searches = 4
	}
	if o.FlushAt == 0 {
		o.FlushAt = flushAt
	}
	if o.maxItems == 0 {
		o.maxItems = maxItems
	}
	if o.now == nil {
		o.now, o.after = time.Now, time.After
	}
	x := &Index{
		path: path, options: o, hasher: search.NewHasher(o.Key), items: map[int64]*item{},
		conns: make(chan *conn, o.Searches), wake: make(chan struct{}, 1), ended: make(chan struct{}),
		closed: make(chan struct{}),
	}
	for range o.Searches {
		x.conns <- nil
	}
	x.memory.Store(&memory{})
	x.stored.Store(&stored{})
	x.verified.Store(noneVerified)
	x.verifyBelow = noneVerified
	if err := x.open(); err != nil {
		x.failed(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	x.stop = stop
	go x.loop(ctx)
	return x
}

// Hasher returns the hasher that makes the entries of this index.
func (x *Index) Hasher() *search.Hasher { return x.hasher }

// fingerprint identifies the database and the key in a file, without revealing either.
func (o Options) fingerprint() []byte {
	m := hmac.New(sha256.New, o.Key)
	m.Write([]byte("search.db"))
	m.Write(o.Data)
	return m.Sum(nil)
}

// Add applies a committed transaction of the database: docs are its new messages that have
// words, removed are the ids of messages it erased or deleted. After Add, searches find the former
// and not the latter. It does not wait for the file.
func (x *Index) Add(docs []Document, removed []int64) {
	if len(docs) == 0 && len(removed) == 0 {
		return
	}
	x.mu.Lock()
	m := x.memory.Load()
	tail := m.tail
	for i := range docs {
		d := &docs[i]
		if len(x.items) >= x.options.maxItems {
			x.verifyFrom(d.ID + 1)
			continue
		}
		it := &item{id: d.ID, conversation: d.Conversation, kind: d.Kind}
		it.words.Store(&d.Words)
		x.items[d.ID] = it
		tail = append(tail, it)
	}
	for _, id := range removed {
		if it := x.items[id]; it != nil {
			it.forget()
		}
	}
	if len(x.deletions)+len(removed) > maxDeletions {
		x.deletions, removed = nil, nil
		x.verifyFrom(noneVerified)
	}
	if len(removed) > 0 && len(x.deletions) == 0 {
		x.deletionsSince = x.options.now()
	}
	x.deletions = append(x.deletions, removed...)
	x.memory.Store(&memory{sorted: m.sorted, tail: tail})
	x.mu.Unlock()
	x.signal()
}

// VerifyAll schedules a comparison of the file with the whole database. Call it when the database
// may have changed without the index.
func (x *Index) VerifyAll() {
	x.mu.Lock()
	x.verifyFrom(noneVerified)
	x.mu.Unlock()
	x.signal()
}

// verifyFrom schedules a comparison of the file with the database below an id. mu must be held.
func (x *Index) verifyFrom(id int64) {
	x.verifyBelow = max(x.verifyBelow, id)
	if x.verified.Load() < id {
		x.verified.Store(id)
	}
}

func (x *Index) signal() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// State returns the state of the index.
func (x *Index) State() State {
	x.mu.Lock()
	defer x.mu.Unlock()
	return State{
		Waiting: len(x.items), Removals: len(x.deletions), Complete: x.verified.Load() == 0,
		Failures: x.fails, Failing: x.failure != nil,
	}
}

// failed records an error of the file. Only the first of a series is logged.
func (x *Index) failed(err error) {
	x.mu.Lock()
	first := x.failure == nil
	x.failure = err
	x.fails++
	x.mu.Unlock()
	if first {
		x.options.Logger.Error("search index unavailable: searching without it, retrying", "error", faults.Text(err))
	}
}

func (x *Index) succeeded() {
	x.mu.Lock()
	was := x.failure
	x.failure = nil
	x.mu.Unlock()
	if was != nil {
		x.options.Logger.Info("search index available again")
	}
}

// rebuild is a call of Reindex.
type rebuild struct {
	progress func(done, total int64)
	total    int64
	done     chan struct{}
}

// ErrClosed is returned by calls on a closed index.
var ErrClosed = errors.New("the search index is closed")

// Reindex rebuilds the index from the database and returns when it is complete. In the meantime
// searches examine messages that are not indexed yet one by one. progress, which may be nil, is
// called with the number of messages indexed and the approximate total. If ctx ends, Reindex
// returns its cause and the rebuild goes on.
func (x *Index) Reindex(ctx context.Context, progress func(done, total int64)) error {
	total, err := x.options.Source.CountSearchable(ctx)
	if err != nil {
		return fmt.Errorf("count the messages: %w", err)
	}
	// progress is called on this goroutine.
	steps := make(chan int64, 1)
	r := &rebuild{total: total, done: make(chan struct{}), progress: func(done, _ int64) {
		select {
		case steps <- done:
		default:
		}
	}}
	x.mu.Lock()
	if x.closing {
		x.mu.Unlock()
		return ErrClosed
	}
	x.rebuilds = append(x.rebuilds, r)
	x.mu.Unlock()
	x.signal()
	for {
		select {
		case done := <-steps:
			if progress != nil {
				progress(min(done, total), total)
			}
		case <-r.done:
			if progress != nil {
				progress(total, total)
			}
			return nil
		case <-x.ended:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close writes the messages in memory to the file, stores the mark that the database is
// closed with, and ends the index. Without a mark, or after an error, the next Open
// compares the file with the database. Errors of writing are only logged; Close returns the errors
// of closing the connections for searches.
func (x *Index) Close(mark []byte) error {
	x.mu.Lock()
	if x.closing {
		x.mu.Unlock()
		<-x.ended
		return nil
	}
	x.closing, x.mark = true, mark
	x.mu.Unlock()
	x.stop()
	x.signal()
	<-x.ended
	close(x.closed)
	var err error
	for range cap(x.conns) {
		if c := <-x.conns; c != nil {
			err = errors.Join(err, c.close())
		}
	}
	return err
}
