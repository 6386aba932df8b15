package search

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// TestEqualWords lists spellings that find each other, whichever of them is in the text.
func TestEqualWords(t *testing.T) {
	for name, spellings := range map[string][]string{
		"Turkish i":                      {"İstanbul", "istanbul", "ISTANBUL", "ıstanbul", "i\u0307stanbul", "I\u0307STANBUL"},
		"Turkish dotless i":              {"ISPARTA", "Isparta", "ısparta", "isparta"},
		"dotless j":                      {"ȷan", "jan", "j\u0307an"},
		"Lithuanian i with ogonek":       {"į\u0307", "į", "Į", "i\u0328"},
		"Greek final sigma":              {"ΟΔΟΣ", "οδος", "οδοσ", "Οδος"},
		"Greek iota subscript":           {"ᾳδης", "ΑΙΔΗΣ", "αιδης", "ᾼδης", "α\u0345δης"},
		"German sharp s":                 {"Straße", "STRASSE", "strasse", "STRAẞE"},
		"Latin ligatures":                {"ﬁne ﬂow", "fine flow", "FINE FLOW"},
		"ligature ffi":                   {"oﬃce", "office"},
		"æ and œ":                        {"ægir œuvre", "AEGIR OEUVRE", "Ægir Œuvre"},
		"Dutch ij":                       {"ĳsberg", "ijsberg", "Ĳsberg"},
		"Croatian dž":                    {"ǆep", "ǅep", "džep", "DŽEP", "dz\u030cep"},
		"full-width letters":             {"ＨＥＬＬＯ", "hello", "ｈｅｌｌｏ", "Hello"},
		"full-width digits":              {"１２３", "123", "𝟏𝟐𝟑"},
		"digits of other scripts":        {"123", "١٢٣", "۱۲۳", "१२३", "๑๒๓"},
		"mathematical letters":           {"𝓱𝓮𝓵𝓵𝓸", "𝐡𝐞𝐥𝐥𝐨", "hello"},
		"long s":                         {"ſchiff", "schiff"},
		"kelvin and angstrom":            {"\u212a \u212b", "k å", "K Å"},
		"composed accents":               {"café", "cafe\u0301", "CAFÉ", "CAFE\u0301"},
		"Vietnamese, composed":           {"Tiếng Việt", "Tie\u0302\u0301ng Vie\u0323\u0302t", "TIẾNG VIỆT"},
		"Vietnamese, marks in any order": {"việt", "vie\u0302\u0323t", "viê\u0323t", "viẹ\u0302t"},
		"Vietnamese đ":                   {"Đường", "đường", "ĐƯỜNG", "đươ\u0300ng"},
		"Cyrillic й":                     {"мой", "МОЙ", "мои\u0306"},
		"Arabic presentation forms":      {"ﺳﻼم", "سلام", "ﺳﻠﺎﻡ"},
		"Arabic ligature of a phrase":    {"\ufdf2", "الله"},
		"Arabic tatweel":                 {"ســــلام", "سلام", "سلامـ"},
		"Arabic vowel signs":             {"كِتَابٌ", "كتاب"},
		"Persian joiners":                {"می\u200cخواهم", "میخواهم"},
		"Hebrew points":                  {"שָׁלוֹם", "שלום", "\ufb2aלום"},
		"Devanagari nukta":               {"\u0958लम", "क\u093cलम"},
		"Devanagari joiners":             {"क्\u200dष", "क्ष"},
		"Bengali vowel in parts":         {"ক\u09cb", "ক\u09c7\u09be"},
		"Thai sara am":                   {"น้ำ", "น\u0e49\u0e4d\u0e32"},
		"Korean jamo":                    {"한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "하\u11ab구\u11a8"},
		"half-width jamo":                {"\uffbe\uffc2", "\u314e\u314f", "하"},
		"half-width katakana":            {"ｶﾞｽ", "ガス", "カ\u3099ス"},
		"half-width semi-voiced":         {"ﾊﾟﾝ", "パン", "ハ\u309aン"},
		"half-width long vowel":          {"ﾗｰﾒﾝ", "ラーメン"},
		"square of katakana":             {"㌔", "キロ"},
		"square of kanji":                {"㍿", "株式会社"},
		"compatibility ideographs":       {"\uf900", "豈"},
		"variation selectors":            {"葛\U000e0100城", "葛城"},
		"soft hyphen":                    {"co\u00adoperate", "cooperate"},
		"word joiner":                    {"co\u2060operate", "cooperate", "co\ufeffoperate"},
		"joiner between characters":      {"上\u200d海", "上海"},
		"Mongolian variation":            {"ᠮᠣ\u180bᠩ", "ᠮᠣᠩ"},
		"superscript":                    {"m²", "m2"},
		"circled":                        {"①", "1"},
		"Roman numeral":                  {"Ⅷ", "viii", "VIII"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, words := range spellings {
				for _, text := range spellings {
					checkFound(t, words, text)
					checkFound(t, words, "so "+text+" to")
				}
			}
		})
	}
}

