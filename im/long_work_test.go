package im_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// counting is a store that counts transactions and records their effects.
type counting struct {
	im.Store
	writes atomic.Int64
	bulk   atomic.Int64
	// before is called before each write, which returns its error.
	before func(n int64) error
}

func (s *counting) Write(ctx context.Context, fn func(im.Tx) error) error {
	n := s.writes.Add(1)
	if im.IsBulk(ctx) {
		s.bulk.Add(1)
	}
	if s.before != nil {
		if err := s.before(n); err != nil {
			return err
		}
	}
	return s.Store.Write(ctx, fn)
}

// stepping makes each step of long work do one thing, and counts the steps.
func (w *world) stepping(before func(n int64) error) *counting {
	store := &counting{Store: w.store}
	w.Service = im.NewService(store, im.DefaultPolicy(), w.clock)
	im.SetStep(w.Service, 0)
	store.before = before
	return store
}

func (w *world) sayMany(user im.UserID, ref im.ConversationRef, n int) (ids []string) {
	for range n {
		ids = append(ids, w.say(user, ref, "hi").ID.String())
	}
	return ids
}

// A batch of too many ids is refused, and revokes nothing.
func TestRevokeTooMany(t *testing.T) {
	w := newWorld(t)
	m := w.say("alice", direct("bob"), "hi")
	ids := slices.Repeat([]string{m.ID.String()}, im.MaxRevokedAtOnce+1)
	results, err := w.RevokeMany(w.ctx, as("alice"), ids, im.RevokeNote{})
	w.equal("answer", answer(err), "400 invalid_request")
	w.equal("results", len(results), 0)
	_, err = w.RevokeMany(w.ctx, as("alice"), ids[1:], im.RevokeNote{})
	w.equal("at the limit", answer(err), "ok")
}

// TestABatchOfRevokesTakesTurns checks that a batch delays others no more than the same number of
// single revokes, and that one that cannot finish returns a status for each message.
func TestABatchOfRevokesTakesTurns(t *testing.T) {
	w := newWorld(t)
	ids := append(w.sayMany("alice", direct("bob"), 9), "nonsense")
	full := im.Refuse(im.Full, "storage_full", "for a test")
	store := w.stepping(func(n int64) error {
		if n == 4 {
			return full
		}
		return nil
	})
	results, err := w.RevokeMany(w.ctx, as("alice"), ids, im.RevokeNote{})
	w.must(err)
	for i, r := range results {
		want := "ok"
		if i >= 3 {
			want = "507 storage_full"
		}
		w.equal(r.ID, answer(r.Err), want)
	}
	w.equal("transactions", []int64{store.writes.Load(), store.bulk.Load()}, []int64{4, 4})

	results, err = w.RevokeMany(w.ctx, as("alice"), ids, im.RevokeNote{})
	w.must(err)
	for i, r := range results {
		want := "ok"
		if i == 9 {
			want = "404 message_not_found"
		}
		w.equal(r.ID, answer(r.Err), want)
	}
	w.equal("ids", len(results), len(ids))

	store.before = func(int64) error { return full }
	_, err = w.RevokeMany(w.ctx, as("alice"), ids, im.RevokeNote{})
	w.equal("nothing was done", answer(err), "507 storage_full")
}

// TestStartedBatchIsFinished checks that a batch is finished even if the caller
// disconnects.
func TestStartedBatchIsFinished(t *testing.T) {
	w := newWorld(t)
	ids := w.sayMany("alice", direct("bob"), 5)
	ctx, cancel := context.WithCancel(w.ctx)
	w.stepping(func(n int64) error {
		if n == 2 {
			cancel()
		}
		return nil
	})
	results, err := w.RevokeMany(ctx, as("alice"), ids, im.RevokeNote{})
	w.must(err)
	w.equal("all", slices.ContainsFunc(results, func(r im.RevokeResult) bool { return r.Err != nil }), false)
	_, err = w.RevokeMany(ctx, as("alice"), ids, im.RevokeNote{})
	w.equal("one that did not begin", err, context.Canceled)
}

// TestBatchesOfOneUserRunInOrder: the first of many batches ends first, and too many
// are refused at once.
func TestBatchesOfOneUserRunInOrder(t *testing.T) {
	w := newWorld(t)
	ids := w.sayMany("alice", direct("bob"), 2)
	began, end := make(chan struct{}), make(chan struct{})
	w.stepping(func(n int64) error {
		if n == 1 {
			close(began)
			<-end
		}
		return nil
	})
	im.SetLongestInLine(w.Service, await.Limit) // the machine may stand still
	var running sync.WaitGroup
	var overloaded atomic.Int64
	done := make(chan struct{}, 1)
	revoke := func() {
		_, err := w.RevokeMany(w.ctx, as("alice"), ids, im.RevokeNote{})
		if err == nil {
			return
		}
		if got := answer(err); got != "503 overloaded" {
			t.Errorf("got %s", got)
		}
		if overloaded.Add(1) == 4 {
			done <- struct{}{}
		}
	}
	running.Go(revoke)
	<-began
	for range im.MostInLine + 4 {
		running.Go(revoke)
	}
	<-done
	if _, err := w.RevokeMany(w.ctx, as("bob"), []string{"nonsense"}, im.RevokeNote{}); err != nil {
		t.Errorf("another user got %v", err)
	}
	close(end)
	running.Wait()
	w.equal("refused", overloaded.Load(), int64(4))
}

