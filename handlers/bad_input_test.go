package handlers_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

const toBob = "/v1/conversations/@bob/messages"

func manyMentions() string {
	names := make([]string, 50)
	for i := range names {
		names[i] = fmt.Sprintf("%q", fmt.Sprintf("%0128d", i))
	}
	return strings.Join(names, ",")
}

// TestNamesMayRepeatInOtherObjects checks that names must be unique only within one object.
func TestNamesMayRepeatInOtherObjects(t *testing.T) {
	w := newWorld(t)
	w.must(http.StatusCreated, "alice", http.MethodPost, toBob,
		`{"type":"custom","body":{"name":"x","data":{"a":{"a":{"a":["a","a",{"a":1},{"a":1}]}},"b":"\"a\":1,\"a\":","c":{}}},"ext":{"name":"x"}}`)
}

func TestMethodNotAllowedListsTheAllowed(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{"/v1/blocks/a%2Fb": "PUT, DELETE", "/v1/conversations": "GET, HEAD, POST", "/healthz": "GET, HEAD"} {
		a := w.do("alice", http.MethodPatch, path, "")
		if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != want {
			t.Errorf("%s: %d, Allow %q, want %q", path, a.status, a.header.Get("Allow"), want)
		}
	}
}

// TestBadInput checks that requests that do not fit the OpenAPI document are refused with a
// code and the field, and change nothing.
func TestBadInput(t *testing.T) {
	w := newWorld(t)
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code, field        string
	}{
		"unknown member":                       {"POST", toBob, `{"type":"text","body":{"text":"x"},"brun":{}}`, 400, "invalid_request", "brun"},
		"unknown member inside":                {"POST", toBob, `{"type":"text","body":{"text":"x","txt":"y"}}`, 400, "invalid_request", "body/txt"},
		"field in upper case":                  {"POST", toBob, `{"Type":"text","type":"text","body":{"text":"x"}}`, 400, "invalid_request", "Type"},
		"unknown type":                         {"POST", toBob, `{"type":"txt","body":{"text":"x"}}`, 400, "invalid_request", "type"},
		"missing type":                         {"POST", toBob, `{"body":{"text":"x"}}`, 400, "invalid_request", "type"},
		"type is a number":                     {"POST", toBob, `{"type":7,"body":{"text":"x"}}`, 400, "invalid_request", "type"},
		"missing body":                         {"POST", toBob, `{"type":"text"}`, 400, "invalid_request", "body"},
		"null body":                            {"POST", toBob, `{"type":"text","body":null}`, 400, "invalid_request", "body"},
		"body of another message type":         {"POST", toBob, `{"type":"location","body":{"text":"x"}}`, 400, "invalid_request", "body/text"},
		"1e3 for an integer in a send":         {"POST", toBob, `{"type":"text","body":{"text":"x"},"expire_after_seconds":1e3}`, 400, "invalid_request", "expire_after_seconds"},
		"1.0 for an integer inside burn":       {"POST", toBob, `{"type":"text","body":{"text":"x"},"burn":{"after_seconds":1.0}}`, 400, "invalid_request", "burn/after_seconds"},
		"1e3 for an integer in a mute":         {"PUT", "/v1/conversations/@bob/members/bob/mute", `{"seconds":1e3}`, 400, "invalid_request", "seconds"},
		"empty text":                           {"POST", toBob, `{"type":"text","body":{"text":""}}`, 400, "invalid_request", "body/text"},
		"text is a number":                     {"POST", toBob, `{"type":"text","body":{"text":1}}`, 400, "invalid_request", "body/text"},
		"null ext":                             {"POST", toBob, `{"type":"text","body":{"text":"x"},"ext":null}`, 400, "invalid_request", "ext"},
		"ext is a list":                        {"POST", toBob, `{"type":"text","body":{"text":"x"},"ext":[]}`, 400, "invalid_request", "ext"},
		"repeated mention":                     {"POST", toBob, `{"type":"text","body":{"text":"x"},"mentions":["a","a"]}`, 400, "invalid_request", "mentions"},
		"mention not in NFC":                   {"POST", toBob, `{"type":"text","body":{"text":"x"},"mentions":["e\u0301"]}`, 400, "invalid_request", "mentions/0"},
		"empty client_id":                      {"POST", toBob, `{"type":"text","body":{"text":"x"},"client_id":""}`, 400, "invalid_request", "client_id"},
		"client_id too long":                   {"POST", toBob, `{"type":"text","body":{"text":"x"},"client_id":"` + strings.Repeat("x", 129) + `"}`, 400, "invalid_request", "client_id"},
		"latitude over 90":                     {"POST", toBob, `{"type":"location","body":{"latitude":90.5,"longitude":0}}`, 400, "invalid_request", "body/latitude"},
		"body is null":                         {"POST", toBob, `null`, 400, "invalid_request", "body"},
		"body is a list":                       {"POST", toBob, `[]`, 400, "invalid_request", "body"},
		"body is blank":                        {"POST", toBob, ` `, 400, "malformed_json", ""},
		"not JSON":                             {"POST", toBob, `{"type":`, 400, "malformed_json", ""},
		"two values":                           {"POST", toBob, `{"type":"text","body":{"text":"x"}}{}`, 400, "malformed_json", ""},
		"repeated name":                        {"POST", toBob, `{"type":"text","body":{"text":"x"},"body":{"text":"y"}}`, 400, "malformed_json", ""},
		"repeated name, once escaped":          {"POST", toBob, `{"type":"text","body":{"text":"x","te\u0078t":"y"}}`, 400, "malformed_json", ""},
		"repeated name in a list":              {"POST", toBob, `{"type":"custom","body":{"name":"x","data":[{"a":1,"b":{"a":2},"a":3}]}}`, 400, "malformed_json", ""},
		"repeated settings, the first invalid": {"PATCH", "/v1/conversations/@bob", `{"settings":{"history":"ALL","evil":1},"settings":{}}`, 400, "malformed_json", ""},
		"mentions too large":                   {"POST", toBob, `{"type":"text","body":{"text":"x"},"mentions":[` + manyMentions() + `]}`, 413, "message_too_large", "mentions"},
		"bad escape in query":                  {"GET", toBob + "?sender=%zz", "", 400, "invalid_request", "query"},
		"semicolon in query":                   {"GET", toBob + "?sender=x;limit=1", "", 400, "invalid_request", "query"},
		"seq out of range":                     {"GET", toBob + "?after_seq=9223372036854775807", "", 400, "invalid_request", "after_seq"},
		"several media types":                  {"POST", toBob, "", 415, "unsupported_media_type", "Content-Type"},
		"not UTF-8":                            {"POST", toBob, "{\"type\":\"text\",\"body\":{\"text\":\"\xff\"}}", 400, "malformed_json", ""},
		"nested too deep":                      {"POST", toBob, `{"type":"custom","body":{"name":"x","data":` + deep + `}}`, 400, "malformed_json", ""},
		"number out of range":                  {"POST", toBob, `{"type":"text","body":{"text":"x"},"ext":{"a":[1e999]}}`, 400, "invalid_request", "ext"},
		"message too large":                    {"POST", toBob, `{"type":"text","body":{"text":"` + strings.Repeat("x", 5120) + `"}}`, 413, "message_too_large", "body"},
		"send to oneself":                      {"POST", "/v1/conversations/@alice/messages", `{"type":"text","body":{"text":"x"}}`, 422, "direct_with_self", "conversation"},
		"reply_to is not an id":                {"POST", toBob, `{"type":"text","body":{"text":"x"},"reply_to":"x"}`, 422, "reply_to_not_found", "reply_to"},
		"unknown parameter":                    {"GET", toBob + "?limt=1", "", 400, "invalid_request", "limt"},
		"repeated parameter":                   {"GET", toBob + "?limit=1&limit=2", "", 400, "invalid_request", "limit"},
		"limit too high":                       {"GET", toBob + "?limit=201", "", 400, "invalid_request", "limit"},
		"limit zero":                           {"GET", toBob + "?limit=0", "", 400, "invalid_request", "limit"},
		"limit not a number":                   {"GET", toBob + "?limit=x", "", 400, "invalid_request", "limit"},
		"negative seq":                         {"GET", toBob + "?after_seq=-1", "", 400, "invalid_request", "after_seq"},
		"from is not a time":                   {"GET", toBob + "?from=yesterday", "", 400, "invalid_request", "from"},
		"plus of a time decoded as a space":    {"GET", toBob + "?from=2026-11-01T00:00:00+08:00", "", 400, "invalid_request", "from"},
		"unknown type as a filter":             {"GET", toBob + "?type=txt", "", 400, "invalid_request", "type"},
		"malformed page token":                 {"GET", toBob + "?page_token=x", "", 400, "invalid_page_token", "page_token"},
		"limit of events too high":             {"GET", "/v1/events?limit=1001", "", 400, "invalid_request", "limit"},
		"group without name":                   {"POST", "/v1/conversations", `{"kind":"group"}`, 400, "invalid_request", "name"},
		"create a direct conversation":         {"POST", "/v1/conversations", `{"kind":"direct","name":"x"}`, 400, "invalid_request", "kind"},
		"empty patch":                          {"PATCH", "/v1/conversations/@bob", `{}`, 400, "invalid_request", "body"},
		"create a thread as a conversation":    {"POST", "/v1/conversations", `{"kind":"thread","name":"x"}`, 400, "invalid_request", "kind"},
		"threads in the list of conversations": {"GET", "/v1/conversations?kind=thread", "", 400, "invalid_request", "kind"},
		"mention_all is a number":              {"POST", toBob, `{"type":"text","body":{"text":"x"},"mention_all":1}`, 400, "invalid_request", "mention_all"},
		"announcement too long":                {"POST", "/v1/conversations", `{"kind":"room","name":"x","settings":{"announcement":"` + strings.Repeat("x", 2049) + `"}}`, 400, "invalid_request", "settings/announcement"},
		"avatar too long":                      {"POST", "/v1/conversations", `{"kind":"room","name":"x","settings":{"avatar":"` + strings.Repeat("x", 1025) + `"}}`, 400, "invalid_request", "settings/avatar"},
		"announcement is a number":             {"POST", "/v1/conversations", `{"kind":"room","name":"x","settings":{"announcement":1}}`, 400, "invalid_request", "settings/announcement"},
		"1e1 for an integer in settings":       {"POST", "/v1/conversations", `{"kind":"room","name":"x","settings":{"slow_mode_seconds":1e1}}`, 400, "invalid_request", "settings/slow_mode_seconds"},
		"slow mode too long":                   {"POST", "/v1/conversations", `{"kind":"room","name":"x","settings":{"slow_mode_seconds":86400}}`, 400, "invalid_request", "settings/slow_mode_seconds"},
		"unknown policy":                       {"POST", "/v1/conversations", `{"kind":"group","name":"x","settings":{"join":"ajar"}}`, 400, "invalid_request", "settings/join"},
		"null policy":                          {"POST", "/v1/conversations", `{"kind":"group","name":"x","settings":{"invite":null}}`, 400, "invalid_request", "settings/invite"},
		"unknown visibility":                   {"PATCH", "/v1/conversations/@bob", `{"visibility":"hidden"}`, 400, "invalid_request", "visibility"},
		"mute for 0 seconds":                   {"PUT", "/v1/conversations/@bob/members/bob/mute", `{"seconds":0}`, 400, "invalid_request", "seconds"},
		"mute too long":                        {"PUT", "/v1/conversations/@bob/members/bob/mute", `{"seconds":31536001}`, 400, "invalid_request", "seconds"},
		"unknown list":                         {"GET", "/v1/conversations/@bob/lists/grey", "", 400, "invalid_request", "list"},
		"thread with an empty name":            {"POST", "/v1/messages/x/thread", `{"name":""}`, 400, "invalid_request", "name"},
		"thread name too long":                 {"POST", "/v1/messages/x/thread", `{"name":"` + strings.Repeat("x", 65) + `"}`, 400, "invalid_request", "name"},
		"thread under an unknown message":      {"POST", "/v1/messages/x/thread", `{"name":"x"}`, 404, "message_not_found", ""},
		"delete an unknown message":            {"DELETE", "/v1/messages/x", "", 404, "message_not_found", ""},
		"space without name":                   {"POST", "/v1/spaces", `{"settings":{}}`, 400, "invalid_request", "name"},
		"space with a history":                 {"POST", "/v1/spaces", `{"name":"x","settings":{"history":"all"}}`, 400, "invalid_request", "settings/history"},
		"empty client_id of a group":           {"POST", "/v1/conversations", `{"kind":"group","name":"x","client_id":""}`, 400, "invalid_request", "client_id"},
		"client_id of a space not in ASCII":    {"POST", "/v1/spaces", `{"name":"x","client_id":"é"}`, 400, "invalid_request", "client_id"},
		"client_id of a thread is a number":    {"POST", "/v1/messages/x/thread", `{"name":"x","client_id":1}`, 400, "invalid_request", "client_id"},
		"client_id of a channel is null":       {"POST", "/v1/spaces/x/channels", `{"name":"x","client_id":null}`, 400, "invalid_request", "client_id"},
		"empty patch of space":                 {"PATCH", "/v1/spaces/x", `{}`, 400, "invalid_request", "body"},
		"unknown space":                        {"GET", "/v1/spaces/x", "", 404, "space_not_found", ""},
		"role and roles":                       {"PATCH", "/v1/spaces/x/members/bob", `{"role":"owner","roles":[]}`, 400, "invalid_request", "body"},
		"role other than owner":                {"PATCH", "/v1/spaces/x/members/bob", `{"role":"member"}`, 400, "invalid_request", "role"},
		"repeated role":                        {"PATCH", "/v1/spaces/x/members/bob", `{"roles":["a","a"]}`, 400, "invalid_request", "roles"},
		"no such role":                         {"PATCH", "/v1/spaces/" + im.ID(1).String() + "/members/bob", `{"roles":["x"]}`, 404, "role_not_found", "roles/0"},
		"invite nobody":                        {"POST", "/v1/spaces/x/invitations", `{"users":[]}`, 400, "invalid_request", "users"},
		"unknown permission":                   {"POST", "/v1/spaces/x/roles", `{"name":"x","permissions":{"fly":"allow"}}`, 400, "invalid_request", "permissions/fly"},
		"unknown grant":                        {"POST", "/v1/spaces/x/roles", `{"name":"x","permissions":{"send":"maybe"}}`, 400, "invalid_request", "permissions/send"},
		"role without grants":                  {"POST", "/v1/spaces/x/roles", `{"name":"x"}`, 400, "invalid_request", "permissions"},
		"position zero":                        {"PATCH", "/v1/spaces/x/roles/y", `{"position":0}`, 400, "invalid_request", "position"},
		"change an unknown role":               {"PATCH", "/v1/spaces/" + im.ID(1).String() + "/roles/y", `{"position":1}`, 404, "role_not_found", ""},
		"override without permissions":         {"PUT", "/v1/conversations/@bob/overrides/everyone", `{}`, 400, "invalid_request", "permissions"},
		"channel with a kind":                  {"POST", "/v1/spaces/x/channels", `{"name":"x","kind":"room"}`, 400, "invalid_request", "kind"},
		"malformed page token of threads":      {"GET", "/v1/threads?page_token=x", "", 400, "invalid_page_token", "page_token"},
		"limit of spaces too high":             {"GET", "/v1/spaces?limit=101", "", 400, "invalid_request", "limit"},
		"block oneself":                        {"PUT", "/v1/blocks/alice", "", 422, "block_self", "user"},
		"user id too long":                     {"PUT", "/v1/blocks/" + strings.Repeat("x", 129), "", 400, "invalid_request", "user"},
		"user id not in NFC":                   {"PUT", "/v1/blocks/e%CC%81", "", 400, "invalid_request", "user"},
		"unknown path":                         {"GET", "/v1/nothing", "", 404, "not_found", ""},
		"unknown path outside /v1":             {"GET", "/nothing", "", 404, "not_found", ""},
		"unknown method":                       {"PUT", "/v1/events", "", 405, "method_not_allowed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var header []string
			if name == "several media types" {
				header = []string{"Content-Type", "text/plain, application/json"}
			}
			a := w.do("alice", c.method, c.path, c.body, header...)
			p := a.json(t)
			field, _ := p["field"].(string)
			if a.status != c.status || p["code"] != c.code || field != c.field {
				t.Errorf("got %d %v %q, want %d %s %q: %s", a.status, p["code"], field, c.status, c.code, c.field, a.body)
			}
			if got := a.header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("content type %q", got)
			}
			if p["detail"] == "" || p["status"] != float64(c.status) || p["title"] == "" || p["type"] == "" {
				t.Errorf("incomplete problem: %s", a.body)
			}
		})
	}
	a := w.do("alice", http.MethodGet, "/v1/events", "", "Accept", "application/json")
	if items := a.json(t)["items"].([]any); len(items) != 0 {
		t.Errorf("bad input left events behind: %v", items)
	}
}

