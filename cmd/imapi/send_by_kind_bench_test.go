package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	placeMembers = 10_000
	placeStreams = 1000
)

// BenchmarkSendByKind sends one message at a time: in a direct conversation, in a room of ten,
// and in a room and a channel of 10,000 members, 1,000 of them with streams. These take
// turns, and each message is delivered to all streams before the next is sent, which is not
// timed. It reports the median latency of the sender, and its ratio to that of a direct
// message.
func BenchmarkSendByKind(b *testing.B) {
	n := startNode(b)
	defer n.stop()
	ctx, users := context.Background(), benchUsers(placeMembers)
	owner := im.Actor{User: users[0]}
	room := func(members []im.UserID) im.ID {
		v, err := n.service.CreateGroup(ctx, owner, im.GroupDraft{Kind: im.Room, Name: "bench"})
		if err == nil {
			_, err = n.service.AddMembers(ctx, owner, im.ConversationRef{ID: v.ID}, members, im.Member)
		}
		if err != nil {
			b.Fatal(err)
		}
		return v.ID
	}
	space, err := n.service.CreateSpace(ctx, owner, im.SpaceDraft{Name: "bench"})
	if err == nil {
		_, err = n.service.AddSpaceMembers(ctx, owner, space.ID, users[1:])
	}
	if err != nil {
		b.Fatal(err)
	}
	channel, err := n.service.CreateChannel(ctx, owner, space.ID, im.ChannelDraft{Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	kinds := []struct {
		name     string
		id       im.ID
		received int64 // streams that receive each message, without the sender's
	}{
		{"direct", n.direct(users[0], users[1]), 1},
		{"room-10", room(users[1:10]), 9},
		{"room-10000", room(users[1:]), placeStreams},
		{"channel-10000", channel.ID, placeStreams},
	}
	// Clients have processes of their own: in this one they would disturb each other and
	// the server.
	streams := startChild(b, "listen", n.addr)
	for _, user := range users[1 : placeStreams+1] {
		streams.say(mintFor(b, n.secret, string(user)))
	}
	streams.say("")
	streams.hear() // all streams are open
	sender := startChild(b, "send", n.addr)
	sender.say(mintFor(b, n.secret, string(users[0])))
	took := make([][]time.Duration, len(kinds))
	received := int64(0)
	send := func(i, turn int) time.Duration {
		p := kinds[i]
		sender.say(fmt.Sprintf("%v %d-%d", p.id, i, turn))
		waited := sender.hear()
		received += p.received
		for streams.hear() < received {
		}
		return time.Duration(waited)
	}
	for i := range kinds {
		send(i, -1) // makes the hub look up all users who are online
	}
	b.ResetTimer()
	for turn := range b.N {
		for i := range kinds {
			i = (i + turn) % len(kinds)
			took[i] = append(took[i], send(i, turn))
		}
	}
	b.StopTimer()
	median := func(i int) time.Duration {
		slices.Sort(took[i])
		return took[i][len(took[i])/2]
	}
	direct := median(0)
	b.ReportMetric(float64(direct.Microseconds()), "direct-µs")
	for i, p := range kinds[1:] {
		b.ReportMetric(float64(median(i+1))/float64(direct), p.name+"-of-direct")
	}
}

// child is a client process: this binary, with a role given by its environment.
type child struct {
	b   *testing.B
	in  io.Writer
	out *bufio.Scanner
}

const childRole = "IMAPI_BENCH_CHILD"

func startChild(b *testing.B, role, addr string) *child {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role+" "+addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &child{b: b, in: in, out: bufio.NewScanner(out)}
}

func (c *child) say(line string) {
	c.b.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		c.b.Fatal(err)
	}
}

// hear waits for the next number that the child prints.
func (c *child) hear() int64 {
	c.b.Helper()
	if !c.out.Scan() {
		c.b.Fatal("the client has ended")
	}
	n, err := strconv.ParseInt(c.out.Text(), 10, 64)
	if err != nil {
		c.b.Fatal(err)
	}
	return n
}

// A process that was started as a client runs no tests.
func init() {
	role, addr, found := strings.Cut(os.Getenv(childRole), " ")
	if !found {
		return
	}
	be := childSends
	if role == "listen" {
		be = childListens
	}
	if err := be(bufio.NewScanner(os.Stdin), addr); err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childListens opens a stream for each token, up to an empty line, and prints the number of
// messages that all of them have received, whenever that has grown.
func childListens(tokens *bufio.Scanner, addr string) error {
	var received atomic.Int64
	news := make(chan struct{}, 1)
	for tokens.Scan() && tokens.Text() != "" {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		if _, err := c.Write(append(request(http.MethodGet, "/v1/events", tokens.Text()), "\r\n"...)); err != nil {
			return err
		}
		in := bufio.NewReader(c)
		for line := ""; line != "event: ready\n"; {
			if line, err = in.ReadString('\n'); err != nil {
				return err
			}
		}
		go func() {
			for {
				line, err := in.ReadSlice('\n')
				if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
					return
				}
				if string(line) == "event: message.created\n" {
					received.Add(1)
					select {
					case news <- struct{}{}:
					default:
					}
				}
			}
		}()
	}
	fmt.Println(0)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for tokens.Scan() {
		}
	}()
	for {
		select {
		case <-news:
			fmt.Println(received.Load())
		case <-ended:
			return nil
		}
	}
}

