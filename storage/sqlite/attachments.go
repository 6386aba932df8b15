package sqlite

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

const (
	selectAttachment = `SELECT a.id, u.name, a.slot, a.info, a.size, a.created_at, a.refs
		FROM attachments a CROSS JOIN users u ON u.id = a.uploader_id WHERE a.id = ?`
	insertAttachment = "INSERT INTO attachments (id, uploader_id, slot, info, size, created_at) VALUES (?, ?, ?, ?, ?, ?)"
	selectUse        = "SELECT files, bytes FROM attachment_use WHERE user_id = ?"
	putUse           = `INSERT INTO attachment_use (user_id, files, bytes) VALUES (?1, ?2, ?3)
		ON CONFLICT DO UPDATE SET files = files + excluded.files, bytes = bytes + excluded.bytes`
	deleteNoUse   = "DELETE FROM attachment_use WHERE user_id = ? AND files = 0"
	selectOrphans = `SELECT id FROM attachments INDEXED BY attachments_orphans
		WHERE refs = 0 AND created_at < ? ORDER BY created_at, id LIMIT ?`

	insertReference    = "INSERT INTO attachment_refs (message_id, attachment_id) VALUES (?, ?)"
	addReference       = "UPDATE attachments SET refs = refs + ?1 WHERE id = ?2"
	selectReferenced   = "SELECT r.attachment_id FROM json_each(?1) j CROSS JOIN attachment_refs r ON r.message_id = j.value"
	deleteReferences   = "DELETE FROM attachment_refs WHERE message_id IN (SELECT j.value FROM json_each(?1) AS j)"
	selectUnreferenced = `SELECT a.id, a.uploader_id, a.slot, a.size FROM json_each(?1) j
		CROSS JOIN attachments a ON a.id = j.value WHERE a.refs = 0`
	selectErasing     = "SELECT a.id, a.uploader_id, a.slot, a.size FROM json_each(?1) j CROSS JOIN attachments a ON a.id = j.value"
	deleteAttachments = "DELETE FROM attachments WHERE id IN (SELECT j.value FROM json_each(?1) AS j)"
	deleteReferrers   = `DELETE FROM attachment_refs WHERE (message_id, attachment_id) IN
		(SELECT r.message_id, r.attachment_id FROM json_each(?1) j
			CROSS JOIN attachment_refs r INDEXED BY attachment_refs_of ON r.attachment_id = j.value)`
	insertDeadBlob = "INSERT OR IGNORE INTO dead_blobs (id, slot) VALUES (?, ?)"

	// selectMessagesWith leaves out conversations of which the user is not a member, directly or
	// through the parent or the space.
	selectMessagesWith = "SELECT " + messageColumns + withoutContent + ` FROM attachment_refs r INDEXED BY attachment_refs_of
		CROSS JOIN messages m ON m.id = r.message_id CROSS JOIN conversations c ON c.id = m.conversation_id
		WHERE r.attachment_id = ?1 AND r.message_id < ?3 AND m.state = {active} AND (
			EXISTS (SELECT 1 FROM members x WHERE x.conversation_id = c.id AND x.user_id = ?2)
			OR EXISTS (SELECT 1 FROM members x WHERE x.conversation_id = c.parent_id AND x.user_id = ?2)
			OR EXISTS (SELECT 1 FROM members x WHERE x.conversation_id = c.space_id AND x.user_id = ?2))
		ORDER BY r.message_id DESC LIMIT ?4`

	// selectDeadBlobs finds blobs whose keys are shredded, not only doomed: with a doomed key a
	// blob can still be read.
	selectDeadBlobs = `SELECT b.id FROM dead_blobs b
		WHERE b.id > ? AND NOT EXISTS (SELECT 1 FROM doomed d WHERE d.slot = b.slot) ORDER BY b.id LIMIT ?`
	selectNamed = `SELECT j.value FROM json_each(?) j WHERE EXISTS (SELECT 1 FROM attachments a WHERE a.id = j.value)
		OR EXISTS (SELECT 1 FROM thumbnails t WHERE t.id = j.value)
		OR EXISTS (SELECT 1 FROM dead_blobs b WHERE b.id = j.value)`
	deleteDeadBlobs = "DELETE FROM dead_blobs WHERE id IN (SELECT j.value FROM json_each(?1) AS j)"
)