// TestUnknownMethodsOfUnknownPaths checks that methods which no path has are 404 where there is no
// path, and 405 with the methods of the path elsewhere.
func TestUnknownMethodsOfUnknownPaths(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]struct {
		status int
		code   string
		allow  []string
	}{
		"/v1/nothing":       {404, "not_found", nil},
		"/nothing":          {404, "not_found", nil},
		"/v1/conversations": {405, "method_not_allowed", []string{"GET, HEAD, POST"}},
	} {
		for _, method := range []string{"PROPFIND", "get", http.MethodTrace} {
			a := w.do("alice", method, path, "")
			if a.status != want.status || a.code(t) != want.code || !slices.Equal(a.header.Values("Allow"), want.allow) {
				t.Errorf("%s %s: %d %s, Allow %q", method, path, a.status, a.body, a.header.Values("Allow"))
			}
		}
	}
}

func TestRepeatedParametersAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, query := range []string{"limit=1&limit=2", "page_token=a&page_token=b", "pinned=true&pinned=true"} {
		p := w.must(http.StatusBadRequest, "alice", http.MethodGet, "/v1/conversations?"+query, "")
		if field, _, _ := strings.Cut(query, "="); p["field"] != field || p["detail"] != "is given more than once" {
			t.Errorf("%s: %v", query, p)
		}
	}
}

