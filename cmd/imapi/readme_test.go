package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/metrics"
)

// These tests check that README.md and docs/ are true: they run the walks, build and run the Go
// program, and compare the tables.

var update = flag.Bool("update", false, "write what the walks print into docs/walk.md and docs/streams.md")

const (
	root          = "../../"
	readmeAddress = "127.0.0.1:8080"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

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

func TestReadmeGreeting(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(readDoc(t, "README.md"), "<!-- greeting -->\n```text\n")
	want, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("README.md has no greeting")
	}
	s := startServer(t)
	there := strings.NewReplacer(s.addr, readmeAddress, s.bin, "bin/imapi", s.data, "./data")
	await.Until(t, "the greeting is printed", func() bool { return strings.Count(s.out.String(), "\n") == strings.Count(want, "\n") })
	// make sets the commit as the version, a test does not.
	want = regexp.MustCompile(`^imapi \w+ `).ReplaceAllString(want, "imapi "+version+" ")
	if got := there.Replace(s.out.String()); got != want {
		t.Errorf("the server greets with\n%s\nREADME.md has\n%s", got, want)
	}
}

// TestReadmeGo builds and runs the program in docs/guide.md, and sends it messages.
func TestReadmeGo(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(readDoc(t, "docs/guide.md"), "<!-- guide: bot go -->\n```go\n")
	source, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/guide.md has no Go program")
	}
	s := startServer(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "bot.go")
	source = strings.ReplaceAll(source, readmeAddress, s.addr)
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	// With -trimpath, the client is the one that was compiled for the server.
	for _, args := range [][]string{{"vet", "-trimpath", path}, {"build", "-trimpath", "-o", filepath.Join(dir, "bot"), path}} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", args[0], err, out)
		}
	}

	bot := exec.Command(filepath.Join(dir, "bot"))
	bot.Env = append(os.Environ(), "TOKEN="+s.token("bot"))
	log := &syncBuffer{}
	bot.Stderr = log
	if err := bot.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bot.Process.Kill(); _ = bot.Wait() })
	await.Until(t, "the bot is ready", func() bool { return strings.Contains(log.String(), "ready") })

	alice := s.client("alice", "")
	if _, err := say(context.Background(), alice, "@bot", "", "hello"); err != nil {
		t.Fatal(err)
	}
	var texts []string
	answered := func(n int) {
		t.Helper()
		await.Until(t, fmt.Sprintf("the conversation has %d messages", n), func() bool {
			texts = nil
			for _, m := range history(t, alice, "@bot") {
				text := string(m.Body)
				if m.Erased != nil {
					text = string(m.State)
				}
				texts = append(texts, text)
			}
			return len(texts) >= n
		})
	}
	answered(2)
	// An erased message must not confuse it.
	hello := history(t, alice, "@bot")[0].ID
	if _, err := alice.RevokeMessageWithResponse(context.Background(), hello, nil, client.RevokeMessageJSONRequestBody{}); err != nil {
		t.Fatal(err)
	}
	if _, err := say(context.Background(), alice, "@bot", "", "again"); err != nil {
		t.Fatal(err)
	}
	answered(4)
	want := []string{"revoked", `{"text":"You said: hello"}`, `{"text":"again"}`, `{"text":"You said: again"}`}
	if !slices.Equal(texts, want) {
		t.Errorf("the conversation is %v, want %v", texts, want)
	}
}

// table returns the rows of the table after a comment by their first cell, without the head.
func table(t *testing.T, doc, comment string) map[string][]string {
	t.Helper()
	_, rest, ok := strings.Cut(doc, "<!-- "+comment+" -->\n")
	if !ok {
		t.Fatalf("there is no table %q", comment)
	}
	rows := make(map[string][]string)
	for i, line := range strings.Split(rest, "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		if i > 1 {
			rows[cells[0]] = cells[1:]
		}
	}
	return rows
}

// TestReadmeDependencies checks that README.md gives a reason for each direct dependency, and for
// no others.
func TestReadmeDependencies(t *testing.T) {
	readme := readDoc(t, "README.md")
	for file, direct := range map[string]*regexp.Regexp{
		"go.mod":                regexp.MustCompile(`(?m)^\t(\S+) v\S+$`),
		"tools/go.mod":          regexp.MustCompile(`(?m)^tool (\S+)$`),
		"tools/golangci/go.mod": regexp.MustCompile(`(?m)^tool (\S+)$`),
		// The pattern finds only pinned dependencies.
		"web/package.json":                regexp.MustCompile(`(?m)^    "(\S+)": "\d+\.\d+\.\d+",?$`),
		"clients/typescript/package.json": regexp.MustCompile(`(?m)^    "(\S+)": "\d+\.\d+\.\d+",?$`),
	} {
		link := regexp.MustCompile(`^\[(.*)\]`)
		var named, want []string
		for cell := range table(t, readme, "dependencies: "+file) {
			named = append(named, link.FindStringSubmatch(cell)[1])
		}
		for _, m := range direct.FindAllStringSubmatch(readDoc(t, file), -1) {
			module := regexp.MustCompile(`/v\d+$`).ReplaceAllString(m[1], "")
			module, _, _ = strings.Cut(module, "/cmd/")
			module = regexp.MustCompile(`/v\d+$`).ReplaceAllString(module, "")
			want = append(want, strings.TrimPrefix(module, "github.com/"))
		}
		slices.Sort(named)
		slices.Sort(want)
		if len(want) == 0 || !slices.Equal(named, want) {
			t.Errorf("README.md explains %v, %s has %v", named, file, want)
		}
	}
}

