package main

import (
	"bytes"
	"cmp"
	endian "encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

var kills = flag.Int("kills", 0, "how often TestForensicsKilled kills the server; 0 is 20 times, or 3 with -short")

// promise is the time within which a key is shredded after its content was erased.
const promise = 5 * time.Second

// spy copies all files of a server except its keys, as often as it can, and remembers the
// sealed bytes in them. To show that it would find what exists, it also reads the keys: a
// secret counts as known once it was unsealed from a copy.
type spy struct {
	t       *testing.T
	data    string
	dir     string // for copies
	run     marker // a text that all secrets of the run contain
	queries map[string]string

	mu      sync.Mutex
	found   map[sealedContent]bool // whether it was unsealed
	secrets map[string]*secret     // by their texts
	made    int
	copies  int
	torn    int // copies that were taken while the database was written to
	slowest time.Duration

	stop  chan struct{}
	ended sync.WaitGroup
}

// secret is a text that is in one content.
type secret struct {
	way  string           // of erasing it; "" if it is kept
	keys map[int64][]byte // of its content, by their slots, once it was found
	// erased is when it was erased, zero if it was not; shredded is when its keys were seen
	// to be destroyed.
	erased, shredded time.Time
}

func newSpy(t *testing.T, data string) *spy {
	s := &spy{
		t: t, data: data, dir: t.TempDir(), run: newMarker(), queries: sealedColumns(t),
		found: map[sealedContent]bool{}, secrets: map[string]*secret{}, stop: make(chan struct{}),
	}
	s.ended.Go(s.takeCopies)
	s.ended.Go(s.watchKeys)
	t.Cleanup(s.end)
	return s
}

func (s *spy) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.ended.Wait()
}

// secret makes a secret.
func (s *spy) secret(way string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	text := fmt.Sprintf("%sn%05dn", s.run.text, s.made)
	s.secrets[text] = &secret{way: way, keys: map[int64][]byte{}}
	return text
}

// takeCopies does that until the end.
func (s *spy) takeCopies() {
	for n := 0; ; n++ {
		select {
		case <-s.stop:
			return
		case <-time.After(testsize.Pick(20*time.Millisecond, 100*time.Millisecond)):
		}
		dir := filepath.Join(s.dir, fmt.Sprint(n))
		s.takeCopy(dir)
		if err := os.RemoveAll(dir); err != nil {
			s.t.Error(err)
		}
	}
}

// takeCopy takes one and reads it.
func (s *spy) takeCopy(dir string) {
	err := copyFiles(s.data, dir, []string{"keys"}, func(name string, b []byte) {
		if form := s.run.in(b); form != "" {
			s.t.Errorf("%s has content in the clear, as %s", name, form)
		}
	})
	if err != nil {
		s.t.Errorf("copying: %v", err)
		return
	}
	s.read(filepath.Join(dir, "imapi.db"))
}

// read collects the sealed bytes in a copy of a database, and unseals them with the present
// keys.
func (s *spy) read(path string) {
	keys, noKeys := readKeyFile(filepath.Join(s.data, "keys"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copies++
	err := readSealed(path, s.queries, func(c sealedContent) {
		if s.found[c] {
			return
		}
		var content []byte
		if noKeys == nil {
			content, s.found[c] = keys.unseal(c) // not if it is erased by now
		}
		for _, text := range s.textsIn(content) {
			if secret := s.secrets[text]; secret != nil {
				key, _ := keys.key(c.slot)
				secret.keys[c.slot] = slices.Clone(key)
			}
		}
	})
	if err != nil {
		s.torn++
	}
}

// textsIn returns the secrets in content.
func (s *spy) textsIn(content []byte) (texts []string) {
	for {
		_, rest, ok := bytes.Cut(content, []byte(s.run.text))
		if !ok || len(rest) < 7 {
			return texts
		}
		texts, content = append(texts, s.run.text+string(rest[:7])), rest[7:]
	}
}

// known reports whether a secret was unsealed from a copy.
func (s *spy) known(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.secrets[text].keys) > 0
}

// waitKnown waits for that.
func (s *spy) waitKnown(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		for began := time.Now(); !s.known(text); time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > patience || s.t.Failed() {
				s.t.Errorf("%s was found in no copy", text)
				return
			}
		}
	}
}

// erased records that a secret was erased, and when at the earliest.
func (s *spy) erased(text string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[text].erased = at
}

