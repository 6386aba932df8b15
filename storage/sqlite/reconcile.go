package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

// What is to be done before anybody reads these data, kept in meta under 'reconcile' until
// it is done: whatever ends a start before, the next one goes on with it.
const (
	// checkKeys is set as long as anything is.
	checkKeys int64 = 1 << iota
	// renewLog is set in every backup: what was told after it is not known here, so
	// another log begins.
	renewLog
	// unnamed says that the keys are older than the data.
	keysOlder
)

const (
	putReconcile = `INSERT INTO meta (key, value) VALUES ('reconcile', ?)
		ON CONFLICT DO UPDATE SET value = excluded.value`
	putLost = `INSERT INTO meta (key, value) VALUES ('lost_from', ?), ('lost_to', ?)
		ON CONFLICT DO UPDATE SET value = excluded.value`
	selectLost      = "SELECT a.value, b.value FROM meta a, meta b WHERE a.key = 'lost_from' AND b.key = 'lost_to'"
	deleteLost      = "DELETE FROM meta WHERE key IN ('lost_from', 'lost_to')"
	deleteReconcile = "DELETE FROM meta WHERE key IN ('reconcile', 'lost_from', 'lost_to')"

	// selectSealed goes through all messages, in the order of the table.
	selectSealed = `SELECT m.id, m.conversation_id, m.state, m.slot, m.note_slot,
			EXISTS (SELECT 1 FROM doomed d WHERE d.slot = m.slot), m.sealed, m.note
		FROM messages m WHERE m.id > ? ORDER BY m.id LIMIT ?`
	// selectSealedKeys is the same without what takes time to read.
	selectSealedKeys = `SELECT m.id, m.conversation_id, m.state, m.slot, m.note_slot, 0, NULL, NULL
		FROM messages m WHERE m.id > ? ORDER BY m.id LIMIT ?`
	selectSealedTexts = `SELECT id, name_slot, name, announcement_slot, announcement, avatar_slot, avatar
		FROM conversations WHERE id > ? ORDER BY id LIMIT ?`
	selectSealedRoleNames = "SELECT role_id, space_id, slot, name FROM role_names WHERE role_id > ? ORDER BY role_id LIMIT ?"
	countMessages         = "SELECT coalesce(sum(1), 0) FROM messages AS counted"
	selectShell           = "SELECT " + messageColumns + withoutContent + " FROM messages m" + messageUsers + "WHERE m.id = ?"
	// emptyText empties the one text of a conversation that has its key in a slot.
	emptyText = `UPDATE conversations SET
			name = CASE WHEN name_slot = ?1 THEN NULL ELSE name END, name_slot = nullif(name_slot, ?1),
			announcement = CASE WHEN announcement_slot = ?1 THEN NULL ELSE announcement END, announcement_slot = nullif(announcement_slot, ?1),
			avatar = CASE WHEN avatar_slot = ?1 THEN NULL ELSE avatar END, avatar_slot = nullif(avatar_slot, ?1)
		WHERE id = ?2`
	emptyNote = "UPDATE messages SET note_slot = NULL, note = NULL WHERE id = ?"

	selectToDelete  = "SELECT " + deletionColumns + " FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value"
	selectTrimState = "SELECT last_seq, trim_before, deleted_at IS NOT NULL FROM conversations WHERE id = ?"

	selectPastLogs = "SELECT log, head FROM past_logs ORDER BY head"
	putPastLog     = "INSERT INTO past_logs (log, head) VALUES (?, ?)"
	// prunePastLogs forgets logs of which no cursor is good any more.
	prunePastLogs = "DELETE FROM past_logs WHERE head < (SELECT value FROM meta WHERE key = 'log_cut')"
	putLogID      = "UPDATE meta SET value = ? WHERE key = 'log_id'"
)

func (s *session) putReconcile(todo int64) error {
	if todo == 0 {
		_, err := s.exec(deleteReconcile)
		return err
	}
	_, err := s.exec(putReconcile, todo)
	return err
}

// plan says what is to be done before anybody reads.
type plan struct {
	todo       int64
	referenced *im.SlotSet
}

