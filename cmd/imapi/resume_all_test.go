package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
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
	// resumedGroup is the number of clients in a group with a sender, who sends a message every
	// resumedPace.
	resumedGroup = 100
	resumedPace  = 20 * time.Millisecond
)

// TestAllResumeAtOnce checks that clients that resume at the same time, while others send,
// receive everything once and in order.
func TestAllResumeAtOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t, "--synchronous", "normal")
	defer n.stop()
	n.resumeAll(testsize.Pick(1000, 150), 100)
}

// BenchmarkAllResume reports the time until 1,000 clients that were 100 events behind are live.
func BenchmarkAllResume(b *testing.B) {
	n := startNode(b, "--synchronous", "normal")
	defer n.stop()
	var live time.Duration
	for b.Loop() {
		live += n.resumeAll(1000, 100)
	}
	b.ReportMetric(live.Seconds()*1000/float64(b.N), "ms-until-live")
}

// resumeAll makes clients resume at once, each behind by a number of messages, while their senders
// go on. It returns the time until all have received the messages that they had missed, and checks
// that each receives all messages of its group, once and in order.
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
	all, conns := make([]*resumer, clients), make([]*benchConn, clients)
	for i := range all {
		all[i] = &resumer{addr: n.addr, token: mintFor(n.b, n.secret, fmt.Sprint("client", i)), cursor: cursor}
		conns[i] = dial(n.b, n.addr)
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	errs := make(chan error, clients+len(groups))
	var caughtUp, running sync.WaitGroup
	caughtUp.Add(clients)
	began := time.Now()
	for i, r := range all {
		running.Go(func() {
			var once sync.Once
			defer once.Do(caughtUp.Done)
			err := r.receive(conns[i], func(seq int64) {
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
		running.Go(func() {
			if err := n.sendUntil(ctx, g); err != nil {
				errs <- err
			}
		})
	}
	caughtUp.Wait()
	live = time.Since(began)
	stop()
	running.Wait()
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

// resumer is a client that receives the messages of a group.
type resumer struct {
	addr, token string
	cursor      string // of the last event
	seq         int64  // of the last message
}

// mostResumes is the number of times that a client may resume. The server cuts off a client that
// does not read for 10 s, which may happen to one of a thousand on a busy machine.
const mostResumes = 20

// receive reads streams, the first one over c, until the last message. It calls got with the seq
// of each message, and fails unless they are 1, 2, 3 and so on.
func (r *resumer) receive(c *benchConn, got func(seq int64)) error {
	for range mostResumes {
		ended, err := r.receiveOver(c, got)
		_ = c.Close()
		if err != nil || ended {
			return err
		}
		again, err := net.Dial("tcp", r.addr)
		if err != nil {
			return err
		}
		c = &benchConn{Conn: again, in: bufio.NewReader(again)}
	}
	return fmt.Errorf("after message %d: the stream broke %d times", r.seq, mostResumes)
}

// receiveOver reads one stream until the last message, or until the stream breaks.
func (r *resumer) receiveOver(c *benchConn, got func(seq int64)) (ended bool, err error) {
	res, err := c.roundTrip(append(request(http.MethodGet, "/v1/events", r.token, "Last-Event-ID", r.cursor), "\r\n"...))
	if err != nil {
		return false, err
	}
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("status %d", res.StatusCode)
	}
	in := bufio.NewReaderSize(res.Body, 64<<10)
	for cursor, seq := r.cursor, r.seq; ; {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return false, err
		}
		if err != nil {
			return false, nil //nolint:nilerr // the client resumes
		}
		switch {
		case bytes.HasPrefix(line, []byte("id: ")):
			cursor = string(bytes.TrimSpace(line[len("id: "):]))
		case bytes.HasPrefix(line, []byte("data: ")) && bytes.Contains(line, []byte(`"type":"message.created"`)):
			_, rest, _ := bytes.Cut(line, []byte(`"seq":`))
			number, _, _ := bytes.Cut(rest, []byte(","))
			next, err := strconv.ParseInt(string(number), 10, 64)
			if err != nil || next != r.seq+1 {
				return false, fmt.Errorf("message %s comes after %d", number, r.seq)
			}
			seq, ended = next, bytes.Contains(line, []byte(lastText))
		case len(bytes.TrimSpace(line)) == 0: // the event is complete
			r.cursor = cursor
			if seq != r.seq {
				r.seq = seq
				got(seq)
			}
			if ended {
				return true, nil
			}
		}
	}
}
