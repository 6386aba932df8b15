package handlers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/internal/testsize"
)

// These tests generate valid and invalid requests from the OpenAPI document, for every operation
// and every kind of user. conforms validates each answer: its status, type, shape, and the code of
// a refusal.

// FuzzAnswers makes one request for each input, which is its seed.
func FuzzAnswers(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed)
	}
	w := newWorld(f)
	s := newThings(w)
	f.Fuzz(func(t *testing.T, seed uint64) {
		throw(w.in(t), s, seed)
	})
}

// TestAnswersAreAsDocumented makes a request for each of the first seeds.
func TestAnswersAreAsDocumented(t *testing.T) {
	var (
		w *world
		s *things
	)
	for seed := range testsize.Pick[uint64](4000, 1200) {
		if seed%500 == 0 { // start anew, because much has been deleted by now
			w = newWorld(t)
			s = newThings(w)
		}
		throw(w, s, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// things are the ids that a request can name.
type things struct {
	tokens                                []string
	conversations, messages, spaces, role []string
	operations                            []operation
	spec                                  *openapi3.T
}

func newThings(w *world) *things {
	w.t.Helper()
	s := &things{tokens: []string{""}}
	s.spec = contract()
	for _, user := range []string{"alice", "bob", "carol", "dave"} {
		s.tokens = append(s.tokens, "Bearer "+tokenOf(w.t, user))
	}
	s.tokens = append(s.tokens, "Bearer "+mint(w.t, auth.Grant{User: "root", Admin: true}, 0), "Bearer x.y.z", "Basic eDp5")

	group := w.group("alice", "bob", "dave")
	room := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations", `{"kind":"room","name":"r","settings":{"slow_mode_seconds":60}}`)["id"].(string)
	w.must(http.StatusOK, "bob", http.MethodPost, "/v1/conversations/"+room+"/join", "")
	space, channel := w.newSpace("alice", "bob", "dave")
	private := w.newChannel("alice", space, "private")
	role := w.newRole("alice", space, `{"kick":"allow","manage_roles":"allow","view":"allow"}`)
	direct := w.say("alice", "@bob", "hi")
	said := w.say("bob", group, "hi")["id"].(string)
	thread := w.newThread("alice", said)
	burning := w.must(http.StatusCreated, "alice", http.MethodPost, toBob, `{"type":"text","body":{"text":"x"},"burn":{"after_seconds":5}}`)["id"].(string)
	erased := w.say("alice", group, "x")["id"].(string)
	w.must(http.StatusOK, "alice", http.MethodPost, "/v1/messages/"+erased+"/revoke", `{"postscript":"p","extension":[null]}`)
	s.conversations = []string{"@alice", "@bob", "@carol", "@nobody", group, group, room, channel, private, thread, direct["conversation_id"].(string), space}
	s.messages = []string{
		direct["id"].(string), said, burning, erased, w.say("alice", channel, "x")["id"].(string),
		w.say("dave", group, "x")["id"].(string), w.say("bob", group, "x")["id"].(string), w.say("alice", "@bob", "x")["id"].(string),
	}
	s.spaces = []string{space, space, space, group}
	s.role = []string{role, role, "everyone", space}
	for _, id := range slices.Sorted(maps.Keys(operations())) {
		s.operations = append(s.operations, operations()[id])
	}
	return s
}

// throw generates a request from a seed and sends it.
func throw(w *world, s *things, seed uint64) {
	w.t.Helper()
	g := &thrower{things: s, Rand: rand.New(rand.NewPCG(seed, 1))}
	o := s.operations[g.IntN(len(s.operations))]
	item := s.spec.Paths.Find(o.path)
	spec := item.GetOperation(o.method)
	path, query := o.path, url.Values{}
	header := http.Header{}
	for _, list := range []openapi3.Parameters{item.Parameters, spec.Parameters} {
		for _, p := range list {
			name := p.Value.Name
			switch p.Value.In {
			case openapi3.ParameterInPath:
				value := g.named(name)
				if o.id == "cutTokens" && value != "" {
					value = "mallory" // the others are still needed
				}
				path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
			case openapi3.ParameterInQuery:
				if g.IntN(3) == 0 && name != "ticket" {
					query.Add(name, g.text(name, p.Value.Schema.Value))
				}
			case openapi3.ParameterInHeader:
				if g.IntN(8) == 0 {
					header.Set(name, strings.Map(printable, g.text(name, p.Value.Schema.Value)))
				}
			}
		}
	}
	switch g.IntN(24) {
	case 0:
		query.Set("x", "1")
	case 1:
		for name := range query {
			query.Add(name, "again")
		}
	}
	raw := query.Encode()
	if g.IntN(60) == 0 {
		raw += "&%zz=1"
	}
	body := g.body(spec, header)
	req, err := http.NewRequest(o.method, w.url+path+"?"+raw, bytes.NewReader(body))
	if err != nil {
		return // a request that Go does not send
	}
	req.Header = header
	if token := s.tokens[g.IntN(len(s.tokens))]; token != "" {
		req.Header.Set("Authorization", token)
	}
	if o.id == "getEvents" {
		req.Header.Set("Accept", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Errorf("seed %d: %s %s: %v", seed, o.method, o.id, err)
		return
	}
	answer, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		w.t.Errorf("seed %d: %s %s: %v", seed, o.method, o.id, err)
		return
	}
	if req.URL.Path == "/metrics" && res.StatusCode == http.StatusOK {
		return
	}
	w.conforms(req, res, answer)
	if res.StatusCode == http.StatusInternalServerError {
		w.t.Errorf("seed %d: %s answered %d: %s", seed, o.id, res.StatusCode, answer)
	}
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return -1
	}
	return r
}

// thrower generates the parts of a request.
type thrower struct {
	*things
	*rand.Rand
}

func (g *thrower) oneOf(list []string) string { return list[g.IntN(len(list))] }

// junk are names of things that do not exist.
func (g *thrower) junk() string {
	return g.oneOf([]string{
		"nothing", "@", "@@", "%", "a/b", "..", ".", "é", "\x00", "\xff", " ", "0", "-1", "null", "@nobody at all",
		strings.Repeat("x", 200), "06d8n3v2k0g1q", "7zzzzzzzzzzzz", "'; --", "\u2028",
	})
}

// named returns a value for a member or parameter of this name.
func (g *thrower) named(name string) string {
	if g.IntN(8) == 0 {
		return g.junk()
	}
	switch name {
	case "conversation", "conversation_id":
		return g.oneOf(g.conversations)
	case "message", "around", "reply_to", "up_to", "message_ids", "ids":
		return g.oneOf(g.messages)
	case "space":
		return g.oneOf(g.spaces)
	case "role", "roles":
		return g.oneOf(g.role)
	case "user", "users", "members", "sender", "mentions", "visible_to", "by":
		return g.oneOf([]string{"alice", "bob", "carol", "dave", "mallory", "zoë"})
	case "list":
		return g.oneOf([]string{"allow", "deny"})
	default:
		return ""
	}
}

// text returns a value for a parameter.
func (g *thrower) text(name string, s *openapi3.Schema) string {
	if g.IntN(6) == 0 {
		return g.junk()
	}
	return fmt.Sprint(g.value(name, s, 0))
}

// body generates a body, if the operation has one, and returns its content type.
func (g *thrower) body(o *openapi3.Operation, header http.Header) []byte {
	if o.RequestBody == nil {
		if g.IntN(20) == 0 {
			header.Set("Content-Type", "application/json")
			return []byte(`{"x":1}`)
		}
		return nil
	}
	var kind string
	for kind = range o.RequestBody.Value.Content {
	}
	schema := o.RequestBody.Value.Content[kind].Schema.Value
	lines := 1
	if kind == "application/x-ndjson" {
		schema, lines = g.spec.Components.Schemas["ImportLine"].Value, 1+g.IntN(3)
	}
	var out []byte
	for range lines {
		v := g.value("", schema, 0)
		for g.IntN(3) == 0 {
			v = g.damaged(v)
		}
		b, _ := json.Marshal(v)
		out = append(append(out, b...), '\n')
	}
	switch g.IntN(40) {
	case 0:
		out = out[:g.IntN(len(out))]
	case 1:
		out = nil
	case 2:
		out = append(out, '{')
	case 3:
		out = bytes.ReplaceAll(out, []byte(`"`), []byte("\"\xff"))
	case 4:
		out = []byte(strings.Repeat("[", 100))
	case 5:
		out = append([]byte(`{"type":`), bytes.Repeat([]byte("x"), 1<<20+1)...)
	}
	switch g.IntN(30) {
	case 0:
	case 1:
		header.Set("Content-Type", "text/plain")
	default:
		header.Set("Content-Type", kind)
	}
	return out
}

// value generates a value that mostly fits a schema.
func (g *thrower) value(name string, s *openapi3.Schema, depth int) any {
	if s.Nullable && g.IntN(6) == 0 {
		return nil
	}
	if len(s.OneOf) > 0 {
		return g.value(name, s.OneOf[g.IntN(len(s.OneOf))].Value, depth)
	}
	if len(s.Enum) > 0 {
		return s.Enum[g.IntN(len(s.Enum))]
	}
	switch {
	case s.Type == nil:
		return g.anything(depth)
	case s.Type.Is("object"):
		return g.object(s, depth)
	case s.Type.Is("array"):
		most := 3
		if g.IntN(20) == 0 {
			most = 250
		}
		list := make([]any, g.IntN(most+1))
		for i := range list {
			list[i] = g.value(name, s.Items.Value, depth+1)
		}
		return list
	case s.Type.Is("boolean"):
		return g.IntN(2) == 0
	case s.Type.Is("integer"), s.Type.Is("number"):
		return g.number(s)
	default:
		return g.string(name, s)
	}
}

func (g *thrower) object(s *openapi3.Schema, depth int) any {
	object := make(map[string]any)
	names := slices.Sorted(maps.Keys(s.Properties))
	g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	most := uint64(len(names))
	if s.MaxProps != nil && g.IntN(4) > 0 {
		most = *s.MaxProps
	}
	for _, required := range []bool{true, false} {
		for _, name := range names {
			if slices.Contains(s.Required, name) != required || uint64(len(object)) >= most || !required && g.IntN(3) > 0 {
				continue
			}
			object[name] = g.value(name, s.Properties[name].Value, depth+1)
		}
	}
	return object
}

func (g *thrower) number(s *openapi3.Schema) any {
	low, high := -10.0, 1000.0
	if s.Min != nil {
		low = *s.Min
	}
	if s.Max != nil {
		high = *s.Max
	}
	switch g.IntN(6) {
	case 0:
		return low
	case 1:
		return high
	case 2:
		return json.Number(g.oneOf([]string{"1e3", "1.5", "-1", "1e400", "9223372036854775808", "-0"}))
	default:
		n := low + g.Float64()*min(high-low, 1000)
		if s.Type.Is("integer") {
			return int64(n)
		}
		return n
	}
}

func (g *thrower) string(name string, s *openapi3.Schema) string {
	if known := g.named(name); known != "" {
		return known
	}
	switch {
	case s.Format == "date-time":
		return g.oneOf([]string{"2026-01-02T03:04:05.678Z", "2026-11-28T00:00:00+08:00", "2999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "yesterday"})
	case strings.Contains(s.Pattern, "|"):
		return g.oneOf(strings.Split(strings.Trim(s.Pattern, "^()$"), "|"))
	case g.IntN(10) == 0 && s.MaxLength != nil:
		return strings.Repeat("语", int(*s.MaxLength)+g.IntN(2))
	case name == "client_id":
		return g.oneOf([]string{"c-1", "c-2", "c-3"})
	default:
		return g.oneOf([]string{"hi", "x", "上海", "a b", "<&>", "\U0001f600", ""})
	}
}

// anything returns an arbitrary JSON value.
func (g *thrower) anything(depth int) any {
	switch g.IntN(8) {
	case 0:
		return nil
	case 1:
		return []any{nil, 1, "x"}
	case 2:
		return map[string]any{"a": map[string]any{}}
	case 3:
		return strings.Repeat("y", 5000)
	case 4:
		var deep any = depth
		for range 70 {
			deep = []any{deep}
		}
		return deep
	default:
		return g.oneOf([]string{"x", "", "\x00"})
	}
}

// damaged returns a value with one change.
func (g *thrower) damaged(v any) any {
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		switch n := g.IntN(6); {
		case n == 0 || len(names) == 0:
			v[g.oneOf([]string{"unknown", "", "id", "type", "user"})] = g.anything(0)
		case n == 1:
			delete(v, names[g.IntN(len(names))])
		case n == 2:
			return g.anything(0)
		default:
			name := names[g.IntN(len(names))]
			v[name] = g.damaged(v[name])
		}
		return v
	case []any:
		if len(v) > 0 && g.IntN(2) == 0 {
			v[0] = g.damaged(v[0])
			return append(v, v[0])
		}
	}
	return g.anything(0)
}