// TestBooleanParameters checks that each boolean query parameter takes true and false, as the
// document says, and nothing else that the generated code would take.
func TestBooleanParameters(t *testing.T) {
	w := newWorld(t)
	fillIn := strings.NewReplacer("{conversation}", im.ID(1).String())
	found := 0
	for path, item := range contract().Paths.Map() {
		for method, operation := range item.Operations() {
			for _, ref := range slices.Concat(item.Parameters, operation.Parameters) {
				p := ref.Value
				if p.In != openapi3.ParameterInQuery || !p.Schema.Value.Type.Is(openapi3.TypeBoolean) {
					continue
				}
				found++
				call := func(value string) answer {
					return w.do("alice", method, fillIn.Replace(path)+"?"+url.Values{p.Name: {value}}.Encode(), "")
				}
				for _, value := range []string{"true", "false"} {
					if a := call(value); a.status == http.StatusBadRequest {
						t.Errorf("%s, %s=%s: %s", operation.OperationID, p.Name, value, a.body)
					}
				}
				for _, value := range []string{"", "0", "1", "2", "t", "f", "T", "F", "True", "False", "TRUE", "FALSE", " true", "yes", "null"} {
					a := call(value)
					if refusal := a.json(t); a.status != http.StatusBadRequest || refusal["code"] != "invalid_request" || refusal["field"] != p.Name {
						t.Errorf("%s, %s=%q: %d %s", operation.OperationID, p.Name, value, a.status, a.body)
					}
				}
			}
		}
	}
	if found == 0 {
		t.Error("the document has no boolean query parameters")
	}
}

