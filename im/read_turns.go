package im

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Reads take turns. The store has few readers; without turns, a user with many parallel
// requests would occupy all of them, and everyone else would wait.

// readKind is the purpose of a read.
type readKind uint8

const (
	byJob     readKind = iota // a job such as retention, or a command such as imapi export
	byRequest                 // a request of a user, who is waiting for the answer
	byStream                  // a stream of a user that reads the log
	delivers                  // finding the recipients of an event, which all streams wait for
	readKinds
)

// DeliveryJob is the name of the job that finds the recipients of an event. Its reads have
// priority.
const DeliveryJob = "delivery"

type streamKey struct{}

// WithStream returns a context for reads of a stream. They wait for their turn without a limit of
// time, and the reads of all streams together get at most half of the readers.
func WithStream(ctx context.Context) context.Context {
	return context.WithValue(ctx, streamKey{}, true)
}

// reading is the caller and the purpose of a read.
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
	// defaultReadWait is the time that a read of a request may wait for its turn.
	defaultReadWait = 5 * time.Second
	// mostWaiting is the maximum number of waiting reads of one caller for one purpose.
	mostWaiting = 256
	// While more than manyWaiting reads of requests wait, a read that has waited for crowdedWait
	// may be refused, so that its client learns early that the server is overloaded. Every
	// perRefusal turns allow one such refusal, and up to mostRefusals may be saved up: without that
	// limit, clients that retry at once would keep the processor busy with refusals.
	manyWaiting  = 1024
	crowdedWait  = time.Second
	perRefusal   = 4
	mostRefusals = 64
	// While mostInAll reads of requests wait, a further one is refused at once, unless no other
	// read of its user waits. Such a read is refused only while twice as many wait.
	mostInAll = 8192
)

// turns shares the store's readers among callers.
//
// A free reader goes to the delivery job first, and otherwise to the kind of read with the fewest
// readers. Within a kind it goes to the caller with the fewest readers, and among those to the one
// that has waited longest since its last turn, however many reads it has queued. All streams
// together have at most half of the readers, and all other jobs at most one.
type turns struct {
	each int           // the maximum number of readers of one user
	wait time.Duration // the longest that a request waits

	mu    sync.Mutex
	free  int
	kinds [readKinds]kindTurns
	lines map[reading]*line
}

// kindTurns are the readers of one kind, and the queues that wait for one.
type kindTurns struct {
	most, reading int
	queued        int // reads that wait
	credit        int // turns that no refusal has used up; see perRefusal
	// waiting are the queues with waiting reads that may have another reader. The index is the
	// number of readers that they have.
	waiting []list.List
}

// line is the queue of one caller for one purpose.
type line struct {
	who     reading
	reading int
	waiting list.List // of chan struct{}, each closed when its turn comes
	element *list.Element
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

// take waits for a turn for the caller of the context. It returns a function that ends the
// turn, or an [Unavailable] error, or the context's cause.
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
	if !t.mayWait(l) {
		t.queue(l) // forgets it, if it has no other read
		t.mu.Unlock()
		return nil, errTooManyReads()
	}
	turn := make(chan struct{})
	mine := l.waiting.PushBack(turn)
	t.kinds[who.kind].queued++
	t.queue(l)
	t.grant()
	t.mu.Unlock()

	done = func() { t.release(l) }
	select {
	case <-turn:
		return done, nil
	default:
	}
	// left is what is left of the longest wait after the current part of it. It is counted by parts,
	// because a process that stood still has not read in that time either: only one part is over then.
	part := min(crowdedWait, t.wait)
	left := t.wait - part
	var late <-chan time.Time
	var timer *time.Timer
	if who.kind == byRequest {
		timer = time.NewTimer(part)
		defer timer.Stop()
		late = timer.C
	}
	for {
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
		case <-turn: // it came at the last moment
			t.mu.Unlock()
			if ctx.Err() == nil {
				return done, nil
			}
			t.release(l)
			return nil, err
		default:
		}
		if ctx.Err() == nil && left > 0 && !t.refuses() {
			t.mu.Unlock()
			part = min(crowdedWait, left)
			left -= part
			timer.Reset(part)
			continue
		}
		l.waiting.Remove(mine)
		t.kinds[who.kind].queued--
		t.queue(l)
		t.mu.Unlock()
		return nil, err
	}
}

// refuses reports whether a read of a request that has waited for crowdedWait is refused, and uses
// up the turns that allow the refusal.
func (t *turns) refuses() bool {
	k := &t.kinds[byRequest]
	if k.queued <= manyWaiting || k.credit < perRefusal {
		return false
	}
	k.credit -= perRefusal
	return true
}

// mayWait reports whether a line may have another waiting read.
func (t *turns) mayWait(l *line) bool {
	if l.waiting.Len() >= mostWaiting {
		return false
	}
	queued := t.kinds[byRequest].queued
	return l.who.kind != byRequest || queued < mostInAll || queued < 2*mostInAll && l.waiting.Len() == 0
}

// release ends a turn and gives the reader to the next.
func (t *turns) release(l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.reading--
	t.kinds[l.who.kind].reading--
	t.free++
	t.leave(l) // so that it is queued by its new number of readers
	t.queue(l)
	t.grant()
}

// queue puts a line that may get another reader at the end of the waiting lines, unless it is among
// them already. It removes any other line from them, and forgets a line without reads.
func (t *turns) queue(l *line) {
	switch waits := l.waiting.Len() > 0 && l.reading < t.each; {
	case !waits:
		t.leave(l)
	case l.element == nil:
		l.element = t.kinds[l.who.kind].waiting[l.reading].PushBack(l)
	}
	if l.waiting.Len() == 0 && l.reading == 0 {
		delete(t.lines, l.who)
	}
}

func (t *turns) leave(l *line) {
	if l.element == nil {
		return
	}
	// It is in one of the lists; the others ignore the call of Remove.
	for i := range t.kinds[l.who.kind].waiting {
		t.kinds[l.who.kind].waiting[i].Remove(l.element)
	}
	l.element = nil
}

// grant gives the free readers to the next lines.
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
		t.kinds[l.who.kind].queued--
		t.kinds[l.who.kind].credit = min(t.kinds[l.who.kind].credit+1, mostRefusals*perRefusal)
		t.free--
		t.queue(l)
		close(first.Value.(chan struct{}))
	}
}

// next returns the line that gets the next reader, nil if there is none.
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
