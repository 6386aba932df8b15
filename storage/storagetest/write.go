package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

func testWriteIsAtomic(w *world) {
	failure := errors.New("too late")
	err := w.store.Write(w.Context(), func(tx im.Tx) error {
		if err := tx.PutBlock("alice", "bob", w.now); err != nil {
			return err
		}
		if err := makeGroup(tx, im.Conversation{ID: 7, Kind: im.Group, History: im.HistoryAll}, []im.UserID{"new one"}); err != nil {
			return err
		}
		if blocked, err := tx.Blocked("alice", "bob"); err != nil || !blocked {
			return fmt.Errorf("the transaction does not see its own write: %w", err)
		}
		return failure
	})
	if !errors.Is(err, failure) {
		w.Fatal(err)
	}
	if w.blocked("alice", "bob") {
		w.Fatal("a part of the failed transaction was committed")
	}
	w.equal("bounds", w.bounds(), im.LogBounds{})
	w.view(func(r im.Reader) error {
		_, err := r.Conversation(7)
		w.notFound("the conversation", err)
		return nil
	})
	// Users created by the failed transaction must not be cached.
	id := w.group(im.HistoryAll, "somebody", "alice", "new one")
	got, _ := w.events("new one", 0, w.bounds().Head, 10)
	w.equal("events", len(got), 1)
	members := read(w, func(r im.Reader) ([]im.Membership, error) { return r.Members(id, im.Page{Limit: 10}) })
	w.equal("members", len(members), 3)
}

// testWriteErrors checks that each of many concurrent callers gets its own result, and that its
// writes are committed if and only if it succeeds.
func testWriteErrors(w *world) {
	refusal := im.Refuse(im.Forbidden, "not_yours", "for a test")
	const callers = 120
	errs := make([]error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			errs[i] = w.store.Write(context.Background(), func(tx im.Tx) error {
				if i%4 == 1 {
					return refusal
				}
				if err := tx.PutBlock("alice", im.UserID(fmt.Sprint(i)), w.now); err != nil {
					return err
				}
				switch i % 4 {
				case 2:
					return refusal
				case 3:
					panic("for a test")
				}
				return nil
			})
		})
	}
	group.Wait()
	for i, err := range errs {
		kept := w.blocked("alice", im.UserID(fmt.Sprint(i)))
		switch i % 4 {
		case 0:
			if err != nil || !kept {
				w.Fatalf("%d: %v, kept %v", i, err, kept)
			}
		case 1, 2:
			if e, ok := im.AsError(err); !ok || e != refusal || kept {
				w.Fatalf("%d: %v, kept %v", i, err, kept)
			}
		case 3:
			if err == nil || kept {
				w.Fatalf("%d: %v, kept %v", i, err, kept)
			}
		}
	}
}

