package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

// The end-to-end tests here run the real binary and use it over HTTP, with the client that users
// get.

// patience is the time that tests wait for what should happen soon, because the machine may be
// busy.
const patience = await.Limit

// built is the directory of the binaries, once it exists.
var built struct {
	sync.Mutex
	dir string
}

// buildOnce returns a function that builds imapi with flags at the first call, and returns the
// path.
func buildOnce(flags ...string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		built.Lock()
		defer built.Unlock()
		if built.dir == "" {
			var err error
			if built.dir, err = os.MkdirTemp("", "imapi-e2e-"); err != nil {
				return "", err
			}
		}
		path := filepath.Join(built.dir, "imapi"+strings.Join(flags, ""))
		build := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, ".")...)
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build: %w: %s", err, out)
		}
		return path, nil
	})
}

var (
	// plainBinary is the build of `make build`.
	plainBinary = buildOnce("-trimpath", "-race=false")
	// racedBinary has no other flags than the tests, so that their packages are not compiled
	// again.
	racedBinary = buildOnce("-race")
)

// binary returns the path of imapi, which it builds. The race detector takes most of the processor
// time of a server, so in a short run few servers use it; see [newRacedServer]. At full length all
// use it, if the tests do.
func binary() (string, error) {
	if raceDetector && !testing.Short() {
		return racedBinary()
	}
	return plainBinary()
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == thumbnailsCommand { // a node in this process has started this process
		os.Exit(dispatch(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// server is a data directory and the process that serves it.
type server struct {
	t    testing.TB
	bin  string
	data string
	addr string
	args []string
	log  *syncBuffer
	out  *syncBuffer

	process *exec.Cmd
}

// newServer prepares a server on a free port; start runs it.
func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	return newServerOf(t, binary, args...)
}

// newRacedServer is newServer with the race detector even in a short run. It is for tests in which
// goroutines of the command itself run concurrently: streams, jobs, kills and shutdowns. All other
// packages run under the race detector in their own tests.
func newRacedServer(t testing.TB, args ...string) *server {
	t.Helper()
	if !raceDetector {
		return newServer(t, args...)
	}
	return newServerOf(t, racedBinary, args...)
}

func newServerOf(t testing.TB, binary func() (string, error), args ...string) *server {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		t: t, bin: bin, data: filepath.Join(t.TempDir(), "data"), addr: freeAddress(t), args: args,
		log: &syncBuffer{}, out: &syncBuffer{},
	}
	t.Cleanup(func() {
		s.kill()
		if log := s.log.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
			t.Errorf("the server's log:\n%s", log)
		}
	})
	return s
}

// lastPort is the port of the newest server minus a constant. Test processes begin at different
// ports.
var lastPort atomic.Uint32

func init() { lastPort.Store(rand.Uint32N(10_000)) }

// freeAddress returns an address that no other test gets and that no connection uses while its
// server is down: systems choose local ports from 32768 on.
func freeAddress(t testing.TB) string {
	t.Helper()
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+lastPort.Add(1)%10_000)); err == nil {
			_ = l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal(err)
	return ""
}

func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := newServer(t, args...)
	s.start()
	return s
}

// start runs the process and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	s.startProcess()
	s.waitReady()
}

// startProcess runs the process. In a short run it does not wait for the disk: what a process
// has written survives its kill, and no test here cuts the power.
func (s *server) startProcess() {
	s.t.Helper()
	args := append([]string{
		"serve", "--listen", s.addr, "--data", s.data, "--log-level", "debug", "--read-limit", "1m", "--rate", "0",
		"--synchronous", testsize.Pick("full", "normal"),
	}, s.args...)
	s.process = exec.Command(s.bin, args...)
	s.process.Stdout, s.process.Stderr = s.out, s.log
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) waitReady() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if res, err := http.Get("http://" + s.addr + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			s.t.Fatalf("not ready after %v; log:\n%s", patience, s.log)
		}
	}
}

// kill ends the process as a crash would, and waits for its end.
func (s *server) kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
	s.process = nil
}

// stop asks the process to end and returns its exit.
func (s *server) stop() error {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	err := s.process.Wait()
	s.process = nil
	return err
}

// token runs imapi token.
func (s *server) token(user string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(s.bin, append([]string{"token", "--user", user, "--data", s.data}, args...)...)
	var diag bytes.Buffer
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("token: %v: %s", err, diag.String())
	}
	return strings.TrimSpace(string(out))
}

