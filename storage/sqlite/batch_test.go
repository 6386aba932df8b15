package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// injector makes a statement of the writer fail.
type injector struct {
	mu    sync.Mutex
	begun bool   // the batch to fail has begun
	count int    // statements of the batch so far
	at    int    // index of the statement to fail; BEGIN is 0
	only  string // text of the statement to fail, instead of its index
	fail  func(s *session, query string) error
}

func (i *injector) hook(s *session, query string) error {
	if s.role != writing {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.begun = i.begun || query == "BEGIN IMMEDIATE"
	if !i.begun {
		return nil
	}
	i.count++
	if i.fail == nil || i.only != "" && query != i.only || i.only == "" && i.count-1 != i.at {
		return nil
	}
	fail := i.fail
	i.fail = nil
	return fail(s, query)
}

// arm makes a statement of the next batch fail.
func (i *injector) arm(at int, only string, fail func(s *session, query string) error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.begun, i.count, i.at, i.only, i.fail = false, 0, at, only, fail
}

// hit reports whether the fault occurred, and the number of statements.
func (i *injector) hit() (hit bool, statements int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fail == nil, i.count
}

// batchFixture is a store in which a test can compose batches and make them fail.
type batchFixture struct {
	*testing.T
	store  *Store
	faults *injector

	mu      sync.Mutex
	commits []im.Commit
	nextID  im.ID
}

func newBatchFixture(t *testing.T) *batchFixture {
	faults := &injector{}
	// With a real clock, batches would be split on a busy machine.
	now := time.Now()
	b := &batchFixture{T: t, faults: faults, store: openNew(t, Options{
		Synchronous: "normal", fault: faults.hook, Now: func() time.Time { return now },
	})}
	// Close shreds keys of rolled-back content and must not fail.
	t.Cleanup(func() { faults.arm(0, "", nil) })
	b.store.OnCommit(func(c im.Commit) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.commits = append(b.commits, c)
	})
	return b
}

// listenerCommits returns all commits so far, as passed to the listener. It calls Ready, whose
// transaction begins only after the listeners were called. Ready itself may fail here.
func (b *batchFixture) listenerCommits() []im.Commit {
	_ = b.store.Ready(context.Background())
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.commits)
}

// behaviour is how a job's function handles errors.
type behaviour int

const (
	returnsErrors behaviour = iota // returns its errors
	ignoresErrors                  // continues after errors and returns nil
	panics                         // panics on an error
	readsOnly                      // writes nothing
	refuses                        // returns a refusal before it writes
	canceled                       // its context is done
	failsLate                      // returns an error after its last write
	panicsLate                     // panics after its last write
)

// job is a call of Write and its result.
type job struct {
	id        im.ID // of the conversation it creates
	behaviour behaviour
	fn        func(tx im.Tx) error
	err       error
}

var errRule = im.Refuse(im.Conflict, "for_a_test", "for a test")

func (b *batchFixture) job(m behaviour) *job {
	b.nextID++
	j := &job{id: b.nextID, behaviour: m}
	j.fn = func(tx im.Tx) error {
		err := j.write(tx)
		switch {
		case m == ignoresErrors:
			return nil
		case m == panics && err != nil:
			panic(err)
		case m == failsLate && err == nil:
			return errRule
		case m == panicsLate && err == nil:
			panic("for a test")
		}
		return err
	}
	return j
}

