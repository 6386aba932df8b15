package search

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// KeySize is the size of the key of a [Hasher], in bytes.
const KeySize = 32

// Hasher makes what the index is given of texts and terms: keyed hashes of
// words. For an index cannot be relied on to forget: databases leave copies of
// cells in the gaps of pages. Of a hash that was left nobody reads a word, nor
// part of one; and who has the index without the key learns nothing from it.
type Hasher struct{ key [KeySize]byte }

// NewHasher returns one with a key, of which it takes the first KeySize bytes.
func NewHasher(key []byte) *Hasher {
	h := &Hasher{}
	copy(h.key[:], key)
	return h
}

// The kinds of entries; one word is not found as another's beginning, nor a
// conversation as a word.
const (
	ofWord         = 'w'
	ofConversation = 'c'
	ofType         = 't'
)

// beginnings are the lengths, in characters, of the beginnings of words that
// are in the index; shorter words are in it themselves. A word that is looked
// for is found among those with the same beginning of the greatest of these
// lengths. Each is an entry more to make and to delete, and where one is left
// out, a rare word is among others that are not meant: with 3 but without 4,
// "ford" is among all that begins with "for".
var beginnings = []int{3, 4, 6, 8, 10, 12, 16, 20, 28}

// Entry is the hash of a word, a conversation or a kind: 40 bits. Where two have
// the same, the text decides.
type Entry uint64

// entryBits is how long an entry is.
const entryBits = 40

// entry returns the hash of something.
func (h *Hasher) entry(kind byte, of string) Entry {
	var room [96]byte
	b := append(room[:0], h.key[:]...)
	b = append(append(b, kind), of...)
	sum := sha256.Sum256(b)
	return Entry(binary.BigEndian.Uint64(sum[:8]) >> (64 - entryBits))
}

func (h *Hasher) number(kind byte, n int64) Entry {
	return h.entry(kind, string(binary.BigEndian.AppendUint64(nil, uint64(n))))
}

// Conversation returns the entry of a conversation, which all texts in it have.
func (h *Hasher) Conversation(id int64) Entry { return h.number(ofConversation, id) }

// Document returns the entries of a text in a conversation, rising; none for one
// without words. kind is told from others, unless it is 0.
func (h *Hasher) Document(text string, conversation int64, kind uint8) []Entry {
	d := document{h: h}
	previous := token{}
	for _, t := range tokens(text) {
		if t.single {
			d.add(t.text)
			if previous.single {
				d.add(previous.text + t.text)
			}
		} else {
			d.beginnings(t.text)
		}
		previous = t
	}
	if len(d.entries) == 0 {
		return nil
	}
	d.entries = append(d.entries, h.Conversation(conversation))
	if kind != 0 {
		d.entries = append(d.entries, h.number(ofType, int64(kind)))
	}
	slices.Sort(d.entries)
	return slices.Compact(d.entries)
}

// document is a text's entries in the making.
type document struct {
	h       *Hasher
	entries []Entry
}

func (d *document) add(word string) {
	d.entries = append(d.entries, d.h.entry(ofWord, word))
}

func (d *document) beginnings(word string) {
	if utf8.RuneCountInString(word) < beginnings[0] {
		d.add(word)
		return
	}
	for _, n := range beginnings {
		begin, whole := firstRunes(word, n)
		if !whole {
			return
		}
		d.add(begin)
	}
}

// firstRunes returns the first n characters of a text, and whether it has so
// many.
func firstRunes(text string, n int) (string, bool) {
	for i := range text {
		if n == 0 {
			return text[:i], true
		}
		n--
	}
	return text, n == 0
}

// indexed returns the longest beginning of a word that is in the index.
func indexed(word string) string {
	longest := word
	for _, n := range beginnings {
		begin, whole := firstRunes(word, n)
		if !whole {
			break
		}
		longest = begin
	}
	return longest
}

// Scope is where texts are looked for: in one of the conversations, if there
// are any, and of one kind, unless it is 0.
type Scope struct {
	Conversations []int64
	Kind          uint8
}

// maxEntries is the most entries of words that all must be in a text. Those
// left out only make more candidates.
const maxEntries = 24

// Query is what candidates have: of each group of entries one at least. One
// without groups asks for everything: so where nothing but single letters is
// looked for, which may begin any word, in no conversation and no kind.
type Query [][]Entry

// Query returns one by which texts with the terms are found.
func (h *Hasher) Query(t Terms, in Scope) (q Query) {
	for _, one := range t {
		for _, alternatives := range one.entries() {
			group := make([]Entry, len(alternatives))
			for i, word := range alternatives {
				group[i] = h.entry(ofWord, word)
			}
			known := func(other []Entry) bool { return slices.Equal(other, group) }
			if len(q) < maxEntries && !slices.ContainsFunc(q, known) {
				q = append(q, group)
			}
		}
	}
	if in.Kind != 0 {
		q = append(q, []Entry{h.number(ofType, int64(in.Kind))})
	}
	if len(in.Conversations) > 0 {
		places := make([]Entry, len(in.Conversations))
		for i, c := range in.Conversations {
			places[i] = h.number(ofConversation, c)
		}
		q = append(q, places)
	}
	return q
}

// In reports whether a text with these entries, which rise, is a candidate.
func (q Query) In(entries []Entry) bool {
	for _, group := range q {
		if !slices.ContainsFunc(group, func(e Entry) bool {
			_, found := slices.BinarySearch(entries, e)
			return found
		}) {
			return false
		}
	}
	return true
}

// entries returns what texts with the term have in the index: one at least of
// each group. Two characters that stand side by side are one entry: each of
// them alone is in too many texts.
func (t term) entries() (groups [][]string) {
	for i, one := range t {
		before := i > 0 && t[i-1].single
		after := i+1 < len(t) && t[i+1].single
		switch {
		case one.single && before:
			groups = append(groups, []string{t[i-1].text + one.text})
		case one.single && after:
		case one.single:
			groups = append(groups, []string{one.text})
		case i < len(t)-1 || utf8.RuneCountInString(one.text) >= beginnings[0]:
			groups = append(groups, []string{indexed(one.text)})
		case utf8.RuneCountInString(one.text) == beginnings[0]-1:
			groups = append(groups, continued(one.text))
		}
	}
	return groups
}
