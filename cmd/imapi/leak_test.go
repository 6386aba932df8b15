package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	endian "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/internal/testsize"
)

// marker is a random text and the encodings in which it could be kept.
type marker struct {
	text  string
	forms map[string][]byte
}

func newMarker() marker {
	text := fmt.Sprintf("mark%016xer", rand.Uint64())
	m := marker{text: text, forms: map[string][]byte{"UTF-8": []byte(text)}}
	for name, order := range map[string]endian.AppendByteOrder{"UTF-16LE": endian.LittleEndian, "UTF-16BE": endian.BigEndian} {
		var b []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, unit)
		}
		m.forms[name] = b
	}
	for shift := range 3 {
		// In base64 at any alignment, without the digits at both ends that depend on the
		// text around it.
		digits := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + text))
		m.forms[fmt.Sprintf("base64+%d", shift)] = []byte(strings.ToLower(digits[4 : len(digits)-4]))
	}
	return m
}

// in returns the form in which a text holds the marker, "" if it does not.
func (m marker) in(b []byte) string {
	b = lower(b) // full-text indexes fold case
	for name, form := range m.forms {
		if bytes.Contains(b, lower(form)) {
			return name
		}
	}
	return ""
}

// lower returns a copy of b with the letters of ASCII in lower case. It reads whole databases
// again and again, which under the race detector would take most of the time of these tests.
//
//go:norace
func lower(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		out[i] = c
	}
	return out
}

// document is the OpenAPI document that a crawler reads.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	return api.Load()
})

// crawler makes every GET request of the OpenAPI document.
type crawler struct {
	t      *testing.T
	server *server
	tokens map[string]string
	// hook is a webhook with all events, and receives gets them.
	hook     *client.Webhook
	receives *receiver
	// ids are the values of path parameters, and queries those of required query
	// parameters.
	ids, queries map[string][]string
}

// leaks returns where any of the markers is found: in answers to anybody, in the server's
// output, or in its files.
func (c *crawler) leaks(markers ...marker) []string {
	c.t.Helper()
	var found []string
	look := func(where string, b []byte) {
		for _, m := range markers {
			if form := m.in(b); form != "" {
				found = append(found, where+" as "+form)
			}
		}
	}
	c.dataStream(markers)
	spec, err := document()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range markers {
		c.queries["q"] = append(c.queries["q"], m.text, m.text[:len(m.text)-2])
	}
	for path, item := range spec.Paths.Map() {
		if item.Get == nil {
			continue
		}
		answered := false
		for _, target := range c.fill(path, item.Get.Parameters) {
			for user := range c.tokens {
				status, body := c.get(user, target, item.Get.OperationID == "getEvents")
				answered = answered || status < 400
				look("GET "+target+" as "+user, body)
			}
		}
		if !answered {
			c.t.Errorf("GET %s was answered by nothing but refusals: give the crawler an id for it", path)
		}
	}
	for user := range c.tokens {
		look("the stream of "+user, c.stream(user))
	}
	look("what a webhook gets again", c.redelivered())
	look("the server's log", []byte(c.server.log.String()))
	look("the server's output", []byte(c.server.out.String()))
	found = append(found, c.inFiles(markers...)...)
	sort.Strings(found)
	return found
}

// dataStream pushes the markers to a data stream and ends it. From then on nothing of it may
// be found.
func (c *crawler) dataStream(markers []marker) {
	c.t.Helper()
	id := c.post("alice", "/v1/streams", `{"access":"anyone"}`)["id"].(string)
	stream := "/v1/streams/" + id
	for _, m := range markers {
		c.post("alice", stream+"/frames", `{"text":"`+m.text+`"}`)
	}
	c.post("alice", stream+"/end", "")
	c.ids["stream"] = []string{id}
}

// redelivered returns what the webhook gets if everything is delivered again.
func (c *crawler) redelivered() []byte {
	c.t.Helper()
	caughtUp := func() bool { return c.server.hookNow(c.hook.ID).Behind == 0 }
	await.Until(c.t, "the webhook has everything", caughtUp)
	before := c.receives.all()
	if len(before) == 0 {
		c.t.Fatal("the webhook got nothing")
	}
	from := client.Redeliver{From: &before[0].id}
	if _, err := c.server.admin().RedeliverWithResponse(context.Background(), c.hook.ID, &client.RedeliverParams{}, from); err != nil {
		c.t.Fatal(err)
	}
	await.Until(c.t, "the webhook has everything again", caughtUp)
	var all []byte
	for _, got := range c.receives.all()[len(before):] {
		all = append(append(all, got.body...), '\n')
	}
	if len(all) == 0 {
		c.t.Error("the webhook got nothing again")
	}
	return all
}

