package sqlite

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// failingKeys are keys that can fail to be shredded or made.
type failingKeys struct {
	im.Keys
	shredFails, nextFails atomic.Pointer[error]
	tries                 atomic.Int64
	onShred               atomic.Pointer[func(try int64)] // called before keys are shredded
}

func (k *failingKeys) Shred(list []im.Shredding) error {
	try := k.tries.Add(1)
	if fn := k.onShred.Load(); fn != nil {
		(*fn)(try)
	}
	if err := k.shredFails.Load(); err != nil {
		return *err
	}
	return k.Keys.Shred(list)
}

func (k *failingKeys) Next() (im.Slot, im.Key, error) {
	if err := k.nextFails.Load(); err != nil {
		return 0, im.Key{}, *err
	}
	return k.Keys.Next()
}

// withFailingKeys opens a store with failingKeys.
func withFailingKeys(t *testing.T, path string, options Options) (*Store, *failingKeys) {
	t.Helper()
	keys := &failingKeys{}
	options.ReadLimit, options.Logger = time.Minute, quiet
	options = withKeys(path, options)
	open := options.Keys
	options.Keys = func(store im.StoreID, fresh bool) (_ im.Keys, err error) {
		keys.Keys, err = open(store, fresh)
		return keys, err
	}
	s, err := Open(t.Context(), path, options)
	if err != nil {
		t.Fatal(err)
	}
	return s, keys
}

// TestShreddingIsTriedAgain checks that erased messages are tombstones while the key file
// fails, and that their keys are shredded once it works, at the latest by the next start.
func TestShreddingIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	var failures, batches atomic.Int64
	s, keys := withFailingKeys(t, path, Options{Synchronous: "normal", ObserveShred: func(stats ShredStats) {
		if stats.Err != nil {
			failures.Add(1)
		} else {
			batches.Add(1)
		}
	}})
	createConversation(t, s)
	list := secrets(rand.New(rand.NewPCG(31, 32)), 20)
	sendAll(t, s, list)
	rows := sealedOf(t, s)
	failure := error(syscall.EIO)
	keys.shredFails.Store(&failure)
	before := keys.tries.Load()
	eraseAll(t, s, list[:5])
	checkSecrets(t, s, list)
	await.Until(t, "shredding is tried again", func() bool { return keys.tries.Load() >= before+2 })
	if n, since := s.Unshredded(); n != 5 || since.IsZero() || failures.Load() == 0 {
		t.Errorf("%d keys have waited since %v, %d failures were reported", n, since, failures.Load())
	}
	keys.shredFails.Store(nil)
	waitShredded(t, s)
	if n, _ := s.Unshredded(); n != 0 || batches.Load() == 0 {
		t.Errorf("%d keys wait, %d batches were reported", n, batches.Load())
	}

	keys.shredFails.Store(&failure)
	eraseAll(t, s, list[5:9])
	if err := s.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close with waiting keys: %v, want EIO", err)
	}
	keys.shredFails.Store(nil)
	s, keys = withFailingKeys(t, path, Options{Synchronous: "normal"})
	defer func() { _ = s.Close() }()
	for i, m := range list {
		_, err := keys.Key(im.Slot(rows[m.id].slot))
		if gone := errors.As(err, new(*im.ShreddedError)); gone != (i < 9) {
			t.Errorf("the key of message %d: %v", i, err)
		}
	}
	checkSecrets(t, s, list)
	if n := rowsOf(t, s, "doomed"); n != 0 {
		t.Errorf("%d keys remain to be shredded", n)
	}
	if n := rowsOf(t, s, "messages WHERE shredded_at IS NOT NULL"); n != 9 {
		t.Errorf("%d messages have a time of shredding, want 9", n)
	}
}