// TestCompressedBodiesAreRefused checks that an encoded body is refused, and neither parsed nor
// stored as it is.
func TestCompressedBodiesAreRefused(t *testing.T) {
	w := newWorld(t)
	const text = `{"type":"text","body":{"text":"x"}}`
	for name, c := range map[string]struct {
		path, contentType, coding string
		status                    int
	}{
		"gzip":                 {toBob, "application/json", "gzip", 415},
		"upper case":           {toBob, "application/json", "GZIP", 415},
		"identity, then gzip":  {toBob, "application/json", "identity, gzip", 415},
		"identity":             {toBob, "application/json", "identity", 201},
		"upload":               {"/v1/attachments", "application/octet-stream", "br", 415},
		"upload of a form":     {"/v1/attachments", "multipart/form-data; boundary=x", "deflate", 415},
		"upload with identity": {"/v1/attachments", "application/octet-stream", "identity", 201},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			a := w.do("alice", http.MethodPost, c.path, text, "Content-Type", c.contentType, "Content-Encoding", c.coding)
			if a.status != c.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if p := a.json(t); c.status == 415 && (p["code"] != "unsupported_media_type" || p["field"] != "Content-Encoding" || a.header.Get("Accept-Encoding") != "identity") {
				t.Errorf("%s, Accept-Encoding %q", a.body, a.header.Get("Accept-Encoding"))
			}
		})
	}
	a := w.do("", http.MethodPost, "/v1/admin/import", text, "Authorization", adminOf(t), "Content-Type", "application/x-ndjson", "Content-Encoding", "gzip")
	if a.status != http.StatusUnsupportedMediaType {
		t.Errorf("import: %d %s", a.status, a.body)
	}
}

