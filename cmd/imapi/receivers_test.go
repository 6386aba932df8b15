package main

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
)

// These tests run the programs in docs/webhooks.md and docs/presend.md unchanged, except for their
// addresses, which must differ.

var requireReceivers = flag.Bool("receivers", false, "run the programs of docs/webhooks.md and docs/presend.md in every language, also with -short; fail if Node.js or Python is missing")

// receiverSecret signs the requests to the programs.
var receiverSecret = "whsec_" + strings.Repeat("MfKQ", 8)

// program is a running program from the documentation.
type program struct {
	addr string
	out  *syncBuffer // its output and log
}

// runProgram runs the program of a language in a document.
func runProgram(t *testing.T, document, language string) program {
	t.Helper()
	_, rest, found := strings.Cut(readDoc(t, document), "<!-- receiver: "+language+" -->\n```")
	_, rest, _ = strings.Cut(rest, "\n")
	source, _, ended := strings.Cut(rest, "```")
	if !found || !ended || strings.Count(source, "9000") != 1 {
		t.Fatalf("%s has no program in %s on port 9000", document, language)
	}
	p := program{addr: freeAddress(t), out: &syncBuffer{}}
	_, port, _ := strings.Cut(p.addr, ":")
	source = strings.ReplaceAll(source, "9000", port)
	dir := t.TempDir()
	write := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var run *exec.Cmd
	switch language {
	case "go":
		path, built := write("receiver.go"), filepath.Join(dir, "receiver")
		for _, args := range [][]string{{"vet", path}, {"build", "-o", built, path}} {
			if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
				t.Fatalf("go %s: %v\n%s", args[0], err, out)
			}
		}
		run = exec.Command(built)
	case "node":
		run = exec.Command(interpreter(t, "node"), write("receiver.mjs"))
	case "python":
		run = exec.Command(interpreter(t, "python3"), write("receiver.py"))
	}
	run.Env = append(os.Environ(), "SECRET="+receiverSecret)
	run.Stdout, run.Stderr = p.out, p.out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	await.Until(t, "the program listens", func() bool {
		res, err := http.Get("http://" + p.addr)
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil
	})
	return p
}

func interpreter(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case *requireReceivers:
		t.Fatalf("%s is missing", name)
	default:
		t.Skipf("SKIPPED, not tested: %s is missing", name)
	}
	return ""
}

// forged sends a body without a signature, and one signed with another secret, and returns the
// statuses.
func (p program) forged(t *testing.T, path, body string) (statuses []int) {
	t.Helper()
	for _, headers := range []map[string]string{
		{},
		{"webhook-id": "1", "webhook-timestamp": "1767323045", "webhook-signature": "v1,AAAA"},
		{"webhook-id": "1", "webhook-timestamp": "²", "webhook-signature": "v1 é,"},
	} {
		req, err := http.NewRequest(http.MethodPost, "http://"+p.addr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range headers {
			req.Header.Set(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%v; the program has printed\n%s", err, p.out)
		}
		_ = res.Body.Close()
		statuses = append(statuses, res.StatusCode)
	}
	return statuses
}

// eachLanguage runs a subtest for each language that the documentation has a program in.
func eachLanguage(t *testing.T, test func(t *testing.T, language string)) {
	t.Parallel()
	if testing.Short() && !*requireReceivers {
		t.Skip("make receivers runs the programs of the documentation, and so does make test-all")
	}
	for _, language := range []string{"go", "node", "python"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			test(t, language)
		})
	}
}

func refusedAll(statuses []int) bool {
	for _, status := range statuses {
		if status != http.StatusUnauthorized {
			return false
		}
	}
	return true
}

// TestReceiversOfWebhooks delivers an event to each program of docs/webhooks.md.
func TestReceiversOfWebhooks(t *testing.T) {
	eachLanguage(t, func(t *testing.T, language string) {
		p := runProgram(t, "docs/webhooks.md", language)
		if got := p.forged(t, "/imapi", `{"type":"message.created"}`); !refusedAll(got) {
			t.Errorf("requests that are not signed get %v", got)
		}
		s := startServer(t, "--webhooks-allow-private")
		secret := receiverSecret
		created, err := s.admin().CreateWebhookWithResponse(context.Background(), &client.CreateWebhookParams{},
			client.CreateWebhook{URL: "http://" + p.addr + "/imapi", Secret: &secret})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := say(context.Background(), s.client("alice", ""), "@bob", "", "hello"); err != nil {
			t.Fatal(err)
		}
		hook := created.JSON201.ID
		await.Until(t, "two events are delivered", func() bool {
			list := s.deliveries(hook)
			return len(list) == 2 && list[0].State == "delivered" && list[1].State == "delivered"
		})
		for i, want := range []string{"message.created", "conversation.created"} {
			d := s.deliveries(hook)[i]
			if line := d.ID + " " + want; !strings.Contains(p.out.String(), line) || d.Attempts != 1 {
				t.Errorf("after %d attempts the program has printed no %q:\n%s", d.Attempts, line, p.out)
			}
		}
	})
}

// TestReceiversOfQuestions asks each program of docs/presend.md about messages.
func TestReceiversOfQuestions(t *testing.T) {
	eachLanguage(t, func(t *testing.T, language string) {
		p := runProgram(t, "docs/presend.md", language)
		if got := p.forged(t, "/presend", `{"data":{"message":{"body":{"text":"hello"}}}}`); !refusedAll(got) {
			t.Errorf("requests that are not signed get %v", got)
		}
		file := filepath.Join(t.TempDir(), "presend.secret")
		if err := os.WriteFile(file, []byte(receiverSecret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := startServer(t, "--presend-url", "http://"+p.addr+"/presend", "--presend-secret", file, "--presend-fail", "closed", "--presend-timeout", "10s")
		alice := s.client("alice", "")
		if _, err := say(context.Background(), alice, "@bob", "", "hello"); err != nil {
			t.Errorf("a message without a link: %v; the program has printed\n%s", err, p.out)
		}
		_, err := say(context.Background(), alice, "@bob", "", "see http://example.com")
		if refusal, ok := errors.AsType[*client.Problem](err); !ok || refusal.Code != "refused_by_hook" || *refusal.HookCode != "no_links" {
			t.Errorf("a message with a link: %v; the program has printed\n%s", err, p.out)
		}
		location := client.SendLocation{Body: client.LocationBody{Latitude: 1, Longitude: 2}}
		if _, err := alice.Send(context.Background(), "@bob", location); err != nil {
			t.Errorf("a message without a text: %v; the program has printed\n%s", err, p.out)
		}
	})
}
