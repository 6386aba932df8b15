package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// requestTimeout bounds a request. A later answer counts as a failure.
	requestTimeout = 30 * time.Second
	dialTimeout    = 10 * time.Second
	// maxAnswer bounds the body of an answer, in bytes.
	maxAnswer = 16 << 20
)

// endpoint is the server under load.
type endpoint struct {
	url    *url.URL
	dialer net.Dialer
}

// dial opens a connection.
func (e *endpoint) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if e.url.Scheme == "https" {
		// HTTP/1.1 only: requests are written by hand.
		d := tls.Dialer{NetDialer: &e.dialer, Config: &tls.Config{NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}}
		return d.DialContext(ctx, "tcp", e.address("443"))
	}
	return e.dialer.DialContext(ctx, "tcp", e.address("80"))
}

func (e *endpoint) address(port string) string {
	if p := e.url.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(e.url.Hostname(), port)
}

// request is what a connection sends.
type request struct {
	method, path string // the path below the server's URL, with its query
	token        string
	device       string
	contentType  string
	header       string // further lines, each with its end
	body         []byte
}

// append writes the request as HTTP/1.1.
func (r *request) append(b []byte, at *url.URL) []byte {
	b = fmt.Appendf(b, "%s %s%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nX-Device-Id: %s\r\n%s",
		r.method, at.EscapedPath(), r.path, at.Host, r.token, r.device, r.header)
	if r.contentType != "" {
		b = fmt.Appendf(b, "Content-Type: %s\r\nContent-Length: %d\r\n", r.contentType, len(r.body))
	}
	b = append(b, "\r\n"...)
	return append(b, r.body...)
}

// answer is the answer to a request.
type answer struct {
	status     int
	retryAfter time.Duration
	body       []byte // valid until the next request
}

// conn is a connection that is kept alive and carries one request at a time. It uses less processor
// time than an http.Client, time that the server would lack if both ran on one machine.
type conn struct {
	to   *endpoint
	c    net.Conn // nil if there is none
	in   *bufio.Reader
	out  []byte
	body []byte
	used bool // a request was answered on c
}

// do sends a request and returns its answer. It connects if needed. If a kept-alive connection was
// closed or reset, for example because it was idle for long, do sends the request again.
func (c *conn) do(r *request) (answer, error) {
	again := c.used
	a, err := c.try(r)
	if again && (errors.Is(err, io.EOF) || isReset(err)) {
		a, err = c.try(r)
	}
	return a, err
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// try sends a request once. After an error the connection is closed.
func (c *conn) try(r *request) (a answer, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.c == nil {
		if c.c, err = c.to.dial(context.Background()); err != nil {
			return a, err
		}
		if c.in == nil {
			c.in = bufio.NewReader(nil)
		}
		c.in.Reset(c.c)
	}
	if err := c.c.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return a, err
	}
	c.out = r.append(c.out[:0], c.to.url)
	if _, err := c.c.Write(c.out); err != nil {
		return a, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return a, err // io.EOF only if there is no answer
	}
	response, err := http.ReadResponse(c.in, nil) //nolint:bodyclose // read to its end; the connection is closed by close
	if err != nil {
		return a, err
	}
	if c.body, err = readAll(response.Body, c.body[:0]); err != nil {
		return a, err
	}
	a = answer{status: response.StatusCode, body: c.body}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		a.retryAfter = time.Duration(seconds) * time.Second
	}
	if c.used = !response.Close; response.Close {
		c.close()
	}
	return a, nil
}

// readAll reads a body of at most maxAnswer bytes into b.
func readAll(body io.Reader, b []byte) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		case len(b) > maxAnswer:
			return b, errors.New("the answer is too large")
		}
	}
}

func (c *conn) close() {
	if c.c != nil {
		_ = c.c.Close()
		c.c, c.used = nil, false
	}
}