func TestContentTypeMustBeJSON(t *testing.T) {
	w := newWorld(t)
	a := w.do("alice", http.MethodPost, toBob, `{"type":"text","body":{"text":"x"}}`, "Content-Type", "text/plain")
	if a.status != http.StatusUnsupportedMediaType || a.code(t) != "unsupported_media_type" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	a = w.do("alice", http.MethodPost, toBob, `{"type":"text","body":{"text":"x"}}`, "Content-Type", "")
	if p := a.json(t); a.status != http.StatusUnsupportedMediaType || p["field"] != "Content-Type" {
		t.Errorf("without one: got %d %s", a.status, a.body)
	}
	a = w.do("alice", http.MethodPost, toBob, `{"type":"text","body":{"text":"x"}}`, "Content-Type", "application/json; charset=utf-8")
	if a.status != http.StatusCreated {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// endless is a body that fails the test if too much of it is read.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestLargeBodiesAreNotRead(t *testing.T) {
	w := newWorld(t)
	t.Run("announced", func(t *testing.T) {
		body := &endless{}
		req, _ := http.NewRequest(http.MethodPost, w.url+toBob, io.LimitReader(body, 2_000_000))
		req.ContentLength = 2_000_000
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+tokenOf(t, "alice"))
		req.Header.Set("Expect", "100-continue")
		transport := &http.Transport{ExpectContinueTimeout: time.Minute}
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", res.StatusCode)
		}
		if body.read != 0 {
			t.Errorf("%d bytes of the body were read", body.read)
		}
	})
	t.Run("chunked", func(t *testing.T) {
		a := w.do("alice", http.MethodPost, toBob, "", "Content-Type", "application/json")
		if a.status != http.StatusBadRequest {
			t.Fatalf("an empty body: %d", a.status)
		}
		req, _ := http.NewRequest(http.MethodPost, w.url+toBob, io.NopCloser(bytes.NewReader(make([]byte, 2_000_000))))
		req.ContentLength = -1
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+tokenOf(t, "alice"))
		if a := w.send(req); a.status != http.StatusRequestEntityTooLarge || a.code(t) != "body_too_large" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
}

func TestAuthenticationComesFirst(t *testing.T) {
	w := newWorld(t)
	expired := mint(t, auth.Grant{User: "alice", TTL: time.Minute}, time.Hour)
	for name, c := range map[string]struct{ header, code string }{
		"nothing":  {"", "token_missing"},
		"basic":    {"Basic YTpi", "token_missing"},
		"garbage":  {"Bearer x", "token_malformed"},
		"expired":  {"Bearer " + expired, "token_expired"},
		"unsigned": {"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6OTk5OTk5OTk5OX0.", "token_"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/v1/conversations", "/v1/nothing", "/v1/events", "/v1/messages/x?y=z"} {
				a := w.do("", http.MethodGet, path, "", "Authorization", c.header)
				if a.status != http.StatusUnauthorized || !strings.HasPrefix(a.code(t), c.code) {
					t.Errorf("%s: %d %s", path, a.status, a.body)
				}
				if a.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: no WWW-Authenticate", path)
				}
			}
		})
	}
}