// write creates a conversation with a new user, messages that stay, burn and are erased, events and
// more. With ignoresErrors it continues after errors.
func (j *job) write(tx im.Tx) error {
	user := im.UserID(fmt.Sprintf("user of %d", j.id))
	var first error
	try := func(err error) bool {
		if first == nil {
			first = err
		}
		return err == nil || j.behaviour == ignoresErrors
	}
	_, err := tx.Conversation(j.id)
	if errors.Is(err, im.ErrNotFound) {
		err = nil
	}
	if !try(err) {
		return first
	}
	switch j.behaviour {
	case readsOnly:
		return nil
	case refuses:
		return errRule
	default: // continue writing
	}
	if !try(tx.CreateConversation(im.Conversation{ID: j.id, Kind: im.Group, History: im.HistoryAll})) {
		return first
	}
	pos, err := tx.Append(im.Event{Type: im.ConversationCreated, Conversation: j.id, Actor: user})
	if !try(err) || !try(tx.AddMember(im.Membership{Conversation: j.id, User: user, Role: im.Owner}, pos)) {
		return first
	}
	message := im.Message{
		ID: j.id + 1<<40, Conversation: j.id, Sender: user, ClientID: "c", Type: im.Text, State: im.Active,
		Content: textX,
	}
	seq, err := tx.InsertMessage(message)
	if !try(err) {
		return first
	}
	_, err = tx.Append(im.Event{Type: im.MessageCreated, Conversation: j.id, MessageID: message.ID, Seq: seq, Actor: user})
	if !try(err) || !try(tx.PutBlock(user, "everybody", message.CreatedAt)) {
		return first
	}
	j.eraseSome(tx, user, try)
	return first
}

// eraseSome starts the burn of one message, erases another and gives receipts for all.
func (j *job) eraseSome(tx im.Tx, user im.UserID, try func(error) bool) {
	for i, burn := range []*im.Burn{{UnreadTTL: time.Hour}, nil} {
		_, err := tx.InsertMessage(im.Message{
			ID: j.extraMessage(i), Conversation: j.id, Sender: user, Type: im.Text, State: im.Active, Burn: burn,
			CreatedAt: fromMillis(0), Content: textX,
		})
		if !try(err) {
			return
		}
	}
	if !try(tx.StartBurn(j.extraMessage(0), fromMillis(1))) {
		return
	}
	done, err := tx.Erase(j.extraMessage(1), im.Erasure{State: im.Revoked, By: "an admin"}, fromMillis(2))
	if err == nil && !done {
		err = errors.New("not erased")
	}
	if !try(err) {
		return
	}
	// Put separate ranges, and then one that covers both, so that rows are changed and deleted.
	for _, r := range []im.SeqRange{{From: 1, To: 1}, {From: 3, To: 3}, {From: 1, To: 3}} {
		if _, err := tx.PutReceipt(im.Read, j.id, "a reader", r, fromMillis(3)); !try(err) {
			return
		}
	}
}

// extraMessage returns the id of the message that burns, for n = 0, or of the erased one, for n =
// 1.
func (j *job) extraMessage(i int) im.ID { return j.id + im.ID(i+2)<<40 }