// TestQueryWithoutAccents lists queries that find a text which does not find them: a letter finds
// itself with any accent, and an accent must be in the text.
func TestQueryWithoutAccents(t *testing.T) {
	for name, test := range map[string]struct{ words, text string }{
		"French":                        {"ecole", "École"},
		"French, inside":                {"deja vu", "déjà vu"},
		"beginning of a word":           {"caf", "cafe\u0301s"},
		"two letters":                   {"ec", "École"},
		"German":                        {"schon", "schön"},
		"Spanish":                       {"ano", "año"},
		"Swedish":                       {"Malmo", "Malmö"},
		"Danish":                        {"Soren", "Søren"},
		"Polish":                        {"Lodz", "Łódź"},
		"Maltese":                       {"hamrun", "Ħamrun"},
		"Vietnamese":                    {"tieng viet", "Tiếng Việt"},
		"Vietnamese đ":                  {"duong", "Đường"},
		"Vietnamese vowel without tone": {"viêt", "Việt"},
		"Vietnamese tone without vowel": {"vie\u0323t", "Việt"},
		"Greek":                         {"αθηνα", "Αθήνα"},
		"Russian ё":                     {"елка", "ёлка"},
		"Ukrainian ї":                   {"іжак", "їжак"},
		"Arabic hamza":                  {"احمد", "أحمد"},
		"pinyin":                        {"ni hao", "nǐ hǎo"},
		"full-width text":               {"e", "Ｅ\u0301"},
	} {
		t.Run(name, func(t *testing.T) {
			checkFound(t, test.words, test.text)
			if Parse(test.text).Match(test.words) {
				t.Errorf("%q finds %q, which has no accents", test.text, test.words)
			}
		})
	}
}

// TestDifferentWords lists words of which neither finds the other.
func TestDifferentWords(t *testing.T) {
	for name, test := range map[string][2]string{
		"different accents":            {"pêche", "péché"},
		"accents on different letters": {"résume", "resumé"},
		"Vietnamese tones":             {"má", "mà"},
		"Cyrillic and Latin":           {"сор", "cop"},
		"Greek and Latin":              {"ο", "o"},
		"и and й":                      {"мои", "мой"},
		"hiragana and katakana":        {"らーめん", "ラーメン"},
		"voiced katakana":              {"カス", "ガス"},
		"simplified and traditional":   {"汉", "漢"},
		"Korean syllables":             {"한", "하"},
		"space inside":                 {"to day", "today"},
		"zero-width space":             {"to\u200bgether", "together"},
		"Hebrew shin and sin points":   {"של", "סל"},
		"þ":                            {"þing", "thing"},
		"letter and digit":             {"o", "0"},
		"Thai vowels":                  {"กา", "กิ"},
		"Devanagari vowels":            {"की", "कु"},
		"German umlaut written as ae":  {"jäger", "jaeger"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pair := range [][2]string{test, {test[1], test[0]}} {
				if Parse(pair[0]).Match(pair[1]) {
					t.Errorf("%q finds %q", pair[0], pair[1])
				}
			}
		})
	}
}