// TestOthersIDsAreLikeUnknownOnes checks that answers do not distinguish ids that exist
// from ids that do not.
func TestOthersIDsAreLikeUnknownOnes(t *testing.T) {
	w := newWorld(t)
	m := w.say("alice", "@bob", "secret")
	group := w.group("alice", "bob")
	space, channel := w.newSpace("alice", "bob")
	role := w.newRole("alice", space, `{}`)
	thread := w.newThread("alice", w.say("alice", group, "root")["id"].(string))
	unknown := im.ID(1).String()
	for _, c := range []struct{ method, path, body, id string }{
		{"GET", "/v1/messages/%s", "", m["id"].(string)},
		{"GET", "/v1/conversations/%s", "", group},
		{"GET", "/v1/conversations/%s/messages", "", group},
		{"POST", "/v1/conversations/%s/messages", `{"type":"text","body":{"text":"x"}}`, group},
		{"GET", "/v1/conversations/%s/members", "", group},
		{"POST", "/v1/conversations/%s/members", `{"members":["eve"]}`, group},
		{"PATCH", "/v1/conversations/%s", `{"name":"x"}`, group},
		{"PATCH", "/v1/conversations/%s/members/bob", `{"role":"admin"}`, group},
		{"DELETE", "/v1/conversations/%s/members/bob", "", group},
		{"POST", "/v1/conversations/%s/leave", "", group},
		{"GET", "/v1/conversations/%s", "", m["conversation_id"].(string)},
		{"POST", "/v1/conversations/%s/join", "", group},
		{"PUT", "/v1/conversations/%s/members/bob/mute", "", group},
		{"GET", "/v1/conversations/%s/lists/deny", "", group},
		{"PUT", "/v1/conversations/%s/lists/deny/eve", "", group},
		{"GET", "/v1/conversations/%s/threads", "", group},
		{"POST", "/v1/messages/%s/thread", `{"name":"x"}`, m["id"].(string)},
		{"DELETE", "/v1/messages/%s", "", m["id"].(string)},
		{"GET", "/v1/conversations/%s", "", thread},
		{"POST", "/v1/conversations/%s/join", "", thread},
		{"GET", "/v1/conversations/%s", "", channel},
		{"GET", "/v1/conversations/%s/permissions", "", channel},
		{"GET", "/v1/conversations/%s/overrides", "", channel},
		{"PUT", "/v1/conversations/%s/overrides/everyone", `{"permissions":{}}`, channel},
		{"DELETE", "/v1/conversations/%s?scope=everyone", "", channel},
		{"GET", "/v1/conversations/%s", "", space},
		{"POST", "/v1/conversations/%s/messages", `{"type":"text","body":{"text":"x"}}`, space},
		{"GET", "/v1/spaces/%s", "", space},
		{"PATCH", "/v1/spaces/%s", `{"name":"x"}`, space},
		{"DELETE", "/v1/spaces/%s", "", space},
		{"POST", "/v1/spaces/%s/join", "", space},
		{"POST", "/v1/spaces/%s/leave", "", space},
		{"GET", "/v1/spaces/%s/permissions", "", space},
		{"GET", "/v1/spaces/%s/members", "", space},
		{"POST", "/v1/spaces/%s/members", `{"members":["eve"]}`, space},
		{"PATCH", "/v1/spaces/%s/members/bob", `{"role":"owner"}`, space},
		{"PATCH", "/v1/spaces/%s/members/eve", `{"roles":["` + role + `"]}`, space},
		{"DELETE", "/v1/spaces/%s/members/bob", "", space},
		{"PUT", "/v1/spaces/%s/members/bob/mute", "", space},
		{"GET", "/v1/spaces/%s/invitations", "", space},
		{"POST", "/v1/spaces/%s/invitations", `{"users":["eve"]}`, space},
		{"DELETE", "/v1/spaces/%s/invitations/eve", "", space},
		{"GET", "/v1/spaces/%s/roles", "", space},
		{"POST", "/v1/spaces/%s/roles", `{"name":"x","permissions":{}}`, space},
		{"PATCH", "/v1/spaces/%s/roles/" + role, `{"name":"x"}`, space},
		{"DELETE", "/v1/spaces/%s/roles/" + role, "", space},
		{"PUT", "/v1/spaces/%s/roles/" + role + "/members/eve", "", space},
		{"GET", "/v1/spaces/%s/channels", "", space},
		{"POST", "/v1/spaces/%s/channels", `{"name":"x"}`, space},
	} {
		path := func(id string) string { return strings.Replace(c.path, "%s", id, 1) }
		theirs := w.do("eve", c.method, path(c.id), c.body)
		none := w.do("eve", c.method, path(unknown), c.body)
		strange := w.do("eve", c.method, path("~"), c.body)
		if theirs.status != http.StatusNotFound || !bytes.Equal(theirs.body, none.body) || !bytes.Equal(theirs.body, strange.body) {
			t.Errorf("%s %s: %s; unknown: %s; strange: %s", c.method, c.path, theirs.body, none.body, strange.body)
		}
	}
}