// TestShreddingDoesNotWaitForNotes checks that the key of a message is shredded while the notes of
// many earlier keys are still being deleted. Deleting takes a transaction and a pause for every few
// hundred notes, and the promise for a message is 5 s.
func TestShreddingDoesNotWaitForNotes(t *testing.T) {
	s, keys := withFailingKeys(t, filepath.Join(t.TempDir(), "imapi.db"), Options{Synchronous: "normal"})
	defer func() { _ = s.Close() }()
	createConversation(t, s)
	list := secrets(rand.New(rand.NewPCG(33, 34)), 1)
	sendAll(t, s, list)
	many := make([]doomed, 4*forgetBatch)
	for i := range many {
		slot, _, err := keys.Next()
		if err != nil {
			t.Fatal(err)
		}
		many[i].Shredding = im.Shredding{Slot: slot, Code: im.ShredRemoved}
	}
	err := s.Write(t.Context(), func(w im.Tx) error {
		for _, d := range many {
			if _, err := w.(*tx).session.exec(insertDoomed, int64(d.Slot), int64(d.Code), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var notes atomic.Int64
	first := keys.tries.Load() + 1
	step := func(try int64) {
		switch try {
		case first:
			eraseAll(t, s, list)
		case first + 1:
			notes.Store(int64(rowsOf(t, s, "doomed")))
		}
	}
	keys.onShred.Store(&step)
	s.shredder.add(many)
	await.Until(t, "the key of the message is shredded", func() bool { return keys.tries.Load() > first })
	waitShredded(t, s)
	if n, least := notes.Load(), int64(len(many)-forgetBatch); n < least {
		t.Errorf("%d notes remained when the message was shredded, want at least %d", n, least)
	}
	checkSecrets(t, s, list)
	await.Until(t, "no notes remain", func() bool { return rowsOf(t, s, "doomed") == 0 })
	if n := rowsOf(t, s, "messages WHERE shredded_at IS NOT NULL"); n != 1 {
		t.Errorf("%d messages have a time of shredding, want 1", n)
	}
}

// TestNoKeys checks that sends are refused with a reason while no keys can be made, and
// that erasing still works.
func TestNoKeys(t *testing.T) {
	s, keys := withFailingKeys(t, filepath.Join(t.TempDir(), "imapi.db"), Options{Synchronous: "normal"})
	defer func() { _ = s.Close() }()
	createConversation(t, s)
	list := secrets(rand.New(rand.NewPCG(33, 34)), 3)
	sendAll(t, s, list[:1])
	for failure, want := range map[error]im.ErrorKind{syscall.ENOSPC: im.Full, syscall.EIO: im.Unavailable} {
		keys.nextFails.Store(&failure)
		err := s.Write(t.Context(), func(tx im.Tx) error { return insertSecret(tx, list[1]) })
		if e, ok := im.AsError(err); !ok || e.Kind != want {
			t.Errorf("%v: %v", failure, err)
		}
	}
	if err := eraseSecret(s, list[0]); err != nil {
		t.Errorf("erase without new keys: %v", err)
	}
	keys.nextFails.Store(nil)
	sendAll(t, s, list[1:])
	list[0].erased.Store(true)
	checkSecrets(t, s, list)
}

// TestUnusedKeysAreShredded checks that the key of a content is shredded if the transaction
// is rolled back.
func TestUnusedKeysAreShredded(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	createConversation(t, s)
	list := secrets(rand.New(rand.NewPCG(35, 36)), 1)
	failure := errors.New("for a test")
	var slot im.Slot
	err := s.Write(t.Context(), func(w im.Tx) error {
		if err := insertSecret(w, list[0]); err != nil {
			return err
		}
		slot = w.(*tx).used[0]
		return failure
	})
	if !errors.Is(err, failure) || slot == 0 {
		t.Fatal(slot, err)
	}
	waitShredded(t, s)
	var gone *im.ShreddedError
	if _, err := s.sealer.keys.Key(slot); !errors.As(err, &gone) || gone.Code != im.ShredRemoved {
		t.Errorf("the key: %v", err)
	}
}

// TestErasureInDoubt checks that keys are shredded after a commit that reports an error but
// is durable.
func TestErasureInDoubt(t *testing.T) {
	faults := &injector{}
	s := openNew(t, Options{Synchronous: "normal", fault: faults.hook})
	createConversation(t, s)
	list := secrets(rand.New(rand.NewPCG(37, 38)), 2)
	sendAll(t, s, list)
	rows := sealedOf(t, s)
	faults.arm(0, "COMMIT", func(s *session, _ string) error {
		if _, err := s.conn.Exec("COMMIT", nil); err != nil {
			t.Error(err)
		}
		return sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrFsync}
	})
	if err := eraseSecret(s, list[0]); err == nil {
		t.Fatal("the commit did not fail")
	}
	faults.arm(0, "", nil)
	waitShredded(t, s)
	if _, err := s.sealer.keys.Key(im.Slot(rows[list[0].id].slot)); !errors.As(err, new(*im.ShreddedError)) {
		t.Errorf("the key: %v", err)
	}
	list[0].erased.Store(true)
	checkSecrets(t, s, list)
}

// TestReadOfErasedMeanwhile checks that a read with an old snapshot is repeated, and returns the
// tombstone, if the key of a message was shredded in the meantime.
func TestReadOfErasedMeanwhile(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	createConversation(t, s)
	list := secrets(rand.New(rand.NewPCG(39, 40)), 2)
	sendAll(t, s, list)
	runs := 0
	var got im.Message
	err := s.View(t.Context(), func(r im.Reader) (err error) {
		runs++
		if _, err := r.Message(list[1].id); err != nil { // begins the snapshot
			return err
		}
		if runs == 1 {
			if err := eraseSecret(s, list[0]); err != nil {
				return err
			}
			await.Until(t, "the key is shredded", func() bool { n, _ := s.Unshredded(); return n == 0 })
		}
		got, err = r.Message(list[0].id)
		return err
	})
	if err != nil || runs != 2 || got.State != im.Revoked || got.Content != nil || got.Erased.By != "alice" {
		t.Errorf("%d runs, %+v, %v", runs, got, err)
	}
}

// TestSealedIsBound checks that sealed content cannot be unsealed in another row or another
// store.
func TestSealedIsBound(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	createConversation(t, s)
	list := secrets(rand.New(rand.NewPCG(41, 42)), 2)
	sendAll(t, s, list)
	rows := sealedOf(t, s)
	one, other := rows[list[0].id], rows[list[1].id]
	if one.slot == other.slot || bytes.Equal(one.sealed, other.sealed) {
		t.Fatal("two messages share a slot")
	}
	r := &reader{sealer: s.sealer}
	if _, err := r.unseal(one.slot, other.sealed); !errors.Is(err, errContent) {
		t.Errorf("unseal in another row: %v, want errContent", err)
	}
	another := openNew(t, Options{Synchronous: "normal"})
	if _, err := (&reader{sealer: &sealer{keys: s.sealer.keys, store: another.sealer.store}}).unseal(one.slot, one.sealed); !errors.Is(err, errContent) {
		t.Errorf("unseal in another store: %v, want errContent", err)
	}
}