// fill returns a path with every combination of ids for its parameters and of values for
// the required ones of its query.
func (c *crawler) fill(path string, parameters openapi3.Parameters) []string {
	c.t.Helper()
	for _, p := range parameters {
		if p.Value.In == openapi3.ParameterInQuery && p.Value.Required {
			path += "?" + p.Value.Name + "={" + p.Value.Name + "}" // there is at most one
			c.ids[p.Value.Name] = c.queries[p.Value.Name]
		}
	}
	targets := []string{path}
	for {
		begin := strings.Index(targets[0], "{")
		if begin < 0 {
			return targets
		}
		end := strings.Index(targets[0], "}")
		name := targets[0][begin+1 : end]
		if len(c.ids[name]) == 0 {
			c.t.Errorf("%s: the crawler has no ids for %s", path, name)
			return nil
		}
		var next []string
		for _, target := range targets {
			for _, id := range c.ids[name] {
				escaped := url.PathEscape(id)
				if before, _, _ := strings.Cut(target, "{"); strings.Contains(before, "?") {
					escaped = url.QueryEscape(id)
				}
				next = append(next, strings.Replace(target, "{"+name+"}", escaped, 1))
			}
		}
		targets = next
	}
}

// get reads a resource to the last of its pages.
func (c *crawler) get(user, target string, page bool) (int, []byte) {
	c.t.Helper()
	var (
		all    []byte
		status int
	)
	query := url.Values{}
	for {
		and := "?"
		if strings.Contains(target, "?") {
			and = "&"
		}
		req, err := http.NewRequest(http.MethodGet, "http://"+c.server.addr+target+and+query.Encode(), nil)
		if err != nil {
			c.t.Fatal(err)
		}
		if token := c.tokens[user]; token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		if page {
			req.Header.Set("Accept", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			c.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			c.t.Fatal(err)
		}
		all, status = append(all, body...), res.StatusCode
		if status >= 500 {
			c.t.Errorf("GET %s as %s: %d %s", target, user, status, body)
		}
		var more struct {
			Next string `json:"next_page_token"`
		}
		if json.Unmarshal(body, &more) != nil || more.Next == "" {
			return status, all
		}
		query.Set("page_token", more.Next)
	}
}

// stream reads the whole log of a user as a stream.
func (c *crawler) stream(user string) []byte {
	c.t.Helper()
	if c.tokens[user] == "" {
		return nil
	}
	_, pages := c.get(user, "/v1/events", true)
	var log struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	if err := json.NewDecoder(bytes.NewReader(pages)).Decode(&log); err != nil {
		c.t.Fatal(err)
	}
	if len(log.Items) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.server.addr+"/v1/events", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.tokens[user])
	req.Header.Set("Last-Event-ID", log.Items[0].ID)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var all []byte
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	last := false
	for len(log.Items) > 1 && lines.Scan() {
		all = append(append(all, lines.Bytes()...), '\n')
		last = last || lines.Text() == "id: "+log.Items[len(log.Items)-1].ID
		if last && lines.Text() == "" {
			break
		}
	}
	return all
}

