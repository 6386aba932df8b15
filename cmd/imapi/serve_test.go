package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/storage"
)

func readSecret(t testing.TB, data string) []byte {
	t.Helper()
	secret, err := auth.LoadOrCreateSecret(filepath.Join(data, secretFile))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func mintFor(t testing.TB, secret []byte, user string) string {
	t.Helper()
	token, err := auth.Mint(secret, auth.Grant{User: im.UserID(user), TTL: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestFirstStartCreatesWhatItNeeds(t *testing.T) {
	s := newServer(t)
	s.start()
	token := s.token("alice")
	for path, mode := range map[string]os.FileMode{
		s.data:                              0o700,
		filepath.Join(s.data, secretFile):   0o600,
		filepath.Join(s.data, "imapi.db"):   0o600,
		filepath.Join(s.data, "imapi.lock"): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%s is %v, want %v", path, info.Mode().Perm(), mode)
		}
	}
	if _, err := s.clientWith(token, "").ListConversationsWithResponse(context.Background(), &client.ListConversationsParams{}); err != nil {
		t.Error(err)
	}
	await.Until(t, "the greeting is printed", func() bool { return strings.Contains(s.out.String(), "the demo") })
	for _, want := range []string{"listens on http://" + s.addr, "token --user alice --data " + s.data, "the demo: http://" + s.addr + "/"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("the greeting lacks %q:\n%s", want, s.out)
		}
	}
}

func TestDataDirectoryHasOneOwner(t *testing.T) {
	s := startServer(t)
	second := exec.Command(s.bin, "serve", "--listen", "127.0.0.1:0", "--data", s.data)
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), s.data) {
		t.Errorf("a second server on the same data: %v, %s", err, out)
	}
	if s.token("alice") == "" {
		t.Error("no token while the server runs")
	}
}

func TestSIGTERMDrainsWithStreamsOpen(t *testing.T) {
	s := newRacedServer(t)
	s.start()
	ctx := context.Background()
	token := s.token("bob")
	var streams []io.ReadCloser
	for range 10 {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/v1/events", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, res.Body)
	}
	dataStream, push := openDataStream(t, s, token)
	if err := s.stop(); err != nil {
		t.Errorf("the server ended with %v; log:\n%s", err, s.log)
	}
	if b, err := io.ReadAll(dataStream); err != nil || !bytes.HasSuffix(b, []byte("event: stream.ended\ndata: {\"reason\":\"server\"}\n\n")) {
		t.Errorf("the reader of a data stream got %q, %v", b, err)
	}
	if status := <-push; status != http.StatusServiceUnavailable {
		t.Errorf("the request that pushes was answered %d", status)
	}
	if strings.Contains(s.log.String(), "requests were cut off") {
		t.Errorf("the streams did not end by themselves; log:\n%s", s.log)
	}
	for _, body := range streams {
		b, err := io.ReadAll(body)
		if err != nil {
			t.Errorf("a stream was torn, not ended: %v", err)
		}
		if !bytes.Contains(b, []byte("event: ready")) {
			t.Errorf("the stream was %q", b)
		}
	}
	s.start()
}

