package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/go-chi/chi/v5"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
)

// contract is the OpenAPI document for validation, and wholeDocument is all of it.
var (
	contract      = sync.OnceValue(func() *openapi3.T { return loaded(api.Load()) })
	wholeDocument = sync.OnceValue(func() *openapi3.T { return loaded(api.LoadWhole()) })
)

func loaded(spec *openapi3.T, err error) *openapi3.T {
	if err != nil {
		panic(err)
	}
	return spec
}

// documented are the paths of the document in segments, by how many they have, in the order in
// which they match.
var documented = sync.OnceValue(func() map[int][][]string {
	paths := make(map[int][][]string)
	for _, path := range contract().Paths.InMatchingOrder() {
		segments := strings.Split(path, "/")
		paths[len(segments)] = append(paths[len(segments)], segments)
	}
	return paths
})

// routeOf returns the operation of the document that a request is for; nil if it is for none. It
// does not use the server's router, which is under test.
func routeOf(req *http.Request) *routers.Route {
	asked := strings.Split(req.URL.EscapedPath(), "/")
	for _, segments := range documented()[len(asked)] {
		if !slices.EqualFunc(segments, asked, func(s, a string) bool { return s == a || a != "" && strings.HasPrefix(s, "{") }) {
			continue
		}
		path := strings.Join(segments, "/")
		item := contract().Paths.Value(path)
		if o := item.GetOperation(req.Method); o != nil {
			return &routers.Route{Spec: contract(), Path: path, PathItem: item, Method: req.Method, Operation: o}
		}
		return nil
	}
	return nil
}

// conforms checks that no cache may store an answer, and checks the answer against the OpenAPI
// document: its status, its headers and its shape, without unknown members.
func (w *world) conforms(req *http.Request, res *http.Response, body []byte) {
	w.t.Helper()
	if got := res.Header.Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("%s %s answered with Cache-Control %q: a browser may keep the answer on disk, where no erasure reaches it", req.Method, req.URL.Path, got)
	}
	route := routeOf(req)
	if route == nil || res.StatusCode == http.StatusMethodNotAllowed {
		return // not an operation of the document
	}
	if route.Operation.OperationID == "getEvents" && res.Header.Get("Content-Type") == "application/json" {
		// GET /v1/events with Accept: application/json is the older way to get a page, and is
		// answered like /v1/events/log.
		item := route.Spec.Paths.Find("/v1/events/log")
		route = &routers.Route{Spec: route.Spec, Path: route.Path, PathItem: item, Method: req.Method, Operation: item.Get}
	}
	if res.StatusCode >= http.StatusBadRequest {
		w.known(route, res, body)
	}
	if !strings.HasSuffix(res.Header.Get("Content-Type"), "json") && len(body) > 0 {
		return // text of another type, without a schema
	}
	parts := [][]byte{body}
	if res.Header.Get("Content-Type") == "application/x-ndjson" {
		parts = bytes.Split(bytes.TrimSpace(body), []byte("\n")) // the schema describes one line
		if len(body) == 0 {
			return
		}
	}
	for _, part := range parts {
		err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, Route: route},
			Status:                 res.StatusCode,
			Header:                 res.Header,
			Body:                   io.NopCloser(bytes.NewReader(part)),
			Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
		})
		if err != nil {
			w.t.Errorf("%s %s answered %d, which is not in the document: %v", req.Method, route.Path, res.StatusCode, err)
		}
	}
}

