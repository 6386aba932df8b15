package search

import (
	"unicode"
	"unicode/utf8"
)

// continued returns a word that is one character short of the first of the
// beginnings, and what it may go on with to be one: any character of the page of
// 256 in Unicode that its last one is on, which is its alphabet, and those of
// ASCII and Latin-1. So it takes no entries of their own to find words by two
// letters, and a list to open for each of these.
func continued(word string) []string {
	last, _ := utf8.DecodeLastRuneInString(word)
	list := []string{word}
	add := func(from, to rune) {
		for r := from; r <= to; r++ {
			if c := classOf(r); (c == letter || c == mark) && r == unicode.ToLower(r) {
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
