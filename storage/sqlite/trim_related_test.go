package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

// TestFaultWhileTrimming makes every 17th statement of trims and purges fail in every way. In a
// short run the ways share these statements: each way tests every sixth. The stored rows must be
// consistent afterwards, and the next call must complete the work.
func TestFaultWhileTrimming(t *testing.T) {
	for i, driverError := range driverErrors {
		for j, rollback := range []bool{false, true} {
			first, step := testsize.Pick(0, 2*i+j), testsize.Pick(1, 2*len(driverErrors))
			t.Run(fmt.Sprint(driverError, afterError[rollback]), func(t *testing.T) {
				t.Parallel()
				breakTrimming(t, driverError, rollback, 17*first, 17*step)
			})
		}
	}
}

func breakTrimming(t *testing.T, driverError sqlite3.Error, rollback bool, first, step int) {
	const each = 60
	faults := &injector{}
	dir := t.TempDir()
	s, keys := withFailingKeys(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal", fault: faults.hook})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	failure := error(driverError)
	w := newTrimWorld(t, s, 3)
	w.createGroup()
	for at := first; ; at += step {
		id := w.createGroup()
		w.send(each)
		// Keep the shredder from writing, so that the fault hits a call of the test.
		keys.shredFails.Store(&failure)
		tries := keys.tries.Load()
		w.erase(w.activeWhere(func(*trackedMessage) bool { return true })[:1]) // provides a key to shred
		for _, m := range w.activeWhere(func(m *trackedMessage) bool { return m.in == id }) {
			m.note = newMarker(w.random)
			w.erase([]*trackedMessage{m})
			if m.id%8 == 0 {
				break
			}
		}
		w.send(each) // after the deleted messages, so that these are not the last
		await.Until(t, "the shredder has stopped", func() bool {
			waiting, _ := s.Unshredded() // 0 if no message of the group was erased
			return waiting == 0 || keys.tries.Load() > tries
		})
		faults.arm(at, "", func(s *session, _ string) error {
			if rollback {
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
			t.Fatalf("statement %d of %d failed: %v, errors: %v", at, statements, hit, errs)
		}
		w.checkConsistent()
		faults.arm(0, "", nil)
		keys.shredFails.Store(nil)
		w.trim(w.conversations[0], before)
		if w.matches(id, "deleted_at IS NULL") {
			w.must(w.tryDelete(id))
		}
		w.deletedGroups[id] = true
		w.purge(id)
		w.check()
		if !hit {
			if statements < 60 {
				t.Errorf("there were only %d statements", statements)
			}
			break
		}
	}
	w.checkIntegrity()
	w.traces.checkAbsent(t, dir)
}

// tryTrim trims until nothing is left to trim or a step fails.
func (w *trimWorld) tryTrim(id im.ID, before int64) error {
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

func (w *trimWorld) tryDelete(id im.ID) error {
	return w.Write(context.Background(), func(t im.Tx) error {
		pos, err := t.Append(im.Event{Type: im.ConversationDeleted, Conversation: id, Actor: "alice"})
		if err != nil {
			return err
		}
		return t.DeleteConversation(id, fromMillis(1), pos)
	})
}

// tryPurge purges until nothing is left or a step fails.
func (w *trimWorld) tryPurge(id im.ID) error {
	for done := false; !done; {
		err := w.Write(context.Background(), func(t im.Tx) (err error) {
			done, err = t.Purge(id, 40, fromMillis(0))
			return err
		})
		if errors.Is(err, im.ErrNotFound) {
			return nil // not deleted
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// matches reports whether a condition holds for a conversation.
func (w *trimWorld) matches(id im.ID, condition string) bool {
	w.Helper()
	return w.count(fmt.Sprintf("SELECT count(*) FROM conversations WHERE id = %d AND %s", id, condition)) == 1
}

// checkConsistent checks that the stored rows are consistent, whatever happened.
func (w *trimWorld) checkConsistent() {
	w.Helper()
	for what, query := range map[string]string{
		"messages have sealed content that does not match their state": countMissealed,
		"conversations have a wrong first seq or oldest time":          countStale,
		"stays continue in deleted conversations": `SELECT count(*) FROM intervals i CROSS JOIN conversations c ON c.id = i.conversation_id
			WHERE c.deleted_at IS NOT NULL AND (i.to_event > (SELECT max(pos) FROM events) OR i.to_seq IS NULL)`,
		"purged conversations still have messages": `SELECT count(*) FROM conversations c WHERE purged = 1
			AND EXISTS (SELECT 1 FROM messages WHERE conversation_id = c.id)`,
	} {
		if n := w.count(query); n != 0 {
			w.Errorf("%d %s", n, what)
		}
	}
	if w.Failed() {
		w.FailNow()
	}
}
