package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// BenchmarkRevokeAndBurn erases messages over 64 kept-alive connections, each waiting for its
// answer: "revoke" by the senders, "burn" by the recipients. The direct messages are sent over the
// same connections, alternating with the erasures: "of-send" is the time relative to sending,
// "cpu-of-send" the processor time, including shredding.
func BenchmarkRevokeAndBurn(b *testing.B) {
	const each = 16 // messages of a user per turn
	for _, way := range []string{"revoke", "burn"} {
		b.Run(way, func(b *testing.B) {
			n := startNode(b)
			defer n.stop()
			p := newPairs(b, n, benchUsers(sendConns))
			defer p.close()
			var sending, erasing, sendCPU, eraseCPU time.Duration
			count := 0
			b.ResetTimer()
			for ; count < b.N; count += each * sendConns {
				cpu := cpuTime(b)
				ids, took := p.send(each, `,"burn":{"after_seconds":60}`)
				sending, sendCPU = sending+took, sendCPU+cpuTime(b)-cpu
				cpu = cpuTime(b)
				took = p.each(func(i int, c *benchConn) error {
					by := i
					if way == "burn" {
						by = i ^ 1
					}
					for _, id := range ids[by] {
						if err := p.post(i, c, "/v1/messages/"+id+"/"+way, "", http.StatusOK, nil); err != nil {
							return err
						}
					}
					return nil
				})
				erasing += took
				b.StopTimer()
				n.waitShredded()
				eraseCPU += cpuTime(b) - cpu
				b.StartTimer()
			}
			b.StopTimer()
			b.ReportMetric(float64(count)/erasing.Seconds(), "erased/s")
			b.ReportMetric(float64(count)/sending.Seconds(), "sends/s")
			b.ReportMetric(float64(eraseCPU.Microseconds())/float64(count), "cpu-µs/erased")
			b.ReportMetric(erasing.Seconds()/sending.Seconds(), "of-send")
			b.ReportMetric(eraseCPU.Seconds()/sendCPU.Seconds(), "cpu-of-send")
		})
	}
}

// pairs are users with one connection each, who send to their neighbours.
type pairs struct {
	b      testing.TB
	conns  []*benchConn
	tokens []string
	users  []im.UserID
	rounds int
}

func newPairs(b testing.TB, n *benchNode, users []im.UserID) *pairs {
	b.Helper()
	p := &pairs{b: b, users: users}
	for _, user := range users {
		p.conns = append(p.conns, dial(b, n.addr))
		p.tokens = append(p.tokens, mintFor(b, n.secret, string(user)))
	}
	return p
}

