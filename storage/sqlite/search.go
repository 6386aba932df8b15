package sqlite

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/search"
	"github.com/imapi/imapi/storage/record"
	"github.com/imapi/imapi/storage/searchindex"
)

const (
	selectCandidates = "SELECT " + messageColumns + withSmallContent + " FROM json_each(?) AS j CROSS JOIN messages m ON m.id = j.value"
	// selectEvery is for words that the index cannot find, for messages that it does not have yet,
	// and for searches in which it fails.
	selectEvery = "SELECT " + messageColumns + withSmallContent + " FROM messages m WHERE m.id >= ? AND m.id < ? ORDER BY m.id DESC LIMIT ?"
	// selectHiddenAmong returns the messages of a list ?2 that the user ?1 has hidden by their ids.
	selectHiddenAmong = "SELECT m.id FROM json_each(?2) j CROSS JOIN messages m ON m.id = j.value WHERE " + hiddenMessage
)

// searchList is the number of candidates that are read at once.
const searchList = 128

// The cost of a page. A candidate is a row of messages. If it meets the other conditions,
// its content is read and compared with the words.
const (
	searchBudget = 20_000 // candidates
	readCost     = 20     // the cost of reading one, and of readBytes bytes of its text
	readBytes    = 320
	// conversationCost is the cost of checking whether the user can see a conversation.
	conversationCost = 100
	// searchFirst is the number of candidates that the first step takes beyond the wanted hits.
	// Each further step takes searchFactor times as many as the previous step from the index, but
	// at most searchMax.
	searchFirst  = 8
	searchMax    = 4096
	searchFactor = 4
	// searchTime is the time after which a page takes no more candidates from the index.
	searchTime = 100 * time.Millisecond
)

// finder builds a page of search results.
type finder struct {
	r      *reader
	q      im.SearchQuery
	terms  search.Terms
	sender int64
	wanted map[int64]bool // the conversations to search, nil for all
	sees   map[int64]bool // whether the user can see a conversation, once asked
	spent  map[int64]bool // the conversations that the budget has paid for
	reader int64          // the user whose hidden messages are left out, 0 if they have hidden none
	rows   []messageRow   // the candidates that are being examined

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
	if err := f.setReader(); err != nil {
		return f.page, err
	}
	f.sees, f.spent = make(map[int64]bool), make(map[int64]bool)
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
		f.least = int64(im.FirstID(q.From)) // the time in an id is never before the message's created_at
	}
	err := f.find()
	if err == nil && f.next > f.least {
		f.page.Next = im.ID(f.next)
	}
	return f.page, err
}

// find examines candidates until the page is full, its budget is spent or searchTime is over. It
// leaves next at the position where it stopped.
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

