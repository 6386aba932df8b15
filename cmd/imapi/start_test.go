package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/internal/await"
)

// dataDir returns a data directory with the token secret of an earlier server.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.LoadOrCreateSecret(filepath.Join(dir, secretFile)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestUnsupportedBuildsSayWhy checks that the compiler reports only what is missing.
func TestUnsupportedBuildsSayWhy(t *testing.T) {
	t.Parallel()
	for setting, says := range map[string]string{
		"CGO_ENABLED=0": "SQLite needs a C compiler, such as gcc, and CGO_ENABLED=1",
		"GOOS=windows":  "the server does not run on Windows: use WSL 2 or a container",
	} {
		t.Run(setting, func(t *testing.T) {
			build := exec.Command("go", "build", "../../storage/sqlite")
			build.Env = append(os.Environ(), setting)
			out, err := build.CombinedOutput()
			if err == nil || !strings.Contains(string(out), says) || strings.Count(string(out), ".go:") != 1 {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
}

// TestOriginsThatBrowsersSend checks that origins of all kinds of pages are accepted.
func TestOriginsThatBrowsersSend(t *testing.T) {
	const list = "https://app.example, http://localhost:5173,https://app.example:8443,http://[::1]:3000," +
		"https://*.app.example,capacitor://localhost,chrome-extension://abcdef,null,"
	c, err := parseConfig([]string{"--cors-origins", list}, io.Discard)
	if err != nil || len(c.origins) != 8 {
		t.Errorf("%q, %v", c.origins, err)
	}
	if c, err := parseConfig([]string{"--cors-origins", "*"}, io.Discard); err != nil || len(c.origins) != 1 {
		t.Errorf("%q, %v", c.origins, err)
	}
}

// TestRefusedStartCreatesNothing checks that mistakes on the command line, and ports in use,
// are found before there is a data directory or a greeting.
func TestRefusedStartCreatesNothing(t *testing.T) {
	t.Parallel()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	files := t.TempDir()
	writeCertificate(t, files)
	cert, key := filepath.Join(files, "cert.pem"), filepath.Join(files, "key.pem")
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"port in use":         {[]string{"--listen", taken.Addr().String()}, "or choose another port"},
		"metrics port in use": {[]string{"--metrics-listen", taken.Addr().String()}, "--metrics-listen: "},
		"no certificate":      {[]string{"--tls-cert", filepath.Join(files, "none.pem"), "--tls-key", key}, "--tls-cert"},
		"bad certificate":     {[]string{"--tls-cert", key, "--tls-key", cert}, "--tls-cert"},
		"no public key":       {[]string{"--auth-algorithm", "ES256", "--auth-public-key", filepath.Join(files, "none.pem")}, "--auth-public-key"},
		"bad public key":      {[]string{"--auth-algorithm", "ES256", "--auth-public-key", key}, "public key"},
		"unfit public key":    {[]string{"--auth-algorithm", "RS256", "--auth-public-key", cert}, "RS256"},
		"unknown algorithm":   {[]string{"--auth-algorithm", "none", "--auth-public-key", cert}, "--auth-algorithm: must be"},
		"misspelt algorithm":  {[]string{"--auth-algorithm", "HS265"}, "--auth-algorithm: must be"},
		"unsafe key set":      {[]string{"--auth-algorithm", "RS256", "--auth-jwks-url", "http://keys.example/"}, "key set URL"},
		"unknown database":    {[]string{"--database", "mysql://x"}, "scheme"},
		"unknown flag":        {[]string{"--nothing"}, "-nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			cmd := exec.Command(bin, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", data}, c.args...)...)
			var out, diag syncBuffer
			cmd.Stdout, cmd.Stderr = &out, &diag
			if err := cmd.Run(); err == nil || !strings.Contains(diag.String(), c.says) || out.String() != "" {
				t.Errorf("%v; said %q, and %q", err, out.String(), diag.String())
			}
			if _, err := os.Stat(data); err == nil {
				t.Error("there is a data directory")
			}
		})
	}
}

