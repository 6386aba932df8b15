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

// A window of the log is read in one of two ways. selectScanned examines each event of a range and
// keeps those of ?1, which is faster for a user who receives many of them. selectMerged merges the
// events of the user's conversations through their index, with one seek for each conversation and
// each event, which is faster for a user who receives few events of a long log. Neither sorts more
// than a window. Events that are not in the index yet are found only by scanning.
const (
	selectScanned = selectWindow + " FROM events e NOT INDEXED" + windowMessages + scannedRange + "e.to_user IS NULL AND " + present + scannedEnd
	// The same for a user who was in a space, who also receives events of its channels. The
	// caller checks which channels the user could see. It is a separate statement because
	// another condition makes every query slower, even if it finds nothing.
	selectScannedInSpaces = selectWindow + " FROM events e NOT INDEXED" + windowMessages + scannedRange +
		"e.to_user IS NULL AND (" + present + " OR " + presentInSpace + ")" + scannedEnd

	scannedRange = " WHERE e.pos > ?2 AND e.pos <= ?3 AND (e.to_user = ?1 OR "
	scannedEnd   = ") ORDER BY e.pos LIMIT ?4"

	// present is true if ?1 was a member when an event happened: the last of their stays that began
	// by then had not ended before the event.
	present = `(SELECT i.to_event FROM intervals i WHERE i.conversation_id = e.conversation_id AND i.user_id = ?1
		AND i.from_event <= e.pos ORDER BY i.from_event DESC LIMIT 1) >= e.pos`
	presentInSpace = `(SELECT i.to_event FROM intervals i WHERE i.conversation_id =
			(SELECT c.space_id FROM conversations c WHERE c.id = e.conversation_id AND c.kind = {channel})
		AND i.user_id = ?1 AND i.from_event <= e.pos ORDER BY i.from_event DESC LIMIT 1) >= e.pos`
)

// The merge: its queue has the next event of each source, which is a stay of ?1 in a
// conversation, or 0 for the events addressed to them. It takes the first event of the queue and
// adds the next one of the same source, until it has ?4. A source without further events is moved
// to the end.
const (
	selectMerged         = "WITH RECURSIVE x (pos, source, through) AS (" + staySources + "UNION ALL " + mergedRest
	selectMergedInSpaces = "WITH RECURSIVE x (pos, source, through) AS (" + channelSources + "UNION ALL " + staySources + "UNION ALL " + mergedRest

	// staySources are the stays that overlap the positions (?2, ?3], in conversations with
	// events since ?2.
	staySources = "SELECT " + firstOfStay + `FROM intervals i INDEXED BY intervals_of_user
		CROSS JOIN conversations c ON c.id = i.conversation_id AND c.last_event > ?2
		WHERE i.user_id = ?1 AND i.to_event > ?2 AND i.from_event <= ?3 `
	// channelSources are the channels of the spaces in which ?1 stayed, those that were
	// deleted since included.
	channelSources = "SELECT " + firstOfStay + `FROM intervals i INDEXED BY intervals_in_spaces
		CROSS JOIN conversations s ON s.id = i.conversation_id AND s.last_event > ?2
		CROSS JOIN conversations c INDEXED BY channels_of_space ON c.space_id = s.id AND c.kind = {channel}
			AND coalesce(c.deleted_event, {open}) > ?2 AND c.last_event > ?2
		WHERE i.in_space = 1 AND i.user_id = ?1 AND i.to_event > ?2 AND i.from_event <= ?3 `
	firstOfStay = `coalesce((SELECT e.pos FROM events e INDEXED BY events_of_conversation WHERE e.conversation_id = c.id AND e.indexed = 1
		AND e.pos >= max(i.from_event, ?2 + 1) AND e.pos <= min(i.to_event, ?3) ORDER BY e.pos LIMIT 1), {open}), c.id, min(i.to_event, ?3) `
	mergedRest = `SELECT coalesce((SELECT e.pos FROM events e INDEXED BY events_of_user
			WHERE e.to_user = ?1 AND e.pos > ?2 AND e.pos <= ?3 ORDER BY e.pos LIMIT 1), {open}), 0, ?3
		UNION ALL SELECT coalesce(CASE x.source WHEN 0 THEN (SELECT e.pos FROM events e INDEXED BY events_of_user
				WHERE e.to_user = ?1 AND e.pos > x.pos AND e.pos <= x.through ORDER BY e.pos LIMIT 1)
			ELSE (SELECT e.pos FROM events e INDEXED BY events_of_conversation WHERE e.conversation_id = x.source AND e.indexed = 1
				AND e.pos > x.pos AND e.pos <= x.through ORDER BY e.pos LIMIT 1) END, {open}), x.source, x.through
		FROM x WHERE x.pos <= ?3 ORDER BY 1 LIMIT ?4) ` + selectWindow + " FROM x CROSS JOIN events e ON e.pos = x.pos" + windowMessages + " WHERE x.pos <= ?3"

	// countSources counts the sources of a merge, up to ?3.
	countSources         = "SELECT count(*) FROM (" + staysSince + "LIMIT ?3)"
	countSourcesInSpaces = "SELECT count(*) FROM (" + staysSince + `UNION ALL SELECT 1 FROM intervals i INDEXED BY intervals_in_spaces
		CROSS JOIN conversations c INDEXED BY channels_of_space ON c.space_id = i.conversation_id AND c.kind = {channel}
		WHERE i.in_space = 1 AND i.user_id = ?1 AND i.to_event > ?2 LIMIT ?3)`
	staysSince = "SELECT 1 FROM intervals i INDEXED BY intervals_of_user WHERE i.user_id = ?1 AND i.to_event > ?2 "
)

