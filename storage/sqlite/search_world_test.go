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
	"time"

	"github.com/imapi/imapi/im"
)

// talk is messages in conversations, for searching.
type talk struct {
	testing.TB
	*Store
	conversations []im.ID
	messages      []im.Message
}

// newTalk makes conversations 1 to n.
func newTalk(tb testing.TB, n int, options Options) *talk {
	t := &talk{TB: tb, Store: openNew(tb, options)}
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

func (t *talk) write(fn func(tx *tx) error) {
	t.Helper()
	err := t.Write(context.Background(), func(x im.Tx) error { return fn(x.(*tx)) })
	if err != nil {
		t.Fatal(err)
	}
}

// text is a message that says something.
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

// say stores messages in one transaction.
func (t *talk) say(list ...im.Message) {
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
func (t *talk) erase(m im.Message) {
	t.Helper()
	t.write(func(tx *tx) error {
		_, err := tx.Erase(m.ID, im.Erasure{State: im.Revoked, At: fromMillis(1)}, fromMillis(2))
		return err
	})
}

// search returns all that a query finds, page by page.
func (t *talk) search(q im.SearchQuery) (hits []im.SearchHit) {
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

// settled waits until the index has done what it was told.
func (t *talk) settled() {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if s := t.SearchState(); s.Removals == 0 && s.Complete && (t.options.flushAt == 0 || s.Waiting < t.options.flushAt) {
			return
		} else if time.Since(began) > patience {
			t.Fatalf("the index is %+v", s)
		}
	}
}

// index returns the ids of the messages that the file of the index has, by the number of
// their entries, once it has done what it was told.
func (t *talk) index() map[im.ID]int {
	t.Helper()
	t.settled()
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

// speech makes texts of words that are as unevenly frequent as those of a
// language, a part of them in Chinese.
type speech struct {
	random     *rand.Rand
	zipf       *rand.Zipf
	words      []string
	characters []rune
}

func newSpeech(seed uint64) *speech {
	s := &speech{random: rand.New(rand.NewPCG(seed, 1))}
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
func (s *speech) text() string {
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

// newest returns ids in the order in which a search finds them.
func newest(list []im.ID) []im.ID {
	slices.Sort(list)
	slices.Reverse(list)
	return list
}
