package sqlite

import (
	"fmt"

	"github.com/imapi/imapi/im"
)

const (
	selectCreation = "SELECT conversation_id, members FROM creations WHERE creator_id = ? AND client_id = ?"
	insertCreation = "INSERT INTO creations (creator_id, client_id, conversation_id, members) VALUES (?, ?, ?, ?)"
	// rememberCreations begins the time for which the creations of deleted conversations are
	// remembered. The ids of the conversations are the last parameter.
	rememberCreations = `UPDATE creations SET remembered_at = ?1
		WHERE conversation_id IN (SELECT j.value FROM json_each(?2) AS j)`
	forgetCreations = `DELETE FROM creations WHERE (creator_id, client_id) IN
		(SELECT creator_id, client_id FROM creations INDEXED BY creations_longest
			WHERE remembered_at IS NOT NULL AND remembered_at < ?1 ORDER BY remembered_at LIMIT ?2)`
)

// Creation returns the creation by a user under a client_id.
func (r *reader) Creation(creator im.UserID, clientID string) (im.Creation, error) {
	c := im.Creation{Creator: creator, ClientID: clientID}
	key, err := r.userKey(creator)
	if err != nil || key == 0 {
		return c, orNotFound(err)
	}
	var members []byte
	found, err := r.session.row(selectCreation, []any{key, clientID}, &c.Conversation, &members)
	switch {
	case err != nil || !found:
		return c, orNotFound(err)
	case copy(c.Members[:], members) != len(c.Members):
		return c, fmt.Errorf("the creation of %v is malformed", c.Conversation)
	}
	return c, nil
}

// PutCreation stores that a conversation was created under a client_id.
func (t *tx) PutCreation(c im.Creation) error {
	key, err := t.intern(c.Creator)
	if err != nil {
		return err
	}
	_, err = t.session.exec(insertCreation, key, c.ClientID, int64(c.Conversation), c.Members[:])
	return err
}