// watchKeys records when the keys of erased secrets are destroyed.
func (s *spy) watchKeys() {
	for last := time.Now(); ; {
		select {
		case <-s.stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		keys, err := readKeyFile(filepath.Join(s.data, "keys"))
		now := time.Now()
		s.mu.Lock()
		s.slowest, last = max(s.slowest, now.Sub(last)), now
		for _, secret := range s.secrets {
			if err == nil && secret.waits() && !secret.readable(keys) {
				secret.shredded = now
			}
		}
		s.mu.Unlock()
	}
}

// waits reports whether it was erased and its keys were there when last looked at.
func (s *secret) waits() bool { return !s.erased.IsZero() && s.shredded.IsZero() }

// readable reports whether one of a secret's keys is there.
func (s *secret) readable(keys keyFile) bool {
	for slot := range s.keys {
		if _, ok := keys.key(slot); ok {
			return true
		}
	}
	return false
}

// waiting returns the ways of the erased secrets whose keys still wait.
func (s *spy) waiting() (ways []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		if secret.waits() {
			ways = append(ways, secret.way)
		}
	}
	return ways
}

// judge tries everything that was ever found with the final keys. running says that the
// server ran all the time, so that the 5 seconds are promised.
func (s *spy) judge(late keyFile, running bool) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	read := map[string]bool{}
	var gone []sealedContent
	for c := range s.found {
		content, ok := late.unseal(c)
		if !ok {
			gone = append(gone, c)
			continue
		}
		for _, text := range s.textsIn(content) {
			read[text] = true
		}
	}
	counts := map[string]int{}
	var delays []time.Duration
	kept := 0
	for text, secret := range s.secrets {
		switch {
		case secret.way == "" && !read[text]:
			s.t.Errorf("%s was kept and cannot be read", text)
		case secret.way == "":
			kept++
		case secret.erased.IsZero():
			s.t.Errorf("%s: it was not erased", secret.way)
		case len(secret.keys) == 0:
			s.t.Errorf("%s: it was found in no copy", secret.way)
		case read[text]:
			s.t.Errorf("%s: it can be read from a copy", secret.way)
		default:
			counts[secret.way]++
			delays = append(delays, secret.shredded.Sub(secret.erased))
		}
	}
	// Nor under any other key.
	tried := map[int64]bool{}
	for c := range s.found {
		if key, ok := late.key(c.slot); ok && !tried[c.slot] {
			tried[c.slot] = true
			for _, c := range gone {
				if _, ok := late.unsealWith(key, c); ok {
					s.t.Errorf("%s of slot %d can be unsealed by another key", c.where, c.slot)
				}
			}
		}
	}
	slices.Sort(delays)
	if len(delays) == 0 || kept == 0 {
		s.t.Fatalf("%d were erased and %d kept", len(delays), kept)
	}
	at := func(q float64) time.Duration { return delays[int(q*float64(len(delays)-1))].Round(time.Millisecond) }
	s.t.Logf("%d copies, %d of them torn; %d contents, %d keys tried on %d; %d kept; erased %v; "+
		"keys were gone after p50 %v, p99 %v, at most %v; the watch was held up for %v at most",
		s.copies, s.torn, len(s.found), len(tried), len(gone), kept, counts, at(0.5), at(0.99), at(1), s.slowest.Round(time.Millisecond))
	// A machine that holds this up holds up the server, too.
	if longest := delays[len(delays)-1]; running && longest > promise && s.slowest < 200*time.Millisecond {
		s.t.Errorf("a key was there for %v", longest)
	}
	if s.torn > s.copies/2 {
		s.t.Errorf("%d of %d copies could not be read", s.torn, s.copies)
	}
}

// keysElsewhere checks that no key of an erased secret is in any file.
func (s *spy) keysElsewhere() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := map[[8]byte]string{}
	for _, secret := range s.secrets {
		if secret.erased.IsZero() {
			continue
		}
		for _, key := range secret.keys {
			gone[[8]byte(key)] = secret.way
		}
	}
	err := copyFiles(s.data, filepath.Join(s.dir, "last"), nil, func(name string, b []byte) {
		for key, way := range gone {
			if bytes.Contains(b, key[:]) {
				s.t.Errorf("%s: its key is in %s", way, name)
			}
		}
	})
	if err != nil {
		s.t.Error(err)
	}
}