// planReconciliation finds out whether these data and their keys were always together. If
// not it notes what is to be done about it. It changes nothing else: with keys that lack
// some that the data need it is refused, unless those are given up for lost.
func (s *Store) planReconciliation(ctx context.Context, session *session, keys im.Keys, epoch uint64) (plan, error) {
	var p plan
	if _, err := session.row(selectMeta, []any{"reconcile"}, &p.todo); err != nil {
		return p, err
	}
	noted := p.todo != 0 // by a backup, or by a start that did not come so far
	// A plain crash between shredding keys and noting that leaves the keys ahead, too, and
	// the notes. Without notes it may have been a crash in a start or in a backup: that the
	// log is renewed then, too, harms nobody.
	var older bool
	switch is := keys.Epoch(); {
	case is < epoch:
		p.todo |= checkKeys | keysOlder
		keys.Raise(epoch) // those of before must not count as newer once more
	case is > epoch:
		p.todo |= checkKeys
		doomed, err := session.loadDoomed()
		if err != nil {
			return p, err
		}
		older = len(doomed) == 0
	}
	// A copy since which nothing was erased has the same epoch, and not the keys that were
	// made since.
	if uint64(keys.End()) < s.sealer.slotEnd.Load() {
		p.todo |= checkKeys | keysOlder
	}
	if p.todo == 0 {
		return p, nil
	}
	var found im.Found
	var err error
	if s.sealer.lost, err = session.loadLost(); err != nil {
		return p, err
	}
	if keys.Epoch() < epoch {
		// It was noted of other keys, with which a start was cut off. These may have them.
		s.sealer.lost = slotRange{}
	}
	r := &reader{session: session, users: s.users, sealer: s.sealer}
	found, p.referenced, err = im.KeysFit(ctx, r, keys.End(), s.options.Progress)
	if err != nil {
		return p, err
	}
	if found.Lost > 0 {
		if !s.options.AcceptLostKeys {
			return p, &im.LostKeysError{Lost: found.Lost}
		}
		if s.sealer.lost == (slotRange{}) {
			s.sealer.lost = slotRange{keys.End(), im.Slot(s.sealer.slotEnd.Load())}
		}
	}
	if !noted && (older || found.Erased > 0 && p.todo&keysOlder == 0) {
		p.todo |= renewLog
	}
	if p.todo == checkKeys && found.Erased == 0 && found.Lost == 0 {
		p.todo = 0
	}
	return p, session.inOne(func() error {
		if err := session.putLost(s.sealer.lost); err != nil {
			return err
		}
		return session.putReconcile(p.todo)
	})
}

// slotRange is slots from one on and below another.
type slotRange struct{ from, to im.Slot }

func (r slotRange) has(slot im.Slot) bool { return r.from <= slot && slot < r.to }

// putLost stores which slots never had a key here. Those that are made from now on come
// after them, and then they read as if their keys had been shredded.
func (s *session) putLost(lost slotRange) error {
	if lost == (slotRange{}) {
		_, err := s.exec(deleteLost)
		return err
	}
	_, err := s.exec(putLost, int64(lost.from), int64(lost.to))
	return err
}

func (s *session) loadLost() (lost slotRange, err error) {
	_, err = s.row(selectLost, nil, &lost.from, &lost.to)
	return lost, err
}

// reconcile does what was planned.
func (s *Store) reconcile(ctx context.Context, p plan) error {
	if p.todo == 0 {
		return nil
	}
	began := time.Now()
	if p.todo&renewLog != 0 {
		if err := s.renewLog(ctx, p.todo&^renewLog|checkKeys); err != nil {
			return err
		}
	}
	done, err := im.Reconcile(ctx, s, im.Reconciling{
		Keys: s.sealer.keys, Unnamed: p.todo&keysOlder != 0, Named: p.referenced, Now: s.options.Now, Progress: s.options.Progress,
	})
	if err != nil {
		return fmt.Errorf("bring the data in line with the keys: %w", err)
	}
	err = s.Write(im.WithCaller(ctx, im.Caller{Job: "reconcile"}), func(w im.Tx) error {
		_, err := w.(*tx).session.exec(deleteReconcile)
		return err
	})
	if err == nil {
		s.sealer.lost = slotRange{}
		if s.options.Reconciled != nil {
			s.options.Reconciled(done)
		}
		s.options.Logger.WarnContext(ctx, "database reconciled with the keys", "erased", done.Erased, "removed", done.Removed,
			"emptied", done.Emptied, "keys_shredded", done.Shredded, "new_log", p.todo&renewLog != 0, "took", time.Since(began))
	}
	return err
}

