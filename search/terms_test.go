package search

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unicode"
)

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		words, text string
		want        bool
	}{
		{"上海", "我家在上海东边", true},
		{"海", "我家在上海东边", true},
		{"东边", "我家在上海东边", true},
		{"海上", "我家在上海东边", false},
		{"上边", "我家在上海东边", false},
		{"上 边", "我家在上海东边", true},
		{"上海", "海上。海上", false},
		{"上，海", "海上。海上", true},
		{"とう", "ありがとうございます", true},
		{"ｶﾞ", "ガス", true},
		{"ガス", "ｶﾞｽ会社", true},
		{"ラーメン", "昨日のラーメン", true},
		{"사람", "좋은사람들", true},
		{"株式", "㍿テスト", true},
		{"hello", "Hello, world", true},
		{"HELLO", "hello", true},
		{"ＨＥＬＬＯ", "say hello", true},
		{"hello", "ＨＥＬＬＯ", true},
		{"hel", "hello", true},
		{"h", "say hello", true},
		{"ello", "hello", false},
		{"hello", "hell", false},
		{"strasse", "Straße", true},
		{"straße", "STRASSE", true},
		{"οδος", "ΟΔΟΣ", true},
		{"café", "cafe\u0301 au lait", true},
		{"ﬁne", "fine", true},
		{"foo-bar", "a foo-bar b", true},
		{"foo-bar", "a foo b bar", false},
		{"foo-bar", "a foo barn", true},
		{"foo-bar", "food-bar", false},
		{"foo bar", "bar and foo", true},
		{"foo bar", "foo", false},
		{"iPhone手机", "新iPhone 手机壳", true},
		{"12", "2026-12-24", true},
		{"co\u00adoperate", "cooperate", true},
		{"สวัส", "สวัสดีครับ", true},
		{"ก", "กำ", true},
		{"", "anything", false},
		{`"*()- AND`, "and so on", true},
		{"NOT", "nothing", true},
	} {
		if got := Parse(test.words).Match(test.text); got != test.want {
			t.Errorf("%q in %q: %t", test.words, test.text, got)
		}
	}
}

func TestParseWithoutWords(t *testing.T) {
	for _, words := range []string{"", " ", "…", `"`, `""`, "*", "( )", "!?", "😀", "\xff\xfe", "\x00", "-- ;", "\u0301", "\u200d"} {
		if terms := Parse(words); len(terms) != 0 {
			t.Errorf("%q has terms: %v", words, terms)
		}
	}
}

func TestParseIsBounded(t *testing.T) {
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "word%d ", i)
	}
	if n := len(Parse(many.String())); n != maxTerms {
		t.Errorf("%d terms", n)
	}
	long := Parse(strings.Repeat("上海", 1000) + " more")
	if len(long) != 1 || len(long[0]) != maxTokens {
		t.Errorf("%d terms", len(long))
	}
	if n := len(Parse("a A ａ b")); n != 2 {
		t.Errorf("%d terms, though some are the same", n)
	}
	if q := NewHasher(nil).Query(long, Scope{}); len(q) > maxEntries {
		t.Errorf("a query of %d groups", len(q))
	}
	entries := 0
	for _, group := range NewHasher(nil).Query(Parse("ab cd ef gh ij kl mn op щя юэ бы ть гд ёж ху ша"), Scope{}) {
		entries += len(group)
	}
	if entries > 300 {
		t.Errorf("a query of two-letter words has %d entries", entries)
	}
}

// TestTokensDoNotChange: if tokens changed, searches would no longer find indexed texts. If a
// newer Unicode version makes it fail, raise the format of the index (searchindex), which rebuilds
// it, and update this sum.
func TestTokensDoNotChange(t *testing.T) {
	const want = "879b5042f630a7287a23b2fffce6ea8931d33b59eede0f9630a35a762c9b565f"
	sum := sha256.New()
	for r := rune(1); r <= unicode.MaxRune; r++ {
		if r == 0x40000 {
			r = 0xe0000 // no characters in between, or in the next 4096
		} else if r == 0xe1000 {
			break
		}
		for _, token := range tokens("x" + string(r)) {
			_, _ = fmt.Fprint(sum, token.text, token.single, token.start, token.end, ";")
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		t.Errorf("the tokens of all characters are %s", got)
	}
}

func TestSnippet(t *testing.T) {
	long := strings.Repeat("lorem ipsum ", 30)
	for _, test := range []struct{ words, text, want string }{
		{"上海", "我家在上海东边", "我家在[上海]东边"},
		{"海 我", "我家在上海东边", "[我]家在上[海]东边"},
		{"上海 海东", "我家在上海东边", "我家在[上海东]边"},
		{"hel", "oh Hello there", "oh [Hello] there"},
		{"株式", "a㍿b", "a[㍿]b"},
		{"cafe", "a cafe\u0301", "a [cafe\u0301]"},
		{"cafe\u0301", "a cafe", ""},
		{"none", "text", ""},
		{"needle", long + "needle " + long, "…lorem ipsum lorem ipsum lorem ipsum [needle] lorem ipsum lorem ipsum lorem ipsum lorem ipsum lorem ipsum lorem ipsum…"},
	} {
		var got strings.Builder
		for _, p := range Parse(test.words).Snippet(test.text) {
			if p.Match {
				fmt.Fprintf(&got, "[%s]", p.Text)
			} else {
				got.WriteString(p.Text)
			}
		}
		if got.String() != test.want {
			t.Errorf("%q in %q: %q, not %q", test.words, test.text, got.String(), test.want)
		}
	}
}

// TestSnippetCutsBetweenCharacters uses user-perceived characters.
func TestSnippetCutsBetweenCharacters(t *testing.T) {
	for _, character := range []string{"e\u0301", "👩‍👩‍👧", "🇩🇪", "👍🏽", "각", "각", "กำ", "한", "❤️"} {
		for n := range 10 {
			run := strings.Repeat(character, 200)
			text := run + strings.Repeat("-", n) + "上海" + strings.Repeat("-", n) + run
			parts := Parse("上海").Snippet(text)
			whole := ""
			for _, p := range parts {
				whole += p.Text
			}
			whole = strings.TrimSuffix(strings.TrimPrefix(whole, ellipsis), ellipsis)
			before, after, found := strings.Cut(whole, strings.Repeat("-", n)+"上海"+strings.Repeat("-", n))
			if !found || strings.ReplaceAll(before, character, "") != "" || strings.ReplaceAll(after, character, "") != "" {
				t.Errorf("%q after %d: %q", character, n, whole)
			}
			if len([]rune(whole)) > 2*snippetLength {
				t.Errorf("%q: a snippet of %d", character, len([]rune(whole)))
			}
		}
	}
}
