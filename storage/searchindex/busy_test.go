package searchindex

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/search"
)

// TestLogIsEmptiedBesideSearches checks that entries of erased messages leave the write-ahead log
// even if searches overlap without a gap, and that these searches succeed.
func TestLogIsEmptiedBesideSearches(t *testing.T) {
	l := newFixture(t, Options{FlushAt: 100})
	random := generator{rand.New(rand.NewPCG(9, 76))}
	list := map[int64]message{}
	for id := range int64(2000) {
		m := random.message()
		m.words += " " + uniqueWord(id)
		list[id+1] = m
	}
	l.commit(list)
	l.waitIdle()
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
	l.waitIdle()
	await.Until(t, "the write-ahead log is empty", func() bool {
		info, err := os.Stat(l.path + "-wal")
		return err != nil || info.Size() == 0
	})
	found := l.entriesInFiles()
	close(stop)
	group.Wait()
	if found[1] || found[2] || found[3] || !found[4] {
		t.Error("found the entries of an erased message, or none of the others")
	}
}

// TestCallsAfterClose checks that a call after Close returns ErrClosed without waiting.
func TestCallsAfterClose(t *testing.T) {
	l := newFixture(t, Options{FlushAt: 1})
	l.commit(map[int64]message{1: {1, "alpha"}})
	l.waitIdle()
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

// TestFileDamagedWhileOpen checks that a search that meets a damaged file still finds every
// message, and that the file is rebuilt.
func TestFileDamagedWhileOpen(t *testing.T) {
	l := newFixture(t, Options{FlushAt: 1})
	list := map[int64]message{}
	for id := range int64(500) {
		list[id+1] = message{1, "alpha beta"}
	}
	l.commit(list)
	l.waitIdle()
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
		t.Fatalf("search in a damaged file: %v, want errDamaged", err)
	}
	l.checkSearch("alpha", nil, 0, math.MaxInt64)
	l.ReportError(err)
	l.checkComplete()
	l.checkSearch("alpha", nil, 0, math.MaxInt64)
}