func (p *pairs) close() {
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// each runs fn for all users concurrently and returns the duration.
func (p *pairs) each(fn func(i int, c *benchConn) error) time.Duration {
	p.b.Helper()
	began := time.Now()
	var running sync.WaitGroup
	for i, c := range p.conns {
		running.Go(func() {
			if err := fn(i, c); err != nil {
				p.b.Error(err)
			}
		})
	}
	running.Wait()
	if took := time.Since(began); !p.b.Failed() {
		return took
	}
	p.b.FailNow()
	return 0
}

// send makes every user send count messages, and returns their ids by sender and the
// duration.
func (p *pairs) send(count int, more string) (ids [][]string, took time.Duration) {
	p.b.Helper()
	p.rounds++
	ids = make([][]string, len(p.conns))
	took = p.each(func(i int, c *benchConn) error {
		path := "/v1/conversations/@" + string(p.users[i^1]) + "/messages"
		for k := range count {
			body := fmt.Sprintf(`{"client_id":"%d-%d","type":"text","body":{"text":"%s"}%s}`, p.rounds, k, benchText, more)
			var answer []byte
			if err := p.post(i, c, path, body, http.StatusCreated, &answer); err != nil {
				return err
			}
			_, after, _ := bytes.Cut(answer, []byte(`"id":"`))
			id, _, found := bytes.Cut(after, []byte(`"`))
			if !found {
				return fmt.Errorf("no id in %s", answer)
			}
			ids[i] = append(ids[i], string(id))
		}
		return nil
	})
	return ids, took
}

// post makes a request of a user and decodes its answer into out, unless that is nil.
func (p *pairs) post(i int, c *benchConn, path, body string, status int, out *[]byte) error {
	header := []string{"Content-Length", fmt.Sprint(len(body))}
	if body != "" {
		header = append(header, "Content-Type", "application/json")
	}
	req := append(request(http.MethodPost, path, p.tokens[i], header...), "\r\n"...)
	if out == nil {
		err := c.expect(status, append(req, body...))
		return err
	}
	res, err := c.roundTrip(append(req, body...))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if *out, err = io.ReadAll(res.Body); err == nil && res.StatusCode != status {
		err = fmt.Errorf("status %d: %s", res.StatusCode, *out)
	}
	return err
}

// waitShredded waits until the keys of all erased content are shredded.
func (n *benchNode) waitShredded() {
	n.b.Helper()
	await.Until(n.b, "the keys are shredded", func() bool {
		waiting, _ := n.store.Unshredded()
		return waiting == 0
	})
}

// BenchmarkReadUpTo reads 1,000 unread messages with one receipt: in a direct conversation,
// in one whose messages all burn, and in a group whose messages were all sent with receipt.
func BenchmarkReadUpTo(b *testing.B) {
	const count = 1000
	for _, kind := range []string{"direct", "burning", "group"} {
		edit := func(_ int, m *im.Message) {
			m.Receipt = kind == "group"
			if kind == "burning" {
				m.Burn = &im.Burn{After: time.Hour, UnreadTTL: time.Hour}
			}
		}
		b.Run(kind, func(b *testing.B) {
			n := startNode(b)
			defer n.stop()
			token := mintFor(b, n.secret, "bob")
			c := dial(b, n.addr)
			defer func() { _ = c.Close() }()
			var took []time.Duration
			var commits float64
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				alice := im.UserID(fmt.Sprint("alice", i))
				var conversation im.ID
				if kind == "group" {
					conversation = n.group([]im.UserID{alice, "bob"})
				} else {
					conversation = n.direct(alice, "bob")
				}
				var last im.ID
				n.fill(alice, conversation, count, edit, func(_ int, m *im.Message) { last = m.ID })
				body := fmt.Sprintf(`{"kind":"read","up_to":"%s"}`, last)
				req := append(request(http.MethodPost, "/v1/conversations/"+conversation.String()+"/receipts", token,
					"Content-Type", "application/json", "Content-Length", fmt.Sprint(len(body))), "\r\n"...)
				_, before := n.commits(b)
				b.StartTimer()
				began := time.Now()
				if err := c.expect(http.StatusOK, append(req, body...)); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
				b.StopTimer()
				_, after := n.commits(b)
				commits += after - before
				b.StartTimer()
			}
			b.ReportMetric(millis(percentile(took, 50)), "p50-ms")
			b.ReportMetric(millis(percentile(took, 99)), "p99-ms")
			b.ReportMetric(commits/float64(len(took)), "commits/read")
		})
	}
}

// percentile returns a percentile of durations. It sorts them.
func percentile(list []time.Duration, percent int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)*percent/100, len(list)-1)]
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkDue makes 10,000 messages come due at the same moment while 64 users send: as
// fast as they are answered ("full"), or each every 160 ms, 400 a second in all ("paced").
// "late" is from a message's due time to the commit of its erasure; "send" is the latency
// of the sends at the time, "send-before" in the two seconds before; "of-before" is their
// ratio.
func BenchmarkDue(b *testing.B) {
	b.Run("full", func(b *testing.B) { benchDue(b, 0) })
	b.Run("paced", func(b *testing.B) { benchDue(b, 160*time.Millisecond) })
}

