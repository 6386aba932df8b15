package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
	"github.com/imapi/imapi/keyring"
	"github.com/imapi/imapi/storage/sqlite/disktest"
)

var cuts = flag.Int("cuts", 100, "how often the power is cut in TestPowerCuts")

// The marks of what a user knows.
type (
	// sent is a message that was acknowledged.
	sent struct {
		id   im.ID
		text string
		slot im.Slot
	}
	// asked is one that somebody has asked to be erased.
	asked struct{ id im.ID }
	// taken is one that was acknowledged as erased: of which a tombstone stays in a
	// state, or nothing if that is 0.
	taken struct {
		sent
		state im.State
	}
)

// onDisk has the store keep its keys on a disk for tests, where its own file is, too.
func onDisk(disk *disktest.Disk, dir string, options Options) Options {
	options.ReadLimit, options.Logger = time.Minute, quiet
	options.Keys = func(store im.StoreID, fresh bool) (im.Keys, error) {
		if fresh {
			if err := keyring.Create(filepath.Join(dir, "keys"), store); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, err
			}
		}
		f, err := disk.OpenFile("keys")
		if err != nil {
			return nil, err
		}
		return keyring.OpenOn(f, store)
	}
	return options
}

// speaker sends and erases in conversations of its own, and marks what it was told.
type speaker struct {
	*testing.T
	*im.Service
	disk       *disktest.Disk
	store      *Store
	alice, bob im.Actor
	group      im.ConversationRef
	between    []sent // the two
	n          int
	// refused counts what was refused because the disk fails, which it may.
	refused map[im.ErrorKind]int
}

func newSpeaker(t *testing.T, disk *disktest.Disk, s *Store, service *im.Service, n int) *speaker {
	w := &speaker{
		T: t, Service: service, disk: disk, store: s,
		alice: im.Actor{User: im.UserID(fmt.Sprintf("alice%d", n))}, bob: im.Actor{User: im.UserID(fmt.Sprintf("bob%d", n))},
	}
	w.group, _ = w.newGroup()
	return w
}

// done reports whether a request was done. It must be, or be refused because of the disk.
func (w *speaker) done(err error) bool {
	w.Helper()
	if e, ok := im.AsError(err); w.refused != nil && ok && (e.Kind == im.Full || e.Kind == im.Unavailable) {
		w.refused[e.Kind]++
		return false
	}
	if err != nil {
		w.Error(err)
	}
	return err == nil
}

func (w *speaker) newGroup() (im.ConversationRef, bool) {
	c, err := w.CreateGroup(context.Background(), w.alice, im.GroupDraft{Name: "group", Members: []im.UserID{w.bob.User}})
	return im.ConversationRef{ID: c.ID}, w.done(err)
}

func (w *speaker) direct() im.ConversationRef { return im.ConversationRef{Peer: w.bob.User} }

// say sends a message of any length.
func (w *speaker) say(in im.ConversationRef, burn *im.Burn) (sent, bool) {
	w.n++
	text := fmt.Sprintf("%s says %d%s", w.alice.User, w.n, strings.Repeat(".", rand.IntN(3000)))
	m, err := w.Send(context.Background(), w.alice, in, im.Draft{Type: im.Text, Body: fmt.Appendf(nil, `{"text":%q}`, text), Burn: burn})
	if !w.done(err) {
		return sent{}, false
	}
	return w.known(m.Message.ID, text), true
}

// known marks a message that was acknowledged.
func (w *speaker) known(id im.ID, text string) sent {
	m := sent{id: id, text: text}
	err := w.store.View(context.Background(), func(r im.Reader) error {
		_, err := r.(*reader).session.row("SELECT slot FROM messages WHERE id = ?", []any{int64(id)}, &m.slot)
		return err
	})
	if err != nil {
		w.Error(err) // reading does not take the disk
	}
	w.disk.Mark(m)
	return m
}