// childSends sends a message for each line, with the conversation and the client_id in it, and
// prints the nanoseconds until the answer.
func childSends(lines *bufio.Scanner, addr string) error {
	lines.Scan()
	token := lines.Text()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c := &benchConn{Conn: conn, in: bufio.NewReader(conn)}
	for lines.Scan() {
		id, client, _ := strings.Cut(lines.Text(), " ")
		body := fmt.Appendf(nil, `{"client_id":"%s","type":"text","body":{"text":"%s"}}`, client, benchText)
		req := request(http.MethodPost, "/v1/conversations/"+id+"/messages", token, "Content-Type", "application/json")
		req = append(fmt.Appendf(req, "Content-Length: %d\r\n\r\n", len(body)), body...)
		began := time.Now()
		if err := c.expect(http.StatusCreated, req); err != nil {
			return err
		}
		fmt.Println(time.Since(began).Nanoseconds())
	}
	return nil
}

// BenchmarkAudience measures the memory for a room in which 100 members have streams, without other
// members, and with 10,000 and 50,000 who are not connected.
func BenchmarkAudience(b *testing.B) {
	const online = 100
	for _, others := range []int{0, 10_000, 50_000} {
		b.Run(fmt.Sprint("offline=", others), func(b *testing.B) {
			n := startNode(b)
			defer n.stop()
			users := benchUsers(online + others)
			owner := im.Actor{User: users[0]}
			v, err := n.service.CreateGroup(b.Context(), owner, im.GroupDraft{Kind: im.Room, Name: "bench"})
			if err == nil {
				_, err = n.service.AddMembers(b.Context(), owner, im.ConversationRef{ID: v.ID}, users[1:], im.Member)
			}
			if err != nil {
				b.Fatal(err)
			}
			streams := startChild(b, "listen", n.addr)
			for _, user := range users[1:online] {
				streams.say(mintFor(b, n.secret, string(user)))
			}
			streams.say("")
			streams.hear()
			received := int64(0)
			d := im.Draft{Type: im.Text, Body: []byte(`{"text":"hi"}`)}
			before := memory()
			for b.Loop() {
				received += online - 1
				if _, err := n.service.Send(b.Context(), owner, im.ConversationRef{ID: v.ID}, d); err != nil {
					b.Fatal(err)
				}
				for streams.hear() < received {
				}
			}
			b.ReportMetric(float64(int64(memory())-int64(before)), "bytes-grown")
		})
	}
}
