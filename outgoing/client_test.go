package outgoing_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/nameserver"
	"github.com/imapi/imapi/outgoing"
)

// receiver is a test server on 127.0.0.1.
func receiver(t *testing.T, h http.HandlerFunc) (address, port string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return s.URL, port
}

func client(t *testing.T, o outgoing.Options) *outgoing.Client {
	t.Helper()
	c := outgoing.New(o)
	t.Cleanup(c.Close)
	return c
}

// reason returns the reason why a request failed, "" if it did not.
func reason(t *testing.T, err error) outgoing.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*outgoing.Error](err)
	if !ok {
		t.Fatalf("the error is a %T", err)
	}
	return e.Reason
}

func TestPostSendsAndReturnsTheAnswer(t *testing.T) {
	address, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("User-Agent") != "imapi" ||
			len(r.Header["X-Idempotency-Key"]) != 0 || r.ContentLength != int64(len(body)) {
			t.Errorf("request %s %v", r.Method, r.Header)
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(append([]byte("got "), body...))
	})
	c := client(t, outgoing.Options{AllowPrivate: true})
	answer, err := c.Post(t.Context(), address, http.Header{"content-type": {"application/json"}}, []byte(`{"a":1}`))
	if err != nil || answer.Status != 503 || string(answer.Body) != `got {"a":1}` || answer.Cut || answer.Header.Get("Retry-After") != "7" {
		t.Errorf("answer %+v, error %v", answer, err)
	}
}

// TestPrivateAddressesAreRefusedAfterDNS: a name that resolves to this machine is refused
// when the connection is opened, even if it resolved to another address a moment before.
func TestPrivateAddressesAreRefusedAfterDNS(t *testing.T) {
	var called atomic.Int64
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			called.Add(1)
			_ = conn.Close()
		}
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	address := "https://app.example:" + strconv.Itoa(port) + "/"

	rebinding, rebind := nameserver.Rebinding(t)
	if first, err := rebinding.LookupNetIP(t.Context(), "ip4", "app.example"); err != nil || first[0].String() != "8.8.8.8" {
		t.Fatalf("the first answer of DNS: %v, %v", first, err)
	}
	rebind()
	for name, resolver := range map[string]*net.Resolver{"rebinding": rebinding, "loopback": nameserver.Resolver(t, nameserver.Always("127.0.0.1"))} {
		_, err := client(t, outgoing.Options{Resolver: resolver}).Post(t.Context(), address, nil, nil)
		if reason(t, err) != outgoing.ReasonAddress {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, literal := range []string{"https://127.0.0.1:", "https://[::ffff:127.0.0.1]:", "https://localhost:"} {
		_, err := client(t, outgoing.Options{}).Post(t.Context(), literal+strconv.Itoa(port), nil, nil)
		if reason(t, err) != outgoing.ReasonAddress {
			t.Errorf("%s: %v", literal, err)
		}
	}
	if n := called.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestHTTPIsForPrivateAddresses: nothing goes to the internet in the clear, whatever a name
// resolves to.
func TestHTTPIsForPrivateAddresses(t *testing.T) {
	address, port := receiver(t, func(http.ResponseWriter, *http.Request) {})
	for _, test := range []struct {
		resolves string
		allow    bool
		want     outgoing.Reason
	}{
		{"127.0.0.1", true, ""},
		{"127.0.0.1", false, outgoing.ReasonAddress},
		{"8.8.8.8", true, outgoing.ReasonAddress},
		{"8.8.8.8", false, outgoing.ReasonAddress},
		{"169.254.169.254", true, outgoing.ReasonAddress},
	} {
		c := client(t, outgoing.Options{AllowPrivate: test.allow, Resolver: nameserver.Resolver(t, nameserver.Always(test.resolves))})
		_, err := c.Post(t.Context(), "http://app.example:"+port, nil, nil)
		if got := reason(t, err); got != test.want {
			t.Errorf("name of %s, private allowed %t: %q, want %q", test.resolves, test.allow, got, test.want)
		}
	}
	if _, err := client(t, outgoing.Options{}).Post(t.Context(), address, nil, nil); reason(t, err) != outgoing.ReasonAddress {
		t.Errorf("http to loopback that is not allowed: %v", err)
	}
}

func TestHTTPSChecksTheCertificate(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	known := x509.NewCertPool()
	known.AddCert(s.Certificate())
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	resolver := nameserver.Resolver(t, nameserver.Always("127.0.0.1"))
	plain, _ := receiver(t, func(http.ResponseWriter, *http.Request) {})
	for _, test := range []struct {
		name, url string
		roots     *x509.CertPool
		want      outgoing.Reason
	}{
		{"known authority", "https://example.com:" + port, known, ""},
		{"address in the certificate", s.URL, known, ""},
		{"other name", "https://other.example:" + port, known, outgoing.ReasonTLS},
		{"unknown authority", s.URL, x509.NewCertPool(), outgoing.ReasonTLS},
		{"server without TLS", strings.Replace(plain, "http:", "https:", 1), known, outgoing.ReasonTLS},
	} {
		c := client(t, outgoing.Options{AllowPrivate: true, Resolver: resolver, RootCAs: test.roots})
		_, err := c.Post(t.Context(), test.url, nil, nil)
		if got := reason(t, err); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Bool
	target, _ := receiver(t, func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		address, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, status) })
		answer, err := client(t, outgoing.Options{AllowPrivate: true}).Post(t.Context(), address, nil, []byte("x"))
		if err != nil || answer.Status != status {
			t.Errorf("%d: answer %+v, error %v", status, answer, err)
		}
	}
	if followed.Load() {
		t.Error("a redirect was followed")
	}
}

