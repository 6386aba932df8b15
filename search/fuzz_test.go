package search

import (
	"database/sql"
	"strings"
	"testing"
	"unicode/utf8"

	_ "github.com/mattn/go-sqlite3"
)

// index is an FTS5 table as stores have it.
type index struct {
	testing.TB
	db *sql.DB
	h  *Hasher
}

func newIndex(tb testing.TB) *index {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	tb.Cleanup(func() { _ = db.Close() })
	i := &index{tb, db, NewHasher([]byte("0123456789abcdef0123456789abcdef"))}
	i.exec("CREATE VIRTUAL TABLE search USING fts5 (entries, content='', columnsize=0, detail=none, tokenize=ascii)")
	i.exec("INSERT INTO search (search, rank) VALUES ('secure-delete', 1)")
	return i
}

func (i *index) exec(query string, args ...any) {
	i.Helper()
	if _, err := i.db.Exec(query, args...); err != nil {
		i.Fatalf("%s: %v", query, err)
	}
}

// found returns how many texts are candidates.
func (i *index) found(terms Terms, in Scope) (n int) {
	i.Helper()
	query := i.h.Query(terms, in)
	if len(query) == 0 {
		return 1
	}
	if err := i.db.QueryRow("SELECT count(*) FROM search WHERE search MATCH ?", query.FTS5()).Scan(&n); err != nil {
		i.Fatalf("%s: %v", query.FTS5(), err)
	}
	return n
}

func FuzzParse(f *testing.F) {
	i := newIndex(f)
	for _, words := range []string{
		"hello world", `"a" OR b*`, "上海", "a:b", "NEAR(a b)", "{x y} : z", "^a", "-a", "\x00", "\xff", "a\x00b", "㍿ ﬁ ½",
		strings.Repeat("a ", 100),
	} {
		f.Add(words)
	}
	f.Fuzz(func(t *testing.T, words string) {
		terms := Parse(words)
		on := &index{t, i.db, i.h}
		for _, in := range []Scope{{}, {Conversations: []int64{1, -2}}, {Kind: 7}} {
			on.found(terms, in)
		}
		if len(terms) > 0 && utf8.ValidString(words) && len(terms) < maxTerms && !terms.Match(words) {
			total := 0
			for _, one := range terms {
				total += len(one)
			}
			if total < maxTokens {
				t.Errorf("%q does not match itself", words)
			}
		}
	})
}

// FuzzIndex: what matches is a candidate, and where the index can tell, nothing
// else is; and deleting leaves nothing.
func FuzzIndex(f *testing.F) {
	i := newIndex(f)
	for _, seed := range [][2]string{
		{"我家在上海东边", "上海"},
		{"Hello World", "wor HEL"},
		{"for ford forks", "ford"},
		{"ab abc", "ab"},
		{"ＡＢＣ ｶﾞ", "abc ガ"},
		{"iPhone手机", "one手"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, words string) {
		on := &index{t, i.db, i.h}
		terms := Parse(words)
		doc := on.h.Document(text, 7, 0)
		if len(doc) == 0 && len(tokens(text)) > 0 {
			t.Fatalf("%q has words and no entries", text)
		}
		if len(doc) > 0 {
			on.exec("INSERT INTO search (rowid, entries) VALUES (1, ?)", Text(doc))
			candidate := on.found(terms, Scope{Conversations: []int64{1, 7}}) == 1
			matches := terms.Match(text)
			if matches && !candidate && !continues(terms) {
				t.Errorf("%q is in %q, and not found", words, text)
			}
			if candidate && !matches && exact(terms) {
				t.Errorf("%q is not in %q, and found", words, text)
			}
			if len(terms) > 0 && on.found(terms, Scope{Conversations: []int64{8}}) != 0 {
				t.Errorf("%q is found elsewhere", words)
			}
			on.exec("INSERT INTO search (search, rowid, entries) VALUES ('delete', 1, ?)", Text(doc))
		}
		if n := on.found(terms, Scope{Conversations: []int64{7}}); n != 0 {
			t.Errorf("%d are left of %q", n, text)
		}
		checkSnippet(t, terms, text)
	})
}

// continues reports whether a term ends with a word that the index knows only
// the usual continuations of.
func continues(terms Terms) bool {
	for _, one := range terms {
		if last := one[len(one)-1]; !last.single && utf8.RuneCountInString(last.text) == beginnings[0]-1 {
			return true
		}
	}
	return false
}

// exact reports whether the index can tell the terms from all others.
func exact(terms Terms) bool {
	for _, one := range terms {
		if len(one) > 2 || len(one) == 2 && !(one[0].single && one[1].single) {
			return false
		}
		if last := one[len(one)-1]; !last.single && (indexed(last.text) != last.text || utf8.RuneCountInString(last.text) < beginnings[0]) {
			return false
		}
	}
	return len(terms) > 0
}

func checkSnippet(t *testing.T, terms Terms, text string) {
	parts := terms.Snippet(text)
	if (parts != nil) != terms.Match(text) {
		t.Fatalf("%q: %d parts", text, len(parts))
	}
	whole, match := "", false
	for _, p := range parts {
		whole += p.Text
		match = match || p.Match
	}
	if parts == nil {
		return
	}
	trimmed := whole
	for _, cut := range []string{whole, strings.TrimPrefix(whole, ellipsis), strings.TrimSuffix(whole, ellipsis)} {
		if strings.Contains(text, cut) {
			trimmed = cut
		}
	}
	trimmed = strings.TrimSuffix(strings.TrimPrefix(trimmed, ellipsis), ellipsis)
	if !match || !strings.Contains(text, trimmed) {
		t.Errorf("%q is not of %q", whole, text)
	}
	if n := utf8.RuneCountInString(whole); n > 2*snippetLength+2 {
		t.Errorf("a snippet of %d characters", n)
	}
}
