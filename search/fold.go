package search

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/unicode/rangetable"
)

// token is a word, or one character of a script that is written without spaces between
// words.
type token struct {
	text string // folded
	// start and end are its offsets in the text, in bytes. They enclose whole characters
	// with the marks that follow them.
	start, end int
	single     bool
}

// singles are the scripts whose characters are tokens of their own, so that any part of a
// run of them can be found.
var singles = rangetable.Merge(unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo,
	unicode.Yi, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
	rangetable.New('ー')) // used with both kana scripts

// ignored are characters that neither belong to a word nor end one.
var ignored = rangetable.Merge(unicode.Cf, unicode.Variation_Selector,
	rangetable.New('\u034f', '\u115f', '\u1160', '\u3164', '\ufe0e', '\ufe0f'))

// zeroWidthSpace has the category Cf, but ends a word.
const zeroWidthSpace = '\u200b'

// class is the role of a folded character in the words of a text.
type class uint8

const (
	separator class = iota
	skipped
	single // a token of its own
	letter // part of a word
	mark   // part of the token before it
)

func classOf(r rune) class {
	if r < utf8.RuneSelf {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return letter
		}
		return separator
	}
	if isPlain(r) {
		return single
	}
	inWord := unicode.IsLetter(r) || unicode.IsNumber(r)
	switch {
	case r == zeroWidthSpace:
		return separator
	case unicode.Is(ignored, r):
		return skipped
	case (inWord || unicode.IsMark(r)) && unicode.Is(singles, r):
		return single
	case inWord:
		return letter
	case unicode.IsMark(r):
		return mark
	}
	return separator
}

// tokenizer splits one text. Its tokens must not change while an index of them exists, because
// queries would no longer find the texts in it. A test over all characters fails when a newer
// Unicode version changes one. The format version of the index must then be raised, which rebuilds
// it.
type tokenizer struct {
	fold   cases.Caser
	tokens []token
	word   []byte // the word being built
	start  int    // the offset in the text at which the word begins, in bytes
	end    int    // the offset at which it ends so far
}

// tokens splits a text.
func tokens(text string) []token {
	t := &tokenizer{fold: cases.Fold()}
	for at := 0; at < len(text); {
		end := at + boundary(text[at:])
		t.segment(text[at:end], at, end)
		at = end
	}
	t.flush()
	return t.tokens
}

// boundary returns the length of the first part of a text that folds independently of what
// follows.
func boundary(text string) int {
	first, size := utf8.DecodeRuneInString(text)
	if isPlain(first) {
		if next, _ := utf8.DecodeRuneInString(text[size:]); size == len(text) || isPlain(next) {
			return size
		}
	}
	return norm.NFKC.NextBoundaryInString(text, true)
}

// isPlain reports whether a character is normalized and never combines with another such character:
// ASCII and most Chinese characters. Others are looked up in tables.
func isPlain(r rune) bool { return r < utf8.RuneSelf || 0x4e00 <= r && r <= 0x9fff }

// segment adds a part of the text, from start to end.
func (t *tokenizer) segment(piece string, start, end int) {
	if r, size := utf8.DecodeRuneInString(piece); size == len(piece) && isPlain(r) {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		t.add(r, start, end)
		return
	}
	folded := norm.NFKC.String(t.fold.String(norm.NFKC.String(piece)))
	for _, r := range folded {
		t.add(r, start, end)
	}
}

// add adds a folded character for the text from start to end.
func (t *tokenizer) add(r rune, start, end int) {
	switch classOf(r) {
	case separator:
		t.flush()
	case single:
		t.flush()
		t.tokens = append(t.tokens, token{text: string(r), start: start, end: end, single: true})
	case letter:
		if len(t.word) == 0 {
			t.start = start
		}
		t.word = utf8.AppendRune(t.word, r)
		t.end = end
	case mark:
		if len(t.word) > 0 {
			t.word = utf8.AppendRune(t.word, r)
			t.end = end
		} else if n := len(t.tokens); n > 0 && t.tokens[n-1].end == start {
			t.tokens[n-1].end = end
		}
	case skipped:
	}
}

// flush ends the word being built.
func (t *tokenizer) flush() {
	if len(t.word) > 0 {
		t.tokens = append(t.tokens, token{text: string(t.word), start: t.start, end: t.end})
		t.word = t.word[:0]
	}
}
