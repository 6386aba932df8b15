package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

const messageColumns = `m.id, m.conversation_id, m.seq, m.sender_id, m.sender_device, m.client_id,
	m.type, m.state, m.reply_to, m.receipt, m.created_at, m.quiet, m.visible_to, m.expires_at,
	m.burn_after, m.burn_unread_ttl, m.burn_at,
	m.erased_at, m.erased_by, m.note_slot, m.note, m.slot, `

// messageColumnCount is the number of columns of a message, with its content.
const messageColumnCount = 24

// One of these completes the columns of a message: with its content, without it, or with content
// that is not large and a flag for large content. Lists use withSmallContent, because they hold all
// their rows in memory; they read large contents one by one.
const (
	withContent      = "m.sealed, 0"
	withoutContent   = "NULL, 0"
	withSmallContent = "CASE WHEN length(m.sealed) <= {inlined} THEN m.sealed END, coalesce(length(m.sealed) > {inlined}, 0)"
)

// inlined is the maximum number of bytes of sealed content that is not large.
const inlined = 4096

const (
	selectContent = "SELECT sealed FROM messages WHERE id = ?"
	selectMessage = "SELECT " + messageColumns + withContent + " FROM messages m " +
		"WHERE m.id = ?"
	selectMessageByClientID = "SELECT " + messageColumns + withContent + " FROM messages m " +
		"WHERE m.sender_id = ? AND m.client_id = ?"
	selectMessageAt = "SELECT " + messageColumns + withContent + " FROM messages m INDEXED BY messages_by_time " +
		"WHERE m.conversation_id = ?1 AND m.timed = 1 AND m.created_at = ?2 AND m.sender_id = ?3 AND m.state = {active} ORDER BY m.seq"
	selectMessageMade = "SELECT " + messageColumns + withContent + " FROM messages m " +
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
	clientID                                                sql.NullString
	sender                                                  int64
	visibleTo, by                                           sql.NullInt64
	replyTo, expires, burnAfter, burnUnread, burnAt, erased sql.NullInt64
	created                                                 int64
	note, sealed                                            []byte
	large                                                   bool
}

func newMessageRow() *messageRow {
	r := &messageRow{}
	r.columns = []any{
		&r.m.ID, &r.m.Conversation, &r.m.Seq, &r.sender, &r.m.SenderDevice, &r.clientID,
		&r.m.Type, &r.m.State, &r.replyTo, &r.m.Receipt, &r.created, &r.m.Quiet, &r.visibleTo, &r.expires,
		&r.burnAfter, &r.burnUnread, &r.burnAt,
		&r.erased, &r.by, &r.noteSlot, &r.note, &r.slot, &r.sealed, &r.large,
	}
	return r
}

// scanMessage reads a message, and the columns after its own into the variables that also points
// to.
func (r *reader) scanMessage(rows row, also ...any) (im.Message, error) {
	row, err := r.scanColumns(rows, also...)
	if err != nil {
		return row.m, err
	}
	return r.readMessage(row)
}

// scanColumns reads the columns of a message, and further ones. The row is valid until the
// next one is read.
func (r *reader) scanColumns(rows row, also ...any) (*messageRow, error) {
	if r.row == nil {
		r.row = newMessageRow()
	}
	*r.row = messageRow{columns: r.row.columns}
	columns := r.row.columns
	if len(also) > 0 {
		columns = append(slices.Clip(columns), also...)
	}
	return r.row, rows.Scan(columns...)
}

// readMessage returns the message of a row, with its content unsealed. If the key was shredded, the
// message is a tombstone. If the content is damaged, the error wraps errContent.
func (r *reader) readMessage(row *messageRow) (m im.Message, err error) {
	m = row.m
	if err := r.readUsers(row, &m); err != nil {
		return m, err
	}
	m.ClientID, m.ReplyTo, m.CreatedAt = row.clientID.String, im.ID(row.replyTo.Int64), fromMillis(row.created)
	m.ExpiresAt = optionalTime(row.expires)
	if row.burnAfter.Valid {
		m.Burn = &im.Burn{After: fromDuration(row.burnAfter), UnreadTTL: fromDuration(row.burnUnread), At: optionalTime(row.burnAt)}
	}
	if m.State != im.Active {
		if err := r.readNote(row.noteSlot.Int64, row.note, m.Erased); err != nil {
			return m, fmt.Errorf("message %v: %w", m.ID, err)
		}
	}
	sealed := row.sealed
	if row.large {
		if sealed, err = r.largeContent(m.ID); err != nil {
			return m, err
		}
	}
	if sealed == nil {
		return m, nil
	}
	data, err := r.unseal(row.slot.Int64, sealed)
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

// readUsers looks up the users in a message, and adds its erasure.
func (r *reader) readUsers(row *messageRow, m *im.Message) (err error) {
	if m.Sender, err = r.userName(row.sender); err != nil {
		return err
	}
	if m.VisibleTo, err = r.userName(row.visibleTo.Int64); err != nil || m.State == im.Active {
		return err
	}
	m.Erased = &im.Erasure{State: m.State, At: optionalTime(row.erased)}
	m.Erased.By, err = r.userName(row.by.Int64)
	return err
}

// showMessage is scanMessage for pages and lookups. A message with damaged content must not make
// the others on its page unreadable: in a read it is a tombstone, like one whose key is lost. In a
// write it is active without content, so that it can be erased. The damage is logged.
func (r *reader) showMessage(rows row) (im.Message, error) {
	m, err := r.scanMessage(rows)
	if !errors.Is(err, errContent) {
		return m, err
	}
	r.session.logger.Error("content of a message cannot be read", "message_id", m.ID)
	if r.interned != nil {
		m.Content = &im.Content{}
		return m, nil
	}
	return m.Shredded(im.ShredExpired), nil
}

// largeContent returns the sealed content of a message that a list has left out.
func (r *reader) largeContent(id im.ID) (sealed []byte, err error) {
	_, err = r.session.row(selectContent, []any{int64(id)}, &sealed)
	return sealed, err
}

func (r *reader) message(query string, args ...any) (m im.Message, err error) {
	found := false
	err = r.session.query(query, args, func(rows row) (bool, error) {
		found = true
		m, err = r.showMessage(rows)
		return false, err
	})
	if err == nil && !found {
		err = im.ErrNotFound
	}
	return m, err
}

func (r *reader) messages(query string, args ...any) (list []im.Message, err error) {
	err = r.session.query(query, args, func(rows row) (bool, error) {
		m, err := r.showMessage(rows)
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

// MessageAt returns the active message of a sender in a conversation with this time and content. Of
// several, it returns the one with the lowest seq.
func (r *reader) MessageAt(conversation im.ID, sender im.UserID, at time.Time, sent []byte) (im.Message, error) {
	key, err := r.userKey(sender)
	if err != nil {
		return im.Message{}, err
	}
	if key == 0 {
		return im.Message{}, im.ErrNotFound
	}
	var found *im.Message // the one with the lowest seq, timed or not
	compare := func(rows row) (bool, error) {
		m, err := r.showMessage(rows)
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
