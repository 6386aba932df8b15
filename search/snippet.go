package search

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Part is a piece of a snippet.
type Part struct {
	Text  string
	Match bool
}

const (
	// snippetBefore and snippetLength are how much of a text a snippet shows
	// before its first match, and in all, in characters.
	snippetBefore = 40
	snippetLength = 120
	// snippetSlack is how many characters less it may be for a cut to be between
	// words, and how many more for it not to be within a character.
	snippetSlack = 12
	ellipsis     = "…"
)

// Snippet returns the part of a text around the first match, in pieces, with
// an ellipsis where it was cut; nothing if the text has not all the terms.
func (t Terms) Snippet(text string) []Part {
	split := tokens(text)
	if !t.in(split) {
		return nil
	}
	found := t.spans(split)
	start := cutBefore(text, back(text, found[0].start, snippetBefore), found[0].start)
	end := cutAfter(text, forward(text, start, snippetLength), start)
	var parts []Part
	add := func(piece string, match bool) {
		if piece != "" {
			parts = append(parts, Part{piece, match})
		}
	}
	if start > 0 {
		add(ellipsis, false)
	}
	at := start
	for _, s := range found {
		if s.start >= end {
			break
		}
		add(text[at:s.start], false)
		at = min(s.end, end)
		add(text[s.start:at], true)
	}
	add(text[at:end], false)
	if end < len(text) {
		add(ellipsis, false)
	}
	return join(parts)
}

// join puts pieces together that are alike.
func join(parts []Part) []Part {
	out := parts[:0]
	for _, p := range parts {
		if n := len(out); n > 0 && out[n-1].Match == p.Match {
			out[n-1].Text += p.Text
			continue
		}
		out = append(out, p)
	}
	return out
}

// back returns the place n characters before another, and forward that after
// it.
func back(text string, at, n int) int {
	for ; n > 0 && at > 0; n-- {
		_, size := utf8.DecodeLastRuneInString(text[:at])
		at -= size
	}
	return at
}

func forward(text string, at, n int) int {
	for ; n > 0 && at < len(text); n-- {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

// cutBefore moves a cut forward, at the most to limit: to after a space that
// is near, else to where no character is cut.
func cutBefore(text string, at, limit int) int {
	if at == 0 {
		return 0
	}
	near := text[at:min(forward(text, at, snippetSlack), limit)]
	if i := strings.IndexFunc(near, unicode.IsSpace); i >= 0 {
		_, size := utf8.DecodeRuneInString(near[i:])
		return at + i + size
	}
	for at < limit && !divides(text, at) {
		at = forward(text, at, 1)
	}
	return at
}

// cutAfter moves a cut back to before a space that is near, else to where no
// character is cut. A character that is longer than all of it stays whole up
// to a bound: what is piled up of marks alone is cut all the same.
func cutAfter(text string, at, start int) int {
	if at == len(text) {
		return at
	}
	from := max(back(text, at, snippetSlack), start)
	if i := strings.LastIndexFunc(text[from:at], unicode.IsSpace); i > 0 {
		return from + i
	}
	for cut := at; cut > start; cut = back(text, cut, 1) {
		if divides(text, cut) {
			return cut
		}
	}
	for n := 0; n < snippetLength && at < len(text) && !divides(text, at); n++ {
		at = forward(text, at, 1)
	}
	return at
}

// zeroWidthJoiner makes one character, such as a family, of two.
const zeroWidthJoiner = '\u200d'

// divides reports whether one character, as readers see it, ends at a place and
// another begins there: close to what Unicode says of grapheme clusters, and
// never within one that people write.
func divides(text string, at int) bool {
	if at == 0 || at == len(text) {
		return true
	}
	before, _ := utf8.DecodeLastRuneInString(text[:at])
	after, _ := utf8.DecodeRuneInString(text[at:])
	switch {
	case before == '\r' && after == '\n':
		return false
	case before == zeroWidthJoiner, after == zeroWidthJoiner:
		return false
	case unicode.IsMark(after), unicode.Is(ignored, after) && after != zeroWidthSpace, isModifier(after):
		return false
	case isFollowing(after), isLeading(before) && unicode.Is(unicode.Hangul, after):
		return false
	case isRegional(before) && isRegional(after):
		return regionalsBefore(text, at)%2 == 0
	}
	return true
}

// isModifier: the colours of skin, half-width sound marks, and the vowels of Thai
// and Lao that are no marks and yet stand with what is before them.
func isModifier(r rune) bool {
	return 0x1f3fb <= r && r <= 0x1f3ff || r == 0xff9e || r == 0xff9f || r == 0x0e33 || r == 0x0eb3
}

// isLeading and isFollowing are the letters that make up a Hangul syllable: those
// that it begins with, and those that come after another.
func isLeading(r rune) bool { return 0x1100 <= r && r <= 0x115f || 0xa960 <= r && r <= 0xa97f }

func isFollowing(r rune) bool { return 0x1160 <= r && r <= 0x11ff || 0xd7b0 <= r && r <= 0xd7ff }

// isRegional: two of them are a flag.
func isRegional(r rune) bool { return 0x1f1e6 <= r && r <= 0x1f1ff }

func regionalsBefore(text string, at int) (n int) {
	for at > 0 {
		r, size := utf8.DecodeLastRuneInString(text[:at])
		if !isRegional(r) {
			break
		}
		n, at = n+1, at-size
	}
	return n
}
