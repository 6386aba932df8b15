package sqlite

import (
	"cmp"
	"context"
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
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/internal/testsize"
	"github.com/imapi/imapi/keyring"
	"github.com/imapi/imapi/storage/sqlite/disktest"
)

var cuts = flag.Int("cuts", 0, "how often TestPowerCuts cuts the power; 0 is 100 times, or 15 with -short")

// The marks that clients make on the disk.
type (
	// sent is an acknowledged message.
	sent struct {
		id   im.ID
		text string
		slot im.Slot
	}
	// eraseRequested is a message whose erasure was requested.
	eraseRequested struct{ id im.ID }
	// erasedMessage is a message whose erasure was acknowledged. It is a tombstone of the state, or
	// deleted if that is 0.
	erasedMessage struct {
		sent
		state im.State
	}
)

// onDisk makes the store keep its keys on a simulated disk.
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

// loadClient sends and erases messages in its own conversations, and marks every acknowledgement.
type loadClient struct {
	*testing.T
	*im.Service
	disk       *disktest.Disk
	store      *Store
	alice, bob im.Actor
	group      im.ConversationRef
	directs    []sent // in the direct conversation
	n          int
	// refused counts requests that were refused because the disk fails.
	refused map[im.ErrorKind]int
}

func newLoadClient(t *testing.T, disk *disktest.Disk, s *Store, service *im.Service, n int) *loadClient {
	w := &loadClient{
		T: t, Service: service, disk: disk, store: s,
		alice: im.Actor{User: im.UserID(fmt.Sprintf("alice%d", n))}, bob: im.Actor{User: im.UserID(fmt.Sprintf("bob%d", n))},
	}
	w.group, _ = w.newGroup()
	return w
}

// done reports whether a request succeeded. It must succeed, or be refused because of the
// disk.
func (w *loadClient) done(err error) bool {
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

func (w *loadClient) newGroup() (im.ConversationRef, bool) {
	c, err := w.CreateGroup(context.Background(), w.alice, im.GroupDraft{Name: "group", Members: []im.UserID{w.bob.User}})
	return im.ConversationRef{ID: c.ID}, w.done(err)
}

func (w *loadClient) direct() im.ConversationRef { return im.ConversationRef{Peer: w.bob.User} }

// send sends a message of random length.
func (w *loadClient) send(in im.ConversationRef, burn *im.Burn) (sent, bool) {
	w.n++
	text := fmt.Sprintf("%s sends %d%s", w.alice.User, w.n, strings.Repeat(".", rand.IntN(3000)))
	m, err := w.Send(context.Background(), w.alice, in, im.Draft{Type: im.Text, Body: fmt.Appendf(nil, `{"text":%q}`, text), Burn: burn})
	if !w.done(err) {
		return sent{}, false
	}
	return w.mark(m.Message.ID, text), true
}

// mark marks the acknowledgement of a message.
func (w *loadClient) mark(id im.ID, text string) sent {
	m := sent{id: id, text: text}
	err := w.store.View(context.Background(), func(r im.Reader) error {
		_, err := r.(*reader).session.row("SELECT slot FROM messages WHERE id = ?", []any{int64(id)}, &m.slot)
		return err
	})
	if err != nil {
		w.Error(err) // reads must not fail
	}
	w.disk.Mark(m)
	return m
}

// erase erases messages. They become tombstones of a state, or are deleted if state is 0.
func (w *loadClient) erase(state im.State, erase func(context.Context) error, list ...sent) {
	for _, m := range list {
		w.disk.Mark(eraseRequested{m.id})
	}
	if !w.done(erase(context.Background())) {
		return
	}
	for _, m := range list {
		w.disk.Mark(erasedMessage{m, state})
	}
}

// round sends messages and erases some of them in each way.
func (w *loadClient) round() {
	w.send(w.group, nil) // is not erased
	if m, ok := w.send(w.group, nil); ok {
		w.erase(im.Revoked, func(ctx context.Context) error {
			_, err := w.Revoke(ctx, w.alice, m.id, im.RevokeNote{Postscript: "sorry"})
			return err
		}, m)
	}
	if m, ok := w.send(w.direct(), &im.Burn{After: time.Minute, UnreadTTL: time.Hour}); ok {
		w.directs = append(w.directs, m)
		w.erase(im.Burned, func(ctx context.Context) error {
			_, err := w.Burn(ctx, w.bob, m.id)
			return err
		}, m)
	}
	if m, ok := w.send(w.direct(), nil); ok {
		w.directs = append(w.directs, m)
		w.erase(0, func(ctx context.Context) error {
			return w.DeleteConversation(ctx, w.bob, im.ConversationRef{Peer: w.alice.User})
		}, w.directs...)
	}
	w.done(w.Purge(context.Background()))
	w.trimOld()
}

// trimOld inserts a message into a group and then sets a retention that the message is past.
func (w *loadClient) trimOld() {
	group, ok := w.newGroup()
	if !ok {
		return
	}
	w.n++
	text := fmt.Sprintf("%s sent %d", w.alice.User, w.n)
	in, _, err := w.Insert(context.Background(), im.Actor{User: "root", Admin: true}, im.ImportMessage{
		Conversation: group.ID.String(), Sender: w.alice.User, Type: im.Text,
		Body: fmt.Appendf(nil, `{"text":%q}`, text), CreatedAt: time.Now().Add(-48 * time.Hour),
	})
	if !w.done(err) {
		return
	}
	w.erase(0, func(ctx context.Context) error {
		day := 24 * time.Hour
		keep := &day
		if _, err := w.UpdateConversation(ctx, w.alice, group, im.ConversationPatch{Retention: &keep}); err != nil {
			return err
		}
		return w.Trim(ctx, time.Time{}, nil)
	}, w.mark(in.ID, text))
}

// TestPowerCuts cuts the power at random points and loses any part of unsynced writes to
// the database, its log and the key file. When the store is open again, acknowledged
// messages must be readable, and the keys of acknowledged erasures must be shredded before
// anything is served.
func TestPowerCuts(t *testing.T) {
	dir := t.TempDir()
	disk := disktest.New(t, dir)
	step := steps.Begin(t)
	step("clients send and erase")
	var batches atomic.Int64
	s, err := Open(t.Context(), filepath.Join(dir, "imapi.db"), onDisk(disk, dir, Options{
		log:          smallLog,
		ObserveShred: func(ShredStats) { batches.Add(1) },
	}))
	if err != nil {
		t.Fatal(err)
	}
	service := im.NewService(s, im.DefaultPolicy(), nil)
	var clients sync.WaitGroup
	for n := range 4 {
		w := newLoadClient(t, disk, s, service, n)
		clients.Go(func() {
			for batches.Load() < 12 && !t.Failed() {
				w.round()
			}
		})
	}
	clients.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		return
	}
	step("cut the power, and open the rest")
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	replay := disk.Replay()
	counts := map[string]int{}
	cuts := cmp.Or(*cuts, testsize.Pick(100, 15))
	for n := range cuts {
		// One cut in each part of the run.
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
		// Cut again while the store starts.
		for again := range random.IntN(3) {
			image = cutStart(t, image, again, random)
		}
		checkAfterCut(t, image, marks, counts)
		if t.Failed() {
			t.Fatalf("after a cut at %d of %d", replay.Done(), replay.Len())
		}
	}
	step("all kinds of messages were met")
	t.Logf("%d operations, %v", replay.Len(), counts)
	for _, what := range []string{"sent", "revoked", "burned", "deleted", "in doubt"} {
		if counts[what] == 0 {
			t.Errorf("no message was %s at any cut", what)
		}
	}
}

