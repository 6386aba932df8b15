package searchindex

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/search"
)

var quiet = slog.New(slog.DiscardHandler)

// message is a message of a fixture.
type message struct {
	conversation int64
	words        string
}

// fixture is a database of messages with an index.
type fixture struct {
	testing.TB
	*Index
	path    string
	options Options

	mu       sync.Mutex
	messages map[int64]message
	// sorted has the sorted keys of messages; nil if these have changed.
	sorted []int64
}

func newFixture(tb testing.TB, o Options) *fixture {
	tb.Helper()
	l := &fixture{TB: tb, path: filepath.Join(tb.TempDir(), "search.db"), messages: map[int64]message{}}
	if err := createFile(l.path); err != nil { // for tests that open the file themselves
		tb.Fatal(err)
	}
	o.Source, o.Logger, o.Key, o.Data = l, quiet, make([]byte, search.KeySize), []byte("these")
	l.options = o
	l.open(nil)
	tb.Cleanup(func() { _ = l.Close(nil) })
	return l
}

func (l *fixture) open(mark []byte) {
	l.options.Mark = mark
	l.Index = Open(l.path, l.options)
}

func (l *fixture) Searchable(_ context.Context, below int64, limit int) ([]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sorted == nil {
		l.sorted = slices.Sorted(maps.Keys(l.messages))
	}
	n, _ := slices.BinarySearch(l.sorted, below)
	ids := slices.Clone(l.sorted[max(n-limit, 0):n])
	slices.Reverse(ids)
	return ids, nil
}

func (l *fixture) Documents(_ context.Context, ids []int64) (docs []Document, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if m, ok := l.messages[id]; ok {
			docs = append(docs, documentOf(id, m))
		}
	}
	return docs, nil
}

func (l *fixture) CountSearchable(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.messages)), nil
}

func documentOf(id int64, m message) Document {
	return Document{ID: id, Conversation: m.conversation, Words: func() string { return m.words }}
}

// commit adds messages to the database and the index.
func (l *fixture) commit(list map[int64]message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var docs []Document
	for id, m := range list {
		l.messages[id] = m
		l.sorted = nil
		docs = append(docs, documentOf(id, m))
	}
	l.Add(docs, nil)
}

// erase deletes messages from the database and the index.
func (l *fixture) erase(ids ...int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		delete(l.messages, id)
	}
	l.sorted = nil
	l.Add(nil, ids)
}