// renewLog begins another log, which goes on from where this one was when the data were
// copied. It comes before all else, for reconciling appends to the log.
func (s *Store) renewLog(ctx context.Context, todo int64) error {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails, says crypto/rand
	id := binary.LittleEndian.Uint32(random[:])
	err := s.Write(im.WithCaller(ctx, im.Caller{Job: "reconcile"}), func(w im.Tx) error {
		t := w.(*tx)
		bounds, err := t.LogBounds()
		if err != nil {
			return err
		}
		if err := t.must(putPastLog, int64(s.instance.Log), int64(bounds.Head)); err != nil {
			return err
		}
		if _, err := t.session.exec(prunePastLogs); err != nil {
			return err
		}
		if err := t.must(putLogID, int64(id)); err != nil {
			return err
		}
		return t.session.putReconcile(todo)
	})
	if err != nil {
		return err
	}
	return s.View(im.AtStart(ctx), func(r im.Reader) error {
		s.instance.Log = id
		var err error
		s.instance.PastLogs, err = r.(*reader).session.loadPastLogs()
		return err
	})
}

func (s *session) loadPastLogs() (list []im.PastLog, err error) {
	err = s.query(selectPastLogs, nil, func(rows *sql.Rows) (bool, error) {
		var l im.PastLog
		err := rows.Scan(&l.Log, &l.Head)
		list = append(list, l)
		return true, err
	})
	return list, err
}

// CountMessages returns how many messages there are, tombstones too.
func (r *reader) CountMessages() (n int64, err error) {
	_, err = r.session.row(countMessages, nil, &n)
	return n, err
}

// The parts of all that was sealed, in their order.
const (
	sealedMessages = iota
	sealedTexts
	sealedRoleNames
	sealedEnd
)

// Sealed returns a stretch of all that was sealed: messages and their postscripts, then
// texts of conversations, then names of roles; see [im.Reader].
func (r *reader) Sealed(after im.SealedKey, limit int, look im.SealedLook) (page im.SealedPage, err error) {
	l := sealedScan{reader: r, how: look, page: &page, last: after}
	query, scan := selectSealed, l.message
	switch after.Part {
	case sealedMessages:
		if look == im.SealedKeys {
			query = selectSealedKeys
		}
	case sealedTexts:
		query, scan = selectSealedTexts, l.texts
	case sealedRoleNames:
		query, scan = selectSealedRoleNames, l.roleName
	}
	n := 0
	err = r.session.query(query, []any{int64(after.ID), limit}, func(rows *sql.Rows) (bool, error) {
		n++
		return true, scan(rows)
	})
	switch {
	case n == limit:
		page.Next = &l.last
	case after.Part+1 < sealedEnd:
		page.Next = &im.SealedKey{Part: after.Part + 1, ID: math.MinInt64}
	}
	return page, err
}

// sealedLook looks at rows with what was sealed.
type sealedScan struct {
	*reader
	how  im.SealedLook
	page *im.SealedPage
	last im.SealedKey // the row that was looked at last
}

// add takes in what was sealed under the key in a slot, if there is one.
func (l *sealedScan) add(s im.Sealed, id im.ID, slot sql.NullInt64, sealed []byte) {
	l.last.ID = id
	if slot.Valid {
		s.ID, s.Key, s.Slot, s.Err = id, l.last, im.Slot(slot.Int64), l.look(slot.Int64, sealed)
		l.page.Items = append(l.page.Items, s)
	}
}

func (l *sealedScan) message(rows *sql.Rows) error {
	var id, conversation im.ID
	var state im.State
	var slot, noteSlot sql.NullInt64
	var doomed bool
	var sealed, note sql.RawBytes
	if err := rows.Scan(&id, &conversation, &state, &slot, &noteSlot, &doomed, &sealed, &note); err != nil {
		return err
	}
	said := im.Sealed{Kind: im.SealedMessage, Conversation: conversation, Doomed: doomed}
	if state != im.Active {
		said.Erased = state
	}
	l.add(said, id, slot, sealed)
	l.add(im.Sealed{Kind: im.SealedNote, Conversation: conversation}, id, noteSlot, note)
	return nil
}

