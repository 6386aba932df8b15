package handlers_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// startStream starts a data stream and returns its path.
func (w *world) startStream(user, body string) string {
	w.t.Helper()
	return "/v1/streams/" + w.must(http.StatusCreated, user, http.MethodPost, "/v1/streams", body)["id"].(string)
}

func (w *world) pushText(user, stream, text string) {
	w.t.Helper()
	body, _ := json.Marshal(map[string]any{"text": text})
	w.must(http.StatusOK, user, http.MethodPost, stream+"/frames", string(body))
}

// readStream opens a data stream as events.
func (w *world) readStream(user, stream string, header ...string) *reader {
	w.t.Helper()
	return w.readStreamAs(tokenOf(w.t, user), stream, header...)
}

func (w *world) readStreamAs(token, stream string, header ...string) *reader {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.url+stream, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.follow(req)
}

// dataFrame reads the next event of a data stream, and checks it against the document.
func (r *reader) dataFrame() (frame, map[string]any) {
	r.t.Helper()
	for {
		f, ok := r.next()
		if !ok {
			r.t.Fatal("the data stream ended without stream.ended")
		}
		if f.event == "" {
			continue
		}
		schema := map[string]string{"stream.frame": "StreamFrame", "stream.gap": "StreamGap", "stream.ended": "StreamEnded"}[f.event]
		var v map[string]any
		if err := json.Unmarshal([]byte(f.data), &v); err != nil {
			r.t.Fatalf("data %q: %v", f.data, err)
		}
		spec := contract()
		if err := spec.Components.Schemas[schema].Value.VisitJSON(v); err != nil {
			r.t.Errorf("%s %s is not as the document has it: %v", f.event, f.data, err)
		}
		if f.event == "stream.frame" && f.id != fmt.Sprint(v["id"]) {
			r.t.Errorf("the frame says id %q, its data %v", f.id, v)
		}
		return f, v
	}
}

func (r *reader) wantFrames(want ...string) {
	r.t.Helper()
	for _, text := range want {
		f, v := r.dataFrame()
		if f.event != "stream.frame" || v["text"] != text {
			r.t.Fatalf("got %s %s, want the frame %q", f.event, f.data, text)
		}
	}
}

func (r *reader) wantEnded(reason string) map[string]any {
	r.t.Helper()
	f, v := r.dataFrame()
	if f.event != "stream.ended" || v["reason"] != reason {
		r.t.Fatalf("got %s %s, want stream.ended, %s", f.event, f.data, reason)
	}
	if f, ok := r.next(); ok {
		r.t.Errorf("%+v after stream.ended", f)
	}
	return v
}

func binaryFrame(dtype byte, body string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	return string(append(b, dtype)) + body
}

