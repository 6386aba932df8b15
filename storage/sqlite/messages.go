package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

const messageColumns = `m.id, m.conversation_id, m.seq, u.name, m.sender_device, m.client_id,
	m.type, m.state, m.reply_to, m.receipt, m.created_at, m.quiet, v.name, m.expires_at,
	m.burn_after, m.burn_unread_ttl, m.burn_at,
	m.erased_at, by.name, m.note_slot, m.note, m.slot, `

// withContent ends the columns of a message with its content, withoutContent those without.
const (
	withContent    = "m.sealed"
	withoutContent = "NULL"
)

// messageUsers joins the names of the users in a message. A quoted message is not joined;
// the reader looks it up.
const (
	messageUsers = ` CROSS JOIN users u ON u.id = m.sender_id LEFT JOIN users by ON by.id = m.erased_by
		LEFT JOIN users v ON v.id = m.visible_to `
)

const (
	selectMessage = "SELECT " + messageColumns + withContent + " FROM messages m" + messageUsers +
		"WHERE m.id = ?"
	selectMessageByClientID = "SELECT " + messageColumns + withContent + " FROM messages m" + messageUsers +
		"WHERE m.sender_id = ? AND m.client_id = ?"
	selectMessageAt = "SELECT " + messageColumns + withContent + " FROM messages m INDEXED BY messages_by_time" + messageUsers +
		"WHERE m.conversation_id = ?1 AND m.timed = 1 AND m.created_at = ?2 AND m.sender_id = ?3 AND m.state = {active} ORDER BY m.seq"
	selectMessageMade = "SELECT " + messageColumns + withContent + " FROM messages m" + messageUsers +
		"WHERE m.id >= ?2 AND m.id < ?4 AND +m.conversation_id = ?1 AND m.timed = 0 AND +m.sender_id = ?3 AND +m.state = {active} ORDER BY m.id"
)

// errContent reports content that cannot be read.
var errContent = errors.New("the stored content cannot be read")

// messageRow holds the columns of a message while it is read. A reader has one for all of
// its rows: local variables would be allocated for each row.
type messageRow struct {
	columns                                                 []any // pointers to what follows
	m                                                       im.Message
	slot, noteSlot                                          sql.NullInt64
	clientID, visibleTo, by                                 sql.NullString
	replyTo, expires, burnAfter, burnUnread, burnAt, erased sql.NullInt64
	created                                                 int64
	note, sealed                                            []byte
}

func newMessageRow() *messageRow {
	r := &messageRow{}
	r.columns = []any{
		&r.m.ID, &r.m.Conversation, &r.m.Seq, &r.m.Sender, &r.m.SenderDevice, &r.clientID,
		&r.m.Type, &r.m.State, &r.replyTo, &r.m.Receipt, &r.created, &r.m.Quiet, &r.visibleTo, &r.expires,
		&r.burnAfter, &r.burnUnread, &r.burnAt,
		&r.erased, &r.by, &r.noteSlot, &r.note, &r.slot, &r.sealed,
	}
	return r
}

// scanMessage reads a message. The columns after it are scanned into also.
func (r *reader) scanMessage(rows *sql.Rows, also ...any) (im.Message, error) {
	if r.row == nil {
		r.row = newMessageRow()
	}
	row := r.row
	*row = messageRow{columns: row.columns}
	err := rows.Scan(append(slices.Clip(row.columns), also...)...)
	m := row.m
	if err != nil {
		return m, err
	}
	m.ClientID, m.ReplyTo, m.CreatedAt = row.clientID.String, im.ID(row.replyTo.Int64), fromMillis(row.created)
	m.VisibleTo, m.ExpiresAt = im.UserID(row.visibleTo.String), optionalTime(row.expires)
	if row.burnAfter.Valid {
		m.Burn = &im.Burn{After: fromDuration(row.burnAfter), UnreadTTL: fromDuration(row.burnUnread), At: optionalTime(row.burnAt)}
	}
	if m.State != im.Active {
		m.Erased = &im.Erasure{State: m.State, At: optionalTime(row.erased), By: im.UserID(row.by.String)}
		if err := r.readNote(row.noteSlot.Int64, row.note, m.Erased); err != nil {
			return m, fmt.Errorf("message %v: %w", m.ID, err)
		}
	}
	if row.sealed == nil {
		return m, nil
	}
	data, err := r.unseal(row.slot.Int64, row.sealed)
	if shredded := (*im.ShreddedError)(nil); errors.As(err, &shredded) {
		return m.Shredded(shredded.Code), nil
	}
	if err == nil {
		if m.Content, err = im.ParseContent(data); err != nil {
			err = errContent // the cause may quote content
		}
	}
	if err != nil {
		err = fmt.Errorf("message %v: %w", m.ID, err)
	}
	return m, err
}

// optionalTime converts a column to a time; NULL becomes the zero time.
func optionalTime(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return fromMillis(ms.Int64)
}

// optionalMillis is the inverse of optionalTime.
func optionalMillis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

func fromDuration(ms sql.NullInt64) time.Duration { return time.Duration(ms.Int64) * time.Millisecond }

func (r *reader) message(query string, args ...any) (m im.Message, err error) {
	found := false
	err = r.session.query(query, args, func(rows *sql.Rows) (bool, error) {
		found = true
		m, err = r.scanMessage(rows)
		return false, err
	})
	if err == nil && !found {
		err = im.ErrNotFound
	}
	return m, err
}

func (r *reader) messages(query string, args ...any) (list []im.Message, err error) {
	err = r.session.query(query, args, func(rows *sql.Rows) (bool, error) {
		m, err := r.scanMessage(rows)
		list = append(list, m)
		return true, err
	})
	return list, err
}

// Message returns a message with its content.
func (r *reader) Message(id im.ID) (im.Message, error) {
	return r.message(selectMessage, int64(id))
}

// LastMessage returns the greatest id of a message, 0 if there is none.
func (r *reader) LastMessage() (id im.ID, err error) {
	_, err = r.session.row(selectLastID, nil, &id)
	return id, err
}

// MessageByClientID returns the message that the sender sent with a client_id.
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

// MessageAt returns the message of a sender in a conversation with this time and content.
func (r *reader) MessageAt(conversation im.ID, sender im.UserID, at time.Time, sent []byte) (im.Message, error) {
	key, err := r.userKey(sender)
	if err != nil {
		return im.Message{}, err
	}
	if key == 0 {
		return im.Message{}, im.ErrNotFound
	}
	var found *im.Message // the one with the least seq, timed or not
	compare := func(rows *sql.Rows) (bool, error) {
		m, err := r.scanMessage(rows)
		same := err == nil && m.Content != nil && m.Content.SentAs(sent)
		if same && (found == nil || m.Seq < found.Seq) {
			found = &m
		}
		return !same, err
	}
	args := []any{int64(conversation), at.UnixMilli(), key}
	if err := r.session.query(selectMessageAt, args, compare); err != nil {
		return im.Message{}, err
	}
	args = []any{int64(conversation), int64(im.FirstID(at)), key, int64(im.FirstID(at.Add(time.Millisecond)))}
	if err := r.session.query(selectMessageMade, args, compare); err != nil {
		return im.Message{}, err
	}
	if found == nil {
		return im.Message{}, im.ErrNotFound
	}
	return *found, nil
}
