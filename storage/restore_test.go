package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/keyring"
)

// site is a data directory and one for backups, and the use cases on the first.
type site struct {
	testing.TB
	data, backups string
	options       Options
	policy        im.Policy
	passed        atomic.Int64 // of the clock

	store im.Store
	*im.Service
	conversation im.ConversationRef
}

func newSite(t testing.TB) *site {
	s := &site{
		TB: t, data: filepath.Join(t.TempDir(), "data"), backups: filepath.Join(t.TempDir(), "backups"),
		policy: im.DefaultPolicy(),
	}
	s.policy.RevokeWindow, s.policy.BurnAny = 0, true
	s.policy.Retention = time.Hour
	s.options = Options{DataDir: s.data, Synchronous: "normal", ReadLimit: time.Minute, Now: s.clock, Logger: slog.New(slog.DiscardHandler)}
	s.open()
	t.Cleanup(s.close)
	c, err := s.CreateGroup(t.Context(), alice, im.GroupDraft{Name: "here", Members: []im.UserID{"bob"}})
	s.must(err)
	s.conversation = im.ConversationRef{ID: c.ID}
	return s
}

var alice, bob = im.Actor{User: "alice"}, im.Actor{User: "bob"}

// clock is read by goroutines of the store.
func (s *site) clock() time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(s.passed.Load()))
}

// pass lets time pass.
func (s *site) pass(d time.Duration) { s.passed.Add(int64(d)) }

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) open() {
	s.Helper()
	s.must(s.tryOpen())
}

func (s *site) tryOpen() (err error) {
	s.Helper()
	if s.store, err = Open(context.Background(), "", s.options); err == nil {
		s.Service = im.NewService(s.store, s.policy, s.clock)
	} else {
		s.store = nil
	}
	return err
}

func (s *site) close() {
	s.Helper()
	if s.store != nil {
		s.must(s.store.Close())
		s.store = nil
	}
}

func (s *site) send(text string) im.Message {
	s.Helper()
	return s.sendTo(s.conversation, text)
}

func (s *site) sendTo(to im.ConversationRef, text string) im.Message {
	s.Helper()
	body, err := json.Marshal(map[string]string{"text": text})
	s.must(err)
	sent, err := s.Send(context.Background(), alice, to, im.Draft{ClientID: "c-" + text, Type: im.Text, Body: body})
	s.must(err)
	return sent.Message
}

func (s *site) backup() string {
	s.Helper()
	b, err := s.store.(im.Backuper).Backup(context.Background(), s.backups, nil)
	s.must(err)
	s.pass(time.Second)
	return b.Path
}

// restore puts a backup in place and opens it.
func (s *site) restore(file, keysFrom string) {
	s.Helper()
	s.close()
	s.pass(time.Second)
	_, err := Restore(context.Background(), "", s.options, Restoring{File: file, KeysFrom: keysFrom})
	s.must(err)
	s.open()
}

