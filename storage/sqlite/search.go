package sqlite

import (
	"database/sql"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/search"
)

const (
	// selectCandidates reads the lists from their ends: nothing is sorted, and
	// what is not asked for is not looked at.
	selectCandidates = `SELECT m.id, m.conversation_id, m.type, m.sender_id, m.created_at, m.state
		FROM search f CROSS JOIN messages m ON m.id = f.rowid
		WHERE f.search MATCH ? AND f.rowid >= ? AND f.rowid < ? ORDER BY f.rowid DESC`
	// selectEvery is for words that the index cannot tell.
	selectEvery = `SELECT m.id, m.conversation_id, m.type, m.sender_id, m.created_at, m.state
		FROM messages m WHERE m.id >= ? AND m.id < ? ORDER BY m.id DESC`
	selectDensity = `SELECT (SELECT min(id) FROM messages), (SELECT max(id) FROM messages), (SELECT value FROM meta WHERE key = 'slots')`
)

// What one page may cost. A candidate is a row of messages; one that the other
// conditions let through is read and held against the words.
const (
	searchBudget  = 20_000 // candidates
	candidateRead = 20     // what reading one counts for
	// conversationAsked is what asking counts for whether its conversation may be
	// seen.
	conversationAsked = 100
	// searchFirst is how many candidates are taken at first, beyond the limit;
	// then it is four times as many each time.
	searchFirst = 8
	searchMost  = 4096
)

// A query begins with the words alone if they are one condition, which is all
// that a rare word takes; what is found in other conversations is left out. It
// goes on with the conversations as a condition once nearly all is of others:
// but one in scarceFactor, of at least scarceAfter if there are more than
// fewConversations, each of which is a list to open.
const (
	fewConversations = 64
	manyAtMost       = 4096
	scarceFactor     = 4
	scarceAfter      = 256
)

// Where a query has several conditions, FTS5 looks for what they have in common
// on its own, however long it takes. So it is given one stretch of ids after the
// other: the first of about stretchMessages messages, four times as many while that
// is quick, and none after enough time.
const (
	stretchMessages = 200_000
	stretchQuick    = 20 * time.Millisecond
	enoughSearch    = 100 * time.Millisecond
	stretchFactor   = 4
)

// finder is one page of a search in the making.
type finder struct {
	r      *reader
	q      im.SearchQuery
	terms  search.Terms
	sender int64
	wanted map[int64]bool // the conversations, nil for all
	sees   map[int64]bool // which may be seen, of those that were asked for

	query   search.Query
	match   string // query for FTS5, "" for all messages
	clauses int
	scoped  bool // whether match has the conversations

	least, next int64 // the ids to look at: from least to below next
	budget      int
	looked      int // candidates
	elsewhere   int // those of other conversations
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
	err := f.ask(false)
	if err == nil && f.clauses != 1 && f.wanted != nil && len(f.wanted) <= fewConversations {
		err = f.ask(true)
	}
	if err != nil {
		return f.page, err
	}
	full, err := f.findRecent()
	switch {
	case err != nil:
	case full:
		f.page.Next = im.ID(f.next)
	default:
		err = f.find()
	}
	return f.page, err
}

const selectCandidate = `SELECT m.id, m.conversation_id, m.type, m.sender_id, m.created_at, m.state
	FROM messages m WHERE m.id = ?`

// findRecent looks at the messages that the file's index does not have. It
// reports that the page is full.
func (f *finder) findRecent() (full bool, err error) {
	through, err := f.r.indexedThrough()
	if err != nil {
		return false, err
	}
	for _, m := range slices.Backward(f.r.recent) {
		if m.id <= through || m.id < f.least {
			break
		}
		entries := m.entries.Load()
		if m.id >= f.next || entries == nil || f.foreign(m.conversation) || !f.query.In(*entries) {
			continue
		}
		var c candidate
		found, err := f.r.session.row(selectCandidate, []any{m.id}, &c.id, &c.conversation, &c.kind, &c.sender, &c.created, &c.state)
		if err != nil {
			return false, err
		}
		if !found { // it came after this snapshot, or is gone
			continue
		}
		if full, err := f.look(c); err != nil || full {
			return full, err
		}
	}
	if f.match != "" { // else all messages are looked at
		f.next = min(f.next, through+1)
	}
	return false, nil
}

// ask makes the query, with the conversations or without.
func (f *finder) ask(scoped bool) error {
	h, err := f.r.session.hasher()
	if err != nil {
		return err
	}
	in := search.Scope{Kind: kindOf(f.q.Type)}
	if scoped {
		for c := range f.wanted {
			in.Conversations = append(in.Conversations, c)
		}
	}
	f.query = h.Query(f.terms, in)
	f.match, f.clauses = f.query.FTS5(), len(f.query)
	f.scoped = scoped
	return nil
}

