package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imapi/imapi/api"
)

// These tests check the packaging without running it; packaging/test.sh runs it.

// metricName matches names of metrics in expressions.
var metricName = regexp.MustCompile(`\b(?:imapi|process|go)_[a-z0-9_]+\b`)

// checkMetrics checks that an expression names at least one metric, and only existing ones.
func checkMetrics(t *testing.T, where, expr string, served map[string]string) {
	t.Helper()
	names := metricName.FindAllString(expr, -1)
	for _, name := range names {
		base := name
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if h, ok := strings.CutSuffix(name, suffix); ok && served[h] == "histogram" {
				base = h
			}
		}
		switch kind := served[base]; {
		case kind == "":
			t.Errorf("%s: there is no metric %s", where, name)
		case kind == "histogram" && base == name:
			t.Errorf("%s: %s is a histogram, which has no series of that name", where, name)
		case kind == "counter" && !strings.Contains(expr, "rate(") && !strings.Contains(expr, "increase("):
			t.Errorf("%s: %s is a counter, of which only the rate means something", where, name)
		}
	}
	if len(names) == 0 && !strings.Contains(expr, "up{") {
		t.Errorf("%s: no metric in %q", where, expr)
	}
}

// panel is a panel or a row of the dashboard.
type panel struct {
	ID          int
	Type, Title string
	GridPos     grid
	FieldConfig struct{ Defaults struct{ Unit string } }
	Datasource  struct{ Type, UID string }
	Targets     []struct{ Expr, LegendFormat, RefID string }
}

// grid is a place on the dashboard.
type grid struct{ X, Y, W, H int }

func (g grid) overlaps(o grid) bool {
	return g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H
}

// operationIDs returns the operations of the document.
func operationIDs(t *testing.T) map[string]bool {
	t.Helper()
	document, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	for _, path := range document.Paths.Map() {
		for _, operation := range path.Operations() {
			ids[operation.OperationID] = true
		}
	}
	return ids
}

// namedOperation matches the operations that a query selects.
var namedOperation = regexp.MustCompile(`operation!?[=~]+"([^"]*)"`)

// checkTargets checks the queries of a panel.
func (p panel) checkTargets(t *testing.T, where string, served map[string]string, operations map[string]bool) {
	t.Helper()
	refs := make(map[string]bool)
	for _, target := range p.Targets {
		checkMetrics(t, where, target.Expr, served)
		for _, m := range namedOperation.FindAllStringSubmatch(target.Expr, -1) {
			for name := range strings.SplitSeq(m[1], "|") {
				if !operations[name] {
					t.Errorf("%s: there is no operation %q", where, name)
				}
			}
		}
		if refs[target.RefID] || !strings.Contains(target.Expr, `job="$job"`) {
			t.Errorf("%s: target %s appears twice, or is for every job", where, target.RefID)
		}
		refs[target.RefID] = true
		if p.Type == "timeseries" && target.LegendFormat == "" {
			t.Errorf("%s: target %s has no legend", where, target.RefID)
		}
	}
}