// take erases messages, of which tombstones stay in a state, or nothing if that is 0.
func (w *speaker) take(state im.State, erase func(context.Context) error, list ...sent) {
	for _, m := range list {
		w.disk.Mark(asked{m.id})
	}
	if !w.done(erase(context.Background())) {
		return
	}
	for _, m := range list {
		w.disk.Mark(taken{m, state})
	}
}

// round erases in each way.
func (w *speaker) round() {
	w.say(w.group, nil) // and stays
	if m, ok := w.say(w.group, nil); ok {
		w.take(im.Revoked, func(ctx context.Context) error {
			_, err := w.Revoke(ctx, w.alice, m.id, im.RevokeNote{Postscript: "sorry"})
			return err
		}, m)
	}
	if m, ok := w.say(w.direct(), &im.Burn{After: time.Minute, UnreadTTL: time.Hour}); ok {
		w.between = append(w.between, m)
		w.take(im.Burned, func(ctx context.Context) error {
			_, err := w.Burn(ctx, w.bob, m.id)
			return err
		}, m)
	}
	if m, ok := w.say(w.direct(), nil); ok {
		w.between = append(w.between, m)
		w.take(0, func(ctx context.Context) error {
			return w.DeleteConversation(ctx, w.bob, im.ConversationRef{Peer: w.alice.User})
		}, w.between...)
	}
	w.done(w.Purge(context.Background()))
	w.old()
}

// old puts in what is past the retention that its group gets then.
func (w *speaker) old() {
	group, ok := w.newGroup()
	if !ok {
		return
	}
	w.n++
	text := fmt.Sprintf("%s said %d", w.alice.User, w.n)
	in, _, err := w.Insert(context.Background(), im.Actor{User: "root", Admin: true}, im.ImportMessage{
		Conversation: group.ID.String(), Sender: w.alice.User, Type: im.Text,
		Body: fmt.Appendf(nil, `{"text":%q}`, text), CreatedAt: time.Now().Add(-48 * time.Hour),
	})
	if !w.done(err) {
		return
	}
	w.take(0, func(ctx context.Context) error {
		day := 24 * time.Hour
		keep := &day
		if _, err := w.UpdateConversation(ctx, w.alice, group, im.ConversationPatch{Retention: &keep}); err != nil {
			return err
		}
		return w.Trim(ctx, time.Time{}, nil)
	}, w.known(in.ID, text))
}

// TestPowerCuts: wherever the power is cut, and whatever is lost of what was not synced,
// in the database, its log and the key file: what was acknowledged as sent can be read
// once the store is open again, and what was acknowledged as erased is a tombstone whose
// key is shredded, before anything is served.
func TestPowerCuts(t *testing.T) {
	dir := t.TempDir()
	disk := disktest.New(t, dir)
	var batches atomic.Int64
	s, err := Open(t.Context(), filepath.Join(dir, "imapi.db"), onDisk(disk, dir, Options{
		log:          smallLog,
		ObserveShred: func(ShredStats) { batches.Add(1) },
	}))
	if err != nil {
		t.Fatal(err)
	}
	service := im.NewService(s, im.DefaultPolicy(), nil)
	var speakers sync.WaitGroup
	for n := range 4 {
		w := newSpeaker(t, disk, s, service, n)
		speakers.Go(func() {
			for batches.Load() < 12 && !t.Failed() {
				w.round()
			}
		})
	}
	speakers.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		return
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	replay := disk.Replay()
	counts := map[string]int{}
	cuts := testsize.Pick(*cuts, 15)
	for n := range cuts {
		// One in each part of the run, past the start.
		part := replay.Len() / cuts
		replay.To(n*part + 1 + random.IntN(part))
		marks := replay.Marks()
		if len(marks) == 0 {
			continue
		}
		image := filepath.Join(t.TempDir(), fmt.Sprint(n))
		if err := replay.Cut(image, disktest.Loss(random.IntN(3)), random); err != nil {
			t.Fatal(err)
		}
		// Also once more while the store starts.
		for again := range random.IntN(3) {
			image = cutStart(t, image, again, random)
		}
		holdsAfter(t, image, marks, counts)
		if t.Failed() {
			t.Fatalf("after a cut at %d of %d", replay.Done(), replay.Len())
		}
	}
	t.Logf("%d operations, %v", replay.Len(), counts)
	for _, what := range []string{"sent", "revoked", "burned", "removed", "in doubt"} {
		if counts[what] == 0 {
			t.Errorf("there was nothing %s at any cut", what)
		}
	}
}

