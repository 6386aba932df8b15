package im

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Reads take turns here. The store reads for a few callers at once; without turns a
// user who asks for many things in parallel would have all of its readers, and
// everybody else would wait behind them.

// readKind says what a read is for.
type readKind uint8

const (
	byJob     readKind = iota // of the server itself: retention, exports of the command line
	byRequest                 // for a request of a user, who waits for the answer
	byStream                  // for a stream of a user, which reads the log
	delivers                  // to find out who receives an event: all streams wait for it
	readKinds
)

// DeliveryJob is the job that finds out who receives an event. Its reads come first.
const DeliveryJob = "delivery"

type streamKey struct{}

// WithStream returns a context of reads for a stream, which are in no hurry: they wait
// for their turn until the context is done, and have half of the readers together.
func WithStream(ctx context.Context) context.Context {
	return context.WithValue(ctx, streamKey{}, true)
}

// reading is for whom and for what the store is read.
type reading struct {
	Caller
	kind readKind
}

func readingOf(ctx context.Context) reading {
	who := reading{Caller: CallerOf(ctx)}
	switch {
	case who.Job == DeliveryJob:
		who.kind = delivers
	case who.User == "":
	case ctx.Value(streamKey{}) != nil:
		who.kind = byStream
	default:
		who.kind = byRequest
	}
	return who
}

const (
	// defaultReadWait is how long a read of a request may wait for its turn.
	defaultReadWait = 5 * time.Second
	// mostWaiting is how many reads of one user may wait.
	mostWaiting = 256
)

// turns shares the store's readers among those who ask. Who waits holds nothing.
//
// A reader that gets free goes first to finding who is told of an event, then to the
// kind that has the fewest, within a kind to a user who has the fewest, and of those
// to whoever has waited the longest for a turn, however many reads they want.
type turns struct {
	each int           // readers that one user may have
	wait time.Duration // how long a request waits

	mu    sync.Mutex
	free  int
	kinds [readKinds]kindTurns
	lines map[reading]*line
}

// kindTurns are the readers of one kind, and who waits for one.
type kindTurns struct {
	most, reading int
	// waiting are the lines in which somebody waits and that may have another
	// reader, by how many they have.
	waiting []list.List
}

// line is the reads of one caller for one thing.
type line struct {
	who     reading
	reading int
	waiting list.List // of chan struct{}, which is closed when it is their turn
	place   *list.Element
}

func newTurns(readers, each int, wait time.Duration) *turns {
	half := max(readers/2, 1)
	if each <= 0 {
		each = half
	}
	if wait <= 0 {
		wait = defaultReadWait
	}
	t := &turns{each: min(each, readers), wait: wait, free: readers, lines: make(map[reading]*line)}
	for kind, most := range [readKinds]int{byJob: 1, byRequest: readers, byStream: half, delivers: readers} {
		t.kinds[kind] = kindTurns{most: most, waiting: make([]list.List, t.each)}
	}
	return t
}

// take waits for a turn of who the context says. The caller calls done after it.
func (t *turns) take(ctx context.Context) (done func(), err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	who := readingOf(ctx)
	t.mu.Lock()
	l := t.lines[who]
	if l == nil {
		l = &line{who: who}
		t.lines[who] = l
	}
	if l.waiting.Len() >= mostWaiting {
		t.mu.Unlock()
		return nil, errTooManyReads()
	}
	turn := make(chan struct{})
	mine := l.waiting.PushBack(turn)
	t.queue(l)
	t.grant()
	t.mu.Unlock()

	done = func() { t.release(l) }
	select {
	case <-turn:
		return done, nil
	default:
	}
	var late <-chan time.Time
	if who.kind == byRequest {
		timer := time.NewTimer(t.wait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-turn:
		return done, nil
	case <-late:
		err = errTooManyReads()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	t.mu.Lock()
	select {
	case <-turn: // it came while it was given up
		t.mu.Unlock()
		t.release(l)
	default:
		l.waiting.Remove(mine)
		t.queue(l)
		t.mu.Unlock()
	}
	return nil, err
}

// release ends a turn and gives the reader to the next.
func (t *turns) release(l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.reading--
	t.kinds[l.who.kind].reading--
	t.free++
	t.leave(l) // it may have moved: it has fewer now
	t.queue(l)
	t.grant()
}

// queue puts a line where it is found when a reader is free, behind the others, or
// takes it from there, as its reads are now.
func (t *turns) queue(l *line) {
	switch waits := l.waiting.Len() > 0 && l.reading < t.each; {
	case !waits:
		t.leave(l)
	case l.place == nil:
		l.place = t.kinds[l.who.kind].waiting[l.reading].PushBack(l)
	}
	if l.waiting.Len() == 0 && l.reading == 0 {
		delete(t.lines, l.who)
	}
}

func (t *turns) leave(l *line) {
	if l.place == nil {
		return
	}
	// It is in one of them; Remove looks whether it is in this one.
	for i := range t.kinds[l.who.kind].waiting {
		t.kinds[l.who.kind].waiting[i].Remove(l.place)
	}
	l.place = nil
}

// grant gives readers that are free to those who may have them.
func (t *turns) grant() {
	for t.free > 0 {
		l := t.next()
		if l == nil {
			return
		}
		t.leave(l)
		first := l.waiting.Front()
		l.waiting.Remove(first)
		l.reading++
		t.kinds[l.who.kind].reading++
		t.free--
		t.queue(l)
		close(first.Value.(chan struct{}))
	}
}

// next returns the line that is to have the next reader, nil without one.
func (t *turns) next() *line {
	var found *line
	least := 0
	for _, kind := range [...]readKind{delivers, byRequest, byStream, byJob} {
		k := &t.kinds[kind]
		if k.reading >= k.most || found != nil && k.reading >= least {
			continue
		}
		for i := range k.waiting {
			if first := k.waiting[i].Front(); first != nil {
				found, least = first.Value.(*line), k.reading
				break
			}
		}
		if kind == delivers && found != nil {
			return found
		}
	}
	return found
}

func errTooManyReads() error {
	err := Refuse(Unavailable, "overloaded", "too many reads are waiting")
	err.RetryAfter = time.Second
	return err
}
