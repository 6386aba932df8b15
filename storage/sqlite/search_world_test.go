package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// searchFixture is a store with conversations and messages to search.
type searchFixture struct {
	testing.TB
	*Store
	conversations []im.ID
	messages      []im.Message
}

// newSearchFixture creates the conversations 1 to n.
func newSearchFixture(tb testing.TB, n int, options Options) *searchFixture {
	t := &searchFixture{TB: tb, Store: openNew(tb, options)}
	t.write(func(tx *tx) error {
		for i := range n {
			id := im.ID(i + 1)
			t.conversations = append(t.conversations, id)
			if err := tx.CreateConversation(im.Conversation{ID: id, Kind: im.Group, History: im.HistoryAll}); err != nil {
				return err
			}
		}
		return nil
	})
	return t
}

func (t *searchFixture) write(fn func(tx *tx) error) {
	t.Helper()
	err := t.Write(context.Background(), func(x im.Tx) error { return fn(x.(*tx)) })
	if err != nil {
		t.Fatal(err)
	}
}

// text returns a text message.
func text(conversation, id im.ID, words string) im.Message {
	c, err := im.ParseContent(fmt.Appendf(nil, `{"body":{"text":%q},"type":"text"}`, words))
	if err != nil {
		panic(err)
	}
	return im.Message{
		ID: id, Conversation: conversation, Sender: "alice", Type: im.Text, State: im.Active,
		CreatedAt: fromMillis(int64(id >> 21)), Content: c,
	}
}

// send stores messages in one transaction.
func (t *searchFixture) send(list ...im.Message) {
	t.Helper()
	t.write(func(tx *tx) error {
		for _, m := range list {
			if _, err := tx.InsertMessage(m); err != nil {
				return err
			}
		}
		return nil
	})
	t.messages = append(t.messages, list...)
}

// erase erases a message.
func (t *searchFixture) erase(m im.Message) {
	t.Helper()
	t.write(func(tx *tx) error {
		_, err := tx.Erase(m.ID, im.Erasure{State: im.Revoked, At: fromMillis(1)}, fromMillis(2))
		return err
	})
}

// search returns all results of a query, from all pages.
func (t *searchFixture) search(q im.SearchQuery) (hits []im.SearchHit) {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 3
	}
	for pages := 0; ; pages++ {
		var page im.SearchPage
		err := t.View(context.Background(), func(r im.Reader) (err error) {
			page, err = r.Search(q)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Hits) > q.Limit || pages > 10_000 {
			t.Fatalf("page %d has %d hits", pages, len(page.Hits))
		}
		hits = append(hits, page.Hits...)
		if q.Past = page.Next; q.Past == 0 {
			return hits
		}
	}
}

func ids(hits []im.SearchHit) (list []im.ID) {
	for _, h := range hits {
		list = append(list, h.Message.ID)
	}
	return list
}

// waitIndexed waits until the index has applied all changes.
func (t *searchFixture) waitIndexed() {
	t.Helper()
	await.Until(t, "the index is up to date", func() bool {
		s := t.SearchState()
		return s.Removals == 0 && s.Complete && (t.options.flushAt == 0 || s.Waiting < t.options.flushAt)
	})
}

// indexedEntries returns the number of entries of each message in the index's file, once
// the index is up to date.
func (t *searchFixture) indexedEntries() map[im.ID]int {
	t.Helper()
	t.waitIndexed()
	db, err := sql.Open("sqlite3", dataSource(filepath.Join(filepath.Dir(t.path), searchFile)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(context.Background(), `SELECT d.at & 63, i.ids, length(d.entries) / 5 FROM documents d
		CROSS JOIN ids i ON i.at = (d.at >> 24 << 24) + (d.at & 0xffffff) / 64`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	all := map[im.ID]int{}
	for rows.Next() {
		var n, entries int
		var ids []byte
		if err := rows.Scan(&n, &ids, &entries); err != nil {
			t.Fatal(err)
		}
		all[im.ID(binary.LittleEndian.Uint64(ids[12*n:]))] = entries
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// textGenerator makes texts whose words have the frequencies of a natural language. A fifth
// are in Chinese.
type textGenerator struct {
	random     *rand.Rand
	zipf       *rand.Zipf
	words      []string
	characters []rune
}

func newTextGenerator(seed uint64) *textGenerator {
	s := &textGenerator{random: rand.New(rand.NewPCG(seed, 1))}
	letters := []byte("eeeeettttaaaooinnsshrrdlucmfwypvbgkjqxz")
	for range 20_000 {
		word := make([]byte, 2+s.random.IntN(4)+s.random.IntN(5))
		for i := range word {
			word[i] = letters[s.random.IntN(len(letters))]
		}
		s.words = append(s.words, string(word))
	}
	for r := range rune(3000) {
		s.characters = append(s.characters, 0x4e00+r)
	}
	s.random.Shuffle(len(s.characters), func(i, j int) { s.characters[i], s.characters[j] = s.characters[j], s.characters[i] })
	s.zipf = rand.NewZipf(s.random, 1.1, 4, 19_999)
	return s
}

// text returns about ten words, or as many characters.
func (s *textGenerator) text() string {
	var b strings.Builder
	if s.random.IntN(5) == 0 {
		for range 6 + s.random.IntN(9) {
			b.WriteRune(s.characters[s.zipf.Uint64()%uint64(len(s.characters))])
		}
		return b.String()
	}
	for range 6 + s.random.IntN(9) {
		b.WriteString(s.words[s.zipf.Uint64()])
		b.WriteByte(' ')
	}
	return b.String()
}

// newest returns ids in the order of search results.
func newest(list []im.ID) []im.ID {
	slices.Sort(list)
	slices.Reverse(list)
	return list
}
