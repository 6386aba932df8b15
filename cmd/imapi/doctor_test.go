package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

// serveHTTP runs a handler and returns its URL.
func serveHTTP(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// findings runs imapi doctor and returns what it prints, by check. For a check with several
// findings it has the worst.
func findings(s *server, environment []string, args ...string) (map[string]finding, ran) {
	s.t.Helper()
	// Only the test of heartbeats waits for one.
	environment = append([]string{"IMAPI_STREAM_WAIT=0"}, environment...)
	r := s.runIn(environment, "", append([]string{"doctor", "--json"}, args...)...)
	found := make(map[string]finding)
	order := map[string]int{"ok": 1, "skipped": 1, "warning": 2, "failure": 3}
	failures := false
	for line := range strings.Lines(r.out) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		if order[f.Result] == 0 || f.Text == "" || order[f.Result] > 1 && f.Next == "" {
			s.t.Errorf("a finding without result, text or advice: %+v", f)
		}
		failures = failures || f.Result == "failure"
		if order[f.Result] >= order[found[f.Check].Result] {
			found[f.Check] = f
		}
	}
	if failures != (r.status == 1) {
		s.t.Errorf("exit status %d, and it prints\n%s", r.status, r.out)
	}
	return found, r
}

func TestDoctorFindsNothing(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	wait := testsize.Pick("60s", "0")
	found, r := findings(s, nil, "--stream-wait", wait)
	for _, check := range []string{"configuration", "directory", "database", "server", "clock", "token", "stream"} {
		if f := found[check]; f.Result != "ok" {
			t.Errorf("%s: %+v", check, f)
		}
	}
	if want := testsize.Pick("ok", "skipped"); found["heartbeat"].Result != want {
		t.Errorf("%+v, want %s", found["heartbeat"], want)
	}
	if f := found["time service"]; f.Result != "ok" && f.Result != "skipped" { // depends on whether this machine has one
		t.Errorf("%+v", f)
	}
	if r.status != 0 {
		t.Errorf("exit status %d: %s", r.status, r.diag)
	}
	// The report for people.
	if r := s.run("", "doctor", "--stream-wait", "0"); r.status != 0 || !strings.Contains(r.out, "ok       server         http://"+s.addr+" is ready") {
		t.Errorf("%+v", r)
	}
	// Without a server it opens the data itself.
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	found, r = findings(s, nil)
	if found["database"].Result != "ok" || found["server"].Result != "skipped" || r.status != 0 {
		t.Errorf("%+v", r)
	}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	stopped := stoppedServer(t)
	lost, newer, foreign, readable := withoutKeys(t), ofNewerVersion(t), withForeignDatabase(t), readableByOthers(t)
	old := expiredToken(t, s)
	cert, key := selfSigned(t, time.Now().Add(24*time.Hour))
	past, pastKey := selfSigned(t, time.Now().Add(-time.Hour))
	direct := "http://" + s.addr

	for name, test := range map[string]struct {
		s           *server
		environment []string
		args        []string
		check       string
		result      string
		says        string // in the text or the advice
	}{
		"a flag out of range":            {s, nil, []string{"--max-members", "1"}, "configuration", "failure", "--max-members"},
		"an invalid origin":              {s, nil, []string{"--cors-origins", "example.com"}, "configuration", "failure", "has no scheme"},
		"a missing key":                  {s, nil, []string{"--auth-algorithm", "ES256", "--auth-public-key", "/none", "--server", direct}, "configuration", "failure", "--auth-public-key"},
		"an expired certificate":         {s, nil, []string{"--tls-cert", past, "--tls-key", pastKey}, "configuration", "failure", "has expired"},
		"a certificate about to expire":  {s, nil, []string{"--tls-cert", cert, "--tls-key", key}, "configuration", "warning", "expires at"},
		"the key of another certificate": {s, nil, []string{"--tls-cert", cert, "--tls-key", pastKey}, "configuration", "failure", "--tls-cert"},
		"a misspelt variable":            {s, []string{"IMAPI_RETENSION=7d"}, nil, "configuration", "warning", "IMAPI_RETENSION"},
		"no directory":                   {s, nil, []string{"--data", "/nowhere"}, "directory", "warning", "does not exist"},
		"a file for a directory":         {s, nil, []string{"--data", filepath.Join(s.data, "imapi.db")}, "directory", "failure", "not a directory"},
		"readable by others":             {readable, nil, nil, "directory", "warning", "chmod 600 " + filepath.Join(readable.data, "token.secret")},
		"a database of PostgreSQL":       {stopped, nil, []string{"--database", "postgres://x"}, "database", "failure", "PostgreSQL"},
		"lost keys":                      {lost, nil, nil, "database", "failure", "the key file is missing"},
		"a newer schema":                 {newer, nil, nil, "database", "failure", "version 999"},
		"another program's database":     {foreign, nil, nil, "database", "failure", "not an imapi database"},
		"no server":                      {stopped, nil, []string{"--server", "http://" + stopped.addr}, "server", "failure", "no server answers"},
		"a server that is not imapi":     {s, nil, []string{"--server", serveHTTP(t, http.NotFoundHandler())}, "server", "failure", "404"},
		"no token":                       {s, nil, []string{"--server", direct}, "token", "warning", "set IMAPI_TOKEN"},
		"an expired token":               {s, []string{"IMAPI_TOKEN=" + old}, nil, "token", "failure", "expired"},
		"a malformed token":              {s, nil, []string{"--token", "secret"}, "token", "failure", "three parts"},
		"another server's token":         {s, nil, []string{"--token", stopped.token("alice")}, "token", "failure", "--auth-algorithm"},
		"a clock that is behind":         {s, nil, []string{"--server", proxy(t, s, dated(-2*time.Hour))}, "clock", "failure", "differ by"},
		"a clock that is ahead":          {s, nil, []string{"--server", proxy(t, s, dated(50*time.Second))}, "clock", "warning", "run NTP"},
		"a proxy that buffers":           {s, nil, []string{"--as", "alice", "--server", proxy(t, s, buffering)}, "stream", "failure", "a proxy buffers it"},
		"a proxy that compresses":        {s, nil, []string{"--as", "alice", "--server", proxy(t, s, compressing)}, "stream", "failure", "compresses"},
		"an impatient proxy":             {s, nil, []string{"--as", "alice", "--stream-wait", "1m", "--server", proxy(t, s, impatient)}, "heartbeat", "failure", "timeout"},
		"a slow heartbeat":               {s, nil, []string{"--as", "alice", "--stream-wait", "1ms"}, "heartbeat", "failure", "none arrived"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, r := findings(test.s, test.environment, test.args...)
			f := found[test.check]
			if f.Result != test.result || !strings.Contains(f.Text+f.Next, test.says) {
				t.Errorf("%+v, want a %s with %q; all:\n%s%s", f, test.result, test.says, r.out, r.diag)
			}
			if strings.Contains(r.out, old) || strings.Contains(r.out, "\x1b") {
				t.Errorf("it prints the token:\n%s", r.out)
			}
		})
	}
	for _, args := range [][]string{{"--stream-wait", "-1s"}, {"--server", "x"}, {"--as", "a", "--token", "b"}} {
		if r := s.run("", append([]string{"doctor"}, args...)...); args[0] != "--as" && r.status != 2 {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// stoppedServer returns a server that has run.
func stoppedServer(t *testing.T) *server {
	t.Helper()
	s := startServer(t)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	return s
}

// withoutKeys returns a stopped server whose key file was lost.
func withoutKeys(t *testing.T) *server {
	t.Helper()
	s := startServer(t)
	if _, err := say(t.Context(), s.client("alice", ""), "@bob", "", "hi"); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.data, "keys")); err != nil {
		t.Fatal(err)
	}
	return s
}