func testWriteContext(w *world) {
	ctx, cancel := context.WithCancel(w.Context())
	err := w.store.Write(ctx, func(tx im.Tx) error {
		cancel() // a call that has started ignores its context
		return tx.PutBlock("alice", "bob", w.now)
	})
	w.must(err)
	if !w.blocked("alice", "bob") {
		w.Fatal("not kept")
	}
	ran := false
	err = w.store.Write(ctx, func(im.Tx) error { ran = true; return nil })
	if !errors.Is(err, context.Canceled) || ran {
		w.Fatalf("%v, ran %v", err, ran)
	}
	if err := w.store.View(ctx, func(im.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		w.Fatal(err)
	}
}

// testCommits checks that a listener is called for every commit once and in order, with the events
// of the commit: for a cut-off before Write returns, otherwise before the next commit.
func testCommits(w *world) {
	var mu sync.Mutex
	var commits []im.Commit
	w.store.OnCommit(func(c im.Commit) {
		mu.Lock()
		defer mu.Unlock()
		commits = append(commits, c)
	})
	all := func() (events []im.Event, cuts int) {
		w.waitForListeners()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range commits {
			events = append(events, c.Events...)
			cuts += len(c.Cuts)
			if n := len(c.Events); n > 0 && c.Head != c.Events[n-1].Position {
				w.Fatalf("head %d after position %d", c.Head, c.Events[n-1].Position)
			}
			if c.Gap {
				w.Fatal("a gap")
			}
		}
		return events, cuts
	}
	id := w.group(im.HistoryAll, "alice")
	sent := w.send(w.text(id, "alice", "hi"))
	w.step("events with their message", func() {
		events, _ := all()
		w.equal("positions", positions(events), []im.Position{1, 2})
		if m := events[1].Message; m == nil {
			w.Fatal("the event has no message")
		} else {
			w.sameMessage(*m, sent)
		}
	})
	w.step("nothing for a write that fails", func() {
		err := w.store.Write(w.Context(), func(tx im.Tx) error {
			if _, _, err := insert(tx, w.text(id, "alice", "never")); err != nil {
				return err
			}
			return errors.New("no")
		})
		if err == nil {
			w.Fatal("no error")
		}
	})
	w.step("a cut-off before Write returns", func() {
		w.write(func(tx im.Tx) error { return tx.CutTokens(im.TokenCut{User: "alice", At: w.now}) })
		mu.Lock()
		last := commits[len(commits)-1] // the listener was called before Write returned
		mu.Unlock()
		w.equal("cuts at once", len(last.Cuts), 1)
		w.equal("head without an event", last.Head, im.Position(2))
	})
	w.step("each commit before the next one", func() {
		var group sync.WaitGroup
		for n := range 8 {
			messages := make([]im.Message, 25)
			for i := range messages {
				messages[i] = w.text(id, im.UserID(fmt.Sprint("user ", n)), "x")
			}
			group.Go(func() {
				for _, m := range messages {
					var pos im.Position
					err := w.store.Write(w.Context(), func(tx im.Tx) (err error) {
						_, pos, err = insert(tx, m)
						return err
					})
					if err != nil {
						w.Error(err)
						return
					}
					if events, _ := all(); events[len(events)-1].Position < pos {
						w.Error("the listener was not called before the next commit")
						return
					}
				}
			})
		}
		group.Wait()
		events, cuts := all()
		w.equal("cuts", cuts, 1)
		stored, _ := w.events("alice", 0, w.bounds().Head, 1000)
		w.equal("published and stored events", positions(events), positions(stored))
	})
}

// testCommitsBlocks checks that a listener learns of a block before the caller returns, and never
// of one that failed.
func testCommitsBlocks(w *world) {
	var mu sync.Mutex
	var blocks []im.UserBlock
	w.store.OnCommit(func(c im.Commit) {
		mu.Lock()
		defer mu.Unlock()
		blocks = append(blocks, c.Blocks...)
	})
	err := w.store.Write(w.Context(), func(tx im.Tx) error {
		return errors.Join(tx.PutBlock("alice", "eve", w.now), errors.New("no"))
	})
	if err == nil {
		w.Fatal("no error")
	}
	w.write(func(tx im.Tx) error { return tx.PutBlock("alice", "bob", w.now) })
	mu.Lock()
	w.equal("blocks", blocks, []im.UserBlock{{By: "alice", User: "bob"}})
	mu.Unlock()
	w.write(func(tx im.Tx) error { return tx.DeleteBlock("alice", "bob") })
	w.waitForListeners()
	mu.Lock()
	defer mu.Unlock()
	w.equal("blocks after the end of one", len(blocks), 1)
}

// testCommitsDue checks that a listener receives the earliest time at which a message of a
// commit is due, and that failed calls do not contribute.
func testCommitsDue(w *world) {
	var mu sync.Mutex
	var due []time.Time
	w.store.OnCommit(func(c im.Commit) {
		mu.Lock()
		defer mu.Unlock()
		if !c.Due.IsZero() {
			due = append(due, c.Due)
		}
	})
	checkDue := func(what string, want ...time.Time) {
		w.Helper()
		w.waitForListeners()
		mu.Lock()
		defer mu.Unlock()
		w.equal(what, due, append([]time.Time{}, want...))
		due = nil
	}
	id := w.group(im.HistoryAll, "alice")
	plain := w.send(w.text(id, "alice", "stays"))
	checkDue("no message is due")
	later, sooner := w.text(id, "alice", "later"), w.text(id, "alice", "sooner")
	later.ExpiresAt, sooner.ExpiresAt = w.now.Add(2*time.Hour), w.now.Add(time.Hour)
	never := w.text(id, "alice", "never")
	never.ExpiresAt = w.now.Add(time.Minute)
	err := w.store.Write(w.Context(), func(tx im.Tx) error {
		_, err := tx.InsertMessage(never)
		return errors.Join(err, errors.New("no"))
	})
	if err == nil {
		w.Fatal("no error")
	}
	w.write(func(tx im.Tx) error {
		for _, m := range []im.Message{later, sooner} {
			if _, err := tx.InsertMessage(m); err != nil {
				return err
			}
		}
		return nil
	})
	checkDue("the earliest of two", sooner.ExpiresAt)
	burns := w.text(id, "alice", "burns")
	burns.Burn = &im.Burn{After: time.Second, UnreadTTL: time.Hour}
	w.send(burns)
	checkDue("unread", burns.CreatedAt.Add(time.Hour))
	at := w.now.Add(time.Minute)
	w.write(func(tx im.Tx) error { return tx.StartBurn(burns.ID, at) })
	checkDue("burning", at)
	w.write(func(tx im.Tx) error {
		_, err := tx.Erase(plain.ID, im.Erasure{State: im.Revoked, At: at}, at)
		return err
	})
	checkDue("erased")
}

func testSnapshot(w *world) {
	id := w.group(im.HistoryAll, "alice")
	w.view(func(r im.Reader) error {
		before, err := r.Conversation(id)
		w.must(err)
		w.send(w.text(id, "alice", "meanwhile"))
		after, err := r.Conversation(id)
		w.equal("second read in a view", after, before)
		return err
	})
	w.equal("the next view", w.conversation(id).LastSeq, int64(1))
}

// testConcurrency runs senders and readers concurrently. Seqs must be dense, and no reader
// may see a part of a transaction.
func testConcurrency(w *world) {
	const senders, each = 6, 40
	ids := []im.ID{w.group(im.HistoryAll, "alice"), w.group(im.HistoryAll, "alice")}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := w.store.View(w.Context(), func(r im.Reader) error { return consistent(r, ids) })
				if err != nil {
					w.Error(err)
					return
				}
			}
		})
	}
	for n := range senders {
		messages := make([]im.Message, each)
		for i := range messages {
			messages[i] = w.text(ids[i%len(ids)], im.UserID(fmt.Sprint("sender ", n)), "x")
		}
		writers.Go(func() {
			for _, m := range messages {
				err := w.store.Write(w.Context(), func(tx im.Tx) error {
					_, _, err := insert(tx, m)
					return err
				})
				if err != nil {
					w.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for _, id := range ids {
		w.equal("last seq", w.conversation(id).LastSeq, int64(senders*each/len(ids)))
	}
}

// consistent checks that the parts of a snapshot match.
func consistent(r im.Reader, ids []im.ID) error {
	var total int64
	for _, id := range ids {
		c, err := r.Conversation(id)
		if err != nil {
			return err
		}
		page, err := r.Messages(im.HistoryQuery{Conversation: id, Ranges: []im.SeqRange{{From: 1, To: 1 << 40}}, Limit: 1000})
		if err != nil {
			return err
		}
		if n := int64(len(page.Messages)); n != c.LastSeq {
			return fmt.Errorf("%d messages, last seq %d", n, c.LastSeq)
		}
		for i, m := range page.Messages {
			if m.Seq != c.LastSeq-int64(i) {
				return fmt.Errorf("seq %d at index %d", m.Seq, i)
			}
		}
		total += c.LastSeq + 1 // plus the event that created it
	}
	bounds, err := r.LogBounds()
	if err == nil && int64(bounds.Head) != total {
		err = fmt.Errorf("%d events for %d messages", bounds.Head, total)
	}
	return err
}

// testAdmit checks that an idle store admits every request at once, and does not wait for a client
// that has disconnected.
func testAdmit(w *world) {
	gone, cancel := context.WithCancel(w.Context())
	cancel()
	for _, c := range []im.Caller{{User: "alice"}, {Job: "a job"}, {}} {
		if err := w.store.Admit(w.Context(), c); err != nil {
			w.Errorf("an idle store does not admit %+v: %v", c, err)
		}
		if err := w.store.Admit(gone, c); err != nil && !errors.Is(err, context.Canceled) {
			w.Errorf("an idle store answers %+v, who has disconnected, with %v", c, err)
		}
	}
	// Writing does not change that.
	w.group(im.HistoryAll, "alice", "bob")
	if err := w.store.Admit(w.Context(), im.Caller{User: "alice"}); err != nil {
		w.Errorf("an idle store does not admit a caller who has written before: %v", err)
	}
}