func TestUserIDsArePercentEncodedInPaths(t *testing.T) {
	w := newWorld(t)
	for user, path := range map[string]string{
		"50%":    "50%25",
		"a%2Fb":  "a%252Fb",
		"a/b":    "a%2Fb",
		"a b+c":  "a%20b+c",
		"@at":    "@at",
		"...":    "%2E%2E%2E",
		"李雷":     "%E6%9D%8E%E9%9B%B7",
		"Zoë":    "Zo%C3%AB",
		"😀":      "%F0%9F%98%80",
		"a?b#c":  "a%3Fb%23c",
		"~!*'()": "~!*'()",
	} {
		w.must(http.StatusNoContent, "alice", http.MethodPut, "/v1/blocks/"+path, "")
		found := false
		for _, b := range w.must(http.StatusOK, "alice", http.MethodGet, "/v1/blocks", "")["items"].([]any) {
			found = found || b.(map[string]any)["user"] == user
		}
		if !found {
			t.Errorf("blocking %s did not block %q", path, user)
		}
		m := w.say("alice", "@"+path, "x")
		got := w.must(http.StatusOK, "alice", http.MethodGet, "/v1/conversations/"+m["conversation_id"].(string), "")
		if got["peer"] != user {
			t.Errorf("@%s is %v, want %q", path, got["peer"], user)
		}
	}
}

func TestFaultsRevealNothing(t *testing.T) {
	observed := make(chan int, 1)
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.Observe = func(_ string, status int, _ time.Duration) { observed <- status }
		o.Demo = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret detail") })
	})
	a := w.do("", http.MethodGet, "/", "")
	if a.status != http.StatusInternalServerError || a.code(t) != "internal" || strings.Contains(string(a.body), "secret") {
		t.Errorf("panic: got %d %s", a.status, a.body)
	}
	if status := <-observed; status != http.StatusInternalServerError {
		t.Errorf("panic: counted as %d", status)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	a = w.do("alice", http.MethodGet, "/v1/conversations", "")
	if a.status < 500 || strings.Contains(string(a.body), "sql") {
		t.Errorf("storage gone: got %d %s", a.status, a.body)
	}
	if a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("storage gone: %s", a.header.Get("Content-Type"))
	}
}

// TestTimesNameTheLostPlus checks that every time in a query explains the effect of a +
// that was not encoded, and accepts an encoded one.
func TestTimesNameTheLostPlus(t *testing.T) {
	w := newWorld(t)
	const lost = "2026-01-01T00:00:00+08:00"
	n := 0
	spec := contract()
	for _, path := range spec.Paths.Map() {
		for _, op := range path.Operations() {
			for _, p := range op.Parameters {
				if p.Value.In == "query" && p.Value.Schema.Value.Format == "date-time" {
					n++
				}
			}
		}
	}
	paths := []string{
		toBob + "?from=", toBob + "?to=", "/v1/conversations?updated_since=", "/v1/messages/erased?since=", "/v1/messages/search?q=x&from=",
		"/v1/messages/search?q=x&to=", "/v1/admin/retention?as_of=",
	}
	if tried := len(paths) + 2; n != tried { // two operations have as_of, and two have since
		t.Errorf("the document has %d times in queries, %d are tried", n, tried)
	}
	w.say("alice", "@bob", "x")
	for _, path := range paths {
		a := w.do("alice", http.MethodGet, path+lost, "")
		if detail, _ := a.json(t)["detail"].(string); a.status != http.StatusBadRequest || !strings.Contains(detail, "%2B") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		if a := w.do("alice", http.MethodGet, path+strings.Replace(lost, "+", "%2B", 1), ""); a.status == http.StatusBadRequest {
			t.Errorf("%s, encoded: %d %s", path, a.status, a.body)
		}
		if a := w.do("alice", http.MethodGet, path+"2026-01-01+x", ""); a.status != http.StatusBadRequest || strings.Contains(string(a.body), "%2B") {
			t.Errorf("%s, no time at all: %d %s", path, a.status, a.body)
		}
	}
}

