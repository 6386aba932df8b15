package im_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

// TestBodies checks the shape of each type's body.
func TestBodies(t *testing.T) {
	const ok, bad = "ok", "400 invalid_request"
	for _, test := range []struct {
		typ   im.MessageType
		body  string
		want  string
		field string
	}{
		{im.Text, `{"text":"hi"}`, ok, ""},
		{im.Text, ` {"text" : " "} `, ok, ""},
		{im.Text, `{"text":"\u0000"}`, ok, ""},
		{im.Text, `{"text":""}`, bad, "body/text"},
		{im.Text, `{"text":null}`, bad, "body/text"},
		{im.Text, `{}`, bad, "body/text"},
		{im.Text, `{"text":7}`, bad, "body"},
		{im.Text, `{"text":["hi"]}`, bad, "body"},
		{im.Text, `{"text":"hi","more":1}`, bad, "body"},
		{im.Text, `{"Text":"hi"}`, bad, "body"},
		{im.Text, `{"text":"hi","TEXT":"ho"}`, bad, "body"},
		{im.Text, ``, bad, "body"},
		{im.Text, `null`, bad, "body"},
		{im.Text, `"hi"`, bad, "body"},
		{im.Text, `["text"]`, bad, "body"},
		{im.Text, `{"text":"hi"`, bad, "body"},
		{im.Text, `{"text":"hi"} {}`, bad, "body"},
		{im.Text, `{"text":"hi"}}`, bad, "body"},
		{im.Text, `{"text":"hi"}]`, bad, "body"},
		{im.Text, `{"text":"hi"} x`, bad, "body"},
		{im.Text, `{'text':'hi'}`, bad, "body"},

		{im.Location, `{"latitude":31.2304,"longitude":121.4737}`, ok, ""},
		{im.Location, `{"latitude":0,"longitude":0,"address":""}`, ok, ""},
		{im.Location, `{"latitude":90,"longitude":-180,"address":"the pole"}`, ok, ""},
		{im.Location, `{"latitude":-90.0,"longitude":1.8e2}`, ok, ""},
		{im.Location, `{"latitude":90.0001,"longitude":0}`, bad, "body/latitude"},
		{im.Location, `{"latitude":-91,"longitude":0}`, bad, "body/latitude"},
		{im.Location, `{"latitude":0,"longitude":180.1}`, bad, "body/longitude"},
		{im.Location, `{"latitude":0,"longitude":-181}`, bad, "body/longitude"},
		{im.Location, `{"longitude":0}`, bad, "body/latitude"},
		{im.Location, `{"latitude":0}`, bad, "body/longitude"},
		{im.Location, `{"latitude":null,"longitude":0}`, bad, "body/latitude"},
		{im.Location, `{"latitude":"0","longitude":0}`, bad, "body"},
		{im.Location, `{"latitude":1e999,"longitude":0}`, bad, "body"},
		{im.Location, `{"latitude":0,"longitude":0,"address":7}`, bad, "body"},
		{im.Location, `{"latitude":0,"longitude":0,"text":"hi"}`, bad, "body"},
		{im.Location, `{"Latitude":0,"longitude":0}`, bad, "body"},

		{im.Custom, `{"name":"order"}`, ok, ""},
		{im.Custom, `{"name":"order","data":{"number":7,"list":[1,[2,{"a":null}]]}}`, ok, ""},
		{im.Custom, `{"name":"order","data":null}`, ok, ""},
		{im.Custom, `{"name":"order","data":"text"}`, ok, ""},
		{im.Custom, `{"name":"order","data":1e300}`, ok, ""},
		{im.Custom, `{"name":"order","data":[{"a":1e400}]}`, bad, "body"},
		{im.Custom, `{"name":""}`, bad, "body/name"},
		{im.Custom, `{"data":{}}`, bad, "body/name"},
		{im.Custom, `{"name":1}`, bad, "body"},
		{im.Custom, `{"name":"order","Data":1}`, bad, "body"},
		{im.Custom, `{"name":"order","text":"hi"}`, bad, "body"},

		{0, `{"text":"hi"}`, bad, "type"},
		{6, `{"text":"hi"}`, bad, "type"},
		{255, `{}`, bad, "type"},
	} {
		c, err := im.Draft{Type: test.typ, Body: []byte(test.body)}.Content(4096)
		if got := answer(err); got != test.want {
			t.Errorf("%s %s: %s, want %s", test.typ, test.body, got, test.want)
			continue
		}
		if e, refused := im.AsError(err); refused {
			if e.Field != test.field {
				t.Errorf("%s %s: the fault is in %q, want %q", test.typ, test.body, e.Field, test.field)
			}
		} else if string(c.Ext) != "{}" || c.Mentions != nil {
			t.Errorf("%s %s: ext %s and mentions %v without any in the draft", test.typ, test.body, c.Ext, c.Mentions)
		}
	}
}

