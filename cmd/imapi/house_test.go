package main_test

import (
	"errors"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const ourModule = "github.com/imapi/imapi/"

// anything stands for every package of the module.
const anything = "*"

// house lists the packages of the module that each package may import. A new package has to
// be added here.
//
// Calls go one way: handlers → im → storage → events. So only handlers know HTTP requests, and only
// cmd knows the storage engine.
var house = map[string][]string{
	"seqs":                {},
	"im":                  {"seqs"},
	"faults":              {},
	"keyring":             {"im"},
	"auth":                {"im"},
	"awake":               {},
	"events":              {"im", "seqs", "awake", "faults"},
	"datastreams":         {"im", "awake", "faults", "jsonscan"},
	"retention":           {"im", "faults"},
	"blobs":               {"im"},
	"blobs/thumbnail":     {"im", "sniff"},
	"storage":             {"im", "keyring", "storage/sqlite"},
	"search":              {},
	"sniff":               {},
	"sockets":             {},
	"storage/sqlite":      {"im", "seqs", "awake", "faults", "search", "storage/record", "storage/searchindex", "storage/sqlite/packed", "storage/sqlite/supported"},
	"storage/record":      {"im", "seqs", "search"},
	"storage/searchindex": {"faults", "search", "storage/sqlite/supported"},
	"storage/storagetest": {"im", "internal/testsize"},
	"api":                 {},
	"jsonscan":            {"im"},
	"transfer":            {"im", "jsonscan"},
	"handlers":            {"api", "auth", "awake", "datastreams", "events", "faults", "im", "jsonscan", "sockets", "transfer"},
	"metrics":             {},
	"outgoing":            {"awake"},
	"presend":             {"im", "jsonscan", "outgoing"},
	"web":                 {"awake"},
	"webhooks":            {"faults", "im", "outgoing"},
	"client":              {},
	"cmd/imapi":           {anything},
	"cmd/imapi-load":      {"auth", "client", "im", "internal/tty", "jsonscan"},
	"internal/tty":        {},

	"storage/sqlite/packed":    {"storage/sqlite/supported"},
	"storage/sqlite/supported": {},
	"storage/sqlite/disktest":  {}, // for tests only
	"internal/testsize":        {}, // for tests only
	"internal/await":           {}, // for tests only
	"internal/loopback":        {}, // for tests only
	"internal/nameserver":      {}, // for tests only
	"internal/steps":           {}, // for tests only
}

// soleImporters are external packages that only some of ours may import.
var soleImporters = []struct {
	what  string
	is    func(path string) bool
	below []string
}{
	{"SQL", func(p string) bool { return p == "database/sql" || strings.HasPrefix(p, "database/sql/") }, []string{"storage/sqlite", "storage/searchindex"}},
	{"the SQLite driver", func(p string) bool { return strings.Contains(p, "sqlite3") }, []string{"storage/sqlite", "storage/searchindex"}},
}

// forbiddenOutside are external packages that some of ours may not import.
var forbiddenOutside = []struct {
	below string
	what  string
	is    func(path string) bool
}{
	{"im", "anything but the standard library, Unicode's normal forms and sets of seqs", func(p string) bool {
		return strings.Contains(strings.Split(p, "/")[0], ".") && p != "golang.org/x/text/unicode/norm" && p != ourModule+"seqs"
	}},
	{"sniff", "HTTP", func(p string) bool { return p == "net/http" || strings.HasPrefix(p, "net/http/") }},
	{"blobs", "HTTP", func(p string) bool { return p == "net/http" || strings.HasPrefix(p, "net/http/") }},
	{"im", "HTTP", func(p string) bool { return p == "net/http" || strings.HasPrefix(p, "net/http/") }},
	{"transfer", "HTTP", func(p string) bool { return p == "net/http" || strings.HasPrefix(p, "net/http/") }},
	{"storage", "HTTP", func(p string) bool { return p == "net/http" || strings.HasPrefix(p, "net/http/") }},
}

// houseFaults returns what is wrong with an import of a package; nothing if it is allowed.
func houseFaults(pkg, path string) (list []string) {
	if ours, found := strings.CutPrefix(path+"/", ourModule); found {
		ours = strings.TrimSuffix(ours, "/")
		may := house[pkg]
		if !slices.Contains(may, ours) && !slices.Contains(may, anything) {
			list = append(list, "of ours it may import only ["+strings.Join(may, " ")+"]")
		}
	}
	for _, rule := range soleImporters {
		if rule.is(path) && !slices.ContainsFunc(rule.below, func(dir string) bool { return inside(pkg, dir) }) {
			list = append(list, "only "+strings.Join(rule.below, " and ")+" know "+rule.what)
		}
	}
	for _, rule := range forbiddenOutside {
		if inside(pkg, rule.below) && rule.is(path) {
			list = append(list, "may not import "+rule.what)
		}
	}
	return list
}

func inside(pkg, dir string) bool { return strings.HasPrefix(pkg+"/", dir+"/") }

func TestHouse(t *testing.T) {
	t.Parallel()
	root := houseRoot(t)
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && notOfTheModule(path, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(dir)
		if _, known := house[pkg]; !known && !found[pkg] {
			t.Errorf("%s is not in the table: add what it may import", pkg)
		}
		found[pkg] = true
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			for _, fault := range houseFaults(pkg, imported) {
				t.Errorf("%s/%s imports %s: %s", pkg, filepath.Base(path), imported, fault)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"im", "storage/sqlite", "handlers", "cmd/imapi"} {
		if !found[pkg] {
			t.Errorf("no Go files found in %s: the test looks in the wrong directory", pkg)
		}
	}
}

// TestHouseNamesPackages: the table, the rules below it and those of the linter name only packages
// that exist. An entry for another one would allow imports of whatever gets the name later.
func TestHouseNamesPackages(t *testing.T) {
	t.Parallel()
	root := houseRoot(t)
	need := func(where, pkg string) {
		t.Helper()
		if files, _ := filepath.Glob(filepath.Join(root, pkg, "*.go")); len(files) == 0 {
			t.Errorf("%s names %s, which is not a package", where, pkg)
		}
	}
	for pkg, may := range house {
		need("the table", pkg)
		for _, imported := range may {
			if imported != anything {
				need("the line of "+pkg, imported)
			}
		}
	}
	for _, rule := range soleImporters {
		for _, dir := range rule.below {
			need("the rule about "+rule.what, dir)
		}
	}
	for _, rule := range forbiddenOutside {
		need("the rule about "+rule.what, rule.below)
	}
	linters, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	named := linterPackage.FindAllSubmatch(linters, -1)
	for _, m := range named {
		need(".golangci.yml", string(m[1])+string(m[2]))
	}
	if len(named) < 20 {
		t.Errorf("found only %d packages in .golangci.yml", len(named))
	}
}

// linterPackage finds the packages in the rules of depguard: as an import path, or as a pattern of
// files.
var linterPackage = regexp.MustCompile(`\bgithub\.com/imapi/imapi/([\w/-]+)|\*\*/([\w/-]+)/\*`)

// TestHouseRules checks that the table implies the most important rules.
func TestHouseRules(t *testing.T) {
	for _, test := range []struct {
		pkg, path string
		ok        bool
	}{
		{"im", "time", true},
		{"im", "encoding/json", true},
		{"im", "net/http", false},
		{"im", "golang.org/x/sync/errgroup", false},
		{"im", "github.com/google/uuid", false},
		{"im", ourModule + "seqs", true},
		{"im", ourModule + "storage", false},
		{"im", ourModule + "api", false},
		{"storage", ourModule + "im", true},
		{"storage", ourModule + "storage/sqlite", true},
		{"storage", ourModule + "events", false},
		{"storage/sqlite", ourModule + "events", false},
		{"storage/sqlite", ourModule + "handlers", false},
		{"storage/sqlite", ourModule + "api", false},
		{"storage/sqlite", ourModule + "auth", false},
		{"storage/sqlite", "net/http", false},
		{"storage/sqlite", "database/sql/driver", true},
		{"storage/sqlite", "github.com/mattn/go-sqlite3", true},
		{"storage/searchindex", "github.com/mattn/go-sqlite3", true},
		{"storage/searchindex", ourModule + "im", false},
		{"storage", "database/sql", false},
		{"handlers", "database/sql", false},
		{"cmd/imapi", "github.com/mattn/go-sqlite3", false},
		{"handlers", "net/http", true},
		{"handlers", ourModule + "im", true},
		{"handlers", ourModule + "api", true},
		{"handlers", ourModule + "storage", false},
		{"handlers", ourModule + "storage/sqlite", false},
		{"handlers", ourModule + "transfer", true},
		{"transfer", ourModule + "im", true},
		{"transfer", ourModule + "handlers", false},
		{"transfer", "net/http", false},
		{"events", ourModule + "im", true},
		{"events", ourModule + "storage", false},
		{"auth", ourModule + "handlers", false},
		{"retention", ourModule + "storage", false},
		{"webhooks", ourModule + "storage", false},
		{"webhooks", ourModule + "handlers", false},
		{"blobs", ourModule + "storage", false},
		{"api", ourModule + "im", false},
		{"metrics", ourModule + "im", false},
		{"web", ourModule + "api", false},
		{"client", ourModule + "api", false},
		{"cmd/imapi", ourModule + "storage", true},
		{"cmd/imapi-load", ourModule + "handlers", false},
		{"cmd/imapi-load", ourModule + "storage", false},
		{"nowhere", ourModule + "im", false},
	} {
		if got := houseFaults(test.pkg, test.path); (len(got) == 0) != test.ok {
			t.Errorf("%s imports %s: faults %q, want it allowed: %t", test.pkg, test.path, got, test.ok)
		}
	}
}

// notOfTheModule reports whether the go command excludes a directory from the module.
func notOfTheModule(path, name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "vendor" || name == "node_modules" {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

// houseRoot returns the nearest parent directory with a go.mod.
func houseRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = parent
	}
}

// mapLine finds the names of files in the map of a package, which is the indented lines of its doc
// comment.
var mapLine = regexp.MustCompile(`(?m)^//\t.*$`)

// unmapped is the number of files, tests included, that a package may have without a map.
const unmapped = 10

var fileName = regexp.MustCompile(`[\w.*]+\.go\b`)

// TestMaps: the map in the doc.go of a package names each of its files, and no others. Each package
// of more than ten files has one.
func TestMaps(t *testing.T) {
	t.Parallel()
	root := houseRoot(t)
	mapped := 0
	for pkg := range house {
		dir := filepath.Join(root, pkg)
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := os.ReadFile(filepath.Join(dir, "doc.go"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		named := fileName.FindAllString(strings.Join(mapLine.FindAllString(string(doc), -1), "\n"), -1)
		if len(named) == 0 {
			if len(files) > unmapped {
				t.Errorf("%s has %d files and no map in a doc.go", pkg, len(files))
			}
			continue
		}
		mapped++
		found := map[string]bool{"doc.go": true}
		var unnamed []string
		for _, file := range files {
			name := filepath.Base(file)
			if strings.HasSuffix(name, "_test.go") || name == "doc.go" {
				continue
			}
			is := func(pattern string) bool {
				found[pattern] = found[pattern] || matches(pattern, name)
				return matches(pattern, name)
			}
			matched := false
			for _, pattern := range named {
				matched = is(pattern) || matched
			}
			if !matched {
				unnamed = append(unnamed, name)
			}
		}
		for _, name := range unnamed {
			t.Errorf("%s/doc.go does not name %s", pkg, name)
		}
		for _, name := range named {
			if !found[name] {
				t.Errorf("%s/doc.go names %s, which does not exist", pkg, name)
			}
		}
	}
	if mapped < 15 {
		t.Errorf("found only %d maps", mapped)
	}
}

// matches reports whether a map names a file: "store_*.go" names several.
func matches(pattern, name string) bool {
	ok, err := filepath.Match(pattern, name)
	return err == nil && ok
}