// TestReadmeFlags compares the tables of flags with the help of the commands.
func TestReadmeFlags(t *testing.T) {
	operations := readDoc(t, "docs/operations.md")
	help := regexp.MustCompile(`(?m)^  --(\S+).*\n        (.*)\n        (IMAPI_\w+)$`)
	for _, command := range []string{"serve", "token", "import", "export", "retention", "backup", "verify", "reindex", "restore", "send", "listen", "tail", "healthcheck", "doctor"} {
		var out, diag bytes.Buffer
		dispatch(t.Context(), []string{command, "--help"}, &out, &diag)
		rows := table(t, operations, "flags: "+command)
		if command == "doctor" { // which also has the flags of serve
			maps.Copy(rows, table(t, operations, "flags: serve"))
		}
		for _, m := range help.FindAllStringSubmatch(diag.String(), -1) {
			name, text, variable := "--"+m[1], m[2], m[3]
			row := rows[name]
			if len(row) != 3 {
				t.Errorf("docs/operations.md lacks %s %s", command, name)
				continue
			}
			delete(rows, name)
			if row[0] != variable {
				t.Errorf("%s %s is %s, docs/operations.md has %q", command, name, variable, row[0])
			}
			byDefault := ""
			if m := regexp.MustCompile(`\((\S+)\)$`).FindStringSubmatch(text); m != nil {
				byDefault = m[1]
			}
			if row[1] != byDefault {
				t.Errorf("%s %s is %q by default, docs/operations.md has %q", command, name, byDefault, row[1])
			}
		}
		for name := range rows {
			t.Errorf("docs/operations.md lists %s %s, which does not exist", command, name)
		}
	}
}

// servedMetrics returns the types of all metrics that a server may have, by name.
func servedMetrics(t *testing.T) map[string]string {
	t.Helper()
	m := metrics.New(version)
	m.Request("none", 200, 0)
	m.Erased("revoked")
	m.ErasedLate(0)
	m.OldestMessage(func() (time.Time, bool) { return time.Time{}, false })
	m.ClockGuard(func() time.Duration { return 0 })
	m.Attachments(func() (int64, int64) { return 0, 0 })
	m.ThumbnailsWaiting(func() float64 { return 0 })
	m.Unshredded(func() (int, time.Duration) { return 0, 0 })
	m.WebhookStates(0, 0, 0)
	m.WebhookLag(func() time.Duration { return 0 })
	m.SearchIndex(func() metrics.SearchState { return metrics.SearchState{} })
	m.DataStreams([]string{"idle"}, func() metrics.DataStreams { return metrics.DataStreams{} })
	response := httptest.NewRecorder()
	m.Handler().ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	served := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(response.Body.String(), -1) {
		served[m[1]] = m[2]
	}
	return served
}

// TestReadmeMetrics compares the table of metrics with those served.
func TestReadmeMetrics(t *testing.T) {
	rows := table(t, readDoc(t, "docs/operations.md"), "metrics")
	for name, kind := range servedMetrics(t) {
		if !strings.HasPrefix(name, "imapi_") {
			continue
		}
		if row := rows[name]; len(row) != 2 || row[0] != kind {
			t.Errorf("docs/operations.md has %s as %v, want a %s", name, row, kind)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("docs/operations.md lists %s, which does not exist", name)
	}
}

// TestReadmeRateCosts compares the table of costs of requests with the OpenAPI document.
func TestReadmeRateCosts(t *testing.T) {
	spec, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	rows := table(t, readDoc(t, "docs/security.md"), "rate costs")
	for _, path := range spec.Paths.Map() {
		for _, op := range path.Operations() {
			cost, list := op.Extensions["x-rate-cost"], op.Extensions["x-rate-cost-list"]
			if cost == nil && list == nil {
				continue
			}
			if cost == nil {
				cost = 1
			}
			want := []string{fmt.Sprint(cost), ""}
			if l, ok := list.(map[string]any); ok {
				want[1] = strings.Replace(fmt.Sprintf("one for every %v `%v`", l["items"], l["member"]), "every 1 ", "each of ", 1)
				want[1] = strings.TrimSuffix(want[1], "`") // in the form in which the table is parsed
			}
			if got := rows[op.OperationID]; !slices.Equal(got, want) {
				t.Errorf("docs/security.md has %s as %q, want %q", op.OperationID, got, want)
			}
			delete(rows, op.OperationID)
		}
	}
	for name := range rows {
		t.Errorf("docs/security.md has %s, which takes one", name)
	}
}

// TestReadmeLinks checks that links in the documentation lead to existing files and headings.
func TestReadmeLinks(t *testing.T) {
	var docs []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(root + pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		docs = append(docs, found...)
	}
	link := regexp.MustCompile(`\]\(([^):#]+)(?:#([^)]*))?\)`)
	for _, doc := range docs {
		for _, m := range link.FindAllStringSubmatch(readDoc(t, strings.TrimPrefix(doc, root)), -1) {
			target := filepath.Join(filepath.Dir(doc), m[1])
			b, err := os.ReadFile(target)
			if err != nil {
				if _, err = os.Stat(target); err != nil {
					t.Errorf("%s: %v", doc, err)
				}
				continue
			}
			if m[2] != "" && !slices.Contains(anchors(string(b)), m[2]) {
				t.Errorf("%s: there is no #%s in %s", doc, m[2], m[1])
			}
		}
	}
}

// anchors returns the names of a document's headings.
func anchors(doc string) []string {
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(doc, -1) {
		name := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}