// client returns a client of a user on a device.
func (s *server) client(user, device string) *client.Client {
	s.t.Helper()
	return s.clientWith(mintFor(s.t, readSecret(s.t, s.data), user), device)
}

func (s *server) clientWith(token, device string) *client.Client {
	s.t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	s.t.Cleanup(transport.CloseIdleConnections)
	c, err := client.New("http://"+s.addr, client.Options{
		Token: client.StaticToken(token), Device: device, SendTimeout: patience,
		HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// group creates a group and returns its id.
func (s *server) group(owner *client.Client, members ...string) string {
	s.t.Helper()
	res, err := owner.CreateConversationWithResponse(context.Background(), &client.CreateConversationParams{},
		client.CreateConversation{Kind: client.CreateConversationKindGroup, Name: "group", Members: members})
	if err != nil {
		s.t.Fatal(err)
	}
	return res.JSON201.ID
}

// say sends a text once.
func say(ctx context.Context, c *client.Client, conversation, clientID, text string) (client.Message, error) {
	d := client.SendText{Body: client.TextBody{Text: text}}
	if clientID != "" {
		d.ClientID = &clientID
	}
	return c.Send(ctx, conversation, d)
}

// sayUntilAnswered sends a text under one client_id until the server answers.
func sayUntilAnswered(ctx context.Context, c *client.Client, conversation, clientID, text string) (*client.Message, error) {
	for ctx.Err() == nil {
		res, err := c.SendMessageWithResponse(ctx, conversation, &client.SendMessageParams{}, textDraft(clientID, text))
		var refusal *client.Problem
		switch {
		case errors.As(err, &refusal) && refusal.Status < 500:
			return nil, err
		case err != nil: // the server was killed, and needs the processor to start again
			time.Sleep(10 * time.Millisecond)
			continue
		case res.JSON201 != nil:
			return res.JSON201, nil
		case res.JSON200 != nil:
			return res.JSON200, nil
		}
	}
	return nil, ctx.Err()
}

func textDraft(clientID, text string) client.SendMessage {
	var m client.SendMessage
	err := m.FromSendText(client.SendText{ClientID: &clientID, Type: client.SendTextTypeText, Body: client.TextBody{Text: text}})
	if err != nil {
		panic(err) // a struct of strings
	}
	return m
}

// history returns all messages of a conversation, oldest first.
func history(t testing.TB, c *client.Client, conversation string) []client.Message {
	t.Helper()
	var (
		all   []client.Message
		after int64
		limit int32 = 200
	)
	for {
		res, err := c.ListMessagesWithResponse(context.Background(), conversation, &client.ListMessagesParams{AfterSeq: &after, Limit: &limit})
		if err != nil {
			t.Fatal(err)
		}
		items := res.JSON200.Items
		if len(items) == 0 {
			return all
		}
		all = append(all, items...)
		after = items[len(items)-1].Seq
	}
}

// eventLog returns all events of a user, from pages.
func eventLog(t testing.TB, c *client.Client) []client.Event {
	t.Helper()
	var (
		all   []client.Event
		limit int32 = 1000
		page  *string
	)
	for {
		res, err := c.GetEventsWithResponse(context.Background(), &client.GetEventsParams{PageToken: page, Limit: &limit}, acceptJSON)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, res.JSON200.Items...)
		if page = res.JSON200.NextPageToken; page == nil {
			return all
		}
	}
}

func acceptJSON(_ context.Context, req *http.Request) error {
	req.Header.Set("Accept", "application/json")
	return nil
}

// resuming passes the events of a client to received until ctx ends, and resumes the stream after a
// cursor, "" for now, whenever the server was killed. It returns a channel that is closed once the
// stream is open.
func resuming(ctx context.Context, t *testing.T, following *sync.WaitGroup, c *client.Client, cursor string, received func(client.Event)) <-chan struct{} {
	t.Helper()
	open := make(chan struct{})
	following.Go(func() {
		isOpen := sync.OnceFunc(func() { close(open) })
		o := client.EventsOptions{Cursor: cursor, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond}
		for e, err := range c.Events(ctx, o) {
			switch {
			case err != nil:
				if ctx.Err() == nil {
					t.Errorf("the subscriber: %v", err)
				}
				return
			case e.Type == client.EventTypeReady:
				isOpen()
			default:
				received(e)
			}
		}
	})
	return open
}

// syncBuffer is a buffer for a process's output.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
