package sqlite

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

var (
	// keyword matches strings that are parts of statements.
	keyword = regexp.MustCompile(`\b(SELECT|UPDATE|INSERT|DELETE|FROM|WHERE|AND|JOIN|ORDER BY|LIMIT|PRAGMA|ON CONFLICT)\b|\w+ (=|<>|<=|>=) `)
	// braced matches the name of a number.
	braced = regexp.MustCompile(`\{(\w+)\}`)

	comment = regexp.MustCompile(`--.*`)
	// compared matches a column compared with a number, or with a list of numbers.
	compared = regexp.MustCompile(`(?i)\b(\w+)\s*(?:<>|!=|<=|>=|=|<|>|\bIN\s*\()\s*(-?\d+)\b`)
	// declared matches the default of a column.
	declared = regexp.MustCompile(`(?im)^\s*(\w+)\s+(?:INTEGER|ANY)\b.*\bDEFAULT\s+(-?\d+)`)
	// replaced matches the replacement of a NULL, and bounded a limit on rows.
	replaced = regexp.MustCompile(`(?i)\bcoalesce\([\w.]+,\s*(-?\d+)\)`)
	bounded  = regexp.MustCompile(`(?i)\bLIMIT\s+(-?\d+)\b`)
	large    = regexp.MustCompile(`\b\d{5,}\b`)
)

// booleans are the columns in which 0 is false and 1 is true.
var booleans = []string{
	"by_self", "indexed", "in_space", "in_thread", "mute_all", "muted", "private", "purged", "q", "quiet", "receipt", "timed",
}

// literals returns the numbers in SQL that should have a name. 0, and a limit of one row or
// of none, need no name.
func literals(sql string) (found []string) {
	sql = comment.ReplaceAllString(sql, "")
	for _, m := range slices.Concat(compared.FindAllStringSubmatch(sql, -1), declared.FindAllStringSubmatch(sql, -1)) {
		first := m[1] == "first_seq" && m[2] == "1"
		if m[2] != "0" && !(m[2] == "1" && slices.Contains(booleans, m[1])) && !first {
			found = append(found, strings.TrimSpace(m[0]))
		}
	}
	for _, m := range replaced.FindAllStringSubmatch(sql, -1) {
		if m[1] != "0" {
			found = append(found, m[0])
		}
	}
	for _, m := range bounded.FindAllStringSubmatch(sql, -1) {
		if m[1] != "1" && m[1] != "-1" {
			found = append(found, m[0])
		}
	}
	return append(found, large.FindAllString(sql, -1)...)
}

// TestStatementsNameTheirNumbers checks that statements and migrations have no literal
// number for a state, kind, role, sentinel or limit, and that each name in braces is in
// numbers.
func TestStatementsNameTheirNumbers(t *testing.T) {
	used := map[string]bool{}
	check := func(where, sql string) {
		for _, l := range literals(sql) {
			t.Errorf("%s: %q has a literal number", where, l)
		}
		for _, m := range braced.FindAllStringSubmatch(sql, -1) {
			if used[m[1]] = true; numbers[m[1]] == nil {
				t.Errorf("%s: {%s} is not in numbers", where, m[1])
			}
		}
	}
	parts := statementParts(t)
	if len(parts) < 200 {
		t.Errorf("found only %d parts of statements", len(parts))
	}
	for where, part := range parts {
		check(where, part)
	}
	scripts, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("migrations: %v, %v", scripts, err)
	}
	for _, file := range scripts {
		script, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		check(file, string(script))
	}
	for name := range numbers {
		if !used[name] {
			t.Errorf("no statement uses {%s}", name)
		}
	}
}

// statementParts returns the strings of the package that are parts of statements, by
// position.
func statementParts(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	set := token.NewFileSet()
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok || l.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			if keyword.MatchString(text) {
				parts[set.Position(l.Pos()).String()] = text
			}
			return true
		})
	}
	return parts
}

// TestLiterals checks the function literals.
func TestLiterals(t *testing.T) {
	for sql, want := range map[string][]string{
		"m.state = 1 AND m.quiet = 0 AND timed = 1":    {"state = 1"},
		"kind <= 3 AND c.kind<>4":                      {"kind <= 3", "kind<>4"},
		"s.list IN (1, 2)":                             {"list IN (1"},
		"coalesce(k.gone_counted, -1) < c.counted":     {"coalesce(k.gone_counted, -1)"},
		"CASE WHEN ?5 = 4 THEN 1 END":                  {"5 = 4"},
		"LIMIT 100":                                    {"LIMIT 100"},
		"to_event < 9223372036854775807":               {"to_event < 9223372036854775807", "9223372036854775807"},
		"    role INTEGER NOT NULL DEFAULT 3, -- 4":    {"role INTEGER NOT NULL DEFAULT 3"},
		"state = {active} AND id > ? LIMIT 1":          nil,
		"    indexed INTEGER NOT NULL DEFAULT 1, -- 7": nil,
	} {
		if got := literals(sql); !slices.Equal(got, want) {
			t.Errorf("literals(%q) = %q, want %q", sql, got, want)
		}
	}
}

// TestListedKinds checks that exactly the kinds up to room are in the list of
// conversations, because SQL relies on it.
func TestListedKinds(t *testing.T) {
	for _, kind := range []im.Kind{im.Direct, im.Group, im.Room, im.Thread, im.Channel, im.Space} {
		listed := kind == im.Direct || kind == im.Group || kind == im.Room
		if listed != (kind <= im.Room) {
			t.Errorf("a %v is listed: %t", kind, !listed)
		}
	}
}