func (l *sealedScan) texts(rows *sql.Rows) error {
	var id im.ID
	var t texts
	if err := rows.Scan(append([]any{&id}, t.dest()...)...); err != nil {
		return err
	}
	for _, text := range []sealedText{t.name, t.announcement, t.avatar} {
		l.add(im.Sealed{Kind: im.SealedName, Conversation: id}, id, text.slot, text.sealed)
	}
	return nil
}

func (l *sealedScan) roleName(rows *sql.Rows) error {
	var id, space im.ID
	var name sealedText
	if err := rows.Scan(&id, &space, &name.slot, &name.sealed); err != nil {
		return err
	}
	l.add(im.Sealed{Kind: im.SealedName, Conversation: space}, id, name.slot, name.sealed)
	return nil
}

// look says why something sealed cannot be read; nil if it can. Only the key is looked at
// if nothing is left of it.
func (l *sealedScan) look(slot int64, sealed []byte) error {
	if l.sealer.lost.has(im.Slot(slot)) {
		return im.ErrNoKey
	}
	key, err := l.sealer.keys.Key(im.Slot(slot))
	if err != nil || l.how == im.SealedKeys || sealed == nil {
		return err
	}
	_, err = record.Unseal(nil, key, l.sealer.store, im.Slot(slot), sealed)
	return err
}

// MessageShell returns a message without what it says, also if that cannot be read.
func (r *reader) MessageShell(id im.ID) (im.Message, error) {
	return r.message(selectShell, int64(id))
}

// Doom has the key shredded of what was erased.
func (t *tx) Doom(s im.Sealed) error { return t.doom(int64(s.Slot), s.Erased.ShredCode(), s.ID) }

// Empty removes what cannot be read, other than a message.
func (t *tx) Empty(s im.Sealed) error {
	switch {
	case s.Kind == im.SealedNote:
		return t.must(emptyNote, int64(s.ID))
	case s.Kind != im.SealedName:
		return fmt.Errorf("a %v is not to be emptied", s.Kind)
	case s.Key.Part == sealedRoleNames:
		return t.must(deleteRoleName, int64(s.ID))
	default:
		return t.must(emptyText, int64(s.Slot), int64(s.ID))
	}
}

// Remove removes messages of a conversation; see [im.Tx].
func (t *tx) Remove(conversation im.ID, ids []im.ID, at time.Time) (active int, err error) {
	var lastSeq int64
	var trim sql.NullInt64
	var deleted bool
	found, err := t.session.row(selectTrimState, []any{int64(conversation)}, &lastSeq, &trim, &deleted)
	if err != nil || !found {
		return 0, orNotFound(err)
	}
	list, newest, err := t.trimProgress(ids)
	if err != nil {
		return 0, err
	}
	for _, m := range list {
		if m.state == im.Active && !m.hidden {
			active++
		}
	}
	if err := t.removeMessages(int64(conversation), list, at); err != nil {
		return 0, err
	}
	var first int64
	oldest, err := t.firstRemaining(int64(conversation), lastSeq, &first)
	if err != nil {
		return 0, err
	}
	// What was kept of them, receipts and events, goes with the trimming that this begins,
	// and it tells the members.
	if !deleted && !trim.Valid {
		trim = sql.NullInt64{Int64: newest + 1, Valid: true}
		if oldest.Valid {
			trim.Int64 = min(trim.Int64, oldest.Int64)
		}
	}
	return active, t.must(putTrim, first, oldest, trim, int64(conversation))
}

// removals loads messages that are to be removed, without what they say, and says when
// the newest of them was created.
func (t *tx) trimProgress(ids []im.ID) (list []deletion, newest int64, err error) {
	numbers, err := json.Marshal(ids)
	if err != nil {
		return nil, 0, err
	}
	err = t.session.query(selectToDelete, []any{string(numbers)}, func(rows *sql.Rows) (bool, error) {
		m, err := scanDeletion(rows)
		newest = max(newest, m.created)
		list = append(list, m)
		return true, err
	})
	return list, newest, err
}
