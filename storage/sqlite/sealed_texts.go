package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/imapi/imapi/im"
)

const (
	selectTexts = `SELECT name_slot, name, announcement_slot, announcement, avatar_slot, avatar
		FROM conversations WHERE id = ?`

	selectRoleNames = "SELECT role_id, slot, name FROM role_names INDEXED BY role_names_of_space WHERE space_id = ?"
	selectRoleName  = "SELECT slot, name FROM role_names WHERE role_id = ?"
	putRoleName     = `INSERT INTO role_names (role_id, space_id, slot, name) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET slot = excluded.slot, name = excluded.name`
	deleteRoleName = "DELETE FROM role_names WHERE role_id = ?"

	// These statements find the slots of all texts of the conversations ?1, and delete the names of
	// their roles.
	selectTextSlots = `SELECT name_slot FROM conversations WHERE name_slot IS NOT NULL AND id IN (SELECT j.value FROM json_each(?1) AS j)
		UNION ALL SELECT announcement_slot FROM conversations
			WHERE announcement_slot IS NOT NULL AND id IN (SELECT j.value FROM json_each(?1) AS j)
		UNION ALL SELECT avatar_slot FROM conversations WHERE avatar_slot IS NOT NULL AND id IN (SELECT j.value FROM json_each(?1) AS j)
		UNION ALL SELECT slot FROM role_names INDEXED BY role_names_of_space WHERE space_id IN (SELECT j.value FROM json_each(?1) AS j)`
	deleteRoleNames = `DELETE FROM role_names WHERE role_id IN
		(SELECT role_id FROM role_names INDEXED BY role_names_of_space WHERE space_id IN (SELECT j.value FROM json_each(?1) AS j))`
)

// sealedText is a stored text of a conversation, or the name of a role; NULLs if it is
// empty. Each text has its own key, so that changing it erases the old text, and a restored
// backup with an old key file loses no other text.
type sealedText struct {
	slot   sql.NullInt64
	sealed []byte
}

// text unseals a text. A text that cannot be read is empty: either its key was shredded
// because the text was changed or deleted, which a newer snapshot shows, or the key was lost or the
// text is damaged, and a group without a name is better than none.
func (r *reader) text(s sealedText) (string, error) {
	if !s.slot.Valid {
		return "", nil
	}
	text, err := r.unseal(s.slot.Int64, s.sealed)
	if errors.As(err, new(*im.ShreddedError)) || errors.Is(err, errContent) {
		return "", nil
	}
	return string(text), err
}

// sealText seals a text.
func (t *tx) sealText(text string) (s sealedText, err error) {
	if text == "" {
		return s, nil
	}
	s.slot.Int64, s.sealed, err = t.seal([]byte(text))
	s.slot.Valid = err == nil
	return s, err
}

// replaceText seals a text in place of another, whose key it dooms. An unchanged text is
// kept.
func (t *tx) replaceText(before sealedText, text string) (sealedText, error) {
	if old, err := t.text(before); err != nil || old == text && (text != "" || !before.slot.Valid) {
		return before, err
	}
	after, err := t.sealText(text)
	if err == nil && before.slot.Valid {
		err = t.doom(before.slot.Int64, im.ShredRemoved, 0)
	}
	return after, err
}

// texts are the texts of a conversation.
type texts struct{ name, announcement, avatar sealedText }

// dest returns the destinations of the columns of selectTexts.
func (s *texts) dest() []any {
	return []any{&s.name.slot, &s.name.sealed, &s.announcement.slot, &s.announcement.sealed, &s.avatar.slot, &s.avatar.sealed}
}

// readTexts unseals the texts into the conversation.
func (r *reader) readTexts(s texts, c *im.Conversation) (err error) {
	if c.Name, err = r.text(s.name); err != nil {
		return err
	}
	if c.Announcement, err = r.text(s.announcement); err != nil {
		return err
	}
	c.Avatar, err = r.text(s.avatar)
	return err
}

// replaceTexts seals the texts of a conversation that have changed.
func (t *tx) replaceTexts(before texts, c im.Conversation) (after texts, err error) {
	if after.name, err = t.replaceText(before.name, c.Name); err != nil {
		return after, err
	}
	if after.announcement, err = t.replaceText(before.announcement, c.Announcement); err != nil {
		return after, err
	}
	after.avatar, err = t.replaceText(before.avatar, c.Avatar)
	return after, err
}

// eraseTexts dooms the keys of all texts of deleted conversations and of the names of their
// roles, and deletes the names. The caller updates the conversations.
func (t *tx) eraseTexts(conversations []int64) error {
	list, err := json.Marshal(conversations)
	if err != nil {
		return err
	}
	var slots []int64
	err = t.session.query(selectTextSlots, []any{string(list)}, func(rows row) (bool, error) {
		var slot int64
		err := rows.Scan(&slot)
		slots = append(slots, slot)
		return true, err
	})
	if err != nil {
		return err
	}
	if err := t.doomAll(slots); err != nil {
		return err
	}
	return t.updateList(deleteRoleNames, conversations)
}

// RoleNames returns the current names of a space's roles.
func (r *reader) RoleNames(space im.ID) (map[im.ID]string, error) {
	all := map[im.ID]string{}
	err := r.session.query(selectRoleNames, []any{int64(space)}, func(rows row) (bool, error) {
		var role im.ID
		var name sealedText
		err := rows.Scan(&role, &name.slot, &name.sealed)
		if err == nil {
			all[role], err = r.text(name)
		}
		return true, err
	})
	return all, err
}

// PutRoleName stores the name of a role and erases the old one.
func (t *tx) PutRoleName(space, role im.ID, name string) error {
	var before sealedText
	if _, err := t.session.row(selectRoleName, []any{int64(role)}, &before.slot, &before.sealed); err != nil {
		return err
	}
	after, err := t.replaceText(before, name)
	switch {
	case err != nil || after.slot == before.slot:
		return err
	case after.slot.Valid:
		_, err = t.session.exec(putRoleName, int64(role), int64(space), after.slot, after.sealed)
	default:
		_, err = t.session.exec(deleteRoleName, int64(role))
	}
	return err
}