// TestJobsWorkInBoundedSteps checks that due messages, deliveries and cleared counts are
// all handled, in steps.
func TestJobsWorkInBoundedSteps(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		d := text("soon gone")
		d.ExpireAfter = time.Minute
		_, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
		w.must(err)
	}
	for _, from := range []im.UserID{"carol", "dave", "erin"} {
		w.say(from, direct("bob"), "hi")
	}
	c, err := w.Conversation(w.ctx, as("bob"), direct("carol"))
	w.must(err)
	store := w.stepping(nil)
	w.must(w.ClearAllUnread(w.ctx, as("bob")))
	w.equal("transactions to clear", store.writes.Swap(0), int64(4))
	delivery := im.Delivery{User: "bob", Conversation: c.ID, Range: im.SeqRange{From: 1, To: 1}}
	w.must(w.Deliver(w.ctx, []im.Delivery{delivery, delivery, delivery}))
	w.equal("transactions to deliver", store.writes.Swap(0), int64(3))
	w.pass(time.Hour)
	n, _, err := w.EraseDue(w.ctx)
	w.must(err)
	w.equal("erased", n, 5)
	w.equal("transactions to erase", store.writes.Load(), int64(5))
	w.equal("in bulk", store.bulk.Load(), int64(4+3+5))
}

// TestLeavingTakesBoundedSteps checks that a user with many joined threads leaves them in
// steps, and their parent in the last one.
func TestLeavingTakesBoundedSteps(t *testing.T) {
	const threads = 5
	for name, leave := range map[string]func(w *world, group, space im.ID) error{
		"leaving a group": func(w *world, group, _ im.ID) error { return w.Leave(w.ctx, as("bob"), byID(group)) },
		"removed from a group": func(w *world, group, _ im.ID) error {
			return w.RemoveMember(w.ctx, as("alice"), byID(group), "bob")
		},
		"denied in a group": func(w *world, group, _ im.ID) error {
			return w.PutListed(w.ctx, as("alice"), byID(group), im.DenyList, "bob")
		},
		"leaving a space":      func(w *world, _, space im.ID) error { return w.LeaveSpace(w.ctx, as("bob"), space) },
		"removed from a space": func(w *world, _, space im.ID) error { return w.RemoveSpaceMember(w.ctx, as("alice"), space, "bob") },
		"denied in a space":    func(w *world, _, space im.ID) error { return w.DenyInSpace(w.ctx, as("alice"), space, "bob") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			group := w.group(im.HistoryAll, "alice", "bob")
			s, err := w.CreateSpace(w.ctx, as("alice"), im.SpaceDraft{Name: "s"})
			w.must(err)
			w.must1(w.AddSpaceMembers(w.ctx, as("alice"), s.ID, []im.UserID{"bob"}))
			channel, err := w.CreateChannel(w.ctx, as("alice"), s.ID, im.ChannelDraft{Name: "c"})
			w.must(err)
			for _, in := range []im.ID{group, channel.ID} {
				for range threads {
					v, err := w.CreateThread(w.ctx, as("alice"), w.say("alice", byID(in), "hi").ID, im.ThreadDraft{Name: "t"})
					w.must(err)
					w.must1(w.Join(w.ctx, as("bob"), byID(v.ID)))
				}
			}
			joined := func() int {
				page, err := w.MyThreads(w.ctx, as("bob"), 0, 100)
				w.must(err)
				return len(page.Items)
			}
			full := im.Refuse(im.Full, "storage_full", "for a test")
			store := w.stepping(func(n int64) error {
				if n == 3 {
					return full
				}
				return nil
			})
			w.equal("a step that fails", answer(leave(w, group, s.ID)), "507 storage_full")
			w.equal("threads then", joined(), 2*threads-2)
			w.must(leave(w, group, s.ID)) // still a member
			w.equal("transactions", []int64{store.writes.Load(), store.bulk.Load()}, []int64{threads + 1, threads - 1})
			w.equal("threads in the end", joined(), threads)
			if answer(leave(w, group, s.ID)) == "ok" && name[:6] != "denied" {
				t.Error("they were still members")
			}
			removed := 0
			for _, e := range w.committed() {
				if e.Type == im.MemberRemoved && e.User == "bob" {
					removed++
				}
			}
			w.equal("events", removed, threads+1)
		})
	}
}