// find searches as an engine does: it compares the candidates, and scans messages that are
// not indexed yet. It returns the ids, the greatest first.
func (l *fixture) find(words string, in map[int64]bool, from, below int64, limit int) (ids []int64) {
	l.Helper()
	terms := search.Parse(words)
	matches := func(id int64) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		m, ok := l.messages[id]
		return ok && (in == nil || in[m.conversation]) && terms.Match(m.words)
	}
	q := Query{Words: l.Hasher().Query(terms, search.Scope{}), Conversations: in, From: from, Below: below}
	floor := below
	var c *Cursor
	err := errors.New("not selective")
	if q.Selective() {
		c, err = l.Search(q)
	}
	if err == nil {
		defer c.Close()
		for err == nil {
			var got []int64
			var through int64
			got, through, err = c.Next(limit, time.Now().Add(time.Hour))
			for _, id := range got {
				if id < through || id >= floor || id < from {
					l.Fatalf("%d was found between %d and %d", id, through, floor)
				}
				if matches(id) {
					ids = append(ids, id)
				}
				floor = id
			}
			floor = min(floor, through)
			if through <= c.Floor() {
				break
			}
		}
	}
	rest, _ := l.Searchable(context.Background(), floor, math.MaxInt32)
	for _, id := range rest {
		if id >= from && matches(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// checkSearch compares a search with a scan of all messages.
func (l *fixture) checkSearch(words string, in map[int64]bool, from, below int64) {
	l.Helper()
	terms := search.Parse(words)
	var want []int64
	l.mu.Lock()
	for id, m := range l.messages {
		if id >= from && id < below && (in == nil || in[m.conversation]) && terms.Match(m.words) {
			want = append(want, id)
		}
	}
	l.mu.Unlock()
	slices.Sort(want)
	slices.Reverse(want)
	if got := l.find(words, in, from, below, 1+int(below%7)); !slices.Equal(got, want) {
		l.Fatalf("%q in %v from %d to %d: found %d messages, want %d", words, in, from, below, len(got), len(want))
	}
}

// waitIdle waits until the index has no work left.
func (l *fixture) waitIdle() {
	l.Helper()
	await.Until(l, "the index has no work left", func() bool {
		s := l.State()
		return s.Removals == 0 && s.Complete && !s.Failing && s.Waiting < l.Index.options.FlushAt
	})
}

// inFile returns the ids in the file, ascending. It fails the test if lists and documents
// do not match.
func (l *fixture) inFile() (ids []int64) {
	l.Helper()
	l.waitIdle()
	c, err := openConn(l.path, nil)
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = c.close() }()
	if err := c.script("BEGIN"); err != nil {
		l.Fatal(err)
	}
	segments, err := readSegments(c)
	if err != nil {
		l.Fatal(err)
	}
	for _, s := range segments {
		docs, err := s.documents(c)
		if err != nil {
			l.Fatal(err)
		}
		var want, got []pair
		chunks := 0
		for n := range s.chunks {
			chunk, err := s.chunk(c, n)
			if err != nil {
				l.Fatal(err)
			}
			for i, d := range chunk {
				if d.deleted {
					continue
				}
				if docs[chunks].id != d.id {
					l.Fatal("the ids do not match the documents")
				}
				for _, e := range docs[chunks].entries {
					want = append(want, pairOf(e, n*chunkSize+i))
				}
				chunks++
			}
		}
		for n := range s.blocks {
			b, err := c.bytes(selectBlock, s.at(n))
			if err != nil {
				l.Fatal(err)
			}
			if got, err = appendPairs(got, b); err != nil {
				l.Fatal(err)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) || !slices.IsSorted(got) {
			l.Fatalf("segment %d has %d pairs, its documents %d", s.id, len(got), len(want))
		}
		for _, d := range docs {
			ids = append(ids, d.id)
		}
	}
	slices.Sort(ids)
	if len(slices.Compact(slices.Clone(ids))) != len(ids) {
		l.Fatal("a message is in the file twice")
	}
	return ids
}

// checkComplete compares the file and the memory with the database.
func (l *fixture) checkComplete() {
	l.Helper()
	have := l.inFile()
	l.Index.mu.Lock()
	for id, it := range l.items {
		if !it.erased.Load() {
			have = append(have, id)
		}
	}
	l.Index.mu.Unlock()
	slices.Sort(have)
	l.mu.Lock()
	defer l.mu.Unlock()
	if want := slices.Sorted(maps.Keys(l.messages)); !slices.Equal(slices.Compact(have), want) {
		l.Fatalf("the index has %d messages, want %d", len(have), len(want))
	}
}

// generator makes messages of few words.
type generator struct{ *rand.Rand }

func (t generator) word() string {
	return []string{"alpha", "beta", "gamma", "delta", "alphabet", "上海", "东边", "x", "be", fmt.Sprint("rare", t.IntN(500))}[min(t.IntN(10), t.IntN(12))]
}

func (t generator) message() message {
	var words []string
	for range t.IntN(6) {
		words = append(words, t.word())
	}
	return message{conversation: 1 + t.Int64N(100), words: strings.Join(words, " ")}
}

func (t generator) conversations() map[int64]bool {
	n := []int{0, 1, 5, 80}[t.IntN(4)]
	if n == 0 {
		return nil
	}
	in := map[int64]bool{}
	for range n {
		in[1+t.Int64N(100)] = true
	}
	return in
}
