package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

// memoryPeak returns the peak resident memory of a process, in bytes.
func memoryPeak(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// TestUploadsAtOnce uploads a gigabyte over a thousand connections that are all open at once, each
// with the beginning of its file sent. Some uploads run; the others wait or get 503 with
// Retry-After, which their clients respect. In the end all files are stored as they were sent, and
// the memory of the server has not grown with their number or size.
func TestUploadsAtOnce(t *testing.T) {
	t.Parallel()
	const (
		ofUser = 8           // connections
		began  = 60_000      // bytes that each client has sent before the first one sends more
		most   = 160_000_000 // bytes of memory, less than all files together
	)
	connections, size := testsize.Pick(1000, 64), testsize.Pick(1<<20, 4<<20)
	if int64(connections)*int64(size) < 3*most/2 {
		t.Fatal("these files could be in memory")
	}
	s := newServerOf(t, plainBinary, "--attachment-quota", "0", "--rate", "0") // without the race detector, which takes memory
	s.start()
	secret := readSecret(t, s.data)
	tokens := make([]string, (connections+ofUser-1)/ofUser)
	for i := range tokens {
		tokens[i] = mintFor(t, secret, fmt.Sprint("user", i))
	}
	file := func(n int) []byte {
		b := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), 1}).Read(b)
		return b
	}
	shared := file(connections) // files differ only at the beginning, because this process needs memory, too
	var refused, stored atomic.Int64
	var begun, ended sync.WaitGroup
	begun.Add(connections)
	upload := func(n int) error {
		head := fmt.Appendf(nil, "file %d\n", n)
		want := sha256.New()
		want.Write(head)
		want.Write(shared[len(head):])
		first := true
		for {
			retry, hash, err := uploadSlowly(s.addr, tokens[n/ofUser], head, shared, began, func() {
				if first {
					first = false
					begun.Done()
					begun.Wait()
				}
			})
			switch {
			case err != nil:
				return err
			case retry > 0:
				refused.Add(1)
				time.Sleep(retry + time.Duration(rand.Int64N(int64(time.Second))))
			case hash != hex.EncodeToString(want.Sum(nil)):
				return fmt.Errorf("file %d has another hash", n)
			default:
				stored.Add(1)
				return nil
			}
		}
	}
	warm, _, err := uploadSlowly(s.addr, tokens[0], []byte("warm"), shared, began, func() {})
	if err != nil || warm != 0 {
		t.Fatalf("an upload alone: %v", err)
	}
	before := memoryPeak(t, s.process.Process.Pid)
	for n := range connections {
		ended.Go(func() {
			if err := upload(n); err != nil {
				t.Error(err)
			}
		})
	}
	ended.Wait()
	after := memoryPeak(t, s.process.Process.Pid)
	t.Logf("%d uploads of %d bytes: %d stored, %d told to retry; the server's memory peaked at %.1f MB, and at %.1f MB before",
		connections, size, stored.Load(), refused.Load(), float64(after)/1e6, float64(before)/1e6)
	if after-before > most {
		t.Errorf("memory grew by %d bytes, more than %d", after-before, most)
	}
	await.Until(t, "no upload is left unfinished", func() bool {
		list, err := os.ReadDir(s.data + "/blobs/unfinished")
		return err == nil && len(list) == 0
	})
}

// uploadSlowly uploads head and rest as a file. It calls begun when it has sent the first bytes. It
// returns the hash in the server's answer, or the time after which to retry.
func uploadSlowly(addr, token string, head, rest []byte, first int, begun func()) (retry time.Duration, hash string, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		begun()
		return 0, "", err
	}
	defer func() { _ = c.Close() }()
	_, err = fmt.Fprintf(c, "POST /v1/attachments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s%s",
		token, len(rest), head, rest[len(head):first])
	begun()
	if err == nil {
		// A server that refuses the file may close the connection before it has received all of it.
		_, _ = io.Copy(c, bytes.NewReader(rest[first:]))
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct{ SHA256 string }
	switch err := json.NewDecoder(res.Body).Decode(&answer); {
	case err != nil:
		return 0, "", err
	case res.StatusCode == http.StatusCreated:
		return 0, answer.SHA256, nil
	case res.StatusCode != http.StatusServiceUnavailable:
		return 0, "", fmt.Errorf("status %s", res.Status)
	}
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		return 0, "", errors.New("503 without Retry-After")
	}
	return time.Duration(seconds) * time.Second, "", nil
}