// checkFound checks that a query finds a text, also with the index, and that the snippet marks
// exactly the words of the text.
func checkFound(t *testing.T, words, text string) {
	t.Helper()
	terms := Parse(words)
	if !terms.Match(text) {
		t.Errorf("%q does not find %q", words, text)
		return
	}
	on := newIndex()
	on.entries = on.h.Document(text, 7, 0)
	if !on.found(terms, Scope{Conversations: []int64{7}}) {
		t.Errorf("the index does not find %q by %q", text, words)
	}
	var marked, whole strings.Builder
	for _, p := range terms.Snippet(text) {
		whole.WriteString(p.Text)
		if p.Match {
			marked.WriteString(p.Text)
		}
	}
	if whole.String() != text {
		t.Errorf("the snippet of %q is %q", text, whole.String())
	}
	want := strings.TrimSuffix(strings.TrimPrefix(text, "so "), " to")
	if got := marked.String(); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("%q marks %q in %q", words, got, text)
	}
}

// TestMarkedText checks what is marked where folding changes the number of bytes or characters.
func TestMarkedText(t *testing.T) {
	for name, test := range map[string]struct{ words, text, want string }{
		"İ becomes shorter":         {"istanbul", "bu İstanbul'da", "bu [İstanbul]'da"},
		"ẞ becomes longer":          {"strasse", "die STRAẞE, dort", "die [STRAẞE], dort"},
		"a ligature is two letters": {"fi", "ein ﬁ x", "ein [ﬁ] x"},
		"half of a ligature":        {"f", "a ﬁne b", "a [ﬁne] b"},
		"part of a square":          {"式会", "a㍿b", "a[㍿]b"},
		"one of 18 characters":      {"الله", "و \ufdfa و", "و [\ufdfa] و"},
		"marks that follow":         {"cafe", "a cafe\u0301\u0323 b", "a [cafe\u0301\u0323] b"},
		"half-width with its mark":  {"ガ", "xｶﾞｽ", "x[ｶﾞ]ｽ"},
		"vowel signs that follow":   {"كتاب", "في كِتَابٌ جديد", "في [كِتَابٌ] جديد"},
		"tatweel inside and after":  {"سلام", "و ســلامـ و", "و [ســلامـ] و"},
		"soft hyphens":              {"cooperate", "x co\u00adop\u00aderate y", "x [co\u00adop\u00aderate] y"},
		"joiner between characters": {"上海", "在上\u200d海东", "在[上\u200d海]东"},
		"a variation selector":      {"葛", "a葛\U000e0100城", "a[葛\U000e0100]城"},
		"decomposed Korean":         {"한", "\u1112\u1161\u11ab국", "[\u1112\u1161\u11ab]국"},
		"decomposed accents":        {"viet", "Tie\u0302\u0301ng Vie\u0323\u0302t!", "Tie\u0302\u0301ng [Vie\u0323\u0302t]!"},
		"Thai with a mark":          {"น้ำ", "ดื่มน้ำ", "ดื่ม[น้ำ]"},
		"text that is not UTF-8":    {"b", "a\xff b\xfe c", "a\xff [b]\xfe c"},
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			for _, p := range Parse(test.words).Snippet(test.text) {
				if p.Match {
					got.WriteString("[" + p.Text + "]")
				} else {
					got.WriteString(p.Text)
				}
			}
			if got.String() != test.want {
				t.Errorf("got %q, want %q", got.String(), test.want)
			}
		})
	}
}

