package handlers_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// heavyBody is a body that causes much work with few bytes.
type heavyBody struct {
	name, path, least string // least is a small body for the same operation
	body              string
	status            int
}

// filled returns a text of a given length: begin, then part repeated, then end.
func filled(length int, begin, part, end string) string {
	n := (length - len(begin) - len(end)) / len(part)
	return begin + strings.Repeat(part, n) + end
}

// numbered is filled with a part that contains a number.
func numbered(n int, begin, part, end string) string {
	var b strings.Builder
	b.WriteString(begin)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, part, i)
	}
	return b.String() + end
}

func heavyBodies() []heavyBody {
	const (
		send    = 108544 // the limit of a send
		most    = 1 << 20
		text    = `{"type":"text","body":{"text":"hi"}}`
		custom  = `{"type":"custom","body":{"name":"x","data":`
		group   = `{"kind":"direct","name":"x","members":[` // refused because of its kind, after all other checks
		groups  = "/v1/conversations"
		revoke  = "/v1/messages/revoke"
		members = "/v1/conversations/x/members"
		asUsers = "/v1/admin/messages"
		sendAs  = `{"as":"alice","to":["@bob"],"message":`
	)
	return []heavyBody{
		{"send, empty objects", toBob, text, filled(send, custom+"[{}", ",{}", "]}}"), 413},
		{"send, empty objects, few", toBob, text, filled(8*1024, custom+"[{}", ",{}", "]}}"), 413},
		{"send, empty objects, accepted", toBob, text, filled(4096, custom+"[{}", ",{}", "]}}"), 201},
		{"send, empty lists in a list", toBob, text, filled(24*1024, custom+"[[]", ",[]", "]}}"), 413},
		{"send, one list in another", toBob, text, filled(send, custom+"[0", ","+strings.Repeat("[", 55)+strings.Repeat("]", 55), "]}}"), 413},
		{"send, one object in another", toBob, text, filled(24*1024, custom+"[0", ","+strings.Repeat(`{"a":`, 55)+"0"+strings.Repeat("}", 55), "]}}"), 413},
		{"send, many names", toBob, text, numbered(9000, custom+"{", `"%d":0`, "}}}"), 413},
		{"send, many names in ext", toBob, text, numbered(9000, `{"type":"text","body":{"text":"x"},"ext":{`, `"%d":0`, "}}"), 413},
		{"send, escaped names", toBob, text, numbered(4000, custom+"{", `"\u0061%d":0`, "}}}"), 413},
		{"send, unknown members", toBob, text, numbered(8000, `{"type":"text","body":{"text":"x"},`, `"%d":{}`, "}"), 400},
		{"send, an escaped text", toBob, text, filled(send, `{"type":"text","body":{"text":"`, `\u0061`, `"}}`), 413},
		{"send, a long text", toBob, text, filled(send, `{"type":"text","body":{"text":"`, `x`, `"}}`), 413},
		{"send, white space", toBob, text, filled(send, `{"type":"text","body":{"text":"x"}`, " ", "}"), 201},
		{"send, mentions", toBob, text, numbered(9000, `{"type":"text","body":{"text":"x"},"mentions":[`, `"%d"`, "]}"), 400},
		{"send, push", toBob, text, filled(24*1024, `{"type":"text","body":{"text":"x"},"push":{"a":[{}`, ",{}", "]}}"), 413},
		{"send, 1 MiB", toBob, text, filled(most, custom+"[{}", ",{}", "]}}"), 413},
		{"members, 120,000", groups, group + `"a"]}`, numbered(120_000, group, `"%d"`, "]}"), 413},
		{"members, 4,000", groups, group + `"a"]}`, numbered(4_000, group, `"%d"`, "]}"), 400},
		{"as many members as allowed", groups, group + `"a"]}`, numbered(2_000, group, `"`+strings.Repeat("x", 120)+`%d"`, "]}"), 400},
		{"members, objects for names", members, `{"members":["a"]}`, filled(12_000, `{"members":[{}`, ",{}", "]}"), 400},
		{"members, empty objects for a list", members, `{"members":["a"]}`, filled(12_000, `{"members":{"a":[{}`, ",{}", "]}}"), 400},
		{"revoke, extension", revoke, `{"ids":["x"]}`, filled(12*1024, `{"ids":["x"],"extension":[{}`, ",{}", "]}"), 413},
		{"revoke, postscript of objects", revoke, `{"ids":["x"]}`, filled(12*1024, `{"ids":["x"],"postscript":[{}`, ",{}", "]}"), 400},
		{"send as, digits", asUsers, sendAs + text + "}", filled(18*1024, sendAs+custom+"[0", ",0", "]}}}"), 413},
		{"send as, many names", asUsers, sendAs + text + "}", numbered(4000, sendAs+custom+"{", `"%d":0`, "}}}}"), 413},
		{"a group's settings", groups, group + `"a"]}`, numbered(4000, `{"kind":"group","name":"x","settings":{`, `"%d":{}`, "}}"), 400},
	}
}

