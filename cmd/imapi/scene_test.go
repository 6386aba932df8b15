package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
)

// scene is a conversation of each kind and its messages. Alice owns all of them, bob is a member of
// all, and carol of all that are neither private nor direct.
type scene struct {
	*crawler
	direct, group string
	town
}

// town is the space, channels, threads and rooms of a scene.
type town struct {
	room    string
	thread  string // in the group
	space   string
	channel string // a public one
	den     string // a private one
	nested  string // a thread in the private channel
}

// conversations are those of the town that have messages.
func (t town) conversations() []string { return []string{t.room, t.thread, t.channel, t.den, t.nested} }

func newScene(t *testing.T, args ...string) *scene {
	s := startServer(t, append(args, "--webhooks-allow-private")...)
	c := &crawler{
		t: t, server: s, tokens: map[string]string{"nobody": ""},
		ids:     map[string][]string{"user": {"alice", "bob"}, "list": {"allow", "deny"}},
		queries: map[string][]string{"q": {"stays"}},
	}
	secret := readSecret(t, s.data)
	for _, user := range []string{"alice", "bob", "carol", "stranger"} {
		c.tokens[user] = mintFor(t, secret, user)
	}
	c.tokens["root"] = s.token("root", "--admin")
	c.receives = newReceiver(t)
	c.hook = s.hook(c.receives)
	c.ids["webhook"] = []string{c.hook.ID}
	sc := &scene{crawler: c}
	sc.direct = sc.post("alice", "/v1/conversations/@bob/messages", `{"type":"text","body":{"text":"stays"}}`)["conversation_id"].(string)
	sc.ids["conversation"] = []string{sc.direct, "@alice", "@bob"}
	sc.found()
	sc.build()
	return sc
}

// found creates a group with a message and a picture, and passes their ids to the crawler.
func (sc *scene) found() {
	sc.t.Helper()
	sc.group = sc.post("alice", "/v1/conversations", `{"kind":"group","name":"g","members":["bob","carol"]}`)["id"].(string)
	sc.ids["conversation"] = append(sc.ids["conversation"], sc.group)
	sc.ids["message"] = append(sc.ids["message"], sc.post("alice", "/v1/conversations/"+sc.group+"/messages",
		`{"type":"text","body":{"text":"stays"},"receipt":true}`)["id"].(string))
	sc.sendPicture(sc.group, &marker{text: "stays"})
}

// build creates a town and passes its ids to the crawler.
func (sc *scene) build() {
	sc.t.Helper()
	id := func(user, path, body string) string {
		sc.t.Helper()
		return sc.post(user, path, body)["id"].(string)
	}
	under := func(conversation string) string {
		sc.t.Helper()
		root := id("alice", "/v1/conversations/"+conversation+"/messages", `{"type":"text","body":{"text":"root"}}`)
		thread := id("alice", "/v1/messages/"+root+"/thread", `{"name":"t"}`)
		sc.post("bob", "/v1/conversations/"+thread+"/join", "")
		sc.ids["message"] = append(sc.ids["message"], root)
		return thread
	}
	sc.room = id("alice", "/v1/conversations", `{"kind":"room","name":"r","members":["bob","carol"]}`)
	sc.thread = under(sc.group)
	sc.space = id("alice", "/v1/spaces", `{"name":"s"}`)
	in := "/v1/spaces/" + sc.space
	sc.post("alice", in+"/members", `{"members":["bob","carol"]}`)
	sc.post("alice", in+"/invitations", `{"users":["stranger"]}`)
	role := id("alice", in+"/roles", `{"name":"r","permissions":{"kick":"allow"}}`)
	sc.channel = id("alice", in+"/channels", `{"name":"c"}`)
	sc.den = id("alice", in+"/channels", `{"name":"d","visibility":"private"}`)
	sc.call(http.MethodPut, "alice", "/v1/conversations/"+sc.den+"/lists/allow/bob", "")
	sc.call(http.MethodPut, "alice", "/v1/conversations/"+sc.den+"/overrides/"+role, `{"permissions":{"send":"deny"}}`)
	sc.nested = under(sc.den)
	sc.ids["conversation"] = append(sc.ids["conversation"], sc.conversations()...)
	sc.ids["space"] = append(sc.ids["space"], sc.space)
	sc.ids["role"] = append(sc.ids["role"], role, "everyone")
}