// TestLogHoldsNoContentAndNoSecrets makes requests of all kinds while the server logs at the most
// verbose level, and searches the log for their content and secrets.
func TestLogHoldsNoContentAndNoSecrets(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			s := startServer(t, "--log-format", format)
			token := s.token("marker-user-alice")
			c := s.clientWith(token, "marker-device")
			ctx := context.Background()
			if _, err := say(ctx, c, "@bob", "marker-client", "marker-content"); err != nil {
				t.Fatal(err)
			}
			ticket, err := c.CreateTicketWithResponse(ctx, &client.CreateTicketParams{})
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{
				"/v1/events?cursor=marker-cursor&ticket=" + ticket.JSON201.Ticket,
				"/v1/events?ticket=marker-ticket", "/v1/marker-path?marker=query", "/v1/conversations/@marker-peer",
			} {
				res, err := http.Get("http://" + s.addr + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
			}
			bad, _ := http.NewRequest(http.MethodPost, "http://"+s.addr+"/v1/conversations/@bob/messages", strings.NewReader(`{"type":"text","body":{"marker-member":"marker-value"}}`))
			bad.Header.Set("Authorization", "Bearer "+token)
			bad.Header.Set("Content-Type", "application/json")
			if res, err := http.DefaultClient.Do(bad); err == nil {
				_ = res.Body.Close()
			}
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			log := s.log.String() + s.out.String()
			if !strings.Contains(log, "sendMessage") {
				t.Fatalf("nothing was logged:\n%s", log)
			}
			for _, secret := range []string{"marker", token, ticket.JSON201.Ticket, strings.Split(token, ".")[2]} {
				if strings.Contains(log, secret) {
					t.Errorf("the log holds %q:\n%s", secret, log)
				}
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	s := startServer(t)
	c := s.client("alice", "")
	live := follow(t.Context(), t, s.client("bob", ""))
	if _, err := say(context.Background(), c, "@bob", "", "x"); err != nil {
		t.Fatal(err)
	}
	<-live
	<-live
	want := []*regexp.Regexp{
		regexp.MustCompile(`(?m)^imapi_requests_total{operation="sendMessage",status="201"} 1$`),
		regexp.MustCompile(`(?m)^imapi_commit_batch_size_count [1-9]`),
		regexp.MustCompile(`(?m)^imapi_commit_duration_seconds_count [1-9]`),
		regexp.MustCompile(`(?m)^imapi_streams 1$`),
		regexp.MustCompile(`(?m)^imapi_events_delivered_total 2$`),
		regexp.MustCompile(`(?m)^imapi_event_lag_seconds_count 2$`),
		regexp.MustCompile(`(?m)^imapi_build_info{version="dev"} 1$`),
	}
	// A stream is counted only after it has written.
	await.Until(t, "the metrics are complete", func() bool {
		res, err := http.Get("http://" + s.addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(want, func(line *regexp.Regexp) bool { return !line.Match(b) })
	})
	side := startServer(t, "--metrics-listen", "127.0.0.1:0")
	if res, err := http.Get("http://" + side.addr + "/metrics"); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("metrics are served on the main address too: %v %v", res, err)
	}
}

// TestHTTP2 checks that streams work over HTTP/2, with and without TLS.
func TestHTTP2(t *testing.T) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir)
	for name, c := range map[string]struct {
		args   []string
		scheme string
	}{
		"h2c": {nil, "http"},
		"TLS": {[]string{"--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem")}, "https"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c.args...)
			protocols := new(http.Protocols)
			protocols.SetHTTP2(true)
			protocols.SetUnencryptedHTTP2(true)
			transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: roots}}
			t.Cleanup(transport.CloseIdleConnections)
			browser := &http.Client{Transport: transport}
			if c.scheme == "http" {
				s.start()
			} else {
				s.process = exec.Command(s.bin, append([]string{"serve", "--listen", s.addr, "--data", s.data}, s.args...)...)
				s.process.Stdout, s.process.Stderr = s.out, s.log
				if err := s.process.Start(); err != nil {
					t.Fatal(err)
				}
				await.Until(t, "the server is ready", func() bool {
					res, err := browser.Get("https://" + s.addr + "/readyz")
					if err == nil {
						_ = res.Body.Close()
					}
					return err == nil
				})
			}
			// Open more streams than the six connections of a browser over HTTP/1.
			for i := range 20 {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, c.scheme+"://"+s.addr+"/v1/events", nil)
				req.Header.Set("Authorization", "Bearer "+mintFor(t, readSecret(t, s.data), "bob"))
				res, err := browser.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = res.Body.Close() })
				if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
					t.Fatalf("stream %d: %s %s", i, res.Proto, res.Status)
				}
				b := make([]byte, 6)
				if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "retry:" {
					t.Fatalf("stream %d began with %q, %v", i, b, err)
				}
			}
		})
	}
}