// kept reports whether everything that a job writes is stored. It fails the test if only a part is.
func (b *batchFixture) kept(j *job) bool {
	b.Helper()
	var got []bool
	user := im.UserID(fmt.Sprintf("user of %d", j.id))
	err := b.store.View(context.Background(), func(r im.Reader) error {
		c, err := r.Conversation(j.id)
		got = append(got, err == nil, c.MemberCount == 1, c.LastSeq == 3, c.LastEvent > 0)
		_, err = r.Membership(j.id, user)
		got = append(got, err == nil)
		_, err = r.MessageByClientID(user, "c")
		got = append(got, err == nil)
		blocked, err := r.Blocked(user, "everybody")
		got = append(got, blocked)
		if err != nil {
			return err
		}
		burns, _ := r.Message(j.extraMessage(0))
		got = append(got, burns.Burn != nil && burns.Burn.At.Equal(fromMillis(1)))
		erased, _ := r.Message(j.extraMessage(1))
		got = append(got, erased.Erased != nil && erased.Content == nil && erased.State == im.Revoked)
		for seq := range int64(3) {
			list, err := r.ReceiptsOf(im.Read, j.id, seq+1)
			if err != nil {
				return err
			}
			got = append(got, len(list) == 1)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, is := range got {
		if is != got[0] {
			b.Fatalf("a part of a transaction is stored: %v", got)
		}
	}
	return got[0]
}

// batch runs jobs in one transaction, in which a statement fails. The jobs queue while the
// writer is blocked.
func (b *batchFixture) batch(jobs []*job, at int, only string, fail func(s *session, query string) error) {
	b.Helper()
	running, release := make(chan struct{}), make(chan struct{})
	blocker, err := b.store.writer.queue.add(context.Background(), func(im.Tx) error {
		close(running)
		<-release
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	select {
	case <-running:
	case err := <-blocker.done:
		b.Fatal(err)
	}
	calls := make([]*call, len(jobs))
	for i, j := range jobs {
		ctx, cancel := context.WithCancel(context.Background())
		if calls[i], err = b.store.writer.queue.add(ctx, j.fn); err != nil {
			b.Fatal(err)
		}
		if j.behaviour == canceled {
			cancel()
		}
		defer cancel()
	}
	b.faults.arm(at, only, fail)
	close(release)
	if err := <-blocker.done; err != nil {
		b.Fatal(err)
	}
	for i, c := range calls {
		jobs[i].err = <-c.done
	}
}

// checkJobs checks that the writes of a job are stored if and only if Write succeeded, and
// that each error is one that callers expect.
func (b *batchFixture) checkJobs(jobs []*job) {
	b.Helper()
	for _, j := range jobs {
		kept := b.kept(j)
		if kept != (j.err == nil && j.behaviour != readsOnly) {
			b.Fatalf("job of behaviour %d: error %v, stored %v", j.behaviour, j.err, kept)
		}
		e, refused := im.AsError(j.err)
		injected := refused && (e.Code == "storage_unavailable" || e.Code == "storage_full")
		switch {
		case j.behaviour == canceled && !errors.Is(j.err, context.Canceled) && !injected,
			(j.behaviour == refuses || j.behaviour == failsLate) && e != errRule && !injected,
			(j.behaviour == returnsErrors || j.behaviour == ignoresErrors || j.behaviour == readsOnly) && j.err != nil && !injected,
			j.behaviour == panicsLate && j.err == nil:
			b.Fatalf("job of behaviour %d: error %v", j.behaviour, j.err)
		}
	}
}

// checkPublished compares the published events with the log, and runs SQLite's integrity
// check.
func (b *batchFixture) checkPublished() {
	b.Helper()
	var stored, published []im.Position
	var integrity string
	err := b.store.View(context.Background(), func(r im.Reader) error {
		s := r.(*reader).session
		err := s.query("SELECT pos FROM events ORDER BY pos", nil, func(rows row) (bool, error) {
			var pos im.Position
			err := rows.Scan(&pos)
			stored = append(stored, pos)
			return true, err
		})
		if err != nil {
			return err
		}
		_, err = s.row("PRAGMA integrity_check", nil, &integrity)
		return err
	})
	if err != nil || integrity != "ok" {
		b.Fatal(err, integrity)
	}
	for _, c := range b.listenerCommits() {
		if c.Gap {
			b.Fatal("a gap was published")
		}
		for _, e := range c.Events {
			published = append(published, e.Position)
		}
	}
	if !slices.Equal(stored, published) {
		b.Fatalf("stored    %v\npublished %v", stored, published)
	}
}

// allJobs returns jobs of all behaviours, some of them twice.
func (b *batchFixture) allJobs() []*job {
	return []*job{
		b.job(returnsErrors), b.job(refuses), b.job(ignoresErrors), b.job(canceled), b.job(failsLate),
		b.job(panics), b.job(readsOnly), b.job(panicsLate), b.job(returnsErrors),
	}
}

// textX is the content of messages in batches.
var textX = &im.Content{Sent: []byte(`{"body":{"text":"x"},"type":"text"}`), Body: []byte(`{"text":"x"}`)}