// mostPerByte is the number of bytes that a request may allocate for each byte of its body, beyond
// what a small request of the same operation and pages of the database take. Fewer are in use at
// once.
const (
	mostPerByte = 10
	besides     = 16 << 10
	// Storing, indexing and publishing a message copy it, more often with the race detector, which
	// empties pools.
	besidesStored = 96 << 10
)

// allocated returns the number of bytes that a request allocates, the minimum of some runs, because
// other code in this process may allocate, too.
func allocated(t testing.TB, w *world, path, body string, status int) uint64 {
	runs := make([]uint64, 3)
	token := mint(t, auth.Grant{User: "alice", Admin: strings.HasPrefix(path, "/v1/admin/")}, time.Minute)
	for i := range runs {
		req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		res := httptest.NewRecorder()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w.routes.ServeHTTP(res, req)
		runtime.ReadMemStats(&after)
		if runs[i] = after.TotalAlloc - before.TotalAlloc; status != 0 && res.Code != status {
			t.Fatalf("status %d, want %d: %.300s", res.Code, status, res.Body)
		}
	}
	return slices.Min(runs)
}

func TestBodiesTakeLittleMemory(t *testing.T) {
	w := newWorld(t)
	for _, b := range heavyBodies() {
		t.Run(b.name, func(t *testing.T) {
			least := allocated(t, w, b.path, b.least, 0)
			got := allocated(t, w, b.path, b.body, b.status)
			extra := float64(besides)
			if b.status == http.StatusCreated {
				extra = besidesStored
			}
			perByte := (float64(got) - float64(least) - extra) / float64(len(b.body))
			t.Logf("%d bytes of body, %d allocated, %.1f a byte more than the %d of a small one", len(b.body), got, perByte, least)
			if perByte > mostPerByte {
				t.Errorf("%.1f bytes are allocated for each of the body, want at most %d", perByte, mostPerByte)
			}
		})
	}
}

// TestImportLinesTakeLittleMemory is the same for the lines of an import.
func TestImportLinesTakeLittleMemory(t *testing.T) {
	w := newWorld(t)
	admin := mint(t, auth.Grant{User: "root", Admin: true}, time.Minute)
	run := func(line string) uint64 {
		runs := make([]uint64, 3)
		for i := range runs {
			req := httptest.NewRequest(http.MethodPost, "/v1/admin/import", strings.NewReader(line))
			req.Header.Set("Content-Type", "application/x-ndjson")
			req.Header.Set("Authorization", "Bearer "+admin)
			res := httptest.NewRecorder()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w.routes.ServeHTTP(res, req)
			runtime.ReadMemStats(&after)
			if runs[i] = after.TotalAlloc - before.TotalAlloc; !strings.Contains(res.Body.String(), `"status":4`) {
				t.Fatalf("not refused: %.300s", res.Body)
			}
		}
		return slices.Min(runs)
	}
	// A short run has lines of a quarter of the limit.
	line, many, members := testsize.Pick(1<<20-1, 1<<18), testsize.Pick(60_000, 15_000), testsize.Pick(9000, 2250)
	const (
		begin = `{"conversation_id":"x","sender":"a","created_at":"2026-01-01T00:00:00Z","type":"custom","body":{"name":"x","data":`
		group = `{"conversation":{"id":"x","kind":"group","members":[`
	)
	least := run("{}")
	for name, text := range map[string]string{
		"empty objects":   filled(line, begin+"[{}", ",{}", "]}}"),
		"many names":      numbered(many, begin+"{", `"%d":0`, "}}}"),
		"mentions":        filled(line, `{"mentions":["a"`, `,"a"`, "]}"),
		"members":         filled(line, group+`{"user":"a"}`, `,{"user":"a"}`, "]}}"),
		"many members":    numbered(members, group, `{"user":"u%d","stays":[{"from_seq":1}]}`, `],"x":1}}`),
		"stays":           filled(line, group+`{"user":"a","stays":[{"from_seq":1}`, `,{"from_seq":1}`, `],"x":1}]}}`),
		"unknown fields":  numbered(many, "{", `"x%d":{}`, "}"),
		"nested":          filled(line, begin+"[0", ","+strings.Repeat("[", 55)+strings.Repeat("]", 55), "]}}"),
		"an escaped name": filled(line, `{"sender":"`, `\u0061`, `"}`),
	} {
		got := run(text)
		perByte := (float64(got) - float64(least) - besides) / float64(len(text))
		t.Logf("%s: %.1f bytes for each of %d", name, perByte, len(text))
		if perByte > mostPerByte {
			t.Errorf("%s: %.1f bytes are allocated for each of the line, want at most %d", name, perByte, mostPerByte)
		}
	}
}

