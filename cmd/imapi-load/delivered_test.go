package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestTrack(t *testing.T) {
	for _, test := range []struct {
		name    string
		seqs    []int64
		through int64 // what was answered
		twice   int
		late    int
		lost    int64
	}{
		{"all in order", []int64{11, 12, 13}, 13, 0, 0, 0},
		{"nothing yet", nil, 10, 0, 0, 0},
		{"the end is missing", []int64{11}, 13, 0, 0, 2},
		{"one is missing", []int64{11, 13}, 13, 0, 0, 1},
		{"one comes twice", []int64{11, 12, 11, 13}, 13, 1, 0, 0},
		{"two change places", []int64{12, 11, 13}, 13, 0, 1, 0},
		{"one comes late and twice", []int64{12, 11, 11}, 12, 1, 1, 0},
		{"one from before the beginning", []int64{10, 11}, 11, 1, 0, 0},
		{"delivered before it is answered", []int64{11, 12}, 11, 0, 0, 0},
	} {
		k := track{last: 10}
		twices, lates := 0, 0
		for _, seq := range test.seqs {
			switch k.take(seq) {
			case twice:
				twices++
			case late:
				lates++
			case inOrder, early:
			}
		}
		if twices != test.twice || lates != test.late || k.lost(test.through) != test.lost {
			t.Errorf("%s: %d twice, %d late, %d lost; want %d, %d, %d",
				test.name, twices, lates, k.lost(test.through), test.twice, test.late, test.lost)
		}
	}
}

// A listener detects events that a stream repeats, omits or swaps, however the stream is split into
// reads.
func TestListenerChecksItsStream(t *testing.T) {
	c := &conversation{id: "c1"}
	c.newest.Store(10)
	u := &user{name: "bob"}
	r := &run{world: &world{run: "run", of: map[*user][]*conversation{u: {c}}}, made: time.Now().Add(-time.Second)}
	l := &listener{run: r, user: u, received: newReceived(r.world.of[u])}
	r.listeners = []*listener{l}

	event := func(kind, conversation string, seq int) string {
		return fmt.Sprintf("id: p%d\nevent: %s\ndata: {\"type\":%q,\"conversation_id\":%q,\"seq\":%d,\"message\":{\"client_id\":\"run-%d-500000\",\"body\":{\"text\":%q}}}\n\n",
			seq, kind, kind, conversation, seq, seq, strings.Repeat("x", 300))
	}
	text := "retry: 2000\nid: p0\nevent: ready\ndata: {\"type\":\"ready\"}\n\n" +
		event("message.created", "c1", 11) + ": heartbeat\nid: h1\n" +
		event("message.created", "c1", 13) + event("message.created", "c1", 12) + // exchanged
		event("message.created", "c1", 13) + // twice
		event("message.created", "other", 1) + event("message.revoked", "c1", 11) + // to be ignored
		"event: reset\ndata: {\"type\":\"reset\"}\n\n" +
		event("message.created", "c1", 15) + ": heartbeat\nid: h2\n" + "id: cut\nevent: message.created\ndata: {" // 14 is missing
	here, there := net.Pipe()
	go func() {
		for rest := text; rest != ""; {
			n := min(97, len(rest))
			_, _ = there.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		_ = there.Close()
	}()
	ready := 0
	s := newStream(here, here, "", 64)
	if err := l.read(s, func() { ready++ }); err == nil {
		t.Error("the stream has no end")
	}
	c.newest.Store(15)
	d := &r.deliveries
	if ready != 1 || d.messages.Load() != 4 || d.twice.Load() != 1 || d.outOfOrder.Load() != 1 || d.resets.Load() != 1 || r.lost() != 1 {
		t.Errorf("ready %d, messages %d, twice %d, out of order %d, resets %d, lost %d; want 1, 4, 1, 1, 1, 1", ready,
			d.messages.Load(), d.twice.Load(), d.outOfOrder.Load(), d.resets.Load(), r.lost())
	}
	if s.cursor != "h2" {
		t.Errorf("the stream would resume after %q, want h2, the last heartbeat: the event after it is cut off", s.cursor)
	}
	if p := d.latency.quantile(0); p < 400*time.Millisecond {
		t.Errorf("a message that was due half a second ago was delivered after %v", p)
	}
}
