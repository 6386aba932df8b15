package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
)

// soakFor is how long the soak lasts, and soakRate its load; make soak sets them.
var (
	soakFor  = flag.Duration("soak", 0, "how long TestSoak lasts; without it, it is skipped")
	soakRate = flag.String("soak-rate", "150", "the operations of TestSoak a second")
)

// cycles is the number of loads of a soak. The server is idle between them, so that leaks of a load
// can be measured.
const cycles = 6

// held is what a server holds while it is idle.
type held struct {
	goroutines, descriptors float64
	memory                  float64 // resident bytes
	log, writeAhead         int64   // bytes
	p99                     float64 // of the sends of the last load, in milliseconds
}

// held waits until the server has no more goroutines and descriptors than most, and returns what it
// holds. A server that leaks fails here.
func (s *server) held(t *testing.T, most held) (h held) {
	t.Helper()
	await.Until(t, fmt.Sprintf("the server has %v goroutines and %v descriptors again", most.goroutines, most.descriptors), func() bool {
		h.goroutines, h.descriptors = s.metric("go_goroutines"), s.metric("process_open_fds")
		return s.metric("imapi_streams") == 0 && s.metric("imapi_shredding_waiting") == 0 &&
			(most.goroutines == 0 || h.goroutines <= most.goroutines) && (most.descriptors == 0 || h.descriptors <= most.descriptors)
	})
	h.memory = s.metric("process_resident_memory_bytes")
	h.log, h.writeAhead = size(t, s.log.Name()), size(t, s.data+"/imapi.db-wal")
	return h
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// importOld imports messages that will be past retention some seconds later, until ctx ends. It
// returns the number that were stored.
func (s *server) importOld(ctx context.Context, t *testing.T) (stored int) {
	t.Helper()
	const age = 72*time.Hour - 10*time.Second // retention is 72 h
	token := s.token("importer", "--admin")
	for ctx.Err() == nil {
		var lines bytes.Buffer
		at := time.Now().Add(-age).UTC()
		for i := range 100 {
			fmt.Fprintf(&lines, `{"conversation_id":"@soak-b","sender":"soak-a","type":"text","body":{"text":"old"},"created_at":%q}`+"\n",
				at.Add(time.Duration(i)*time.Millisecond).Format("2006-01-02T15:04:05.000Z"))
		}
		// Finish the request even if ctx ends, so that everything that is stored is counted.
		req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, s.url+"/v1/admin/import", &lines)
		if err != nil {
			t.Error(err)
			return stored
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/x-ndjson")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return stored
		}
		answer, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("import: %v, status %d: %s", err, res.StatusCode, answer)
			return stored
		}
		stored += bytes.Count(answer, []byte(`"status":201`))
		pause(ctx, time.Second)
	}
	return stored
}

// TestSoak puts a mixed load on a server for a long time, with streams that open and close and
// messages that are trimmed. At the end the server has as many goroutines and descriptors as at the
// beginning, no more memory than after the first loads, and nothing in its log, and has lost
// nothing and delivered nothing twice.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("make soak runs it")
	}
	t.Setenv(tokenVariable, "")
	// On a busy machine a read of the log may wait for the processor for half a second, and a
	// stream whose read is ended is disconnected.
	s := startServer(t, "--rate", "0", "--read-limit", "10s", "--retention", "3d", "--retention-interval", "1s", "--event-retention", "30s", "--client-id-retention", "30s")
	each := *soakFor / cycles
	load := func(seconds time.Duration) (send *operated) {
		t.Helper()
		undisturbed(t, func(errorf func(string, ...any)) {
			status, res, diag := s.load(t.Context(), "mixed", "--data", s.data, "--quiet", "--rate", *soakRate, "--connections", "32", "--settle", "1m",
				"--mix", "send=50,history=15,list=8,unread=5,read=10,search=5,revoke=10,upload=2,reconnect=10",
				"--idle", "50", "--warmup", "1s", "--duration", seconds.String())
			if status != good {
				errorf("status %d, %+v: %s", status, res, diag)
			}
			if e := res.Events; e == nil || e.Messages == 0 || e.Reconnects == 0 {
				errorf("events: %+v", e)
			}
			send = res.Operations["send"]
		})
		return send
	}
	load(max(each/4, 2*time.Second)) // starts what is started only once, such as pools
	first := s.held(t, held{})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	imported := make(chan int, 1)
	go func() { imported <- s.importOld(ctx, t) }()
	// The import holds a connection and its goroutines before and after each load.
	limit := held{goroutines: first.goroutines + 10, descriptors: first.descriptors + 5}
	var all []held
	for i := range cycles {
		o := load(each)
		h := s.held(t, limit)
		h.p99 = o.Latency.P99
		all = append(all, h)
		t.Logf("load %d: %v goroutines, %v descriptors, %.0f MB, log %d bytes, write-ahead log %.1f MB; sends: p50 %.1f ms, p99 %.1f ms",
			i+1, h.goroutines, h.descriptors, h.memory/1e6, h.log, float64(h.writeAhead)/1e6, o.Latency.P50, h.p99)
	}
	cancel()
	n := <-imported
	if n == 0 {
		t.Error("nothing was imported")
	}
	await.Until(t, "the imported messages are trimmed", func() bool { return s.metric("imapi_messages_trimmed_total") >= float64(n) })

	last := all[len(all)-1]
	if most := 1.5*max(all[0].memory, all[1].memory) + 64<<20; last.memory > most {
		t.Errorf("the server has %.0f MB after the last load, and at most %.0f MB are right", last.memory/1e6, most/1e6)
	}
	if last.writeAhead > 96<<20 { // it is truncated to 64 MiB
		t.Errorf("the write-ahead log has %d bytes", last.writeAhead)
	}
	text, err := os.ReadFile(s.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the log: %.2000s", text)
	if most := int64(2<<10 + soakFor.Minutes()*(1<<10)); last.log-first.log > most {
		t.Errorf("the log has grown by %d bytes, and at most %d are right", last.log-first.log, most)
	}
	// In a short run on a busy machine the p99 is meaningless.
	if *soakFor >= 10*time.Minute {
		if before, after := all[0].p99+all[1].p99, all[cycles-2].p99+last.p99; after > 2*before {
			t.Errorf("the p99 of sends was %.1f ms in the first two loads and %.1f ms in the last two", before/2, after/2)
		}
	}
}
