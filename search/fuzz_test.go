package search

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// index is the index of one text.
type index struct {
	h       *Hasher
	entries []Entry
}

func newIndex() *index { return &index{h: NewHasher([]byte("0123456789abcdef0123456789abcdef"))} }

// found reports whether the text is a candidate.
func (i *index) found(terms Terms, in Scope) bool {
	query := i.h.Query(terms, in)
	return len(query) == 0 || len(i.entries) > 0 && query.In(i.entries)
}

func FuzzParse(f *testing.F) {
	i := newIndex()
	for _, words := range []string{
		"hello world", `"a" OR b*`, "上海", "a:b", "NEAR(a b)", "{x y} : z", "^a", "-a", "\x00", "\xff", "a\x00b", "㍿ ﬁ ½",
		strings.Repeat("a ", 100),
	} {
		f.Add(words)
	}
	f.Fuzz(func(t *testing.T, words string) {
		terms := Parse(words)
		for _, in := range []Scope{{}, {Conversations: []int64{1, -2}}, {Kind: 7}} {
			if q := i.h.Query(terms, in); len(q) > maxEntries+2 {
				t.Errorf("a query of %d groups", len(q))
			}
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

// FuzzIndex checks that every match is a candidate, and that every candidate is a match
// where the index is exact.
func FuzzIndex(f *testing.F) {
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
		on := newIndex()
		terms := Parse(words)
		on.entries = on.h.Document(text, 7, 0)
		if len(on.entries) == 0 && len(tokens(text)) > 0 {
			t.Fatalf("%q has words and no entries", text)
		}
		if len(on.entries) > 0 {
			candidate := on.found(terms, Scope{Conversations: []int64{1, 7}})
			matches := terms.Match(text)
			if matches && !candidate && !continues(terms) {
				t.Errorf("%q is in %q, and not found", words, text)
			}
			if candidate && !matches && exact(terms) {
				t.Errorf("%q is not in %q, and found", words, text)
			}
			if len(terms) > 0 && on.found(terms, Scope{Conversations: []int64{8}}) {
				t.Errorf("%q is found elsewhere", words)
			}
		}
		checkSnippet(t, terms, text)
	})
}

// continues reports whether a term ends with a word for which the index has only the usual
// continuations.
func continues(terms Terms) bool {
	for _, one := range terms {
		if slices.ContainsFunc(one, func(t token) bool { return t.text != t.base }) {
			return false // the index has no accents
		}
		if last := one[len(one)-1]; !last.single && utf8.RuneCountInString(last.base) == beginnings[0]-1 {
			return true
		}
	}
	return false
}

// exact reports whether the index can distinguish the terms from all others.
func exact(terms Terms) bool {
	for _, one := range terms {
		if len(one) > 2 || len(one) == 2 && !(one[0].single && one[1].single) {
			return false
		}
		if slices.ContainsFunc(one, func(t token) bool { return t.text != t.base }) {
			return false // the index has no accents
		}
		if last := one[len(one)-1]; !last.single && (indexed(last.base) != last.base || utf8.RuneCountInString(last.base) < beginnings[0]) {
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
