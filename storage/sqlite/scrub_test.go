package sqlite

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/im"
)

// truncates counts how often the log was asked to be emptied, and has the first
// of them fail.
type truncates struct {
	mu   sync.Mutex
	n    int
	fail int
}

func (c *truncates) hook(s *session, query string) error {
	if s.role != checkpointing || !strings.Contains(query, "TRUNCATE") {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n <= c.fail {
		return sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrTruncate}
	}
	return nil
}

func (c *truncates) reset(fail int) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = c.n
	c.n, c.fail = 0, fail
	return n
}

// TestScrubWithLongReads: reads that overlap for as long as a read may last
// leave no moment without one, and the log is emptied all the same, in time;
// who reads and writes meanwhile is answered.
func TestScrubWithLongReads(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal", ReadLimit: time.Minute})
	makePlace(t, s)
	list := secrets(rand.New(rand.NewPCG(31, 32)), 60)
	sendAll(t, s, list)
	end := make(chan struct{})
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			<-time.After(time.Duration(n) * 100 * time.Millisecond) // one begins when another is in its midst
			for {
				select {
				case <-end:
					return
				default:
				}
				err := s.View(context.Background(), func(r im.Reader) error {
					if _, err := r.LogBounds(); err != nil {
						return err
					}
					<-time.After(400 * time.Millisecond) // with its snapshot
					_, err := r.LogBounds()
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, m := range list {
		if err := eraseSecret(s, m); err != nil {
			t.Fatal(err)
		}
	}
	last := time.Now()
	group.Go(func() {
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-pace.C:
			}
			if err := s.Write(context.Background(), block(i)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	traces := newTraces()
	for _, m := range list {
		traces.add(m.marker)
	}
	traces.goneWithin(t, strings.TrimSuffix(s.path, "imapi.db"), last)
	close(end)
	group.Wait()
}

// TestScrubsAreShared: however many are erased, the log is emptied about once a
// second.
func TestScrubsAreShared(t *testing.T) {
	var c truncates
	s := openNew(t, Options{Synchronous: "normal", fault: c.hook})
	makePlace(t, s)
	list := secrets(rand.New(rand.NewPCG(33, 34)), 400)
	sendAll(t, s, list)
	c.reset(0)
	began := time.Now()
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for _, m := range list {
		if err := eraseSecret(s, m); err != nil {
			t.Fatal(err)
		}
		<-pace.C
	}
	logEmpty(t, s, time.Now())
	// Nobody reads, so each is one try, or two where a reader has just opened.
	if n, most := c.reset(0), 2*(2+int(time.Since(began)/scrubInterval)); n == 0 || n > most {
		t.Errorf("%d tries in %v", n, time.Since(began))
	}
}

// TestScrubFails: it is tried until it is done.
func TestScrubFails(t *testing.T) {
	var c truncates
	s := openNew(t, Options{Synchronous: "normal", fault: c.hook})
	makePlace(t, s)
	list := secrets(rand.New(rand.NewPCG(35, 36)), 10)
	sendAll(t, s, list)
	c.reset(2)
	for _, m := range list {
		if err := eraseSecret(s, m); err != nil {
			t.Fatal(err)
		}
	}
	logEmpty(t, s, time.Now())
	if n := c.reset(0); n != 3 {
		t.Errorf("%d tries", n)
	}
}

// TestScrubAtClose: what was erased just before the end is gone after it.
func TestScrubAtClose(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	makePlace(t, s)
	list := secrets(rand.New(rand.NewPCG(37, 38)), 50)
	sendAll(t, s, list)
	traces := newTraces()
	eraseAll(t, s, list, traces)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if found := traces.find(t, strings.TrimSuffix(s.path, "imapi.db")); len(found) != 0 {
		t.Errorf("%d traces are left, such as %s", len(found), found[0])
	}
}

// TestGate: a read that waits for the gate goes on when it opens, and ends when
// its caller or the store does.
func TestGate(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	view := func(ctx context.Context) error {
		return s.View(ctx, func(r im.Reader) error { _, err := r.LogBounds(); return err })
	}
	s.gate.shut()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errRule)
	defer cancel()
	if err := view(ctx); err != errRule {
		t.Errorf("a read for nobody: %v", err)
	}
	done := make(chan error)
	go func() { done <- view(t.Context()) }()
	s.gate.open()
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.gate.shut()
	go func() { done <- view(t.Context()) }()
	go func() { _ = s.Close() }()
	if err := <-done; !errors.Is(err, errClosed) {
		t.Errorf("a read of a store that closes: %v", err)
	}
}