// cutStart starts a store after a power cut, cuts the power again, and returns the
// directory.
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

// checkAfterCut opens a store after a power cut and compares it with the marks.
func checkAfterCut(t *testing.T, dir string, marks []any, counts map[string]int) {
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
	keys, err := os.ReadFile(filepath.Join(dir, "keys")) // read before anything is served
	if err != nil {
		t.Fatal(err)
	}
	hasKey := func(keys []byte, slot im.Slot) bool {
		at := slot * im.KeySize
		return uint64(at) < uint64(len(keys)) && strings.Trim(string(keys[at:at+im.KeySize-1]), "\x00") != ""
	}
	service := im.NewService(s, im.DefaultPolicy(), nil)
	were, inDoubt, erasures := map[im.ID]sent{}, map[im.ID]bool{}, map[im.ID]erasedMessage{}
	for _, mark := range marks {
		switch m := mark.(type) {
		case sent:
			were[m.id] = m
		case eraseRequested:
			inDoubt[m.id] = true
		case erasedMessage:
			erasures[m.id], inDoubt[m.id] = m, false
		}
	}
	for id, m := range were {
		admin := im.Actor{User: im.UserID(strings.Fields(m.text)[0])}
		got, err := service.Message(t.Context(), admin, id)
		refusal, _ := im.AsError(err)
		missing := refusal != nil && refusal.Kind == im.NotFound
		erasedMessage, erased := erasures[id]
		switch {
		case erased && erasedMessage.state == 0:
			counts["deleted"]++
			if !missing {
				t.Errorf("deleted, but reads %+v, %v", got, err)
			}
		case erased:
			counts[erasedMessage.state.String()]++
			if (err != nil || got.State != erasedMessage.state || got.Content != nil) && (!missing || !inDoubt[id]) {
				t.Errorf("%v, but reads %+v, %v", erasedMessage.state, got, err)
			}
			if hasKey(keys, m.slot) {
				t.Errorf("%v, but its key is in the file", erasedMessage.state)
			}
		case inDoubt[id] && (missing || err == nil && got.State != im.Active):
			counts["in doubt"]++
		case err != nil || got.State != im.Active || !strings.Contains(string(got.Content.Body), m.text):
			t.Errorf("sent, but reads %+v, %v", got, err)
		default:
			counts["sent"]++
		}
		if t.Failed() {
			return
		}
	}
	// Trims and purges in progress continue.
	if err := errors.Join(service.Purge(t.Context()), service.Trim(t.Context(), time.Time{}, nil)); err != nil {
		t.Error(err)
	}
	waitShredded(t, s)
	if keys, err = os.ReadFile(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	for _, m := range erasures {
		if hasKey(keys, m.slot) {
			t.Errorf("%+v, but its key is in the file", m.state)
		}
	}
	err = s.View(t.Context(), func(r im.Reader) error {
		return r.(*reader).session.query("PRAGMA integrity_check", nil, func(rows row) (bool, error) {
			var result string
			err := rows.Scan(&result)
			if result != "ok" {
				t.Errorf("the database: %s", result)
			}
			return true, err
		})
	})
	if err != nil {
		t.Error(err)
	}
}