// NextBlobKey returns a key that was never returned before.
func (s *Store) NextBlobKey() (im.Slot, im.Key, error) {
	slot, key, err := s.sealer.keys.Next()
	if err != nil {
		err = keyRefusal(err)
	}
	return slot, key, err
}

// BlobKey returns the key in a slot.
func (s *Store) BlobKey(slot im.Slot) (im.Key, error) {
	key, err := s.sealer.keys.Key(slot)
	if err != nil && !errors.As(err, new(*im.ShreddedError)) && !errors.Is(err, im.ErrNoKey) {
		err = keyRefusal(err)
	}
	return key, err
}

// Attachment returns an attachment.
func (r *reader) Attachment(id im.ID) (im.Attachment, error) {
	var a im.Attachment
	var sealed []byte
	var created int64
	found, err := r.session.row(selectAttachment, []any{int64(id)}, &a.ID, &a.Uploader, &a.Slot, &sealed, &a.Size, &created, &a.References)
	if err != nil || !found {
		return im.Attachment{}, orNotFound(err)
	}
	a.CreatedAt = fromMillis(created)
	info, err := r.unseal(int64(a.Slot), sealed)
	if err == nil {
		if a.Info, err = record.ReadAttachment(info); err != nil {
			err = errContent
		}
	}
	if err != nil {
		err = fmt.Errorf("attachment %v: %w", id, err)
	}
	return a, err
}

// AttachmentUse returns the number and the bytes of the attachments of a user, or of all users.
func (r *reader) AttachmentUse(user im.UserID) (use im.AttachmentUse, err error) {
	var key int64
	if user != "" {
		if key, err = r.userKey(user); err != nil || key == 0 {
			return use, err
		}
	}
	_, err = r.session.row(selectUse, []any{key}, &use.Files, &use.Bytes)
	return use, err
}

// MessagesWith returns active messages that have an attachment, in conversations that the user may
// be able to read, without their content and the newest first.
func (r *reader) MessagesWith(attachment im.ID, user im.UserID, past im.ID, limit int) (list []im.Message, err error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	err = r.session.query(selectMessagesWith, []any{int64(attachment), key, orLast(past), limit}, func(rows row) (bool, error) {
		m, err := r.scanMessage(rows)
		list = append(list, m)
		return true, err
	})
	return list, err
}

// Orphans returns attachments that no message refers to and that were uploaded before a time.
func (r *reader) Orphans(before time.Time, limit int) ([]im.ID, error) {
	return r.ids(selectOrphans, before.UnixMilli(), limit)
}

// DeadBlobs returns blobs of erased attachments and thumbnails whose keys are shredded.
func (r *reader) DeadBlobs(limit int) ([]im.ID, error) {
	return r.ids(selectDeadBlobs, orFirst(0), limit)
}

// NamedBlobs returns those of the given blobs that a row names.
func (r *reader) NamedBlobs(ids []im.ID) ([]im.ID, error) { return r.idsAmong(selectNamed, ids) }

// InsertAttachment stores an attachment. Its info is sealed with the key of its blob, under
// another nonce. If the transaction has to run again, it seals the same info again, so the nonce is
// never used for two texts.
func (t *tx) InsertAttachment(a im.Attachment) error {
	user, err := t.intern(a.Uploader)
	if err != nil {
		return err
	}
	sealed, err := t.sealInfo(a.Slot, a.Info)
	if err != nil {
		return err
	}
	err = t.must(insertAttachment, int64(a.ID), user, int64(a.Slot), sealed, a.Size, a.CreatedAt.UnixMilli())
	if err != nil {
		return err
	}
	return t.addUse(user, 1, a.Size)
}

