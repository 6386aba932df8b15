package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
)

const messageColumns = `m.id, m.conversation_id, m.seq, u.name, m.sender_device, m.client_id,
	m.type, m.state, m.reply_to, m.receipt, m.created_at, m.expires_at,
	m.burn_after, m.burn_unread_ttl, m.burn_at,
	m.erased_at, by.name, n.data, `

// withContent ends the columns of a message that is read whole, withoutContent
// those of one of which nobody wants to know what it says.
const (
	withContent    = "k.data"
	withoutContent = "NULL"
)

// messageParts joins what a message is put together from. A quote is looked
// up by its reader, never joined here.
const (
	messageUsers = ` CROSS JOIN users u ON u.id = m.sender_id LEFT JOIN users by ON by.id = m.erased_by
		LEFT JOIN contents n ON n.id = m.note_id `
	messageParts = messageUsers + `LEFT JOIN contents k ON k.id = m.content_id `
)

const (
	selectMessage = "SELECT " + messageColumns + withContent + " FROM messages m" + messageParts +
		"WHERE m.id = ?"
	selectMessageByClientID = "SELECT " + messageColumns + withContent + " FROM messages m" + messageParts +
		"WHERE m.sender_id = ? AND m.client_id = ?"
)

// errContent is met in a message of which the content cannot be read.
var errContent = errors.New("the stored content cannot be read")

// scanMessage reads a message; also are what the statement returns besides.
func scanMessage(rows *sql.Rows, also ...any) (im.Message, error) {
	var m im.Message
	var clientID, by sql.NullString
	var replyTo, expires, burnAfter, burnUnread, burnAt, erased sql.NullInt64
	var created int64
	var note, data []byte
	err := rows.Scan(append([]any{
		&m.ID, &m.Conversation, &m.Seq, &m.Sender, &m.SenderDevice, &clientID,
		&m.Type, &m.State, &replyTo, &m.Receipt, &created, &expires,
		&burnAfter, &burnUnread, &burnAt,
		&erased, &by, &note, &data,
	}, also...)...)
	if err != nil {
		return m, err
	}
	m.ClientID, m.ReplyTo, m.CreatedAt = clientID.String, im.ID(replyTo.Int64), fromMillis(created)
	m.ExpiresAt = optionalTime(expires)
	if burnAfter.Valid {
		m.Burn = &im.Burn{After: fromDuration(burnAfter), UnreadTTL: fromDuration(burnUnread), At: optionalTime(burnAt)}
	}
	if m.State != im.Active {
		m.Erased = &im.Erasure{State: m.State, At: optionalTime(erased), By: im.UserID(by.String)}
		if err := readNote(note, m.Erased); err != nil {
			return m, fmt.Errorf("message %v: %w", m.ID, err)
		}
	}
	if data != nil {
		if m.Content, err = im.ParseContent(data); err != nil {
			err = fmt.Errorf("message %v: %w", m.ID, errContent) // the cause may quote it
		}
	}
	return m, err
}

// optionalTime is the time of a column that may be NULL, which is zero.
func optionalTime(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return fromMillis(ms.Int64)
}

// optionalMillis is the reverse of optionalTime.
func optionalMillis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

func fromDuration(ms sql.NullInt64) time.Duration { return time.Duration(ms.Int64) * time.Millisecond }

func (r *reader) message(query string, args ...any) (m im.Message, err error) {
	found := false
	err = r.session.query(query, args, func(rows *sql.Rows) (bool, error) {
		found = true
		m, err = scanMessage(rows)
		return false, err
	})
	if err == nil && !found {
		err = im.ErrNotFound
	}
	return m, err
}

func (r *reader) messages(query string, args ...any) (list []im.Message, err error) {
	err = r.session.query(query, args, func(rows *sql.Rows) (bool, error) {
		m, err := scanMessage(rows)
		list = append(list, m)
		return true, err
	})
	return list, err
}

// Message returns one with its content.
func (r *reader) Message(id im.ID) (im.Message, error) {
	return r.message(selectMessage, int64(id))
}

// MessageByClientID returns the message that the sender sent under this
// client_id.
func (r *reader) MessageByClientID(sender im.UserID, clientID string) (im.Message, error) {
	key, err := r.userKey(sender)
	if err != nil {
		return im.Message{}, err
	}
	if key == 0 || clientID == "" {
		return im.Message{}, im.ErrNotFound
	}
	return r.message(selectMessageByClientID, key, clientID)
}

// InsertMessage stores a message under the next seq of its conversation.
func (t *tx) InsertMessage(m im.Message) (seq int64, err error) {
	sender, err := t.intern(m.Sender)
	if err != nil {
		return 0, err
	}
	created := m.CreatedAt.UnixMilli()
	found, err := t.session.writeRow(
		"UPDATE conversations SET last_seq = last_seq + 1, updated_at = ? WHERE id = ? RETURNING last_seq",
		[]any{created, int64(m.Conversation)}, &seq)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, im.ErrNotFound
	}
	var content any
	if m.Content != nil {
		if content, err = t.insertContent(m.Content.Sent); err != nil {
			return 0, err
		}
	}
	var burnAfter, burnUnread, burnAt, due sql.NullInt64
	if b := m.Burn; b != nil {
		burnAfter = sql.NullInt64{Int64: b.After.Milliseconds(), Valid: true}
		burnUnread = sql.NullInt64{Int64: b.UnreadTTL.Milliseconds(), Valid: true}
		burnAt = optionalMillis(b.At)
	}
	dueAt, _, isDue := m.Due()
	if isDue {
		due = optionalMillis(dueAt)
	}
	_, err = t.session.exec(`INSERT INTO messages
		(id, conversation_id, seq, sender_id, sender_device, client_id, type, state, reply_to, receipt, created_at,
		content_id, expires_at, burn_after, burn_unread_ttl, burn_at, due_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		int64(m.ID), int64(m.Conversation), seq, sender, m.SenderDevice,
		sql.NullString{String: m.ClientID, Valid: m.ClientID != ""}, int64(m.Type), int64(m.State),
		sql.NullInt64{Int64: int64(m.ReplyTo), Valid: m.ReplyTo != 0}, m.Receipt, created,
		content, optionalMillis(m.ExpiresAt), burnAfter, burnUnread, burnAt, due)
	if err == nil && isDue {
		t.noteDue(dueAt)
	}
	return seq, err
}
