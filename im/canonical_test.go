package im_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

// sentAs returns the stored form of a draft.
func sentAs(t *testing.T, d im.Draft) string {
	t.Helper()
	c, err := d.Content(4096)
	if err != nil {
		t.Fatalf("%s: %v", d.Body, err)
	}
	return string(c.Sent)
}

// TestCanonicalForm checks which differences between a message and its retry do not matter, and
// which make it a different message.
func TestCanonicalForm(t *testing.T) {
	base := im.Draft{
		Type: im.Custom, ClientID: "c1",
		Body:     []byte(`{"name":"order é\n","data":{"a":1.0,"b":[1,2],"c":{"x":true,"y":null}}}`),
		Ext:      []byte(`{"k":"<v>","l":{}}`),
		Mentions: []im.UserID{"bob", "carol"},
		ReplyTo:  "0000000000001",
		Receipt:  true,
		Push:     []byte(`{"title":"t","badge":1}`),
	}
	want := sentAs(t, base)
	for _, test := range []struct {
		name   string
		change func(*im.Draft)
		same   bool
	}{
		{"nothing", func(*im.Draft) {}, true},
		{"another client_id", func(d *im.Draft) { d.ClientID = "c2" }, true},
		{"member order, at every depth", func(d *im.Draft) {
			d.Body = []byte(`{"data":{"c":{"y":null,"x":true},"b":[1,2],"a":1.0},"name":"order é\n"}`)
			d.Ext = []byte(`{"l":{},"k":"<v>"}`)
			d.Push = []byte(`{"badge":1,"title":"t"}`)
		}, true},
		{"white space", func(d *im.Draft) {
			d.Body = []byte(" {\n\t\"name\" : \"order é\\n\", \"data\": { \"a\" : 1.0 , \"b\":[ 1 ,2 ], \"c\":{\"x\":true,\"y\":null} } }\r\n")
		}, true},
		{"unicode escapes", func(d *im.Draft) {
			d.Body = []byte(`{"n\u0061me":"order \u00e9\u000a","data":{"a":1.0,"b":[1,2],"c":{"x":true,"y":null}}}`)
			d.Ext = []byte(`{"k":"\u003cv\u003e","l":{}}`)
		}, true},
		{"an escaped letter", func(d *im.Draft) { d.Body = bytes.Replace(d.Body, []byte("order"), []byte("o\u0072der"), 1) }, true},
		{"a member twice, the last one as it was", func(d *im.Draft) { d.Ext = []byte(`{"k":"other","k":"<v>","l":{}}`) }, true},

		{"another number literal", func(d *im.Draft) { d.Body = bytes.Replace(d.Body, []byte("1.0"), []byte("1"), 1) }, false},
		{"another exponent", func(d *im.Draft) { d.Body = bytes.Replace(d.Body, []byte("1.0"), []byte("1e0"), 1) }, false},
		{"another list order", func(d *im.Draft) { d.Body = bytes.Replace(d.Body, []byte("[1,2]"), []byte("[2,1]"), 1) }, false},
		{"another text", func(d *im.Draft) { d.Body = bytes.Replace(d.Body, []byte("order"), []byte("Order"), 1) }, false},
		{"a decomposed letter", func(d *im.Draft) { d.Body = bytes.Replace(d.Body, []byte("é"), []byte("e\u0301"), 1) }, false},
		{"a number for a text", func(d *im.Draft) { d.Ext = []byte(`{"k":1,"l":{}}`) }, false},
		{"null for a missing member", func(d *im.Draft) { d.Ext = []byte(`{"k":"<v>","l":{},"m":null}`) }, false},
		{"no ext", func(d *im.Draft) { d.Ext = nil }, false},
		{"other mentions", func(d *im.Draft) { d.Mentions = d.Mentions[:1] }, false},
		{"no reply_to", func(d *im.Draft) { d.ReplyTo = "" }, false},
		{"no receipt", func(d *im.Draft) { d.Receipt = false }, false},
		{"other push", func(d *im.Draft) { d.Push = []byte(`{"title":"t","badge":2}`) }, false},
		{"no push", func(d *im.Draft) { d.Push = nil }, false},
	} {
		d := base
		test.change(&d)
		if got := sentAs(t, d); (got == want) != test.same {
			t.Errorf("%s: same %t, want %t:\n%s\n%s", test.name, got == want, test.same, got, want)
		}
	}

	text := im.Draft{Type: im.Text, Body: []byte(`{"text":"hi"}`)}
	empty := text
	empty.Ext, empty.Mentions = []byte(" { } "), []im.UserID{}
	if a, b := sentAs(t, text), sentAs(t, empty); a != b {
		t.Errorf("empty ext and mentions are not the same as none: %s, %s", a, b)
	}
}

