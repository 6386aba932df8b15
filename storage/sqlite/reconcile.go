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

// The work to do before the data may be read. It is stored in meta under 'reconcile' until it is
// done, so that the next start continues work that was interrupted.
const (
	// checkKeys is set if there is any work.
	checkKeys int64 = 1 << iota
	// renewLog is set in every backup, and when the keys are newer than the data, which are then
	// probably an earlier copy. The events after the copy was made are unknown here, so a new log
	// must begin.
	renewLog
	// keysOlder is set if the keys are older than the data.
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

	// selectSealed reads all messages in the order of the table.
	selectSealed = `SELECT m.id, m.conversation_id, m.state, m.slot, m.note_slot,
			EXISTS (SELECT 1 FROM doomed d WHERE d.slot = m.slot), m.sealed, m.note
		FROM messages m WHERE m.id > ? ORDER BY m.id LIMIT ?`
	// selectSealedKeys is the same without the columns that take long to read.
	selectSealedKeys = `SELECT m.id, m.conversation_id, m.state, m.slot, m.note_slot, 0, NULL, NULL
		FROM messages m WHERE m.id > ? ORDER BY m.id LIMIT ?`
	selectSealedTexts = `SELECT id, name_slot, name, announcement_slot, announcement, avatar_slot, avatar
		FROM conversations WHERE id > ? ORDER BY id LIMIT ?`
	selectSealedRoleNames   = "SELECT role_id, space_id, slot, name FROM role_names WHERE role_id > ? ORDER BY role_id LIMIT ?"
	selectSealedAttachments = "SELECT id, slot, info FROM attachments WHERE id > ? ORDER BY id LIMIT ?"
	selectSealedThumbnails  = "SELECT attachment_id, slot, info FROM thumbnails WHERE attachment_id > ? ORDER BY attachment_id LIMIT ?"
	selectSealedDeadBlobs   = `SELECT b.id, b.slot, EXISTS (SELECT 1 FROM doomed d WHERE d.slot = b.slot)
		FROM dead_blobs b WHERE b.id > ? ORDER BY b.id LIMIT ?`
	selectSealedSecrets = "SELECT id, slot, sealed FROM webhooks WHERE id > ? ORDER BY id LIMIT ?"
	countMessages       = "SELECT coalesce(sum(1), 0) FROM messages AS counted"
	selectShell         = "SELECT " + messageColumns + withoutContent + " FROM messages m WHERE m.id = ?"
	// emptyText deletes the text of a conversation whose key is in slot ?1. That is a change of the
	// conversation: otherwise a repeated creation would be compared with a text that is lost.
	emptyText = `UPDATE conversations SET edited_at = max(edited_at, created_at + 1),
			name = CASE WHEN name_slot = ?1 THEN NULL ELSE name END, name_slot = nullif(name_slot, ?1),
			announcement = CASE WHEN announcement_slot = ?1 THEN NULL ELSE announcement END, announcement_slot = nullif(announcement_slot, ?1),
			avatar = CASE WHEN avatar_slot = ?1 THEN NULL ELSE avatar END, avatar_slot = nullif(avatar_slot, ?1)
		WHERE id = ?2`
	emptySecrets = "UPDATE webhooks SET slot = NULL, sealed = NULL WHERE id = ?"
	emptyNote    = "UPDATE messages SET note_slot = NULL, note = NULL WHERE id = ?"

	selectToDelete  = "SELECT " + deletionColumns + " FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value"
	selectTrimState = "SELECT last_seq, trim_before, deleted_at IS NOT NULL FROM conversations WHERE id = ?"

	selectPastLogs = "SELECT log, head FROM past_logs ORDER BY head"
	putPastLog     = "INSERT INTO past_logs (log, head) VALUES (?, ?)"
	// prunePastLogs deletes logs whose cursors have all expired.
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

// plan is the work to do before the data may be read.
type plan struct {
	todo       int64
	referenced *im.SlotSet
}

// planReconciliation determines whether the data and the keys have always been together. If not, it
// stores the work to do, and changes nothing else. It fails if the keys lack some that the data
// need, unless lost keys are accepted.
func (s *Store) planReconciliation(ctx context.Context, session *session, keys im.Keys, epoch uint64) (plan, error) {
	var p plan
	if _, err := session.row(selectMeta, []any{"reconcile"}, &p.todo); err != nil {
		return p, err
	}
	noted := p.todo != 0 // stored by a backup or an interrupted start
	// If the process crashed after it shredded keys and before it deleted their rows from doomed,
	// the keys are ahead as well, but then these rows exist. Without them, the cause may still be a
	// crash during a start or a backup; renewing the log is then harmless.
	var older bool
	switch is := keys.Epoch(); {
	case is < epoch:
		p.todo |= checkKeys | keysOlder
		keys.Raise(epoch) // so that an earlier copy of the keys never counts as newer
	case is > epoch:
		p.todo |= checkKeys
		doomed, err := session.loadDoomed()
		if err != nil {
			return p, err
		}
		older = len(doomed) == 0
	}
	// If nothing was erased after a copy of the keys was made, the copy has the same epoch but
	// lacks the keys that were made later.
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
		// An interrupted start recorded these slots with other keys. The present keys may have
		// them.
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

// slotRange is a range of slots; to is excluded.
type slotRange struct{ from, to im.Slot }

func (r slotRange) has(slot im.Slot) bool { return r.from <= slot && slot < r.to }

// putLost stores the slots that never had a key in the present file. Slots made from now on
// come after them; keys in the lost slots then read as shredded.
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

// reconcile does the planned work.
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
		return fmt.Errorf("reconcile the data with the keys: %w", err)
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

// renewLog begins a new log that continues this one from the point of the copy. It comes
// first, because reconciling appends events.
func (s *Store) renewLog(ctx context.Context, todo int64) error {
	var random [4]byte
	_, _ = rand.Read(random[:]) // crypto/rand never fails
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
	err = s.query(selectPastLogs, nil, func(rows row) (bool, error) {
		var l im.PastLog
		err := rows.Scan(&l.Log, &l.Head)
		list = append(list, l)
		return true, err
	})
	return list, err
}

// CountMessages returns the number of messages, including tombstones.
func (r *reader) CountMessages() (n int64, err error) {
	_, err = r.session.row(countMessages, nil, &n)
	return n, err
}

// The parts in which Sealed lists everything sealed, in order.
const (
	sealedMessages = iota
	sealedTexts
	sealedRoleNames
	sealedAttachments
	sealedThumbnails
	sealedDeadBlobs
	sealedSecrets
	sealedEnd
)

// Sealed lists everything that is sealed, in pages: messages and their notes, texts of
// conversations, names of roles, attachments, thumbnails, dead blobs and secrets of webhooks; see
// [im.SealedReader].
func (r *reader) Sealed(after im.SealedKey, limit int, scope im.SealedLook) (page im.SealedPage, err error) {
	l := sealedScan{reader: r, scope: scope, page: &page, last: after}
	query, scan := selectSealed, l.message
	switch after.Part {
	case sealedMessages:
		if scope == im.SealedKeys {
			query = selectSealedKeys
		}
	case sealedTexts:
		query, scan = selectSealedTexts, l.texts
	case sealedRoleNames:
		query, scan = selectSealedRoleNames, l.roleName
	case sealedAttachments:
		query, scan = selectSealedAttachments, l.rowOf(im.SealedAttachment)
	case sealedThumbnails:
		query, scan = selectSealedThumbnails, l.rowOf(im.SealedThumbnail)
	case sealedDeadBlobs:
		query, scan = selectSealedDeadBlobs, l.deadBlob
	case sealedSecrets:
		query, scan = selectSealedSecrets, l.rowOf(im.SealedSecret)
	}
	n := 0
	err = r.session.query(query, []any{int64(after.ID), limit}, func(rows row) (bool, error) {
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

// sealedScan builds a page of sealed values.
type sealedScan struct {
	*reader
	scope im.SealedLook
	page  *im.SealedPage
	last  im.SealedKey // the last row read
}

// add adds the value sealed with the key in a slot, if there is one.
func (l *sealedScan) add(s im.Sealed, id im.ID, slot sql.NullInt64, sealed []byte) {
	l.last.ID = id
	if slot.Valid {
		s.ID, s.Key, s.Slot, s.Err = id, l.last, im.Slot(slot.Int64), l.check(slot.Int64, sealed)
		l.page.Items = append(l.page.Items, s)
	}
}

func (l *sealedScan) message(rows row) error {
	var id, conversation im.ID
	var state im.State
	var slot, noteSlot sql.NullInt64
	var doomed bool
	var sealed, note []byte
	if err := rows.Scan(&id, &conversation, &state, &slot, &noteSlot, &doomed, &sealed, &note); err != nil {
		return err
	}
	sealedMessage := im.Sealed{Kind: im.SealedMessage, Conversation: conversation, Doomed: doomed}
	if state != im.Active {
		sealedMessage.Erased = state
	}
	l.add(sealedMessage, id, slot, sealed)
	l.add(im.Sealed{Kind: im.SealedNote, Conversation: conversation}, id, noteSlot, note)
	return nil
}

func (l *sealedScan) texts(rows row) error {
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

func (l *sealedScan) roleName(rows row) error {
	var id, space im.ID
	var name sealedText
	if err := rows.Scan(&id, &space, &name.slot, &name.sealed); err != nil {
		return err
	}
	l.add(im.Sealed{Kind: im.SealedName, Conversation: space}, id, name.slot, name.sealed)
	return nil
}

// rowOf returns a function that adds what is sealed in a row of a kind, if there is something.
func (l *sealedScan) rowOf(kind im.SealedKind) func(row) error {
	return func(rows row) error {
		var id im.ID
		var of sealedText
		if err := rows.Scan(&id, &of.slot, &of.sealed); err != nil {
			return err
		}
		l.add(im.Sealed{Kind: kind}, id, of.slot, of.sealed)
		return nil
	}
}

// deadBlob adds the blob of an erased attachment. It has no state, and counts as expired.
func (l *sealedScan) deadBlob(rows row) error {
	var id im.ID
	var slot sql.NullInt64
	blob := im.Sealed{Kind: im.SealedAttachment, Erased: im.Expired}
	if err := rows.Scan(&id, &slot, &blob.Doomed); err != nil {
		return err
	}
	blob.Doomed = blob.Doomed && l.scope == im.SealedContent
	l.add(blob, id, slot, nil)
	return nil
}

// check returns the reason why a sealed value cannot be read, nil if it can. If the value is
// erased, or only keys are requested, it checks only the key.
func (l *sealedScan) check(slot int64, sealed []byte) error {
	if l.sealer.lost.has(im.Slot(slot)) {
		return im.ErrNoKey
	}
	key, err := l.sealer.keys.Key(im.Slot(slot))
	if err != nil || l.scope == im.SealedKeys || sealed == nil {
		return err
	}
	_, err = record.Unseal(nil, key, l.sealer.store, im.Slot(slot), sealed)
	return err
}

// MessageShell returns a message without its content, even if that cannot be read.
func (r *reader) MessageShell(id im.ID) (im.Message, error) {
	return r.message(selectShell, int64(id))
}

// Doom schedules the key of an erased value for shredding.
func (t *tx) Doom(s im.Sealed) error {
	if s.Kind == im.SealedAttachment {
		return t.DoomSlot(s.Slot)
	}
	return t.doom(int64(s.Slot), s.Erased.ShredCode(), s.ID)
}

// Empty deletes a note, a name or other text, or a secret that cannot be read. It fails for a value
// of another kind.
func (t *tx) Empty(s im.Sealed) error {
	switch {
	case s.Kind == im.SealedNote:
		return t.must(emptyNote, int64(s.ID))
	case s.Kind == im.SealedSecret:
		return t.must(emptySecrets, int64(s.ID))
	case s.Kind != im.SealedName:
		return fmt.Errorf("cannot empty a %v", s.Kind)
	case s.Key.Part == sealedRoleNames:
		return t.must(deleteRoleName, int64(s.ID))
	default:
		return t.must(emptyText, int64(s.Slot), int64(s.ID))
	}
}

// Remove deletes messages of a conversation; see [im.Tx].
func (t *tx) Remove(conversation im.ID, ids []im.ID, at time.Time) (active int, err error) {
	var lastSeq int64
	var trim sql.NullInt64
	var deleted bool
	found, err := t.session.row(selectTrimState, []any{int64(conversation)}, &lastSeq, &trim, &deleted)
	if err != nil || !found {
		return 0, orNotFound(err)
	}
	list, newest, err := t.loadDeletions(ids)
	if err != nil {
		return 0, err
	}
	active = countActive(list)
	if err := t.deleteWithKeys(int64(conversation), list, at); err != nil {
		return 0, err
	}
	var first int64
	oldest, err := t.firstRemaining(int64(conversation), lastSeq, &first)
	if err != nil {
		return 0, err
	}
	// This schedules a trim, which deletes the receipts and events of the messages and publishes an
	// event to the members.
	if !deleted && !trim.Valid {
		trim = sql.NullInt64{Int64: newest + 1, Valid: true}
		if oldest.Valid {
			trim.Int64 = min(trim.Int64, oldest.Int64)
		}
	}
	return active, t.must(putTrim, first, oldest, trim, int64(conversation))
}

// loadDeletions loads messages to be deleted, without their content, and returns the time
// of the newest.
func (t *tx) loadDeletions(ids []im.ID) (list []deletion, newest int64, err error) {
	numbers, err := json.Marshal(ids)
	if err != nil {
		return nil, 0, err
	}
	err = t.session.query(selectToDelete, []any{string(numbers)}, func(rows row) (bool, error) {
		m, err := scanDeletion(rows)
		newest = max(newest, m.created)
		list = append(list, m)
		return true, err
	})
	return list, newest, err
}
