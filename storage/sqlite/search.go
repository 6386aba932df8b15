package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/search"
	"github.com/imapi/imapi/storage/record"
	"github.com/imapi/imapi/storage/searchindex"
)

const (
	selectCandidates = `SELECT m.id, m.conversation_id, m.type, m.sender_id, m.created_at, m.state
		FROM json_each(?) AS j CROSS JOIN messages m ON m.id = j.value`
	// selectEvery is for words the index cannot find, and for messages it does not have
	// yet.
	selectEvery = `SELECT m.id, m.conversation_id, m.type, m.sender_id, m.created_at, m.state
		FROM messages m WHERE m.id >= ? AND m.id < ? ORDER BY m.id DESC`
)

// The cost of a page. A candidate is a row of messages. If it meets the other conditions,
// its content is read and compared with the words.
const (
	searchBudget = 20_000 // candidates
	readCost     = 20     // the cost of reading one
	// conversationCost is the cost of checking whether the user can see a conversation.
	conversationCost = 100
	// searchFirst is how many candidates the first step takes beyond the limit. Each
	// further step takes searchFactor times as many.
	searchFirst  = 8
	searchMax    = 4096
	searchFactor = 4
	// searchTime is the time after which a page stops asking the index.
	searchTime = 100 * time.Millisecond
)

// finder builds a page of search results.
type finder struct {
	r      *reader
	q      im.SearchQuery
	terms  search.Terms
	sender int64
	wanted map[int64]bool // the conversations to search, nil for all
	sees   map[int64]bool // whether the user can see a conversation, once checked

	least, next int64 // the ids still to search: from least to below next
	budget      int
	page        im.SearchPage
}

// Search returns a page of messages that contain words.
func (r *reader) Search(q im.SearchQuery) (im.SearchPage, error) {
	f := &finder{r: r, q: q, terms: search.Parse(q.Words), budget: searchBudget, next: math.MaxInt64}
	if len(f.terms) == 0 || len(q.Conversations) == 0 && q.Sees == nil || q.Limit <= 0 {
		return f.page, nil
	}
	if q.Sender != "" {
		var err error
		if f.sender, err = r.userKey(q.Sender); err != nil || f.sender == 0 {
			return f.page, err
		}
	}
	f.sees = make(map[int64]bool)
	if len(q.Conversations) > 0 {
		f.wanted = make(map[int64]bool, len(q.Conversations))
	}
	for _, c := range q.Conversations {
		f.wanted[int64(c)] = true
	}
	if q.Past != 0 {
		f.next = int64(q.Past)
	}
	if !q.From.IsZero() {
		f.least = int64(im.FirstID(q.From)) // no message is stored before it was created
	}
	err := f.find()
	if err == nil && f.next > f.least {
		f.page.Next = im.ID(f.next)
	}
	return f.page, err
}

// find looks at candidates until the page is full or has cost enough. It leaves next where
// it stopped.
func (f *finder) find() error {
	index := f.r.searcher
	q := searchindex.Query{
		Words:         index.Hasher().Query(f.terms, search.Scope{Kind: kindOf(f.q.Type)}),
		Conversations: f.wanted, From: f.least, Below: f.next,
	}
	if q.Selective() {
		full, err := f.findIndexed(q)
		if full || err != nil {
			return err
		}
	}
	return f.findByScan()
}

// findIndexed looks at the candidates from the index. It reports whether the page is
// complete. If not, the index has no more candidates, or failed, and the rest must be
// scanned.
func (f *finder) findIndexed(q searchindex.Query) (full bool, err error) {
	until := time.Now().Add(searchTime)
	c, failure := f.r.searcher.Search(q)
	if failure == nil {
		defer c.Close()
	}
	for take := f.q.Limit + searchFirst; failure == nil; take = min(take*searchFactor, searchMax) {
		var ids []int64
		var through int64
		ids, through, failure = c.Next(take, until)
		list, err := f.candidates(ids)
		if err != nil {
			return false, err
		}
		for _, c := range list {
			if full, err := f.consider(c); err != nil || full {
				return true, err
			}
		}
		f.next = min(f.next, through)
		if failure == nil && f.next <= c.Floor() {
			return false, nil
		}
		if !time.Now().Before(until) {
			return true, nil
		}
	}
	f.r.searcher.ReportError(failure)
	return false, nil
}

