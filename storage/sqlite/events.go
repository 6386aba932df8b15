package sqlite

import (
	"database/sql"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

const eventColumns = `e.pos, e.type, e.at, e.conversation_id, e.to_user, e.message_id, e.seq,
	e.actor, e.actor_device, e.user_id, e.role, e.data`

// memberEvents finds the events of the conversations that ?1 was a member of: for each stay
// that overlaps the positions (?2, ?3], in a conversation with events since ?2, through the
// index of the conversation's events.
const memberEvents = ` FROM intervals i INDEXED BY intervals_of_user
	CROSS JOIN conversations c ON c.id = i.conversation_id AND c.last_event > ?2
	CROSS JOIN events e INDEXED BY events_of_conversation ON e.conversation_id = c.id
		AND e.pos >= max(i.from_event, ?2 + 1) AND e.pos <= min(i.to_event, ?3) `

const memberStays = ` WHERE i.user_id = ?1 AND i.to_event > ?2 AND i.from_event <= ?3 AND e.to_user IS NULL AND e.indexed = 1 `

// unindexedEvents finds such events among those after ?5 that are not indexed, by scanning
// them.
const (
	unindexedEvents = ` FROM events e CROSS JOIN intervals i ON i.conversation_id = e.conversation_id AND i.user_id = ?1
		AND e.pos >= i.from_event AND e.pos <= +i.to_event `
	unindexed = ` WHERE e.pos > max(?2, ?5) AND e.pos <= ?3 AND e.indexed = 0 `
)

// channelEvents finds the events of the channels of spaces that ?1 was a member of, in the
// same way. It includes channels that have been deleted in the meantime. The caller checks which
// channels the user could see.
const channelEvents = ` FROM intervals i INDEXED BY intervals_in_spaces
	CROSS JOIN conversations s ON s.id = i.conversation_id AND s.last_event > ?2
	CROSS JOIN conversations c INDEXED BY channels_of_space ON c.space_id = s.id AND c.kind = {channel}
		AND coalesce(c.deleted_event, {open}) > ?2 AND c.last_event > ?2
	CROSS JOIN events e INDEXED BY events_of_conversation ON e.conversation_id = c.id
		AND e.pos >= max(i.from_event, ?2 + 1) AND e.pos <= min(i.to_event, ?3) `

const channelStays = ` WHERE i.in_space = 1 AND i.user_id = ?1 AND i.to_event > ?2 AND i.from_event <= ?3 AND e.to_user IS NULL AND e.indexed = 1 `

// unindexedInChannels is like unindexedEvents, for channels of spaces.
const unindexedInChannels = ` FROM events e CROSS JOIN conversations c ON c.id = e.conversation_id AND c.kind = {channel}
	CROSS JOIN intervals i ON i.conversation_id = c.space_id AND i.user_id = ?1
		AND e.pos >= i.from_event AND e.pos <= +i.to_event `

// addressedEvents finds the events that are only for ?1.
const (
	addressedEvents = ` FROM events e INDEXED BY events_of_user `
	addressed       = ` WHERE e.to_user = ?1 AND e.pos > ?2 AND e.pos <= ?3 `
)

const (
	selectEvents = selectWindow + memberEvents + memberStays +
		"UNION ALL SELECT e.pos" + unindexedEvents + unindexed +
		"UNION ALL SELECT e.pos" + addressedEvents + addressed + windowEnd
	// countEvents counts up to ?4.
	countEvents = "SELECT count(*) FROM (SELECT 1" + memberEvents + memberStays +
		"UNION ALL SELECT 1" + unindexedEvents + unindexed +
		"UNION ALL SELECT 1" + addressedEvents + addressed + "LIMIT ?4)"

	// The same statement for a user who was in a space. It is separate because another branch makes
	// every query an eighth slower, even if it finds nothing.
	selectEventsInSpaces = selectWindow + channelEvents + channelStays +
		"UNION ALL SELECT e.pos" + unindexedInChannels + unindexed +
		"UNION ALL SELECT e.pos" + memberEvents + memberStays +
		"UNION ALL SELECT e.pos" + unindexedEvents + unindexed +
		"UNION ALL SELECT e.pos" + addressedEvents + addressed + windowEnd
	countEventsInSpaces = "SELECT count(*) FROM (SELECT 1" + channelEvents + channelStays +
		"UNION ALL SELECT 1" + unindexedInChannels + unindexed +
		"UNION ALL SELECT 1" + memberEvents + memberStays +
		"UNION ALL SELECT 1" + addressedEvents + addressed + "LIMIT ?4)"

	// Only the positions are sorted. Each event comes with its message, and whether the user
	// has hidden that by its id. Content is read only for creation events: erased messages have
	// none, and other events are not delivered with the message.
	selectWindow = "SELECT " + eventColumns + ", m.id IS NOT NULL, " + hiddenByUser + ", " + messageColumns + createdContent + " FROM (SELECT e.pos"
	windowEnd    = `ORDER BY 1 LIMIT ?4) AS x CROSS JOIN events e ON e.pos = x.pos
		LEFT JOIN messages m ON m.id = e.message_id`
	createdContent = "CASE WHEN e.type = '" + string(im.MessageCreated) + "' AND length(m.sealed) <= {inlined} THEN m.sealed END, " +
		"coalesce(e.type = '" + string(im.MessageCreated) + "' AND length(m.sealed) > {inlined}, 0)"
	// hiddenByUser looks for hidden messages only if the user has any.
	hiddenByUser = `CASE WHEN e.message_id IS NULL THEN 0
		WHEN (` + selectHides + `)
		THEN coalesce((SELECT h.to_seq FROM seq_ranges h WHERE h.conversation_id = e.conversation_id AND h.kind = {hidden_range}
			AND h.user_id = ?1 AND h.from_seq <= e.seq ORDER BY h.from_seq DESC LIMIT 1), 0) >= e.seq ELSE 0 END`

	// selectLogState returns the position up to which events are indexed, and whether ?1 was in
	// a space after ?2.
	selectLogState = `SELECT (SELECT value FROM meta WHERE key = 'indexed_through'), EXISTS (` + selectInSpaces + ")"
	selectInSpaces = `SELECT 1 FROM intervals INDEXED BY intervals_in_spaces
		WHERE in_space = 1 AND user_id = ?1 AND to_event > ?2 LIMIT 1`

	selectHead   = "SELECT max(pos) FROM events"
	selectCut    = "SELECT value FROM meta WHERE key = 'log_cut'"
	selectBounds = "SELECT (" + selectCut + "), (" + selectHead + ")"
	// selectOldest begins at the log's start, where the old events are.
	selectOldest = "SELECT pos, at FROM events WHERE pos > ? ORDER BY pos LIMIT ?"
)

// LogBounds returns the ends of the event log.
func (r *reader) LogBounds() (im.LogBounds, error) {
	var b im.LogBounds
	var head sql.NullInt64
	_, err := r.session.row(selectBounds, nil, &b.Cut, &head)
	b.Head = max(b.Cut, im.Position(head.Int64)) // all events may be trimmed
	return b, err
}

const (
	// windowGrowth is the factor by which the range grows when few events were found in it.
	windowGrowth = 4
	// maxSorted is the maximum number of events to sort, as a multiple of the limit.
	maxSorted = 4
)

// Events returns the events in a range of positions that a user receives, with their
// messages.
//
// Events of many conversations must be sorted, and the size of the range bounds their number. The
// range begins small, which is enough for a user who is up to date, and grows while few events are
// found. So a user who receives one event in a thousand still gets full pages with few queries.
func (r *reader) Events(user im.UserID, after, upTo im.Position, limit int) (im.EventWindow, error) {
	w := im.EventWindow{Through: after}
	if after >= upTo || limit <= 0 {
		return w, nil
	}
	of := windowOf{user: user}
	var err error
	if of.key, err = r.userKey(user); err != nil {
		return w, err
	}
	if of.key == 0 {
		w.Through = upTo
		return w, nil
	}
	var inSpaces bool
	if _, err := r.session.row(selectLogState, []any{of.key, int64(after)}, &of.indexed, &inSpaces); err != nil {
		return w, err
	}
	count, query := countEvents, selectEvents
	if inSpaces {
		count, query = countEventsInSpaces, selectEventsInSpaces
	}
	span := im.Position(limit)
	for w.Through < upTo {
		end := upTo
		if span < upTo-w.Through {
			end = w.Through + span
		}
		if end-w.Through > im.Position(maxSorted*limit) {
			many, err := r.manyEvents(count, of, w.Through, end, maxSorted*limit)
			if err != nil {
				return w, err
			}
			if many {
				span /= windowGrowth
				continue
			}
		}
		before := len(w.Events)
		if full, err := r.addEvents(&w, query, of, end, limit); err != nil || full {
			return w, err
		}
		if (len(w.Events)-before)*windowGrowth <= limit {
			span *= windowGrowth
		}
	}
	return w, nil
}

// manyEvents reports whether a range has at least limit events.
func (r *reader) manyEvents(query string, of windowOf, after, upTo im.Position, limit int) (bool, error) {
	var n int
	_, err := r.session.row(query, []any{of.key, int64(after), int64(upTo), limit, int64(of.indexed)}, &n)
	return n >= limit, err
}

// addEvents adds the events up to a position and reports whether the page is full. Large
// messages make it full early.
func (r *reader) addEvents(w *im.EventWindow, query string, of windowOf, upTo im.Position, limit int) (full bool, err error) {
	size := 0
	messages := make([]im.Message, 0, limit-len(w.Events))
	w.Events = slices.Grow(w.Events, limit-len(w.Events))
	args := []any{of.key, int64(w.Through), int64(upTo), limit - len(w.Events), int64(of.indexed)}
	err = r.session.list(query, args, func(row packedRow) (bool, error) {
		if full = size >= im.EnoughContent; full {
			return false, nil
		}
		e, err := r.scanWindowEvent(row, of.user, &messages)
		w.Events = append(w.Events, e)
		if m := e.Message; m != nil && m.Content != nil {
			size += len(m.Content.Sent)
		}
		return true, err
	})
	if err != nil {
		return false, err
	}
	w.Through = upTo
	if full = full || len(w.Events) == limit; full {
		w.Through = w.Events[len(w.Events)-1].Position
	}
	return full, nil
}

// windowOf has the arguments of the statements of a window other than its positions.
type windowOf struct {
	user    im.UserID
	key     int64
	indexed im.Position // the position up to which events are indexed
}

// scanWindowEvent reads an event of a window. It appends its message to messages.
func (r *reader) scanWindowEvent(row packedRow, user im.UserID, messages *[]im.Message) (im.Event, error) {
	e, err := r.scanEvent(row)
	if err != nil {
		return e, err
	}
	found, err := row.bool()
	if err != nil {
		return e, err
	}
	hidden, err := row.bool()
	if err != nil {
		return e, err
	}
	if hidden {
		e.HiddenBy = []im.UserID{user}
	}
	if !found {
		return e, row.skip(messageColumnCount)
	}
	m, err := r.showMessage(row)
	*messages = append(*messages, m)
	e.Message = &(*messages)[len(*messages)-1]
	return e, err
}

// eventRow holds the columns of an event while it is read, like messageRow.
type eventRow struct {
	columns                                      []any // pointers to the fields below
	e                                            im.Event
	at                                           int64
	conversation, message, seq, to, actor, about sql.NullInt64
	data                                         []byte
}

func newEventRow() *eventRow {
	r := &eventRow{}
	r.columns = []any{
		&r.e.Position, &r.e.Type, &r.at, &r.conversation, &r.to, &r.message, &r.seq,
		&r.actor, &r.e.ActorDevice, &r.about, &r.e.Role, &r.data,
	}
	return r
}

// scanEvent reads an event.
func (r *reader) scanEvent(row row) (e im.Event, err error) {
	if r.event == nil {
		r.event = newEventRow()
	}
	from := r.event
	*from = eventRow{columns: from.columns}
	if err := row.Scan(from.columns...); err != nil {
		return e, err
	}
	e = from.e
	e.At = fromMillis(from.at)
	e.Conversation, e.MessageID, e.Seq = im.ID(from.conversation.Int64), im.ID(from.message.Int64), from.seq.Int64
	if e.To, err = r.userName(from.to.Int64); err != nil {
		return e, err
	}
	if e.Actor, err = r.userName(from.actor.Int64); err != nil {
		return e, err
	}
	if e.User, err = r.userName(from.about.Int64); err == nil && from.data != nil {
		err = record.ReadEvent(from.data, &e)
	}
	return e, err
}

const (
	appendEvent = `INSERT INTO events
		(pos, type, at, conversation_id, to_user, message_id, seq, actor, actor_device, user_id, role, data, indexed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	putLastEvent = "UPDATE conversations SET last_event = ?, changed_at = max(changed_at, ?) WHERE id = ?"
)

// Append adds an event to the log.
func (t *tx) Append(e im.Event) (im.Position, error) {
	e.Position = t.last + 1
	if err := t.insertEvent(e, true); err != nil {
		return 0, err
	}
	if e.To == "" && e.Conversation != 0 {
		if err := t.must(putLastEvent, int64(e.Position), e.At.UnixMilli(), int64(e.Conversation)); err != nil {
			return 0, err
		}
		if err := t.putLastEventOfSpace(e.Conversation, e.Position); err != nil {
			return 0, err
		}
	}
	return e.Position, nil
}

// insertEvent adds an event to the log at its position, which must be the next one.
func (t *tx) insertEvent(e im.Event, indexed bool) error {
	var users [3]any
	for i, name := range []im.UserID{e.To, e.Actor, e.User} {
		var err error
		if users[i], err = t.internOptional(name); err != nil {
			return err
		}
	}
	data, err := record.Event(e)
	if err != nil {
		return err
	}
	optional := func(n int64) any { return sql.NullInt64{Int64: n, Valid: n != 0} }
	_, err = t.session.exec(appendEvent, int64(e.Position),
		string(e.Type), e.At.UnixMilli(), optional(int64(e.Conversation)), users[0],
		optional(int64(e.MessageID)), optional(e.Seq), users[1], e.ActorDevice, users[2], int64(e.Role),
		sql.NullString{String: string(data), Valid: data != nil}, indexed)
	if err != nil {
		return err
	}
	t.last = e.Position
	t.events = append(t.events, e)
	return nil
}

// putLastEventOfSpace records an event of a channel in its space as well. A replay then
// only looks at the channels of spaces with new events.
func (t *tx) putLastEventOfSpace(conversation im.ID, pos im.Position) error {
	at, err := t.info(conversation)
	if err != nil || at.kind != im.Channel || at.space == 0 {
		return err
	}
	return t.must("UPDATE conversations SET last_event = ? WHERE id = ?", int64(pos), at.space)
}

// TrimLog trims up to limit events older than before from the start of the log. It also
// trims up to limit rows of each kind of version that ended before the new start.
func (t *tx) TrimLog(before time.Time, limit int) (int, error) {
	var cut int64
	if _, err := t.session.row(selectCut, nil, &cut); err != nil {
		return 0, err
	}
	n := 0
	err := t.session.query(selectOldest, []any{cut, limit}, func(rows row) (bool, error) {
		var pos, at int64
		if err := rows.Scan(&pos, &at); err != nil || at >= ceilMillis(before).UnixMilli() {
			return false, err
		}
		cut, n = pos, n+1
		return true, nil
	})
	if err != nil {
		return 0, err
	}
	for _, query := range []string{trimRoles, trimAccess, trimRoleStays, trimListStays} {
		if _, err := t.session.update(query, cut, limit); err != nil {
			return 0, err
		}
	}
	if n == 0 {
		return 0, nil
	}
	if _, err := t.session.exec("DELETE FROM events WHERE pos <= ?", cut); err != nil {
		return 0, err
	}
	return n, t.must("UPDATE meta SET value = ? WHERE key = 'log_cut'", cut)
}
