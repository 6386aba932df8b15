package sqlite

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/im"
)

// exhaust takes every file descriptor that the process may have, until the
// function that it returns is called.
func exhaust(tb testing.TB) (release func()) {
	tb.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		tb.Fatal(err)
	}
	low := limit
	low.Cur = min(limit.Cur, 512)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		tb.Fatal(err)
	}
	var files []*os.File
	release = func() {
		for _, f := range files {
			_ = f.Close()
		}
		files = nil
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			tb.Error(err)
		}
	}
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			return release
		}
		if err != nil {
			release()
			tb.Fatal(err)
		}
		files = append(files, f)
	}
}

// TestScrubWithoutDescriptors: the log is emptied while no file can be opened,
// also after an error, and at the end.
func TestScrubWithoutDescriptors(t *testing.T) {
	var c truncates
	s := openNew(t, Options{Synchronous: "normal", fault: c.hook})
	makePlace(t, s)
	list := secrets(rand.New(rand.NewPCG(41, 42)), 30)
	sendAll(t, s, list)
	traces := newTraces()
	for _, m := range list {
		traces.add(m.marker)
	}
	release := exhaust(t)
	defer release()
	for i, m := range list {
		if err := eraseSecret(s, m); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 && i < 20 {
			c.reset(i / 10) // of the second time, the first try fails
			logEmpty(t, s, time.Now())
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	release()
	if found := traces.find(t, strings.TrimSuffix(s.path, "imapi.db")); len(found) != 0 {
		t.Errorf("%d traces are left, such as %s", len(found), found[0])
	}
}

// TestScrubOpensAgain: after an error the connection is another.
func TestScrubOpensAgain(t *testing.T) {
	var broken *session
	failed := make(chan struct{})
	s := openNew(t, Options{Synchronous: "normal", fault: func(s *session, query string) error {
		if s.role != checkpointing || !strings.Contains(query, "TRUNCATE") {
			return nil
		}
		if broken == nil {
			// The first is at the opening of the store.
			broken = s
			return nil
		}
		select {
		case <-failed:
			if s == broken {
				return sqlite3.Error{Code: sqlite3.ErrIoErr}
			}
		default:
			broken = s
			close(failed)
			return sqlite3.Error{Code: sqlite3.ErrIoErr}
		}
		return nil
	}})
	makePlace(t, s)
	list := secrets(rand.New(rand.NewPCG(43, 44)), 1)
	sendAll(t, s, list)
	if err := eraseSecret(s, list[0]); err != nil {
		t.Fatal(err)
	}
	<-failed
	logEmpty(t, s, time.Now())
}

// TestScrubBehindTransaction: a transaction that does not end holds up the
// scrub, and no read for long.
func TestScrubBehindTransaction(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	makePlace(t, s)
	list := secrets(rand.New(rand.NewPCG(45, 46)), 5)
	sendAll(t, s, list)
	reads, read := make(chan struct{}), make(chan struct{})
	held := make(chan error, 1)
	go func() {
		held <- s.View(context.Background(), func(r im.Reader) error {
			_, err := r.LogBounds()
			close(reads)
			<-read
			return err
		})
	}()
	<-reads
	if err := eraseSecret(s, list[0]); err != nil {
		t.Fatal(err)
	}
	// The read is in the way, until new ones are made to wait.
	shut := func() bool {
		s.gate.mu.Lock()
		defer s.gate.mu.Unlock()
		return s.gate.opened != nil
	}
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !shut() {
		<-poll.C
	}
	writes, write := make(chan struct{}), make(chan struct{})
	written := make(chan error, 1)
	go func() {
		written <- s.Write(context.Background(), func(im.Tx) error {
			close(writes)
			<-write
			return nil
		})
	}()
	<-writes
	close(read)
	if err := <-held; err != nil {
		t.Error(err)
	}
	for range 3 { // also in the tries that follow
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		began := time.Now()
		err := s.View(ctx, func(r im.Reader) error { _, err := r.LogBounds(); return err })
		cancel()
		if err != nil {
			t.Errorf("a read waited for %v: %v", time.Since(began), err)
			break
		}
		<-time.After(500 * time.Millisecond)
	}
	close(write)
	if err := <-written; err != nil {
		t.Error(err)
	}
	logEmpty(t, s, time.Now())
}

// TestPauseGivesUp: the writer is not waited for without end.
func TestPauseGivesUp(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	err := s.Write(t.Context(), func(im.Tx) error {
		if s.writer.pause(time.Millisecond, func() { t.Error("run within a transaction") }) {
			t.Error("the writer was said to have paused")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ran := false
	if !s.writer.pause(time.Minute, func() { ran = true }) || !ran {
		t.Error("the writer did not pause")
	}
}
