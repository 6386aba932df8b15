package webhooks_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/nameserver"
	"github.com/imapi/imapi/outgoing"
)

// deadReceiver returns the URL of a receiver that never answers, and a channel that is closed once
// it has a request.
func deadReceiver(t *testing.T) (url string, asked <-chan struct{}) {
	t.Helper()
	release, first := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(first) })
	dead := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { once(); <-release }))
	t.Cleanup(dead.Close)
	t.Cleanup(func() { close(release) })
	return dead.URL, first
}

// A receiver that never answers does not delay other webhooks.
func TestDeadReceiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	url, asked := deadReceiver(t)
	r := newReceiver(t, nil)
	slow := w.hook(url, im.MessageCreated)
	w.hook(r.url, im.MessageCreated)
	w.say("text 0")
	<-asked
	want := []string{"text 0"}
	for i := 1; i < 50; i++ {
		want = append(want, fmt.Sprint("text ", i))
		w.say(want[i])
	}
	w.expect(r, want...)
	if list := w.deliveries(slow.ID, 0); len(list) != 0 {
		t.Errorf("the receiver that never answers has %+v", list)
	}
}

// A request without an answer is counted as late.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, outgoing.Options{AllowPrivate: true, Timeout: 500 * time.Millisecond})
	url, asked := deadReceiver(t)
	slow := w.hook(url, im.MessageCreated)
	w.say("one")
	<-asked
	await.Until(w, "a request has timed out", func() bool {
		list := w.deliveries(slow.ID, im.DeliveryRetrying)
		return len(list) == 1 && list[0].Fault == im.FaultTimeout
	})
}

// An event whose receiver answers nonsense counts as not delivered.
func TestNonsense(t *testing.T) {
	t.Parallel()
	endless := func(line string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		}
	}
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, text) }
	}
	for name, tt := range map[string]struct {
		answer func(net.Conn)
		want   []im.DeliveryFault
	}{
		"nothing":           {func(net.Conn) {}, []im.DeliveryFault{im.FaultResponse}},
		"no HTTP":           {says("SSH-2.0-OpenSSH_9.9\r\n"), []im.DeliveryFault{im.FaultResponse}},
		"half an answer":    {says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), []im.DeliveryFault{im.FaultResponse}},
		"endless headers":   {endless("X-A: " + strings.Repeat("a", 1000) + "\r\n"), []im.DeliveryFault{im.FaultResponse}},
		"an endless body":   {endless("\r\n" + strings.Repeat("a", 1000)), []im.DeliveryFault{im.FaultResponse}},
		"a redirect":        {says("HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), []im.DeliveryFault{im.FaultRedirected}},
		"another protocol":  {says("HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: Upgrade\r\n\r\n"), []im.DeliveryFault{im.FaultFailed, im.FaultResponse}},
		"endless 1xx":       {endless("\r\nHTTP/1.1 103 x\r\nX-A: " + strings.Repeat("a", 1000) + "\r\n"), []im.DeliveryFault{im.FaultResponse, im.FaultTimeout}},
		"a status of 99999": {says("HTTP/1.1 99999 x\r\nContent-Length: 0\r\n\r\n"), []im.DeliveryFault{im.FaultResponse, im.FaultFailed}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, true)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer func() { _ = c.Close() }()
						_, _ = c.Read(make([]byte, 64<<10))
						tt.answer(c)
					}()
				}
			}()
			id := w.hook("http://"+l.Addr().String(), im.MessageCreated).ID
			w.say("one")
			await.Until(w, "an attempt has failed", func() bool { return len(w.deliveries(id, im.DeliveryRetrying)) == 1 })
			if d := w.deliveries(id, im.DeliveryRetrying)[0]; !slices.Contains(tt.want, d.Fault) {
				t.Errorf("the fault is %v, want one of %v", d.Fault, tt.want)
			}
			if v := w.stateOf(id); v.Position >= v.Head {
				t.Errorf("the event counts as delivered: %+v", v)
			}
		})
	}
}

// A private address is refused when the connection is made, even if the URL was allowed when the
// webhook was stored.
func TestPrivateAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	r := newReceiver(t, nil)
	id := w.hook(strings.Replace(r.url, "http://", "https://", 1), im.MessageCreated).ID
	w.say("one")
	await.Until(w, "an attempt has failed", func() bool { return len(w.deliveries(id, im.DeliveryRetrying)) == 1 })
	if d := w.deliveries(id, im.DeliveryRetrying)[0]; d.Fault != im.FaultAddress || len(r.all()) > 0 {
		t.Errorf("the fault is %v, after %d requests", d.Fault, len(r.all()))
	}
}

// A name that had a public address when its webhook was created, and has a private one when it
// is called, leads to no connection.
func TestRebinding(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	_, port, _ := strings.Cut(strings.TrimPrefix(r.url, "http://"), ":")
	resolver, rebind := nameserver.Rebinding(t)
	if first, err := resolver.LookupNetIP(t.Context(), "ip4", "app.example"); err != nil || first[0].String() != "8.8.8.8" {
		t.Fatalf("the first answer: %v, %v", first, err)
	}
	rebind()
	w := newWorldWith(t, outgoing.Options{Timeout: patience, Resolver: resolver})
	id := w.hook("https://app.example:"+port, im.MessageCreated).ID
	w.say("one")
	await.Until(w, "an attempt has failed", func() bool { return len(w.deliveries(id, im.DeliveryRetrying)) == 1 })
	if d := w.deliveries(id, im.DeliveryRetrying)[0]; d.Fault != im.FaultAddress || r.connections.Load() > 0 {
		t.Errorf("the fault is %v, after %d connections", d.Fault, r.connections.Load())
	}
}
