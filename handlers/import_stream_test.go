package handlers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

// TestImportAnswersAsItGoes checks that results arrive while the request is being sent.
func TestImportAnswersAsItGoes(t *testing.T) {
	w := newWorld(t)
	in := w.openImport()
	for i := range 3 {
		in.send(importable(fmt.Sprintf(`"client_id":"c-%d"`, i)) + "\n" + `{"half":`)
		if r := in.result(); r.Status != 201 || r.Line != int64(2*i+1) {
			t.Fatalf("message %d: %+v", i, r)
		}
		in.send("1}\n")
		if r := in.result(); r.Status != 400 || r.Line != int64(2*i+2) {
			t.Fatalf("other %d: %+v", i, r)
		}
	}
	in.end()
}

// TestDrainEndsAnImport checks that a server that shuts down reports where it stopped.
func TestDrainEndsAnImport(t *testing.T) {
	w := newWorld(t)
	in := w.openImport()
	in.send(importable("") + "\n")
	if r := in.result(); r.Status != 201 {
		t.Fatalf("%+v", r)
	}
	w.server.Drain()
	if r := in.result(); r.Status != 503 || r.Code != "shutting_down" || r.Line != 2 {
		t.Errorf("%+v", r)
	}
	if in.results.Scan() {
		t.Errorf("and then %q", in.results.Text())
	}
}

// openedImport is an import in progress.
type openedImport struct {
	t       testing.TB
	body    *io.PipeWriter
	res     chan *http.Response
	results *bufio.Scanner
}

func (w *world) openImport() *openedImport {
	w.t.Helper()
	r, body := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, w.url+"/v1/admin/import", r)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Authorization", adminOf(w.t))
	in := &openedImport{t: w.t, body: body, res: make(chan *http.Response, 1)}
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			w.t.Error(err)
		}
		in.res <- res
	}()
	w.t.Cleanup(func() { _ = body.Close() })
	return in
}

func (in *openedImport) send(text string) {
	in.t.Helper()
	if _, err := io.WriteString(in.body, text); err != nil {
		in.t.Fatal(err)
	}
}

func (in *openedImport) result() (r result) {
	in.t.Helper()
	if in.results == nil {
		res := <-in.res
		if res == nil || res.StatusCode != http.StatusOK {
			in.t.Fatalf("import: %+v", res)
		}
		in.t.Cleanup(func() { _ = res.Body.Close() })
		in.results = bufio.NewScanner(res.Body)
	}
	if !in.results.Scan() {
		in.t.Fatalf("no more results: %v", in.results.Err())
	}
	if err := json.Unmarshal(in.results.Bytes(), &r); err != nil {
		in.t.Fatal(err)
	}
	return r
}

// end ends the request and expects the end of the results.
func (in *openedImport) end() {
	in.t.Helper()
	if err := in.body.Close(); err != nil {
		in.t.Fatal(err)
	}
	if in.results.Scan() || in.results.Err() != nil {
		in.t.Errorf("after the end: %q %v", in.results.Text(), in.results.Err())
	}
}

// TestImportDropsAClientThatDoesNotRead checks that a client that sends and never reads is
// disconnected, and that the server still works.
func TestImportDropsAClientThatDoesNotRead(t *testing.T) {
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) { o.WriteTimeout = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(await.Limit)); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /v1/admin/import HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n"+
		"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n", adminOf(t))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Repeat("1\n", 10000) // each answer is much longer
	for err == nil {
		_, err = fmt.Fprintf(conn, "%x\r\n%s\r\n", len(lines), lines)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("it was not dropped: %v", err)
	}
	await.Undisturbed(t, 20*time.Millisecond, func() error {
		req := w.adminRequest(http.MethodPost, "/v1/admin/import", importable(""))
		req.Header.Set("Content-Type", "application/x-ndjson")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			return fmt.Errorf("afterwards: %w", err)
		}
		if r := readResults(t, b); len(r) != 1 || r[0].Status != 201 {
			return fmt.Errorf("afterwards: %+v", r)
		}
		return nil
	})
}

// TestImportEndsWithItsClient checks that a client that disconnects within a line leaves
// only its complete lines behind.
func TestImportEndsWithItsClient(t *testing.T) {
	ended := make(chan struct{}, 1)
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.Observe = func(operation string, _ int, _ time.Duration) {
			if operation == "importMessages" {
				ended <- struct{}{}
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, body := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/admin/import", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Authorization", adminOf(t))
	go func() {
		_, _ = io.WriteString(body, importable(`"client_id":"whole"`)+"\n"+importable(`"client_id":"half"`))
	}()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = res.Body.Close()
	select {
	case <-ended:
	case <-time.After(await.Limit):
		t.Fatal("the import goes on without its client")
	}
	if whole := w.export(); !strings.Contains(whole, `"whole"`) || strings.Contains(whole, `"half"`) {
		t.Errorf("stored: %s", whole)
	}
}

// unending is a text of n equal bytes.
type unending struct {
	unit string
	at   int
	n    int64
}

func (e *unending) Read(b []byte) (n int, err error) {
	for n < len(b) && e.n > 0 {
		m := copy(b[n:min(int64(len(b)), int64(n)+e.n)], e.unit[e.at:])
		e.at = (e.at + m) % len(e.unit)
		e.n -= int64(m)
		n += m
	}
	if n == 0 {
		err = io.EOF
	}
	return n, err
}

// TestImportTakesBoundedMemory checks that the memory of an import does not grow with its
// size, in lines or in one endless line.
func TestImportTakesBoundedMemory(t *testing.T) {
	allowed := testsize.Pick[uint64](24<<20, 10<<20)
	total := testsize.Pick[int64](48<<20, 12<<20)
	blank := testsize.Pick("\n", strings.Repeat(" ", 31)+"\n")
	for name, unit := range map[string]string{
		"long lines":   `{"x":"` + strings.Repeat("x", 500<<10) + `"}` + "\n",
		"a line":       strings.Repeat("x", 4096),
		"blank lines":  strings.Repeat(blank, 4096),
		"not accepted": importable(`"body":{"text":"`+strings.Repeat("x", 100<<10)+`"}`) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.importLines(importable("")) // so that everything is allocated that stays
			before := heap()
			most := uint64(0)
			body := &unending{unit: unit, n: total}
			sampled := readerFunc(func(b []byte) (int, error) {
				n, err := body.Read(b)
				if before := body.n + int64(n); before>>22 != body.n>>22 { // every 4 MiB
					most = max(most, heap())
				}
				return n, err
			})
			req, err := http.NewRequest(http.MethodPost, w.url+"/v1/admin/import", sampled)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-ndjson")
			req.Header.Set("Authorization", adminOf(t))
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			if most == 0 {
				t.Fatal("the heap was not measured")
			}
			if most > before+allowed {
				t.Errorf("the heap grew from %d to %d MiB for %d MiB", before>>20, most>>20, total>>20)
			}
		})
	}
}

// heap returns the number of bytes of memory in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
