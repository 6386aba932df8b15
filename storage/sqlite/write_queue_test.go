package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// queueFixture is a queue with its own clock, whose calls take a given time.
type queueFixture struct {
	*testing.T
	*queue
	clock time.Time
	takes map[*call]time.Duration
	names map[*call]string
	ran   []string
}

func newQueueFixture(t *testing.T) *queueFixture {
	l := &queueFixture{T: t, clock: time.Unix(1, 0), takes: make(map[*call]time.Duration), names: make(map[*call]string)}
	l.queue = newQueue(func() time.Time { return l.clock })
	return l
}

// put queues a call of a user with a given duration.
func (l *queueFixture) put(user string, takes time.Duration, bulk bool) error {
	ctx := im.WithCaller(context.Background(), im.Caller{User: im.UserID(user)})
	if bulk {
		ctx = im.WithBulk(ctx)
	}
	c, err := l.add(ctx, nil)
	if err == nil {
		l.takes[c], l.names[c] = takes, user
	}
	return err
}

func (l *queueFixture) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// transaction runs a transaction and returns the users whose calls it ran. during is called
// after each.
func (l *queueFixture) transaction(during func()) []string {
	before := len(l.ran)
	b := l.batch()
	for c := b.next(); c != nil; c = b.next() {
		c.took = l.takes[c]
		l.clock = l.clock.Add(c.took)
		l.ran = append(l.ran, l.names[c])
		if during != nil {
			during()
		}
	}
	b.close()
	return l.ran[before:]
}

// waitOf queues a call of a new user while a transaction runs, and returns the time until
// the end of the transaction that runs it.
func (l *queueFixture) waitOf(newcomer string) time.Duration {
	l.Helper()
	came, begun := time.Time{}, l.clock
	l.transaction(func() {
		if came.IsZero() {
			came = begun
			l.must(l.put(newcomer, time.Millisecond/10, false))
		}
	})
	for range 100 {
		if slices.Contains(l.transaction(nil), newcomer) {
			return l.clock.Sub(came)
		}
	}
	l.Fatal("the new user's call was never run")
	return 0
}

// TestCallsOfOthersDelayLittle checks that queued calls of others delay a new user by at
// most the running transaction and a bounded part of the next one.
func TestCallsOfOthersDelayLittle(t *testing.T) {
	for name, tt := range map[string]struct {
		users, each int
		takes       time.Duration
		bulk        bool
		most        time.Duration
	}{
		"a user with many calls":             {1, maxOwn, 2 * time.Millisecond, false, 25 * time.Millisecond},
		"a user with long ones":              {1, maxOwn, 30 * time.Millisecond, false, 31 * time.Millisecond},
		"a user with very long ones":         {1, maxOwn, time.Second, false, time.Second + time.Millisecond},
		"many users with long ones":          {20, 40, 30 * time.Millisecond, false, 31 * time.Millisecond},
		"many users with a bulk call each":   {500, 1, 5 * time.Millisecond, true, 16 * time.Millisecond},
		"many users with many bulk calls":    {100, 20, 5 * time.Millisecond, true, 16 * time.Millisecond},
		"many users with many ordinary ones": {16, 250, time.Millisecond, false, 103 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			l := newQueueFixture(t)
			for range tt.each {
				for u := range tt.users {
					l.must(l.put(fmt.Sprint(u), tt.takes, tt.bulk))
				}
			}
			if !tt.bulk {
				for range 2 * tt.users { // teaches the queue how long each user's calls take
					l.transaction(nil)
				}
			}
			for i := range 20 {
				if waited := l.waitOf(fmt.Sprint("stranger ", i)); waited > tt.most {
					t.Errorf("a new user waited for %v", waited)
				}
			}
		})
	}
}

