package outgoing_test

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/nameserver"
	"github.com/imapi/imapi/outgoing"
)

// deaf makes 127.0.0.2 drop all packets that would open a connection to a port: nobody accepts the
// connection that fills its queue.
func deaf(t *testing.T, port int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 2}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for refused := 0; refused < 2; {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.2:%d", port), 200*time.Millisecond)
		if err != nil {
			refused++
			continue
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}

// TestAddressThatDoesNotAnswer: a name has two addresses, the first of which does not answer. The
// request reaches the other one within its time.
func TestAddressThatDoesNotAnswer(t *testing.T) {
	_, port := receiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	deaf(t, number)
	c := client(t, outgoing.Options{
		AllowPrivate: true, Timeout: 6 * time.Second,
		Resolver: nameserver.Resolver(t, nameserver.Always("127.0.0.2", "127.0.0.1")),
	})
	await.Undisturbed(t, time.Second, func() error {
		answer, err := c.Post(t.Context(), "http://two.example:"+port+"/", nil, nil)
		if err == nil && answer.Status != http.StatusNoContent {
			err = fmt.Errorf("status %d", answer.Status)
		}
		return err
	})
}