// cutStart has a store start on what a power cut left, cuts the power once more, and
// returns what is left.
func cutStart(t *testing.T, dir string, again int, random *rand.Rand) string {
	disk := disktest.New(t, dir)
	s, err := Open(t.Context(), filepath.Join(dir, "imapi.db"), onDisk(disk, dir, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	replay := disk.Replay()
	replay.To(replay.Len() - random.IntN(replay.Len()/2))
	image := fmt.Sprintf("%s-%d", dir, again)
	if err := replay.Cut(image, disktest.Loss(random.IntN(3)), random); err != nil {
		t.Fatal(err)
	}
	return image
}

// holdsAfter opens what is left of a store and holds what was known before the cut
// against it.
func holdsAfter(t *testing.T, dir string, marks []any, counts map[string]int) {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(dir, "imapi.db"), withKeys(filepath.Join(dir, "imapi.db"), Options{Logger: quiet, ReadLimit: time.Minute}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	keys, err := os.ReadFile(filepath.Join(dir, "keys")) // as it is before anything is served
	if err != nil {
		t.Fatal(err)
	}
	hasKey := func(keys []byte, slot im.Slot) bool {
		at := slot * im.KeySize
		return uint64(at) < uint64(len(keys)) && strings.Trim(string(keys[at:at+im.KeySize-1]), "\x00") != ""
	}
	service := im.NewService(s, im.DefaultPolicy(), nil)
	were, inDoubt, gone := map[im.ID]sent{}, map[im.ID]bool{}, map[im.ID]taken{}
	for _, mark := range marks {
		switch m := mark.(type) {
		case sent:
			were[m.id] = m
		case asked:
			inDoubt[m.id] = true
		case taken:
			gone[m.id], inDoubt[m.id] = m, false
		}
	}
	for id, m := range were {
		admin := im.Actor{User: im.UserID(strings.Fields(m.text)[0])}
		got, err := service.Message(t.Context(), admin, id)
		refusal, _ := im.AsError(err)
		missing := refusal != nil && refusal.Kind == im.NotFound
		taken, erased := gone[id]
		switch {
		case erased && taken.state == 0:
			counts["removed"]++
			if !missing {
				t.Errorf("removed, and reads %+v, %v", got, err)
			}
		case erased:
			counts[taken.state.String()]++
			if (err != nil || got.State != taken.state || got.Content != nil) && (!missing || !inDoubt[id]) {
				t.Errorf("%v, and reads %+v, %v", taken.state, got, err)
			}
			if hasKey(keys, m.slot) {
				t.Errorf("%v, and its key is there", taken.state)
			}
		case inDoubt[id] && (missing || err == nil && got.State != im.Active):
			counts["in doubt"]++
		case err != nil || got.State != im.Active || !strings.Contains(string(got.Content.Body), m.text):
			t.Errorf("sent, and reads %+v, %v", got, err)
		default:
			counts["sent"]++
		}
		if t.Failed() {
			return
		}
	}
	// What is erased in batches goes on.
	if err := errors.Join(service.Purge(t.Context()), service.Trim(t.Context(), time.Time{}, nil)); err != nil {
		t.Error(err)
	}
	shredded(t, s)
	if keys, err = os.ReadFile(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	for _, m := range gone {
		if hasKey(keys, m.slot) {
			t.Errorf("%+v is gone, and its key is there", m.state)
		}
	}
	err = s.View(t.Context(), func(r im.Reader) error {
		return r.(*reader).session.query("PRAGMA integrity_check", nil, func(rows *sql.Rows) (bool, error) {
			var says string
			err := rows.Scan(&says)
			if says != "ok" {
				t.Errorf("the database: %s", says)
			}
			return true, err
		})
	})
	if err != nil {
		t.Error(err)
	}
}