// TestBulkIsNotStarved checks that a saturated writer runs the calls of users who have used
// much time, and bulk calls, while others keep coming.
func TestBulkIsNotStarved(t *testing.T) {
	l := newQueueFixture(t)
	for range 50 {
		l.must(l.put("ahead", 30*time.Millisecond, false))
		l.must(l.put("bulk", 5*time.Millisecond, true))
	}
	newcomers := 0
	addNewcomers := func() {
		for range 3 {
			newcomers++
			l.must(l.put(fmt.Sprint("stranger ", newcomers), 0, false))
		}
	}
	addNewcomers()
	for range 1000 {
		l.clock = l.clock.Add(time.Millisecond)
		l.transaction(func() {
			if l.waiting < 2*maxBatch {
				addNewcomers()
			}
		})
	}
	if l.waiting < maxBatch {
		t.Fatal("the writer was not saturated")
	}
	for _, user := range []string{"ahead", "bulk"} {
		n := 0
		for _, ran := range l.ran {
			if ran == user {
				n++
			}
		}
		if n != 50 {
			t.Errorf("%s: %d calls were run, want 50", user, n)
		}
	}
}

// TestCallsOfOneCallerAreBounded checks that too many calls of a caller are refused, and no calls
// of others.
func TestCallsOfOneCallerAreBounded(t *testing.T) {
	l := newQueueFixture(t)
	for range maxOwn {
		l.must(l.put("alice", 0, false))
	}
	e, ok := im.AsError(l.put("alice", 0, false))
	if !ok || e.Kind != im.Unavailable || e.Code != "overloaded" || e.RetryAfter <= 0 {
		t.Errorf("one call too many: %v", e)
	}
	l.must(l.put("bob", 0, false))
	l.transaction(nil)
	l.must(l.put("alice", 0, false))
	for range maxOwn + 1 { // calls without a caller have no bound of their own
		if _, err := l.add(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAccountsAreForgotten checks that unneeded accounts are deleted.
func TestAccountsAreForgotten(t *testing.T) {
	l := newQueueFixture(t)
	l.must(l.put("waits", time.Second, true))
	for u := range 3 * idleAccounts {
		l.must(l.put(fmt.Sprint(u), time.Millisecond, false))
		b := l.batch()
		b.next().took = time.Millisecond
		b.close()
		l.must(l.put("waits", time.Second, true))
		if u%100 == 0 {
			for range 99 {
				l.transaction(nil)
			}
			l.must(l.put("waits", time.Second, true))
		}
	}
	if n := len(l.accounts); n > idleAccounts+1 {
		t.Errorf("%d accounts are kept while the writer is busy", n)
	}
	for range 200 {
		l.transaction(nil)
	}
	if n := len(l.accounts); n > 0 {
		t.Errorf("%d accounts are kept without waiting calls", n)
	}
}

// TestEveryCallRunsOnceInOrder checks that every call runs once, in order for each caller.
func TestEveryCallRunsOnceInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	l := newQueueFixture(t)
	type key struct {
		user string
		n    int
	}
	calls := make(map[*call]key)
	given, done := make(map[string]int), make(map[string]int)
	give := func() {
		user := fmt.Sprint(random.IntN(20))
		ctx := im.WithCaller(context.Background(), im.Caller{User: im.UserID(user)})
		if random.IntN(3) == 0 {
			ctx = im.WithBulk(ctx)
		}
		c, err := l.add(ctx, nil)
		if err != nil {
			return
		}
		calls[c] = key{user, given[user]}
		given[user]++
	}
	for range 500 {
		for range random.IntN(20) {
			give()
		}
		b := l.batch()
		for c := b.next(); c != nil; c = b.next() {
			k := calls[c]
			delete(calls, c)
			if k.n != done[k.user] {
				t.Fatalf("call %d of %s was run after %d of theirs", k.n, k.user, done[k.user])
			}
			done[k.user]++
			c.took = time.Duration(random.ExpFloat64() * float64(time.Millisecond))
			l.clock = l.clock.Add(c.took)
			if random.IntN(4) == 0 {
				give()
			}
		}
		b.close()
	}
	for range 10_000 {
		if waiting, _ := l.len(); waiting == 0 {
			break
		}
		b := l.batch()
		for c := b.next(); c != nil; c = b.next() {
			done[calls[c].user]++
			delete(calls, c)
		}
		b.close()
	}
	if len(calls) > 0 || len(l.accounts) > 0 {
		t.Errorf("%d calls were never run", len(calls))
	}
}
