package sqlite

import (
	"cmp"

	"github.com/imapi/imapi/im"
)

const (
	// selectNewest finds, for parts of conversations, the message with the greatest seq and
	// the newest of all that are timed, see messages_by_time.go.
	selectNewest = partsFrom + `?1) j) SELECT at, coalesce((SELECT m.id FROM messages m INDEXED BY messages_by_seq
			WHERE m.conversation_id = part.conversation_id AND m.seq BETWEEN low AND high ORDER BY m.seq DESC LIMIT 1), 0),
		coalesce((SELECT m.id FROM messages m INDEXED BY messages_by_time
			WHERE m.conversation_id = part.conversation_id AND m.timed = 1 ORDER BY m.created_at DESC, m.seq DESC LIMIT 1), 0)
		FROM part`

	// selectMessagesFor returns messages by their ids ?2, and whether the user ?1 has hidden
	// them by their ids.
	selectMessagesFor = "SELECT " + hiddenMessage + ", " + messageColumns + withSmallContent +
		" FROM json_each(?2) j CROSS JOIN messages m ON m.id = j.value"
	hiddenMessage = "CASE WHEN (" + selectHides + `) THEN coalesce((SELECT h.to_seq FROM seq_ranges h
		WHERE h.conversation_id = m.conversation_id AND h.kind = {hidden_range} AND h.user_id = ?1 AND h.from_seq <= m.seq
		ORDER BY h.from_seq DESC LIMIT 1), 0) >= m.seq ELSE 0 END`
)

// lastIDs are the candidates for the newest message of a query: the ids of the message with the
// greatest seq and of the newest timed one, 0 if there is none.
type lastIDs struct{ bySeq, byTime im.ID }

// Newest returns, for each query, a page with its newest message. It stops once the messages have
// enough content, so there may be fewer pages than queries. Two statements find nearly all of the
// messages. The other queries, such as one whose newest message its reader may not read, are
// answered by [reader.Messages].
func (r *reader) Newest(queries []im.HistoryQuery) ([]im.HistoryPage, error) {
	found, err := r.findNewest(queries)
	if err != nil {
		return nil, err
	}
	messages, err := r.readNewest(queries, found)
	if err != nil {
		return nil, err
	}
	pages := make([]im.HistoryPage, 0, len(queries))
	size := 0
	for i, q := range queries {
		if size >= im.EnoughContent {
			break
		}
		m, known := newestOf(q, found[i], messages)
		page := im.HistoryPage{}
		switch {
		case m != nil:
			page.Messages = []im.Message{*m}
		case !known:
			if page, err = r.Messages(q); err != nil {
				return nil, err
			}
			if len(page.Messages) > 0 {
				page.Next = nil
			}
		}
		for _, m := range page.Messages {
			if m.Content != nil {
				size += len(m.Content.Sent)
			}
		}
		pages = append(pages, page)
	}
	return pages, nil
}

// findNewest finds the ids for each query.
func (r *reader) findNewest(queries []im.HistoryQuery) ([]lastIDs, error) {
	found := make([]lastIDs, len(queries))
	var parts parts
	for i, q := range queries {
		if n := len(q.Ranges); n > 0 {
			parts.add(i, q.Conversation, q.Ranges[n-1])
		}
	}
	err := r.session.list(selectNewest, []any{parts.json()}, func(rows packedRow) (bool, error) {
		var at int
		var n lastIDs
		err := rows.Scan(&at, &n.bySeq, &n.byTime)
		if !queries[at].Timed {
			n.byTime = 0
		}
		found[at] = n
		return true, err
	})
	return found, err
}

// readNewest reads the messages that were found, without those that the reader of the queries
// has hidden, until there is enough content.
func (r *reader) readNewest(queries []im.HistoryQuery, found []lastIDs) (map[im.ID]im.Message, error) {
	var ids []im.ID
	for _, n := range found {
		if n.bySeq != 0 {
			ids = append(ids, n.bySeq)
		}
		if n.byTime != 0 && n.byTime != n.bySeq {
			ids = append(ids, n.byTime)
		}
	}
	messages := make(map[im.ID]im.Message, len(ids))
	if len(ids) == 0 {
		return messages, nil
	}
	user, err := r.userKey(queries[0].Reader)
	if err != nil {
		return nil, err
	}
	size := 0
	err = r.session.list(selectMessagesFor, []any{user, idsJSON(ids)}, func(rows packedRow) (bool, error) {
		hidden, err := rows.bool()
		if err != nil {
			return false, err
		}
		m, err := r.showMessage(rows)
		if err != nil {
			return false, err
		}
		if m.Content != nil {
			size += len(m.Content.Sent)
		}
		if !hidden {
			messages[m.ID] = m
		}
		return size < im.EnoughContent, nil
	})
	return messages, err
}

// newestOf returns the newest message of a query, nil if there is none. known is false if what was
// found does not decide which message that is: there is no candidate but more than one range,
// a candidate was not loaded, the reader may not see the newest candidate, or the candidates cannot
// be compared by time.
func newestOf(q im.HistoryQuery, found lastIDs, messages map[im.ID]im.Message) (m *im.Message, known bool) {
	if found == (lastIDs{}) && len(q.Ranges) <= 1 {
		return nil, true
	}
	last, read := messages[found.bySeq]
	if !read {
		return nil, false
	}
	if q.Timed {
		// The order of seqs is the order of time only for messages that are not timed.
		if last.CreatedAt.Before(last.ID.Made()) {
			return nil, false
		}
		if found.byTime != 0 {
			timed, read := messages[found.byTime]
			if !read {
				return nil, false
			}
			if cmp.Or(timed.CreatedAt.Compare(last.CreatedAt), cmp.Compare(timed.Seq, last.Seq)) > 0 {
				last = timed
			}
		}
	}
	if h := (&history{q: q}); !q.Ranges.Has(last.Seq) || !h.visible(last) {
		return nil, false
	}
	return &last, true
}
