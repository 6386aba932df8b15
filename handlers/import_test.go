package handlers_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

// result is the result of a line.
type result struct {
	Line   int64  `json:"line"`
	Status int    `json:"status"`
	ID     string `json:"id"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Field  string `json:"field"`
}

func adminOf(t testing.TB) string {
	return "Bearer " + mint(t, auth.Grant{User: "root", Admin: true}, time.Minute)
}

// importLines imports and returns the results.
func (w *world) importLines(lines ...string) []result {
	w.t.Helper()
	a := w.do("", http.MethodPost, "/v1/admin/import", strings.Join(lines, "\n"),
		"Authorization", adminOf(w.t), "Content-Type", "application/x-ndjson")
	if a.status != http.StatusOK {
		w.t.Fatalf("import: %d %s", a.status, a.body)
	}
	return readResults(w.t, a.body)
}

func readResults(t testing.TB, body []byte) []result {
	t.Helper()
	var out []result
	for line := range bytes.Lines(body) {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("result %q: %v", line, err)
		}
		out = append(out, r)
	}
	return out
}

func (w *world) export() string {
	w.t.Helper()
	a := w.do("", http.MethodGet, "/v1/admin/export", "", "Authorization", adminOf(w.t))
	if a.status != http.StatusOK {
		w.t.Fatalf("export: %d %s", a.status, a.body)
	}
	return string(a.body)
}

const at = `"created_at":"2025-01-02T03:04:05.678Z"`

// importable is a message that can be imported, with members added or, if they
// are named again, replaced.
func importable(with string) string {
	line := map[string]any{}
	for _, part := range []string{`{"conversation_id":"@bob","sender":"alice","type":"text","body":{"text":"hi"},` + at + `}`, "{" + with + "}"} {
		var more map[string]json.RawMessage
		if err := json.Unmarshal([]byte(part), &more); err != nil {
			panic(err)
		}
		for k, v := range more {
			line[k] = v
		}
	}
	for k, v := range line {
		if string(v.(json.RawMessage)) == `"-"` {
			delete(line, k)
		}
	}
	b, _ := json.Marshal(line)
	return string(b)
}

// TestImportRefusals checks the reasons for which lines are refused, and that insertions of single
// messages are refused for the same reasons.
func TestImportRefusals(t *testing.T) {
	w := newWorld(t, func(_ *handlers.Options, _ *events.Options, p *im.Policy) { p.Retention = 3650 * 24 * time.Hour })
	group := w.group("alice", "bob")
	said := w.say("carol", "@dave", "hi")
	elsewhere, theirs := said["id"].(string), said["conversation_id"].(string)
	other := w.group("carol", "dave")
	room := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations", `{"kind":"room","name":"r"}`)["id"].(string)
	in := w.importLines(importable(`"client_id":"c-1"`), importable(`"conversation_id":"`+group+`","client_id":"g-1"`))
	direct, inGroup := in[0].ID, in[1].ID
	for name, c := range map[string]struct {
		line        string
		status      int
		code, field string
	}{
		"unknown member":                                  {importable(`"boby":{}`), 400, "invalid_request", "boby"},
		"field in upper case":                             {importable(`"Type":"text"`), 400, "invalid_request", "Type"},
		"missing conversation_id":                         {importable(`"conversation_id":"-"`), 400, "invalid_request", "conversation_id"},
		"missing sender":                                  {importable(`"sender":"-"`), 400, "invalid_request", "sender"},
		"missing type":                                    {importable(`"type":"-"`), 400, "invalid_request", "type"},
		"missing body":                                    {importable(`"body":"-"`), 400, "invalid_request", "body"},
		"null id":                                         {importable(`"id":null`), 400, "invalid_request", "id"},
		"id of another system":                            {importable(`"id":"42"`), 400, "invalid_request", "id"},
		"empty id":                                        {importable(`"id":""`), 400, "invalid_request", "id"},
		"sender is not a user id":                         {importable(`"sender":"a\u0308"`), 400, "invalid_request", "sender"},
		"sender is a number":                              {importable(`"sender":1`), 400, "invalid_request", "sender"},
		"invalid sender_device":                           {importable(`"sender_device":"a\u0308"`), 400, "invalid_request", "sender_device"},
		"invalid client_id":                               {importable(`"client_id":"a\u0308"`), 400, "invalid_request", "client_id"},
		"unknown type":                                    {importable(`"type":"command"`), 400, "invalid_request", "type"},
		"seq 0":                                           {importable(`"seq":0`), 400, "invalid_request", "seq"},
		"seq too great":                                   {importable(`"seq":9007199254740992`), 400, "invalid_request", "seq"},
		"seq is a fraction":                               {importable(`"seq":1.5`), 400, "invalid_request", "seq"},
		"body does not fit its type":                      {importable(`"body":{"txt":"hi"}`), 400, "invalid_request", "body"},
		"body is a list":                                  {importable(`"body":[]`), 400, "invalid_request", "body"},
		"address is null":                                 {importable(`"type":"location","body":{"latitude":1,"longitude":1,"address":null}`), 400, "invalid_request", "body"},
		"ext is a list":                                   {importable(`"ext":[]`), 400, "invalid_request", "ext"},
		"mention is null":                                 {importable(`"mentions":[null]`), 400, "invalid_request", "mentions/0"},
		"mention_all is a number":                         {importable(`"mention_all":1`), 400, "invalid_request", "mention_all"},
		"repeated mention":                                {importable(`"mentions":["bob","bob"]`), 400, "invalid_request", "mentions/1"},
		"receipt is a string":                             {importable(`"receipt":"yes"`), 400, "invalid_request", "receipt"},
		"unknown state":                                   {importable(`"state":"gone"`), 400, "invalid_request", "state"},
		"created_at on an impossible day":                 {importable(`"created_at":"2025-02-31T03:04:05Z"`), 400, "invalid_request", "created_at"},
		"created_at in the future":                        {importable(`"created_at":"2525-01-02T03:04:05Z"`), 400, "invalid_request", "created_at"},
		"created_at before 1970":                          {importable(`"created_at":"1950-01-02T03:04:05Z"`), 400, "invalid_request", "created_at"},
		"expires_at before created_at":                    {importable(`"expires_at":"2024-01-02T03:04:05Z"`), 400, "invalid_request", "expires_at"},
		"expires_at too late":                             {importable(`"expires_at":"2029-01-02T03:04:05Z"`), 400, "invalid_request", "expires_at"},
		"burn without after_seconds":                      {importable(`"burn":{}`), 400, "invalid_request", "burn/after_seconds"},
		"after_seconds too long":                          {importable(`"burn":{"after_seconds":604801}`), 400, "invalid_request", "burn/after_seconds"},
		"unknown field in burn":                           {importable(`"burn":{"after_seconds":1,"x":1}`), 400, "invalid_request", "burn/x"},
		"erased with a body":                              {importable(`"state":"revoked","erased":{"at":"2025-01-02T03:04:06Z"}`), 400, "invalid_request", "body"},
		"erased with ext":                                 {importable(`"body":null,"ext":{},"state":"revoked","erased":{"at":"2025-01-02T03:04:06Z"}`), 400, "invalid_request", "ext"},
		"erased without a state":                          {importable(`"body":null,"erased":{"at":"2025-01-02T03:04:06Z"}`), 400, "invalid_request", "state"},
		"state without erased":                            {importable(`"body":null,"state":"revoked"`), 400, "invalid_request", "erased"},
		"erased without a time":                           {importable(`"body":null,"state":"revoked","erased":{}`), 400, "invalid_request", "erased/at"},
		"erased in the future":                            {importable(`"body":null,"state":"revoked","erased":{"at":"2525-01-02T03:04:06Z"}`), 400, "invalid_request", "erased/at"},
		"erased by an invalid user id":                    {importable(`"body":null,"state":"revoked","erased":{"at":"2025-01-02T03:04:06Z","by":"a\u0308"}`), 400, "invalid_request", "erased/by"},
		"postscript too long":                             {importable(`"body":null,"state":"revoked","erased":{"at":"2025-01-02T03:04:06Z","postscript":"` + strings.Repeat("x", 1025) + `"}`), 400, "invalid_request", "erased/postscript"},
		"message too large":                               {importable(`"body":{"text":"` + strings.Repeat("x", 5120) + `"}`), 413, "message_too_large", "body"},
		"unknown conversation":                            {importable(`"conversation_id":"0000000000001"`), 404, "conversation_not_found", ""},
		"malformed conversation id":                       {importable(`"conversation_id":"nowhere"`), 404, "conversation_not_found", ""},
		"conversation with oneself":                       {importable(`"conversation_id":"@alice"`), 422, "direct_with_self", "conversation"},
		"id of a message in another conversation":         {importable(`"id":"` + elsewhere + `"`), 409, "id_taken", "id"},
		"id of a message with other content":              {importable(`"id":"` + direct + `","body":{"text":"ho"}`), 409, "id_taken", "id"},
		"id of a message of another sender":               {importable(`"id":"` + direct + `","sender":"bob","conversation_id":"@alice"`), 409, "id_taken", "id"},
		"id of a conversation, in a new conversation":     {importable(`"id":"` + theirs + `","conversation_id":"@zoe"`), 409, "id_taken", "id"},
		"client_id of a message with other content":       {importable(`"client_id":"c-1","body":{"text":"ho"}`), 409, "client_id_reused", "client_id"},
		"client_id of a message in another conversation":  {importable(`"client_id":"c-1","conversation_id":"` + group + `"`), 409, "client_id_reused", "client_id"},
		"past retention":                                  {importable(`"created_at":"2015-01-02T03:04:05Z"`), 422, "past_retention", "created_at"},
		"burn in a group":                                 {importable(`"conversation_id":"` + group + `","burn":{"after_seconds":1}`), 422, "burn_unsupported", "burn"},
		"receipt in a room":                               {importable(`"conversation_id":"` + room + `","receipt":true`), 422, "receipts_unsupported", "receipt"},
		"reply_to an unknown message":                     {importable(`"reply_to":"0000000000001"`), 422, "reply_to_not_found", "reply_to"},
		"reply_to is not an id":                           {importable(`"reply_to":"x"`), 422, "reply_to_not_found", "reply_to"},
		"reply_to a message in another conversation":      {importable(`"reply_to":"` + inGroup + `"`), 422, "reply_to_not_found", "reply_to"},
		"reply_to in a new conversation":                  {importable(`"conversation_id":"@zoe","reply_to":"` + inGroup + `"`), 422, "reply_to_not_found", "reply_to"},
		"visible_to a user who is not a member":           {importable(`"conversation_id":"` + other + `","visible_to":"bob"`), 404, "member_not_found", ""},
		"visible_to a user outside a direct conversation": {importable(`"conversation_id":"@zoe","visible_to":"bob"`), 404, "member_not_found", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			before := w.export()
			got := w.importLines(c.line)
			if len(got) != 1 || got[0].Status != c.status || got[0].Code != c.code || got[0].Field != c.field {
				t.Errorf("import: %+v, want %d %s %q", got, c.status, c.code, c.field)
			}
			a := w.do("", http.MethodPost, "/v1/admin/import/message", c.line, "Authorization", adminOf(t))
			var p result
			if err := json.Unmarshal(a.body, &p); err != nil || a.status != c.status || p.Code != c.code {
				t.Errorf("insert: %d %s, want %d %s", a.status, a.body, c.status, c.code)
			}
			if after := w.export(); after != before {
				t.Errorf("it changed\n%s\nto\n%s", before, after)
			}
		})
	}
	if got := w.importLines(importable(`"created_at":"-"`)); got[0].Code != "invalid_request" || got[0].Field != "created_at" {
		t.Errorf("without a time: %+v", got)
	}
}

// TestImportOfBadLines checks that malformed lines are refused and do not affect the
// others.
func TestImportOfBadLines(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 1<<20)
	fits := `{"x":"` + long[:1<<20-8] + `"}`
	for name, c := range map[string]struct {
		line   string
		status int
		code   string
	}{
		"cut off":                     {`{"a":`, 400, "malformed_json"},
		"two values":                  {`{} {}`, 400, "malformed_json"},
		"not UTF-8":                   {"{\"sender\":\"\xff\"}", 400, "malformed_json"},
		"nested too deep":             {strings.Repeat("[", 65) + strings.Repeat("]", 65), 400, "malformed_json"},
		"repeated name":               {importable("")[:1] + `"sender":"eve",` + importable("")[1:], 400, "malformed_json"},
		"repeated name, once escaped": {`{"\u0073ender":"eve",` + importable("")[1:], 400, "malformed_json"},
		"a list":                      {`[]`, 400, "invalid_request"},
		"a number":                    {`1`, 400, "invalid_request"},
		"null":                        {`null`, 400, "invalid_request"},
		"empty object":                {`{}`, 400, "invalid_request"},
		"over 1 MiB":                  {`{"x":"` + long + `"}`, 413, "body_too_large"},
		"exactly 1 MiB":               {fits, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			good := importable(`"client_id":"` + name + `"`)
			got := w.importLines(c.line, "", "  \r", good, c.line)
			if len(got) != 3 {
				t.Fatalf("%d results: %+v", len(got), got)
			}
			for i, line := range []int64{1, 4, 5} {
				want := result{Line: line, Status: c.status, Code: c.code}
				if i == 1 {
					want = result{Line: line, Status: 201}
				}
				if r := got[i]; r.Line != want.Line || r.Status != want.Status || r.Code != want.Code {
					t.Errorf("result %d: %+v, want %+v", i, r, want)
				}
			}
		})
	}
}

// TestImportConversationRefusals checks the reasons for which lines with conversations are refused.
func TestImportConversationRefusals(t *testing.T) {
	w := newWorld(t)
	group := w.group("alice", "bob")
	message := w.say("alice", "@bob", "hi")["id"].(string)
	conversation := func(with string) string {
		var line map[string]json.RawMessage
		if err := json.Unmarshal([]byte(importable(`"conversation_id":"-","sender":"-","type":"-","body":"-",`+
			`"id":"02qh5dd5g0001","kind":"group","name":"g","members":[{"user":"alice","role":"owner"}],`+with)), &line); err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(map[string]any{"conversation": line})
		return string(b)
	}
	for name, c := range map[string]struct {
		line        string
		status      int
		code, field string
	}{
		"missing id":                              {conversation(`"id":"-"`), 400, "invalid_request", "conversation/id"},
		"id of another system":                    {conversation(`"id":"42"`), 400, "invalid_request", "conversation/id"},
		"missing kind":                            {conversation(`"kind":"-"`), 400, "invalid_request", "conversation/kind"},
		"unknown kind":                            {conversation(`"kind":"club"`), 400, "invalid_request", "conversation/kind"},
		"thread":                                  {conversation(`"kind":"thread"`), 400, "invalid_request", "conversation/kind"},
		"space":                                   {conversation(`"kind":"space"`), 400, "invalid_request", "conversation/kind"},
		"unknown policy":                          {conversation(`"settings":{"join":"x"}`), 400, "invalid_request", "conversation/settings/join"},
		"announcement is a number":                {conversation(`"settings":{"announcement":1}`), 400, "invalid_request", "conversation/settings/announcement"},
		"avatar too long":                         {conversation(`"settings":{"avatar":"` + strings.Repeat("x", 1025) + `"}`), 400, "invalid_request", "conversation/settings/avatar"},
		"mute_all is a string":                    {conversation(`"settings":{"mute_all":"yes"}`), 400, "invalid_request", "conversation/settings/mute_all"},
		"slow mode too long":                      {conversation(`"settings":{"slow_mode_seconds":21601}`), 400, "invalid_request", "conversation/settings/slow_mode_seconds"},
		"missing members":                         {conversation(`"members":"-"`), 400, "invalid_request", "conversation/members"},
		"missing created_at":                      {conversation(`"created_at":"-"`), 400, "invalid_request", "conversation/created_at"},
		"created_at in the future":                {conversation(`"created_at":"2525-01-02T03:04:05Z"`), 400, "invalid_request", "conversation/created_at"},
		"missing name":                            {conversation(`"name":"-"`), 400, "invalid_request", "conversation/name"},
		"name too long":                           {conversation(`"name":"` + strings.Repeat("x", 129) + `"`), 400, "invalid_request", "conversation/name"},
		"unknown member":                          {conversation(`"topic":"x"`), 400, "invalid_request", "conversation/topic"},
		"unknown setting":                         {conversation(`"settings":{"x":1}`), 400, "invalid_request", "conversation/settings/x"},
		"unknown history":                         {conversation(`"settings":{"history":"x"}`), 400, "invalid_request", "conversation/settings/history"},
		"expire_after_seconds is 0":               {conversation(`"settings":{"expire_after_seconds":0}`), 400, "invalid_request", "conversation/settings/expire_after_seconds"},
		"retention too long":                      {conversation(`"settings":{"retention_days":36501}`), 400, "invalid_request", "conversation/settings/retention_days"},
		"user of a member is not a user id":       {conversation(`"members":[{"user":"a\u0308","role":"owner"}]`), 400, "invalid_request", "conversation/members/0/user"},
		"member without a user":                   {conversation(`"members":[{"role":"owner"}]`), 400, "invalid_request", "conversation/members/0/user"},
		"repeated member":                         {conversation(`"members":[{"user":"a","role":"owner"},{"user":"a"}]`), 400, "invalid_request", "conversation/members/1/user"},
		"unknown role":                            {conversation(`"members":[{"user":"a","role":"king"}]`), 400, "invalid_request", "conversation/members/0/role"},
		"joined_at in the future":                 {conversation(`"members":[{"user":"a","role":"owner","joined_at":"2525-01-02T03:04:05Z"}]`), 400, "invalid_request", "conversation/members/0/joined_at"},
		"stay without from_seq":                   {conversation(`"members":[{"user":"a","role":"owner","stays":[{}]}]`), 400, "invalid_request", "conversation/members/0/stays/0/from_seq"},
		"stay that ends before it begins":         {conversation(`"members":[{"user":"a","role":"owner","stays":[{"from_seq":5,"to_seq":3},{"from_seq":7}]}]`), 400, "invalid_request", "conversation/members/0/stays"},
		"overlapping stays":                       {conversation(`"members":[{"user":"a","role":"owner","stays":[{"from_seq":1,"to_seq":3},{"from_seq":3}]}]`), 400, "invalid_request", "conversation/members/0/stays"},
		"left is true for a current member":       {conversation(`"members":[{"user":"a","role":"owner","left":true}]`), 400, "invalid_request", "conversation/members/0/left"},
		"role with a stay that has ended":         {conversation(`"members":[{"user":"a","role":"owner","stays":[{"from_seq":1,"to_seq":3}]}]`), 400, "invalid_request", "conversation/members/0/stays"},
		"open stay without a role":                {conversation(`"members":[{"user":"a","role":null,"stays":[{"from_seq":1}]}]`), 400, "invalid_request", "conversation/members/0/stays"},
		"former member without stays":             {conversation(`"members":[{"user":"a","role":null}]`), 400, "invalid_request", "conversation/members/0/stays"},
		"no owner":                                {conversation(`"members":[{"user":"a"}]`), 422, "one_owner", "conversation/members"},
		"two owners":                              {conversation(`"members":[{"user":"a","role":"owner"},{"user":"b","role":"owner"}]`), 422, "one_owner", "conversation/members"},
		"direct conversation of one user":         {conversation(`"kind":"direct","name":"-","members":[{"user":"a"}]`), 422, "direct_conversation", "conversation/members"},
		"direct conversation with roles":          {conversation(`"kind":"direct","name":"-","members":[{"user":"a"},{"user":"b","role":"admin"}]`), 422, "direct_conversation", "conversation/members/1"},
		"direct conversation with a name":         {conversation(`"kind":"direct","members":[{"user":"a"},{"user":"b"}]`), 422, "direct_conversation", "conversation/name"},
		"slow mode of a direct conversation":      {conversation(`"kind":"direct","name":"-","members":[{"user":"a"},{"user":"b"}],"settings":{"slow_mode_seconds":60}`), 422, "direct_conversation", "conversation/settings/slow_mode_seconds"},
		"closed room":                             {conversation(`"kind":"room","settings":{"join":"closed"}`), 422, "setting_unsupported", "conversation/settings/join"},
		"second direct conversation of two users": {conversation(`"kind":"direct","name":"-","members":[{"user":"alice"},{"user":"bob"}]`), 409, "id_taken", "conversation/members"},
		"id of a message":                         {conversation(`"id":"` + message + `"`), 409, "id_taken", "conversation/id"},
		"id of a conversation of another kind":    {conversation(`"id":"` + group + `","kind":"direct","name":"-","members":[{"user":"a"},{"user":"b"}]`), 409, "id_taken", "conversation/id"},
		"extra field beside conversation":         {`{"conversation":{},"sender":"a"}`, 400, "invalid_request", "sender"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			before := w.export()
			got := w.importLines(c.line)
			if len(got) != 1 || got[0].Status != c.status || got[0].Code != c.code || got[0].Field != c.field {
				t.Errorf("%+v, want %d %s %q", got, c.status, c.code, c.field)
			}
			if after := w.export(); after != before {
				t.Errorf("it changed\n%s\nto\n%s", before, after)
			}
		})
	}
	if got := w.importLines(conversation(`"id":"` + group + `","name":"other"`)); got[0].Status != 200 || got[0].ID != group {
		t.Errorf("an existing one: %+v", got)
	}
	w.must(http.StatusNoContent, "alice", http.MethodDelete, "/v1/conversations/"+group+"?scope=everyone", "")
	if got := w.importLines(conversation(`"id":"` + group + `"`)); got[0].Status != 409 {
		t.Errorf("one that was deleted: %+v", got)
	}
}

// TestImportIsForAdmins checks who may import, export and run retention, and the required
// body.
func TestImportIsForAdmins(t *testing.T) {
	w := newWorld(t)
	for _, c := range [][3]string{
		{"POST", "/v1/admin/import", "application/x-ndjson"},
		{"GET", "/v1/admin/export", ""},
		{"POST", "/v1/admin/import/message", "application/json"},
		{"GET", "/v1/admin/retention", ""},
		{"POST", "/v1/admin/retention", ""},
	} {
		body := ""
		if c[2] != "" {
			body = importable("")
		}
		if a := w.do("alice", c[0], c[1], body, "Content-Type", c[2]); a.status != 403 || a.code(t) != "admin_required" {
			t.Errorf("%s %s: %d %s", c[0], c[1], a.status, a.body)
		}
		if a := w.do("", c[0], c[1], body, "Content-Type", c[2]); a.status != 401 {
			t.Errorf("%s %s without a token: %d %s", c[0], c[1], a.status, a.body)
		}
	}
	for _, mediaType := range []string{"application/json", "text/plain", "x", "application/x-ndjson, text/plain"} {
		a := w.do("", "POST", "/v1/admin/import", importable(""), "Authorization", adminOf(t), "Content-Type", mediaType)
		if a.status != 415 || a.code(t) != "unsupported_media_type" {
			t.Errorf("%s: %d %s", mediaType, a.status, a.body)
		}
	}
	a := w.do("", "POST", "/v1/admin/import", importable(""), "Authorization", adminOf(t), "Content-Type", "application/x-ndjson; charset=utf-8")
	if a.status != 200 {
		t.Errorf("with a charset: %d %s", a.status, a.body)
	}
}