// findIndexed examines the candidates from the index. It reports whether the page is complete. If
// not, the index has no more candidates, or failed, and the rest must be scanned.
func (f *finder) findIndexed(q searchindex.Query) (full bool, err error) {
	until := time.Now().Add(searchTime)
	c, failure := f.r.searcher.Search(q)
	if failure == nil {
		defer c.Close()
	}
	for take := cmp.Or(f.q.Wanted, f.q.Limit) + searchFirst; failure == nil; take = min(take*searchFactor, searchMax) {
		var ids []int64
		var through int64
		ids, through, failure = c.Next(take, until)
		if full, err := f.candidates(ids); err != nil || full {
			return true, err
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

// findByScan examines the remaining messages without the index, the newest first.
func (f *finder) findByScan() error {
	for take := min(cmp.Or(f.q.Wanted, f.q.Limit)+searchFirst, searchList); f.next > f.least; take = searchList {
		n, full, err := f.consider(selectEvery, f.least, f.next, take)
		if err != nil || full {
			return err
		}
		if n < take {
			f.next = f.least
		}
	}
	return nil
}

// candidates examines the messages of a list that exist, in its order. It reports whether the page
// is complete.
func (f *finder) candidates(ids []int64) (full bool, err error) {
	for part := range slices.Chunk(ids, searchList) {
		numbers, err := json.Marshal(part)
		if err != nil {
			return false, err
		}
		if _, full, err := f.consider(selectCandidates, string(numbers)); err != nil || full {
			return full, err
		}
	}
	return false, nil
}

// consider examines the messages that a query returns, and adds those that match to the page. It
// returns their number, and whether the page is full or its budget spent; then next is the position
// where it stopped.
func (f *finder) consider(query string, args ...any) (n int, full bool, err error) {
	f.rows = f.rows[:0]
	err = f.r.session.list(query, args, func(rows packedRow) (bool, error) {
		row, err := f.r.scanColumns(rows)
		f.rows = append(f.rows, *row)
		return true, err
	})
	if err != nil {
		return 0, false, err
	}
	hidden, err := f.prepare()
	if err != nil {
		return 0, false, err
	}
	for i := range f.rows {
		if f.budget <= 0 || len(f.page.Hits) == f.q.Limit {
			return i, true, nil
		}
		row := &f.rows[i]
		if f.passes(row) && f.maySee(int64(row.m.Conversation)) && !hidden[int64(row.m.ID)] {
			f.budget -= readCost
			if full, err = f.read(row); err != nil {
				return i, false, err
			}
		}
		f.budget--
		f.next = int64(row.m.ID)
		if full {
			return i + 1, true, nil
		}
	}
	return len(f.rows), false, nil
}

// prepare loads what decides about the candidates besides their content, in few statements: which
// of their conversations the user can see, as far as the budget reaches, and which of them the user
// has hidden.
func (f *finder) prepare() (hidden map[int64]bool, err error) {
	var candidates []int64
	var conversations []im.ID
	asked := make(map[int64]bool)
	for i := range f.rows {
		row := &f.rows[i]
		if !f.passes(row) {
			continue
		}
		candidates = append(candidates, int64(row.m.ID))
		c := int64(row.m.Conversation)
		if _, known := f.sees[c]; !known && !asked[c] && len(conversations)*conversationCost < f.budget {
			asked[c] = true
			conversations = append(conversations, im.ID(c))
		}
	}
	if f.q.Sees != nil && len(conversations) > 0 {
		sees, err := f.q.Sees(conversations)
		if err != nil {
			return nil, err
		}
		for _, c := range conversations {
			f.sees[int64(c)] = sees[c]
		}
	}
	if f.reader == 0 || len(candidates) == 0 {
		return nil, nil
	}
	return f.hidden(candidates)
}

// passes reports whether a candidate meets the conditions other than the words.
func (f *finder) passes(row *messageRow) bool {
	return !f.excluded(int64(row.m.Conversation)) && (f.sender == 0 || row.sender == f.sender) &&
		f.q.Admits(im.Message{State: row.m.State, Type: row.m.Type, CreatedAt: fromMillis(row.created)})
}

// excluded reports whether a conversation is not one of those to search.
func (f *finder) excluded(conversation int64) bool { return f.wanted != nil && !f.wanted[conversation] }

// maySee reports whether the user can see the conversation of a candidate. prepare has asked for as
// many conversations as the budget can pay for.
func (f *finder) maySee(conversation int64) bool {
	if f.q.Sees == nil {
		return true
	}
	if !f.spent[conversation] {
		f.spent[conversation] = true
		f.budget -= conversationCost
	}
	return f.sees[conversation]
}

// setReader sets the user whose hidden messages are left out.
func (f *finder) setReader() error {
	key, err := f.r.userKey(f.q.Reader)
	if err != nil || key == 0 {
		return err
	}
	hides, err := f.r.hides(key)
	if hides {
		f.reader = key
	}
	return err
}

// hidden returns those of some messages that the user has hidden by their ids.
func (f *finder) hidden(messages []int64) (map[int64]bool, error) {
	list, err := json.Marshal(messages)
	if err != nil {
		return nil, err
	}
	hidden := make(map[int64]bool)
	err = f.r.session.list(selectHiddenAmong, []any{f.reader, string(list)}, func(rows packedRow) (bool, error) {
		var id int64
		err := rows.Scan(&id)
		hidden[id] = true
		return true, err
	})
	return hidden, err
}

// read compares a candidate's content with the words, and reports whether the page has enough hits.
// It skips content that cannot be read.
func (f *finder) read(row *messageRow) (enough bool, err error) {
	m, err := f.r.readMessage(row)
	if errors.Is(err, errContent) {
		f.r.session.logger.Error("content of a search candidate cannot be read", "message_id", m.ID)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f.budget -= len(m.Words()) * readCost / readBytes
	hit, matches := record.Hit(f.terms, m)
	if !matches {
		return false, nil
	}
	f.page.Hits = append(f.page.Hits, hit)
	if f.q.Enough == nil {
		return false, nil
	}
	return f.q.Enough(hit)
}
