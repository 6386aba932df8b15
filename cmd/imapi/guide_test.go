package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
)

// These tests run docs/guide.md: its commands in one shell, and its programs.

// guideBlock returns the block of code in docs/guide.md after a comment.
func guideBlock(t *testing.T, comment string) string {
	t.Helper()
	_, rest, found := strings.Cut(readDoc(t, "docs/guide.md"), "<!-- guide: "+comment+" -->\n```")
	_, rest, _ = strings.Cut(rest, "\n")
	block, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatalf("docs/guide.md has no block %q", comment)
	}
	return block
}

// beside returns a directory with the server's program and data, as the guide expects.
func beside(t *testing.T, s *server) string {
	t.Helper()
	dir := t.TempDir()
	for name, target := range map[string]string{"bin/imapi": s.bin, "data": s.data} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGuide runs the commands, and checks that they print what the comments after them say.
func TestGuide(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	parts := regexp.MustCompile("(?s)<!-- guide: sh -->\n```sh\n(.*?)```|<!-- guide: has (.*?) -->").FindAllStringSubmatch(readDoc(t, "docs/guide.md"), -1)
	script := "set -euo pipefail\n"
	for i, part := range parts {
		if part[1] != "" {
			script += "echo '### " + string(rune('a'+i)) + "'\n" + strings.ReplaceAll(part[1], readmeAddress, s.addr)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-s")
	shell.Dir, shell.Stdin = beside(t, s), strings.NewReader(script)
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	printed, checked := "", 0
	for i, part := range parts {
		if part[1] != "" {
			_, printed, _ = strings.Cut(string(out), "### "+string(rune('a'+i))+"\n")
			printed, _, _ = strings.Cut(printed, "### ")
			continue
		}
		checked++
		if !strings.Contains(printed, part[2]) {
			t.Errorf("printed\n%swithout %s", printed, part[2])
		}
	}
	if checked < 8 {
		t.Errorf("%d checks", checked)
	}
}

// startGuideProgram starts a program of docs/guide.md.
func startGuideProgram(t *testing.T, dir, comment string, environment []string, args ...string) (*exec.Cmd, *syncBuffer) {
	t.Helper()
	language := comment[strings.LastIndex(comment, " ")+1:]
	names := map[string]string{"go": "main.go", "node": "program.mjs", "python": "program.py", "java": "Token.java"}
	path := filepath.Join(t.TempDir(), names[language])
	if err := os.WriteFile(path, []byte(guideBlock(t, comment)), 0o600); err != nil {
		t.Fatal(err)
	}
	var run *exec.Cmd
	switch language {
	case "go":
		built := path + ".bin"
		if out, err := exec.Command("go", "build", "-o", built, path).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		run = exec.Command(built, args...)
	case "node":
		run = exec.Command(interpreter(t, "node"), append([]string{path}, args...)...)
	case "python":
		run = exec.Command(interpreter(t, "python3"), append([]string{path}, args...)...)
	case "java":
		// The compiler is part of the JDK, which not every machine with Java has.
		if _, err := exec.LookPath("javac"); err != nil {
			t.Skip("SKIPPED, not tested: there is no javac")
		}
		run = exec.Command("java", append([]string{path}, args...)...)
	}
	out := &syncBuffer{}
	run.Dir, run.Env = dir, append(os.Environ(), environment...)
	run.Stdout, run.Stderr = out, os.Stderr
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() })
	return run, out
}

func guideInLanguages(t *testing.T, languages []string, test func(t *testing.T, language string)) {
	t.Helper()
	t.Parallel()
	if testing.Short() && !*requireReceivers {
		t.Skip("make receivers runs the programs of the documentation, and so does make test-all")
	}
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			test(t, language)
		})
	}
}

// TestGuideTokens checks that the server accepts the tokens that the programs print.
func TestGuideTokens(t *testing.T) {
	guideInLanguages(t, []string{"node", "python", "go", "java"}, func(t *testing.T, language string) {
		s := startServer(t)
		program, out := startGuideProgram(t, beside(t, s), "token "+language, nil, "爱丽丝")
		if err := program.Wait(); err != nil {
			t.Fatal(err)
		}
		c := s.clientWith(strings.TrimSpace(out.String()), "")
		m, err := say(context.Background(), c, "@bob", "", "hi")
		if err != nil || m.Sender != "爱丽丝" {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// TestGuideStreams checks that the programs print each message once, even if the server is killed
// in the meantime.
func TestGuideStreams(t *testing.T) {
	guideInLanguages(t, []string{"node", "python"}, func(t *testing.T, language string) {
		s := startServer(t)
		alice := s.client("alice", "")
		_, out := startGuideProgram(t, ".", "stream "+language, []string{"API=http://" + s.addr, "TOKEN=" + s.token("bob")})
		await.Until(t, "the program listens", func() bool { return strings.Contains(out.String(), "listening") })
		send := func(text string) client.Message {
			t.Helper()
			m, err := say(context.Background(), alice, "@bob", "", text)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		send("one")
		await.Until(t, "one is printed", func() bool { return strings.Contains(out.String(), "one") })
		s.kill()
		s.start()
		gone := send("taken back")
		if _, err := alice.RevokeMessageWithResponse(context.Background(), gone.ID, nil, client.RevokeMessageJSONRequestBody{}); err != nil {
			t.Fatal(err)
		}
		send("two")
		await.Until(t, "two is printed", func() bool { return strings.Contains(out.String(), "two") })
		send("three")
		await.Until(t, "three is printed", func() bool { return strings.Contains(out.String(), "three") })
		var got []string
		for line := range strings.Lines(out.String()) {
			if line = strings.TrimSpace(line); line != "listening" && line != "alice taken back" {
				got = append(got, line)
			}
		}
		if want := []string{"alice one", "alice two", "alice three"}; !slices.Equal(got, want) {
			t.Errorf("printed %q, want %q", got, want)
		}
	})
}

// TestGuidePaths checks that the document has every path that the guide names.
func TestGuidePaths(t *testing.T) {
	document, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	var paths []*regexp.Regexp
	parameter := regexp.MustCompile(`\\\{[^}]*\\\}`)
	for path := range document.Paths.Map() {
		paths = append(paths, regexp.MustCompile("^"+parameter.ReplaceAllString(regexp.QuoteMeta(path), "[^/]+")+"$"))
	}
	named := regexp.MustCompile(`/v1(?:/[\w@${}.-]+)+`).FindAllString(readDoc(t, "docs/guide.md"), -1)
	for _, path := range named {
		if !slices.ContainsFunc(paths, func(p *regexp.Regexp) bool { return p.MatchString(path) }) {
			t.Errorf("docs/guide.md names %s, which the document does not have", path)
		}
	}
	if len(named) < 40 {
		t.Errorf("%d paths were found", len(named))
	}
}
