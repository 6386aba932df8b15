package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
)

// These tests run the commands of docs/walk.md and docs/streams.md in shells.

var update = flag.Bool("update", false, "write what the walks print into docs/walk.md and docs/streams.md")

// walkStep matches a step of the walk: a comment with the user of the terminal and the kind
// of step, and the block that follows.
var walkStep = regexp.MustCompile("(?s)<!-- walk: (\\w+) (runs|prints|stops|waits) -->(?:\n```\\w+\n(.*?)```)?")

// TestReadmeWalk runs the commands in docs/walk.md in shells, and checks that they print what the
// document shows, except for ids, times and cursors.
func TestReadmeWalk(t *testing.T) {
	t.Parallel()
	walk(t, "docs/walk.md")
}

// TestReadmeDataStreams does the same with docs/streams.md.
func TestReadmeDataStreams(t *testing.T) {
	t.Parallel()
	walk(t, "docs/streams.md")
}

// walk runs the steps of a document in two terminals.
func walk(t *testing.T, document string) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("the walk needs curl")
	}
	s := startServer(t)
	dir := beside(t, s)
	here := strings.NewReplacer(readmeAddress, s.addr, "/tmp/", dir+"/")

	readme := readDoc(t, document)
	terminals := make(map[string]*terminal)
	known := make(map[string]string)
	var updated strings.Builder
	end := 0
	for _, at := range walkStep.FindAllStringSubmatchIndex(readme, -1) {
		name, does := readme[at[2]:at[3]], readme[at[4]:at[5]]
		block := ""
		if at[6] >= 0 {
			block = readme[at[6]:at[7]]
		}
		term := terminals[name]
		if term == nil {
			term = openTerminal(t, dir)
			terminals[name] = term
		}
		switch does {
		case "runs":
			term.run(here.Replace(block))
		case "stops":
			term.interrupt()
		case "waits":
			// Wait as long as a person would, so that receipts are stored.
			time.Sleep(2 * time.Second)
		case "prints":
			if *update {
				updated.WriteString(readme[end:at[6]] + term.settled())
				end = at[7]
				continue
			}
			if err := term.expect(block, known); err != nil {
				t.Fatalf("%s's terminal: %v", name, err)
			}
		}
	}
	for name, term := range terminals {
		if rest := strings.TrimSpace(term.unread()); rest != "" {
			t.Errorf("%s's terminal has printed more than %s:\n%s", name, document, rest)
		}
	}
	if len(terminals) != 2 {
		t.Errorf("%s walks in %d terminals, want 2", document, len(terminals))
	}
	if *update {
		if err := os.WriteFile(root+document, []byte(updated.String()+readme[end:]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// terminal is a shell and its output.
type terminal struct {
	t     *testing.T
	shell *exec.Cmd
	keys  io.Writer
	out   *syncBuffer
	read  int // the length of the output, without heartbeats, that was handled
}

func openTerminal(t *testing.T, dir string) *terminal {
	t.Helper()
	term := &terminal{t: t, shell: exec.Command("bash", "-s"), out: &syncBuffer{}}
	term.shell.Dir = dir
	term.shell.Stdout, term.shell.Stderr = term.out, term.out
	// A process group of its own receives Ctrl-C, as the one of a terminal does.
	term.shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	keys, err := term.shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	term.keys = keys
	if err := term.shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-term.shell.Process.Pid, syscall.SIGKILL)
		_ = term.shell.Wait()
	})
	// Without the trap, Ctrl-C would also end a shell that is not interactive.
	term.run("trap : INT\n")
	return term
}

func (term *terminal) run(commands string) {
	term.t.Helper()
	if _, err := io.WriteString(term.keys, commands); err != nil {
		term.t.Fatal(err)
	}
}

// interrupt presses Ctrl-C and waits until the shell accepts commands again.
func (term *terminal) interrupt() {
	term.t.Helper()
	if err := syscall.Kill(-term.shell.Process.Pid, syscall.SIGINT); err != nil {
		term.t.Fatal(err)
	}
	const prompt = "interrupted\n"
	term.run("echo interrupted\n")
	await.Until(term.t, "the shell is interrupted", func() bool { return strings.HasSuffix(term.unread(), prompt) })
	term.read += len(term.unread())
}

// heartbeat is what an idle stream sends between events.
var heartbeat = regexp.MustCompile(`(?m)^:\nid: \S+\n`)

func (term *terminal) unread() string {
	return heartbeat.ReplaceAllString(term.out.String(), "")[term.read:]
}

// expect waits until the terminal has printed this next. It leaves further output to the next step,
// such as the event of a message that burned before a slow machine reached this step. known maps
// values in the document that differ between runs to those of this run.
func (term *terminal) expect(want string, known map[string]string) error {
	pattern, values := shape(want)
	var match []string
	deadline := time.Now().Add(patience)
	for match == nil {
		if time.Now().After(deadline) {
			return fmt.Errorf("printed\n%s\nthe document has\n%s", term.unread(), want)
		}
		time.Sleep(2 * time.Millisecond)
		match = pattern.FindStringSubmatch(term.unread())
	}
	term.read += len(match[0])
	for i, value := range values {
		if got, ok := known[value]; ok && got != match[i+1] {
			return fmt.Errorf("the document has %s where there were %s and %s", value, got, match[i+1])
		}
		known[value] = match[i+1]
		// Two different ids or cursors in the document must differ in this run, too; times may be
		// equal.
		if !strings.HasPrefix(value, "retry") && !strings.HasPrefix(value, "2") {
			for other, got := range known {
				if other != value && got == match[i+1] {
					return fmt.Errorf("the document has both %s and %s for %s", other, value, got)
				}
			}
		}
	}
	return nil
}

// settled returns the output of the terminal once it is quiet.
func (term *terminal) settled() string {
	text := ""
	for {
		time.Sleep(500 * time.Millisecond)
		now := term.unread()
		if now != "" && now == text {
			term.read += len(now)
			return strings.TrimRight(now, "\n") + "\n"
		}
		text = now
	}
}

// varying matches values that differ between runs: cursors, ids, page tokens, times, and the wait
// before reconnecting.
var varying = []string{
	`A[Q-Za-f][A-Za-z0-9_-]{18}`,
	`"[0-9a-f][0-9a-v]{12}"`,
	`"[0-9a-v]{26}"`,
	`"[A-Za-z0-9_-]{60,}"`,
	`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`,
	`retry: \d+`,
}

var anyVarying = regexp.MustCompile(strings.Join(varying, "|"))

// shape returns a pattern for output like this, and the values in it for the groups of the
// pattern.
func shape(text string) (pattern *regexp.Regexp, values []string) {
	text = strings.TrimRight(text, "\n")
	var b strings.Builder
	end := 0
	for _, at := range anyVarying.FindAllStringIndex(text, -1) {
		value := text[at[0]:at[1]]
		i := slices.IndexFunc(varying, func(p string) bool { return regexp.MustCompile("^(?:" + p + ")$").MatchString(value) })
		b.WriteString(regexp.QuoteMeta(text[end:at[0]]) + "(" + varying[i] + ")")
		values = append(values, value)
		end = at[1]
	}
	b.WriteString(regexp.QuoteMeta(text[end:]))
	return regexp.MustCompile(`\A\n*` + b.String() + `(?:\n+|\z)`), values
}