// ofNewerVersion returns a stopped server with a database whose schema has version 999.
func ofNewerVersion(t *testing.T) *server {
	t.Helper()
	s := stoppedServer(t)
	patch(t, filepath.Join(s.data, "imapi.db"), 60, []byte{0, 0, 3, 0xe7})
	return s
}

// withForeignDatabase returns a server that has not run, with a file that is no database.
func withForeignDatabase(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.data, "imapi.db"), bytes.Repeat([]byte("x"), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// readableByOthers returns a server whose directory and secret other users can read.
func readableByOthers(t *testing.T) *server {
	t.Helper()
	s := startServer(t)
	for path, mode := range map[string]os.FileMode{s.data: 0o755, filepath.Join(s.data, secretFile): 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// expiredToken returns a token of alice that expired an hour ago.
func expiredToken(t *testing.T, s *server) string {
	t.Helper()
	token, err := auth.Mint(readSecret(t, s.data), auth.Grant{User: "alice", TTL: time.Hour}, time.Now().Add(-2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestCheckTimeService(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		synchronized bool
		err          error
		result, says string
	}{
		"a time service":     {true, nil, "ok", "a time service sets this machine's clock"},
		"none":               {false, nil, "skipped", "run NTP"},
		"an unknown machine": {false, errors.ErrUnsupported, "skipped", "does not tell"},
	} {
		var out bytes.Buffer
		r := &report{ctx: t.Context(), out: &out, asJSON: true}
		checkTimeService(r, func() (bool, error) { return test.synchronized, test.err })
		var f finding
		if err := json.Unmarshal(out.Bytes(), &f); err != nil || f.Check != "time service" || f.Result != test.result || !strings.Contains(f.Text, test.says) {
			t.Errorf("%s: %s, %v", name, &out, err)
		}
	}
}

// patch overwrites bytes of a file.
func patch(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// selfSigned returns the files of a certificate for localhost that is valid until a time.
func selfSigned(t *testing.T, end time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: end.Add(-48 * time.Hour), NotAfter: end,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// proxy runs a proxy in front of a server that changes its answers.
func proxy(t *testing.T, s *server, change func(*http.Response) error) string {
	t.Helper()
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.addr})
	p.FlushInterval = -1
	p.ModifyResponse = change
	p.ErrorLog = nil
	return serveHTTP(t, p)
}

// dated sets the Date header of answers to another time.
func dated(off time.Duration) func(*http.Response) error {
	return func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		return nil
	}
}

// body replaces the body of a stream by what fn makes of it.
func body(r *http.Response, fn func(in io.Reader, out io.Writer)) {
	if r.Header.Get("Content-Type") != "text/event-stream" {
		return
	}
	in := r.Body
	reader, writer := io.Pipe()
	go func() {
		fn(in, writer)
		_ = writer.Close()
	}()
	r.Body = struct {
		io.Reader
		io.Closer
	}{reader, in}
}

// buffering passes a stream on in pieces of 64 KiB.
func buffering(r *http.Response) error {
	body(r, func(in io.Reader, out io.Writer) {
		block := make([]byte, 64<<10)
		for {
			n, err := io.ReadFull(in, block)
			if err != nil {
				return
			}
			_, _ = out.Write(block[:n])
		}
	})
	return nil
}

// compressing compresses a stream.
func compressing(r *http.Response) error {
	body(r, func(in io.Reader, out io.Writer) {
		z := gzip.NewWriter(out)
		_, _ = io.Copy(z, in)
		_ = z.Close()
	})
	if r.Header.Get("Content-Type") == "text/event-stream" {
		r.Header.Set("Content-Encoding", "gzip")
	}
	return nil
}

// impatient ends a stream after the first event.
func impatient(r *http.Response) error {
	body(r, func(in io.Reader, out io.Writer) {
		for lines, event := bufio.NewReader(in), false; ; {
			line, err := lines.ReadString('\n')
			_, _ = io.WriteString(out, line)
			if event = event || strings.HasPrefix(line, "data: "); err != nil || event && line == "\n" {
				return
			}
		}
	})
	return nil
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t, time.Now().Add(24*time.Hour))
	s := newServer(t, "--tls-cert", cert, "--tls-key", key)
	if r := s.run("", "healthcheck"); r.status != 1 || !strings.Contains(r.diag, "no server runs on") {
		t.Errorf("before the first start: %+v", r)
	}
	// Nobody trusts the certificate, which must not matter.
	s.startProcess()
	await.Until(t, "the server is healthy", func() bool { return s.run("", "healthcheck").status == 0 })
	if r := s.run("", "healthcheck"); r.status != 0 || r.out != "ready\n" {
		t.Errorf("%+v", r)
	}
	if r := s.run("", "healthcheck", "--server", "https://"+s.addr); r.status != 1 || !strings.Contains(r.diag, "certificate") {
		t.Errorf("%+v", r)
	}
	// A process that hangs is not healthy.
	if err := s.process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if r := s.run("", "healthcheck", "--timeout", "300ms"); r.status != 1 || !strings.Contains(r.diag, "did not answer in time") {
		t.Errorf("of a server that hangs: %+v", r)
	}
	if err := s.process.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.kill() // its control file stays
	if r := s.run("", "healthcheck"); r.status != 1 || !strings.Contains(r.diag, "no server answers") {
		t.Errorf("after a crash: %+v", r)
	}
	if r := s.run("", "healthcheck", "--timeout", "0"); r.status != 2 {
		t.Errorf("%+v", r)
	}
}

// TestHealthcheckThatStoodStill checks that a command that stood still for longer than its limit
// takes the answer that came in the meantime.
func TestHealthcheckThatStoodStill(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	s := startServer(t)
	started := make(chan *os.Process, 1)
	url := proxy(t, s, func(*http.Response) error {
		standStill(t, <-started, limit+limit/4)
		return nil
	})
	command := exec.Command(s.bin, "healthcheck", "--timeout", limit.String(), "--server", url)
	var out syncBuffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	started <- command.Process
	if err := command.Wait(); err != nil || out.String() != "ready\n" {
		t.Errorf("%v: %s", err, &out)
	}
}

// TestOnlyTheUserCanReadTheControlFile is about the file with the server's address and the key of
// its commands.
func TestOnlyTheUserCanReadTheControlFile(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	info, err := os.Stat(filepath.Join(s.data, controlName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	c, ok := readControl(s.data)
	if !ok || c.Serves != "http://"+s.addr || c.Version != version {
		t.Errorf("%+v", c)
	}
	// Without the key the listener reveals nothing.
	res, err := http.Get(c.URL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the key: %s", res.Status)
	}
}
