package handlers_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/blobs"
	"github.com/imapi/imapi/blobs/thumbnail"
	"github.com/imapi/imapi/datastreams"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/sniff"
	"github.com/imapi/imapi/sockets"
	"github.com/imapi/imapi/storage"
)

var (
	secret    = bytes.Repeat([]byte("s"), auth.MinSecret)
	ticketTTL = time.Hour
)

// world is a complete server on a real store, reached over HTTP.
type world struct {
	t       testing.TB
	url     string
	store   im.Store
	service *im.Service
	server  *handlers.Server
	hub     *events.Hub
	streams *datastreams.Hub
	routes  chi.Router
	// streamClock is the clock of streams, by which tokens expire, and the rest of a data stream is
	// dropped after its end.
	streamClock *stillClock
}

type option func(*handlers.Options, *events.Options, *im.Policy)

func newWorld(t testing.TB, with ...option) *world {
	t.Helper()
	return newWorldIn(t, storage.Options{DataDir: t.TempDir()}, with...)
}

// newWorldIn is newWorld on a store with other options.
func newWorldIn(t testing.TB, in storage.Options, with ...option) *world {
	t.Helper()
	in.Synchronous, in.ReadLimit = "normal", await.Limit // the machine may stand still
	store, err := storage.Open(context.Background(), "", in)
	if err != nil {
		t.Fatal(err)
	}
	return newWorldOn(t, store, with...)
}

