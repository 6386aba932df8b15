package main

import (
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

var kills = flag.Int("kills", 0, "the number of times that TestForensicsKilled kills the server; 0 means 20, or 3 with -short")

// stage is the users and conversations of one worker.
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
			return nil // the first attempt took effect before a crash
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

// direct returns the current direct conversation of the two.
func (st *stage) direct() string { return "@" + st.bob }

// send sends a message with a secret in every part of its content.
func (st *stage) send(conversation, text, more string) string {
	st.n++
	return st.post(st.alice, "/v1/conversations/"+conversation+"/messages", fmt.Sprintf(
		`{"client_id":"%[3]s-%[4]d","type":"text","body":{"text":"words and %[1]s among them"},"ext":{"%[1]s":["%[1]s"]},"mentions":["%[1]s"],"push":{"title":"%[1]s"}%[2]s}`,
		text, more, st.alice, st.n))
}

// sendSecret sends a message with a secret, which will be erased in the given way.
func (st *stage) sendSecret(way, conversation string) (id, text string) {
	text = st.secret(way)
	return st.send(conversation, text, ""), text
}

// erase waits until secrets were found, makes a call that erases them, and records that.
func (st *stage) erase(user, method, path, body string, texts ...string) {
	st.waitKnown(texts...)
	began := time.Now()
	st.call(user, method, path, body)
	for _, text := range texts {
		st.erased(text, began)
	}
}

// insert inserts a message that is two days old.
func (st *stage) insert(conversation, text string) string {
	return st.post(st.root, "/v1/admin/import/message", fmt.Sprintf(
		`{"conversation_id":%q,"sender":%q,"type":"text","body":{"text":"words and %[3]s"},"ext":{"%[3]s":1},"created_at":%[4]q}`,
		conversation, st.alice, text, time.Now().Add(-48*time.Hour).UTC().Format(time.RFC3339Nano)))
}

// timed sends messages with timers until one is found in a copy before it is erased, and waits for
// the erasure.
func (st *stage) timed(way, conversation, more string) {
	st.timedBy(st.send, way, conversation, more)
}

// timedBy is timed with another way of sending.
func (st *stage) timedBy(send func(conversation, text, more string) string, way, conversation, more string) {
	for seconds := 2; ; seconds *= 2 {
		text := st.secret(way)
		id := send(conversation, text, fmt.Sprintf(more, seconds))
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
				st.forget(text) // no copy could have had it
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

// rename sets a name to a secret, and then replaces it.
func (st *stage) rename(way, path, body string) {
	text := st.secret(way)
	st.call(st.alice, http.MethodPatch, path, fmt.Sprintf(body, text))
	st.erase(st.alice, http.MethodPatch, path, fmt.Sprintf(body, "another"), text)
}

// erasings are the ways in which content is erased. Those that a crash may interrupt can
// be repeated.
var erasings = map[string]func(st *stage, way string){
	"revoked": func(st *stage, way string) {
		id, text := st.sendSecret(way, st.group)
		st.erase(st.alice, http.MethodPost, "/v1/messages/"+id+"/revoke", "", text)
	},
	"revoked with others": func(st *stage, way string) {
		one, first := st.sendSecret(way, st.group)
		two, second := st.sendSecret(way, st.direct())
		st.erase(st.root, http.MethodPost, "/v1/messages/revoke", fmt.Sprintf(`{"ids":[%q,%q]}`, one, two), first, second)
	},
	"deleted by a moderator": func(st *stage, way string) {
		text := st.secret(way)
		st.n++
		id := st.post(st.bob, "/v1/conversations/"+st.group+"/messages", fmt.Sprintf(
			`{"client_id":"%s-%d","type":"text","body":{"text":%q}}`, st.bob, st.n, text))
		st.erase(st.alice, http.MethodDelete, "/v1/messages/"+id, "", text)
	},
	"burned by request": func(st *stage, way string) {
		text := st.secret(way)
		id := st.send(st.direct(), text, `,"burn":{"after_seconds":60}`)
		st.erase(st.bob, http.MethodPost, "/v1/messages/"+id+"/burn", "", text)
	},
	"renamed": func(st *stage, way string) {
		path, body := "/v1/conversations/"+st.group, `{"name":%q,"settings":{"announcement":%q,"avatar":%q}}`
		name, announcement, avatar := st.secret(way), st.secret(way+", announcement"), st.secret(way+", avatar")
		st.call(st.alice, http.MethodPatch, path, fmt.Sprintf(body, name, announcement, avatar))
		st.erase(st.alice, http.MethodPatch, path, fmt.Sprintf(body, "g", "", "none"), name, announcement, avatar)
	},
	"conversation of two deleted": func(st *stage, way string) {
		_, text := st.sendSecret(way, st.direct())
		st.erase(st.bob, http.MethodDelete, "/v1/conversations/@"+st.alice+"?scope=everyone", "", text)
	},
	"group deleted": func(st *stage, way string) {
		group := st.newGroup()
		name := st.secret(way + ", its name")
		st.call(st.alice, http.MethodPatch, "/v1/conversations/"+group, fmt.Sprintf(`{"name":%q}`, name))
		_, text := st.sendSecret(way, group)
		st.erase(st.alice, http.MethodDelete, "/v1/conversations/"+group+"?scope=everyone", "", text, name)
	},
}

// inBatches are the ways of erasing that may continue after a crash: each batch is a
// transaction of its own.
var inBatches = map[string]bool{"conversation of two deleted": true, "group deleted": true, "group deleted, its name": true}

// slowErasings are further ways of erasing, which take time or cannot be repeated.
var slowErasings = map[string]func(st *stage, way string){
	"burned by reading": func(st *stage, way string) {
		text := st.secret(way)
		id := st.send(st.direct(), text, `,"burn":{"after_seconds":0}`)
		st.erase(st.bob, http.MethodPost, "/v1/conversations/@"+st.alice+"/receipts", fmt.Sprintf(`{"kind":"read","up_to":%q}`, id), text)
	},
	"a picture revoked": func(st *stage, way string) {
		text := st.secret(way)
		id := st.sendPicture(st.group, text, "")
		st.erase(st.alice, http.MethodPost, "/v1/messages/"+id+"/revoke", "", text)
	},
	"a picture burned": func(st *stage, way string) {
		text := st.secret(way)
		id := st.sendPicture(st.direct(), text, `,"burn":{"after_seconds":60}`)
		st.erase(st.bob, http.MethodPost, "/v1/messages/"+id+"/burn", "", text)
	},
	"a picture expired": func(st *stage, way string) {
		st.timedBy(st.sendPicture, way, st.group, `,"expire_after_seconds":%d`)
	},
	"a picture in a group deleted": func(st *stage, way string) {
		group, text := st.newGroup(), st.secret(way)
		st.sendPicture(group, text, "")
		st.erase(st.alice, http.MethodDelete, "/v1/conversations/"+group+"?scope=everyone", "", text)
	},
	"a picture in a conversation of two deleted": func(st *stage, way string) {
		text := st.secret(way)
		st.sendPicture(st.direct(), text, "")
		st.erase(st.bob, http.MethodDelete, "/v1/conversations/@"+st.alice+"?scope=everyone", "", text)
	},
	"a picture past retention": func(st *stage, way string) {
		group, text := st.newGroup(), st.secret(way)
		st.post(st.root, "/v1/admin/import/message", fmt.Sprintf(
			`{"conversation_id":%q,"sender":%q,"type":"image","body":{"attachment_id":%q},"created_at":%q}`,
			group, st.alice, st.uploadPicture(text), time.Now().Add(-48*time.Hour).UTC().Format(time.RFC3339Nano)))
		st.erase(st.alice, http.MethodPatch, "/v1/conversations/"+group, `{"settings":{"retention_days":1}}`, text)
	},
	"the final message of a data stream": func(st *stage, way string) {
		// No file may ever have its frames: the spy finds everything with the text of the run.
		stream := "/v1/streams/" + st.post(st.alice, "/v1/streams", fmt.Sprintf(`{"conversation_id":%q,"access":"members"}`, st.group))
		for n := range 20 {
			st.call(st.alice, http.MethodPost, stream+"/frames", fmt.Sprintf(`{"text":"%s, frame %d"}`, st.run.text, n))
		}
		text := st.secret(way)
		ended, _ := st.call(st.alice, http.MethodPost, stream+"/end", fmt.Sprintf(
			`{"message":{"type":"text","body":{"text":"words and %s"}}}`, text))["ended"].(map[string]any)
		st.erase(st.alice, http.MethodPost, fmt.Sprintf("/v1/messages/%v/revoke", ended["message_id"]), "", text)
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
		st.erase(st.root, http.MethodPost, "/v1/messages/"+id+"/revoke",
			fmt.Sprintf(`{"postscript":"sorry %[1]s","extension":{"%[1]s":"%[1]s"}}`, postscript), revoked)
		st.erase(st.alice, http.MethodPatch, "/v1/conversations/"+group, `{"settings":{"retention_days":1}}`, text, postscript)
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
		st.erase(st.alice, http.MethodPatch, role, name("a renamed role", `,"permissions":{}`), names[1])
		channel := st.post(st.alice, space+"/channels", name("a channel"))
		id, text := st.sendSecret(way, channel)
		thread := st.post(st.alice, "/v1/messages/"+id+"/thread", name("a thread"))
		_, below := st.sendSecret(way+", in a thread", thread)
		st.erase(st.alice, http.MethodDelete, space, "", append(slices.Delete(names, 1, 2), text, below)...)
	},
}

// work erases in the given ways in random order until the end, each at least once.
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

// TestForensics erases in every way while others send and read, and copies all files but
// the keys all the time. With the keys after the last erasure no erased content can be
// unsealed from any copy, and everything else can. No file ever has content in the clear, although
// one webhook receives all messages and another one refuses all, so that its deliveries wait.
func TestForensics(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--webhooks-allow-private")
	spy := newSpy(t, s.data)
	takes, refuses := newReceiver(t), newReceiver(t)
	refuses.answer = func(int, hookRequest) int { return http.StatusServiceUnavailable }
	s.hook(takes)
	waits := s.hook(refuses, "message.created")
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
	for what, r := range map[string]*receiver{"takes": takes, "refuses": refuses} {
		got := r.all()
		if !slices.ContainsFunc(got, func(r hookRequest) bool { return spy.run.in(r.body) != "" }) {
			t.Errorf("the webhook that %s messages got %d requests without content", what, len(got))
		}
	}
	if now := s.hookNow(waits.ID); now.Behind == 0 {
		t.Errorf("nothing waits for the webhook that refuses: %+v", now)
	}
	spy.conclude(true)
}

// TestForensicsKilled does the same while it kills the server at random moments. Once the next
// server is ready, content whose erasure was acknowledged cannot be unsealed; content of
// acknowledged sends can.
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