// TestDigitRanges checks what digit relies on: each range of digits has whole sets of ten.
func TestDigitRanges(t *testing.T) {
	check := func(low, high, stride uint32) {
		if stride != 1 || (high-low+1)%10 != 0 {
			t.Errorf("the digits from %U to %U are not whole sets", low, high)
		}
	}
	for _, in := range unicode.Nd.R16 {
		check(uint32(in.Lo), uint32(in.Hi), uint32(in.Stride))
	}
	for _, in := range unicode.Nd.R32 {
		check(in.Lo, in.Hi, in.Stride)
	}
}

// FuzzFold checks that folding a folded word changes nothing, that canonically equivalent texts
// have the same words, and that a token lies on boundaries between the characters of its text.
func FuzzFold(f *testing.F) {
	for _, text := range []string{
		"İstanbul ıI", "STRAẞE ﬁ ǆ", "ᾳ ΐ Σς", "Tiếng Việt Đường", "كِتَابٌ ســلام ﷺ", "שָׁלוֹם", "한국 \u1112\u1161\u11ab ㅎㅏ",
		"ｶﾞｽ ガス カ\u3099", "น้ำ", "क्\u200dष", "мои\u0306 й\u0301", "e\u0345\u0301\u034f\u0307", "①㍿½", "a\xffb",
		strings.Repeat("e\u0301", 50) + strings.Repeat("\u0301\u0323", 50),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, word := range tokens(text) {
			if start, end := word.start, word.end; start >= end || end > len(text) || !onBoundary(text, start) || !onBoundary(text, end) {
				t.Fatalf("%q is from %d to %d of %q", word.text, start, end, text)
			}
			again := tokens(word.text)
			if len(again) != 1 || again[0].text != word.text || again[0].base != word.base || again[0].single != word.single {
				t.Errorf("%q folded again is %q", word.text, textsOf(again))
			}
			if base := tokens(word.base); len(base) != 1 || base[0].text != word.base || base[0].base != word.base {
				t.Errorf("%q folded again is %q", word.base, textsOf(base))
			}
		}
		if utf8.ValidString(text) {
			want := textsOf(tokens(text))
			for name, form := range map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD} {
				if got := textsOf(tokens(form.String(text))); !slices.Equal(got, want) {
					t.Errorf("the words of %q are %q, and %q in %s", text, want, got, name)
				}
			}
		}
		for word := range strings.FieldsSeq(text) {
			for _, p := range Parse(word).Snippet(text) {
				if utf8.ValidString(text) && !utf8.ValidString(p.Text) {
					t.Errorf("%q is a part of a snippet of %q", p.Text, text)
				}
			}
		}
	})
}

// onBoundary reports whether an offset does not divide a character.
func onBoundary(text string, at int) bool {
	return at == len(text) || utf8.RuneStart(text[at]) || !utf8.ValidString(text)
}

func textsOf(list []token) (texts []string) {
	for _, t := range list {
		texts = append(texts, t.text)
	}
	return texts
}

// TestIsFolded checks that no character of a folded word is left out of the continuations of a short
// one, which would then not find the word.
func TestIsFolded(t *testing.T) {
	checked := make(map[rune]bool)
	for r := rune(1); r < 0xe1000; r++ {
		if r == 0x20000 {
			r = 0xe0000 // ideographs in between, and no letters or marks after the next 4096
		}
		if c := classOf(r); c != letter && c != mark {
			continue
		}
		for _, token := range tokens("a" + string(r)) {
			for _, folded := range token.base {
				if !token.single && !checked[folded] && !isFolded(folded) {
					t.Errorf("%q is in the folded form of %q", folded, r)
				}
				checked[folded] = true
			}
		}
	}
	i := newIndex()
	i.entries = i.h.Document("ᎣᏏᏲ", 7, 0)
	if terms := Parse("ᎣᏏ"); !terms.Match("ᎣᏏᏲ") || !i.found(terms, Scope{}) {
		t.Error("two letters do not find a word of Cherokee")
	}
}
