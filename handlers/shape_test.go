package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/jsonscan"
)

// TestOutline checks the outlines of bodies.
func TestOutline(t *testing.T) {
	rules := bodyRules(t)
	for _, c := range []struct{ operation, body, want string }{
		{"sendMessage", ` {"type":"text", "body" : {"text":"hi"} } `, `{"type":"text","body":{"text":"x"}}`},
		{"sendMessage", `{"type":"text","body":{"text":""}}`, `{"type":"text","body":{"text":""}}`},
		{"sendMessage", `{"type":"custom","body":{"name":"n","data":[{"a":[1]},2]},"ext":{"a":{}},"push":{"b":1}}`, `{"type":"custom","body":{"name":"x","data":[]},"ext":{},"push":{}}`},
		{"sendMessage", `{"type":"custom","body":{"data":{"a":1}}}`, `{"type":"custom","body":{"data":{}}}`},
		{"sendMessage", `{"type":"custom","body":{"data":"long"}}`, `{"type":"custom","body":{"data":""}}`},
		{"sendMessage", `{"type":"custom","body":{"data":-1.5e300}}`, `{"type":"custom","body":{"data":0}}`},
		{"sendMessage", `{"type":"custom","body":{"data":null}}`, `{"type":"custom","body":{"data":null}}`},
		{"sendMessage", `{"a":[1,2],"type":{"b":1},"c":{},"b\u006fdy":[3]}`, `{"a":0,"type":{},"b\u006fdy":[]}`},
		{"sendMessage", `{"mentions":["a", "b"],"ext":[1]}`, `{"mentions":["a","b"],"ext":[]}`},
		{"addMembers", `{"members":[{"a":[]},[1,2],"c"]}`, `{"members":[{},[],"c"]}`},
		{"addMembers", `[{"members":[]}]`, `[]`},
		{"revokeMessage", `{}`, `{}`},
	} {
		got, err := outline([]byte(c.body), rules[c.operation].shape)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", c.body, got, err, c.want)
		}
	}
	_, err := outline([]byte(`{"members":[`+strings.Repeat(`"a",`, 2000)+`"a"]}`), rules["addMembers"].shape)
	var long *tooLong
	if !errors.As(err, &long) || long.field != "members" || long.most != 2000 {
		t.Errorf("a list that is too long: %v", err)
	}
}

func bodyRules(t testing.TB) map[string]*bodyRule {
	d, err := loadDocument(4096)
	if err != nil {
		t.Fatal(err)
	}
	rules := make(map[string]*bodyRule)
	for key, rule := range d.bodies {
		if rule != nil && !rule.unread {
			rules[d.routes[key].Operation.OperationID] = rule
		}
	}
	return rules
}

// TestListsInRequestsHaveBounds checks that the OpenAPI document bounds each list in a request, so
// that a longer one can be refused before its items are read.
func TestListsInRequestsHaveBounds(t *testing.T) {
	for operation, rule := range bodyRules(t) {
		var look func(path string, s *shape)
		look = func(path string, s *shape) {
			if s.items != nil {
				if s.most == 0 {
					t.Errorf("%s: %s has no bound", operation, path)
				}
				look(path+"/*", s.items)
			}
			for name, m := range s.members {
				look(path+"/"+name, m)
			}
		}
		look("", rule.shape)
	}
}

// FuzzOutline checks that a body is valid if and only if its outline is.
func FuzzOutline(f *testing.F) {
	rules := bodyRules(f)
	operations := slices.Sorted(maps.Keys(rules))
	for i := range operations {
		for _, body := range []string{
			`{"type":"custom","body":{"name":"n","data":[{"a":1},null]},"ext":{"a":null},"mentions":["a","b"],"push":{}}`,
			`{"type":"text","body":{"text":"x","data":1},"burn":{"after_seconds":1},"receipt":true}`,
			`{"type":"location","body":{"latitude":1,"longitude":-1,"address":"x"},"mentions":["a","a"]}`,
			`{"members":["a",1],"kind":"group","name":"n","settings":{"announcement":null,"x":1},"role":"admin"}`,
			`{"ids":["a"],"extension":[1],"push_payload":null,"postscript":"x"}`, `{"message_ids":[],"kind":"read","up_to":"x"}`,
			`{"permissions":{"send":"allow","fly":1},"position":1,"name":""}`, `{"roles":["a","a"]}`, `{"seconds":1}`, `{"users":[]}`,
			`{"conversation_id":"x","sender":"a","type":"text","body":null,"erased":{"at":"2026-01-01T00:00:00Z","extension":null}}`,
			`[]`, `null`, `"x"`, `1`, `{}`, `{"a":1,"b":2}`,
		} {
			f.Add(uint8(i), []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		rule := rules[operations[int(which)%len(operations)]]
		found := jsonscan.Scan(body, len(body))
		if found.Fault != "" {
			return
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		whole := rule.schema.VisitJSON(v, openapi3.VisitAsRequest())
		if refused := rule.validate(found.Value); (refused == nil) != (whole == nil) {
			t.Errorf("%s: %s: by its outline %+v, by itself %v", operations[int(which)%len(operations)], body, refused, whole)
		}
	})
}
