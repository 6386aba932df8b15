package sqlite

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
	"github.com/imapi/imapi/search"
)

func TestSearch(t *testing.T) {
	s := newSearchFixture(t, 3, Options{Synchronous: "normal"})
	location, err := im.ParseContent([]byte(`{"body":{"latitude":1,"longitude":2,"address":"上海 Bund"},"type":"location"}`))
	if err != nil {
		t.Fatal(err)
	}
	custom, err := im.ParseContent([]byte(`{"body":{"name":"Bund","data":{"text":"Bund"}},"type":"custom"}`))
	if err != nil {
		t.Fatal(err)
	}
	const day = im.ID(86_400_000) << 21
	at := text(1, 5*day, "")
	at.Type, at.Content = im.Location, location
	odd := text(1, 6*day, "")
	odd.Type, odd.Content = im.Custom, custom
	bob := text(3, 7*day, "Bund of 上海")
	bob.Sender = "bob"
	old := text(3, 8*day, "the Bund long ago")
	old.CreatedAt = fromMillis(1) // as if imported
	s.send(text(1, 1*day, "我家在上海东边"), text(2, 2*day, "海上 Bundle"), text(2, 3*day, "ＢＵＮＤ!"), text(3, 4*day, "!?"), at, odd, bob, old)
	all := []im.ID{1, 2, 3}
	for _, test := range []struct {
		name string
		q    im.SearchQuery
		want []im.ID // listed by day
	}{
		{"a word", im.SearchQuery{Words: "bund"}, []im.ID{8, 7, 5, 3, 2}},
		{"a longer word", im.SearchQuery{Words: "bundle"}, []im.ID{2}},
		{"first letters", im.SearchQuery{Words: "bu"}, []im.ID{8, 7, 5, 3, 2}},
		{"one letter", im.SearchQuery{Words: "b"}, []im.ID{8, 7, 5, 3, 2}},
		{"one letter and a word", im.SearchQuery{Words: "l ago"}, []im.ID{8}},
		{"Han characters", im.SearchQuery{Words: "上海"}, []im.ID{7, 5, 1}},
		{"one Han character", im.SearchQuery{Words: "东"}, []im.ID{1}},
		{"Han characters and a word", im.SearchQuery{Words: "上海 BUND"}, []im.ID{7, 5}},
		{"in one conversation", im.SearchQuery{Words: "bund", Conversations: []im.ID{2}}, []im.ID{3, 2}},
		{"in no conversation", im.SearchQuery{Words: "bund", Conversations: []im.ID{}}, nil},
		{"in other conversations", im.SearchQuery{Words: "东", Conversations: []im.ID{2, 99}}, nil},
		{"of a type", im.SearchQuery{Words: "bund", Type: im.Location}, []im.ID{5}},
		{"of texts", im.SearchQuery{Words: "bund", Type: im.Text}, []im.ID{8, 7, 3, 2}},
		{"of a sender", im.SearchQuery{Words: "bund", Sender: "bob"}, []im.ID{7}},
		{"of an unknown sender", im.SearchQuery{Words: "bund", Sender: "nobody"}, nil},
		{"from a time", im.SearchQuery{Words: "bund", From: fromMillis(int64(3 * day >> 21))}, []im.ID{7, 5, 3}},
		{"up to a time", im.SearchQuery{Words: "bund", To: fromMillis(int64(3 * day >> 21))}, []im.ID{8, 2}},
		{"past a message", im.SearchQuery{Words: "bund", Past: 5 * day}, []im.ID{3, 2}},
		{"no words", im.SearchQuery{Words: `"*" !`}, nil},
		{"syntax of SQLite", im.SearchQuery{Words: `bund" OR "上`}, nil},
		{"syntax that is words", im.SearchQuery{Words: `bund*) AND (of`}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.q.Conversations == nil {
				test.q.Conversations = all
			}
			var got []im.ID
			for _, h := range s.search(test.q) {
				got = append(got, h.Message.ID/day)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("found %v, want %v", got, test.want)
			}
		})
	}
	hit := s.search(im.SearchQuery{Words: "上海", Conversations: []im.ID{1}, Type: im.Text})[0]
	if want := []im.SnippetPart{{Text: "我家在"}, {Text: "上海", Match: true}, {Text: "东边"}}; !slices.Equal(hit.Snippet, want) {
		t.Errorf("snippet = %v", hit.Snippet)
	}
	if hit.Message.Sender != "alice" || hit.Message.Words() != "我家在上海东边" {
		t.Errorf("message = %+v", hit.Message)
	}
}