// shredded waits until all that was erased is.
func (s *site) shredded() {
	s.Helper()
	for range 1000 {
		if n, _ := s.store.Unshredded(); n == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Fatal("what was erased is not shredded")
}

// is checks what has become of a message.
func (s *site) is(m im.Message, want im.State) {
	s.Helper()
	got, err := s.Message(context.Background(), bob, m.ID)
	switch {
	case want == 0 && err == nil:
		s.Errorf("%s is there, %v", m.ClientID, got.State)
	case want == 0:
	case err != nil:
		s.Errorf("%s: %v", m.ClientID, err)
	case got.State != want || (got.Content != nil) != (want == im.Active):
		s.Errorf("%s is %v with content %t, want %v", m.ClientID, got.State, got.Content != nil, want)
	}
}

// erasures makes messages that are taken back in each way after a backup, and what has to
// become of them.
type erasures struct {
	stays, revoked, burned, expired, trimmed im.Message
	direct                                   im.Message
}

func (s *site) speak() (e erasures) {
	s.Helper()
	e.trimmed = s.send("trimmed")
	s.pass(45 * time.Minute)
	e.stays, e.revoked = s.send("stays"), s.send("revoked")
	e.direct = s.sendTo(im.ConversationRef{Peer: "bob"}, "burned")
	e.burned = e.direct
	sent, err := s.Send(context.Background(), alice, s.conversation, im.Draft{
		ClientID: "c-expired", Type: im.Text, Body: json.RawMessage(`{"text":"expired"}`), ExpireAfter: 10 * time.Minute,
	})
	s.must(err)
	e.expired = sent.Message
	return e
}

func (s *site) takeBack(e erasures) {
	s.Helper()
	ctx := context.Background()
	_, err := s.Revoke(ctx, alice, e.revoked.ID, im.RevokeNote{Postscript: "sorry"})
	s.must(err)
	_, err = s.Burn(ctx, bob, e.burned.ID)
	s.must(err)
	s.pass(20 * time.Minute)
	_, _, err = s.EraseDue(ctx)
	s.must(err)
	s.must(s.Trim(ctx, time.Time{}, nil))
	s.rename("another name")
	s.shredded()
}

func (s *site) rename(name string) {
	s.Helper()
	_, err := s.UpdateConversation(context.Background(), alice, s.conversation, im.ConversationPatch{Name: &name})
	s.must(err)
}

func (s *site) isCalled(want string) {
	s.Helper()
	c, err := s.Conversation(context.Background(), alice, s.conversation)
	s.must(err)
	if c.Name != want {
		s.Errorf("it is called %q, want %q", c.Name, want)
	}
}

func (s *site) areTakenBack(e erasures) {
	s.Helper()
	s.is(e.stays, im.Active)
	s.is(e.revoked, im.Revoked)
	s.is(e.burned, im.Burned)
	s.is(e.expired, im.Expired)
	s.is(e.trimmed, 0)
	// Retries bring nothing back.
	for _, m := range []im.Message{e.revoked, e.expired, e.trimmed} {
		text := strings.TrimPrefix(m.ClientID, "c-")
		sent, err := s.Send(context.Background(), alice, s.conversation, im.Draft{
			ClientID: m.ClientID, Type: im.Text, Body: json.RawMessage(fmt.Sprintf(`{"text":%q}`, text)),
		})
		var refusal *im.Error
		gone := errors.As(err, &refusal) && refusal.Kind == im.Gone
		if !gone && (err != nil || !sent.Again || sent.Message.Content != nil) {
			s.Errorf("%s was sent again: %+v, %v", m.ClientID, sent, err)
		}
	}
}

// TestRestoreUnderPresentKeys: what was erased since the backup is erased in it, in the
// same way; cursors up to the backup are good, those of the time after it are not, and
// those who were told nothing are told of each erasure.
func TestRestoreUnderPresentKeys(t *testing.T) {
	s := newSite(t)
	e := s.speak()
	before := s.store.Instance().Log
	head, err := s.LogBounds(t.Context())
	s.must(err)
	file := s.backup()
	later := s.send("after the backup")
	s.takeBack(e)
	s.areTakenBack(e)
	lastSeen, err := s.LogBounds(t.Context())
	s.must(err)
	s.restore(file, "")
	s.areTakenBack(e)
	s.is(later, 0)
	bounds, err := s.LogBounds(t.Context())
	s.must(err)
	if now := s.store.Instance().Log; now == before {
		t.Error("the log is the same")
	}
	if len(bounds.Past) != 1 || bounds.Past[0] != (im.PastLog{Log: before, Head: head.Head}) || bounds.Past[0].Head >= lastSeen.Head {
		t.Errorf("the logs before are %v, want %d up to %d", bounds.Past, before, head.Head)
	}
	// What it was called is gone, what it was called since is not known: it can be named.
	s.isCalled("")
	s.rename("here again")
	s.isCalled("here again")
	s.shredded()
	erased := map[im.ID]bool{}
	page, err := s.Erasures(t.Context(), im.Actor{User: "root", Admin: true}, im.ErasureQuery{Limit: 100})
	s.must(err)
	for _, x := range page.Items {
		erased[x.ID] = !x.Shredded.IsZero()
	}
	for _, m := range []im.Message{e.revoked, e.burned, e.expired} {
		if !erased[m.ID] {
			t.Errorf("of %s it is not known when its key was shredded", m.ClientID)
		}
	}
	told := map[im.EventType][]im.ID{}
	w, err := s.Events(t.Context(), bob, head.Head, bounds.Head, 100)
	s.must(err)
	for _, ev := range w.Events {
		told[ev.Type] = append(told[ev.Type], ev.MessageID)
	}
	for typ, m := range map[im.EventType]im.Message{im.MessageRevoked: e.revoked, im.MessageBurned: e.burned, im.MessageExpired: e.expired} {
		if len(told[typ]) != 1 || told[typ][0] != m.ID {
			t.Errorf("%s was told of %v, want %v", typ, told[typ], m.ID)
		}
	}
	// It is as good as any store: once more, and what is erased now stays so.
	s.shredded()
	log := s.store.Instance().Log
	s.close()
	s.open()
	s.areTakenBack(e)
	if now := s.store.Instance().Log; now != log {
		t.Error("a plain start has begun another log")
	}
	if m := s.send("new"); m.ID <= later.ID {
		t.Errorf("the id %v was given after %v", m.ID, later.ID)
	}
}

// TestRestoreTwice: a backup of after a restore, and one of before it.
func TestRestoreTwice(t *testing.T) {
	s := newSite(t)
	one := s.send("one")
	first := s.backup()
	two := s.send("two")
	s.restore(first, "")
	s.is(one, im.Active)
	s.is(two, 0)
	three := s.send("three")
	second := s.backup()
	_, err := s.Revoke(t.Context(), alice, three.ID, im.RevokeNote{})
	s.must(err)
	s.shredded()
	s.restore(second, "")
	s.is(one, im.Active)
	s.is(three, im.Revoked)
	if past := s.store.Instance().PastLogs; len(past) != 2 || past[0].Head > past[1].Head {
		t.Errorf("the logs before are %v", past)
	}
	s.restore(first, "")
	s.is(one, im.Active)
	s.is(three, 0)
	if past := s.store.Instance().PastLogs; len(past) != 1 {
		t.Errorf("the logs before are %v", past)
	}
}

// TestOlderDatabaseWithoutRestore: somebody has copied the file back by hand.
func TestOlderDatabaseWithoutRestore(t *testing.T) {
	s := newSite(t)
	e := s.speak()
	s.close()
	older := readFile(t, filepath.Join(s.data, "imapi.db"))
	s.open()
	log := s.store.Instance().Log
	s.takeBack(e)
	s.close()
	writeFile(t, filepath.Join(s.data, "imapi.db"), older)
	s.open()
	s.areTakenBack(e)
	if s.store.Instance().Log == log {
		t.Error("the log is the same")
	}
}

// TestOlderDatabaseWithoutErasures: the same if nothing was erased since. Positions of the
// time after are given out again, so cursors of that time must not be taken.
func TestOlderDatabaseWithoutErasures(t *testing.T) {
	s := newSite(t)
	stays := s.send("stays")
	s.close()
	older := readFile(t, filepath.Join(s.data, "imapi.db"))
	s.open()
	log, head := s.store.Instance().Log, s.store.Head()
	later := s.send("later")
	s.close()
	writeFile(t, filepath.Join(s.data, "imapi.db"), older)
	s.open()
	s.is(stays, im.Active)
	s.is(later, 0)
	if past := s.store.Instance().PastLogs; s.store.Instance().Log == log || len(past) != 1 || past[0] != (im.PastLog{Log: log, Head: head}) {
		t.Errorf("the log is %d after %v, and was %d up to %d", s.store.Instance().Log, past, log, head)
	}
}

// TestPlainCrash: the keys are ahead of the data after a crash between the two, and
// nothing is lost by that.
func TestPlainCrash(t *testing.T) {
	s := newSite(t)
	e := s.speak()
	log := s.store.Instance().Log
	crashed := filepath.Join(t.TempDir(), "data")
	_, err := s.Revoke(t.Context(), alice, e.revoked.ID, im.RevokeNote{})
	s.must(err)
	// The database as it is before the note of the key is removed, the keys as they are
	// after it was shredded.
	copyDir(t, s.data, crashed)
	s.shredded()
	writeFile(t, filepath.Join(crashed, "keys"), readFile(t, filepath.Join(s.data, "keys")))
	s.close()
	s.data, s.options.DataDir = crashed, crashed
	s.open()
	s.is(e.revoked, im.Revoked)
	s.is(e.stays, im.Active)
	s.is(e.expired, im.Active)
	if s.store.Instance().Log != log || s.store.Instance().PastLogs != nil {
		t.Error("a plain crash has begun another log")
	}
}

// TestOlderKeys: the data are newer than the keys.
func TestOlderKeys(t *testing.T) {
	s := newSite(t)
	e := s.speak()
	s.backup()
	older := filepath.Join(s.backups, "keys")
	s.takeBack(e)
	// More than the extent that the copy has: some of it is lost, some is not.
	var later []im.Message
	for i := range 2000 {
		later = append(later, s.send(fmt.Sprint("later ", i)))
	}
	s.close()
	path := filepath.Join(s.data, "keys")
	present := readFile(t, path)
	writeFile(t, path, readFile(t, older))

	err := s.tryOpen()
	var lost *im.LostKeysError
	if !errors.As(err, &lost) || lost.Lost < 100 || lost.Lost > 1900 || !strings.Contains(err.Error(), "--accept-lost-keys") {
		t.Fatalf("older keys: %v", err)
	}
	// A refusal is no decision: the right keys are all it takes.
	writeFile(t, path, present)
	s.open()
	s.areTakenBack(e)
	s.is(later[1999], im.Active)
	s.close()

	writeFile(t, path, readFile(t, older))
	s.options.AcceptLostKeys = true
	s.open()
	s.options.AcceptLostKeys = false
	s.areTakenBack(e)
	s.is(later[0], im.Active)
	s.is(later[1999], im.Expired)
	log := s.store.Instance().Log
	keyGone(t, s)
	s.close()
	s.open()
	s.is(later[1999], im.Expired)
	if s.store.Instance().Log != log {
		t.Error("older keys have begun another log")
	}
	// What is sent now is sealed under keys of its own.
	m := s.send("now")
	s.is(m, im.Active)
}

// TestOlderKeysWithoutErasures: the epoch is the same in a copy of the keys since which
// nothing was erased, and keys that were made later are missing from it all the same.
func TestOlderKeysWithoutErasures(t *testing.T) {
	s := newSite(t)
	first := s.send("first")
	s.backup()
	var last im.Message
	for i := range 2100 {
		last = s.send(fmt.Sprint("later ", i))
	}
	s.close()
	path := filepath.Join(s.data, "keys")
	newest := readFile(t, path)
	copied := readFile(t, filepath.Join(s.backups, "keys"))

	writeFile(t, path, copied)
	var lost *im.LostKeysError
	if err := s.tryOpen(); !errors.As(err, &lost) || lost.Lost == 0 {
		t.Fatalf("with keys that lack some: %v", err)
	}
	// Nothing has changed by that.
	writeFile(t, path, newest)
	s.open()
	s.is(last, im.Active)
	s.close()

	// Nor by a start that gives them up and is cut off before it has erased anything.
	writeFile(t, path, copied)
	s.options.AcceptLostKeys = true
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	s.options.Progress = func(im.Progress) {
		if looks++; looks == 2 {
			cancel()
		}
	}
	if _, err := Open(ctx, "", s.options); !errors.Is(err, context.Canceled) {
		t.Fatalf("cut off: %v", err)
	}
	s.options.AcceptLostKeys, s.options.Progress = false, nil
	if err := s.tryOpen(); !errors.As(err, &lost) {
		t.Fatalf("after one that was cut off: %v", err)
	}
	writeFile(t, path, newest)
	s.open()
	s.is(first, im.Active)
	s.is(last, im.Active)
	keyGone(t, s)
	s.close()

	writeFile(t, path, copied)
	s.options.AcceptLostKeys = true
	s.open()
	s.is(first, im.Active)
	s.is(last, im.Expired)
	s.shredded()
	keyGone(t, s)
}

// keyGone checks that the key file does not have a key of anything but what is active.
func keyGone(t *testing.T, s *site) {
	t.Helper()
	n := int64(0)
	s.must(s.store.View(t.Context(), func(r im.Reader) error {
		n = 0
		page, err := r.Sealed(im.SealedKey{}, 10_000, im.SealedContent)
		for _, x := range page.Items {
			if x.Find() != im.Fine {
				t.Errorf("%v of %v: %v", x.Kind, x.ID, x.Find())
			}
			n++
		}
		return err
	}))
	if n == 0 {
		t.Error("nothing is sealed")
	}
}

// TestBothOlder: an old backup and an old copy of the keys, in a directory of their own.
func TestBothOlder(t *testing.T) {
	s := newSite(t)
	e := s.speak()
	s.backup()
	_, err := s.Revoke(t.Context(), alice, e.revoked.ID, im.RevokeNote{})
	s.must(err)
	file := s.backup()
	kept := filepath.Join(t.TempDir(), "keys")
	writeFile(t, kept, readFile(t, filepath.Join(s.backups, "keys")))
	s.takeBackRest(e)
	s.close()
	s.data = filepath.Join(t.TempDir(), "new")
	s.options.DataDir = s.data
	// Without keys nothing is put in place.
	_, err = Restore(t.Context(), "", s.options, Restoring{File: file})
	if err == nil || !strings.Contains(err.Error(), "--keys-from") {
		t.Fatalf("without keys: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.data, "imapi.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without keys there is a database: %v", err)
	}
	s.restore(file, kept)
	s.is(e.revoked, im.Revoked)
	s.is(e.stays, im.Active)
	s.is(e.burned, im.Active) // of what came after both nobody knows
	if len(s.store.Instance().PastLogs) != 1 {
		t.Error("the log is the same")
	}
}

// takeBackRest erases what was not, but the one that is revoked.
func (s *site) takeBackRest(e erasures) {
	s.Helper()
	_, err := s.Burn(context.Background(), bob, e.burned.ID)
	s.must(err)
	s.shredded()
}

// TestKeysThatAreRefused: each with an error that says what to do.
func TestKeysThatAreRefused(t *testing.T) {
	s := newSite(t)
	m := s.send("here")
	file := s.backup()
	copied := filepath.Join(t.TempDir(), "keys")
	writeFile(t, copied, readFile(t, filepath.Join(s.backups, "keys")))
	s.close()
	path := filepath.Join(s.data, "keys")
	present := readFile(t, path)
	foreign := filepath.Join(t.TempDir(), "keys")
	s.must(keyring.Create(foreign, im.StoreID{7}))

	s.must(os.Remove(path))
	if err := s.tryOpen(); err == nil || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "--accept-lost-keys") {
		t.Errorf("without keys: %v", err)
	}
	writeFile(t, path, readFile(t, foreign))
	if err := s.tryOpen(); !errors.Is(err, keyring.ErrForeign) {
		t.Errorf("foreign keys: %v", err)
	}
	for what, r := range map[string]Restoring{
		"a backup under foreign keys":  {File: file},
		"given keys over foreign ones": {File: file, KeysFrom: copied},
	} {
		if _, err := Restore(t.Context(), "", s.options, r); !errors.Is(err, keyring.ErrForeign) {
			t.Errorf("%s: %v", what, err)
		}
	}
	writeFile(t, path, present)
	for what, r := range map[string]Restoring{
		"older keys over newer ones": {File: file, KeysFrom: copied},
		"foreign keys":               {File: file, KeysFrom: foreign},
		"no database":                {File: copied},
		"nothing":                    {File: filepath.Join(t.TempDir(), "nothing")},
	} {
		if _, err := Restore(t.Context(), "", s.options, r); err == nil {
			t.Errorf("%s were put in place", what)
		}
	}
	// Who has misspelt something finds nothing made.
	elsewhere := Options{DataDir: filepath.Join(t.TempDir(), "new")}
	for _, name := range []string{filepath.Join(t.TempDir(), "nothing"), t.TempDir()} {
		if _, err := Restore(t.Context(), "", elsewhere, Restoring{File: name, KeysFrom: copied}); err == nil {
			t.Errorf("%s was put in place", name)
		}
	}
	if _, err := os.Stat(elsewhere.DataDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was made: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text")
	writeFile(t, text, []byte(strings.Repeat("this is no database\n", 500)))
	if _, err := Restore(t.Context(), "", s.options, Restoring{File: text}); err == nil || !strings.Contains(err.Error(), "not a database of imapi") {
		t.Errorf("a text: %v", err)
	}
	damaged := filepath.Join(t.TempDir(), "imapi.db")
	b := readFile(t, file)
	for i := 8192; i < len(b); i += 100 {
		b[i] ^= 0x55
	}
	writeFile(t, damaged, b)
	if _, err := Restore(t.Context(), "", s.options, Restoring{File: damaged}); err == nil {
		t.Error("a damaged backup was put in place")
	}
	s.open()
	s.is(m, im.Active)
	if _, err := Restore(t.Context(), "", s.options, Restoring{File: file}); !errors.Is(err, ErrInUse) {
		t.Errorf("while it is open: %v", err)
	}

	s.close()
	s.must(os.Remove(path))
	s.options.AcceptLostKeys = true
	s.open()
	s.is(m, im.Expired)
	s.is(s.send("new"), im.Active)
}

// TestCrashInRestore: at each step there are either the data of before or those of the
// backup, and nothing is read before what was erased since is known.
func TestCrashInRestore(t *testing.T) {
	for _, given := range []bool{false, true} {
		t.Run(fmt.Sprint("keys given ", given), func(t *testing.T) {
			s := newSite(t)
			e := s.speak()
			file := s.backup()
			keysFrom := ""
			later := s.send("later")
			s.takeBack(e)
			s.close()
			if given { // the newest copy of the keys, and the present ones are gone
				keysFrom = filepath.Join(t.TempDir(), "keys")
				writeFile(t, keysFrom, readFile(t, filepath.Join(s.data, "keys")))
				s.must(os.Remove(filepath.Join(s.data, "keys")))
			}
			crashes := t.TempDir()
			var steps []string
			_, err := Restore(t.Context(), "", s.options, Restoring{File: file, KeysFrom: keysFrom, step: func(step string) {
				steps = append(steps, step)
				copyDir(t, s.data, filepath.Join(crashes, step))
			}})
			s.must(err)
			for _, step := range steps {
				s.data = filepath.Join(crashes, step)
				s.options.DataDir = s.data
				if err := s.tryOpen(); err != nil {
					if given && errors.Is(err, fs.ErrNotExist) && (step == "copy" || step == "keys") {
						continue // no keys yet
					}
					t.Errorf("at %s: %v", step, err)
					continue
				}
				s.areTakenBack(e)
				restored := step == "sync" || step == "done"
				if _, err := s.Message(t.Context(), bob, later.ID); (err != nil) != restored {
					t.Errorf("at %s: the later message: %v", step, err)
				}
				s.close()
				// And then it comes to its end.
				s.restore(file, "")
				s.areTakenBack(e)
				s.is(later, 0)
				s.close()
			}
		})
	}
}

// TestRestoreAfterCrash: what was erased just before a crash has its key still, and the
// note that says so is in the database that a restore replaces.
func TestRestoreAfterCrash(t *testing.T) {
	s := newSite(t)
	e := s.speak()
	g, err := s.CreateGroup(t.Context(), alice, im.GroupDraft{Name: "deleted", Members: []im.UserID{"bob"}})
	s.must(err)
	deleted := s.sendTo(im.ConversationRef{ID: g.ID}, "deleted")
	file := s.backup()
	s.takeBack(e)
	late := s.send("late")
	newer := s.backup()
	_, err = s.Revoke(t.Context(), alice, late.ID, im.RevokeNote{})
	s.must(err)
	s.must(s.DeleteConversation(t.Context(), alice, im.ConversationRef{ID: g.ID}))
	crashed := filepath.Join(t.TempDir(), "crashed")
	copyDir(t, s.data, crashed) // as after kill -9: what is written is written
	s.close()
	s.data, s.options.DataDir = crashed, crashed
	s.store = nil
	for _, f := range []string{newer, file} {
		s.restore(f, "")
		s.areTakenBack(e)
		s.is(deleted, 0)
	}
	s.restore(newer, "")
	s.is(late, im.Revoked)
}

// TestBackupWhileBusy: backups while messages are sent and revoked hold together: each
// opens under its own keys, and under the last.
func TestBackupWhileBusy(t *testing.T) {
	s := newSite(t)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			var sent im.Sent
			sent, err = s.Send(context.Background(), alice, s.conversation, im.Draft{Type: im.Text, Body: json.RawMessage(fmt.Sprintf(`{"text":"busy %d"}`, i))})
			if err == nil && i%3 == 0 {
				_, err = s.Revoke(context.Background(), alice, sent.Message.ID, im.RevokeNote{Postscript: "x"})
			}
		}
		done <- err
	}()
	type made struct{ file, keys string }
	var list []made
	for i := range 5 {
		b, err := s.store.(im.Backuper).Backup(context.Background(), filepath.Join(s.backups, fmt.Sprint(i)), nil)
		s.must(err)
		list = append(list, made{b.Path, filepath.Join(filepath.Dir(b.Path), "keys")})
	}
	close(stop)
	s.must(<-done)
	s.shredded()
	s.close()
	last := filepath.Join(s.data, "keys")
	for _, b := range list {
		for _, keys := range []string{b.keys, last} {
			s.data = filepath.Join(t.TempDir(), "new")
			s.options.DataDir = s.data
			s.restore(b.file, keys)
			s.must(s.store.View(t.Context(), func(r im.Reader) error {
				page, err := r.Sealed(im.SealedKey{}, 100_000, im.SealedContent)
				for _, x := range page.Items {
					if f := x.Find(); f != im.Fine {
						t.Errorf("%s under %s: %v of %v: finding %v: %v", b.file, keys, x.Kind, x.ID, f, x.Err)
					}
				}
				return err
			}))
			s.close()
		}
	}
}

