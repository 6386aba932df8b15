package handlers_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/imapi/imapi/internal/await"
)

// TestAnswerOfALanguageModel pushes an answer as it is written, over one open request, and ends it
// with a stored message.
func TestAnswerOfALanguageModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("bot", "bob")
	s := w.startStream("bot", `{"conversation_id":"`+group+`","access":"members"}`)
	bob := w.readStream("bob", s+"/events")
	p := w.openPush("bot", s+"/frames", "application/x-ndjson")
	for _, word := range []string{"Hello", ",", " world"} {
		p.send(`{"text":"` + word + `"}` + "\n")
		bob.wantFrames(word)
	}
	if a := p.close(); a.status != http.StatusOK || a.json(t)["frames"] != 3.0 {
		t.Fatalf("the request was answered %d %s", a.status, a.body)
	}
	end := `{"message":{"type":"text","body":{"text":"Hello, world"}}}`
	first := w.must(http.StatusOK, "bot", http.MethodPost, s+"/end", end)
	message := first["ended"].(map[string]any)["message_id"].(string)
	if got := bob.wantEnded("message"); got["message_id"] != message {
		t.Errorf("bob received %v, want the message %s", got, message)
	}
	again := w.must(http.StatusOK, "bot", http.MethodPost, s+"/end", end)
	if got := again["ended"].(map[string]any)["message_id"]; got != message {
		t.Errorf("repeated, it ended with %v, want %s", got, message)
	}
	if a := w.do("bot", http.MethodPost, s+"/end", `{"message":{"type":"text","body":{"text":"other"}}}`); a.code(t) != "client_id_reused" {
		t.Errorf("another message: %d %s", a.status, a.body)
	}
	if a := w.do("bot", http.MethodPost, s+"/end", `{"message":{"type":"text","client_id":"c","body":{"text":"other"}}}`); a.code(t) != "stream_ended" {
		t.Errorf("another message with a client_id: %d %s", a.status, a.body)
	}
	if n := len(w.must(http.StatusOK, "bob", http.MethodGet, "/v1/conversations/"+group+"/messages", "")["items"].([]any)); n != 1 {
		t.Errorf("the conversation has %d messages, want 1", n)
	}
	late := w.readStream("bob", s+"/events?from=1")
	if f, v := late.dataFrame(); f.event != "stream.gap" || v["lost"] != 3.0 {
		t.Errorf("after the end: %s %s, want that 3 frames are lost", f.event, f.data)
	}
	late.wantEnded("message")
	if a := w.do("bot", http.MethodPost, s+"/frames", `{"text":"x"}`); a.code(t) != "stream_ended" {
		t.Errorf("pushing after the end: %d %s", a.status, a.body)
	}
}

// TestDrainEndsDataStreams ends readers and publishers when the server stops.
func TestDrainEndsDataStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.startStream("alice", `{"access":"anyone"}`)
	r := w.readStream("bob", s+"/events")
	p := w.openPush("alice", s+"/frames", "application/x-ndjson")
	p.send(`{"text":"x"}` + "\n")
	r.wantFrames("x")
	w.streams.Drain()
	if a := p.wait(); a.code(t) != "shutting_down" || !strings.Contains(string(a.body), "1 frame was pushed, with the id 1") {
		t.Errorf("the publisher was answered %d %s", a.status, a.body)
	}
	r.wantEnded("server")
	if a := w.do("alice", http.MethodPost, "/v1/streams", `{"access":"anyone"}`); a.code(t) != "shutting_down" {
		t.Errorf("a new one: %d %s", a.status, a.body)
	}
}

// TestErasingTheFinalMessage checks that erasing the final message drops the frames that readers
// have not read yet.
func TestErasingTheFinalMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob")
	s := w.startStream("alice", `{"conversation_id":"`+group+`","access":"members"}`)
	const marker = "f1ra4kkk0s9e"
	// A reader that stalls keeps the buffer from being dropped at the end.
	w.stall("bob", s+"/events")
	big := strings.Repeat(marker, 700_000/len(marker))
	for range 5 { // more than sockets can buffer, and less than a burst of a user
		w.must(http.StatusOK, "alice", http.MethodPost, s+"/frames", binaryFrame(1, big), "Content-Type", "application/octet-stream")
	}
	end := w.must(http.StatusOK, "alice", http.MethodPost, s+"/end", `{"message":{"type":"text","body":{"text":"x"}}}`)
	if w.streams.Stats().Bytes == 0 {
		t.Fatal("the reader had read everything before")
	}
	w.must(http.StatusOK, "alice", http.MethodPost, "/v1/messages/"+end["ended"].(map[string]any)["message_id"].(string)+"/revoke", "")
	await.Until(t, "the buffer is dropped", func() bool { return w.streams.Stats().Bytes == 0 })
	late := w.readStream("bob", s+"/events?from=1")
	in := bufio.NewReader(late.res.Body)
	rest, _ := io.ReadAll(in)
	if bytes.Contains(rest, []byte(marker)) {
		t.Error("the buffer can be read after the end")
	}
}

// TestEventsAboutDataStreams: those who may read a data stream receive an event when
// it starts and one when it ends, after its final message.
func TestEventsAboutDataStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob", "carol")
	bob, carol := w.listen("bob", nil), w.listen("carol", nil)
	for _, r := range []*reader{bob, carol} {
		r.expect("ready")
	}
	in := `{"conversation_id":"` + group + `","label":"answer",`
	s := w.startStream("alice", in+`"access":"members"}`)
	id := strings.TrimPrefix(s, "/v1/streams/")
	for _, r := range []*reader{bob, carol} {
		if _, v := r.expect("stream.started"); v["stream_id"] != id || v["conversation_id"] != group || v["owner"] != "alice" || v["label"] != "answer" {
			t.Errorf("received %v", v)
		}
	}
	end := w.must(http.StatusOK, "alice", http.MethodPost, s+"/end", `{"message":{"type":"text","body":{"text":"x"}}}`)
	for _, r := range []*reader{bob, carol} {
		r.expect("message.created")
		_, v := r.expect("stream.ended")
		if v["stream_id"] != id || v["reason"] != "message" || v["message_id"] != end["ended"].(map[string]any)["message_id"] {
			t.Errorf("received %v", v)
		}
	}
	listed := w.startStream("alice", in+`"access":"listed","readers":["bob"]}`)
	if _, v := bob.expect("stream.started"); "/v1/streams/"+v["stream_id"].(string) != listed {
		t.Errorf("bob received %v", v)
	}
	w.must(http.StatusNoContent, "alice", http.MethodDelete, listed, "")
	if _, v := bob.expect("stream.ended"); v["reason"] != "deleted" {
		t.Errorf("bob received %v", v)
	}
	w.say("alice", group, "next")
	carol.expect("message.created") // and no event about the listed one
}
