package sockets

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"
)

// connKey is the key of the connection in the context of a request.
type connKey struct{}

// ConnContext makes the connections of a server known to [CanTake]. Use it as
// [http.Server.ConnContext].
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// CanTake reports whether the connection of a request can be taken: it must be HTTP/1.1 over TCP,
// without TLS or accepted by a [Listener], of a server with [ConnContext].
func CanTake(r *http.Request) bool {
	if !supported || r.ProtoMajor != 1 || r.ProtoMinor < 1 {
		return false
	}
	switch c := r.Context().Value(connKey{}).(type) {
	case *net.TCPConn:
		return true
	case *tls.Conn:
		_, is := c.NetConn().(*below)
		return is
	default:
		return false
	}
}

// Take takes the connection of a request, for which CanTake returned true, from the server.
// The header of the response must have been written, with "Connection: close"; Take sends it, which
// may take up to timeout. The caller writes the body, in chunks (RFC 9112, section 7.1). After an
// error the response cannot be written.
func Take(w http.ResponseWriter, timeout time.Duration) (*Conn, error) {
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	conn, err := take(c, buffered.Writer.Flush, timeout)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return conn, nil
}

func take(c net.Conn, flush func() error, timeout time.Duration) (*Conn, error) {
	if err := c.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	if err := flush(); err != nil {
		return nil, err
	}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		return nil, err
	}
	switch c := c.(type) {
	case *net.TCPConn:
		return New(c)
	case *tls.Conn:
		if b, is := c.NetConn().(*below); is {
			return newSecure(c, b)
		}
	}
	return nil, errors.New("not a connection that can be taken")
}
