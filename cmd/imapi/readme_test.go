package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/metrics"
)

// These tests check that README.md and docs/ are true: they build and run the Go program, and
// compare the tables. walk_test.go has the walks.

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
	for _, c := range everyCommand() {
		command := c.name
		if command == "help" || command == "version" { // which have no flags
			continue
		}
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
