package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/searchindex"
)

// searchFile is the name of the search index in the directory of the database.
const searchFile = "search.db"

const (
	selectSearchable = `SELECT m.id FROM messages m WHERE m.id < ?1 AND m.state = ?2
		AND m.type IN (SELECT j.value FROM json_each(?3) AS j) ORDER BY m.id DESC LIMIT ?4`
	countSearchable   = `SELECT count(*) FROM messages m WHERE m.state = ?1 AND m.type IN (SELECT j.value FROM json_each(?2) AS j)`
	selectSearchables = "SELECT " + messageColumns + withContent + ` FROM json_each(?) AS j CROSS JOIN messages m ON m.id = j.value
		WHERE m.state = ?`

	// closedKey is the key of the mark with which the database and the index were closed. If both
	// have the same mark, they belong together, and neither was opened or replaced since.
	closedKey    = "closed"
	deleteClosed = "DELETE FROM meta WHERE key = 'closed'"
	putClosed    = `INSERT INTO meta (key, value) VALUES ('closed', ?) ON CONFLICT DO UPDATE SET value = excluded.value`
)

// openIndex opens the search index of the store. Its key is stored with the keys of content, so a
// copy of the index alone reveals nothing.
func (s *Store) openIndex(closed []byte) {
	key := s.sealer.keys.SearchKey()
	opened := make(chan struct{})
	s.index = searchindex.Open(filepath.Join(filepath.Dir(s.path), searchFile), searchindex.Options{
		Source: indexSource{s, opened}, Key: key[:], Data: s.sealer.store[:], Mark: closed,
		Searches: s.options.Readers, FlushAt: s.options.flushAt, Logger: s.options.Logger,
	})
	close(opened)
}

// closeIndex closes the index with a mark that is also stored in the database, and without a mark
// if there is no session or the mark cannot be stored.
func (s *Store) closeIndex(session *session) error {
	if session == nil {
		return s.index.Close(nil)
	}
	mark := make([]byte, 16)
	_, _ = rand.Read(mark) // crypto/rand never fails
	err := session.inOne(func() error {
		_, err := session.exec(putClosed, mark)
		return err
	})
	if err != nil {
		mark = nil
	}
	return errors.Join(err, s.index.Close(mark))
}

// takeClosed returns and deletes the mark with which the database was closed, nil if it was not
// closed. Therefore copies of the open database have no mark.
func (s *session) takeClosed() (mark []byte, err error) {
	found, err := s.row(selectMeta, []any{closedKey}, &mark)
	if err == nil && found {
		err = s.inOne(func() error {
			_, err := s.exec(deleteClosed)
			return err
		})
	}
	return mark, err
}

// Reindex rebuilds the search index; see [im.Reindexer].
func (s *Store) Reindex(ctx context.Context, progress func(done, total int64)) error {
	return s.index.Reindex(ctx, progress)
}

// SearchState returns the state of the search index.
func (s *Store) SearchState() im.SearchState { return im.SearchState(s.index.State()) }

// kindOf returns the kind of a message type in the index. Most messages are texts, which
// need no entry for their kind.
func kindOf(t im.MessageType) uint8 {
	if t == im.Text {
		return 0
	}
	return uint8(t)
}

// documentOf returns the document of a message for the index.
func documentOf(m im.Message) searchindex.Document {
	content := im.Message{Type: m.Type, Content: m.Content}
	return searchindex.Document{ID: int64(m.ID), Conversation: int64(m.Conversation), Kind: kindOf(m.Type), Words: content.Words}
}

// index adds a message to the search index after the commit, if it is active and has words.
func (t *tx) index(m im.Message) {
	if m.State == im.Active && m.Type.HasWords() {
		t.searchAdded = append(t.searchAdded, documentOf(m))
	}
}

// unindex deletes a message from the search index after the commit.
func (t *tx) unindex(id im.ID, kind im.MessageType) {
	if kind.HasWords() {
		t.searchRemoved = append(t.searchRemoved, int64(id))
	}
}

// wordTypes is the JSON list of the message types that have words.
var wordTypes = func() string {
	var list []string
	for t := range im.MessageType(math.MaxUint8) {
		if t.HasWords() {
			list = append(list, strconv.Itoa(int(t)))
		}
	}
	return "[" + strings.Join(list, ",") + "]"
}()

// indexSource implements [searchindex.Source].
type indexSource struct {
	store *Store
	// opened is closed once the store has the index. The index starts reading at once, in a
	// goroutine of its own; without opened, a read could race with setting the field.
	opened <-chan struct{}
}

func (i indexSource) view(ctx context.Context, fn func(*reader) error) error {
	<-i.opened
	ctx = im.WithCaller(im.AtStart(ctx), im.Caller{Job: "indexing"})
	return i.store.View(ctx, func(r im.Reader) error { return fn(r.(*reader)) })
}

func (i indexSource) Searchable(ctx context.Context, below int64, limit int) (ids []int64, err error) {
	err = i.view(ctx, func(r *reader) error {
		ids = ids[:0]
		return r.session.query(selectSearchable, []any{below, int64(im.Active), wordTypes, limit}, func(rows row) (bool, error) {
			var id int64
			err := rows.Scan(&id)
			ids = append(ids, id)
			return true, err
		})
	})
	return ids, err
}

func (i indexSource) Documents(ctx context.Context, ids []int64) (docs []searchindex.Document, err error) {
	err = i.view(ctx, func(r *reader) error {
		docs = docs[:0]
		list, err := json.Marshal(ids)
		if err != nil {
			return err
		}
		return r.session.query(selectSearchables, []any{string(list), int64(im.Active)}, func(rows row) (bool, error) {
			m, err := r.scanMessage(rows)
			if errors.Is(err, errContent) {
				err = nil
			}
			if m.State == im.Active {
				docs = append(docs, documentOf(m))
			}
			return true, err
		})
	})
	return docs, err
}

func (i indexSource) CountSearchable(ctx context.Context) (n int64, err error) {
	err = i.view(ctx, func(r *reader) error {
		_, err := r.session.row(countSearchable, []any{int64(im.Active), wordTypes}, &n)
		return err
	})
	return n, err
}
