package handlers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
)

func TestBudgetIsSharedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, 10)
		ctx := t.Context()
		if err := b.acquire(ctx, "first", 7, time.Second); err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 3)
		ask := func(name string, bytes int, longest time.Duration) {
			go func() {
				if err := b.acquire(ctx, im.UserID(name), bytes, longest); err == nil {
					got <- name
				} else if errors.Is(err, errOverloaded) {
					got <- name + " overloaded"
				}
			}()
			synctest.Wait()
		}
		ask("large", 20, 3*time.Second) // all bytes
		ask("impatient", 1, time.Second)
		ask("small", 1, time.Minute) // it would fit, but must wait for earlier ones
		if len(got) != 0 {
			t.Errorf("%s has its turn before the caller that waits longest", <-got)
		}
		before := time.Now()
		if name := <-got; name != "impatient overloaded" || time.Since(before) != time.Second {
			t.Errorf("%s after %v", name, time.Since(before))
		}
		b.release("first", 7)
		if name := <-got; name != "large" {
			t.Errorf("%s has its turn", name)
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Errorf("%s got bytes that are in use", <-got)
		}
		b.release("large", 20)
		if name := <-got; name != "small" {
			t.Errorf("%s has its turn", name)
		}
		b.release("small", 1)

		// A caller that gives up loses its turn.
		if err := b.acquire(ctx, "", 10, time.Second); err != nil {
			t.Fatal(err)
		}
		gone, leave := context.WithCancel(ctx)
		left := make(chan error, 1)
		go func() { left <- b.acquire(gone, "gone", 10, time.Hour) }()
		synctest.Wait()
		ask("next", 2, time.Hour)
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that gave up got %v", err)
		}
		b.release("", 10)
		if name := <-got; name != "next" {
			t.Errorf("%s has its turn", name)
		}
		if b.release("next", 2); b.used != 0 || len(b.usedBy) != 0 || len(b.waiting) != 0 {
			t.Errorf("%d bytes are lost, %d wait", b.used, len(b.waiting))
		}
	})
}

// TestBudgetIsSharedByUsers checks that what one user holds and waits for leaves room for
// others.
func TestBudgetIsSharedByUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, 4)
		var refused atomic.Int32
		for range 9 {
			go func() {
				if b.acquire(t.Context(), "eve", 2, time.Second) != nil {
					refused.Add(1)
				}
			}()
			synctest.Wait()
		}
		if err := b.acquire(t.Context(), "alice", 9, time.Second); err != nil { // the maximum of one user
			t.Errorf("another user: %v", err)
		}
		b.release("alice", 9)
		b.release("eve", 2)
		time.Sleep(2 * time.Second)
		if b.used != 4 || b.usedBy["eve"] != 4 || refused.Load() != 6 {
			t.Errorf("%d bytes are used, %v by user, %d were refused", b.used, b.usedBy, refused.Load())
		}
	})
}

// slowBody returns a part, and then blocks.
type slowBody struct {
	part string
	wait chan struct{}
}

func (s *slowBody) Read(b []byte) (int, error) {
	n := copy(b, s.part)
	if s.part = s.part[n:]; n > 0 {
		return n, nil
	}
	<-s.wait
	return 0, io.EOF
}

// TestSlowBodiesHoldOnlyTheirShare checks that announcing many bytes takes no memory, that
// slow bodies of one user leave room for others, and that all memory is released.
func TestSlowBodiesHoldOnlyTheirShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bodyBudgets{reading: share{free: readingBytes, perUser: readingBytesPerUser, takenBy: map[im.UserID]int{}}}
		wait := make(chan struct{})
		const announced = maxBody
		refused := make(chan error, 1000)
		slow := func(user im.UserID, part int) {
			go func() {
				_, err := b.read(&slowBody{strings.Repeat("x", part), wait}, user, announced)
				refused <- err
			}()
		}
		for range 100 {
			slow("alice", 100)
		}
		synctest.Wait()
		if b.reading.free != readingBytes || len(refused) != 0 {
			t.Errorf("%d bytes are held for bodies that were only announced, %d were refused", readingBytes-b.reading.free, len(refused))
		}
		for range 100 {
			slow("alice", 100_000)
		}
		synctest.Wait()
		if n := readingBytes - b.reading.free; n > readingBytesPerUser || n < readingBytesPerUser/2 || len(refused) == 0 {
			t.Errorf("%d bytes are held for one user, %d were refused", n, len(refused))
		}
		for range len(refused) {
			if err := <-refused; !errors.Is(err, errOverloaded) {
				t.Errorf("refused with %v", err)
			}
		}
		// Many users who send a little of large bodies do not block other users, either.
		for n := range 2 * readingBytes / readingBytesPerUser {
			for range 10 {
				slow(im.UserID(fmt.Sprint("user", n)), readingFree+1)
			}
		}
		synctest.Wait()
		for _, length := range []int{-1, announced} {
			body, err := b.read(strings.NewReader(strings.Repeat("y", announced)), "bob", length)
			if err != nil || len(body) != announced {
				t.Errorf("another user's: %d bytes, %v", len(body), err)
			}
		}
		close(wait)
		synctest.Wait()
		if b.reading.free != readingBytes || len(b.reading.takenBy) != 0 {
			t.Errorf("%d bytes are lost", readingBytes-b.reading.free)
		}
	})
}