// stage is where a worker acts: users and conversations of its own.
type stage struct {
	*spy
	addr                    string
	alice, bob, carol, root string // names
	tokens                  map[string]string
	group                   string
	n                       int
}

var stages atomic.Int64

func newStage(s *spy, srv *server) *stage {
	n := stages.Add(1)
	st := &stage{
		spy: s, addr: srv.addr, tokens: map[string]string{},
		alice: fmt.Sprintf("alice%d", n), bob: fmt.Sprintf("bob%d", n), carol: fmt.Sprintf("carol%d", n), root: "root",
	}
	secret := readSecret(s.t, srv.data)
	for _, user := range []string{st.alice, st.bob, st.carol} {
		st.tokens[user] = mintFor(s.t, secret, user)
	}
	token, err := auth.Mint(secret, auth.Grant{User: im.UserID(st.root), Admin: true, TTL: time.Hour}, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	st.tokens[st.root] = token
	st.group = st.newGroup()
	st.post(st.alice, "/v1/conversations", fmt.Sprintf(
		`{"kind":"room","name":%q,"settings":{"announcement":%q,"avatar":%q}}`, s.secret(""), s.secret(""), s.secret("")))
	return st
}

// call repeats a request until it is answered, also by a restarted server. If the request
// is refused, it returns nil and fails the test.
func (st *stage) call(user, method, path, body string) map[string]any {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(5 * time.Millisecond) {
		req, err := http.NewRequest(method, "http://"+st.addr+path, strings.NewReader(body))
		if err != nil {
			st.t.Error(err)
			return nil
		}
		req.Header.Set("Authorization", "Bearer "+st.tokens[user])
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode >= 500 {
			continue
		}
		if res.StatusCode == http.StatusNotFound && method == http.MethodDelete {
			return nil // it was done before a crash
		}
		if res.StatusCode >= 300 {
			st.t.Errorf("%s %s: %d %s", method, path, res.StatusCode, b)
			return nil
		}
		var v map[string]any
		if len(b) > 0 {
			if err := json.Unmarshal(b, &v); err != nil {
				st.t.Error(err)
			}
		}
		return v
	}
	st.t.Errorf("%s %s: not answered", method, path)
	return nil
}

func (st *stage) post(user, path, body string) string {
	id, _ := st.call(user, http.MethodPost, path, body)["id"].(string)
	return id
}

func (st *stage) newGroup() string {
	return st.post(st.alice, "/v1/conversations", fmt.Sprintf(`{"kind":"group","name":"g","members":[%q,%q]}`, st.bob, st.carol))
}

// direct is the conversation of the two, whichever it is by now.
func (st *stage) direct() string { return "@" + st.bob }

// send sends a message with a secret in every part of its content.
func (st *stage) send(conversation, text, more string) string {
	st.n++
	return st.post(st.alice, "/v1/conversations/"+conversation+"/messages", fmt.Sprintf(
		`{"client_id":"%[3]s-%[4]d","type":"text","body":{"text":"words and %[1]s among them"},"ext":{"%[1]s":["%[1]s"]},"mentions":["%[1]s"],"push":{"title":"%[1]s"}%[2]s}`,
		text, more, st.alice, st.n))
}

// sendKnown sends one and waits until it was found.
func (st *stage) sendKnown(way, conversation string) (id, text string) {
	text = st.secret(way)
	id = st.send(conversation, text, "")
	st.waitKnown(text)
	return id, text
}

// insert puts a message in that is two days old.
func (st *stage) insert(conversation, text string) string {
	return st.post(st.root, "/v1/admin/import/message", fmt.Sprintf(
		`{"conversation_id":%q,"sender":%q,"type":"text","body":{"text":"words and %[3]s"},"ext":{"%[3]s":1},"created_at":%[4]q}`,
		conversation, st.alice, text, time.Now().Add(-48*time.Hour).UTC().Format(time.RFC3339Nano)))
}

// timed sends messages with timers until a copy had one before it was erased, and waits for
// the erasure.
func (st *stage) timed(way, conversation, more string) {
	for seconds := 2; ; seconds *= 2 {
		text := st.secret(way)
		id := st.send(conversation, text, fmt.Sprintf(more, seconds))
		for {
			m := st.call(st.alice, http.MethodGet, "/v1/messages/"+id, "")
			if m == nil {
				return
			}
			known := st.known(text)
			erased, _ := m["erased"].(map[string]any)
			if erased == nil {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			if !known {
				st.forget(text) // a copy could not have contained it, either
				break
			}
			at, err := time.Parse(time.RFC3339Nano, erased["at"].(string))
			if err != nil {
				st.t.Error(err)
			}
			st.erased(text, at)
			return
		}
	}
}

// forget removes a secret from those that are judged.
func (s *spy) forget(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, text)
}

// rename puts a secret into a name, and then replaces the name.
func (st *stage) rename(way, path, body string) {
	text := st.secret(way)
	st.call(st.alice, http.MethodPatch, path, fmt.Sprintf(body, text))
	st.waitKnown(text)
	began := time.Now()
	st.call(st.alice, http.MethodPatch, path, fmt.Sprintf(body, "another"))
	st.erased(text, began)
}

// erasings are the ways in which content is erased. Those that a crash may interrupt can
// be repeated.
var erasings = map[string]func(st *stage, way string){
	"revoked": func(st *stage, way string) {
		id, text := st.sendKnown(way, st.group)
		began := time.Now()
		st.call(st.alice, http.MethodPost, "/v1/messages/"+id+"/revoke", "")
		st.erased(text, began)
	},
	"revoked with others": func(st *stage, way string) {
		one, first := st.sendKnown(way, st.group)
		two, second := st.sendKnown(way, st.direct())
		began := time.Now()
		st.call(st.root, http.MethodPost, "/v1/messages/revoke", fmt.Sprintf(`{"ids":[%q,%q]}`, one, two))
		st.erased(first, began)
		st.erased(second, began)
	},
	"deleted by a moderator": func(st *stage, way string) {
		text := st.secret(way)
		st.n++
		id := st.post(st.bob, "/v1/conversations/"+st.group+"/messages", fmt.Sprintf(
			`{"client_id":"%s-%d","type":"text","body":{"text":%q}}`, st.bob, st.n, text))
		st.waitKnown(text)
		began := time.Now()
		st.call(st.alice, http.MethodDelete, "/v1/messages/"+id, "")
		st.erased(text, began)
	},
	"burned by hand": func(st *stage, way string) {
		text := st.secret(way)
		id := st.send(st.direct(), text, `,"burn":{"after_seconds":60}`)
		st.waitKnown(text)
		began := time.Now()
		st.call(st.bob, http.MethodPost, "/v1/messages/"+id+"/burn", "")
		st.erased(text, began)
	},
	"renamed": func(st *stage, way string) {
		change := func(name, announcement, avatar string) {
			st.call(st.alice, http.MethodPatch, "/v1/conversations/"+st.group, fmt.Sprintf(
				`{"name":%q,"settings":{"announcement":%q,"avatar":%q}}`, name, announcement, avatar))
		}
		texts := []string{st.secret(way), st.secret(way + ", announcement"), st.secret(way + ", avatar")}
		change(texts[0], texts[1], texts[2])
		st.waitKnown(texts...)
		began := time.Now()
		change("g", "", "none")
		for _, text := range texts {
			st.erased(text, began)
		}
	},
	"conversation of two deleted": func(st *stage, way string) {
		_, text := st.sendKnown(way, st.direct())
		began := time.Now()
		st.call(st.bob, http.MethodDelete, "/v1/conversations/@"+st.alice+"?scope=everyone", "")
		st.erased(text, began)
	},
	"group deleted": func(st *stage, way string) {
		group := st.newGroup()
		name := st.secret(way + ", its name")
		st.call(st.alice, http.MethodPatch, "/v1/conversations/"+group, fmt.Sprintf(`{"name":%q}`, name))
		_, text := st.sendKnown(way, group)
		st.waitKnown(name)
		began := time.Now()
		st.call(st.alice, http.MethodDelete, "/v1/conversations/"+group+"?scope=everyone", "")
		st.erased(text, began)
		st.erased(name, began)
	},
}

// inBatches are the ways of erasing that may continue after a crash: each batch is a
// transaction of its own.
var inBatches = map[string]bool{"conversation of two deleted": true, "group deleted": true, "group deleted, its name": true}

// slowErasings are further ones: they take time, or cannot be repeated.
var slowErasings = map[string]func(st *stage, way string){
	"burned by reading": func(st *stage, way string) {
		text := st.secret(way)
		id := st.send(st.direct(), text, `,"burn":{"after_seconds":0}`)
		st.waitKnown(text)
		began := time.Now()
		st.call(st.bob, http.MethodPost, "/v1/conversations/@"+st.alice+"/receipts", fmt.Sprintf(`{"kind":"read","up_to":%q}`, id))
		st.erased(text, began)
	},
	"burned unread": func(st *stage, way string) {
		st.timed(way, st.direct(), `,"burn":{"after_seconds":9,"unread_ttl_seconds":%d}`)
	},
	"expired": func(st *stage, way string) { st.timed(way, st.group, `,"expire_after_seconds":%d`) },
	"past retention": func(st *stage, way string) {
		group := st.newGroup()
		text, revoked, postscript := st.secret(way), st.secret(way+", revoked before"), st.secret(way+", a postscript")
		st.insert(group, text)
		id := st.insert(group, revoked)
		st.waitKnown(text, revoked)
		began := time.Now()
		st.call(st.root, http.MethodPost, "/v1/messages/"+id+"/revoke",
			fmt.Sprintf(`{"postscript":"sorry %[1]s","extension":{"%[1]s":"%[1]s"}}`, postscript))
		st.erased(revoked, began)
		st.waitKnown(postscript)
		began = time.Now()
		st.call(st.alice, http.MethodPatch, "/v1/conversations/"+group, `{"settings":{"retention_days":1}}`)
		st.erased(text, began)
		st.erased(postscript, began)
	},
	"renamed in a space": func(st *stage, _ string) {
		space := "/v1/spaces/" + st.post(st.alice, "/v1/spaces", `{"name":"s"}`)
		channel := st.post(st.alice, space+"/channels", `{"name":"c"}`)
		role := space + "/roles/" + st.post(st.alice, space+"/roles", `{"name":"r","permissions":{"kick":"allow"}}`)
		thread := st.post(st.alice, "/v1/messages/"+st.send(channel, "root", "")+"/thread", `{"name":"t"}`)
		st.rename("space renamed", space, `{"name":%q}`)
		st.rename("announcement of a space changed", space, `{"settings":{"announcement":%q}}`)
		st.rename("role renamed", role, `{"name":%q}`)
		st.rename("channel renamed", "/v1/conversations/"+channel, `{"name":%q}`)
		st.rename("thread renamed", "/v1/conversations/"+thread, `{"name":%q}`)
	},
	"space deleted": func(st *stage, way string) {
		var names []string
		name := func(of string, more ...string) string {
			text := st.secret(way + ", name of " + of)
			names = append(names, text)
			return fmt.Sprintf(`{"name":%q%s}`, text, strings.Join(more, ""))
		}
		space := "/v1/spaces/" + st.post(st.alice, "/v1/spaces", name("it"))
		st.call(st.alice, http.MethodPost, space+"/members", fmt.Sprintf(`{"members":[%q,%q]}`, st.bob, st.carol))
		role := space + "/roles/" + st.post(st.alice, space+"/roles", name("a role", `,"permissions":{}`))
		st.waitKnown(names...)
		began := time.Now()
		st.call(st.alice, http.MethodPatch, role, name("a role that got another", `,"permissions":{}`))
		st.erased(names[1], began)
		channel := st.post(st.alice, space+"/channels", name("a channel"))
		id, text := st.sendKnown(way, channel)
		thread := st.post(st.alice, "/v1/messages/"+id+"/thread", name("a thread"))
		_, below := st.sendKnown(way+", in a thread", thread)
		st.waitKnown(names...)
		began = time.Now()
		st.call(st.alice, http.MethodDelete, space, "")
		for i, text := range append(names, text, below) {
			if i != 1 {
				st.erased(text, began)
			}
		}
	},
}

// work erases in the given ways until the end, each at least once, in random order.
func (st *stage) work(ways map[string]func(*stage, string), rounds int, enough func() bool) {
	names := make([]string, 0, len(ways))
	for name := range ways {
		names = append(names, name)
	}
	for round := 0; round < rounds || !enough(); round++ {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			if st.t.Failed() || round >= rounds && enough() {
				return
			}
			ways[name](st, name)
		}
	}
}