func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "imapi"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

func TestPublicKeyAlgorithm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeCertificate(t, dir)
	s := startServer(t, "--auth-algorithm", "ES256", "--auth-public-key", filepath.Join(dir, "cert.pem"))
	// A token with the algorithm of the secret is then refused, even one that the server signed.
	req, _ := http.NewRequest(http.MethodGet, "http://"+s.addr+"/v1/conversations", nil)
	req.Header.Set("Authorization", "Bearer "+mintFor(t, readSecret(t, dataDir(t)), "alice"))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("an HS256 token: %s", res.Status)
	}
}

// TestRateByDefault checks that the default server limits a user to 100 requests a second
// with bursts of 200, and that it counts refusals.
func TestRateByDefault(t *testing.T) {
	if c, err := parseConfig(nil, io.Discard); err != nil || c.rate != 100 || c.trustedProxies != nil {
		t.Errorf("by default %v, %v, %v", c.rate, c.trustedProxies, err)
	}
	s := startServer(t, "--rate", "0.001/s", "--trusted-proxies", "10.0.0.1, ::1/128")
	get := func(path, token string) (int, string) {
		t.Helper()
		req, _ := http.NewRequest(http.MethodGet, "http://"+s.addr+path, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	alice := s.token("alice")
	for _, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		if status, body := get("/v1/blocks", alice); status != want {
			t.Errorf("got %d %s, want %d", status, body, want)
		}
	}
	for _, want := range []int{http.StatusUnauthorized, http.StatusTooManyRequests} {
		if status, body := get("/v1/blocks", "x"); status != want {
			t.Errorf("got %d %s, want %d", status, body, want)
		}
	}
	_, counters := get("/metrics", "")
	for _, by := range []string{"user", "address"} {
		if line := `imapi_rate_limited_total{by="` + by + `"} 1`; !strings.Contains(counters, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// TestRateOfCommands checks that commands have a limit of their own, 20 a second by default, which
// applies neither to messages nor to admins.
func TestRateOfCommands(t *testing.T) {
	if c, err := parseConfig(nil, io.Discard); err != nil || c.commandRate != 20 {
		t.Errorf("by default %v, %v", c.commandRate, err)
	}
	s := startServer(t, "--command-rate", "0.001/s")
	send := func(token, body string) (int, string) {
		t.Helper()
		req, _ := http.NewRequest(http.MethodPost, "http://"+s.addr+"/v1/conversations/@bob/messages", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode, res.Header.Get("Retry-After")
	}
	const message, command = `{"type":"text","body":{"text":"hi"}}`, `{"type":"command","body":{"action":"typing"}}`
	alice, admin := s.token("alice"), s.token("alice", "--admin")
	for i, c := range []struct {
		token, body string
		want        int
	}{
		{alice, message, http.StatusCreated},
		{alice, command, http.StatusAccepted},
		{alice, command, http.StatusTooManyRequests},
		{alice, message, http.StatusCreated},
		{admin, command, http.StatusAccepted},
		{admin, command, http.StatusAccepted},
	} {
		status, wait := send(c.token, c.body)
		if status != c.want {
			t.Errorf("%d: got %d, want %d", i, status, c.want)
		}
		if seconds, _ := strconv.Atoi(wait); (status == http.StatusTooManyRequests) != (seconds > 0) {
			t.Errorf("%d: Retry-After %q with %d", i, wait, status)
		}
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) (status int, out, diag string) {
		var o, d bytes.Buffer
		status = dispatch(t.Context(), args, &o, &d)
		return status, o.String(), d.String()
	}
	t.Run("refuses", func(t *testing.T) {
		for _, c := range []struct{ name, says string }{
			{"", "usage"},
			{"nothing", "unknown command"},
			{"serve --nothing", "-nothing"},
			{"serve extra", "extra"},
			{"serve --tls-cert x", "--tls-key"},
			{"serve --synchronous off", "--synchronous"},
			{"serve --log-format xml", "--log-format"},
			{"serve --log-level loud", "log-level"},
			{"serve --max-message-bytes 2999", "--max-message-bytes"},
			{"serve --event-retention 0", "--event-retention"},
			{"serve --client-id-retention 167h", "--client-id-retention"},
			{"serve --event-retention 169h", "--client-id-retention"},
			{"serve --rate fast", "-rate"},
			{"serve --rate -1/s", "-rate"},
			{"serve --rate NaN", "-rate"},
			{"serve --command-rate -1/s", "-command-rate"},
			{"serve --trusted-proxies proxy.example", "-trusted-proxies"},
			{"serve --trusted-proxies 10.0.0.0/40", "-trusted-proxies"},
			{"serve --auth-algorithm RS256", "--auth-public-key"},
			{"serve --auth-leeway 11m", "--auth-leeway"},
			{"serve --cors-origins app.example", "no scheme"},
			{"serve --cors-origins https://app.example,b.example", `"b.example" has no scheme`},
			{"serve --cors-origins localhost:3000", "no scheme"},
			{"serve --cors-origins https://app.example/", "slash"},
			{"serve --cors-origins https://app.example/path", "more than a scheme, a host and a port"},
			{"serve --cors-origins https://app.example?q", "more than a scheme, a host and a port"},
			{"serve --cors-origins https://me@app.example", "more than a scheme, a host and a port"},
			{"serve --cors-origins https://", "no valid host"},
			{"serve --cors-origins https://app.example:x", "no valid host"},
			{"serve --cors-origins https://app.example:443", "port"},
			{"serve --cors-origins http://app.example:80", "port"},
			{"serve --cors-origins https://bücher.example", "ASCII"},
			{"serve --cors-origins https://*.*.example", "*"},
			{"serve --auth-public-key x", "HS256"},
			{"serve --presend-url https://app.example/", "--presend-secret"},
			{"serve --presend-secret x", "--presend-url"},
			{"serve --presend-url http://8.8.8.8/ --presend-secret x", "https://"},
			{"serve --presend-url https://169.254.169.254/ --presend-secret x", "no receiver"},
			{"serve --presend-timeout 11s", "--presend-timeout"},
			{"serve --presend-fail maybe", "--presend-fail"},
			{"serve --presend-at-once 0", "--presend-at-once"},
			{"serve --presend-types text,command", "--presend-types"},
			{"serve --presend-types text,text", "--presend-types"},
			{"serve --presend-kinds space", "--presend-kinds"},
			{"token", "--user"},
			{"token --user ..", "--user"},
			{"token --user a --ttl 0", "--ttl"},
			{"token --user a --device é", "--device"},
		} {
			status, out, diag := run(strings.Fields(c.name)...)
			if status != 2 || out != "" || !strings.Contains(diag, c.says) {
				t.Errorf("%q: %d %q %q", c.name, status, out, diag)
			}
		}
	})
	t.Run("helps", func(t *testing.T) {
		for _, c := range everyCommand() {
			status, _, diag := run(c.name, "--help")
			if status != 0 || !strings.Contains(diag, "usage: imapi "+c.name) {
				t.Errorf("%s: %d %q", c.name, status, diag)
			}
		}
		if _, _, diag := run("serve", "--help"); !strings.Contains(diag, "IMAPI_LISTEN") {
			t.Errorf("the help lacks environment variables:\n%s", diag)
		}
		if status, out, _ := run("help"); status != 0 || !strings.Contains(out, "serve") {
			t.Errorf("help: %d %q", status, out)
		}
	})
	t.Run("version", func(t *testing.T) {
		for _, arg := range []string{"version", "--version", "-version"} {
			if status, out, diag := run(arg); status != 0 || out != "imapi "+version+"\n" || diag != "" {
				t.Errorf("%s: %d %q %q", arg, status, out, diag)
			}
		}
	})
	t.Run("an error is reported without the help", func(t *testing.T) {
		for _, args := range []string{
			"serve --nothing", "serve --max-members many", "serve --log-level loud", "serve extra", "token --nothing", "token",
			"import --nothing", "export --nothing", "retention --nothing", "version --nothing", "serve --cors-origins a.example",
		} {
			status, out, diag := run(strings.Fields(args)...)
			command, _, _ := strings.Cut(args, " ")
			if status != 2 || out != "" || strings.Count(diag, "\n") != 1 || !strings.HasPrefix(diag, "imapi "+command+": ") ||
				!strings.HasSuffix(diag, "(imapi "+command+" --help)\n") {
				t.Errorf("%s: %d %q %q", args, status, out, diag)
			}
		}
	})
	t.Run("help names the value of a flag", func(t *testing.T) {
		// The word appears in the usage for the value, so it must name the kind of value.
		kinds := []string{
			"address", "age", "algorithm", "audience", "cursor", "directory", "duration", "file", "format", "id", "issuer", "level", "list",
			"mode", "number", "origins", "path", "policy", "time", "token", "URL", "user",
		}
		for _, c := range everyCommand() {
			_, _, diag := run(c.name, "--help")
			for _, m := range regexp.MustCompile(`(?m)^  --(\S+) (\S*)$`).FindAllStringSubmatch(diag, -1) {
				isSwitch := m[2] == "" && slices.Contains([]string{"accept-lost-keys", "admin", "docs", "dry-run", "follow", "json"}, m[1])
				if !isSwitch && !slices.Contains(kinds, m[2]) {
					t.Errorf("%s --%s %s: not a kind of value", c.name, m[1], m[2])
				}
			}
		}
	})
	t.Run("token is alone on stdout", func(t *testing.T) {
		t.Setenv("IMAPI_DATA", dataDir(t))
		status, out, diag := run("token", "--user", "alice")
		if status != 0 || diag != "" || !regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+\n$`).MatchString(out) {
			t.Errorf("%d %q %q", status, out, diag)
		}
	})
	t.Run("a flag wins over the environment", func(t *testing.T) {
		t.Setenv("IMAPI_DATA", filepath.Join(dir, "loses"))
		if status, _, diag := run("token", "--user", "alice", "--data", dataDir(t)); status != 0 {
			t.Error(diag)
		}
	})
	t.Run("a bad variable is named without its value", func(t *testing.T) {
		t.Setenv("IMAPI_TTL", "hunter2")
		status, _, diag := run("token", "--user", "alice", "--data", dir)
		if status != 2 || !strings.Contains(diag, "IMAPI_TTL") || strings.Contains(diag, "hunter2") {
			t.Errorf("%d %q", status, diag)
		}
	})
}

// everyCommand returns the commands of all groups.
func everyCommand() (all []command) {
	for _, g := range groups() {
		all = append(all, g.commands...)
	}
	return all
}

// TestStartsWhateverTheReadLimit checks that the shortest --read-limit does not prevent a start,
// however much there is to read.
func TestStartsWhateverTheReadLimit(t *testing.T) {
	const cuts = 5000
	s := newServer(t, "--read-limit", "1ns")
	store, err := storage.Open(t.Context(), "", storage.Options{DataDir: s.data, Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	err = store.Write(t.Context(), func(tx im.Tx) error {
		for i := range cuts {
			cut := im.TokenCut{User: im.UserID(fmt.Sprint("user", i)), At: time.Now().Add(time.Hour)}
			if err := tx.CutTokens(cut); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	s.start()
	for _, user := range []string{"user0", "user4999"} {
		if status, answer := s.device(user, "").ask(http.MethodGet, "/v1/conversations", ""); status != http.StatusUnauthorized ||
			!strings.Contains(string(answer), "token_cut_off") {
			t.Errorf("%s: %d %s", user, status, answer)
		}
	}
	if status, answer := s.device("alice", "").ask(http.MethodGet, "/v1/conversations", ""); status != http.StatusServiceUnavailable {
		t.Errorf("a read of a request: %d %s", status, answer)
	}
}

// TestClockGuard checks that a server whose clock jumped ahead reports that wherever an operator
// may look.
func TestClockGuard(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--clock-guard", "90m")
	store, err := storage.Open(t.Context(), "", storage.Options{DataDir: s.data, Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	err = store.Write(t.Context(), func(tx im.Tx) error { return tx.PutClockSeen(time.Now().Add(-48 * time.Hour)) })
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	s.start()
	var ready struct {
		Status  string
		Details struct {
			Jumped int64 `json:"clock_jumped_seconds"`
			Held   int64 `json:"removal_held_seconds"`
		}
	}
	status, answer := s.device("alice", "").ask(http.MethodGet, "/readyz", "")
	if err := json.Unmarshal(answer, &ready); err != nil || status != http.StatusOK || ready.Status != "ok" ||
		ready.Details.Jumped < 48*3600 || ready.Details.Held < 3600 || ready.Details.Held > 90*60 {
		t.Errorf("readyz: %d %s", status, answer)
	}
	_, answer = s.device("alice", "").ask(http.MethodGet, "/metrics", "")
	if text := string(answer); !strings.Contains(text, "\nimapi_clock_guard_seconds 5") { // and some digits more
		t.Errorf("metrics: %s", text)
	}
	if status, _, diag := s.command("", "retention"); status != 1 || !strings.Contains(diag, "clock_jumped") {
		t.Errorf("imapi retention: exit %d: %s", status, diag)
	}
	deadline := time.Now().Add(patience)
	for !strings.Contains(s.log.String(), "THE CLOCK JUMPED AHEAD") {
		if time.Now().After(deadline) {
			t.Fatalf("the log:\n%s", s.log)
		}
		runtime.Gosched()
	}
}

// openDataStream starts a data stream. It returns the response of a reader, and a channel for the
// status of a request that pushes to it until the server stops.
func openDataStream(t *testing.T, s *server, token string) (reading io.Reader, push chan int) {
	t.Helper()
	do := func(method, path, contentType string, body io.Reader) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+path, body)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", contentType)
		return http.DefaultClient.Do(req)
	}
	res, err := do(http.MethodPost, "/v1/streams", "application/json", strings.NewReader(`{"access":"anyone"}`))
	if err != nil {
		t.Fatal(err)
	}
	var started struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&started); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	path := "/v1/streams/" + started.ID
	reader, err := do(http.MethodGet, path+"/events", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Body.Close() })
	in, out := io.Pipe()
	t.Cleanup(func() { _ = out.Close() })
	push = make(chan int, 1)
	go func() {
		res, err := do(http.MethodPost, path+"/frames", "application/x-ndjson", in)
		if err != nil {
			push <- 0
			return
		}
		_ = res.Body.Close()
		push <- res.StatusCode
	}()
	if _, err := io.WriteString(out, `{"text":"x"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	first := bufio.NewReader(reader.Body)
	for line := ""; !strings.HasPrefix(line, "data:"); {
		if line, err = first.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return first, push
}

// TestStreamsOff checks that --streams=off refuses every operation of data streams.
func TestStreamsOff(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--streams=off")
	token := s.token("alice")
	for _, c := range [][2]string{
		{"POST", "/v1/streams"},
		{"GET", "/v1/streams"},
		{"GET", "/v1/streams/x"},
		{"DELETE", "/v1/streams/x"},
		{"POST", "/v1/streams/x/end"},
		{"POST", "/v1/streams/x/frames"},
		{"GET", "/v1/streams/x/events"},
		{"PUT", "/v1/streams/x/publishers/bob"},
		{"DELETE", "/v1/streams/x/readers/bob"},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), c[0], "http://"+s.addr+c[1], strings.NewReader(`{"access":"anyone"}`))
		if c[1] == "/v1/streams/x/end" {
			req.Body = http.NoBody
			req.ContentLength = 0
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusForbidden || !bytes.Contains(b, []byte("streams_off")) {
			t.Errorf("%s %s: %d %s", c[0], c[1], res.StatusCode, b)
		}
	}
}
