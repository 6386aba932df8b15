package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imapi/imapi/awake"
)

// readyWait is the time within which the first event of a stream must arrive. The server sends it
// at once.
const readyWait = 5 * time.Second

// maxStreamLine is the maximum length of a line of a stream, in bytes. Events contain messages.
const maxStreamLine = 4 << 20

// bufferingAdvice is what to do about a proxy that buffers.
const bufferingAdvice = "turn off its buffering for /v1/events; docs/operations.md has the settings for nginx and Caddy"

// checkStream opens an event stream as a browser does, and checks that its first event and,
// unless --stream-wait is 0, a heartbeat arrive when the server sends them. It also checks the
// transport.
func (d *doctorFlags) checkStream(ctx context.Context, r *report, server, token string) {
	const check = "stream"
	s := newStreamProbe(ctx)
	defer s.close()
	took, err := s.open(server, token)
	switch {
	case ctx.Err() != nil:
		return
	case errors.Is(err, errLate):
		r.fail(check, fmt.Sprintf("nothing of the stream arrived within %v: a proxy buffers it", readyWait), bufferingAdvice)
		return
	case errors.Is(err, errCompressed):
		r.fail(check, "a proxy compresses the stream, so that events wait until a block is full", "turn off compression of text/event-stream")
		return
	case err != nil:
		r.fail(check, err.Error(), "what is between here and the server must pass /v1/events on unchanged")
		return
	}
	r.ok(check, "the first event arrived after %v by %s", took.Round(10*time.Microsecond), s.protocol)
	s.checkTransport(r, server)
	if d.wait == 0 {
		r.skip("heartbeat", "--stream-wait is 0")
		return
	}
	idle, err := s.heartbeat(d.wait)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, errLate):
		r.fail("heartbeat", fmt.Sprintf("none arrived within %v, although the server sends one every 15s: a proxy buffers", d.wait), bufferingAdvice)
	case err != nil:
		r.fail("heartbeat", fmt.Sprintf("the connection ended after %v without one", idle.Round(100*time.Millisecond)), "the proxy's timeout for reading must be above the 15s between two heartbeats, such as 60s")
	default:
		r.ok("heartbeat", "one arrived after %v", idle.Round(100*time.Millisecond))
	}
}

var (
	errLate       = errors.New("nothing arrived in time")
	errCompressed = errors.New("the stream is compressed")
)

// streamProbe is a stream that is read with time limits.
type streamProbe struct {
	ctx      context.Context // of the request
	cancel   context.CancelCauseFunc
	body     io.ReadCloser // nil without an answer
	lines    *bufio.Scanner
	protocol string
}

func newStreamProbe(ctx context.Context) *streamProbe {
	s := &streamProbe{}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s
}

// open requests the stream and waits for its first event.
func (s *streamProbe) open(server, token string) (time.Duration, error) {
	defer awake.AfterFunc(readyWait, func() { s.cancel(errLate) })()
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, strings.TrimSuffix(server, "/")+"/v1/events", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	// Browsers send this header, so a proxy that compresses for them does so here, too.
	req.Header.Set("Accept-Encoding", "gzip, deflate, br")
	began := time.Now()
	res, err := http.DefaultClient.Do(req) //nolint:bodyclose // close does it
	if err != nil {
		return 0, s.because(err)
	}
	s.body, s.protocol = res.Body, res.Proto
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("the answer is %s", res.Status)
	case res.Header.Get("Content-Encoding") != "":
		return 0, errCompressed
	case kind != "text/event-stream":
		return 0, fmt.Errorf("the answer has the type %q and is not an event stream", kind)
	}
	s.lines = bufio.NewScanner(res.Body)
	s.lines.Buffer(nil, maxStreamLine)
	err = s.until(func(line string) bool { return line == "event: ready" })
	return time.Since(began), err
}

// heartbeat waits for a heartbeat, which is a comment.
func (s *streamProbe) heartbeat(wait time.Duration) (time.Duration, error) {
	defer awake.AfterFunc(wait, func() { s.cancel(errLate) })()
	began := time.Now()
	err := s.until(func(line string) bool { return strings.HasPrefix(line, ":") })
	return time.Since(began), err
}

// until reads lines until wanted returns true for one.
func (s *streamProbe) until(wanted func(string) bool) error {
	for s.lines.Scan() {
		if wanted(s.lines.Text()) {
			return nil
		}
	}
	err := s.lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return s.because(err)
}

// because returns errLate if that is why the request ended, and otherwise the error without its
// URL.
func (s *streamProbe) because(err error) error {
	if errors.Is(context.Cause(s.ctx), errLate) || errors.Is(err, errLate) {
		return errLate
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		err = request.Err
	}
	return err
}

func (s *streamProbe) close() {
	s.cancel(nil)
	if s.body != nil {
		_ = s.body.Close()
	}
}

// checkTransport warns of http to another machine, because tokens travel unencrypted, and of https
// without HTTP/2, because a browser then opens at most six streams.
func (s *streamProbe) checkTransport(r *report, server string) {
	u, err := url.Parse(server)
	if err != nil {
		return
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case u.Scheme == "http" && !local:
		r.warn("transport", "tokens and messages are sent in the clear to "+u.Host, "use TLS: --tls-cert, or a proxy")
	case u.Scheme == "https" && !strings.HasPrefix(s.protocol, "HTTP/2"):
		r.warn("transport", "this is "+s.protocol+", over which a browser opens at most six streams", "let the proxy speak HTTP/2")
	}
}