// TestDrafts checks the other parts of a draft.
func TestDrafts(t *testing.T) {
	users := func(n int) (list []im.UserID) {
		for i := range n {
			list = append(list, im.UserID(fmt.Sprint("user", i)))
		}
		return list
	}
	for _, test := range []struct {
		name  string
		with  func(*im.Draft)
		want  string
		field string
	}{
		{"no optional field", func(*im.Draft) {}, "ok", ""},
		{"a client_id", func(d *im.Draft) { d.ClientID = "a b~" }, "ok", ""},
		{"the longest client_id", func(d *im.Draft) { d.ClientID = strings.Repeat("x", 128) }, "ok", ""},
		{"a client_id one byte longer", func(d *im.Draft) { d.ClientID = strings.Repeat("x", 129) }, "400 invalid_request", "client_id"},
		{"a client_id with a control character", func(d *im.Draft) { d.ClientID = "a\n" }, "400 invalid_request", "client_id"},
		{"a client_id beyond ASCII", func(d *im.Draft) { d.ClientID = "é" }, "400 invalid_request", "client_id"},
		{"a mention", func(d *im.Draft) { d.Mentions = users(1) }, "ok", ""},
		{"as many mentions as allowed", func(d *im.Draft) { d.Mentions = users(200) }, "ok", ""},
		{"one mention too many", func(d *im.Draft) { d.Mentions = users(201) }, "400 invalid_request", "mentions"},
		{"a repeated mention", func(d *im.Draft) { d.Mentions = append(users(3), "user1") }, "400 invalid_request", "mentions/3"},
		{"an empty mention", func(d *im.Draft) { d.Mentions = []im.UserID{"bob", ""} }, "400 invalid_request", "mentions/1"},
		{"a mention that is not a user id", func(d *im.Draft) { d.Mentions = []im.UserID{"b\x00b"} }, "400 invalid_request", "mentions/0"},
		{"ext", func(d *im.Draft) { d.Ext = []byte(`{"a":{"b":[1,2,{"c":null}]}}`) }, "ok", ""},
		{"ext that is a list", func(d *im.Draft) { d.Ext = []byte(`[]`) }, "400 invalid_request", "ext"},
		{"ext that is null", func(d *im.Draft) { d.Ext = []byte(`null`) }, "400 invalid_request", "ext"},
		{"ext that is cut off", func(d *im.Draft) { d.Ext = []byte(`{"a":`) }, "400 invalid_request", "ext"},
		{"ext followed by a bracket", func(d *im.Draft) { d.Ext = []byte(`{}}`) }, "400 invalid_request", "ext"},
		{"push", func(d *im.Draft) { d.Push = []byte(`{"title":"hi"}`) }, "ok", ""},
		{"push that is text", func(d *im.Draft) { d.Push = []byte(`"hi"`) }, "400 invalid_request", "push"},
		{"push that is null", func(d *im.Draft) { d.Push = []byte(`null`) }, "400 invalid_request", "push"},
		{"reply_to of any form", func(d *im.Draft) { d.ReplyTo = "no id" }, "ok", ""}, // the use case looks it up
	} {
		d := text("hi")
		test.with(&d)
		_, err := d.Content(4096)
		if got := answer(err); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if e, refused := im.AsError(err); refused && e.Field != test.field {
			t.Errorf("%s: the fault is in %q, want %q", test.name, e.Field, test.field)
		}
	}
}

// Body and ext are measured together, and push by itself, in their stored forms.
func TestSizes(t *testing.T) {
	const limit = 3000
	fill := func(name string, n int) []byte { // an object of n bytes
		return fmt.Appendf(nil, `{"%s":"%s"}`, name, strings.Repeat("x", n-len(name)-7))
	}
	for _, test := range []struct {
		name  string
		draft im.Draft
		want  string
	}{
		{"body at the limit", im.Draft{Body: fill("text", limit-2)}, "ok"}, // an empty ext is {}
		{"body over the limit", im.Draft{Body: fill("text", limit-1)}, "body"},
		{"body and ext at the limit", im.Draft{Body: fill("text", 1000), Ext: fill("a", limit-1000)}, "ok"},
		{"body and ext over the limit", im.Draft{Body: fill("text", 1000), Ext: fill("a", limit-999)}, "body"},
		{"white space does not count", im.Draft{Body: append(bytes.Repeat([]byte(" "), limit), fill("text", limit-2)...)}, "ok"},
		{"escapes count like the characters that they stand for", im.Draft{Body: []byte(`{"text":"` + strings.Repeat(`\u0078`, limit-13) + `"}`)}, "ok"},
		{"escapes, one character over the limit", im.Draft{Body: []byte(`{"text":"` + strings.Repeat(`\u0078`, limit-12) + `"}`)}, "body"},
		{"bytes are counted, not characters", im.Draft{Body: []byte(`{"text":"` + strings.Repeat("王", 1000) + `"}`)}, "body"},
		{"< and & stay one byte", im.Draft{Body: []byte(`{"text":"` + strings.Repeat("<", limit-13) + `"}`)}, "ok"},
		{"push at the limit", im.Draft{Body: fill("text", 100), Push: fill("a", limit)}, "ok"},
		{"push over the limit", im.Draft{Body: fill("text", 100), Push: fill("a", limit+1)}, "push"},
		{"push beside a full body", im.Draft{Body: fill("text", limit-2), Push: fill("a", limit)}, "ok"},
	} {
		test.draft.Type = im.Text
		_, err := test.draft.Content(limit)
		if test.want == "ok" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if e, ok := im.AsError(err); !ok || e.Kind != im.TooLarge || e.Code != "message_too_large" || e.Field != test.want {
			t.Errorf("%s: %v, want message_too_large in %s", test.name, err, test.want)
		}
	}
}