// known checks that a refusal is a problem with a code that the OpenAPI document lists for the
// operation, under the status of that code.
func (w *world) known(route *routers.Route, res *http.Response, body []byte) {
	w.t.Helper()
	var p api.Problem
	if kind := res.Header.Get("Content-Type"); kind != "application/problem+json" {
		w.t.Errorf("%s %s answered %d of the type %q", route.Method, route.Path, res.StatusCode, kind)
		return
	}
	if route.Method == http.MethodHead {
		return
	}
	if err := json.Unmarshal(body, &p); err != nil {
		w.t.Errorf("%s %s answered %d with %q: %v", route.Method, route.Path, res.StatusCode, body, err)
		return
	}
	codes := problemCodes(route.Operation.Extensions)
	if response := route.Operation.Responses.Status(res.StatusCode); response != nil {
		codes = append(codes, problemCodes(response.Value.Extensions)...)
	}
	if !slices.Contains(codes, string(p.Code)) || statusOfCode()[string(p.Code)] != res.StatusCode {
		w.t.Errorf("%s %s (%s) answered %d %s (%s), which the document does not list for it",
			route.Method, route.Path, route.Operation.OperationID, res.StatusCode, p.Code, p.Detail)
	}
}

// problemCodes reads the extension of an operation or a response.
func problemCodes(extensions map[string]any) []string {
	list, _ := extensions["x-problem-codes"].([]any)
	codes := make([]string, len(list))
	for i, code := range list {
		codes[i] = code.(string)
	}
	return codes
}

// statusOfCode reads the table of codes in the document.
var statusOfCode = sync.OnceValue(func() map[string]int {
	spec := wholeDocument()
	statuses := make(map[string]int)
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]{3}) \\|")
	for _, m := range row.FindAllStringSubmatch(spec.Components.Schemas["ProblemCode"].Value.Description, -1) {
		statuses[m[1]], _ = strconv.Atoi(m[2])
	}
	return statuses
})

func init() {
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.JSONBodyDecoder)
}

