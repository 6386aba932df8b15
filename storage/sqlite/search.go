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
	// selectEvery is for words that the index cannot tell, and for messages that it does
	// not have yet.
	selectEvery = `SELECT m.id, m.conversation_id, m.type, m.sender_id, m.created_at, m.state
		FROM messages m WHERE m.id >= ? AND m.id < ? ORDER BY m.id DESC`
)

// What one page may cost. A candidate is a row of messages; one that the other
// conditions let through is read and held against the words.
const (
	searchBudget = 20_000 // candidates
	readCost     = 20     // what reading one counts for
	// conversationAsked is what asking counts for whether its conversation may be
	// seen.
	conversationCost = 100
	// searchFirst is how many candidates are taken at first, beyond the limit;
	// then it is four times as many each time.
	searchFirst  = 8
	searchMax    = 4096
	searchFactor = 4
	// enoughSearch is how long the index is asked for one page.
	searchTime = 100 * time.Millisecond
)

// finder is one page of a search in the making.
type finder struct {
	r      *reader
	q      im.SearchQuery
	terms  search.Terms
	sender int64
	wanted map[int64]bool // the conversations, nil for all
	sees   map[int64]bool // which may be seen, of those that were asked for

	least, next int64 // the ids to look at: from least to below next
	budget      int
	page        im.SearchPage
}

// Search returns messages that have words in them.
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
		f.least = int64(im.FirstID(q.From)) // none is stored before it was created
	}
	err := f.find()
	if err == nil && f.next > f.least {
		f.page.Next = im.ID(f.next)
	}
	return f.page, err
}

// find looks at candidates until the page is full, or costs enough. next is where it
// stopped.
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

// findIndexed looks at what the index finds. It reports that the page ends. Otherwise the
// index has nothing more: an error of its own is no reason to find less.
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
			if full, err := f.look(c); err != nil || full {
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

// findAmongAll looks at one message after the other.
func (f *finder) findByScan() error {
	for take := f.q.Limit + searchFirst; f.next > f.least; take = min(take*searchFactor, searchMax) {
		list, err := f.scanAll(take)
		if err != nil {
			return err
		}
		for _, c := range list {
			if full, err := f.look(c); err != nil || full {
				return err
			}
		}
		if len(list) < take {
			f.next = f.least
		}
	}
	return nil
}

// candidate is a message that may have the words.
type candidate struct {
	id, conversation, kind, sender, created int64
	state                                   im.State
}

// candidates returns those of the messages that there are, in the same order.
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

// every returns the next messages of all.
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

// look adds a candidate to the page if it is what was asked for. It reports
// that the page is full, or has cost enough, before it has looked at it.
func (f *finder) look(c candidate) (full bool, err error) {
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

// passes reports whether a candidate fulfils the conditions besides the words.
func (f *finder) passes(c candidate) bool {
	return !f.excluded(c.conversation) && (f.sender == 0 || c.sender == f.sender) &&
		f.q.Admits(im.Message{State: c.state, Type: im.MessageType(c.kind), CreatedAt: fromMillis(c.created)})
}

// foreign reports whether a conversation is none of those to look in.
func (f *finder) excluded(conversation int64) bool { return f.wanted != nil && !f.wanted[conversation] }

// seen reports whether a conversation may be seen.
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

// read holds a candidate against the words. One that cannot be read is not in
// the way of the others.
func (f *finder) read(c candidate) error {
	var m im.Message
	err := f.r.session.query(selectMessage, []any{c.id}, func(rows *sql.Rows) (_ bool, err error) {
		if m, err = f.r.scanMessage(rows); errors.Is(err, errContent) {
			f.r.session.logger.Error("a message was found of which the content cannot be read", "message", m.ID)
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
