package search

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits of a query; the rest of a longer one is ignored.
const (
	maxTerms  = 16
	maxTokens = 64
)

// Terms are the terms of a query; a text must have all of them.
type Terms []term

// term is a sequence of adjacent tokens. Where characters are adjacent in the term, they
// must be adjacent in the text. If the last token is a word, it matches words that begin
// with it.
type term []token

// Parse splits a query into terms at white space. There is no query syntax. A query without
// words has no terms.
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

// touches reports whether two tokens are adjacent characters.
func (t token) touches(next token) bool { return t.single && next.single && next.start <= t.end }

func sameToken(a, b token) bool { return a.text == b.text }

// span is a piece of a text, in bytes.
type span struct{ start, end int }

// Match reports whether a text has all the terms. No text matches if there are no terms.
func (t Terms) Match(text string) bool {
	_, matches := t.first(tokens(text))
	return matches
}

// next returns the index of the first occurrence of the term in tokens at or after from, -1
// if there is none.
func (t term) next(text []token, from int) int {
	for i := from; i+len(t) <= len(text); i++ {
		if t.at(text[i:]) {
			return i
		}
	}
	return -1
}

// at reports whether tokens start with the term. It compares the last token first: in a long run of
// one character that is often the one that differs.
func (t term) at(text []token) bool {
	last := len(t) - 1
	if t[last].single {
		if text[last].base != t[last].base {
			return false
		}
	} else if !strings.HasPrefix(text[last].base, t[last].base) || !t[last].accentsIn(&text[last]) {
		return false
	}
	for i := range last {
		if text[i].base != t[i].base || !t[i].accentsIn(&text[i]) || t[i].touches(t[i+1]) && !text[i].touches(text[i+1]) {
			return false
		}
	}
	return true
}

// accentsIn reports whether a word with the same letters, and perhaps more after them, has the
// accents of t on the same letters. So a query without accents finds words with them, and one
// with accents finds only such words: the asymmetric search of UTS #10.
func (t *token) accentsIn(word *token) bool {
	if len(t.text) == len(t.base) {
		return true
	}
	want := t.text
	for _, r := range word.text {
		next, size := utf8.DecodeRuneInString(want)
		switch {
		case size == 0:
			return true
		case r == next:
			want = want[size:]
		case !isAccent(r):
			return false
		}
	}
	return want == ""
}

// first returns the index of the token at which the first occurrence of any of the terms begins,
// or false if the text does not have all of them.
func (t Terms) first(text []token) (at int, matches bool) {
	at = len(text)
	for _, one := range t {
		n := one.next(text, 0)
		if n < 0 {
			return 0, false
		}
		at = min(at, n)
	}
	return at, len(t) > 0
}

// spans returns the positions of the terms in tokens that begin before an offset of the text,
// sorted and without overlaps.
func (t Terms) spans(text []token, before int) []span {
	var all []span
	for _, one := range t {
		for i := 0; i+len(one) <= len(text) && text[i].start < before; i++ {
			if one.at(text[i:]) {
				all = append(all, span{text[i].start, text[i+len(one)-1].end})
			}
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
