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
	// snippetBefore and snippetLength are the maximum numbers of characters of a snippet before its
	// first match, and in total without ellipses. A snippet is longer only if it begins with a
	// user-perceived character that is longer, see cutAfter.
	snippetBefore = 40
	snippetLength = 120
	// snippetSlack is the number of characters by which a cut may move so that it is between words.
	// It may move further to a boundary between user-perceived characters.
	snippetSlack = 12
	ellipsis     = "…"
)

// Snippet returns the part of a text around the first match, in pieces, with an ellipsis at
// each cut. It returns nothing if the text does not match.
func (t Terms) Snippet(text string) []Part {
	split := tokens(text)
	first, matches := t.first(split)
	if !matches {
		return nil
	}
	begin := split[first].start
	start := cutBefore(text, back(text, begin, snippetBefore), begin)
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
	for _, s := range t.spans(split[first:], end) {
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

// join merges adjacent pieces of the same kind.
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

// back returns the offset n characters before at, and forward the offset n characters after at,
// both within the text.
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

// cutBefore moves a cut forward, at most to limit: to just after a nearby space, or else to a
// boundary between characters.
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

// cutAfter moves a cut back, to just before a nearby space, or else to a boundary between
// characters. A character that is longer than the snippet stays whole up to a bound: a long pile of
// combining marks is cut anyway.
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

// zeroWidthJoiner joins two characters into one, such as a family.
const zeroWidthJoiner = '\u200d'

// divides reports whether there is a boundary between user-perceived characters at an offset. It
// approximates Unicode's grapheme clusters, and never divides a cluster that people write.
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

// isModifier reports whether a character modifies the one before it without being a mark: skin
// tones, half-width sound marks, and some vowels of Thai and Lao.
func isModifier(r rune) bool {
	return 0x1f3fb <= r && r <= 0x1f3ff || r == 0xff9e || r == 0xff9f || r == 0x0e33 || r == 0x0eb3
}

// isLeading and isFollowing report whether a character is a letter of a Hangul syllable: one that
// begins it, or one that follows another letter.
func isLeading(r rune) bool { return 0x1100 <= r && r <= 0x115f || 0xa960 <= r && r <= 0xa97f }

func isFollowing(r rune) bool { return 0x1160 <= r && r <= 0x11ff || 0xd7b0 <= r && r <= 0xd7ff }

// isRegional reports whether a character is a regional indicator. Two of them are a flag.
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
