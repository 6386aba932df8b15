package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
)

// These tests run the commands for people, in the real binary.

// ran is the result of a command.
type ran struct {
	out, diag string
	status    int
}

// run runs a command on the server's data, with text on its standard input.
func (s *server) run(stdin string, args ...string) ran {
	s.t.Helper()
	return s.runIn(nil, stdin, args...)
}

// runIn is run with variables in the environment.
func (s *server) runIn(environment []string, stdin string, args ...string) ran {
	s.t.Helper()
	cmd := exec.Command(s.bin, args...)
	cmd.Env = append(os.Environ(), append([]string{"IMAPI_DATA=" + s.data}, environment...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return ran{out.String(), diag.String(), cmd.ProcessState.ExitCode()}
}

// follow starts a command that runs until it is interrupted.
func (s *server) follow(args ...string) *following {
	s.t.Helper()
	f := &following{t: s.t, cmd: exec.Command(s.bin, args...), out: &syncBuffer{}, diag: &syncBuffer{}}
	f.cmd.Env = append(os.Environ(), "IMAPI_DATA="+s.data)
	f.cmd.Stdout, f.cmd.Stderr = f.out, f.diag
	if err := f.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = f.cmd.Process.Kill() })
	return f
}

type following struct {
	t         testing.TB
	cmd       *exec.Cmd
	out, diag *syncBuffer
}

