package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/im"
)

// TestFaultWhileRemoving breaks every few statements of trimming and purging,
// in every way. What is there then fits together, and the next
// call does the rest.
func TestFaultWhileRemoving(t *testing.T) {
	for _, driverError := range driverErrors {
		for _, gone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/rolledBack=%v", driverError, gone), func(t *testing.T) {
				t.Parallel()
				breakRemoving(t, driverError, gone)
			})
		}
	}
}

func breakRemoving(t *testing.T, driverError sqlite3.Error, gone bool) {
	const each = 60
	faults := &injector{}
	dir := t.TempDir()
	s, keys := withFickleKeys(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal", fault: faults.hook})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	failure := error(driverError)
	w := newTown(t, s, 3)
	w.found()
	for at := 0; ; at += 17 {
		id := w.found()
		w.say(each)
		// While keys cannot be shredded the shredder writes nothing: the fault must meet
		// a call of the test.
		keys.shredFails.Store(&failure)
		tries := keys.tries.Load()
		for _, m := range w.pick(func(m *spoken) bool { return m.in == id }) {
			m.note = newMarker(w.random)
			w.erase([]*spoken{m})
			if m.id%8 == 0 {
				break
			}
		}
		w.say(each) // so that what goes is not at the end
		until(t, "the shredder has not stopped", func() bool { return keys.tries.Load() > tries })
		faults.arm(at, "", func(s *session, _ string) error {
			if gone {
				return rolledBack(s, driverError)
			}
			return driverError
		})
		before := int64(w.next) - each
		errs := []error{
			w.tryTrim(w.conversations[0], before), w.tryDelete(id), w.tryPurge(id),
		}
		hit, statements := faults.hit()
		if failed := errors.Join(errs...) != nil; failed != hit {
			t.Fatalf("statement %d of %d was hit: %v, told: %v", at, statements, hit, errs)
		}
		w.fits()
		faults.arm(0, "", nil)
		keys.shredFails.Store(nil)
		w.trim(w.conversations[0], before)
		if w.is(id, "deleted_at IS NULL") {
			w.must(w.tryDelete(id))
		}
		w.gone[id] = true
		w.purgeRest(id)
		w.hold()
		if !hit {
			if statements < 60 {
				t.Errorf("there were but %d statements", statements)
			}
			break
		}
	}
	w.intact()
	w.traces.nowhere(t, dir)
}

// tryTrim trims until it is done or fails.
func (w *town) tryTrim(id im.ID, before int64) error {
	for {
		var step im.Trimmed
		err := w.Write(context.Background(), func(t im.Tx) (err error) {
			step, err = t.Trim(id, fromMillis(before), 40, fromMillis(before))
			return err
		})
		if err != nil || step.Done {
			return err
		}
	}
}

func (w *town) tryDelete(id im.ID) error {
	return w.Write(context.Background(), func(t im.Tx) error {
		pos, err := t.Append(im.Event{Type: im.ConversationDeleted, Conversation: id, Actor: "alice"})
		if err != nil {
			return err
		}
		return t.DeleteConversation(id, fromMillis(1), pos)
	})
}

// tryPurge purges until it is done or fails.
func (w *town) tryPurge(id im.ID) error {
	for done := false; !done; {
		err := w.Write(context.Background(), func(t im.Tx) (err error) {
			done, err = t.Purge(id, 40, fromMillis(0))
			return err
		})
		if errors.Is(err, im.ErrNotFound) {
			return nil // it was not deleted
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// is reports whether a condition holds for a conversation.
func (w *town) is(id im.ID, condition string) bool {
	w.Helper()
	return w.number(fmt.Sprintf("SELECT count(*) FROM conversations WHERE id = %d AND %s", id, condition)) == 1
}

// fits holds what is stored against itself, whatever was done of it.
func (w *town) fits() {
	w.Helper()
	for what, query := range map[string]string{
		"messages are not sealed as their states say": missealed,
		"conversations do not know what is left":      misknown,
		"stays go on in what was deleted": `SELECT count(*) FROM intervals i CROSS JOIN conversations c ON c.id = i.conversation_id
			WHERE c.deleted_at IS NOT NULL AND (i.to_event > (SELECT max(pos) FROM events) OR i.to_seq IS NULL)`,
		"conversations are purged with something left": `SELECT count(*) FROM conversations c WHERE purged = 1
			AND EXISTS (SELECT 1 FROM messages WHERE conversation_id = c.id)`,
	} {
		if n := w.number(query); n != 0 {
			w.Errorf("%d %s", n, what)
		}
	}
	if w.Failed() {
		w.FailNow()
	}
}
