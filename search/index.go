package search

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"
)

// KeySize is the size of the key of a [Hasher], in bytes.
const KeySize = 32

// Hasher makes what the index is given of texts and terms: keyed hashes of
// words. For an index cannot be relied on to forget: FTS5 leaves beginnings of
// deleted words in %_idx, and copies of live cells in the gaps of pages. Of a
// hash that was left nobody reads a word, nor part of one.
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

// entryLength is that of an entry, in characters: 40 bits. Where two words have
// the same, the text decides.
const entryLength = 8

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567")

// entry appends the hash of something.
func (h *Hasher) entry(to []byte, kind byte, of string) []byte {
	var room [96]byte
	b := append(room[:0], h.key[:]...)
	b = append(append(b, kind), of...)
	sum := sha256.Sum256(b)
	return encoding.AppendEncode(to, sum[:entryLength*5/8])
}

func (h *Hasher) number(to []byte, kind byte, n int64) []byte {
	return h.entry(to, kind, string(binary.BigEndian.AppendUint64(nil, uint64(n))))
}

// Document returns the entries of a text in a conversation, with blanks in
// between; "" for one without words. kind is told from others, unless it is 0.
func (h *Hasher) Document(text string, conversation int64, kind uint8) string {
	d := document{h: h, seen: map[string]bool{}}
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
		return ""
	}
	d.entries = append(h.number(d.entries, ofConversation, conversation), ' ')
	if kind != 0 {
		d.entries = append(h.number(d.entries, ofType, int64(kind)), ' ')
	}
	return string(d.entries)
}

// document is a text's entries in the making, each of them once.
type document struct {
	h       *Hasher
	seen    map[string]bool
	entries []byte
}

func (d *document) add(word string) {
	if !d.seen[word] {
		d.seen[word] = true
		d.entries = append(d.h.entry(d.entries, ofWord, word), ' ')
	}
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

// Query returns what asks FTS5 for candidates: texts with the terms are among
// them. Clauses says how many conditions it has. With none it is "", and
// everything is a candidate: so where nothing but single letters is looked for,
// which may begin any word, in no conversation and no kind.
func (h *Hasher) Query(t Terms, in Scope) (query string, clauses int) {
	var all []string
	for _, one := range t {
		for _, alternatives := range one.entries() {
			clause := h.anyOf(alternatives)
			if !slices.Contains(all, clause) && len(all) < maxEntries {
				all = append(all, clause)
			}
		}
	}
	if in.Kind != 0 {
		all = append(all, quote(h.number(nil, ofType, int64(in.Kind))))
	}
	if len(in.Conversations) > 0 {
		places := make([]string, len(in.Conversations))
		for i, c := range in.Conversations {
			places[i] = quote(h.number(nil, ofConversation, c))
		}
		all = append(all, "("+strings.Join(places, " OR ")+")")
	}
	return strings.Join(all, " AND "), len(all)
}

// anyOf is the condition that a text has one of some words.
func (h *Hasher) anyOf(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = quote(h.entry(nil, ofWord, word))
	}
	return "(" + strings.Join(quoted, " OR ") + ")"
}

func quote(entry []byte) string { return `"` + string(entry) + `"` }

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