// inFiles returns the files below the data directory that hold a marker.
func (c *crawler) inFiles(markers ...marker) []string {
	c.t.Helper()
	var found []string
	err := filepath.WalkDir(c.server.data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range markers {
			if form := m.in(b); form != "" {
				found = append(found, filepath.Base(path)+" as "+form)
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return found
}

// inNoFile checks that no file contains a marker, before or after its erasure.
func (c *crawler) inNoFile(markers ...marker) {
	c.t.Helper()
	if found := c.inFiles(markers...); len(found) > 0 {
		c.t.Errorf("in the clear in %v", found)
	}
}

// scene is a conversation of each kind and its messages. Alice owns all of them, bob is in
// all of them, and carol in all that are neither private nor direct.
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
	nested  string // a thread in that
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

// found makes a group with a message and a picture, and gives the crawler its ids.
func (sc *scene) found() {
	sc.t.Helper()
	sc.group = sc.post("alice", "/v1/conversations", `{"kind":"group","name":"g","members":["bob","carol"]}`)["id"].(string)
	sc.ids["conversation"] = append(sc.ids["conversation"], sc.group)
	sc.ids["message"] = append(sc.ids["message"], sc.post("alice", "/v1/conversations/"+sc.group+"/messages",
		`{"type":"text","body":{"text":"stays"},"receipt":true}`)["id"].(string))
	sc.sendPicture(sc.group, &marker{text: "stays"})
}

// build makes a town and gives the crawler its ids.
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

// send sends a message with the marker in all parts of its content. No file has the marker,
// even before it is erased.
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
		return id // it stays the newest, for the previews
	}
	// A quote of it must not keep it.
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

// destroy deletes a conversation for everyone.
func (sc *scene) destroy(conversations ...string) {
	sc.t.Helper()
	for _, conversation := range conversations {
		sc.call(http.MethodDelete, "alice", "/v1/conversations/"+conversation+"?scope=everyone", "")
	}
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

// age inserts an old message into conversations, and sets retention on conversations or
// their parents so that it is past.
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

// ways are the ways in which a message is erased, trimmed or purged.
var ways = map[string]func(sc *scene, m marker){
	"revoked": func(sc *scene, m marker) {
		id := sc.send(sc.direct, m, "")
		sc.post("alice", "/v1/messages/"+id+"/revoke", `{"postscript":"sorry"}`)
	},
	"revoked without a body in a group by its owner": func(sc *scene, m marker) {
		id := sc.send(sc.group, m, "")
		sc.post("alice", "/v1/messages/"+id+"/revoke", "")
	},
	"revoked with others": func(sc *scene, m marker) {
		ids, err := json.Marshal([]string{sc.send(sc.group, m, ""), sc.send(sc.direct, m, "")})
		if err != nil {
			sc.t.Fatal(err)
		}
		sc.post("root", "/v1/messages/revoke", `{"ids":`+string(ids)+`}`)
	},
	"burned by hand": func(sc *scene, m marker) {
		id := sc.send(sc.direct, m, `,"burn":{"after_seconds":60}`)
		sc.post("bob", "/v1/messages/"+id+"/burn", "")
	},
	"burned by reading": func(sc *scene, m marker) {
		id := sc.send(sc.direct, m, `,"burn":{"after_seconds":0}`)
		sc.post("bob", "/v1/conversations/"+sc.direct+"/receipts", `{"kind":"read","up_to":"`+id+`"}`)
	},
	"burned by the clock": func(sc *scene, m marker) {
		id := sc.send(sc.direct, m, `,"burn":{"after_seconds":1}`)
		sc.post("bob", "/v1/conversations/"+sc.direct+"/receipts", `{"kind":"read","message_ids":["`+id+`"]}`)
		sc.waitState(id, "burned")
	},
	"burned unread": func(sc *scene, m marker) {
		sc.waitState(sc.send(sc.direct, m, `,"burn":{"after_seconds":9,"unread_ttl_seconds":1}`), "burned")
	},
	"deleted with its conversation": func(sc *scene, m marker) {
		sc.send(sc.direct, m, "")
		sc.call(http.MethodDelete, "bob", "/v1/conversations/@alice?scope=everyone", "")
		// A new one is created then, and requests for the old one are 404.
		sc.post("bob", "/v1/conversations/@alice/messages", `{"type":"text","body":{"text":"anew"}}`)
	},
	"past retention": func(sc *scene, m marker) {
		sc.insert(m, sc.group, "", time.Now().Add(-48*time.Hour))
		sc.call(http.MethodPatch, "alice", "/v1/conversations/"+sc.group, `{"settings":{"retention_days":1}}`)
	},
	"a notice for one, revoked": func(sc *scene, m marker) {
		id := sc.insert(m, sc.group, `,"visible_to":"bob"`, time.Now().Add(-time.Hour))
		sc.post("root", "/v1/messages/"+id+"/revoke", "")
	},
	"a command, and revoked after an admin sent it": func(sc *scene, m marker) {
		for _, conversation := range append(sc.conversations(), sc.direct, sc.group) {
			sc.post("alice", "/v1/conversations/"+conversation+"/messages",
				fmt.Sprintf(`{"type":"command","client_id":"%[1]s","body":{"action":"%[1]s","params":{"%[1]s":["%[1]s"]}}}`, m.text))
		}
		sc.inNoFile(m)
		sent := sc.post("root", "/v1/admin/messages", fmt.Sprintf(`{"as":"carol","to":["@alice",%q],"message":`+
			`{"type":"text","body":{"text":"%[2]s"},"ext":{"%[2]s":["%[2]s"]},"push":{"title":"%[2]s"}}}`, sc.group, m.text))
		sc.inNoFile(m)
		for _, item := range sent["items"].([]any) {
			id := item.(map[string]any)["message"].(map[string]any)["id"].(string)
			sc.ids["message"] = append(sc.ids["message"], id)
			sc.post("root", "/v1/messages/"+id+"/revoke", "")
		}
	},
	"expired": func(sc *scene, m marker) {
		sc.waitState(sc.send(sc.group, m, `,"expire_after_seconds":1`), "expired")
	},
	"revoked and deleted in every conversation": func(sc *scene, m marker) {
		for _, id := range sc.sendAll(m, "") {
			sc.post("alice", "/v1/messages/"+id+"/revoke", `{"postscript":"sorry"}`)
		}
		for _, id := range sc.sendAll(m, `,"mention_all":true`) {
			sc.call(http.MethodDelete, "alice", "/v1/messages/"+id, "")
		}
		for _, conversation := range sc.conversations() {
			id := sc.insert(m, conversation, `,"visible_to":"bob"`, time.Now().Add(-time.Hour))
			sc.call(http.MethodDelete, "root", "/v1/messages/"+id, "")
		}
		// The thread under a message outlives it.
		for _, conversation := range []string{sc.group, sc.channel, sc.den} {
			id := sc.send(conversation, m, "")
			thread := sc.post("alice", "/v1/messages/"+id+"/thread", `{"name":"below"}`)["id"].(string)
			sc.ids["conversation"] = append(sc.ids["conversation"], thread)
			sc.post("alice", "/v1/messages/"+id+"/revoke", "")
		}
	},
	"expired in every conversation": func(sc *scene, m marker) {
		for _, id := range sc.sendAll(m, `,"expire_after_seconds":1`) {
			sc.waitState(id, "expired")
		}
	},
	"past retention in every conversation": func(sc *scene, m marker) {
		sc.age(m, []string{sc.room, sc.thread}, sc.room, sc.group)
		sc.age(m, []string{sc.channel, sc.den, sc.nested}, sc.channel, sc.den)
	},
	"a picture, revoked": func(sc *scene, m marker) {
		sc.post("alice", "/v1/messages/"+sc.sendPicture(sc.direct, &m)+"/revoke", "")
	},
	"a picture, deleted with its conversation": func(sc *scene, m marker) {
		sc.sendPicture(sc.room, &m)
		sc.destroy(sc.room)
	},
	"deleted with their parent": func(sc *scene, m marker) {
		send := func(conversations ...string) {
			for _, conversation := range conversations {
				sc.send(conversation, m, "")
			}
		}
		send(sc.thread, sc.nested)
		sc.destroy(sc.thread, sc.nested)
		// New ones are created after each, and requests for the old ones are 404.
		sc.build()
		send(sc.room, sc.thread, sc.channel, sc.den, sc.nested)
		sc.destroy(sc.room, sc.group)
		sc.destroy(sc.channel, sc.den)
		sc.found()
		sc.build()
		space := sc.space
		send(sc.channel, sc.den, sc.nested)
		sc.build()
		sc.call(http.MethodDelete, "alice", "/v1/spaces/"+space, "")
	},
}

// TestNothingLeaks removes a message in each way and then looks for it everywhere: in every
// GET of the OpenAPI document as every member, as a stranger, as an admin and without a
// token, in the whole log as pages and as a stream, in the server's output and in its
// files.
func TestNothingLeaks(t *testing.T) {
	// A short run leaves these to the ways that do the same in every conversation, or by the
	// same code.
	long := []string{"revoked", "revoked with others", "burned by hand", "burned by the clock", "past retention", "expired"}
	for way, takeBack := range ways {
		t.Run(way, func(t *testing.T) {
			if testing.Short() && slices.Contains(long, way) {
				t.Skip("make test-all runs it")
			}
			t.Parallel()
			sc := newScene(t)
			m := newMarker()
			takeBack(sc, m)
			if found := sc.leaks(m); len(found) > 0 {
				t.Errorf("found in:\n%s", strings.Join(found, "\n"))
			}
		})
	}
}

// TestNothingLeaksAfterACrash kills the server right after the answer.
func TestNothingLeaksAfterACrash(t *testing.T) {
	all := []string{
		"revoked", "deleted with their parent", "burned by hand", "burned by reading", "revoked and deleted in every conversation",
	}
	for _, way := range all[:testsize.Pick(len(all), 2)] {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			sc := newScene(t)
			m := newMarker()
			ways[way](sc, m)
			sc.server.kill()
			sc.inNoFile(m)
			sc.server.start()
			if found := sc.leaks(m); len(found) > 0 {
				t.Errorf("found in:\n%s", strings.Join(found, "\n"))
			}
		})
	}
}

// TestTheCrawlerFinds checks that the crawler would find a leak: it finds a message that
// was not erased everywhere it should be.
func TestTheCrawlerFinds(t *testing.T) {
	sc := newScene(t)
	step := steps.Begin(t)
	step("a direct message")
	m := newMarker()
	id := sc.send(sc.direct, m, "")
	found := strings.Join(sc.leaks(m), "\n")
	for _, where := range []string{
		"GET /v1/messages/" + id + " as bob", "GET /v1/conversations/" + sc.direct + "/messages as alice",
		"GET /v1/conversations as bob", "GET /v1/conversations/@bob as alice",
		"GET /v1/events as bob", "the stream of alice",
		"GET /v1/messages/search?q=" + m.text + " as bob", "GET /v1/admin/export as root", "what a webhook gets again",
	} {
		if !strings.Contains(found, where) {
			t.Errorf("a message that is there was not found in %s; found in:\n%s", where, found)
		}
	}
	onlyTheirs := func(found string) {
		t.Helper()
		found = strings.ReplaceAll(found, "GET /v1/admin/export as root", "")
		for _, where := range []string{"stranger", "nobody", "carol", "root", "\noutput", "\nlog as"} {
			if strings.Contains("\n"+found, where) {
				t.Errorf("a message of alice's and bob's was found in %s:\n%s", where, found)
			}
		}
	}
	onlyTheirs(found)
	step("messages in rooms, threads and channels")
	for _, conversations := range [][]string{{sc.room, sc.thread, sc.channel}, {sc.den, sc.nested}} {
		m := newMarker()
		wanted := []string{"GET /v1/events as bob", "the stream of bob", "GET /v1/messages/search?q=" + m.text + " as bob"}
		private := slices.Contains(conversations, sc.den)
		for _, conversation := range conversations {
			id := sc.send(conversation, m, "")
			wanted = append(wanted, "GET /v1/messages/"+id+" as bob", "GET /v1/conversations/"+conversation+"/messages as alice")
			if private {
				wanted = append(wanted, "GET /v1/conversations/"+conversation+" as alice")
			} else {
				wanted = append(wanted, "GET /v1/messages/"+id+" as carol")
			}
		}
		found := strings.Join(sc.leaks(m), "\n")
		if private {
			wanted = append(wanted, "GET /v1/spaces/"+sc.space+"/channels as bob",
				"GET /v1/conversations/"+sc.den+"/threads as bob", "GET /v1/threads as bob", "/thread as bob")
			onlyTheirs(found)
		} else {
			wanted = append(wanted, "GET /v1/admin/export as root") // of the room
		}
		for _, where := range wanted {
			if !strings.Contains(found, where) {
				t.Errorf("a message that is there was not found in %s; found in:\n%s", where, found)
			}
		}
	}
	step("a file")
	// No file has it, as send has checked. It would be found there.
	if err := os.WriteFile(filepath.Join(sc.server.data, "leak"), []byte("before "+m.text+" after"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := sc.inFiles(m); !slices.Equal(found, []string{"leak as UTF-8"}) {
		t.Errorf("a message that is in one file was found in %v", found)
	}
	for name, form := range m.forms {
		if got := m.in(append([]byte("before"), append(form, "after"...)...)); got == "" {
			t.Errorf("the marker as %s is not seen", name)
		}
	}
}