// TestSearchInLargeMessages checks that a page compares a bounded amount of text, although each
// message is a candidate, and that the pages find what is behind.
func TestSearchInLargeMessages(t *testing.T) {
	s := newSearchFixture(t, 1, Options{Synchronous: "normal"})
	const n, size = 15, 60_000
	filler := strings.Repeat("上", size/3)
	for id := range im.ID(n) {
		words := filler + " 上海 海东" // its pairs are in the index, but not together
		if id == 0 {
			words = filler + "上海东"
		}
		s.send(text(1, id+1, words))
	}
	q := im.SearchQuery{Words: "上海东", Conversations: []im.ID{1}, Limit: 20}
	var page im.SearchPage
	err := s.View(t.Context(), func(r im.Reader) (err error) {
		page, err = r.Search(q)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared, most := n+1-int(page.Next), searchBudget/(size*readCost/readBytes)+1; page.Next == 0 || compared < 1 || compared > most {
		t.Errorf("a page compares %d texts, want at most %d", compared, most)
	}
	if got := ids(s.search(q)); !slices.Equal(got, []im.ID{1}) {
		t.Errorf("found %v", got)
	}
}

// TestSearchFindsAll compares all pages of random searches with a scan of all messages.
func TestSearchFindsAll(t *testing.T) {
	for name, flushAt := range map[string]int{"in memory": 0, "in the file": 1, "in both": testsize.Pick(3000, 700)} {
		t.Run(name, func(t *testing.T) { searchFindsAll(t, flushAt) })
	}
}

func searchFindsAll(t *testing.T, flushAt int) {
	const conversations = 200
	s := newSearchFixture(t, conversations, Options{Synchronous: "normal", flushAt: flushAt})
	random := rand.New(rand.NewPCG(41, 42))
	texts := newTextGenerator(43)
	var list []im.Message
	id := im.ID(1)
	for range testsize.Pick(6000, 1500) {
		id += 1 + im.ID(random.IntN(1_000_000))
		list = append(list, text(im.ID(1+random.IntN(conversations)), id, texts.text()))
	}
	for part := range slices.Chunk(list, 300) {
		s.send(part...)
	}
	for range testsize.Pick(300, 75) {
		i := random.IntN(len(list))
		s.erase(list[i])
		list = slices.Delete(list, i, i+1)
	}
	for n := range testsize.Pick(120, 60) {
		q := im.SearchQuery{Words: texts.words[int(texts.zipf.Uint64())], Limit: 1 + random.IntN(50)}
		switch n % 4 {
		case 1:
			runes := []rune(q.Words)
			q.Words = string(runes[:1+random.IntN(len(runes))])
		case 2:
			q.Words += " " + texts.words[int(texts.zipf.Uint64())]
		case 3:
			q.Words = string(texts.characters[texts.zipf.Uint64()%3000]) + string(texts.characters[texts.zipf.Uint64()%30])
		}
		in := s.conversations[:[]int{1, 5, 64, conversations}[random.IntN(4)]]
		q.Conversations = in
		terms := search.Parse(q.Words)
		var want []im.ID
		for _, m := range list {
			if slices.Contains(in, m.Conversation) && terms.Match(m.Words()) {
				want = append(want, m.ID)
			}
		}
		if got := ids(s.search(q)); !slices.Equal(got, newest(want)) {
			t.Fatalf("%q in %d conversations: found %d, want %d", q.Words, len(in), len(got), len(want))
		}
	}
}

// TestSearchElsewhere checks that pages are not empty if many conversations are searched, but most
// matches are in others.
func TestSearchElsewhere(t *testing.T) {
	s := newSearchFixture(t, 200, Options{Synchronous: "normal"})
	var list []im.Message
	for i := range im.ID(8000) {
		conversation := im.ID(1)
		if i%1000 == 0 {
			conversation = 2 + i/1000
		}
		list = append(list, text(conversation, i+1, "the same word"))
	}
	for part := range slices.Chunk(list, 1000) {
		s.send(part...)
	}
	pages := 0
	q := im.SearchQuery{Words: "word", Conversations: s.conversations[1:], Limit: 100}
	for {
		var page im.SearchPage
		err := s.View(t.Context(), func(r im.Reader) (err error) {
			page, err = r.Search(q)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if page.Next == 0 {
			if len(page.Hits) != 8 || pages != 1 {
				t.Errorf("found %d messages on page %d, want 8 on page 1", len(page.Hits), pages)
			}
			return
		}
		q.Past = page.Next
	}
}

// TestSearchIsBounded checks that a page examines a bounded number of messages.
func TestSearchIsBounded(t *testing.T) {
	s := newSearchFixture(t, 1, Options{Synchronous: "normal"})
	var list []im.Message
	for i := range im.ID(searchBudget/readCost + 500) {
		list = append(list, text(1, i+1, "word of all"))
	}
	for part := range slices.Chunk(list, 1000) {
		s.send(part...)
	}
	for _, words := range []string{"word-all", "x"} { // words for which the index is of no use
		var page im.SearchPage
		err := s.View(t.Context(), func(r im.Reader) (err error) {
			page, err = r.Search(im.SearchQuery{Words: words, Conversations: []im.ID{1}, Limit: 10})
			return err
		})
		if err != nil || len(page.Hits) > 0 || page.Next == 0 {
			t.Errorf("%q: %v, %d hits, next %d", words, err, len(page.Hits), page.Next)
		}
		if hits := s.search(im.SearchQuery{Words: words, Conversations: []im.ID{1}}); len(hits) > 0 {
			t.Errorf("%q: found %d messages, want none", words, len(hits))
		}
	}
}

// TestSearchUnreadable checks that an unreadable message does not prevent others from being found,
// and can be deleted from the index.
func TestSearchUnreadable(t *testing.T) {
	s := newSearchFixture(t, 1, Options{Synchronous: "normal", flushAt: 1})
	list := []im.Message{text(1, 1, "one word"), text(1, 2, "another word"), text(1, 3, "last word")}
	s.send(list...)
	s.write(func(tx *tx) error {
		_, err := tx.session.exec("UPDATE messages SET sealed = x'00' WHERE id = 2")
		return err
	})
	q := im.SearchQuery{Words: "word", Conversations: []im.ID{1}}
	if got := ids(s.search(q)); !slices.Equal(got, []im.ID{3, 1}) {
		t.Errorf("found %v", got)
	}
	s.erase(list[1])
	if left := s.indexedEntries(); left[2] != 0 || left[1] == 0 || left[3] == 0 {
		t.Errorf("the file has %v", left)
	}
}

// TestSearchHasNoSyntax checks that no query is a syntax error.
func TestSearchHasNoSyntax(t *testing.T) {
	s := newSearchFixture(t, 1, Options{Synchronous: "normal"})
	s.send(text(1, 1, "a AND b NOT c NEAR d"))
	for _, words := range []string{`"`, `""`, `a"`, `a*`, `^a`, `a:b`, `entries:a`, `{a b}:c`, `NEAR(a b)`, `a AND`, `NOT a`, `-a`, `(`, "a\x00b", "\xff", `'`, `;`, `+a`} {
		err := s.View(context.Background(), func(r im.Reader) error {
			_, err := r.Search(im.SearchQuery{Words: words, Conversations: []im.ID{1}, Limit: 1})
			return err
		})
		if err != nil {
			t.Errorf("%q: %v", words, err)
		}
	}
}