// TestNoProxy: the environment names a proxy for every host except this machine. The client
// does not use it.
func TestNoProxy(t *testing.T) {
	proxy, _ := receiver(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was used") })
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"} {
		t.Setenv(name, proxy)
	}
	_, port := receiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	c := client(t, outgoing.Options{AllowPrivate: true, Resolver: nameserver.Resolver(t, nameserver.Always("127.0.0.1"))})
	if answer, err := c.Post(t.Context(), "http://app.example:"+port, nil, nil); err != nil || answer.Status != 204 {
		t.Errorf("answer %+v, error %v", answer, err)
	}
}

func TestCookiesAreNotKept(t *testing.T) {
	address, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 {
			t.Errorf("cookies %v", r.Cookies())
		}
		w.Header().Set("Set-Cookie", "a=b")
	})
	c := client(t, outgoing.Options{AllowPrivate: true})
	for range 2 {
		if _, err := c.Post(t.Context(), address, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	c := client(t, outgoing.Options{AllowPrivate: true, MaxAnswer: 1000, Timeout: time.Minute})
	for _, size := range []int{0, 999, 1000, 1001, 10 << 20} {
		address, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("a", size))
		})
		answer, err := c.Post(t.Context(), address, nil, nil)
		if err != nil || len(answer.Body) != min(size, 1000) || answer.Cut != (size > 1000) {
			t.Errorf("%d bytes: %d of them, cut %t, error %v", size, len(answer.Body), answer.Cut, err)
		}
	}
	address, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", strings.Repeat("a", 32<<10))
	})
	if _, err := c.Post(t.Context(), address, nil, nil); reason(t, err) != outgoing.ReasonBroken {
		t.Errorf("a large header: %v", err)
	}
}

// speaking returns the URL of a server that reads one request from each connection and then passes
// the connection to fn.
func speaking(t *testing.T, fn func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		conns.Wait()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer func() { _ = conn.Close() }()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					fn(conn)
				}
			})
		}
	}()
	return "http://" + listener.Addr().String()
}