// keep sends messages that are not erased, and reads, until the end.
func (st *stage) keep(ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case <-time.After(10 * time.Millisecond):
		}
		if st.t.Failed() {
			return
		}
		text := st.secret("")
		st.send(st.group, text, "")
		st.call(st.carol, http.MethodGet, "/v1/conversations/"+st.group+"/messages?limit=50", "")
		st.call(st.carol, http.MethodGet, "/v1/messages/search?q=words", "")
	}
}

// waitShredded waits until the keys of all erased secrets are destroyed.
func (s *spy) waitShredded() {
	s.t.Helper()
	await.Until(s.t, "the keys of all erased secrets are destroyed", func() bool { return len(s.waiting()) == 0 })
}

// TestForensics erases in every way while others send and read, and copies all files but
// the keys all the time. With the keys after the last erasure no erased content can be
// unsealed from any copy, and everything else can. No file ever has content in the clear.
func TestForensics(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	spy := newSpy(t, s.data)
	ended := make(chan struct{})
	var load, workers sync.WaitGroup
	for range 2 {
		st := newStage(spy, s)
		load.Go(func() { st.keep(ended) })
	}
	all := map[string]func(*stage, string){}
	for _, ways := range []map[string]func(*stage, string){erasings, slowErasings} {
		maps.Copy(all, ways)
	}
	for range testsize.Pick(3, 1) {
		st := newStage(spy, s)
		workers.Go(func() { st.work(all, 1, func() bool { return true }) })
	}
	workers.Wait()
	close(ended)
	load.Wait()
	spy.conclude(true)
}