// post makes a POST request that must succeed.
func (c *crawler) post(user, path, body string) map[string]any {
	c.t.Helper()
	return c.call(http.MethodPost, user, path, body)
}

// call makes a request of any method that must succeed.
func (c *crawler) call(method, user, path, body string) map[string]any {
	c.t.Helper()
	req, err := http.NewRequest(method, "http://"+c.server.addr+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.tokens[user])
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		c.t.Fatalf("%s %s as %s: %s %s %v", method, path, user, res.Status, b, err)
	}
	var v map[string]any
	if len(b) == 0 {
		return v
	}
	if err := json.Unmarshal(b, &v); err != nil {
		c.t.Fatal(err)
	}
	return v
}

// send sends a message with the marker in all parts of its content. It checks that no file has the
// marker, even before the message is erased.
func (sc *scene) send(conversation string, m marker, more string) string {
	sc.t.Helper()
	body := fmt.Sprintf(`{"type":"text","body":{"text":"words and %[1]s among them"},"ext":{"%[1]s":["%[1]s"]},`+
		`"mentions":["%[1]s"],"push":{"title":"%[1]s"},"receipt":%[3]t%[2]s}`,
		m.text, more, conversation == sc.direct || conversation == sc.group)
	id := sc.post("alice", "/v1/conversations/"+conversation+"/messages", body)["id"].(string)
	sc.ids["message"] = append(sc.ids["message"], id)
	sc.inNoFile(m)
	switch conversation {
	case sc.direct, sc.den, sc.nested:
		return id // it must stay the newest, for the previews
	}
	// A reply to the message must not preserve it.
	quote := sc.post("bob", "/v1/conversations/"+conversation+"/messages", `{"type":"text","body":{"text":"quoting"},"reply_to":"`+id+`"}`)
	sc.ids["message"] = append(sc.ids["message"], quote["id"].(string))
	return id
}

// sendAll sends a message to each conversation of the town.
func (sc *scene) sendAll(m marker, more string) []string {
	sc.t.Helper()
	var ids []string
	for _, conversation := range sc.conversations() {
		ids = append(ids, sc.send(conversation, m, more))
	}
	return ids
}

// insert inserts a message silently with the marker in all parts of its content.
func (sc *scene) insert(m marker, conversation, more string, at time.Time) string {
	sc.t.Helper()
	body := fmt.Sprintf(`{"conversation_id":%q,"sender":"alice","type":"text","body":{"text":"words and %[2]s"},"ext":{"%[2]s":1},"created_at":%q%s}`,
		conversation, m.text, at.UTC().Format(time.RFC3339Nano), more)
	id := sc.post("root", "/v1/admin/import/message", body)["id"].(string)
	sc.ids["message"] = append(sc.ids["message"], id)
	sc.inNoFile(m)
	return id
}

// age inserts an old message into conversations, and sets a retention of conversations or their
// parents that it is past.
func (sc *scene) age(m marker, conversations []string, keepers ...string) {
	sc.t.Helper()
	for _, conversation := range conversations {
		sc.insert(m, conversation, "", time.Now().Add(-48*time.Hour))
	}
	for _, keeper := range keepers {
		sc.call(http.MethodPatch, "alice", "/v1/conversations/"+keeper, `{"settings":{"retention_days":1}}`)
	}
}

// waitState waits until a message is read in a state.
func (sc *scene) waitState(id, state string) {
	sc.t.Helper()
	await.Until(sc.t, "the message is "+state, func() bool {
		_, b := sc.get("alice", "/v1/messages/"+id, false)
		return bytes.Contains(b, []byte(`"state":"`+state+`"`))
	})
}