// find looks at one stretch after the other until the page is full, or costs
// enough. The page's Next is where it stopped.
func (f *finder) find() error {
	began := time.Now()
	width, err := f.firstWidth()
	for err == nil && f.next > f.least {
		begun := time.Now()
		low := f.least
		if f.next-f.least > width {
			low = f.next - width
		}
		end, stretchErr := f.stretch(low)
		if stretchErr != nil || end == pageEnds {
			err = stretchErr
			break
		}
		if end == queryChanged {
			width, err = f.firstWidth()
			continue
		}
		if f.next = low; time.Since(began) > enoughSearch {
			break
		}
		if time.Since(begun) < stretchQuick && width < math.MaxInt64/stretchFactor {
			width *= stretchFactor
		}
	}
	if f.next > f.least {
		f.page.Next = im.ID(f.next)
	}
	return err
}

// firstWidth returns the width of the first stretch, and moves its end to the
// newest message, from which on there are messages.
func (f *finder) firstWidth() (int64, error) {
	if f.clauses < 2 {
		return math.MaxInt64, nil
	}
	var oldest, newest, stored sql.NullInt64
	if _, err := f.r.session.row(selectDensity, nil, &oldest, &newest, &stored); err != nil {
		return 0, err
	}
	f.next = min(f.next, newest.Int64+1)
	f.least = max(f.least, oldest.Int64)
	each := (newest.Int64 - oldest.Int64) / max(stored.Int64, 1)
	if each >= math.MaxInt64/stretchMessages {
		return math.MaxInt64, nil
	}
	return max(each, 1) * stretchMessages, nil
}

// candidate is a message that may have the words.
type candidate struct {
	id, conversation, kind, sender, created int64
	state                                   im.State
}

// ending is why a stretch came to its end.
type ending uint8

const (
	noneLeft ending = iota
	pageEnds
	queryChanged
)

// stretch looks at the candidates down to an id.
func (f *finder) stretch(low int64) (ending, error) {
	for take := f.q.Limit + searchFirst; ; take = min(take*stretchFactor, searchMost) {
		list, err := f.candidates(low, take)
		if err != nil {
			return pageEnds, err
		}
		for _, c := range list {
			if full, err := f.look(c); err != nil || full {
				return pageEnds, err
			}
		}
		if len(list) < take {
			return noneLeft, nil
		}
		if f.scarce() {
			return queryChanged, f.ask(true)
		}
	}
}

// candidates returns the next ones.
func (f *finder) candidates(low int64, limit int) (list []candidate, err error) {
	query, args := selectCandidates, []any{f.match, low, f.next}
	if f.match == "" {
		query, args = selectEvery, args[1:]
	}
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
		if passes, err = f.seen(c.conversation); err != nil {
			return false, err
		}
	}
	if passes {
		if len(f.page.Hits) == f.q.Limit {
			return true, nil
		}
		f.budget -= candidateRead
		err = f.read(c)
	}
	f.budget--
	f.next = c.id
	return false, err
}

// passes reports whether a candidate fulfils the conditions besides the words.
func (f *finder) passes(c candidate) bool {
	f.looked++
	if f.foreign(c.conversation) {
		f.elsewhere++
		return false
	}
	return c.state == im.Active &&
		(f.q.Type == 0 || im.MessageType(c.kind) == f.q.Type) &&
		(f.sender == 0 || c.sender == f.sender) &&
		(f.q.From.IsZero() || c.created >= ceilMillis(f.q.From).UnixMilli()) &&
		(f.q.To.IsZero() || c.created < ceilMillis(f.q.To).UnixMilli())
}

// foreign reports whether a conversation is none of those to look in.
func (f *finder) foreign(conversation int64) bool { return f.wanted != nil && !f.wanted[conversation] }

// seen reports whether a conversation may be seen.
func (f *finder) seen(conversation int64) (bool, error) {
	if f.q.Sees == nil {
		return true, nil
	}
	sees, known := f.sees[conversation]
	if known {
		return sees, nil
	}
	f.budget -= conversationAsked
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
	parts := f.terms.Snippet(m.Words())
	if parts == nil {
		return nil
	}
	snippet := make([]im.SnippetPart, len(parts))
	for i, p := range parts {
		snippet[i] = im.SnippetPart(p)
	}
	f.page.Hits = append(f.page.Hits, im.SearchHit{Message: m, Snippet: snippet})
	return nil
}

// scarce reports whether the conversations are to be a condition.
func (f *finder) scarce() bool {
	if f.scoped || f.wanted == nil || len(f.wanted) > manyAtMost || len(f.wanted) > fewConversations && f.looked < scarceAfter {
		return false
	}
	return (f.looked-f.elsewhere)*scarceFactor <= f.looked
}
