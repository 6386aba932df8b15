package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

const (
	sendConns  = 64 // each of a different user
	sendGroups = 8
)

// BenchmarkSend sends messages over 64 kept-alive connections: "bare" to a chi handler that
// verifies the token, decodes the JSON, answers a message and stores nothing; "full" and
// "normal" to a node with that --synchronous. These alternate with "bare", whose time is not
// counted, so that other load affects both alike: "of-bare" is the rate relative to it.
func BenchmarkSend(b *testing.B) {
	users := benchUsers(sendConns)
	srv := startBare(b)
	defer srv.Close()
	bare := newSenders(b, srv.Listener.Addr().String(), bareSecret, users, func(int) im.ID { return 1 })
	defer bare.close()
	b.Run("bare", func(b *testing.B) {
		cpu := cpuTime(b)
		took := bare.send(b, b.N)
		b.ReportMetric(float64(b.N)/took.Seconds(), "sends/s")
		b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/send")
	})
	benchNodeSends(b, bare, users, "full", "sends/fsync")
	benchNodeSends(b, bare, users, "normal", "sends/commit")
}

func benchNodeSends(b *testing.B, bare *senders, users []im.UserID, synchronous, unit string) {
	n := startNode(b, "--synchronous", synchronous)
	defer n.stop()
	var groups []im.ID
	for i := range sendGroups {
		var members []im.UserID
		for j := i; j < len(users); j += sendGroups {
			members = append(members, users[j])
		}
		groups = append(groups, n.group(members))
	}
	s := newSenders(b, n.addr, n.secret, users, func(i int) im.ID { return groups[i%sendGroups] })
	defer s.close()
	b.Run(synchronous, func(b *testing.B) {
		const turn = 1000
		var took, bareTook, cpu time.Duration
		calls, commits := n.commits(b)
		b.ResetTimer()
		for done := 0; done < b.N; done += turn {
			count := min(turn, b.N-done)
			before := cpuTime(b)
			took += s.send(b, count)
			cpu += cpuTime(b) - before
			b.StopTimer()
			bareTook += bare.send(b, count)
			b.StartTimer()
		}
		b.StopTimer()
		callsNow, commitsNow := n.commits(b)
		b.ReportMetric(float64(b.N)/took.Seconds(), "sends/s")
		b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-µs/send")
		b.ReportMetric((callsNow-calls)/(commitsNow-commits), unit)
		b.ReportMetric(bareTook.Seconds()/took.Seconds(), "of-bare")
	})
}

// commits returns the number of committed writes and of transactions. With --synchronous
// full each transaction is one fsync of the log.
func (n *benchNode) commits(b *testing.B) (calls, commits float64) {
	b.Helper()
	w := httptest.NewRecorder()
	n.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "imapi_commit_batch_size_sum":
			calls, _ = strconv.ParseFloat(value, 64)
		case "imapi_commit_batch_size_count":
			commits, _ = strconv.ParseFloat(value, 64)
		}
	}
	return calls, commits
}

// senders are users with one connection each.
type senders struct {
	conns []*benchConn
	heads [][]byte // the constant beginnings of the requests
	sent  atomic.Int64
}

// newSenders connects users; to returns the conversation that each sends to.
func newSenders(b *testing.B, addr string, secret []byte, users []im.UserID, to func(int) im.ID) *senders {
	b.Helper()
	s := &senders{}
	for i, user := range users {
		s.conns = append(s.conns, dial(b, addr))
		s.heads = append(s.heads, request(http.MethodPost, "/v1/conversations/"+to(i).String()+"/messages",
			mintFor(b, secret, string(user)), "Content-Type", "application/json"))
	}
	return s
}

func (s *senders) close() {
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// send sends count messages over all connections, each of which waits for its answers, and returns
// the duration.
func (s *senders) send(b *testing.B, count int) time.Duration {
	b.Helper()
	began := time.Now()
	last := s.sent.Load() + int64(count)
	var sending sync.WaitGroup
	for i, c := range s.conns {
		sending.Go(func() {
			var body, whole []byte
			for {
				n := s.sent.Add(1)
				if n > last {
					return
				}
				body = fmt.Appendf(body[:0], `{"client_id":"%d","type":"text","body":{"text":"%s"}}`, n, benchText)
				whole = append(whole[:0], s.heads[i]...)
				whole = fmt.Appendf(whole, "Content-Length: %d\r\n\r\n", len(body))
				whole = append(whole, body...)
				if err := c.expect(http.StatusCreated, whole); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	sending.Wait()
	return time.Since(began)
}

var bareSecret = bytes.Repeat([]byte("s"), auth.MinSecret)

// startBare starts the server for the upper bound: the same route, token, decoding and answer, and
// nothing else.
func startBare(b *testing.B) *httptest.Server {
	b.Helper()
	verifier, err := auth.New(context.Background(), auth.Config{Secret: bareSecret, TicketKey: bytes.Repeat([]byte("t"), auth.MinSecret)})
	if err != nil {
		b.Fatal(err)
	}
	var ids atomic.Uint64
	r := chi.NewRouter()
	r.Post("/v1/conversations/{conversation}/messages", func(w http.ResponseWriter, r *http.Request) {
		token, err := auth.Bearer(r.Header.Get("Authorization"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		p, err := verifier.Verify(token)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		var d struct {
			ClientID string          `json:"client_id"`
			Type     string          `json:"type"`
			Body     json.RawMessage `json:"body"`
		}
		if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		id := im.ID(ids.Add(1))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(api.Message{
			ID: id.String(), ConversationID: chi.URLParam(r, "conversation"), Seq: int64(id),
			Sender: api.UserID(p.User), ClientID: &d.ClientID, Type: api.MessageType(d.Type), Body: d.Body,
			Ext: json.RawMessage("{}"), Mentions: &[]api.UserID{}, State: api.MessageState(im.Active.String()),
			CreatedAt: api.Time(time.Now()),
		})
	})
	return httptest.NewServer(r)
}
