package sqlite

import "github.com/imapi/imapi/im"

const (
	invitationColumns  = "SELECT v.conversation_id, v.name, b.name, v.at FROM invitations v "
	selectInvitation   = invitationColumns + "CROSS JOIN users b ON b.id = v.by_id WHERE v.conversation_id = ? AND v.name = ?"
	selectInvitations  = invitationColumns + "CROSS JOIN users b ON b.id = v.by_id WHERE v.conversation_id = ? AND v.name > ? ORDER BY v.name LIMIT ?"
	selectInvitationOf = invitationColumns + `INDEXED BY invitations_of_user CROSS JOIN users b ON b.id = v.by_id
		WHERE v.name = ? AND v.conversation_id > ?
			AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = v.conversation_id AND c.deleted_at IS NOT NULL)
		ORDER BY v.conversation_id LIMIT ?`
	putInvitation = `INSERT INTO invitations (conversation_id, name, by_id, at) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET by_id = excluded.by_id, at = excluded.at`
	deleteInvitation = "DELETE FROM invitations WHERE conversation_id = ? AND name = ?"
)

func (r *reader) invitations(query string, args ...any) (list []im.Invitation, err error) {
	err = r.session.query(query, args, func(rows row) (bool, error) {
		var i im.Invitation
		var at int64
		err := rows.Scan(&i.Conversation, &i.User, &i.By, &at)
		i.At = fromMillis(at)
		list = append(list, i)
		return true, err
	})
	return list, err
}

// Invitation returns the invitation of a user to a conversation.
func (r *reader) Invitation(conversation im.ID, user im.UserID) (im.Invitation, error) {
	list, err := r.invitations(selectInvitation, int64(conversation), string(user))
	if err != nil || len(list) == 0 {
		return im.Invitation{}, orNotFound(err)
	}
	return list[0], nil
}

// Invitations returns a page of the invitations to a conversation, in the order of the users.
func (r *reader) Invitations(conversation im.ID, page im.Page) ([]im.Invitation, error) {
	return r.invitations(selectInvitations, int64(conversation), page.After, page.Limit)
}

// InvitationsOf returns up to limit invitations of a user to conversations that are not deleted,
// in the order of the conversations' ids.
func (r *reader) InvitationsOf(user im.UserID, after im.ID, limit int) ([]im.Invitation, error) {
	return r.invitations(selectInvitationOf, string(user), orFirst(after), limit)
}

// PutInvitation stores an invitation and replaces an existing one.
func (t *tx) PutInvitation(i im.Invitation) error {
	by, err := t.intern(i.By)
	if err != nil {
		return err
	}
	_, err = t.session.exec(putInvitation, int64(i.Conversation), string(i.User), by, i.At.UnixMilli())
	return err
}

// DeleteInvitation deletes an invitation.
func (t *tx) DeleteInvitation(conversation im.ID, user im.UserID) error {
	_, err := t.session.exec(deleteInvitation, int64(conversation), string(user))
	return err
}
