package search

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/unicode/rangetable"
)

// token is a word, or one character of a script that is written without spaces between
// words.
type token struct {
	text string // folded, with its accents
	base string // text without the accents
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

// ignored are characters that neither belong to a word nor end one: those that Unicode's
// NFKC_Casefold removes, except zeroWidthSpace, other format characters, the characters that only
// stretch an Arabic or N'Ko word, and the points of Arabic and Hebrew, which most writers leave out.
var ignored = rangetable.Merge(unicode.Cf, unicode.Variation_Selector, points,
	rangetable.New('\u034f', '\u0640', '\u07fa', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u3164', '\ufe0e', '\ufe0f'))

// points are the vowel signs and cantillation marks of Hebrew and the vowel signs of Arabic.
var points = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x0591, Hi: 0x05bd, Stride: 1},
	{Lo: 0x05bf, Hi: 0x05bf, Stride: 1},
	{Lo: 0x05c1, Hi: 0x05c2, Stride: 1},
	{Lo: 0x05c4, Hi: 0x05c5, Stride: 1},
	{Lo: 0x05c7, Hi: 0x05c7, Stride: 1},
	{Lo: 0x064b, Hi: 0x0652, Stride: 1},
	{Lo: 0x0670, Hi: 0x0670, Stride: 1},
}}

// decomposed are letters that Unicode's canonical decomposition leaves whole. The Unicode Collation
// Algorithm decomposes them (decomps.txt of UTS #10), except the letters without a dot: Turkish has
// two letters i, and I is the capital of one and İ that of the other (status T in CaseFolding.txt).
// The language of a message is not known, so all four are the same letter.
var decomposed = map[rune]string{
	'æ': "ae", 'œ': "oe", 'ø': "o\u0338", 'đ': "d\u0335", 'ħ': "h\u0335", 'ł': "l\u0335", 'ı': "i", 'ȷ': "j",
}

// maxFolded bounds the pieces of a text whose folding is kept.
const maxFolded = 256

const (
	dotAbove = '\u0307'
	breve    = '\u0306'
)

// isAccent reports whether a mark is an accent: one that letters of several scripts have. A query
// without it finds words with it.
func isAccent(r rune) bool {
	return r >= utf8.RuneSelf && unicode.Is(unicode.Mn, r) && unicode.Is(unicode.Inherited, r)
}

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
	folded map[string]string // pieces of the text that occurred before, as most letters do
	tokens []token
	word   []byte // the word being built
	base   []byte // word without its accents
	letter rune   // the last letter of word
	start  int    // the offset in the text at which the word begins, in bytes
	end    int    // the offset at which it ends so far
}

// tokens splits a text.
func tokens(text string) []token {
	t := &tokenizer{fold: cases.Fold(), folded: make(map[string]string)}
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
	folded, known := t.folded[piece]
	if !known {
		folded = t.foldPiece(piece)
		if len(t.folded) < maxFolded {
			t.folded[piece] = folded
		}
	}
	for _, r := range folded {
		t.add(r, start, end)
	}
}

// foldPiece folds a piece of text by the rule for compatibility caseless matching (D146 in section
// 3.13 of the Unicode Standard). It composes characters that are tokens of their own and decomposes
// others, so that accents are separate.
func (t *tokenizer) foldPiece(piece string) string {
	folded := t.fold.String(norm.NFD.String(piece))
	rest := norm.NFKC.String(t.fold.String(norm.NFKD.String(folded)))
	var b strings.Builder
	for rest != "" {
		n := strings.IndexFunc(rest, func(r rune) bool { return classOf(r) == single })
		switch n {
		case 0:
			_, n = utf8.DecodeRuneInString(rest)
			b.WriteString(rest[:n])
		case -1:
			n = len(rest)
			fallthrough
		default:
			for _, r := range norm.NFD.String(rest[:n]) {
				if parts, ok := decomposed[r]; ok {
					b.WriteString(parts)
				} else {
					b.WriteRune(r)
				}
			}
		}
		rest = rest[n:]
	}
	return b.String()
}

// add adds a folded character for the text from start to end.
func (t *tokenizer) add(r rune, start, end int) {
	r = digit(r)
	switch classOf(r) {
	case separator:
		t.flush()
	case single:
		t.flush()
		character := string(r)
		t.tokens = append(t.tokens, token{text: character, base: character, start: start, end: end, single: true})
	case letter:
		if len(t.word) == 0 {
			t.start = start
		}
		t.word, t.base = utf8.AppendRune(t.word, r), utf8.AppendRune(t.base, r)
		t.letter = r
		t.end = end
	case mark:
		if len(t.word) > 0 {
			t.mark(r)
		}
		t.extend(start, end)
	case skipped:
		t.extend(start, end)
	}
}

// mark adds a mark to the word being built.
func (t *tokenizer) mark(r rune) {
	switch {
	case r == dotAbove && unicode.Is(unicode.Soft_Dotted, t.letter):
		// The letter has a dot anyway: İ is i and a dot when folded.
	case r == breve && bytes.HasSuffix(t.word, []byte("и")):
		// й is a letter of its own, which the root collation of CLDR distinguishes from и.
		t.word, t.base = append(t.word[:len(t.word)-len("и")], "й"...), append(t.base[:len(t.base)-len("и")], "й"...)
		t.letter = 'й'
	case isAccent(r):
		t.word = utf8.AppendRune(t.word, r)
	default:
		t.word, t.base = utf8.AppendRune(t.word, r), utf8.AppendRune(t.base, r)
	}
}

// extend moves the end of the word being built, or of a token that ends just before start.
func (t *tokenizer) extend(start, end int) {
	if len(t.word) > 0 {
		t.end = end
	} else if n := len(t.tokens); n > 0 && t.tokens[n-1].end == start {
		t.tokens[n-1].end = end
	}
}

// digit returns the ASCII digit that has the same value as a decimal digit of another script, as
// in the Unicode Collation Algorithm. It returns other characters unchanged.
func digit(r rune) rune {
	if r < utf8.RuneSelf || !unicode.IsDigit(r) {
		return r
	}
	// Unicode encodes the ten digits of a script in order, so each range has whole sets of them.
	for _, in := range unicode.Nd.R16 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return '0' + (r-rune(in.Lo))%10
		}
	}
	for _, in := range unicode.Nd.R32 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return '0' + (r-rune(in.Lo))%10
		}
	}
	return r
}

// flush ends the word being built.
func (t *tokenizer) flush() {
	if len(t.word) == 0 {
		return
	}
	word := token{text: string(t.word), start: t.start, end: t.end}
	if word.base = word.text; len(t.base) < len(t.word) {
		word.base = string(t.base)
	}
	t.tokens = append(t.tokens, word)
	t.word, t.base = t.word[:0], t.base[:0]
}