// TestBadTimesAreRefusedWithTheRule checks that a time that does not exist, or is not in RFC 3339,
// is refused with its field and the rule, in bodies and in queries.
func TestBadTimesAreRefusedWithTheRule(t *testing.T) {
	w := newWorld(t)
	for _, bad := range []string{
		"2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2016-12-31T23:59:60Z", "2026-01-01T00:00:00",
		"2026-01-01", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00%2B25:00", "10000-01-01T00:00:00Z", "yesterday",
	} {
		for _, c := range []struct{ method, path, body, field string }{
			{http.MethodPost, "/v1/conversations/@bob/hide", `{"before":"` + bad + `"}`, "before"},
			{http.MethodGet, "/v1/messages/erased?since=" + bad, "", "since"},
			{http.MethodGet, "/v1/conversations?updated_since=" + bad, "", "updated_since"},
			{http.MethodGet, toBob + "?to=" + bad, "", "to"},
		} {
			p := w.do("alice", c.method, c.path, strings.Replace(c.body, "%2B", "+", 1)).json(t)
			if p["code"] != "invalid_request" || p["field"] != c.field || p["detail"] != "must be an RFC 3339 time such as 2026-01-02T03:04:05Z" {
				t.Errorf("%s %s: %v", c.path, c.body, p)
			}
		}
	}
}

// TestRefusalsSayWhatIsAllowed checks that whoever reads a refusal need not look in the document
// for what the field may be.
func TestRefusalsSayWhatIsAllowed(t *testing.T) {
	w := newWorld(t)
	group := "/v1/conversations/" + w.group("alice", "bob")
	for _, c := range []struct{ method, path, body, field, want string }{
		{http.MethodPost, toBob, `{"type":"text","body":{"text":"x"},"expire_after_seconds":31536001}`, "expire_after_seconds", "must be at most 31536000"},
		{http.MethodPost, toBob, `{"type":"text","body":{"text":"x"},"expire_after_seconds":0}`, "expire_after_seconds", "must be at least 1"},
		{http.MethodPost, toBob, `{"type":"location","body":{"latitude":90.5,"longitude":0}}`, "body/latitude", "must be at most 90"},
		{http.MethodPost, toBob, `{"body":{"text":"x"}}`, "type", "must be audio, command, custom, file, image, location, text or video"},
		{http.MethodPost, toBob, `{"type":"texts","body":{"text":"x"}}`, "type", "must be audio, command, custom, file, image, location, text or video"},
		{http.MethodPost, toBob, `[]`, "body", "must be an object"},
		{http.MethodPost, toBob, `{"type":"text"}`, "body", "is missing"},
		{http.MethodPost, toBob, `{"type":"text","body":{"text":1}}`, "body/text", "must be a string"},
		{http.MethodPost, toBob, `{"type":"text","body":{"text":null}}`, "body/text", "must not be null"},
		{http.MethodPost, toBob, `{"type":"text","body":{"text":""}}`, "body/text", "must have at least 1 character"},
		{http.MethodPost, toBob, `{"type":"text","body":{"text":"x"},"mentions":"bob"}`, "mentions", "must be an array"},
		{http.MethodPost, toBob, `{"type":"text","body":{"text":"x"},"mentions":["bob","bob"]}`, "mentions", "has an item twice"},
		{http.MethodPost, toBob, `{"type":"text","body":{"text":"x"},"receipt":1}`, "receipt", "must be true or false"},
		{http.MethodPost, toBob, `{"type":"location","body":{"latitude":"1","longitude":0}}`, "body/latitude", "must be a number"},
		{http.MethodPost, toBob, `{"type":"text","body":{"text":"x"},"client_id":"é"}`, "client_id", "must match the pattern ^[ -~]+$"},
		{http.MethodGet, toBob + "?limit=ten", "", "limit", "must be an integer"},
		{http.MethodGet, toBob + "?limit=", "", "limit", "must be an integer"},
		{http.MethodGet, toBob + "?limit=201", "", "limit", "must be at most 200"},
		{http.MethodGet, "/v1/conversations?pinned=yes", "", "pinned", "must be true or false"},
		{http.MethodPost, "/v1/conversations/@bob/receipts", `{"kind":"seen","up_to":"x"}`, "kind", "must be read or delivered"},
		{http.MethodPost, "/v1/conversations/@bob/receipts", `{"kind":"read"}`, "body", "must have at least 2 members of kind, message_ids, up_to"},
		{http.MethodPost, "/v1/conversations/@bob/receipts", `{"kind":"read","up_to":"x","message_ids":["x"]}`, "body", "must have at most 2 members of kind, message_ids, up_to"},
		{http.MethodPost, "/v1/conversations/@bob/receipts", `{"kind":"read","message_ids":[]}`, "message_ids", "must have at least 1 item"},
		{http.MethodPost, "/v1/conversations/@bob/hide", `{"all":false}`, "all", "must be true"},
		{http.MethodPatch, group, `{"name":"` + strings.Repeat("x", 129) + `"}`, "name", "must have at most 128 characters"},
		{http.MethodPatch, group, `{"settings":{"join":"all"}}`, "settings/join", "must be closed or open"},
	} {
		p := w.do("alice", c.method, c.path, c.body).json(t)
		if p["code"] != "invalid_request" || p["field"] != c.field || p["detail"] != c.want {
			t.Errorf("%s %s: %v, want %s: %s", c.path, c.body, p, c.field, c.want)
		}
	}
}