// TestTimeout: no receiver can make a request take longer than its timeout. On a slow machine a
// short timeout may be over before the receiver has the request, so that it grows.
func TestTimeout(t *testing.T) {
	var reached atomic.Bool
	answering := func(fn func(net.Conn)) string {
		return speaking(t, func(conn net.Conn) { reached.Store(true); fn(conn) })
	}
	drip := func(start string) func(net.Conn) {
		return func(conn net.Conn) {
			for _, err := io.WriteString(conn, start); err == nil; _, err = io.WriteString(conn, "a") {
				time.Sleep(time.Millisecond)
			}
		}
	}
	until := make(chan struct{})
	defer close(until)
	for name, address := range map[string]string{
		"no answer":     answering(func(net.Conn) { <-until }),
		"slow header":   answering(drip("HTTP/1.1 200 OK\r\nA: ")),
		"slow body":     answering(drip("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")),
		"endless hints": answering(func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\n\r\n"); <-until }),
	} {
		t.Run(name, func(t *testing.T) {
			reached.Store(false)
			for timeout := 50 * time.Millisecond; !reached.Load(); timeout *= 2 {
				c := client(t, outgoing.Options{AllowPrivate: true, Timeout: timeout})
				if _, err := c.Post(t.Context(), address, nil, []byte("x")); reason(t, err) != outgoing.ReasonTimeout {
					t.Fatalf("after %v: %v", timeout, err)
				}
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	until := make(chan struct{})
	defer close(until)
	address := speaking(t, func(net.Conn) { cancel(); <-until })
	if _, err := client(t, outgoing.Options{AllowPrivate: true, Timeout: time.Minute}).Post(ctx, address, nil, nil); reason(t, err) != outgoing.ReasonCanceled {
		t.Error(err)
	}
}

// TestSwitchingProtocols: net/http does not end the connection of such an answer.
func TestSwitchingProtocols(t *testing.T) {
	until := make(chan struct{})
	defer close(until)
	address := speaking(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		<-until
	})
	answer, err := client(t, outgoing.Options{AllowPrivate: true, Timeout: time.Minute}).Post(t.Context(), address, nil, nil)
	if err != nil || answer.Status != 101 || len(answer.Body) != 0 {
		t.Errorf("answer %+v, error %v", answer, err)
	}
}

// TestErrorsQuoteNothing: the text of an error contains neither the URL with its secret nor
// anything that the receiver sent.
func TestErrorsQuoteNothing(t *testing.T) {
	const marker = "zq-marker-78"
	closed := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		return "http://" + l.Addr().String()
	}()
	none := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server")
	}}
	for _, test := range []struct {
		name, url string
		want      outgoing.Reason
	}{
		{"connection refused", closed, outgoing.ReasonConnect},
		{"unknown name", "https://" + marker + ".example", outgoing.ReasonDNS},
		{"not HTTP", speaking(t, func(conn net.Conn) { _, _ = io.WriteString(conn, marker+"\r\n\r\n") }), outgoing.ReasonBroken},
		{"cut off", speaking(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+marker)
		}), outgoing.ReasonBroken},
		{"closed at once", speaking(t, func(net.Conn) {}), outgoing.ReasonBroken},
		{"bad URL", "https://app.example:x", outgoing.ReasonAddress},
	} {
		c := client(t, outgoing.Options{AllowPrivate: true, Resolver: none, Timeout: time.Minute})
		_, err := c.Post(t.Context(), test.url+"/"+marker+"?"+marker, nil, []byte(marker))
		if reason(t, err) != test.want || strings.Contains(err.Error(), marker) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}

// TestStaleConnection: a server may close a kept-alive connection just when the next request is
// sent on it. The request is sent again, on a new connection.
func TestStaleConnection(t *testing.T) {
	first := make(chan struct{}, 1)
	first <- struct{}{}
	address := speaking(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		select {
		case <-first: // read the next request and close without an answer
			_, _ = conn.Read(make([]byte, 1))
		default:
		}
	})
	c := client(t, outgoing.Options{AllowPrivate: true, Timeout: time.Minute})
	for range 3 {
		if _, err := c.Post(t.Context(), address, nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	var now, most atomic.Int64
	address, _ := receiver(t, func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Millisecond)
		now.Add(-1)
	})
	c := client(t, outgoing.Options{AllowPrivate: true, MaxConnections: 3, Timeout: time.Minute})
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := c.Post(t.Context(), address, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() > 3 {
		t.Errorf("%d requests at once", most.Load())
	}
}
