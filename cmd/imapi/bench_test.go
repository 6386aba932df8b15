package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// These benchmarks go through the whole stack: a node as serve runs it, over TCP. Client
// and server share the process and its cores, so the client uses little processor time.

// benchNode is a running node.
type benchNode struct {
	*node
	b      testing.TB
	addr   string
	secret []byte
	ids    im.IDs
	stop   func() // must be called
}

// startNode runs a node with its own data; args are flags of serve.
func startNode(b testing.TB, args ...string) *benchNode {
	b.Helper()
	return startPreparedNode(b, func(*node) {}, args...)
}

// startPreparedNode is startNode with a function that prepares the node before it runs.
func startPreparedNode(b testing.TB, prepare func(*node), args ...string) *benchNode {
	b.Helper()
	args = append([]string{"--listen", "127.0.0.1:0", "--data", b.TempDir(), "--rate", "0"}, args...)
	c, err := parseConfig(args, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	// The default level of serve: formatting the log is part of the measurement.
	n, err := newNode(ctx, c, slog.New(slog.NewTextHandler(io.Discard, nil))) //nolint:sloglint // see above
	if err != nil {
		b.Fatal(err)
	}
	prepare(n)
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx) }()
	return &benchNode{
		node: n, b: b, addr: n.listener.Addr().String(), secret: readSecret(b, c.data),
		stop: func() {
			cancel()
			if err := <-ended; err != nil {
				b.Error(err)
			}
			n.close()
		},
	}
}

// cpuTime returns the processor time of this process, which other processes disturb less
// than wall time.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// group creates a group of users; the first one owns it.
func (n *benchNode) group(users []im.UserID) im.ID {
	n.b.Helper()
	v, err := n.service.CreateGroup(context.Background(), im.Actor{User: users[0]},
		im.GroupDraft{Name: "bench", Members: users[1:]})
	if err != nil {
		n.b.Fatal(err)
	}
	return v.ID
}

// direct creates the direct conversation of two users.
func (n *benchNode) direct(a, b im.UserID) im.ID {
	n.b.Helper()
	d := im.Draft{Type: im.Text, Body: []byte(`{"text":"first"}`), ExpireAfter: time.Hour}
	sent, err := n.service.Send(context.Background(), im.Actor{User: a}, im.ConversationRef{Peer: b}, d)
	if err != nil {
		n.b.Fatal(err)
	}
	return sent.Message.Conversation
}

// fillBatch is the number of messages that fill stores in a transaction.
const fillBatch = 1000

// fill stores count messages of a user without HTTP, with their events. edit, which may be nil,
// changes each message; it gets the number of the message.
func (n *benchNode) fill(user im.UserID, conversation im.ID, count int, edit ...func(i int, m *im.Message)) {
	n.b.Helper()
	content, err := im.Draft{Type: im.Text, Body: fmt.Appendf(nil, `{"text":"%s"}`, benchText)}.Content(im.MinMessageBytes)
	if err != nil {
		n.b.Fatal(err)
	}
	for done := 0; done < count; done += fillBatch {
		err := n.store.Write(context.Background(), func(tx im.Tx) error {
			for i := range min(fillBatch, count-done) {
				now := time.Now().UTC().Truncate(time.Millisecond)
				m := im.Message{
					ID: n.ids.Next(now), Conversation: conversation, Sender: user,
					Type: im.Text, State: im.Active, CreatedAt: now, Content: content,
				}
				for _, change := range edit {
					change(done+i, &m)
				}
				var err error
				if m.Seq, err = tx.InsertMessage(m); err != nil {
					return err
				}
				_, err = tx.Append(im.Event{
					Type: im.MessageCreated, At: now, Conversation: m.Conversation,
					MessageID: m.ID, Seq: m.Seq, Actor: user,
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			n.b.Fatal(err)
		}
	}
}

// benchText has about the length of a typical message.
const benchText = "about a hundred bytes of what people say to each other, which is about what a message takes"

func benchUsers(count int) []im.UserID {
	users := make([]im.UserID, count)
	for i := range users {
		users[i] = im.UserID(fmt.Sprint("user", i))
	}
	return users
}

// benchConn is a kept-alive connection without a goroutine of its own.
type benchConn struct {
	net.Conn
	in *bufio.Reader
}

func dial(b testing.TB, addr string) *benchConn {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	return &benchConn{Conn: c, in: bufio.NewReader(c)}
}

// request returns a request as sent over the wire, up to its body.
func request(method, path, token string, header ...string) []byte {
	var r bytes.Buffer
	fmt.Fprintf(&r, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", method, path, token)
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&r, "%s: %s\r\n", header[i], header[i+1])
	}
	return r.Bytes()
}

// roundTrip sends a request and returns the answer with its body unread.
func (c *benchConn) roundTrip(request []byte) (*http.Response, error) {
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.in, nil)
}

// expect makes a round trip and returns an error if the answer has another status.
func (c *benchConn) expect(status int, request []byte) error {
	res, err := c.roundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != status {
		body, _ := io.ReadAll(res.Body)
		return fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