// TestFramesInEveryForm pushes frames in each form and reads them in both.
func TestFramesInEveryForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob")
	s := w.startStream("alice", `{"conversation_id":"`+group+`","access":"members","label":"answer"}`)
	push := func(contentType, body string, frames, last float64) {
		t.Helper()
		got := w.must(http.StatusOK, "alice", http.MethodPost, s+"/frames", body, "Content-Type", contentType)
		if got["frames"] != frames || got["last_id"] != last {
			t.Errorf("%s: pushed %v, want %v frames up to %v", contentType, got, frames, last)
		}
	}
	live := w.readStream("bob", s+"/events")
	push("application/json", `{"dtype":7,"text":"one \u00e9\n"}`, 1, 1)
	push("application/json; charset=utf-8", "{\"json\":{\n \"a\": [1.50, null]}}", 1, 2)
	push("application/x-ndjson", "{\"base64\":\"AAEC\"}\n\n{\"text\":\"\"}\r\n{\"json\":null,\"dtype\":255}", 3, 5)
	push("application/octet-stream", binaryFrame(1, "six")+binaryFrame(0, ""), 2, 7)

	want := []string{
		`{"id":1,"from":"alice","dtype":7,"text":"one é\n"}`,
		`{"id":2,"from":"alice","dtype":0,"json":{"a":[1.50,null]}}`,
		`{"id":3,"from":"alice","dtype":0,"base64":"AAEC"}`,
		`{"id":4,"from":"alice","dtype":0,"text":""}`,
		`{"id":5,"from":"alice","dtype":255,"json":null}`,
		`{"id":6,"from":"alice","dtype":1,"base64":"c2l4"}`,
		`{"id":7,"from":"alice","dtype":0,"base64":""}`,
	}
	late := w.readStream("bob", s+"/events")
	from := w.readStream("bob", s+"/events?from=3")
	resumed := w.readStream("bob", s+"/events?from=1", "Last-Event-ID", "5")
	inQuery := w.readStream("bob", s+"/events?from=1&lastEventId=6", "Last-Event-ID", "")
	for i, r := range []*reader{live, late, from, resumed, inQuery} {
		for _, data := range want[[]int{0, 0, 2, 5, 6}[i]:] {
			if f, _ := r.dataFrame(); f.event != "stream.frame" || f.data != data {
				t.Errorf("reader %d: %s %s, want %s", i, f.event, f.data, data)
			}
		}
	}
	bin := w.readStream("bob", s+"/events?from=2", "Accept", "application/octet-stream")
	view := w.must(http.StatusOK, "bob", http.MethodGet, s, "")
	if view["first_frame"] != 1.0 || view["next_frame"] != 8.0 || view["ended"] != nil || view["label"] != "answer" {
		t.Errorf("the data stream is %v", view)
	}
	w.must(http.StatusOK, "alice", http.MethodPost, s+"/end", "")
	for _, r := range []*reader{live, late, from, resumed, inQuery} {
		r.wantEnded("owner")
	}
	got, err := io.ReadAll(bin.res.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := binaryFrame(0, `{"a":[1.50,null]}`) + binaryFrame(0, "\x00\x01\x02") + binaryFrame(0, "") + binaryFrame(255, "null") +
		binaryFrame(1, "six") + binaryFrame(0, "")
	if string(got) != all || bin.res.Header.Get("Stream-First-Frame") != "2" || bin.res.Trailer.Get("Stream-Ended") != "owner" {
		t.Errorf("read %q from %q, which ended by %q", got, bin.res.Header.Get("Stream-First-Frame"), bin.res.Trailer.Get("Stream-Ended"))
	}
}

// TestListingDataStreams lists the data streams of a conversation and of an owner.
func TestListingDataStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob", "carol")
	in := `{"conversation_id":"` + group + `",`
	a := w.startStream("alice", in+`"access":"members"}`)
	b := w.startStream("alice", in+`"access":"listed","readers":["bob"]}`)
	c := w.startStream("bob", in+`"access":"anyone"}`)
	free := w.startStream("alice", `{"access":"anyone"}`)
	ended := w.startStream("alice", in+`"access":"members"}`)
	w.must(http.StatusNoContent, "alice", http.MethodDelete, ended, "")
	for name, l := range map[string]struct {
		user, query string
		want        []string
	}{
		"of a conversation, one in a page":                 {"alice", "?conversation_id=" + group + "&limit=1", []string{a, b, c}},
		"of a conversation, to a listed reader":            {"bob", "?conversation_id=" + group, []string{a, b, c}},
		"of a conversation, to a member who is not listed": {"carol", "?conversation_id=" + group + "&limit=2", []string{a, c}},
		"her own, two in a page":                           {"alice", "?limit=2", []string{a, b, free}},
		"his own":                                          {"bob", "", []string{c}},
		"of one who owns none":                             {"dave", "", nil},
	} {
		var got []string
		for token := ""; ; {
			query := l.query
			if token != "" {
				query += "&page_token=" + token
			}
			page := w.must(http.StatusOK, l.user, http.MethodGet, "/v1/streams"+query, "")
			for _, item := range page["items"].([]any) {
				got = append(got, "/v1/streams/"+item.(map[string]any)["id"].(string))
			}
			if page["next_page_token"] == nil {
				break
			}
			token = page["next_page_token"].(string)
		}
		if fmt.Sprint(got) != fmt.Sprint(l.want) {
			t.Errorf("%s: %v, want %v", name, got, l.want)
		}
	}
	if a := w.do("dave", http.MethodGet, "/v1/streams?conversation_id="+group, ""); a.code(t) != "conversation_not_found" {
		t.Errorf("a stranger: %d %s", a.status, a.body)
	}
	if v := w.must(http.StatusOK, "bob", http.MethodGet, b, ""); len(v["readers"].([]any)) != 0 {
		t.Errorf("a reader sees the list of readers: %v", v)
	}
}