const (
	// Each event of a window comes with its message, and whether the user has hidden the message by
	// its id. Content is read only for creation events: erased messages have none, and other events
	// are not delivered with the message.
	selectWindow   = "SELECT " + eventColumns + ", m.id IS NOT NULL, " + hiddenByUser + ", " + messageColumns + createdContent
	windowMessages = " LEFT JOIN messages m ON m.id = e.message_id"
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
	// selectOldest reads the oldest events, those after the position up to which the log is
	// trimmed.
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
	// probe is the number of events that are scanned first, to find how many of them the user
	// receives, and stretch the number of each further scan, unless the window is full before.
	probe   = 64
	stretch = 1024
	// Merging costs less than scanning if the user receives less than 1/sparse of the events.
	sparse = 4
	// mostExamined is the maximum number of events that one read scans, and of sources that a merge
	// has. Either takes some milliseconds.
	mostExamined = 10_000
)

// Events returns the events in a range of positions that a user receives, with their
// messages.
//
// The cost is bounded by the limit if the user receives many of the events, and otherwise by the
// limit and the number of their conversations. It does not depend on the length of the range,
// however few events in it the user receives. A user in very many conversations may get a short
// window.
func (r *reader) Events(user im.UserID, after, upTo im.Position, limit int) (im.EventWindow, error) {
	w := im.EventWindow{Through: after}
	if after >= upTo || limit <= 0 {
		return w, nil
	}
	of := windowOf{user: user, scanned: selectScanned, merged: selectMerged, sources: countSources}
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
	if inSpaces {
		of.scanned, of.merged, of.sources = selectScannedInSpaces, selectMergedInSpaces, countSourcesInSpaces
	}
	var span im.Position = probe
	if upTo-after <= im.Position(limit) {
		span = stretch
	}
	for w.Through < upTo && w.Through-after < im.Position(r.examined) {
		from, found := w.Through, len(w.Events)
		if full, err := r.addEvents(&w, of.scanned, of, min(from+span, upTo), limit); err != nil || full {
			return w, err
		}
		indexed := min(of.indexed, upTo)
		if span = stretch; w.Through >= indexed || (len(w.Events)-found)*sparse >= int(w.Through-from) {
			continue
		}
		few, err := r.fewSources(of, w.Through, indexed)
		if err != nil {
			return w, err
		}
		if !few {
			span = im.Position(r.examined)
			continue
		}
		if full, err := r.addEvents(&w, of.merged, of, indexed, limit); err != nil || full {
			return w, err
		}
		// The remaining events are not indexed, so there are few.
		_, err = r.addEvents(&w, of.scanned, of, upTo, limit)
		return w, err
	}
	return w, nil
}