// sealInfo seals the description of a file with the key of its blob.
func (t *tx) sealInfo(slot im.Slot, i im.AttachmentInfo) ([]byte, error) {
	info, err := record.Attachment(i)
	if err != nil {
		return nil, err
	}
	key, err := t.sealer.keys.Key(slot)
	if err != nil {
		return nil, keyRefusal(err)
	}
	if err := t.noteSlot(slot); err != nil {
		return nil, err
	}
	return record.Seal(nil, key, t.sealer.store, slot, info), nil
}

// addUse counts attachments for a user and for all, which is user 0.
func (t *tx) addUse(user, files, bytes int64) error {
	for _, of := range []int64{user, 0} {
		if err := t.must(putUse, of, files, bytes); err != nil {
			return err
		}
	}
	return nil
}

// insertReferences stores which attachments a message refers to.
func (t *tx) insertReferences(m im.Message) error {
	for _, id := range m.Attachments {
		if err := t.must(insertReference, int64(m.ID), int64(id)); err != nil {
			return err
		}
		if err := t.must(addReference, 1, int64(id)); err != nil {
			return err
		}
	}
	return nil
}

// releaseAttachments deletes the references of erased messages, and erases the attachments that no
// other message refers to.
func (t *tx) releaseAttachments(messages []int64) error {
	if len(messages) == 0 {
		return nil
	}
	list, err := json.Marshal(messages)
	if err != nil {
		return err
	}
	fewer := map[int64]int64{}
	var ids []int64
	err = t.session.query(selectReferenced, []any{string(list)}, func(rows row) (bool, error) {
		var id int64
		err := rows.Scan(&id)
		if fewer[id]++; fewer[id] == 1 {
			ids = append(ids, id)
		}
		return true, err
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := t.updateList(deleteReferences, messages); err != nil {
		return err
	}
	for _, id := range ids {
		if err := t.must(addReference, -fewer[id], id); err != nil {
			return err
		}
	}
	return t.eraseAttachments(selectUnreferenced, ids)
}

// EraseAttachment erases an attachment, whether or not messages refer to it.
func (t *tx) EraseAttachment(id im.ID) error {
	return t.eraseAttachments(selectErasing, []int64{int64(id)})
}

// eraseAttachments dooms the keys of the attachments that a query selects among ids, and of their
// thumbnails, records their blobs as dead, and deletes their rows. All erasures of attachments go
// through it.
func (t *tx) eraseAttachments(query string, among []int64) error {
	list, err := json.Marshal(among)
	if err != nil {
		return err
	}
	type erasing struct{ id, user, slot, size int64 }
	var all []erasing
	err = t.session.query(query, []any{string(list)}, func(rows row) (bool, error) {
		var a erasing
		err := rows.Scan(&a.id, &a.user, &a.slot, &a.size)
		all = append(all, a)
		return true, err
	})
	if err != nil || len(all) == 0 {
		return err
	}
	var ids, slots []int64
	for _, a := range all {
		ids, slots = append(ids, a.id), append(slots, a.slot)
		if _, err := t.session.exec(insertDeadBlob, a.id, a.slot); err != nil {
			return err
		}
		if err := t.addUse(a.user, -1, -a.size); err != nil {
			return err
		}
		if _, err := t.session.exec(deleteNoUse, a.user); err != nil {
			return err
		}
	}
	if err := t.doomAll(slots); err != nil {
		return err
	}
	if err := t.eraseThumbnailBlobs(ids, 0); err != nil {
		return err
	}
	for _, query := range []string{deleteReferrers, deleteThumbnails, deleteAttachments} {
		if err := t.updateList(query, ids); err != nil {
			return err
		}
	}
	return nil
}

// ForgetBlobs deletes the rows of dead blobs whose files are deleted.
func (t *tx) ForgetBlobs(ids []im.ID) error {
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		numbers[i] = int64(id)
	}
	return t.updateList(deleteDeadBlobs, slices.Clip(numbers))
}

// DoomSlot schedules a key for shredding.
func (t *tx) DoomSlot(slot im.Slot) error {
	return t.doom(int64(slot), im.ShredRemoved, 0)
}