func benchDue(b *testing.B, pace time.Duration) {
	const (
		count  = 10_000
		before = 2 * time.Second
	)
	n := startNode(b)
	defer n.stop()
	p := newPairs(b, n, benchUsers(sendConns))
	defer p.close()
	p.send(1, "") // creates the conversations
	conversation := n.group([]im.UserID{"alice", "bob"})

	var (
		mu   sync.Mutex
		late []time.Duration
	)
	n.store.OnCommit(func(c im.Commit) {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		for _, e := range c.Events {
			if e.Type == im.MessageExpired {
				late = append(late, now.Sub(e.Message.ExpiresAt))
			}
		}
	})
	erased := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(late)
	}

	var sent dueSpans
	rounds := 0
	for b.Loop() {
		rounds++
		b.StopTimer()
		due := time.Now().Add(3*time.Second + before).UTC().Truncate(time.Millisecond)
		n.fill("alice", conversation, count, func(_ int, m *im.Message) { m.ExpiresAt = due })
		if time.Until(due) < before {
			b.Fatal("the filling took too long")
		}
		<-time.After(time.Until(due.Add(-before)))
		b.StartTimer()
		sent.collect(p, pace, due, func() { await.Until(b, "all are erased", func() bool { return erased() == rounds*count }) })
	}
	b.ReportMetric(millis(percentile(late, 50)), "late-p50-ms")
	b.ReportMetric(millis(percentile(late, 99)), "late-p99-ms")
	b.ReportMetric(millis(percentile(sent.before, 50)), "send-before-p50-ms")
	b.ReportMetric(millis(percentile(sent.while, 50)), "send-p50-ms")
	b.ReportMetric(millis(percentile(sent.before, 99)), "send-before-p99-ms")
	b.ReportMetric(millis(percentile(sent.while, 99)), "send-p99-ms")
	b.ReportMetric(millis(percentile(sent.while, 99))/millis(percentile(sent.before, 99)), "p99-of-before")
	b.ReportMetric(float64(len(sent.before))/before.Seconds()/float64(rounds), "sends-before/s")
}

// dueSpans has the durations of the sends that were answered before one time, and of those that
// were in flight between that time and another.
type dueSpans struct{ before, while []time.Duration }

// collect makes users send until work returns.
func (d *dueSpans) collect(p *pairs, pace time.Duration, due time.Time, work func()) {
	done := make(chan struct{})
	var sent [][]span
	var sending sync.WaitGroup
	sending.Go(func() { sent = p.sendUntil(done, pace) })
	work()
	end := time.Now()
	close(done)
	sending.Wait()
	for _, s := range slices.Concat(sent...) {
		switch {
		case s.end.Before(due):
			d.before = append(d.before, s.end.Sub(s.begin))
		case s.begin.Before(end):
			d.while = append(d.while, s.end.Sub(s.begin))
		}
	}
}

// span is a stretch of time, such as from a request to its answer.
type span struct{ begin, end time.Time }

// sendUntil makes every user send until done, at most one message per pace, and returns the span of
// each.
func (p *pairs) sendUntil(done <-chan struct{}, pace time.Duration) [][]span {
	p.b.Helper()
	sent := make([][]span, len(p.conns))
	p.each(func(i int, c *benchConn) error {
		path := "/v1/conversations/@" + string(p.users[i^1]) + "/messages"
		body := fmt.Sprintf(`{"type":"text","body":{"text":"%s"}}`, benchText)
		next := time.NewTimer(pace * time.Duration(i) / time.Duration(len(p.conns)))
		defer next.Stop()
		for {
			select {
			case <-done:
				return nil
			case <-next.C:
			}
			s := span{begin: time.Now()}
			if err := p.post(i, c, path, body, http.StatusCreated, nil); err != nil {
				return err
			}
			s.end = time.Now()
			sent[i] = append(sent[i], s)
			next.Reset(time.Until(s.begin.Add(pace)))
		}
	})
	return sent
}