// findByScan looks at one message after the other.
func (f *finder) findByScan() error {
	for take := f.q.Limit + searchFirst; f.next > f.least; take = min(take*searchFactor, searchMax) {
		list, err := f.scanAll(take)
		if err != nil {
			return err
		}
		for _, c := range list {
			if full, err := f.consider(c); err != nil || full {
				return err
			}
		}
		if len(list) < take {
			f.next = f.least
		}
	}
	return nil
}

// candidate is a message that may contain the words.
type candidate struct {
	id, conversation, kind, sender, created int64
	state                                   im.State
}

// candidates loads the messages of a list that exist, in the same order.
func (f *finder) candidates(ids []int64) (list []candidate, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	numbers, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	return f.scan(len(ids), selectCandidates, string(numbers))
}

// scanAll returns the next messages of the store.
func (f *finder) scanAll(limit int) ([]candidate, error) {
	return f.scan(limit, selectEvery, f.least, f.next)
}

func (f *finder) scan(limit int, query string, args ...any) (list []candidate, err error) {
	err = f.r.session.query(query, args, func(rows *sql.Rows) (bool, error) {
		var c candidate
		err := rows.Scan(&c.id, &c.conversation, &c.kind, &c.sender, &c.created, &c.state)
		list = append(list, c)
		return len(list) < limit, err
	})
	return list, err
}

// consider adds a candidate to the page if it matches. It returns true, without considering
// the candidate, if the page is full or has cost enough.
func (f *finder) consider(c candidate) (full bool, err error) {
	if f.budget <= 0 {
		return true, nil
	}
	passes := f.passes(c)
	if passes {
		if passes, err = f.maySee(c.conversation); err != nil {
			return false, err
		}
	}
	if passes {
		if len(f.page.Hits) == f.q.Limit {
			return true, nil
		}
		f.budget -= readCost
		err = f.read(c)
	}
	f.budget--
	f.next = c.id
	return false, err
}

// passes reports whether a candidate meets the conditions other than the words.
func (f *finder) passes(c candidate) bool {
	return !f.excluded(c.conversation) && (f.sender == 0 || c.sender == f.sender) &&
		f.q.Admits(im.Message{State: c.state, Type: im.MessageType(c.kind), CreatedAt: fromMillis(c.created)})
}

// excluded reports whether a conversation is not among those to search.
func (f *finder) excluded(conversation int64) bool { return f.wanted != nil && !f.wanted[conversation] }

// maySee reports whether the user can see a conversation.
func (f *finder) maySee(conversation int64) (bool, error) {
	if f.q.Sees == nil {
		return true, nil
	}
	sees, known := f.sees[conversation]
	if known {
		return sees, nil
	}
	f.budget -= conversationCost
	sees, err := f.q.Sees(im.ID(conversation))
	f.sees[conversation] = sees
	return sees, err
}

// read compares a candidate's content with the words. Content that cannot be read is
// skipped.
func (f *finder) read(c candidate) error {
	var m im.Message
	err := f.r.session.query(selectMessage, []any{c.id}, func(rows *sql.Rows) (_ bool, err error) {
		if m, err = f.r.scanMessage(rows); errors.Is(err, errContent) {
			f.r.session.logger.Error("content of a search candidate cannot be read", "message_id", m.ID)
			err = nil
		}
		return false, err
	})
	if err != nil {
		return err
	}
	if hit, matches := record.Hit(f.terms, m); matches {
		f.page.Hits = append(f.page.Hits, hit)
	}
	return nil
}
