package search

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// KeySize is the size of the key of a [Hasher], in bytes.
const KeySize = 32

// Hasher makes the entries of an index: keyed hashes of words. It uses hashes because databases
// leave copies of deleted cells in the free space of their pages. Without the key they reveal no
// words or parts of words.
type Hasher struct{ key [KeySize]byte }

// NewHasher returns a Hasher that uses the first KeySize bytes of key.
func NewHasher(key []byte) *Hasher {
	h := &Hasher{}
	copy(h.key[:], key)
	return h
}

// The kinds of entries: words and prefixes of words, conversations, and types of messages. They
// keep a conversation or a type from being found as a word.
const (
	ofWord         = 'w'
	ofConversation = 'c'
	ofType         = 't'
)

// beginnings are the lengths, in characters, of the indexed prefixes of words. Shorter
// words are indexed as a whole. A word in a query is looked up by its longest indexed
// prefix. More lengths mean more entries to write and delete; fewer mean more false
// candidates: without 4, "ford" would be looked up by "for".
var beginnings = []int{3, 4, 6, 8, 10, 12, 16, 20, 28}

// Entry is the 40-bit hash of a word, a prefix, a conversation or a type of message. After a
// collision, the text decides.
type Entry uint64

// entryBits is the length of an entry.
const entryBits = 40

// entry returns the hash of a text as one kind of entry.
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

// Conversation returns the entry that all texts of a conversation have.
func (h *Hasher) Conversation(id int64) Entry { return h.number(ofConversation, id) }

// Document returns the sorted entries of a text in a conversation, or none if the text has no
// words. kind, the type of the message, is an entry too, unless it is 0.
func (h *Hasher) Document(text string, conversation int64, kind uint8) []Entry {
	d := document{h: h}
	previous := token{}
	for _, t := range tokens(text) {
		if t.single {
			d.add(t.base)
			if previous.single {
				d.add(previous.base + t.base)
			}
		} else {
			d.beginnings(t.base)
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

// document collects the entries of a text.
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

// firstRunes returns the first n characters of a text, and reports whether it has that many.
func firstRunes(text string, n int) (string, bool) {
	for i := range text {
		if n == 0 {
			return text[:i], true
		}
		n--
	}
	return text, n == 0
}

// indexed returns the longest indexed prefix of a word.
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

// Scope restricts a query to Conversations, if there are any, and to messages of the type Kind,
// unless Kind is 0.
type Scope struct {
	Conversations []int64
	Kind          uint8
}

// maxEntries is the maximum number of groups of words in a query. Leaving out groups only adds
// candidates.
const maxEntries = 24

// maxContinued is the maximum number of groups in a query that have an entry for each character that
// may follow. Each costs as much as many others.
const maxContinued = 4

// Query is a list of groups of entries. A candidate has at least one entry of each group. A
// Query without groups matches everything, for example when all words are single letters,
// which may begin any word, and there is no scope.
type Query [][]Entry

// Query returns the query for texts with the terms.
func (h *Hasher) Query(t Terms, in Scope) (q Query) {
	wide := 0
	for _, one := range t {
		for _, alternatives := range one.entries() {
			if len(alternatives) > 1 {
				if wide++; wide > maxContinued {
					continue
				}
			}
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
		entries := make([]Entry, len(in.Conversations))
		for i, c := range in.Conversations {
			entries[i] = h.number(ofConversation, c)
		}
		q = append(q, entries)
	}
	return q
}

// In reports whether a text with these sorted entries is a candidate.
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

// entries returns the groups of entries of texts with the term. Two adjacent characters are
// one entry, because each by itself is in too many texts.
func (t term) entries() (groups [][]string) {
	for i, one := range t {
		before := i > 0 && t[i-1].single
		after := i+1 < len(t) && t[i+1].single
		switch {
		case one.single && before:
			groups = append(groups, []string{t[i-1].base + one.base})
		case one.single && after:
		case one.single:
			groups = append(groups, []string{one.base})
		case i < len(t)-1 || utf8.RuneCountInString(one.base) >= beginnings[0]:
			groups = append(groups, []string{indexed(one.base)})
		case utf8.RuneCountInString(one.base) == beginnings[0]-1:
			groups = append(groups, continued(one.base))
		}
	}
	return groups
}
