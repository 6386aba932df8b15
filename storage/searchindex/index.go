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

// Document is a message as the index takes it in.
type Document struct {
	ID, Conversation int64
	// Kind is told from others by a search, unless it is 0.
	Kind uint8
	// Words returns the text that is searched. It is called once, a little later, on
	// any goroutine, and not at all if the message is gone before.
	Words func() string
}

// Source is the database that the index is derived from. Its methods see what was
// committed, in a snapshot each.
type Source interface {
	// Searchable returns the ids of the messages below one that may be found, of those
	// that have words by their type: the greatest first, up to a number.
	Searchable(ctx context.Context, below int64, limit int) ([]int64, error)
	// Documents returns those of the messages that may be found, in any order. One
	// whose text cannot be read has no words.
	Documents(ctx context.Context, ids []int64) ([]Document, error)
	// CountSearchable returns about how many there are.
	CountSearchable(ctx context.Context) (int64, error)
}

// Options say how an index works.
type Options struct {
	// Source is the database.
	Source Source
	// Key is that of the hashes in the file, of [search.KeySize] bytes.
	Key []byte
	// Data names the database: a file of another one is made anew.
	Data []byte
	// Mark is what the database was closed with. If the index was closed with the same,
	// nothing has happened since. Nil is like nothing.
	Mark []byte
	// Searches is how many run at once without opening the file anew; 4 if 0.
	Searches int
	// FlushAt is how many messages are put into the file at once; 8,192 if 0.
	FlushAt int
	// Logger gets what no caller is told; slog's default if nil.
	Logger *slog.Logger

	// most is that of memory, or less in tests; fault is asked before each statement.
	most  int
	fault func(query string) error
	// now and after are those of package time.
	now   func() time.Time
	after func(time.Duration) <-chan time.Time
}

const (
	// flushAt is how many messages in memory are put into the file, as one segment.
	flushAt = 8192
	// most is how many messages there may be in memory, while the file takes nothing.
	// Those that come then are found by looking at each, until it has been found out
	// which they are.
	most = 1 << 16
	// mostRemovals is how many ids are remembered that are to be taken out.
	mostRemovals = 1 << 20
)

// nothing is the id down to which messages are verified if none is.
const nothing = math.MaxInt64

// Index is the search index of one database.
type Index struct {
	path    string
	options Options
	hasher  *search.Hasher

	memory atomic.Pointer[memory]
	// verified is the id from which on every message is in memory or in the file.
	verified atomic.Int64
	// stored is what the file has.
	stored atomic.Pointer[stored]

	mu       sync.Mutex
	items    map[int64]*item // of memory
	removals []int64         // to be taken out of the file
	since    time.Time       // when the first of them came
	again    int64           // verify once more from here; 0 not
	anew     []*reindexing   // who waits for the index to be made anew
	closing  bool
	damaged  bool  // a search has met a file that is not what was written
	failure  error // of the last time that the file was written
	fails    int64

	// conns are those that nobody searches with; a nil one was lost.
	conns chan *conn

	wake  chan struct{}
	ended chan struct{}
	// closed is closed when nobody may begin to search any more.
	closed chan struct{}
	stop   context.CancelFunc
	keeper
}

// stored are the segments of the file as of one commit.
type stored struct {
	generation int64
	segments   []*segment
}

// State tells how the index is.
type State struct {
	// Waiting is how many messages are in memory alone.
	Waiting int
	// Removals is how many messages are still to be taken out of the file.
	Removals int
	// Complete is false while messages are found by looking at each of the older ones,
	// because the index is being compared with them or made anew.
	Complete bool
	// Failing says that the file could not be written the last time, Failures counts
	// those times.
	Failing  bool
	Failures int64
}