// BenchmarkBody measures what TestBodiesTakeLittleMemory bounds. peak-B/body-B is the number of
// bytes allocated for each byte of the body, which is the peak if nothing is collected in between.
func BenchmarkBody(b *testing.B) {
	w := newWorld(b)
	for _, heavy := range heavyBodies() {
		b.Run(strings.ReplaceAll(heavy.name, " ", "_"), func(b *testing.B) {
			var total uint64
			for b.Loop() {
				total += allocated(b, w, heavy.path, heavy.body, heavy.status)
			}
			b.ReportMetric(float64(total)/float64(b.N)/float64(len(heavy.body)), "peak-B/body-B")
		})
	}
}

// TestBodyLimits checks that each operation accepts bodies up to its limit, and no larger
// ones.
func TestBodyLimits(t *testing.T) {
	large := newWorld(t, func(_ *handlers.Options, _ *events.Options, p *im.Policy) { p.MaxMessageBytes = 100_000 })
	w := newWorld(t)
	padded := func(body string, length int) string { return body + strings.Repeat(" ", length-len(body)) }
	escaped := func(canonical int) string { // the same number of characters, each of them escaped
		text := func(n int) string { return strings.Repeat(`\u0061`, n) }
		return `{"type":"custom","body":{"name":"` + text(canonical-len(`{"name":""}{}`)) + `"},"push":{"a":"` + text(canonical-len(`{"a":""}`)) +
			`"},"mentions":["` + text(128) + `"]}`
	}
	const text, block = `{"type":"text","body":{"text":"x"}}`, `{"seconds":60}`
	for name, c := range map[string]struct {
		w                  *world
		method, path, body string
		status             int
		code               string
	}{
		"a message":                             {w, "POST", toBob, padded(text, 108544), 201, ""},
		"a message, one byte over":              {w, "POST", toBob, padded(text, 108545), 413, "body_too_large"},
		"the largest message, escaped":          {w, "POST", toBob, escaped(5120), 201, ""},
		"a message one byte over, escaped":      {w, "POST", toBob, escaped(5121), 413, "message_too_large"},
		"the largest message of a larger limit": {large, "POST", toBob, `{"type":"text","body":{"text":"` + strings.Repeat("x", 90_000) + `"}}`, 201, ""},
		"a large request body":                  {large, "POST", toBob, padded(text, 1<<20), 201, ""},
		"a large request body, one byte over":   {large, "POST", toBob, padded(text, 1<<20+1), 413, "body_too_large"},
		"a group":                               {w, "POST", "/v1/conversations", padded(`{"kind":"group","name":"x"}`, 1<<20), 201, ""},
		"a group, one byte over":                {w, "POST", "/v1/conversations", padded(`{"kind":"group","name":"x"}`, 1<<20+1), 413, "body_too_large"},
		"the default limit":                     {w, "POST", "/v1/spaces", padded(`{"name":"x"}`, 64<<10), 201, ""},
		"the default limit, one byte over":      {w, "POST", "/v1/spaces", padded(`{"name":"x"}`, 64<<10+1), 413, "body_too_large"},
		"a body where none is allowed":          {w, "POST", "/v1/unread/clear", padded(block, 1<<20), 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, length := range []int64{int64(len(c.body)), -1} {
				req, err := http.NewRequest(c.method, c.w.url+c.path, io.NopCloser(strings.NewReader(c.body)))
				if err != nil {
					t.Fatal(err)
				}
				req.ContentLength = length
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Authorization", "Bearer "+tokenOf(t, "alice"))
				a := c.w.in(t).send(req)
				code, _ := a.json(t)["code"].(string)
				if a.status != c.status || code != c.code {
					t.Errorf("length %d: %d %q, want %d %q: %.300s", length, a.status, code, c.status, c.code, a.body)
				}
			}
		})
	}
}

// TestBodiesWaitForRoom checks that a request gets 503 if there is no memory for its body, and that
// all memory is released.
func TestBodiesWaitForRoom(t *testing.T) {
	w := newWorld(t)
	release := w.server.HoldBodies()
	a := w.do("alice", http.MethodPost, toBob, `{"type":"text","body":{"text":"x"}}`)
	if a.status != http.StatusServiceUnavailable || a.code(t) != "overloaded" || a.header.Get("Retry-After") == "" {
		t.Errorf("a send: %d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
	}
	w.must(http.StatusOK, "alice", http.MethodGet, "/v1/conversations", "") // needs no memory
	release()
	for range 3 {
		w.say("alice", "@bob", "x")
		w.do("alice", http.MethodPost, toBob, `{"type":`)
	}
	w.server.HoldBodies()() // all memory is free
}