// TestTokenWithoutASecret checks that a misspelt directory is refused and not
// created.
func TestTokenWithoutASecret(t *testing.T) {
	empty := t.TempDir()
	missing := filepath.Join(empty, "wrong")
	for _, data := range []string{missing, empty} {
		var out, diag syncBuffer
		status := dispatch(t.Context(), []string{"token", "--user", "alice", "--data", data}, &out, &diag)
		if status != 1 || out.String() != "" || !strings.Contains(diag.String(), data) {
			t.Errorf("%s: %d %q %q", data, status, out.String(), diag.String())
		}
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("it made %v, %v", entries, err)
	}
}

// TestCommandsWithoutADatabase checks that no command treats a misspelt directory as an empty
// server, and that an import, which may create the directory, reports that.
func TestCommandsWithoutADatabase(t *testing.T) {
	empty := t.TempDir()
	missing := filepath.Join(empty, "wrong")
	for _, args := range [][]string{
		{"export", "--data", empty},
		{"export", "--data", missing},
		{"export", "--data", empty, "--database", "sqlite://" + missing},
		{"retention", "--data", empty},
		{"retention", "--dry-run", "--data", missing},
	} {
		var out, diag syncBuffer
		status := dispatch(t.Context(), args, &out, &diag)
		if status != 1 || out.String() != "" || !strings.Contains(diag.String(), ": there is no database;") {
			t.Errorf("%v: %d %q %q", args, status, out.String(), diag.String())
		}
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("they made %v, %v", entries, err)
	}

	lines := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(lines, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, made := range []bool{true, false} {
		var out, diag syncBuffer
		status := dispatch(t.Context(), []string{"import", "--data", missing, lines}, &out, &diag)
		if status != 0 || strings.Contains(diag.String(), missing+": there was no database, so a new one was created\n") != made {
			t.Errorf("%d %q %q, made is %v", status, out.String(), diag.String(), made)
		}
	}
}

// TestGreetingSaysWhereItListens checks that 0.0.0.0 is used and shown as given, and that
// the address of the demo is one that a browser can open.
func TestGreetingSaysWhereItListens(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.args = []string{"--listen", "0.0.0.0:" + port}
	s.start()
	await.Until(t, "the greeting is printed", func() bool { return strings.Contains(s.out.String(), "the demo") })
	out := s.out.String()
	if !strings.Contains(out, "listens on http://0.0.0.0:"+port+"\n") || strings.Contains(out, "[::]") {
		t.Errorf("it says:\n%s", out)
	}
	req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost:"+port+"/", nil)
	if !strings.Contains(out, "the demo: "+req.URL.String()+"\n") {
		t.Errorf("it says:\n%s", out)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

// TestOneServerForADatabase checks that a second server does not start on the same
// database, whatever name it is given.
func TestOneServerForADatabase(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	db, dir := filepath.Join(s.data, "imapi.db"), t.TempDir()
	link := func(create func(from, to string) error, from, name string) string {
		to := filepath.Join(dir, name)
		if err := create(from, to); err != nil {
			t.Fatal(err)
		}
		return to
	}
	linked := link(os.Symlink, s.data, "linked")
	soft, hard := link(os.Symlink, db, "soft.db"), link(os.Link, db, "hard.db")
	for name, args := range map[string][]string{
		"its directory":         {"--data", s.data},
		"a link to it":          {"--data", linked},
		"a link to the file":    {"--data", filepath.Join(dir, "a"), "--database", "sqlite://" + soft},
		"a hard link":           {"--data", filepath.Join(dir, "b"), "--database", "sqlite://" + hard},
		"the file, by its path": {"--data", filepath.Join(dir, "c"), "--database", "sqlite://" + db},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command(s.bin, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "in use by another imapi process\n  stop it, or choose another directory") {
				t.Errorf("%v, %s", err, out)
			}
			if _, err := os.Stat(args[1]); err == nil && args[1] != s.data && args[1] != linked {
				t.Errorf("it made %s", args[1])
			}
		})
	}
	if _, err := say(t.Context(), s.client("alice", ""), "@bob", "", "after all"); err != nil {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Errorf("the first one ended with %v", err)
	}
}
