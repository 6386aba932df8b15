package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

const (
	// resumedGroup is how many clients are in a group with a sender, who sends a message
	// each resumedPace.
	resumedGroup = 100
	resumedPace  = 20 * time.Millisecond
)

// TestAllResumeAtOnce checks that clients that resume at the same time, while others send,
// receive everything in order and once.
func TestAllResumeAtOnce(t *testing.T) {
	n := startNode(t, "--synchronous", "normal")
	defer n.stop()
	n.resumeAll(testsize.Pick(1000, 150), 100)
}

// BenchmarkAllResume reports how long it takes until 1,000 clients that were 100 events behind
// are live.
func BenchmarkAllResume(b *testing.B) {
	n := startNode(b, "--synchronous", "normal")
	defer n.stop()
	var live time.Duration
	for b.Loop() {
		live += n.resumeAll(1000, 100)
	}
	b.ReportMetric(live.Seconds()*1000/float64(b.N), "ms-until-live")
}

// resumeAll has clients resume at once, each behind by a number of messages, while their
// senders go on. It returns how long it took until each had received what it was behind, and
// checks that each receives all messages of its group, in order and once.
func (n *benchNode) resumeAll(clients, behind int) (live time.Duration) {
	n.b.Helper()
	cursor := events.Cursor{Log: n.store.Instance().Log, Position: n.store.Head()}.String()
	groups := make([]im.ID, (clients+resumedGroup-1)/resumedGroup)
	for g := range groups {
		users := []im.UserID{"sender"}
		for i := g * resumedGroup; i < min((g+1)*resumedGroup, clients); i++ {
			users = append(users, im.UserID(fmt.Sprint("client", i)))
		}
		groups[g] = n.group(users)
		n.fill("sender", groups[g], behind)
	}
	requests, conns := make([][]byte, clients), make([]*benchConn, clients)
	for i := range requests {
		token := mintFor(n.b, n.secret, fmt.Sprint("client", i))
		requests[i] = append(request(http.MethodGet, "/v1/events", token, "Last-Event-ID", cursor), "\r\n"...)
		conns[i] = dial(n.b, n.addr)
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	errs := make(chan error, clients+len(groups))
	var caughtUp, all sync.WaitGroup
	caughtUp.Add(clients)
	began := time.Now()
	for i, c := range conns {
		all.Go(func() {
			defer func() { _ = c.Close() }()
			var once sync.Once
			defer once.Do(caughtUp.Done)
			err := c.receive(requests[i], func(seq int64) {
				if seq == int64(behind) {
					once.Do(caughtUp.Done)
				}
			})
			if err != nil {
				errs <- fmt.Errorf("client %d: %w", i, err)
			}
		})
	}
	for _, g := range groups {
		all.Go(func() {
			if err := n.sendUntil(ctx, g); err != nil {
				errs <- err
			}
		})
	}
	caughtUp.Wait()
	live = time.Since(began)
	stop()
	all.Wait()
	close(errs)
	for err := range errs {
		n.b.Error(err)
	}
	return live
}

// lastText is the text of the last message to a group.
const lastText = "this was the last message"

// sendUntil sends messages to a group until the context ends, and then the last one.
func (n *benchNode) sendUntil(ctx context.Context, group im.ID) error {
	for ended := false; !ended; {
		text := "one more message"
		select {
		case <-ctx.Done():
			text, ended = lastText, true
		case <-time.After(resumedPace):
		}
		draft := im.Draft{Type: im.Text, Body: fmt.Appendf(nil, `{"text":%q}`, text)}
		if _, err := n.service.Send(context.Background(), im.Actor{User: "sender"}, im.ConversationRef{ID: group}, draft); err != nil {
			return err
		}
	}
	return nil
}

// receive opens a stream and reads it until the last message. It calls got with the seq of
// each message, and fails unless they are 1, 2, 3 and so on.
func (c *benchConn) receive(request []byte, got func(seq int64)) error {
	res, err := c.roundTrip(request)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	in := bufio.NewReaderSize(res.Body, 64<<10)
	for seq := int64(0); ; {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("after message %d: %w", seq, err)
		}
		if !bytes.HasPrefix(line, []byte("data: ")) || !bytes.Contains(line, []byte(`"type":"message.created"`)) {
			continue
		}
		_, rest, _ := bytes.Cut(line, []byte(`"seq":`))
		number, _, _ := bytes.Cut(rest, []byte(","))
		next, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil || next != seq+1 {
			return fmt.Errorf("message %s comes after %d", number, seq)
		}
		seq = next
		got(seq)
		if bytes.Contains(line, []byte(lastText)) {
			return nil
		}
	}
}