// TestEveryOperationIsServedAndEveryRouteDocumented compares the OpenAPI document with the
// routes, in both directions.
func TestEveryOperationIsServedAndEveryRouteDocumented(t *testing.T) {
	w := newWorld(t)
	spec := contract()
	var documented, served []string
	for path, item := range spec.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	err := chi.Walk(w.routes, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served = append(served, method+" "+route)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(documented)
	sort.Strings(served)
	if !slices.Equal(documented, served) {
		t.Errorf("documented:\n%s\nserved:\n%s", strings.Join(documented, "\n"), strings.Join(served, "\n"))
	}
}

// TestEveryOperationAnswersAsDocumented calls each operation once successfully, so that conforms
// sees its answer.
func TestEveryOperationAnswersAsDocumented(t *testing.T) {
	w := newWorld(t)
	admin := "Bearer " + mint(t, auth.Grant{User: "root", Admin: true}, 0)
	bob := "Bearer " + tokenOf(t, "bob")
	group := w.group("alice", "bob")
	other := w.group("alice", "bob")
	m := w.say("alice", group, "hi")
	direct := w.say("alice", "@bob", "hi")
	g := "/v1/conversations/" + group
	burning := w.must(http.StatusCreated, "alice", http.MethodPost, toBob, `{"type":"text","body":{"text":"x"},"burn":{"after_seconds":3600},"expire_after_seconds":3600}`)["id"].(string)
	tracked := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations/"+other+"/messages", `{"type":"text","body":{"text":"x"},"receipt":true}`)["id"].(string)
	space, channel := w.newSpace("alice", "bob", "carol")
	inSpace, inChannel := "/v1/spaces/"+space, "/v1/conversations/"+channel
	role := w.newRole("alice", space, `{"kick":"allow"}`)
	said := w.say("alice", channel, "hi")["id"].(string)
	thread := w.newThread("alice", said)
	doomed, _ := w.newSpace("alice")
	room := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations", `{"kind":"room","name":"r"}`)["id"].(string)
	root := w.say("alice", other, "root")["id"].(string)
	stream := w.startStream("alice", `{"conversation_id":"`+group+`","access":"listed"}`)
	as := []string{"Authorization", admin}
	made := w.do("", http.MethodPost, "/v1/admin/webhooks", `{"url":"https://app.example/","events":["message.created"]}`, as...)
	hook := "/v1/admin/webhooks/" + made.json(t)["id"].(string)
	event := w.do("", http.MethodPost, hook+"/test", "", as...).json(t)["id"].(string)
	calls := []struct {
		operation            string
		status               int
		method, path, body   string
		header, headerIsThis string
	}{
		{"createDataStream", 201, "POST", "/v1/streams", `{"conversation_id":"` + group + `","access":"listed","readers":["bob"],"publishers":["bob"],"label":"l","idle_seconds":60}`, "", ""},
		{"listDataStreams", 200, "GET", "/v1/streams?conversation_id=" + group, "", "", ""},
		{"getDataStream", 200, "GET", stream, "", "", ""},
		{"putPublisher", 204, "PUT", stream + "/publishers/bob", "", "", ""},
		{"deletePublisher", 204, "DELETE", stream + "/publishers/bob", "", "", ""},
		{"putReader", 204, "PUT", stream + "/readers/bob", "", "", ""},
		{"deleteReader", 204, "DELETE", stream + "/readers/bob", "", "", ""},
		{"pushFrames", 200, "POST", stream + "/frames", `{"dtype":1,"text":"x"}`, "", ""},
		{"pushFrames", 400, "POST", stream + "/frames", `{"dtype":1}`, "", ""},
		{"endDataStream", 200, "POST", stream + "/end", `{"message":{"type":"text","body":{"text":"x"}}}`, "", ""},
		{"readDataStream", 200, "GET", stream + "/events", "", "", ""},
		{"pushFrames", 410, "POST", stream + "/frames", `{"text":"x"}`, "", ""},
		{"deleteDataStream", 204, "DELETE", stream, "", "", ""},
		{"listConversations", 200, "GET", "/v1/conversations", "", "", ""},
		{"listConversations", 200, "GET", "/v1/conversations?kind=group&pinned=false&updated_since=2026-01-02T03:04:05Z&limit=1", "", "", ""},
		{"updateConversation", 200, "PATCH", g, `{"pinned":true,"muted":true}`, "Authorization", bob},
		{"getUnread", 200, "GET", "/v1/unread", "", "Authorization", bob},
		{"getUnread", 200, "GET", "/v1/unread?conversation_id=@alice", "", "Authorization", bob},
		{"clearConversationUnread", 200, "POST", "/v1/conversations/@alice/unread/clear", "", "Authorization", bob},
		{"clearUnread", 200, "POST", "/v1/unread/clear", "", "Authorization", bob},
		{"searchMessages", 200, "GET", "/v1/messages/search?q=hi", "", "", ""},
		{"searchMessages", 200, "GET", "/v1/messages/search?q=%22%21%22", "", "", ""},
		{"searchMessages", 200, "GET", "/v1/messages/search?q=h&conversation_id=@bob&type=text&sender=alice&from=2026-01-02T03:04:05Z&to=2036-01-02T03:04:05Z&limit=1", "", "", ""},
		{"insertMessage", 201, "POST", "/v1/admin/import/message", `{"conversation_id":"` + other + `","sender":"alice","client_id":"i-1","type":"text","body":{"text":"old"},"created_at":"2025-01-02T03:04:05.678Z"}`, "Authorization", admin},
		{"insertMessage", 200, "POST", "/v1/admin/import/message", `{"conversation_id":"` + other + `","sender":"alice","client_id":"i-1","type":"text","body":{"text":"old"},"created_at":"2025-01-02T03:04:05.678Z"}`, "Authorization", admin},
		{"insertMessage", 201, "POST", "/v1/admin/import/message", `{"conversation_id":"` + other + `","sender":"system","type":"custom","body":{"name":"notice"},"visible_to":"bob"}`, "Authorization", admin},
		{"insertMessageDeprecated", 201, "POST", "/v1/admin/insert", `{"conversation_id":"` + other + `","sender":"system","type":"custom","body":{"name":"notice"}}`, "Authorization", admin},
		{"sendMessagesAs", 200, "POST", "/v1/admin/messages", `{"as":"support","to":["@bob","` + other + `","@support"],"message":{"client_id":"s-1","type":"text","body":{"text":"hi"}}}`, "Authorization", admin},
		{"exportMessages", 200, "GET", "/v1/admin/export?conversation_id=" + other, "", "Authorization", admin},
		{"getRetention", 200, "GET", "/v1/admin/retention?as_of=2026-01-02T03:04:05Z", "", "Authorization", admin},
		{"runRetention", 200, "POST", "/v1/admin/retention", "", "Authorization", admin},
		{"hideMessages", 204, "POST", g + "/hide", `{"message_ids":["` + m["id"].(string) + `"]}`, "Authorization", bob},
		{"hideMessages", 204, "POST", g + "/hide", `{"before":"2026-01-02T03:04:05Z"}`, "Authorization", bob},
		{"listErased", 200, "GET", "/v1/messages/erased", "", "Authorization", bob},
		{"deleteConversation", 204, "DELETE", g + "?keep_messages=true", "", "Authorization", bob},
		{"createConversation", 201, "POST", "/v1/conversations", `{"kind":"group","name":"g","members":["bob"],"settings":{"history":"all"}}`, "", ""},
		{"getConversation", 200, "GET", "/v1/conversations/@bob", "", "", ""},
		{"getConversation", 200, "GET", "/v1/conversations/" + direct["conversation_id"].(string), "", "", ""},
		{"updateConversation", 200, "PATCH", g, `{"name":"h","settings":{"history":"all"}}`, "", ""},
		{"sendMessage", 201, "POST", g + "/messages", `{"client_id":"c","type":"text","body":{"text":"x"},"ext":{"a":[1]},"mentions":["bob"],"reply_to":"` + m["id"].(string) + `","receipt":true,"push":{"title":"x"}}`, "X-Device-Id", "phone"},
		{"sendMessage", 200, "POST", g + "/messages", `{"client_id":"c","type":"text","body":{"text":"x"},"ext":{"a":[1]},"mentions":["bob"],"reply_to":"` + m["id"].(string) + `","receipt":true,"push":{"title":"x"}}`, "", ""},
		{"sendMessage", 202, "POST", g + "/messages", `{"client_id":"c","type":"command","body":{"action":"typing","params":{"a":1}},"to":["bob"]}`, "", ""},
		{"sendMessage", 201, "POST", g + "/messages", `{"type":"location","body":{"latitude":31.2,"longitude":121.4,"address":"上海"}}`, "", ""},
		{"sendMessage", 201, "POST", g + "/messages", `{"type":"custom","body":{"name":"order","data":[null,1,"x"]}}`, "", ""},
		{"listMessages", 200, "GET", g + "/messages?type=text&sender=alice&limit=1", "", "", ""},
		{"listMessages", 200, "GET", g + "/messages?around=" + m["id"].(string) + "&include_erased=false", "", "", ""},
		{"getMessage", 200, "GET", "/v1/messages/" + m["id"].(string), "", "", ""},
		{"listMembers", 200, "GET", g + "/members?limit=1", "", "", ""},
		{"inviteToConversation", 200, "POST", g + "/invitations", `{"users":["eve","dave"]}`, "", ""},
		{"listConversationInvitations", 200, "GET", g + "/invitations?limit=1", "", "", ""},
		{"deleteConversationInvitation", 204, "DELETE", g + "/invitations/dave", "", "", ""},
		{"addMembers", 200, "POST", g + "/members", `{"members":["carol","bob"],"role":"admin"}`, "", ""},
		{"getMember", 200, "GET", g + "/members/bob", "", "", ""},
		{"getMember", 404, "GET", g + "/members/mallory", "", "", ""},
		{"setRole", 200, "PATCH", g + "/members/bob", `{"role":"admin"}`, "", ""},
		{"removeMember", 204, "DELETE", g + "/members/carol", "", "", ""},
		{"setRole", 200, "PATCH", g + "/members/bob", `{"role":"owner"}`, "", ""},
		{"leaveConversation", 204, "POST", g + "/leave", "", "", ""},
		{"putBlock", 204, "PUT", "/v1/blocks/eve", "", "", ""},
		{"listBlocks", 200, "GET", "/v1/blocks", "", "", ""},
		{"deleteBlock", 204, "DELETE", "/v1/blocks/eve", "", "", ""},
		{"uploadAttachment", 201, "POST", "/v1/attachments?name=x.txt", "hello", "", ""},
		{"getAttachment", 200, "GET", "/v1/attachments/" + w.upload("alice", "hello")["id"].(string), "", "", ""},
		{"getThumbnail", 404, "GET", "/v1/attachments/" + w.upload("alice", "hello")["id"].(string) + "/thumbnail", "", "", ""},
		{"getThumbnail", 200, "GET", "/v1/attachments/" + w.uploadPicture("alice") + "/thumbnail", "", "", ""},
		{"getAttachment", 206, "GET", "/v1/attachments/" + w.upload("alice", "hello")["id"].(string), "", "Range", "bytes=1-2"},
		{"getEvents", 200, "GET", "/v1/events?limit=1000", "", "Accept", "application/json"},
		{"sendReceipts", 200, "POST", "/v1/conversations/@alice/receipts", `{"kind":"read","message_ids":["` + burning + `"]}`, "Authorization", bob},
		{"sendReceipts", 200, "POST", "/v1/conversations/" + other + "/receipts", `{"kind":"delivered","up_to":"` + tracked + `"}`, "Authorization", bob},
		{"getReceipts", 200, "GET", "/v1/messages/" + tracked + "/receipts", "", "", ""},
		{"getMessage", 200, "GET", "/v1/messages/" + burning, "", "", ""},
		{"burnMessage", 200, "POST", "/v1/messages/" + burning + "/burn", "", "Authorization", bob},
		{"hideMessages", 204, "POST", "/v1/conversations/@alice/hide", `{"all":true}`, "Authorization", bob},
		{"revokeMessage", 200, "POST", "/v1/messages/" + direct["id"].(string) + "/revoke", `{"postscript":"p","extension":{"a":1},"push_content":"c","push_payload":{"b":2}}`, "", ""},
		{"revokeMessage", 200, "POST", "/v1/messages/" + direct["id"].(string) + "/revoke", "", "", ""},
		{"sendMessage", 201, "POST", toBob, `{"type":"text","body":{"text":"to be revoked"}}`, "", ""},
		{"revokeMessages", 200, "POST", "/v1/messages/revoke", `{"ids":["` + tracked + `","x","` + burning + `"]}`, "", ""},
		{"listErased", 200, "GET", "/v1/messages/erased?since=2026-01-02T03:04:05Z", "", "", ""},
		{"listErasures", 200, "GET", "/v1/admin/erasures?limit=1", "", "Authorization", admin},
		{"updateConversation", 200, "PATCH", "/v1/conversations/@bob", `{"settings":{"expire_after_seconds":60}}`, "", ""},
		{"updateConversation", 200, "PATCH", "/v1/conversations/@bob", `{"settings":{"expire_after_seconds":null}}`, "", ""},
		{"createConversation", 201, "POST", "/v1/conversations", `{"kind":"group","name":"g","settings":{"revoke_window_seconds":0,"expire_after_seconds":60}}`, "", ""},
		{"getEvents", 200, "GET", "/v1/events?limit=1000", "", "Accept", "application/json"},
		{"deleteConversation", 204, "DELETE", "/v1/conversations/@bob?scope=everyone", "", "", ""},
		{"importMessages", 200, "POST", "/v1/admin/import", `{"conversation_id":"@bob","sender":"alice","type":"text","body":{"text":"hi"},"created_at":"2025-01-02T03:04:05.678Z"}`, "Authorization", admin},
		{"createConversation", 201, "POST", "/v1/conversations", `{"kind":"room","name":"r","settings":{"announcement":"a","avatar":"b","mute_all":true,"slow_mode_seconds":60,"revoke_others_window_seconds":0}}`, "", ""},
		{"createConversation", 201, "POST", "/v1/conversations", `{"client_id":"r","kind":"room","name":"r","settings":{"announcement":"a","avatar":"b","mute_all":true,"slow_mode_seconds":60,"revoke_others_window_seconds":0}}`, "", ""},
		{"createConversation", 200, "POST", "/v1/conversations", `{"client_id":"r","kind":"room","name":"r","settings":{"announcement":"a","avatar":"b","mute_all":true,"slow_mode_seconds":60,"revoke_others_window_seconds":0}}`, "", ""},
		{"joinConversation", 200, "POST", "/v1/conversations/" + room + "/join", "", "Authorization", bob},
		{"muteMember", 200, "PUT", "/v1/conversations/" + room + "/members/bob/mute", `{"seconds":60}`, "", ""},
		{"muteMember", 200, "PUT", "/v1/conversations/" + room + "/members/bob/mute", "", "", ""},
		{"getConversation", 200, "GET", "/v1/conversations/" + room, "", "Authorization", bob},
		{"unmuteMember", 204, "DELETE", "/v1/conversations/" + room + "/members/bob/mute", "", "", ""},
		{"getPermissions", 200, "GET", "/v1/conversations/" + room + "/permissions", "", "Authorization", bob},
		{"getPermissions", 200, "GET", "/v1/conversations/" + thread + "/permissions", "", "Authorization", bob},
		{"addToList", 204, "PUT", "/v1/conversations/" + room + "/lists/deny/bob", "", "", ""},
		{"addToList", 204, "PUT", "/v1/conversations/" + room + "/lists/deny/eve", "", "", ""},
		{"getList", 200, "GET", "/v1/conversations/" + room + "/lists/deny?limit=1", "", "", ""},
		{"removeFromList", 204, "DELETE", "/v1/conversations/" + room + "/lists/deny/bob", "", "", ""},
		{"listConversations", 200, "GET", "/v1/conversations?kind=room", "", "", ""},
		{"createSpace", 201, "POST", "/v1/spaces", `{"name":"s","settings":{"join":"open","announcement":"a","avatar":null,"revoke_window_seconds":0}}`, "", ""},
		{"createSpace", 201, "POST", "/v1/spaces", `{"client_id":"s","name":"s","settings":{"join":"open","announcement":"a","avatar":null,"revoke_window_seconds":0}}`, "", ""},
		{"createSpace", 200, "POST", "/v1/spaces", `{"client_id":"s","name":"s","settings":{"join":"open","announcement":"a","avatar":null,"revoke_window_seconds":0}}`, "", ""},
		{"listSpaces", 200, "GET", "/v1/spaces?limit=1", "", "", ""},
		{"getSpace", 200, "GET", inSpace, "", "Authorization", bob},
		{"updateSpace", 200, "PATCH", inSpace, `{"name":"t","settings":{"join":"open","announcement":null}}`, "", ""},
		{"joinSpace", 200, "POST", inSpace + "/join", "", "Authorization", "Bearer " + tokenOf(t, "eve")},
		{"leaveSpace", 204, "POST", inSpace + "/leave", "", "Authorization", "Bearer " + tokenOf(t, "eve")},
		{"deleteSpace", 204, "DELETE", "/v1/spaces/" + doomed, "", "", ""},
		{"getSpacePermissions", 200, "GET", inSpace + "/permissions", "", "Authorization", bob},
		{"addSpaceMembers", 200, "POST", inSpace + "/members", `{"members":["bob","dave"]}`, "", ""},
		{"getSpaceMember", 200, "GET", inSpace + "/members/bob", "", "", ""},
		{"putSpaceDenied", 204, "PUT", inSpace + "/lists/deny/mallory", "", "", ""},
		{"listSpaceDenied", 200, "GET", inSpace + "/lists/deny?limit=1", "", "", ""},
		{"deleteSpaceDenied", 204, "DELETE", inSpace + "/lists/deny/mallory", "", "", ""},
		{"getThread", 200, "GET", "/v1/messages/" + said + "/thread", "", "", ""},
		{"getThread", 404, "GET", "/v1/messages/" + w.say("alice", group, "alone")["id"].(string) + "/thread", "", "", ""},
		{"grantRole", 204, "PUT", inSpace + "/roles/" + role + "/members/bob", "", "", ""},
		{"updateSpaceMember", 200, "PATCH", inSpace + "/members/dave", `{"roles":["` + role + `"]}`, "", ""},
		{"listSpaceMembers", 200, "GET", inSpace + "/members?limit=2", "", "Authorization", bob},
		{"muteSpaceMember", 200, "PUT", inSpace + "/members/dave/mute", `{"seconds":60}`, "", ""},
		{"unmuteSpaceMember", 204, "DELETE", inSpace + "/members/dave/mute", "", "", ""},
		{"removeSpaceMember", 204, "DELETE", inSpace + "/members/dave", "", "", ""},
		{"revokeRole", 204, "DELETE", inSpace + "/roles/" + role + "/members/bob", "", "", ""},
		{"inviteToSpace", 200, "POST", inSpace + "/invitations", `{"users":["eve","dave"]}`, "", ""},
		{"listInvitations", 200, "GET", inSpace + "/invitations?limit=1", "", "", ""},
		{"listMyInvitations", 200, "GET", "/v1/invitations", "", "Authorization", "Bearer " + tokenOf(t, "eve")},
		{"deleteInvitation", 204, "DELETE", inSpace + "/invitations/eve", "", "", ""},
		{"createRole", 201, "POST", inSpace + "/roles", `{"name":"x","permissions":{"send":"deny","view":"inherit"},"position":1}`, "", ""},
		{"updateRole", 200, "PATCH", inSpace + "/roles/everyone", `{"permissions":{"send":"allow"}}`, "", ""},
		{"listRoles", 200, "GET", inSpace + "/roles", "", "Authorization", bob},
		{"createChannel", 201, "POST", inSpace + "/channels", `{"name":"c","visibility":"private","settings":{"slow_mode_seconds":60}}`, "", ""},
		{"createChannel", 201, "POST", inSpace + "/channels", `{"client_id":"c","name":"c","visibility":"private","settings":{"slow_mode_seconds":60}}`, "", ""},
		{"createChannel", 200, "POST", inSpace + "/channels", `{"client_id":"c","name":"c","visibility":"private","settings":{"slow_mode_seconds":60}}`, "", ""},
		{"listChannels", 200, "GET", inSpace + "/channels?limit=1", "", "", ""},
		{"getConversation", 200, "GET", inChannel, "", "Authorization", bob},
		{"updateConversation", 200, "PATCH", inChannel, `{"visibility":"private"}`, "", ""},
		{"addToList", 204, "PUT", inChannel + "/lists/allow/bob", "", "", ""},
		{"listMembers", 200, "GET", inChannel + "/members", "", "", ""},
		{"putOverride", 200, "PUT", inChannel + "/overrides/" + role, `{"permissions":{"view":"allow","send":"deny"}}`, "", ""},
		{"listOverrides", 200, "GET", inChannel + "/overrides", "", "", ""},
		{"deleteOverride", 204, "DELETE", inChannel + "/overrides/" + role, "", "", ""},
		{"deleteRole", 204, "DELETE", inSpace + "/roles/" + role, "", "", ""},
		{"createThread", 201, "POST", "/v1/messages/" + root + "/thread", `{"client_id":"t","name":"t"}`, "", ""},
		{"createThread", 200, "POST", "/v1/messages/" + root + "/thread", `{"client_id":"t","name":"t"}`, "", ""},
		{"createThread", 409, "POST", "/v1/messages/" + root + "/thread", `{"client_id":"t","name":"u"}`, "", ""},
		{"getConversation", 200, "GET", "/v1/conversations/" + thread, "", "Authorization", bob},
		{"joinConversation", 200, "POST", "/v1/conversations/" + thread + "/join", "", "Authorization", bob},
		{"sendMessage", 201, "POST", "/v1/conversations/" + thread + "/messages", `{"type":"text","body":{"text":"x"},"mention_all":true}`, "", ""},
		{"listThreads", 200, "GET", inChannel + "/threads", "", "Authorization", bob},
		{"listMyThreads", 200, "GET", "/v1/threads", "", "Authorization", bob},
		{"deleteMessage", 200, "DELETE", "/v1/messages/" + said, "", "", ""},
		{"updateSpaceMember", 200, "PATCH", inSpace + "/members/carol", `{"role":"owner"}`, "", ""},
		{"getEvents", 200, "GET", "/v1/events?limit=1000", "", "Accept", "application/json"},
		{"getEventLog", 200, "GET", "/v1/events/log?limit=1000", "", "", ""},
		{"createTicket", 201, "POST", "/v1/events/tickets", "", "", ""},
		{"cutTokens", 200, "POST", "/v1/admin/users/eve/tokens/cut", "", "Authorization", admin},
		{"createWebhook", 201, "POST", "/v1/admin/webhooks", `{"url":"https://app.example/b","kinds":["direct"],"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`, "Authorization", admin},
		{"createWebhook", 400, "POST", "/v1/admin/webhooks", `{"url":"https://app.example/","events":["message.read"]}`, "Authorization", admin},
		{"createWebhook", 400, "POST", "/v1/admin/webhooks", `{"url":"https://app.example/","secret":"whsec_short"}`, "Authorization", admin},
		{"listWebhooks", 200, "GET", "/v1/admin/webhooks", "", "Authorization", admin},
		{"getWebhook", 200, "GET", hook, "", "Authorization", admin},
		{"getWebhook", 404, "GET", "/v1/admin/webhooks/x", "", "Authorization", admin},
		{"rotateWebhookSecret", 200, "POST", hook + "/secret", `{}`, "Authorization", admin},
		{"testWebhook", 202, "POST", hook + "/test", "", "Authorization", admin},
		{"listDeliveries", 200, "GET", hook + "/deliveries?state=queued", "", "Authorization", admin},
		{"redeliver", 404, "POST", hook + "/redeliver", `{"id":"` + event + `"}`, "Authorization", admin},
		{"redeliver", 200, "POST", hook + "/redeliver", `{"from":"` + event + `"}`, "Authorization", admin},
		{"redeliver", 400, "POST", hook + "/redeliver", `{"from":"` + event + `","id":"` + event + `"}`, "Authorization", admin},
		{"redeliver", 400, "POST", hook + "/redeliver", `{"from":"x"}`, "Authorization", admin},
		{"redeliver", 410, "POST", hook + "/redeliver", `{"from":"` + events.Cursor{Log: 1, Position: 1}.String() + `"}`, "Authorization", admin},
		{"updateWebhook", 200, "PATCH", hook, `{"state":"paused","events":["webhook.disabled"]}`, "Authorization", admin},
		{"testWebhook", 409, "POST", hook + "/test", "", "Authorization", admin},
		{"updateWebhook", 400, "PATCH", hook, `{"state":"off"}`, "Authorization", admin},
		{"deleteWebhook", 204, "DELETE", hook, "", "Authorization", admin},
		{"getHealth", 200, "GET", "/healthz", "", "", ""},
		{"getReady", 200, "GET", "/readyz", "", "", ""},
		{"getMetrics", 404, "GET", "/metrics", "", "", ""},
		{"getDocument", 200, "GET", "/openapi.yaml", "", "", ""},
	}
	called := make(map[string]bool)
	for _, c := range calls {
		called[c.operation] = true
		header := []string{c.header, c.headerIsThis}
		if c.header == "" {
			header = nil
		}
		if c.operation == "importMessages" {
			header = append(header, "Content-Type", "application/x-ndjson")
		}
		if a := w.do("alice", c.method, c.path, c.body, header...); a.status != c.status {
			t.Errorf("%s: %s %s answered %d, want %d: %s", c.operation, c.method, c.path, a.status, c.status, a.body)
		}
	}
	spec := contract()
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			if !called[o.OperationID] {
				t.Errorf("%s %s (%s) is not called here", method, path, o.OperationID)
			}
		}
	}
}