func TestGrafana(t *testing.T) {
	var dashboard struct {
		Title      string
		UID        string
		Panels     []panel
		Templating struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(readDoc(t, "docs/grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	served := servedMetrics(t)
	unused := make(map[string]bool)
	for name := range served {
		unused[name] = strings.HasPrefix(name, "imapi_")
	}
	operations := operationIDs(t)
	ids, panels := make(map[int]bool), 0
	var taken []grid
	for _, p := range dashboard.Panels {
		where := fmt.Sprintf("panel %d %q", p.ID, p.Title)
		if p.Title == "" || p.ID == 0 || ids[p.ID] {
			t.Errorf("%s has no title or no id of its own", where)
		}
		ids[p.ID] = true
		for _, g := range taken {
			if p.GridPos.overlaps(g) {
				t.Errorf("%s lies over another", where)
			}
		}
		taken = append(taken, p.GridPos)
		if p.Type == "row" {
			continue
		}
		panels++
		if p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s has no unit, no targets or a data source of its own", where)
		}
		p.checkTargets(t, where, served, operations)
		for _, target := range p.Targets {
			for _, name := range metricName.FindAllString(target.Expr, -1) {
				for _, suffix := range []string{"", "_bucket", "_count"} {
					delete(unused, strings.TrimSuffix(name, suffix))
				}
			}
		}
	}
	for name, is := range unused {
		if is {
			t.Errorf("no panel shows %s", name)
		}
	}
	var variables []string
	for _, v := range dashboard.Templating.List {
		variables = append(variables, v.Name)
	}
	if dashboard.UID == "" || panels < 20 || !slices.Equal(variables, []string{"datasource", "job", "instance"}) {
		t.Errorf("%d panels, variables %v, uid %q", panels, variables, dashboard.UID)
	}
}

func TestAlerts(t *testing.T) {
	served := servedMetrics(t)
	operations := readDoc(t, "docs/operations.md")
	rules := strings.Split(readDoc(t, "docs/alerts.yml"), "      - alert: ")[1:]
	for _, rule := range rules {
		name, body, _ := strings.Cut(rule, "\n")
		_, expr, _ := strings.Cut(body, "expr: ")
		expr, _, _ = strings.Cut(expr, "\n        labels:")
		expr, _, _ = strings.Cut(expr, "\n        for:")
		checkMetrics(t, name, expr, served)
		for _, part := range []string{"labels: {severity: ", "summary: ", "description: "} {
			if strings.Count(body, part) != 1 {
				t.Errorf("%s has %d of %q", name, strings.Count(body, part), part)
			}
		}
		if strings.Contains(body, "severity: critical") && !strings.Contains(operations, "`"+name+"`") {
			t.Errorf("docs/operations.md does not say what to do about %s", name)
		}
	}
	if len(rules) < 10 {
		t.Errorf("%d rules were found", len(rules))
	}
	for _, m := range regexp.MustCompile("`(Imapi[A-Za-z]+)`").FindAllStringSubmatch(operations, -1) {
		if !slices.ContainsFunc(rules, func(rule string) bool { return strings.HasPrefix(rule, m[1]+"\n") }) {
			t.Errorf("docs/operations.md has an alert %s, which does not exist", m[1])
		}
	}
}

// TestContainerfile checks what packaging/test.sh cannot, because it has no container engine.
func TestContainerfile(t *testing.T) {
	file := strings.ReplaceAll(readDoc(t, "Containerfile"), "\\\n", "")
	instructions := make(map[string][]string)
	for line := range strings.Lines(file) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		instructions[name] = append(instructions[name], rest)
	}
	known := []string{"FROM", "WORKDIR", "COPY", "RUN", "ARG", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
	for name := range instructions {
		if !slices.Contains(known, name) {
			t.Errorf("there is an instruction %s", name)
		}
	}
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readDoc(t, "go.mod"))[1]
	for _, from := range instructions["FROM"] {
		if image, _, _ := strings.Cut(from, " "); !regexp.MustCompile(`^docker\.io/library/[a-z]+:[\w.-]+$`).MatchString(image) || strings.HasSuffix(image, ":latest") {
			t.Errorf("FROM %s has no full name and version", image)
		}
	}
	if len(instructions["FROM"]) != 2 || !strings.HasPrefix(instructions["FROM"][0], "docker.io/library/golang:"+goVersion+"-") {
		t.Errorf("FROM %q, and go.mod needs %s", instructions["FROM"], goVersion)
	}
	if user, _, _ := strings.Cut(instructions["USER"][0], ":"); len(instructions["USER"]) != 1 || user == "0" || !isNumber(user) {
		t.Errorf("USER %q is not the number of a user without privileges", instructions["USER"])
	}
	if unknown := unknownVariables(strings.Fields(strings.Join(instructions["ENV"], " "))); len(unknown) > 0 {
		t.Errorf("ENV sets %v, which are no flags", unknown)
	}
	for _, kind := range []string{"HEALTHCHECK", "CMD"} {
		list := regexp.MustCompile(`\[.*\]`).FindString(strings.Join(instructions[kind], ""))
		var words []string
		if err := json.Unmarshal([]byte(list), &words); err != nil {
			t.Fatalf("%s %q: %v", kind, list, err)
		}
		if _, ok := find(words[len(words)-1]); !ok {
			t.Errorf("%s runs imapi %s, which does not exist", kind, words)
		}
	}

	// The build context has all packages and nothing secret.
	ignore := strings.Split(readDoc(t, ".containerignore"), "\n")
	for dir := range houseDirectories(t) {
		if !slices.Contains(ignore, "!"+dir) {
			t.Errorf(".containerignore leaves out %s", dir)
		}
	}
	if ignore[1] != "*" {
		t.Error(".containerignore does not leave out what it does not name")
	}
}

func isNumber(s string) bool { _, err := strconv.Atoi(s); return err == nil }

// houseDirectories returns the directories of the repository with packages of the server.
func houseDirectories(t *testing.T) map[string]bool {
	t.Helper()
	dirs := make(map[string]bool)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files, err := filepath.Glob(root + e.Name() + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 {
			dirs[e.Name()] = true
		}
	}
	if !dirs["im"] || !dirs["handlers"] {
		t.Fatalf("found %v", dirs)
	}
	return dirs
}

// TestUnitAndCompose checks that the variables in the files for systemd and compose belong to
// flags, and that both give the server enough time to shut down.
func TestUnitAndCompose(t *testing.T) {
	stops := regexp.MustCompile(`(?:TimeoutStopSec=|stop_grace_period: )(\d+)`)
	for _, name := range []string{"packaging/imapi.service", "compose.yaml"} {
		text := readDoc(t, name)
		if unknown := unknownVariables(variable.FindAllString(text, -1)); len(unknown) > 0 {
			t.Errorf("%s sets %v, which are no flags", name, unknown)
		}
		m := stops.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("%s has no time to stop", name)
		}
		if seconds, _ := strconv.Atoi(m[1]); float64(seconds) < 2*drainTime.Seconds() {
			t.Errorf("%s gives %d s to stop", name, seconds)
		}
	}
}