// Open opens the index in the file at path. A file that is missing, damaged or of other
// data is made anew. If it cannot be opened at all, the index works without it until it
// can. It never fails: what it does not have is found by looking at each message.
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
	if o.most == 0 {
		o.most = most
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
	x.verified.Store(nothing)
	x.again = nothing
	if err := x.open(); err != nil {
		x.failed(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	x.stop = stop
	go x.loop(ctx)
	return x
}

// Hasher returns what makes the entries of this index.
func (x *Index) Hasher() *search.Hasher { return x.hasher }

// fits is what a file says that is for these data and this key: it tells neither.
func (o Options) fits() []byte {
	m := hmac.New(sha256.New, o.Key)
	m.Write([]byte("search.db"))
	m.Write(o.Data)
	return m.Sum(nil)
}

// Add tells of a transaction of the database that was committed: which messages it
// brought that have words by their type, and which it erased or removed. Those are found,
// or not found any more, when it returns. It does not wait for the file.
func (x *Index) Add(docs []Document, removed []int64) {
	if len(docs) == 0 && len(removed) == 0 {
		return
	}
	x.mu.Lock()
	m := x.memory.Load()
	tail := m.tail
	for i := range docs {
		d := &docs[i]
		if len(x.items) >= x.options.most {
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
	if len(x.removals)+len(removed) > mostRemovals {
		x.removals, removed = nil, nil
		x.verifyFrom(nothing)
	}
	if len(removed) > 0 && len(x.removals) == 0 {
		x.since = x.options.now()
	}
	x.removals = append(x.removals, removed...)
	x.memory.Store(&memory{sorted: m.sorted, tail: tail})
	x.mu.Unlock()
	x.signal()
}

// Doubt says that the database may hold what the index was not told of, or no longer hold
// what it has: they are compared.
func (x *Index) Doubt() {
	x.mu.Lock()
	x.verifyFrom(nothing)
	x.mu.Unlock()
	x.signal()
}

// verifyFrom has the file compared with the database below an id. It is called with mu.
func (x *Index) verifyFrom(id int64) {
	x.again = max(x.again, id)
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

// State tells how the index is.
func (x *Index) State() State {
	x.mu.Lock()
	defer x.mu.Unlock()
	return State{
		Waiting: len(x.items), Removals: len(x.removals), Complete: x.verified.Load() == 0,
		Failures: x.fails, Failing: x.failure != nil,
	}
}

// failed notes an error of the file. It is told once.
func (x *Index) failed(err error) {
	x.mu.Lock()
	first := x.failure == nil
	x.failure = err
	x.fails++
	x.mu.Unlock()
	if first {
		x.options.Logger.Error("the search index cannot be used: messages are found without it, and it is tried again", "error", faults.Text(err))
	}
}

func (x *Index) succeeded() {
	x.mu.Lock()
	was := x.failure
	x.failure = nil
	x.mu.Unlock()
	if was != nil {
		x.options.Logger.Info("the search index is used again")
	}
}

// reindexing is somebody who waits for the index to be made anew.
type reindexing struct {
	progress func(done, total int64)
	total    int64
	done     chan struct{}
}

// ErrClosed is the error of what is asked of an index that is closed.
var ErrClosed = errors.New("the search index is closed")

// Reindex makes the index anew from the database, and returns when it is complete. Until
// then messages are found by looking at each that it does not have yet. progress, which may
// be nil, is told of how many messages are in it, of about how many. When ctx is done, it
// returns; the index is made all the same.
func (x *Index) Reindex(ctx context.Context, progress func(done, total int64)) error {
	total, err := x.options.Source.CountSearchable(ctx)
	if err != nil {
		return fmt.Errorf("count the messages: %w", err)
	}
	// The progress is told on this goroutine.
	steps := make(chan int64, 1)
	r := &reindexing{total: total, done: make(chan struct{}), progress: func(done, _ int64) {
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
	x.anew = append(x.anew, r)
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

// Close writes what is in memory to the file, notes that it was closed with mark, which
// is that of the database, and ends the index. Without a mark, or if something is left
// undone, the next Open compares the file with the database.
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