// fewSources reports whether merging the events of a range takes fewer seeks than scanning it
// takes rows, and not too many.
func (r *reader) fewSources(of windowOf, after, upTo im.Position) (bool, error) {
	most := min(r.examined, int(upTo-after)/2)
	var n int
	_, err := r.session.row(of.sources, []any{of.key, int64(after), most}, &n)
	return n < most, err
}

// addEvents adds the events up to a position and reports whether the window is full. Large
// messages make it full early.
func (r *reader) addEvents(w *im.EventWindow, query string, of windowOf, upTo im.Position, limit int) (full bool, err error) {
	size := 0
	messages := make([]im.Message, 0, limit-len(w.Events))
	w.Events = slices.Grow(w.Events, limit-len(w.Events))
	args := []any{of.key, int64(w.Through), int64(upTo), limit - len(w.Events)}
	err = r.session.list(query, args, func(row packedRow) (bool, error) {
		if full = size >= im.EnoughContent; full {
			return false, nil
		}
		w.Events = append(w.Events, im.Event{})
		e := &w.Events[len(w.Events)-1]
		err := r.scanWindowEvent(row, of.user, e, &messages)
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

// windowOf holds the user whose window is read, and the statements that read it.
type windowOf struct {
	user                     im.UserID
	key                      int64
	indexed                  im.Position // the position up to which events are indexed
	scanned, merged, sources string
}

// scanWindowEvent reads an event of a window. It appends its message to messages.
func (r *reader) scanWindowEvent(row packedRow, user im.UserID, e *im.Event, messages *[]im.Message) error {
	if err := r.scanEvent(row, e); err != nil {
		return err
	}
	found, err := row.bool()
	if err != nil {
		return err
	}
	hidden, err := row.bool()
	if err != nil {
		return err
	}
	if hidden {
		e.HiddenBy = []im.UserID{user}
	}
	if !found {
		return row.skip(messageColumnCount)
	}
	m, err := r.showMessage(row)
	*messages = append(*messages, m)
	e.Message = &(*messages)[len(*messages)-1]
	return err
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

// scanEvent reads an event into e.
func (r *reader) scanEvent(row row, e *im.Event) (err error) {
	if r.event == nil {
		r.event = newEventRow()
	}
	from := r.event
	*from = eventRow{columns: from.columns}
	if err := row.Scan(from.columns...); err != nil {
		return err
	}
	*e = from.e
	e.At = fromMillis(from.at)
	e.Conversation, e.MessageID, e.Seq = im.ID(from.conversation.Int64), im.ID(from.message.Int64), from.seq.Int64
	if e.To, err = r.userName(from.to.Int64); err != nil {
		return err
	}
	if e.Actor, err = r.userName(from.actor.Int64); err != nil {
		return err
	}
	if e.User, err = r.userName(from.about.Int64); err == nil && from.data != nil {
		err = record.ReadEvent(from.data, e)
	}
	return err
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
	if err := t.insertEvent(e, e.To == ""); err != nil {
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
	return e.Position, t.indexOldest()
}

// insertEvent adds an event to the log at its position, which must be the next one. indexed
// says whether it is added to the index of its conversation's events.
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

// putLastEventOfSpace records an event of a channel in its space as well. A replay
// then examines only the channels of spaces with new events.
func (t *tx) putLastEventOfSpace(conversation im.ID, pos im.Position) error {
	at, err := t.info(conversation)
	if err != nil || at.kind != im.Channel || at.space == 0 {
		return err
	}
	return t.must("UPDATE conversations SET last_event = ? WHERE id = ?", int64(pos), at.space)
}

// TrimLog trims up to limit events older than before from the start of the log, and returns their
// number. It also trims up to limit versions of each kind, and stays in roles and on lists, that
// ended by the new start.
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