// TestBackupDirectory: one copy of the keys, backups beside each other, nothing else, and
// nothing that others may read.
func TestBackupDirectory(t *testing.T) {
	s := newSite(t)
	s.send("one")
	writeDir(t, s.backups)
	writeFile(t, filepath.Join(s.backups, ".imapi-backup-db"), []byte("left by a crash"))
	s.backup()
	s.backup()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.store.(im.Backuper).Backup(ctx, s.backups, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	entries, err := os.ReadDir(s.backups)
	s.must(err)
	dbs := 0
	for _, entry := range entries {
		info, err := entry.Info()
		s.must(err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s is of mode %v", entry.Name(), info.Mode())
		}
		if strings.HasPrefix(entry.Name(), im.BackupPrefix) && strings.HasSuffix(entry.Name(), im.BackupSuffix) {
			dbs++
		} else if entry.Name() != "keys" {
			t.Errorf("there is a file %s", entry.Name())
		}
	}
	if dbs != 2 || len(entries) != 3 {
		t.Errorf("there are %d files, %d backups", len(entries), dbs)
	}
	if _, err := s.store.(im.Backuper).Backup(t.Context(), s.data, nil); err == nil {
		t.Error("a backup into the data directory has replaced the keys")
	}
	s.close()
	s.options.Keys = filepath.Join(t.TempDir(), "elsewhere")
	s.must(os.Rename(filepath.Join(s.data, "keys"), s.options.Keys))
	s.open()
	if _, err := s.store.(im.Backuper).Backup(t.Context(), s.data, nil); err == nil {
		t.Error("a backup into the data directory has put keys there")
	}
	s.is(s.send("two"), im.Active)
}

// TestKeysByLink: keys on another device, by a symbolic link, stay there: in backups, at the
// first start, and in a restore.
func TestKeysByLink(t *testing.T) {
	s := newSite(t)
	m := s.send("one")
	device := t.TempDir()
	link := func(from, to string) {
		writeDir(t, filepath.Dir(from))
		s.must(os.Symlink(filepath.Join(device, to), from))
	}
	only := func(want ...string) {
		t.Helper()
		entries, err := os.ReadDir(device)
		s.must(err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if !slices.Equal(names, want) {
			t.Errorf("there are %v, want %v", names, want)
		}
	}
	copied := filepath.Join(s.backups, "keys")
	link(copied, "copy")
	s.backup()
	file := s.backup()
	only("copy")
	if info, err := os.Lstat(copied); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the copy of the keys is no link any more: %v, %v", info, err)
	}
	s.close()

	s.data = filepath.Join(t.TempDir(), "new")
	s.options.DataDir = s.data
	link(filepath.Join(s.data, "keys"), "keys")
	s.restore(file, copied)
	only("copy", "keys")
	s.is(m, im.Active)
	s.close()

	s.data = filepath.Join(t.TempDir(), "first")
	s.options.DataDir = s.data
	link(filepath.Join(s.data, "keys"), "made")
	s.open()
	only("copy", "keys", "made")
}

func writeDir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		t.Fatal(err)
	}
	writeDir(t, to)
	for _, e := range entries {
		if e.Type().IsRegular() {
			writeFile(t, filepath.Join(to, e.Name()), readFile(t, filepath.Join(from, e.Name())))
		}
	}
}