// until waits until the command has printed a text.
func (f *following) until(text string) {
	f.t.Helper()
	began := time.Now()
	for !strings.Contains(f.out.String(), text) {
		if time.Since(began) > patience {
			f.t.Fatalf("it printed\n%s%s\nand not %q", f.out, f.diag, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// interrupt presses Ctrl-C and returns the exit status.
func (f *following) interrupt() int {
	f.t.Helper()
	if err := f.cmd.Process.Signal(os.Interrupt); err != nil {
		f.t.Fatal(err)
	}
	_ = f.cmd.Wait() // the exit status is checked instead
	return f.cmd.ProcessState.ExitCode()
}

// TestSendIsInterruptedWhileItReads checks that Ctrl-C ends a command that waits for its standard
// input.
func TestSendIsInterruptedWhileItReads(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	f := &following{t: t, cmd: exec.Command(s.bin, "send", "--as", "alice", "--to", "bob", "-"), out: &syncBuffer{}, diag: &syncBuffer{}}
	f.cmd.Env = append(os.Environ(), "IMAPI_DATA="+s.data)
	f.cmd.Stdout, f.cmd.Stderr = f.out, f.diag
	in, err := f.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { _ = f.cmd.Process.Kill() })
	defer kill.Stop()
	// More than a pipe holds: once it is written, the command reads.
	if _, err := in.Write(bytes.Repeat([]byte("x"), 256<<10)); err != nil {
		t.Fatal(err)
	}
	if status := f.interrupt(); status != exitFailure || !strings.Contains(f.diag.String(), "interrupted") {
		t.Errorf("status %d: %s", status, f.diag)
	}
}

// TestCommandsAreInterruptedWhileTheyOpen checks that a command does not wait for a named pipe that
// nobody writes to once it is interrupted.
func TestCommandsAreInterruptedWhileTheyOpen(t *testing.T) {
	t.Parallel()
	data := dataDir(t)
	for _, args := range [][]string{{"import"}, {"send", "--as", "alice", "--to", "bob", "--server", "http://127.0.0.1:1", "--file"}} {
		t.Run(args[0], func(t *testing.T) {
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var out, diag syncBuffer
			status := make(chan int, 1)
			go func() { status <- dispatch(ctx, append(slices.Clone(args), pipe, "--data", data), &out, &diag) }()
			select {
			case got := <-status:
				if got != exitFailure || !strings.Contains(diag.String(), "interrupted") {
					t.Errorf("status %d: %s", got, diag.String())
				}
			case <-time.After(patience):
				t.Error("it waits for the pipe")
			}
			if w, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil { // ends the open
				_ = w.Close()
			}
		})
	}
}

// TestExportKeepsWhatIsNoFile checks that an export is written to a named pipe and through a symbolic
// link, instead of taking their place: otherwise root would lose a device such as /dev/stdout.
func TestExportKeepsWhatIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, file, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(file, []byte("old"), 0o600), os.Symlink(file, link))
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		b, err := os.ReadFile(pipe)
		read <- fmt.Sprintf("%s %v", b, err)
	}()
	if err := writeFile(t.Context(), pipe, strings.NewReader("lines")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Fatalf("the pipe is now %v %v", info.Mode(), err)
	}
	if got := <-read; got != "lines <nil>" {
		t.Errorf("the pipe has %q", got)
	}
	if err := writeFile(t.Context(), link, strings.NewReader("new")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is now %v %v", info.Mode(), err)
	}
	if b, err := os.ReadFile(file); string(b) != "new" {
		t.Errorf("the file has %q %v", b, err)
	}
	if err := writeFile(t.Context(), dir, strings.NewReader("new")); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("to a directory: %v", err)
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	dir := t.TempDir()
	picture, err := os.ReadFile("../../blobs/thumbnail/testdata/photo.jpg")
	if err != nil {
		picture = []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;")
	}
	files := map[string][]byte{"photo": picture, "notes.txt": []byte("notes")}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id := regexp.MustCompile(`^([0-9a-v]{13}\n)+$`)
	for _, args := range [][]string{
		{"--to", "bob", "hi"},
		{"--to", "@bob", "--burn", "10s", "for a moment"},
		{"--to", "bob", "--expires", "24h", "--", "-1 is less"},
		{"--to", "bob", "--file", filepath.Join(dir, "photo"), "--file", filepath.Join(dir, "notes.txt"), "two files"},
	} {
		if r := s.run("", append([]string{"send", "--as", "alice"}, args...)...); r.status != 0 || !id.MatchString(r.out) || r.diag != "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := s.run("from a pipe\nin two lines\n", "send", "--as", "alice", "--to", "bob"); r.status != 0 {
		t.Errorf("%+v", r)
	}
	if r := s.run("and after a dash\n", "send", "--as", "alice", "--to", "bob", "-"); r.status != 0 {
		t.Errorf("%+v", r)
	}
	first := s.run("", "send", "--as", "alice", "--to", "bob", "--client-id", "c-1", "once")
	if again := s.run("", "send", "--as", "alice", "--to", "bob", "--client-id", "c-1", "once"); again != first || first.status != 0 {
		t.Errorf("%+v, %+v", first, again)
	}
	// A token in the environment works, too, and a flag takes precedence.
	token := "IMAPI_TOKEN=" + s.token("carol")
	for _, args := range [][]string{{"--json"}, {"--json", "--as", "alice"}} {
		r := s.runIn([]string{token}, "", append([]string{"send", "--to", "bob", "hi"}, args...)...)
		var m client.Message
		if err := json.Unmarshal([]byte(r.out), &m); err != nil || r.status != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		if want := map[int]string{1: "carol", 3: "alice"}[len(args)]; m.Sender != want {
			t.Errorf("%v: sent by %s, want %s", args, m.Sender, want)
		}
	}

	var got []string
	for _, m := range history(t, s.client("bob", ""), "@alice") {
		text := fmt.Sprintf("%s %s", m.Type, bodyText(m))
		switch {
		case m.Burn != nil:
			text += fmt.Sprintf(" burns %d", m.Burn.AfterSeconds)
		case m.ExpiresAt != nil:
			text += fmt.Sprintf(" expires %v", m.ExpiresAt.Sub(m.CreatedAt))
		}
		got = append(got, regexp.MustCompile(`attachment \w+`).ReplaceAllString(text, "attachment"))
	}
	want := []string{
		"text hi", "text for a moment burns 10", "text -1 is less expires 24h0m0s",
		"text two files", "image [image photo, attachment]", "file [file notes.txt, attachment]",
		`text from a pipe\nin two lines`, "text and after a dash", "text once", "text hi",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("bob has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestCommandsSayWhatToDoNext checks the error messages and exit statuses after mistakes.
func TestCommandsSayWhatToDoNext(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	dir := t.TempDir()
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, bytes.Repeat([]byte("x"), 11<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	as := []string{"--as", "alice", "--to", "bob"}
	for name, test := range map[string]struct {
		args   []string
		stdin  string
		status int
		says   string
	}{
		"no token":                  {[]string{"send", "--to", "bob", "hi"}, "", 2, "set IMAPI_TOKEN"},
		"a token and a user":        {[]string{"send", "--as", "a", "--token", "t", "--to", "bob", "hi"}, "", 2, "exclude each other"},
		"no recipient":              {[]string{"send", "--as", "alice", "hi"}, "", 2, "name a user with --to"},
		"a user and a conversation": {append([]string{"send", "--conversation", "c", "hi"}, as...), "", 2, "name a user with --to"},
		"two texts":                 {append([]string{"send", "hello", "there"}, as...), "", 2, "quote a text with spaces"},
		"no text":                   {append([]string{"send"}, as...), "\n", 2, "the text is empty"},
		"a text in Latin-1":         {append([]string{"send"}, as...), "\xe4", 2, "send it as a file"},
		"a text too long":           {append([]string{"send"}, as...), strings.Repeat("x", 2<<20), 1, "send it as a file"},
		"a fraction of a second":    {append([]string{"send", "--burn", "500ms", "hi"}, as...), "", 2, "whole seconds"},
		"a client id for two":       {append([]string{"send", "--client-id", "c", "--file", long, "hi"}, as...), "", 2, "for one message, and this command sends 2"},
		"an invalid user":           {[]string{"send", "--as", "alice", "--to", "..", "hi"}, "", 2, "--to: must be"},
		"a missing file":            {append([]string{"send", "--file", filepath.Join(dir, "none")}, as...), "", 1, "no such file"},
		"a directory":               {append([]string{"send", "--file", dir}, as...), "", 1, "is a directory; send an archive"},
		"a file too large":          {append([]string{"send", "--file", long}, as...), "", 1, "413"},
		"no server":                 {append([]string{"send", "--server", "http://127.0.0.1:1", "hi"}, as...), "", 3, "start one with imapi serve"},
		"a server without http":     {append([]string{"send", "--server", "127.0.0.1:1", "hi"}, as...), "", 2, "must be a URL such as"},
		"an unknown conversation":   {[]string{"send", "--as", "alice", "--conversation", "06d8n3uv40a7c", "hi"}, "", 1, "there is no such conversation"},
		"a malformed token":         {[]string{"send", "--token", "a.b.c", "--to", "bob", "hi"}, "", 1, "imapi doctor says more about the token"},
		"a directory without data":  {append([]string{"send", "--data", dir, "--server", "http://" + s.addr, "hi"}, as...), "", 1, "name the server's directory with --data"},
		"a file without cursor":     {[]string{"listen", "--as", "alice", "--resume", long}, "", 1, "does not hold a cursor"},
		"two cursors":               {[]string{"listen", "--as", "alice", "--resume", "f", "--cursor", "c"}, "", 2, "exclude each other"},
		"too many messages":         {append([]string{"tail", "--last", "100000"}, as...), "", 2, "--last: must be 0 to"},
		"an unknown flag":           {append([]string{"send", "--brun", "10s", "hi"}, as...), "", 2, "there is no flag --brun (imapi send --help)"},
		"a flag without value":      {[]string{"send", "hi", "--as", "alice", "--to"}, "", 2, "--to needs a value"},
		"a duration without unit":   {append([]string{"send", "--burn", "10", "hi"}, as...), "", 2, `--burn: "10" must be a duration such as 90s`},
		"an invalid number":         {append([]string{"tail", "--last", "all"}, as...), "", 2, `--last: "all" must be a whole number`},
		"an invalid boolean":        {append([]string{"tail", "--follow=maybe"}, as...), "", 2, `--follow: "maybe" must be true or false`},
		"an invalid log level":      {[]string{"serve", "--log-level", "verbose"}, "", 2, `--log-level: "verbose" must be debug, info, warn or error`},
		"health without http":       {[]string{"healthcheck", "--server", "im.example.com"}, "", 2, "must be a URL such as"},
		"health without server":     {[]string{"healthcheck", "--server", "http://127.0.0.1:1"}, "", 1, "start it with imapi serve"},
		"a token without user":      {[]string{"token"}, "", 2, "name the user with --user"},
		"a token without secret":    {[]string{"token", "--user", "a", "--data", dir}, "", 1, "name the server's directory with --data, or start imapi serve"},
		"an unknown command":        {[]string{"sned"}, "", 2, `unknown command "sned" (imapi help)`},
		"help for an unknown one":   {[]string{"help", "sned"}, "", 2, `unknown command "sned"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := s.run(test.stdin, test.args...)
			if r.status != test.status || !strings.Contains(r.diag, test.says) || r.out != "" {
				t.Errorf("exit status %d, want %d; it says\n%swant %q\nprinted %q", r.status, test.status, r.diag, test.says, r.out)
			}
		})
	}
}

// TestSendWithoutAnAnswer checks that a send without an answer prints the id with which it can be
// repeated, and that the repetition sends nothing twice.
func TestSendWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	// The proxy passes the request on and drops the answer.
	drop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, _ := http.NewRequestWithContext(r.Context(), r.Method, "http://"+s.addr+r.URL.Path, r.Body)
		req.Header = r.Header
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		panic(http.ErrAbortHandler)
	})
	r := s.run("", "send", "--server", serveHTTP(t, drop), "--as", "alice", "--to", "bob", "hi")
	m := regexp.MustCompile(`--client-id (\w+)\n`).FindStringSubmatch(r.diag)
	if r.status != 3 || m == nil || !strings.Contains(r.diag, "it is unknown whether the message was stored") {
		t.Fatalf("%+v", r)
	}
	if r := s.run("", "send", "--as", "alice", "--to", "bob", "--client-id", m[1], "hi"); r.status != 0 {
		t.Errorf("%+v", r)
	}
	if got := history(t, s.client("bob", ""), "@alice"); len(got) != 1 {
		t.Errorf("bob has %d messages", len(got))
	}
}

// TestListen checks that listening continues after the server was killed and after it was
// itself stopped, with no gap and no repeat.
func TestListen(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	listen := []string{"listen", "--as", "bob", "--resume", cursor, "--json"}
	say := func(text string) {
		t.Helper()
		if r := s.run("", "send", "--as", "alice", "--to", "bob", text); r.status != 0 {
			t.Fatalf("%+v", r)
		}
	}
	one := s.follow(listen...)
	one.until(`"ready"`)
	say("first")
	one.until("first")
	s.kill()
	await.Until(t, "the lost connection is reported", func() bool { return strings.Contains(one.diag.String(), "not connected to http") })
	s.start()
	say("second")
	one.until("second")
	if status := one.interrupt(); status != 0 {
		t.Errorf("Ctrl-C: exit status %d", status)
	}
	say("third")
	two := s.follow(listen...)
	two.until("third")
	say("fourth")
	two.until("fourth")
	two.interrupt()

	var got []string
	all := one.out.String() + two.out.String()
	for line := range strings.Lines(all) {
		var e client.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Message != nil {
			got = append(got, bodyText(*e.Message))
		}
	}
	if want := "first second third fourth"; strings.Join(got, " ") != want {
		t.Errorf("bob heard %q, want %q", got, want)
	}
	// The lines are what the server sent, null members included.
	if !strings.Contains(all, `"reply_to":null`) {
		t.Errorf("members are missing:\n%s", all)
	}

	lines := s.follow("listen", "--as", "bob")
	lines.until("ready")
	say("\x1b]0;owned\x07")
	lines.until(`alice: \u001b]0;owned\u0007`)
	lines.interrupt()
}

func TestTail(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	alice, bob := s.client("alice", ""), s.client("bob", "")
	ctx := context.Background()

	// The command may start before the conversation exists.
	early := s.follow("tail", "--as", "bob", "--to", "alice")
	await.Until(t, "the stream is open", func() bool {
		// "ready" is not printed: send until one arrives.
		if _, err := say(ctx, alice, "@bob", "", "hello"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		return strings.Contains(early.out.String(), "alice: hello")
	})
	sent := len(history(t, bob, "@alice"))
	for i := range 5 {
		if _, err := say(ctx, bob, "@alice", "", fmt.Sprintf("n%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	early.until("bob: n4")
	early.interrupt()

	if r := s.run("", "tail", "--as", "bob", "--to", "alice", "--last", "2", "--follow=false"); r.status != 0 ||
		!regexp.MustCompile(`^\S+  #\d+ bob: n3\n\S+  #\d+ bob: n4\n$`).MatchString(r.out) {
		t.Errorf("%+v", r)
	}
	// Send more messages than fit on a page.
	for i := range 210 {
		if _, err := say(ctx, alice, "@bob", "", fmt.Sprintf("page %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	r := s.run("", "tail", "--as", "bob", "--to", "alice", "--last", "212", "--follow=false", "--json")
	var got []client.Message
	for line := range strings.Lines(r.out) {
		var m client.Message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if len(got) != 212 || got[0].Seq != int64(sent+4) || got[211].Seq != int64(sent+215) {
		t.Errorf("%d messages of %d, status %d, %s", len(got), sent+215, r.status, r.diag)
	}

	late := s.follow("tail", "--as", "bob", "--to", "alice", "--last", "1")
	late.until("page 209")
	m, err := say(ctx, alice, "@bob", "", "a secret")
	if err != nil {
		t.Fatal(err)
	}
	late.until("alice: a secret")
	s.kill()
	s.start()
	postscript := "typo"
	if _, err := alice.RevokeMessageWithResponse(ctx, m.ID, nil, client.RevokeMessageJSONRequestBody{Postscript: &postscript}); err != nil {
		t.Fatal(err)
	}
	late.until(fmt.Sprintf("#%d alice: [revoked: typo]", m.Seq))
	if n := strings.Count(late.out.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want 3:\n%s", n, late.out)
	}
}

// TestListenWithoutAReader checks that listening ends when its output is closed.
func TestListenWithoutAReader(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	cmd := exec.Command("bash", "-c", `"$0" listen --as bob --data "$1" | head -n 1; echo "${PIPESTATUS[0]}"`, s.bin, s.data)
	var out syncBuffer
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	await.Until(t, "head has ended", func() bool { return strings.Contains(out.String(), "ready") })
	alice := s.client("alice", "")
	await.Until(t, "listening has ended", func() bool {
		if _, err := say(context.Background(), alice, "@bob", "", "hi"); err != nil {
			t.Fatal(err)
		}
		return strings.HasSuffix(out.String(), "141\n") // 128 + SIGPIPE
	})
	_ = cmd.Wait()
}
