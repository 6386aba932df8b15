package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strings"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/search"
)

const (
	insertEntries = "INSERT INTO search (rowid, entries) VALUES (?, ?)"
	deleteEntries = "INSERT INTO search (search, rowid, entries) VALUES ('delete', ?, ?)"
	selectEntries = "SELECT DISTINCT term FROM search_entries WHERE doc = ?"
)

var errNoFTS5 = errors.New("this binary was built without full-text search: build it with -tags sqlite_fts5")

// requireFTS5 fails in a binary that cannot search.
func requireFTS5(s *session) error { return s.compiledWith("ENABLE_FTS5", errNoFTS5) }

// compiledWith returns an error unless SQLite was compiled with an option.
func (s *session) compiledWith(option string, missing error) error {
	var has bool
	if _, err := s.row("SELECT sqlite_compileoption_used(?)", []any{option}, &has); err != nil {
		return err
	}
	if !has {
		return missing
	}
	return nil
}

// hasher returns what makes entries. It is kept with the session: the key never
// changes.
func (s *session) hasher() (*search.Hasher, error) {
	if s.entries != nil {
		return s.entries, nil
	}
	var key []byte
	found, err := s.row("SELECT value FROM meta WHERE key = 'search_key'", nil, &key)
	if err == nil && (!found || len(key) != search.KeySize) {
		err = errors.New("the key of the search index is missing")
	}
	if err != nil {
		return nil, err
	}
	s.entries = search.NewHasher(key)
	return s.entries, nil
}

// kindOf is how the index tells types of messages apart: most are texts, which
// need no entry for it.
func kindOf(t im.MessageType) uint8 {
	if t == im.Text {
		return 0
	}
	return uint8(t)
}

// entries returns what the index has of a message, "" if nothing.
func (s *session) entriesOf(m im.Message) ([]search.Entry, error) {
	words := m.Words()
	if words == "" {
		return nil, nil
	}
	h, err := s.hasher()
	if err != nil {
		return nil, err
	}
	return h.Document(words, int64(m.Conversation), kindOf(m.Type)), nil
}

// indexMessage has a message found by its words. Within a transaction messages
// are best indexed in the order of their ids: with a smaller one FTS5 writes
// down what it has so far.
func (t *tx) indexMessage(m im.Message) error {
	entries, err := t.session.entriesOf(m)
	if err != nil || len(entries) == 0 {
		return err
	}
	through, err := t.indexedThrough()
	if err != nil {
		return err
	}
	if int64(m.ID) > through {
		t.fresh = append(t.fresh, newRecent(m, entries))
		return nil
	}
	_, err = t.session.exec(insertEntries, int64(m.ID), search.Text(entries))
	return err
}

// unindexMessage takes a message out of the index. m.Content is what it was
// indexed with: to be called before the content is wiped. An empty one stands
// for content that cannot be read.
func (t *tx) unindexMessage(m im.Message) error {
	if m.Content == nil || m.Type != im.Text && m.Type != im.Location {
		return nil
	}
	through, err := t.indexedThrough()
	if err != nil {
		return err
	}
	if int64(m.ID) > through {
		t.forgotten = append(t.forgotten, int64(m.ID))
		return nil
	}
	var entries string
	if json.Valid(m.Content.Body) {
		var list []search.Entry
		list, err = t.session.entriesOf(m)
		entries = search.Text(list)
	} else {
		entries, err = t.unreadable(m.ID)
	}
	if err != nil || entries == "" {
		return err
	}
	_, err = t.session.exec(deleteEntries, int64(m.ID), entries)
	return err
}

// unreadable returns the entries of a message that does not say any more what it
// was indexed with. It looks through the whole index, which takes about a second
// for each million messages: better than to leave them in it.
func (t *tx) unreadable(id im.ID) (string, error) {
	var list []string
	err := t.session.query(selectEntries, []any{int64(id)}, func(rows *sql.Rows) (bool, error) {
		var entry string
		err := rows.Scan(&entry)
		list = append(list, entry)
		return true, err
	})
	t.session.logger.Error("a message was looked for in the whole search index, for its content cannot be read",
		"message", id, "entries", len(list))
	return strings.Join(list, " "), err
}
