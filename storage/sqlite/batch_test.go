package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// injector makes one statement of the writer fail.
type injector struct {
	mu    sync.Mutex
	begun bool   // the batch that is to fail has begun
	count int    // its statements so far
	at    int    // the one that fails, counting from BEGIN, which is 0
	only  string // what the one that fails says, if it is not told by number
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

// arm has a statement of the next batch fail.
func (i *injector) arm(at int, only string, fail func(s *session, query string) error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.begun, i.count, i.at, i.only, i.fail = false, 0, at, only, fail
}

// hit reports whether the fault was met, and of how many statements.
func (i *injector) hit() (hit bool, statements int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fail == nil, i.count
}

// bench is a store whose batches a test can put together and break.
type bench struct {
	*testing.T
	store  *Store
	faults *injector

	mu      sync.Mutex
	commits []im.Commit
	nextID  im.ID
}

func newBench(t *testing.T) *bench {
	faults := &injector{}
	// The clock stands still: a batch that takes long on a busy machine would be split.
	now := time.Now()
	b := &bench{T: t, faults: faults, store: openNew(t, Options{
		Synchronous: "normal", fault: faults.hook, Now: func() time.Time { return now },
	})}
	// Closing shreds the keys of what was rolled back last, and is not to fail.
	t.Cleanup(func() { faults.arm(0, "", nil) })
	b.store.OnCommit(func(c im.Commit) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.commits = append(b.commits, c)
	})
	return b
}

// heard are the commits that the listener was told of by the time that another
// transaction begins, which here may fail: those are told before that.
func (b *bench) heard() []im.Commit {
	_ = b.store.Ready(context.Background())
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.commits)
}

// manner is what the function of a job does.
type manner int

const (
	honest    manner = iota // returns errors
	swallows                // goes on after an error and says that all is well
	panics                  // panics when it gets an error
	readsOnly               // writes nothing
	refuses                 // refuses by a rule before it writes
	goneAway                // its caller's context has ended
	failsLate               // fails by itself after its last write
	explodes                // panics by itself after its last write
)

// job is a call of Write and what became of it.
type job struct {
	id     im.ID // of the conversation that it makes
	manner manner
	fn     func(tx im.Tx) error
	err    error
}

var errRule = im.Refuse(im.Conflict, "for_a_test", "for a test")

func (b *bench) job(m manner) *job {
	b.nextID++
	j := &job{id: b.nextID, manner: m}
	j.fn = func(tx im.Tx) error {
		err := j.write(tx)
		switch {
		case m == swallows:
			return nil
		case m == panics && err != nil:
			panic(err)
		case m == failsLate && err == nil:
			return errRule
		case m == explodes && err == nil:
			panic("for a test")
		}
		return err
	}
	return j
}

// write makes a conversation with a new user, messages that stay, burn and are
// erased, events and more, and if it swallows, goes on after errors.
func (j *job) write(tx im.Tx) error {
	user := im.UserID(fmt.Sprintf("user of %d", j.id))
	var first error
	try := func(err error) bool {
		if first == nil {
			first = err
		}
		return err == nil || j.manner == swallows
	}
	_, err := tx.Conversation(j.id)
	if errors.Is(err, im.ErrNotFound) {
		err = nil
	}
	if !try(err) {
		return first
	}
	switch j.manner {
	case readsOnly:
		return nil
	case refuses:
		return errRule
	default: // goes on writing
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
	j.takeBack(tx, user, try)
	return first
}

// takeBack has one message burn, erases another and gives receipts for all.
func (j *job) takeBack(tx im.Tx, user im.UserID, try func(error) bool) {
	for i, burn := range []*im.Burn{{UnreadTTL: time.Hour}, nil} {
		_, err := tx.InsertMessage(im.Message{
			ID: j.taken(i), Conversation: j.id, Sender: user, Type: im.Text, State: im.Active, Burn: burn,
			CreatedAt: fromMillis(0), Content: textX,
		})
		if !try(err) {
			return
		}
	}
	if !try(tx.StartBurn(j.taken(0), fromMillis(1))) {
		return
	}
	done, err := tx.Erase(j.taken(1), im.Erasure{State: im.Revoked, By: "an admin"}, fromMillis(2))
	if err == nil && !done {
		err = errors.New("not erased")
	}
	if !try(err) {
		return
	}
	// Apart, and then together, so that ranges are changed and removed.
	for _, r := range []im.SeqRange{{From: 1, To: 1}, {From: 3, To: 3}, {From: 1, To: 3}} {
		if _, err := tx.PutReceipt(im.Read, j.id, "a reader", r, fromMillis(3)); !try(err) {
			return
		}
	}
}

// taken is the id of the message that burns, 0, or of the one that is erased.
func (j *job) taken(i int) im.ID { return j.id + im.ID(i+2)<<40 }

// kept reports whether all of a job is there; part of it is a failure.
func (b *bench) kept(j *job) bool {
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
		burns, _ := r.Message(j.taken(0))
		got = append(got, burns.Burn != nil && burns.Burn.At.Equal(fromMillis(1)))
		erased, _ := r.Message(j.taken(1))
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
			b.Fatalf("a part of a transaction was kept: %v", got)
		}
	}
	return got[0]
}

