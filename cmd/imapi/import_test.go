package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

// command runs a subcommand on the server's data directory and returns its exit status and
// output.
func (s *server) command(stdin string, args ...string) (status int, out, diag string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, append(args, "--data", s.data)...)
	var o, d bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &o, &d
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil || ctx.Err() != nil {
		s.t.Fatalf("%v: %v\n%s", args, err, d.String())
	}
	return cmd.ProcessState.ExitCode(), o.String(), d.String()
}

func (s *server) mustCommand(stdin string, args ...string) (out, diag string) {
	s.t.Helper()
	status, out, diag := s.command(stdin, args...)
	if status != 0 {
		s.t.Fatalf("%v: exit %d\n%s", args, status, diag)
	}
	return out, diag
}

func importLines(n int, with string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"conversation_id":"@bob","sender":"alice","client_id":"c-%d","type":"text","body":{"text":"message %d"},"created_at":"2025-01-02T03:04:05.678Z"%s}`+"\n", i, i, with)
	}
	return b.String()
}

// TestCommandsWithAndWithoutAServer checks that import, export and retention do the same
// through a running server, whatever tokens it accepts, and without one.
func TestCommandsWithAndWithoutAServer(t *testing.T) {
	t.Parallel()
	var exports [2]string
	for i, running := range []bool{true, false} {
		t.Run(map[bool]string{true: "with a server", false: "without a server"}[running], func(t *testing.T) {
			s := newServer(t, "--auth-issuer", "nobody's")
			s.start()
			if !running {
				if err := s.stop(); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(filepath.Join(s.data, "control.json")); !os.IsNotExist(err) {
					t.Errorf("control.json after a clean stop: %v", err)
				}
			} else if info, err := os.Stat(filepath.Join(s.data, "control.json")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("control.json: %v %v", info, err)
			}
			group := `{"conversation":{"id":"02qh5dd5g0001","kind":"group","name":"g","settings":{"retention_days":30},"members":[{"user":"alice","role":"owner"},{"user":"bob"}],"created_at":"2025-01-02T03:04:05.000Z"}}` + "\n"
			file := filepath.Join(t.TempDir(), "in.ndjson")
			if err := os.WriteFile(file, []byte(importLines(50, "")), 0o600); err != nil {
				t.Fatal(err)
			}
			_, diag := s.mustCommand("", "import", file)
			if !strings.Contains(diag, "50 stored, 0 already there, 0 failed") || strings.Contains(diag, "\r") {
				t.Errorf("first: %s", diag)
			}
			status, _, diag := s.command(group+importLines(51, "")+"{\n"+importLines(1, `,"seq":0`)+strings.Repeat("x", 1<<20+1), "import", "-")
			if status != 1 || !strings.Contains(diag, "2 stored, 50 already there, 3 failed") || !strings.Contains(diag, "line 53: 400 malformed_json") ||
				!strings.Contains(diag, "line 54: 400 invalid_request: seq ") || !strings.Contains(diag, "line 55: longer than 1048576 bytes") {
				t.Errorf("again, and more: exit %d %s", status, diag)
			}
			// The group keeps messages for 30 days.
			if status, _, diag := s.command(strings.ReplaceAll(importLines(3, ""), `"@bob"`, `"02qh5dd5g0001"`), "import", "-"); status != 1 || !strings.Contains(diag, "past_retention") && !strings.Contains(diag, "client_id_reused") {
				t.Errorf("past retention: exit %d %s", status, diag)
			}

			whole, _ := s.mustCommand("", "export")
			out := filepath.Join(t.TempDir(), "out.ndjson")
			s.mustCommand("", "export", out)
			if b, err := os.ReadFile(out); err != nil || string(b) != whole || strings.Count(whole, "\n") != 53 {
				t.Errorf("%d lines to standard output, the file: %v", strings.Count(whole, "\n"), err)
			}
			one, _ := s.mustCommand("", "export", "--conversation", "02qh5dd5g0001", "-")
			if strings.Count(one, "\n") != 1 {
				t.Errorf("one conversation: %s", one)
			}
			if status, _, diag := s.command("", "export", "--conversation", "x"); status != 1 || !strings.Contains(diag, "conversation_not_found") {
				t.Errorf("an unknown one: exit %d %s", status, diag)
			}
			exports[i] = withoutIDs(t, whole)

			table, _ := s.mustCommand("", "retention", "--dry-run")
			if !strings.HasPrefix(table, "total\t0 messages of 0 conversations as of ") {
				t.Errorf("retention: %s", table)
			}
			if status, _, _ := s.command("", "retention", "--as-of", "yesterday"); status != 2 {
				t.Errorf("--as-of yesterday: exit %d", status)
			}
		})
	}
	if exports[0] != exports[1] {
		t.Errorf("the two differ:\n%s\n%s", exports[0], exports[1])
	}
}

// withoutIDs leaves out values that a server chooses.
func withoutIDs(t *testing.T, export string) string {
	var out strings.Builder
	for line := range strings.Lines(export) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		delete(v, "id")
		delete(v, "conversation_id")
		if c, ok := v["conversation"].(map[string]any); ok {
			delete(c, "id")
		}
		b, _ := json.Marshal(v)
		out.Write(append(b, '\n'))
	}
	return out.String()
}

// TestOpeningTheDataTakesItsTime checks that a command that opens the data itself is not ended by the
// time for which it would wait for a server.
func TestOpeningTheDataTakesItsTime(t *testing.T) {
	t.Parallel()
	a := adminFlags{data: t.TempDir(), policy: im.DefaultPolicy(), begins: true, wait: 0}
	here, err := a.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	here.close()
}

// TestRetentionCommandTrimsWhatItPrinted checks that a run trims exactly what the dry run with the
// same flags printed.
func TestRetentionCommandTrimsWhatItPrinted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	s.mustCommand(importLines(500, ""), "import", "-")
	recent := strings.ReplaceAll(importLines(3, ""), "2025-01-02T03:04:05.678Z", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	s.mustCommand(strings.ReplaceAll(recent, "c-", "r-"), "import", "-")
	if _, diag := s.mustCommand("", "retention", "--dry-run"); !strings.Contains(diag, "--retention is not given") {
		t.Errorf("without a policy: %s", diag)
	}
	planned, _ := s.mustCommand("", "retention", "--dry-run", "--retention", "basic")
	lines := strings.Split(planned, "\n")
	_, asOf, _ := strings.Cut(lines[1], " as of ")
	if fields := strings.Split(lines[0], "\t"); len(fields) != 3 || fields[1] != "500" || asOf == "" {
		t.Fatalf("the dry run printed %q", planned)
	}
	done, _ := s.mustCommand("", "retention", "--retention", "basic", "--as-of", asOf)
	if strings.Split(done, "\n")[0] != lines[0] {
		t.Errorf("the dry run printed %q, the run %q", planned, done)
	}
	if left, _ := s.mustCommand("", "export"); strings.Count(left, "\n") != 4 {
		t.Errorf("left: %s", left)
	}
}

// TestDryRunOfAnotherRetention checks that a dry run shows what a running server would trim after a
// restart with another --retention, and that a run which could not use that refuses it.
func TestDryRunOfAnotherRetention(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.mustCommand(importLines(500, ""), "import", "-")
	for args, want := range map[string]string{
		"":                  "total\t0 messages of 0 conversations",
		"--retention basic": "total\t500 messages of 1 conversations",
		"--retention none":  "total\t0 messages of 0 conversations",
		"--retention 36500": "total\t0 messages of 0 conversations",
	} {
		out, _ := s.mustCommand("", append([]string{"retention", "--dry-run"}, strings.Fields(args)...)...)
		if !strings.Contains(out, want) {
			t.Errorf("%s: %s", args, out)
		}
	}
	for _, args := range []string{"--retention basic", "--retention-max basic", "--retention-max basic --dry-run"} {
		status, _, diag := s.command("", append([]string{"retention"}, strings.Fields(args)...)...)
		if status != 2 || !strings.Contains(diag, "a server is running") {
			t.Errorf("%s: exit %d: %s", args, status, diag)
		}
	}
	if left, _ := s.mustCommand("", "export"); strings.Count(left, "\n") != 501 {
		t.Errorf("%d lines are left", strings.Count(left, "\n"))
	}
}

// TestControlAcceptsOnlyItsKey checks which credentials the control listener accepts, and for what.
func TestControlAcceptsOnlyItsKey(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b, err := os.ReadFile(filepath.Join(s.data, "control.json"))
	if err != nil {
		t.Fatal(err)
	}
	var control struct{ URL, Key string }
	if err := json.Unmarshal(b, &control); err != nil || len(control.Key) != 64 || !strings.HasPrefix(control.URL, "http://127.0.0.1:") {
		t.Fatalf("%s: %v", b, err)
	}
	for name, c := range map[string]struct {
		base, key, path string
		status          int
	}{
		"the key":                      {control.URL, control.Key, "/v1/admin/erasures", 200},
		"no key":                       {control.URL, "", "/v1/admin/erasures", 401},
		"a part of the key":            {control.URL, control.Key[1:], "/v1/admin/erasures", 401},
		"an admin's token":             {control.URL, s.token("root", "--admin"), "/v1/admin/erasures", 401},
		"an operation of users":        {control.URL, control.Key, "/v1/conversations", 404},
		"the demo":                     {control.URL, control.Key, "/", 404},
		"the key at the main listener": {"http://" + s.addr, control.Key, "/v1/admin/erasures", 401},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodGet, c.base+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+c.key)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != c.status {
				t.Errorf("answered %d, want %d", res.StatusCode, c.status)
			}
		})
	}
	if strings.Contains(s.log.String(), control.Key) {
		t.Error("the key is in the log")
	}
}

// TestImportAfterAKill checks that an import can be repeated after it or its server was killed, and
// that nothing is stored twice.
func TestImportAfterAKill(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"server", "command", "interrupted"} {
		t.Run(victim, func(t *testing.T) {
			n := testsize.Pick(20000, 2000)
			s := startServer(t)
			lines := importLines(n, "")
			file := filepath.Join(t.TempDir(), "in.ndjson")
			if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
				t.Fatal(err)
			}
			// The command has half of the lines and waits for more, so that it cannot finish before
			// it is killed, however fast it is.
			cmd := exec.Command(s.bin, "import", "-", "--data", s.data)
			diag := &syncBuffer{}
			cmd.Stderr = diag
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.WriteString(in, lines[:len(lines)/2]) }()
			admin := s.token("root", "--admin")
			await.Until(t, "a line is stored", func() bool { return s.count(admin) > 0 })
			switch victim {
			case "server":
				s.kill()
			case "command":
				_ = cmd.Process.Kill()
			case "interrupted":
				_ = cmd.Process.Signal(syscall.SIGINT)
			}
			if err := cmd.Wait(); err == nil {
				t.Fatal("it ended as if it had all lines")
			}
			if victim == "interrupted" && !strings.Contains(diag.String(), "run it again to continue") {
				t.Errorf("it printed %s", diag)
			}
			if victim == "server" {
				s.start()
			}
			stored := s.count(admin)
			if stored == 0 || stored > n {
				t.Errorf("%d stored before", stored)
			}
			_, out := s.mustCommand("", "import", file)
			// The server may have stored more lines after the command ended.
			if !strings.Contains(out, ", 0 failed") || strings.Contains(out, ", 0 already there") {
				t.Errorf("%d were there: %s", stored, out)
			}
			if left := s.count(admin); left != n {
				t.Errorf("%d stored in the end", left)
			}
		})
	}
}

// TestImportFromAServerThatDies checks that an import ends when the server dies before it answers,
// although there may be more to import.
func TestImportFromAServerThatDies(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(c); lines.Scan() && !strings.HasPrefix(lines.Text(), "{"); {
		}
		_ = c.Close() // after the line
	}()
	in, more := io.Pipe()
	defer func() { _ = more.Close() }()
	go func() { _, _ = io.WriteString(more, importLines(1, "")) }()
	run := importRun{bar: newProgress(io.Discard, 0)}
	server := &admin{control: control{URL: "http://" + l.Addr().String(), Key: "key"}}
	if err := run.do(t.Context(), server, in); err == nil {
		t.Error("it ended as if the server had answered")
	}
}

// count counts the messages of an export.
func (s *server) count(admin string) int {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+s.addr+"/v1/admin/export", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+admin)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		s.t.Fatal(err)
	}
	return max(0, bytes.Count(b.Bytes(), []byte("\n"))-1) // without the line of the conversation
}

// TestImportCommandMisuse checks what the command refuses before it starts.
func TestImportCommandMisuse(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, c := range []struct {
		status int
		args   []string
	}{
		{2, []string{"import"}},
		{2, []string{"import", "a", "b"}},
		{2, []string{"import", "--format", "x", "-"}},
		{2, []string{"import", "--conversations", "x", "-"}},
		{2, []string{"export", "a", "b"}},
		{2, []string{"import", "--retention", "x", "-"}},
		{1, []string{"import", "/no/such/file"}},
		{1, []string{"import", "/"}},
		{1, []string{"export"}}, // --conversation names one that does not exist
		{1, []string{"retention"}},
		{0, []string{"import", "-"}}, // it may create the database
		{0, []string{"export"}},
		{0, []string{"import", "--help"}},
		{0, []string{"export", "--help"}},
		{0, []string{"retention", "--help"}},
	} {
		if status, _, diag := s.command("", c.args...); status != c.status {
			t.Errorf("%v: exit %d, want %d: %s", c.args, status, c.status, diag)
		}
	}
}

// TestImportOverHTTP2 checks that results arrive while the request is being sent over
// HTTP/2, too.
func TestImportOverHTTP2(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	r, body := io.Pipe()
	defer func() { _ = body.Close() }()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/v1/admin/import", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token("root", "--admin"))
	req.Header.Set("Content-Type", "application/x-ndjson")
	go func() { _, _ = io.WriteString(body, importLines(1, "")) }()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil || res.ProtoMajor != 2 {
		t.Fatalf("%+v %v", res, err)
	}
	defer func() { _ = res.Body.Close() }()
	results := bufio.NewScanner(res.Body)
	if !results.Scan() || !strings.Contains(results.Text(), `"status":201`) {
		t.Fatalf("%q %v", results.Text(), results.Err())
	}
	go func() { _, _ = io.WriteString(body, importLines(2, "")); _ = body.Close() }()
	for _, want := range [][2]int{{2, http.StatusOK}, {3, http.StatusCreated}} {
		var v struct{ Line, Status int }
		if !results.Scan() || json.Unmarshal(results.Bytes(), &v) != nil || [2]int{v.Line, v.Status} != want {
			t.Errorf("%q, want %v", results.Text(), want)
		}
	}
	if results.Scan() || results.Err() != nil {
		t.Errorf("after the end: %q %v", results.Text(), results.Err())
	}
}
