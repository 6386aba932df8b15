package search

import (
	"slices"
	"strings"
)

// The most of what somebody types that is looked for; the rest of it is left
// out.
const (
	maxTerms  = 16
	maxTokens = 64
)

// Terms are what a text is searched for: all of them must be in it.
type Terms []term

// term is a sequence of tokens that stand next to each other, characters with
// nothing in between where there is nothing in the term. Where the last is a
// word, one that begins with it will do.
type term []token

// Parse makes terms of what somebody typed. White space is between terms;
// nothing in it is syntax. Without words there are no terms.
func Parse(words string) Terms {
	var terms Terms
	room := maxTokens
	for field := range strings.FieldsSeq(words) {
		t := term(tokens(field))
		t = t[:min(len(t), room)]
		known := func(other term) bool { return slices.EqualFunc(t, other, sameToken) }
		if len(t) == 0 || slices.ContainsFunc(terms, known) {
			continue
		}
		terms = append(terms, t)
		if room -= len(t); room == 0 || len(terms) == maxTerms {
			break
		}
	}
	return terms
}

// touches reports whether two characters stand side by side.
func (t token) touches(next token) bool { return t.single && next.single && next.start <= t.end }

func sameToken(a, b token) bool { return a.text == b.text }

// span is a piece of a text, in bytes.
type span struct{ start, end int }

// Match reports whether a text has all the terms.
func (t Terms) Match(text string) bool {
	return t.in(tokens(text))
}

func (t Terms) in(text []token) bool {
	for _, one := range t {
		if one.next(text, 0) < 0 {
			return false
		}
	}
	return len(t) > 0
}

// next returns the place of the first occurrence of the term among tokens, not
// before a place, -1 if there is none.
func (t term) next(text []token, from int) int {
	for i := from; i+len(t) <= len(text); i++ {
		if t.at(text[i:]) {
			return i
		}
	}
	return -1
}

// at reports whether tokens begin with the term.
func (t term) at(text []token) bool {
	last := len(t) - 1
	for i, want := range t[:last] {
		if text[i].text != want.text {
			return false
		}
	}
	for i := range last {
		if t[i].touches(t[i+1]) && !text[i].touches(text[i+1]) {
			return false
		}
	}
	if t[last].single {
		return text[last].text == t[last].text
	}
	return strings.HasPrefix(text[last].text, t[last].text)
}

// spans returns where the terms are in a text, rising and apart from each
// other.
func (t Terms) spans(text []token) []span {
	var all []span
	for _, one := range t {
		for i := one.next(text, 0); i >= 0; i = one.next(text, i+1) {
			all = append(all, span{text[i].start, text[i+len(one)-1].end})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return a.start - b.start })
	merged := all[:0]
	for _, s := range all {
		if n := len(merged); n > 0 && s.start <= merged[n-1].end {
			merged[n-1].end = max(merged[n-1].end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}