// conclude waits until all that was erased is shredded, ends the copying, and judges with
// the keys of that time.
func (s *spy) conclude(running bool) {
	s.t.Helper()
	s.waitShredded()
	late, err := readKeyFile(filepath.Join(s.data, "keys"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.finish()
	s.judge(late, running)
	s.keysElsewhere()
}

// finish ends the copying once all kept secrets were found.
func (s *spy) finish() {
	s.t.Helper()
	s.mu.Lock()
	var kept []string
	for text, secret := range s.secrets {
		if secret.way == "" {
			kept = append(kept, text)
		}
	}
	s.mu.Unlock()
	s.waitKnown(kept...)
	s.end()
}

// TestForensicsKilled does the same while it kills the server at random moments.
// Acknowledged erasures cannot be unsealed once the next server is ready; acknowledged
// sends can.
func TestForensicsKilled(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	spy := newSpy(t, s.data)
	ended := make(chan struct{})
	var load, workers sync.WaitGroup
	for range 2 {
		st := newStage(spy, s)
		load.Go(func() { st.keep(ended) })
	}
	kills := cmp.Or(*kills, testsize.Pick(20, 3))
	var killed atomic.Int64
	for range 3 {
		st := newStage(spy, s)
		workers.Go(func() {
			st.work(erasings, 1, func() bool { return killed.Load() >= int64(kills) })
		})
	}
	for range kills {
		until := len(spy.erasures()) + 1 + rand.IntN(5)
		await.Until(t, "enough is erased", func() bool { return len(spy.erasures()) >= until || t.Failed() })
		s.kill()
		erased := spy.erasures()
		s.start()
		late, err := readKeyFile(filepath.Join(s.data, "keys"))
		if err != nil {
			t.Fatal(err)
		}
		spy.mu.Lock()
		for _, secret := range erased {
			if secret.readable(late) && !inBatches[secret.way] {
				t.Errorf("%s: its key is there after a crash", secret.way)
			}
		}
		spy.mu.Unlock()
		killed.Add(1)
		if t.Failed() {
			break
		}
	}
	workers.Wait()
	close(ended)
	load.Wait()
	spy.conclude(false)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	integrity(t, s.data)
	if out, err := exec.Command(s.bin, "verify", "--data", s.data).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// erasures returns the list of erasures.
func (s *spy) erasures() (list []*secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		if !secret.erased.IsZero() {
			list = append(list, secret)
		}
	}
	return list
}

// TestTheDecryptorRefuses checks that the decryptor unseals nothing under a wrong key, slot
// or store.
func TestTheDecryptorRefuses(t *testing.T) {
	b := make([]byte, 4096+2*16)
	copy(b, "imapikey")
	endian.BigEndian.PutUint32(b[8:], 1)
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readKeyFile(path); err == nil {
		t.Error("a header without a checksum was taken")
	}
	k := keyFile{b: b}
	for _, slot := range []int64{0, 255, 256, 257, 258, 1 << 40} {
		if _, ok := k.key(slot); ok {
			t.Errorf("there is a key in slot %d", slot)
		}
	}
}