// The stored form must not change between versions: a retry may come after an upgrade.
func TestStoredForm(t *testing.T) {
	for name, test := range map[string]struct {
		draft im.Draft
		want  string
	}{
		"a text": {
			im.Draft{Type: im.Text, Body: []byte(`{"text":"hi <b> & \/ \u2028"}`)},
			`{"body":{"text":"hi <b> & / \u2028"},"ext":{},"type":"text"}`,
		},
		"a custom message with everything": {im.Draft{
			Type: im.Custom, ClientID: "c", Body: []byte(`{"name":"n","data":[-0, 1E+2, 123456789012345678901234567890.50, 1e300]}`),
			Ext: []byte(`{"b":1,"a":2}`), Mentions: []im.UserID{"carol", "bob"}, ReplyTo: "0000000000001", Receipt: true,
			Push: []byte(`{"z":1,"a":{}}`),
		}, `{"body":{"data":[-0,1E+2,123456789012345678901234567890.50,1e300],"name":"n"},"ext":{"a":2,"b":1},` +
			`"mentions":["carol","bob"],"push":{"a":{},"z":1},"receipt":true,"reply_to":"0000000000001","type":"custom"}`},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := test.draft.Content(4096)
			if err != nil {
				t.Fatal(err)
			}
			if string(c.Sent) != test.want {
				t.Errorf("stored as\n%s, want\n%s", c.Sent, test.want)
			}
			var parts map[string]json.RawMessage
			if err := json.Unmarshal(c.Sent, &parts); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(c.Body, parts["body"]) || !bytes.Equal(c.Ext, parts["ext"]) {
				t.Errorf("body %s and ext %s are not as stored: %s", c.Body, c.Ext, c.Sent)
			}
			back, err := im.ParseContent(c.Sent)
			if diff := cmp.Diff(c, back); err != nil || diff != "" {
				t.Errorf("read back with %v (-want +got):\n%s", err, diff)
			}
			again := test.draft
			again.Body, again.Ext, again.Push, again.Canonical = parts["body"], parts["ext"], parts["push"], true
			copied, err := again.Content(4096)
			if diff := cmp.Diff(c, copied); err != nil || diff != "" {
				t.Errorf("sent again as canonical JSON: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestCanonicalDraftsAreChecked checks that a draft whose JSON is canonical gets the refusals of one
// whose JSON is not known to be.
func TestCanonicalDraftsAreChecked(t *testing.T) {
	const limit = 40
	text := func(n int) []byte { return fmt.Appendf(nil, `{"text":"%s"}`, strings.Repeat("a", n)) }
	for name, draft := range map[string]im.Draft{
		"body too large":         {Type: im.Text, Body: text(limit)},
		"body and ext too large": {Type: im.Text, Body: text(20), Ext: text(20)},
		"push too large":         {Type: im.Text, Body: text(1), Push: text(limit)},
		"body of another type":   {Type: im.Location, Body: text(1)},
		"body empty":             {Type: im.Text, Body: []byte(`{}`)},
		"text empty":             {Type: im.Text, Body: text(0)},
		"no body":                {Type: im.Text},
		"body not an object":     {Type: im.Text, Body: []byte(`[]`)},
		"ext not an object":      {Type: im.Text, Body: text(1), Ext: []byte(`1`)},
		"push not an object":     {Type: im.Text, Body: text(1), Push: []byte(`null`)},
		"not too large":          {Type: im.Text, Body: text(limit - len(`{"text":""}{}`))},
		"too large by one":       {Type: im.Text, Body: text(limit - len(`{"text":""}{}`) + 1)},
	} {
		t.Run(name, func(t *testing.T) {
			want, wantErr := draft.Content(limit)
			draft.Canonical = true
			got, err := draft.Content(limit)
			if diff := cmp.Diff(want, got); diff != "" || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("canonical %v, otherwise %v (-want +got):\n%s", err, wantErr, diff)
			}
		})
	}
}

func TestParseContent(t *testing.T) {
	c, err := im.ParseContent([]byte(`{"body":{"text":"hi"},"type":"text"}`))
	if err != nil || string(c.Body) != `{"text":"hi"}` || string(c.Ext) != "{}" || c.Mentions != nil {
		t.Errorf("without an ext: %+v, %v", c, err)
	}
	for _, broken := range []string{"", "x", `{"body":`, `[]`, `{"mentions":7}`, "\x00\x00\x00"} {
		if c, err := im.ParseContent([]byte(broken)); err == nil {
			t.Errorf("%q reads as %+v", broken, c)
		}
	}
}

// No input causes a panic, every refusal names its reason, and the stored form can be read back and
// is its own canonical form.
func FuzzContent(f *testing.F) {
	f.Add(uint8(im.Text), []byte(`{"text":"hi"}`), []byte(`{"a":[1,{"b":"\ud800"}]}`), []byte(`{}`), "bob", "1")
	f.Add(uint8(im.Location), []byte(`{"latitude":1e1,"longitude":-0}`), []byte(`{"":{"":""}}`), []byte(nil), "", "")
	f.Add(uint8(im.Custom), []byte(`{"name":"\u2028","data":1e999}`), []byte(nil), []byte(`{"a":"\u0000"}`), "a", "x")
	f.Add(uint8(im.Custom), []byte(`{"name":"n","data":[[[[{}]]]],"name":"m"}`), []byte(" {}\n"), []byte(`[]`), "\xff", "")
	f.Add(uint8(im.Text), []byte("{\"text\":\"\xff\xc0\"}"), []byte("{}}"), []byte("null"), "~", "")
	f.Fuzz(func(t *testing.T, typ uint8, body, ext, push []byte, mention, replyTo string) {
		d := im.Draft{
			Type: im.MessageType(typ), Body: body, Ext: ext, Push: push,
			ReplyTo: strings.ToValidUTF8(replyTo, "?"),
		} // decoded, as a decoder would
		if mention != "" {
			d.Mentions = []im.UserID{im.UserID(mention)}
		}
		const limit = 4096
		c, err := d.Content(limit)
		if err != nil {
			if e, ok := im.AsError(err); !ok || e.Kind != im.Invalid && e.Kind != im.TooLarge {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if !json.Valid(c.Sent) || len(c.Body)+len(c.Ext) > limit {
			t.Fatalf("stored as %q", c.Sent)
		}
		back, err := im.ParseContent(c.Sent)
		if diff := cmp.Diff(c, back); err != nil || diff != "" {
			t.Fatalf("%q reads back with %v (-want +got):\n%s", c.Sent, err, diff)
		}
		var stored struct {
			Push    json.RawMessage
			ReplyTo string `json:"reply_to"`
		}
		if err := json.Unmarshal(c.Sent, &stored); err != nil {
			t.Fatal(err)
		}
		again, err := im.Draft{
			Type: d.Type, Body: back.Body, Ext: back.Ext, Mentions: back.Mentions,
			Push: stored.Push, ReplyTo: stored.ReplyTo,
		}.Content(limit)
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Fatalf("%q sent again with %v (-want +got):\n%s", c.Sent, err, diff)
		}
	})
}