// newWorldOn is newWorld on an open store, which it closes.
func newWorldOn(t testing.TB, store im.Store, with ...option) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{t: t, store: store, streamClock: &stillClock{at: time.Now()}}
	policy := im.DefaultPolicy()
	// The machine may stand still between any two lines. That must not end what a test has open, lose
	// what it waits for, or put a heartbeat in its place.
	policy.ReadWait = await.Limit
	ho := handlers.Options{WriteTimeout: await.Limit}
	eo := events.Options{
		Head: store.Head, LogID: store.Instance().Log, Encode: handlers.AppendEvent,
		Heartbeat: await.Limit,
	}
	for _, o := range with {
		o(&ho, &eo, &policy)
	}
	service := im.NewService(store, policy, nil)
	w.service = service
	files, err := blobs.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	service.UseBlobs(blobs.NewFiles(files, store.Instance().Store), im.FileTypes{
		Sniff: func() im.TypeSniffer { return new(sniff.Sniffer) },
		Measure: func(file io.ReadSeeker) (int, int) {
			// Tests upload pictures that are truncated after their header.
			if w, h := thumbnail.Size(file); w > 0 {
				return w, h
			}
			return 3, 4
		},
	})
	service.UseThumbnails(directThumbnails{})
	verifier, err := auth.New(ctx, auth.Config{Secret: secret, TicketKey: store.Instance().TicketKey, TicketTTL: ticketTTL})
	if err != nil {
		t.Fatal(err)
	}
	eo.Log = service
	if w.hub, err = events.NewHub(ctx, eo); err != nil {
		t.Fatal(err)
	}
	w.streams = datastreams.NewHub(datastreams.Options{
		Domain: service, Heartbeat: await.Limit, Now: w.streamClock.now,
		Publish: func(n datastreams.Notice) { w.hub.PublishTransient(handlers.StreamNotice(n)) },
	})
	store.OnCommit(func(c im.Commit) {
		for _, cut := range c.Cuts {
			verifier.Cut(cut)
		}
		w.hub.Publish(c)
		w.streams.Committed(c)
	})
	ho.Service, ho.Verifier, ho.Hub, ho.Streams = service, verifier, w.hub, w.streams
	var routes http.Handler
	if w.server, routes, err = handlers.New(ho); err != nil {
		t.Fatal(err)
	}
	w.server.BePatient()
	w.routes = routes.(chi.Router)
	srv := httptest.NewUnstartedServer(routes)
	srv.Config.ConnContext = sockets.ConnContext
	srv.Start()
	w.url = srv.URL
	t.Cleanup(func() {
		w.hub.Close()
		w.streams.Close()
		srv.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// in returns the same server for a subtest.
func (w *world) in(t testing.TB) *world {
	inner := *w
	inner.t = t
	return &inner
}

// mint returns a token that was issued some time ago.
func mint(t testing.TB, g auth.Grant, ago time.Duration) string {
	t.Helper()
	if g.TTL == 0 {
		g.TTL = time.Hour + ago
	}
	token, err := auth.Mint(secret, g, time.Now().Add(-ago))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func tokenOf(t testing.TB, user string) string {
	return mint(t, auth.Grant{User: im.UserID(user)}, time.Minute)
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("status %d, body %q: %v", a.status, a.body, err)
	}
	return v
}

func (a answer) code(t testing.TB) string {
	code, _ := a.json(t)["code"].(string)
	return code
}

// do sends a request as a user; "" sends no token.
func (w *world) do(user, method, path, body string, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if user != "" {
		req.Header.Set("Authorization", "Bearer "+tokenOf(w.t, user))
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.send(req)
}

func (w *world) send(req *http.Request) answer {
	w.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.conforms(req, res, b)
	return answer{res.StatusCode, res.Header, b}
}

// must is do, but expects a status and returns the JSON.
func (w *world) must(status int, user, method, path, body string, header ...string) map[string]any {
	w.t.Helper()
	a := w.do(user, method, path, body, header...)
	if a.status != status {
		w.t.Fatalf("%s %s as %s: status %d, want %d: %s", method, path, user, a.status, status, a.body)
	}
	if len(a.body) == 0 {
		return nil
	}
	return a.json(w.t)
}

func (w *world) say(user, conversation, text string) map[string]any {
	w.t.Helper()
	body, _ := json.Marshal(map[string]any{"type": "text", "body": map[string]string{"text": text}})
	return w.must(http.StatusCreated, user, http.MethodPost, "/v1/conversations/"+conversation+"/messages", string(body))
}

// stall sends a GET as a user, and reads nothing after the status, which must be 200. The
// connection has little room for what the server sends.
func (w *world) stall(user, path string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		w.t.Fatal(err)
	}
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", path, tokenOf(w.t, user))
	if err != nil {
		w.t.Fatal(err)
	}
	const want = "HTTP/1.1 200 OK"
	status := make([]byte, len(want))
	if _, err := io.ReadFull(c, status); err != nil || string(status) != want {
		w.t.Fatalf("GET %s as %s: %q, %v", path, user, status, err)
	}
	return c
}

// upload uploads a file.
func (w *world) upload(user, content string) map[string]any {
	w.t.Helper()
	return w.must(http.StatusCreated, user, "POST", "/v1/attachments", content, "Content-Type", "application/octet-stream")
}

func (w *world) group(owner string, members ...string) string {
	w.t.Helper()
	body, _ := json.Marshal(map[string]any{"kind": "group", "name": "g", "members": members})
	return w.must(http.StatusCreated, owner, http.MethodPost, "/v1/conversations", string(body))["id"].(string)
}

// newSpace creates a space with members and a public channel.
func (w *world) newSpace(owner string, members ...string) (space, channel string) {
	w.t.Helper()
	space = w.must(http.StatusCreated, owner, http.MethodPost, "/v1/spaces", `{"name":"s"}`)["id"].(string)
	if len(members) > 0 {
		body, _ := json.Marshal(map[string]any{"members": members})
		w.must(http.StatusOK, owner, http.MethodPost, "/v1/spaces/"+space+"/members", string(body))
	}
	return space, w.newChannel(owner, space, "public")
}

func (w *world) newChannel(user, space, visibility string) string {
	w.t.Helper()
	return w.must(http.StatusCreated, user, http.MethodPost, "/v1/spaces/"+space+"/channels",
		`{"name":"c","visibility":"`+visibility+`"}`)["id"].(string)
}

func (w *world) newRole(user, space, permissions string) string {
	w.t.Helper()
	return w.must(http.StatusCreated, user, http.MethodPost, "/v1/spaces/"+space+"/roles",
		`{"name":"r","permissions":`+permissions+`}`)["id"].(string)
}

func (w *world) newThread(user, message string) string {
	w.t.Helper()
	return w.must(http.StatusCreated, user, http.MethodPost, "/v1/messages/"+message+"/thread", `{"name":"t"}`)["id"].(string)
}

// frame is one block of a stream.
type frame struct {
	id, event, data, retry string
}

// reader reads a stream.
type reader struct {
	t   testing.TB
	res *http.Response
	in  *bufio.Scanner
}

// listen opens a stream.
func (w *world) listen(user string, query url.Values, header ...string) *reader {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.url+"/v1/events?"+query.Encode(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if user != "" {
		req.Header.Set("Authorization", "Bearer "+tokenOf(w.t, user))
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.follow(req)
}

func (w *world) follow(req *http.Request) *reader {
	w.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &reader{t: w.t, res: res, in: bufio.NewScanner(res.Body)}
	r.in.Buffer(nil, 1<<20)
	w.t.Cleanup(r.close)
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(res.Body)
		w.t.Fatalf("stream: status %d: %s", res.StatusCode, b)
	}
	return r
}

func (r *reader) close() { _ = r.res.Body.Close() }

// next returns the next block; at the end of the stream it returns false and the part of a block
// that it has. Like simple libraries, it treats any empty line as the end of a block.
func (r *reader) next() (frame, bool) {
	var f frame
	for r.in.Scan() {
		line := r.in.Text()
		if line == "" {
			if f.data == "" {
				r.t.Errorf("a block without data: %+v", f)
			}
			return f, true
		}
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "id":
			f.id = value
		case "event":
			f.event = value
		case "data":
			f.data += value
		case "retry":
			f.retry = value
		}
	}
	return f, false
}

// event returns the next block that is an event.
func (r *reader) event() (frame, map[string]any) {
	r.t.Helper()
	for {
		f, ok := r.next()
		if !ok {
			r.t.Fatal("the stream ended")
		}
		if f.event == "" {
			continue
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(f.data), &v); err != nil {
			r.t.Fatalf("data %q: %v", f.data, err)
		}
		spec := contract()
		if err := spec.Components.Schemas["Event"].Value.VisitJSON(v, openapi3.VisitAsResponse(), openapi3.MultiErrors()); err != nil {
			r.t.Errorf("the frame %s is not as the document has it: %v", f.data, err)
		}
		id, _ := v["id"].(string) // events that are not in the log have none
		if id != f.id || v["type"] != f.event {
			r.t.Errorf("the frame has id %q, event %q; its data %v", f.id, f.event, v)
		}
		return f, v
	}
}

// expect reads one event and checks its type.
func (r *reader) expect(kind string) (frame, map[string]any) {
	r.t.Helper()
	f, v := r.event()
	if f.event != kind {
		r.t.Fatalf("got %s %v, want %s", f.event, v, kind)
	}
	return f, v
}

// directThumbnails makes thumbnails in this process.
type directThumbnails struct{}

// Thumbnail makes a thumbnail.
func (directThumbnails) Thumbnail(ctx context.Context, file io.Reader, size int64) (im.MadeThumbnail, error) {
	b, err := io.ReadAll(io.LimitReader(file, size))
	if err != nil {
		return im.MadeThumbnail{}, err
	}
	made, err := thumbnail.Make(ctx, b)
	if err != nil {
		err = fmt.Errorf("%w: %w", im.ErrNoThumbnail, err)
	}
	return im.MadeThumbnail(made), err
}
