package sqlite

import (
	"database/sql"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

const eventColumns = `e.pos, e.type, e.at, e.conversation_id, t.name, e.message_id, e.seq,
	a.name, e.actor_device, u.name, e.role, e.data`

const eventUsers = ` LEFT JOIN users t ON t.id = e.to_user LEFT JOIN users a ON a.id = e.actor
	LEFT JOIN users u ON u.id = e.user_id `

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
// same way. It includes channels that were deleted since. The caller checks which channels
// the user could see.
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
	selectEvents = "SELECT " + eventColumns + memberEvents + eventUsers + memberStays +
		"UNION ALL SELECT " + eventColumns + unindexedEvents + eventUsers + unindexed +
		"UNION ALL SELECT " + eventColumns + addressedEvents + eventUsers + addressed +
		"ORDER BY 1 LIMIT ?4"
	// countEvents counts up to ?4.
	countEvents = "SELECT count(*) FROM (SELECT 1" + memberEvents + memberStays +
		"UNION ALL SELECT 1" + unindexedEvents + unindexed +
		"UNION ALL SELECT 1" + addressedEvents + addressed + "LIMIT ?4)"

	// The same for a user who was in a space. It is a separate statement because another
	// branch makes every query an eighth slower, even if it finds nothing.
	selectEventsInSpaces = "SELECT " + eventColumns + channelEvents + eventUsers + channelStays +
		"UNION ALL SELECT " + eventColumns + unindexedInChannels + eventUsers + unindexed +
		"UNION ALL " + selectEvents
	countEventsInSpaces = "SELECT count(*) FROM (SELECT 1" + channelEvents + channelStays +
		"UNION ALL SELECT 1" + unindexedInChannels + unindexed +
		"UNION ALL SELECT 1" + memberEvents + memberStays +
		"UNION ALL SELECT 1" + addressedEvents + addressed + "LIMIT ?4)"
	selectInSpaces = `SELECT 1 FROM intervals INDEXED BY intervals_in_spaces
		WHERE in_space = 1 AND user_id = ? AND to_event > ? LIMIT 1`

	selectHead = "SELECT max(pos) FROM events"
	selectCut  = "SELECT value FROM meta WHERE key = 'log_cut'"
	// selectOldest begins at the log's start, where the old events are.
	selectOldest = "SELECT pos, at FROM events WHERE pos > ? ORDER BY pos LIMIT ?"
)

// LogBounds returns the ends of the event log.
func (r *reader) LogBounds() (im.LogBounds, error) {
	var b im.LogBounds
	if _, err := r.session.row(selectCut, nil, &b.Cut); err != nil {
		return b, err
	}
	var head sql.NullInt64
	_, err := r.session.row(selectHead, nil, &head)
	b.Head = max(b.Cut, im.Position(head.Int64)) // all events may be trimmed
	return b, err
}

const (
	// windowGrowth is the factor by which the range grows when it had few events.
	windowGrowth = 4
	// maxSorted is the maximum number of events to sort, as a multiple of the limit.
	maxSorted = 4
)

// Events returns the events in a range of positions that a user receives.
//
// Events of many conversations must be sorted, and the size of the range bounds how many
// there can be. The range begins small, which is enough for a user who is up to date, and
// grows while few events are found. So a user who receives one event in a thousand still
// gets full pages with few queries.
func (r *reader) Events(user im.UserID, after, upTo im.Position, limit int) (im.EventWindow, error) {
	w := im.EventWindow{Through: after}
	if after >= upTo || limit <= 0 {
		return w, nil
	}
	key, err := r.userKey(user)
	if err != nil {
		return w, err
	}
	if key == 0 {
		w.Through = upTo
		return w, nil
	}
	var one int
	inSpaces, err := r.session.row(selectInSpaces, []any{key, int64(after)}, &one)
	if err != nil {
		return w, err
	}
	indexed, err := r.indexedThrough()
	if err != nil {
		return w, err
	}
	count, query := countEvents, selectEvents
	if inSpaces {
		count, query = countEventsInSpaces, selectEventsInSpaces
	}
	span := im.Position(limit)
	for w.Through < upTo && len(w.Events) < limit {
		end := upTo
		if span < upTo-w.Through {
			end = w.Through + span
		}
		if end-w.Through > im.Position(maxSorted*limit) {
			many, err := r.manyEvents(count, key, w.Through, end, maxSorted*limit, indexed)
			if err != nil {
				return w, err
			}
			if many {
				span /= windowGrowth
				continue
			}
		}
		before := len(w.Events)
		if err := r.addEvents(&w, query, key, end, limit, indexed); err != nil {
			return w, err
		}
		if (len(w.Events)-before)*windowGrowth <= limit {
			span *= windowGrowth
		}
	}
	return w, nil
}

// manyEvents reports whether a range has at least limit events.
func (r *reader) manyEvents(query string, user int64, after, upTo im.Position, limit int, indexed im.Position) (bool, error) {
	var n int
	_, err := r.session.row(query, []any{user, int64(after), int64(upTo), limit, int64(indexed)}, &n)
	return n >= limit, err
}

// addEvents adds the events up to a position, or until the page is full.
func (r *reader) addEvents(w *im.EventWindow, query string, user int64, upTo im.Position, limit int, indexed im.Position) error {
	after := w.Through
	err := r.session.query(query, []any{user, int64(after), int64(upTo), limit - len(w.Events), int64(indexed)},
		func(rows *sql.Rows) (bool, error) {
			e, err := scanEvent(rows)
			w.Events = append(w.Events, e)
			return true, err
		})
	if err != nil {
		return err
	}
	w.Through = upTo
	if len(w.Events) == limit {
		w.Through = w.Events[limit-1].Position
	}
	return nil
}

func scanEvent(rows *sql.Rows) (im.Event, error) {
	var e im.Event
	var at int64
	var conversation, message, seq sql.NullInt64
	var to, actor, user sql.NullString
	var data []byte
	err := rows.Scan(&e.Position, &e.Type, &at, &conversation, &to, &message, &seq,
		&actor, &e.ActorDevice, &user, &e.Role, &data)
	e.At = fromMillis(at)
	e.Conversation, e.MessageID, e.Seq = im.ID(conversation.Int64), im.ID(message.Int64), seq.Int64
	e.To, e.Actor, e.User = im.UserID(to.String), im.UserID(actor.String), im.UserID(user.String)
	if err == nil && data != nil {
		err = record.ReadEvent(data, &e)
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
	err := t.session.query(selectOldest, []any{cut, limit}, func(rows *sql.Rows) (bool, error) {
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
