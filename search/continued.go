package search

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// continued returns the indexed words and prefixes that begin with a given word, which is one
// character shorter than the shortest indexed prefix: the word itself, and the word with each
// likely next character. The likely characters are those of ASCII, of Latin-1, and of the
// 256-character page of the word's last character, which covers its alphabet. So prefixes of two
// letters need no entries of their own; a query reads the list of each result instead.
func continued(word string) []string {
	last, _ := utf8.DecodeLastRuneInString(word)
	list := []string{word}
	add := func(from, to rune) {
		for r := from; r <= to; r++ {
			if isFolded(r) {
				list = append(list, word+string(r))
			}
		}
	}
	add(0, 0xff)
	if page := last &^ 0xff; page > 0 {
		add(page, page|0xff)
	}
	return list
}

// isFolded reports whether a character may be in the folded text of a word without accents. It may
// accept a rare one that is in none; its entry is then looked up in vain.
func isFolded(r rune) bool {
	if c := classOf(r); c != letter && c != mark || isAccent(r) || decomposed[r] != "" {
		return false
	}
	if r != unicode.ToLower(r) && !unicode.Is(unicode.Cherokee, r) { // folding keeps capitals of Cherokee
		return false
	}
	return r == 'й' || norm.NFKD.PropertiesString(string(r)).Decomposition() == nil
}
