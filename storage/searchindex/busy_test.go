package searchindex

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/search"
)

// TestLogIsEmptiedBesideSearches: though searches overlap without a gap, what was erased
// leaves the write-ahead log, and what is searched is found all the while.
func TestLogIsEmptiedBesideSearches(t *testing.T) {
	l := newLibrary(t, Options{FlushAt: 100})
	random := talker{rand.New(rand.NewPCG(9, 76))}
	list := map[int64]said{}
	for id := range int64(2000) {
		m := random.message()
		m.words += " " + mark(id)
		list[id+1] = m
	}
	l.say(list)
	l.settled()
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				held, err := l.Search(Query{Words: l.Hasher().Query(search.Parse("alpha"), search.Scope{}), Below: math.MaxInt64})
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
				held.Close()
			}
		})
	}
	l.erase(1, 2, 3)
	l.settled()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if info, err := os.Stat(l.path + "-wal"); err != nil || info.Size() == 0 {
			break
		} else if time.Since(began) > patience {
			t.Fatalf("the log has %d bytes", info.Size())
		}
	}
	found := l.traces()
	close(stop)
	group.Wait()
	if found[1] || found[2] || found[3] || !found[4] {
		t.Error("entries of erased messages are left, or none are found")
	}
}

// TestClosedIndexSaysSo: a search that comes too late is refused, and waits for nothing.
func TestClosedIndexSaysSo(t *testing.T) {
	l := newLibrary(t, Options{FlushAt: 1})
	l.say(map[int64]said{1: {1, "alpha"}})
	l.settled()
	if err := l.Close(nil); err != nil {
		t.Fatal(err)
	}
	q := Query{Words: l.Hasher().Query(search.Parse("alpha"), search.Scope{}), Below: math.MaxInt64}
	if _, err := l.Search(q); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := l.Reindex(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestDamagedWhileItIsUsed: where a search meets a file that is not what was written, what
// is there is found all the same, and the file is made anew.
func TestDamagedWhileItIsUsed(t *testing.T) {
	l := newLibrary(t, Options{FlushAt: 1})
	list := map[int64]said{}
	for id := range int64(500) {
		list[id+1] = said{1, "alpha beta"}
	}
	l.say(list)
	l.settled()
	c, err := openConn(l.path, nil)
	if err == nil {
		err = c.script("UPDATE lists SET pairs = x'ff'; UPDATE ids SET ids = x'00'")
	}
	if err := errors.Join(err, c.close()); err != nil {
		t.Fatal(err)
	}
	_, err = func() (*Cursor, error) {
		c, err := l.Search(Query{Words: l.Hasher().Query(search.Parse("alpha"), search.Scope{}), Below: math.MaxInt64})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		_, _, err = c.Next(10, time.Now().Add(time.Hour))
		return c, err
	}()
	if !isDamaged(err) {
		t.Fatalf("the damage is not found: %v", err)
	}
	l.check("alpha", nil, 0, math.MaxInt64)
	l.Report(err)
	l.whole()
	l.check("alpha", nil, 0, math.MaxInt64)
}
