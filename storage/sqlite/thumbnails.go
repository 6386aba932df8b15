package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

const (
	selectThumbnail = `SELECT t.attachment_id, u.name, t.state, t.tries, t.id, t.slot, t.size, t.info
		FROM thumbnails t CROSS JOIN users u ON u.id = t.uploader_id `
	selectThumbnailOf   = selectThumbnail + "WHERE t.attachment_id = ?"
	selectNextThumbnail = selectThumbnail + `WHERE t.attachment_id = (SELECT w.attachment_id FROM thumbnails w INDEXED BY thumbnails_waiting
		WHERE w.state = {thumbnail_waiting} AND w.uploader_id > ? ORDER BY w.uploader_id, w.attachment_id LIMIT 1)`
	countWaitingThumbnails = `SELECT count(*) FROM (SELECT 1 FROM thumbnails w INDEXED BY thumbnails_waiting
		WHERE w.state = {thumbnail_waiting} AND w.uploader_id > 0 LIMIT ?)`
	insertThumbnail = `INSERT INTO thumbnails (attachment_id, uploader_id, state, tries)
		SELECT id, uploader_id, ?2, ?3 FROM attachments WHERE id = ?1`
	updateThumbnail = "UPDATE thumbnails SET state = ?2, tries = ?3, id = ?4, slot = ?5, size = ?6, info = ?7 WHERE attachment_id = ?1"

	selectThumbnailBlobs = `SELECT t.id, t.slot FROM json_each(?1) j CROSS JOIN thumbnails t ON t.attachment_id = j.value
		WHERE t.id IS NOT NULL`
	deleteThumbnails = "DELETE FROM thumbnails WHERE attachment_id IN (SELECT j.value FROM json_each(?1) AS j)"
)

// Thumbnail returns the thumbnail of an attachment.
func (r *reader) Thumbnail(attachment im.ID) (im.Thumbnail, error) {
	return r.thumbnail(selectThumbnailOf, int64(attachment))
}

func (r *reader) thumbnail(query string, args ...any) (im.Thumbnail, error) {
	var t im.Thumbnail
	var id, slot, size sql.NullInt64
	var sealed []byte
	found, err := r.session.row(query, args, &t.Attachment, &t.Uploader, &t.State, &t.Tries, &id, &slot, &size, &sealed)
	if err != nil || !found {
		return im.Thumbnail{}, orNotFound(err)
	}
	if !id.Valid {
		return t, nil
	}
	t.ID, t.Slot, t.Size = im.ID(id.Int64), im.Slot(slot.Int64), size.Int64
	info, err := r.unseal(slot.Int64, sealed)
	if err == nil {
		if t.Info, err = record.ReadAttachment(info); err != nil {
			err = errContent
		}
	}
	if err != nil {
		err = fmt.Errorf("thumbnail of %v: %w", t.Attachment, err)
	}
	return t, err
}

// NextThumbnail returns a waiting thumbnail of the next uploader after past, in the order of the
// users' keys. After the last uploader comes the first again.
func (r *reader) NextThumbnail(past im.UserID) (im.Thumbnail, error) {
	key, err := r.userKey(past)
	if err != nil {
		return im.Thumbnail{}, err
	}
	t, err := r.thumbnail(selectNextThumbnail, key)
	if errors.Is(err, im.ErrNotFound) && key > 0 {
		t, err = r.thumbnail(selectNextThumbnail, 0)
	}
	return t, err
}

// WaitingThumbnails counts waiting thumbnails, up to limit.
func (r *reader) WaitingThumbnails(limit int) (n int, err error) {
	_, err = r.session.row(countWaitingThumbnails, []any{limit}, &n)
	return n, err
}

// InsertThumbnail stores a thumbnail without a blob.
func (t *tx) InsertThumbnail(thumb im.Thumbnail) error {
	return t.must(insertThumbnail, int64(thumb.Attachment), thumb.State, thumb.Tries)
}

// UpdateThumbnail stores a thumbnail, and erases its old blob if it has another blob now, or none.
func (t *tx) UpdateThumbnail(thumb im.Thumbnail) error {
	if err := t.eraseThumbnailBlobs([]int64{int64(thumb.Attachment)}, thumb.ID); err != nil {
		return err
	}
	if thumb.ID == 0 {
		return t.must(updateThumbnail, int64(thumb.Attachment), thumb.State, thumb.Tries, nil, nil, nil, nil)
	}
	sealed, err := t.sealInfo(thumb.Slot, thumb.Info)
	if err != nil {
		return err
	}
	return t.must(updateThumbnail, int64(thumb.Attachment), thumb.State, thumb.Tries, int64(thumb.ID), int64(thumb.Slot), thumb.Size, sealed)
}

// eraseThumbnailBlobs dooms the keys of the thumbnails of attachments and records their blobs as
// dead, except for the blob with the id except.
func (t *tx) eraseThumbnailBlobs(attachments []int64, except im.ID) error {
	list, err := json.Marshal(attachments)
	if err != nil {
		return err
	}
	var ids, slots []int64
	err = t.session.query(selectThumbnailBlobs, []any{string(list)}, func(rows row) (bool, error) {
		var id, slot int64
		err := rows.Scan(&id, &slot)
		if im.ID(id) != except {
			ids, slots = append(ids, id), append(slots, slot)
		}
		return true, err
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	for i, id := range ids {
		if _, err := t.session.exec(insertDeadBlob, id, slots[i]); err != nil {
			return err
		}
	}
	return t.doomAll(slots)
}
