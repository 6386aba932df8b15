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
	"unicode/utf16"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
)

// marker is a random text and the encodings in which it could be stored.
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
		// Base64 at any alignment, without the digits at both ends that depend on the surrounding
		// text.
		digits := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + text))
		m.forms[fmt.Sprintf("base64+%d", shift)] = []byte(strings.ToLower(digits[4 : len(digits)-4]))
	}
	return m
}

// in returns the form in which a text contains the marker, "" if it does not.
func (m marker) in(b []byte) string {
	b = lower(b) // full-text indexes fold case
	for name, form := range m.forms {
		if bytes.Contains(b, lower(form)) {
			return name
		}
	}
	return ""
}

// lower returns a copy of b with ASCII letters in lower case. It processes whole databases again
// and again, which would take most of the time of these tests under the race detector.
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
	// hook is a webhook for all events, and receives gets them.
	hook     *client.Webhook
	receives *receiver
	// ids are the values of path parameters, and queries those of required query
	// parameters.
	ids, queries map[string][]string
}

// leaks returns the places where a marker is found: in answers to any user, in the server's output,
// or in its files.
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

// dataStream pushes the markers to a data stream and ends it. From then on no marker in it may be
// found.
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

// redelivered returns what the webhook gets when everything is delivered again.
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

// fill returns a path with every combination of ids for its parameters and of values for its
// required query parameters.
func (c *crawler) fill(path string, parameters openapi3.Parameters) []string {
	c.t.Helper()
	for _, p := range parameters {
		if p.Value.In == openapi3.ParameterInQuery && p.Value.Required {
			path += "?" + p.Value.Name + "={" + p.Value.Name + "}" // no operation has more than one
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

// get reads all pages of a resource.
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

// TestTheCrawlerFinds checks that the crawler would find a leak: it finds a message that is not
// erased wherever that can be read.
func TestTheCrawlerFinds(t *testing.T) {
	t.Parallel()
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
	// No file has the marker, as send has checked. If one had it, it would be found.
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