// TestRetentionOfThreadsInSteps: the retention of a group applies to all its threads, which change
// before it, a few at a time.
func TestRetentionOfThreadsInSteps(t *testing.T) {
	const threads = 250
	w := newWorld(t)
	group := w.group(im.HistoryAll, "alice", "bob")
	var last im.ID
	for range threads {
		v, err := w.CreateThread(w.ctx, as("alice"), w.say("alice", byID(group), "hi").ID, im.ThreadDraft{Name: "t"})
		w.must(err)
		last = v.ID
	}
	store := w.stepping(nil)
	keep := 24 * time.Hour
	set := &keep
	w.must1(w.UpdateConversation(w.ctx, as("alice"), byID(group), im.ConversationPatch{Retention: &set}))
	w.equal("transactions", []int64{store.writes.Swap(0), store.bulk.Swap(0)}, []int64{3, 2})
	for _, id := range []im.ID{group, last} {
		v, err := w.Conversation(w.ctx, as("alice"), byID(id))
		w.must(err)
		w.equal("retention", *v.Retention, keep)
	}
	_, err := w.UpdateConversation(w.ctx, as("bob"), byID(group), im.ConversationPatch{Retention: &set})
	w.equal("by a member", answer(err), "403 permission_denied")
	w.must1(w.UpdateConversation(w.ctx, as("alice"), byID(group), im.ConversationPatch{Retention: &set}))
	w.equal("the same again", store.writes.Load(), int64(2))
}

// TestManyMembersAreAddedAFewAtATime checks that all users are checked first, so that one who
// cannot be added prevents the others from being added.
func TestManyMembersAreAddedAFewAtATime(t *testing.T) {
	const many = 250
	var users []im.UserID
	for i := range many {
		users = append(users, im.UserID(fmt.Sprint("user", i)))
	}
	last := users[many-1]
	for name, in := range map[string]struct {
		make func(w *world) im.ID
		add  func(w *world, id im.ID) (int, error)
		deny func(w *world, id im.ID) error
		left func(w *world, id im.ID) error
	}{
		"room": {
			make: func(w *world) im.ID {
				v, err := w.CreateGroup(w.ctx, as("alice"), im.GroupDraft{Kind: im.Room, Name: "r"})
				w.must(err)
				return v.ID
			},
			add: func(w *world, id im.ID) (int, error) {
				list, err := w.AddMembers(w.ctx, as("alice"), byID(id), append(users, users[0]), im.Member)
				return len(list), err
			},
			deny: func(w *world, id im.ID) error { return w.PutListed(w.ctx, as("alice"), byID(id), im.DenyList, last) },
			left: func(w *world, id im.ID) error { return w.DeleteListed(w.ctx, as("alice"), byID(id), im.DenyList, last) },
		},
		"space": {
			make: func(w *world) im.ID {
				v, err := w.CreateSpace(w.ctx, as("alice"), im.SpaceDraft{Name: "s"})
				w.must(err)
				return v.ID
			},
			add: func(w *world, id im.ID) (int, error) {
				list, err := w.AddSpaceMembers(w.ctx, as("alice"), id, append(users, users[0]))
				return len(list), err
			},
			deny: func(w *world, id im.ID) error { return w.DenyInSpace(w.ctx, as("alice"), id, last) },
			left: func(w *world, id im.ID) error { return w.AllowInSpace(w.ctx, as("alice"), id, last) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := in.make(w)
			members := func() (n int) {
				w.must(w.store.View(w.ctx, func(r im.Reader) error {
					c, err := r.Conversation(id)
					n = c.MemberCount
					return err
				}))
				return n
			}
			w.must(in.deny(w, id))
			_, err := in.add(w, id)
			e, _ := im.AsError(err)
			w.equal("with one who is denied", []any{answer(err), e != nil && e.Field == fmt.Sprint("members/", many-1), members()},
				[]any{"409 on_deny_list", true, 1})
			w.must(in.left(w, id))

			policy := im.DefaultPolicy()
			policy.MaxRoomMembers, policy.MaxSpaceMembers = many, many
			w.Service = im.NewService(w.store, policy, w.clock)
			_, err = in.add(w, id)
			w.equal("one too many", []any{answer(err), members()}, []any{"422 too_many_members", 1})

			store := w.stepping(nil)
			n, err := in.add(w, id)
			w.must(err)
			w.equal("added", []int{n, members()}, []int{many, many + 1})
			w.equal("transactions", []int64{store.writes.Load(), store.bulk.Load()}, []int64{3, 3})
		})
	}
}

// TestReceiptsAreStoredTogether checks that receipts for many streams are stored in one
// transaction, unless that would take too long.
func TestReceiptsAreStoredTogether(t *testing.T) {
	for step, want := range map[time.Duration]int64{time.Hour: 1, 0: 3} {
		w := newWorld(t)
		group := w.group(im.HistoryAll, "alice", "bob", "carol", "dave")
		w.sayMany("alice", byID(group), 10)
		store := w.stepping(nil)
		im.SetStep(w.Service, step)
		var deliveries []im.Delivery
		for _, user := range []im.UserID{"bob", "carol", "dave"} {
			deliveries = append(deliveries, im.Delivery{User: user, Conversation: group, Range: im.SeqRange{From: 1, To: 10}})
		}
		w.must(w.Deliver(w.ctx, deliveries))
		w.equal(fmt.Sprint("transactions in steps of ", step), store.writes.Load(), want)
	}
}