// batch runs jobs in one transaction, of which one statement fails: they queue
// while the writer is held up.
func (b *bench) batch(jobs []*job, at int, only string, fail func(s *session, query string) error) {
	b.Helper()
	running, release := make(chan struct{}), make(chan struct{})
	held, err := b.store.writer.queue.add(context.Background(), func(im.Tx) error {
		close(running)
		<-release
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	select {
	case <-running:
	case err := <-held.done:
		b.Fatal(err)
	}
	calls := make([]*call, len(jobs))
	for i, j := range jobs {
		ctx, cancel := context.WithCancel(context.Background())
		if calls[i], err = b.store.writer.queue.add(ctx, j.fn); err != nil {
			b.Fatal(err)
		}
		if j.manner == goneAway {
			cancel()
		}
		defer cancel()
	}
	b.faults.arm(at, only, fail)
	close(release)
	if err := <-held.done; err != nil {
		b.Fatal(err)
	}
	for i, c := range calls {
		jobs[i].err = <-c.done
	}
}

// hold checks what must be so whatever has failed: who was answered well has
// everything there and who was not has nothing, and each error is one that its
// caller can make sense of.
func (b *bench) hold(jobs []*job) {
	b.Helper()
	for _, j := range jobs {
		kept := b.kept(j)
		if kept != (j.err == nil && j.manner != readsOnly) {
			b.Fatalf("job of manner %d: answered %v, kept %v", j.manner, j.err, kept)
		}
		e, refused := im.AsError(j.err)
		injected := refused && (e.Code == "storage_unavailable" || e.Code == "storage_full")
		switch {
		case j.manner == goneAway && !errors.Is(j.err, context.Canceled) && !injected,
			(j.manner == refuses || j.manner == failsLate) && e != errRule && !injected,
			(j.manner == honest || j.manner == swallows || j.manner == readsOnly) && j.err != nil && !injected,
			j.manner == explodes && j.err == nil:
			b.Fatalf("job of manner %d: answered %v", j.manner, j.err)
		}
	}
}

// told holds what the listener was told against the log, and the file against
// SQLite's own checks.
func (b *bench) checkPublished() {
	b.Helper()
	var stored, published []im.Position
	var integrity string
	err := b.store.View(context.Background(), func(r im.Reader) error {
		s := r.(*reader).session
		err := s.query("SELECT pos FROM events ORDER BY pos", nil, func(rows *sql.Rows) (bool, error) {
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
	for _, c := range b.heard() {
		if c.Gap {
			b.Fatal("the listener was told of a gap")
		}
		for _, e := range c.Events {
			published = append(published, e.Position)
		}
	}
	if !slices.Equal(stored, published) {
		b.Fatalf("stored    %v\npublished %v", stored, published)
	}
}

// every returns jobs of each manner, some of them twice.
func (b *bench) allJobs() []*job {
	return []*job{
		b.job(honest), b.job(refuses), b.job(swallows), b.job(goneAway), b.job(failsLate),
		b.job(panics), b.job(readsOnly), b.job(explodes), b.job(honest),
	}
}

// textX is what messages of a batch say.
var textX = &im.Content{Sent: []byte(`{"body":{"text":"x"},"type":"text"}`), Body: []byte(`{"text":"x"}`)}
