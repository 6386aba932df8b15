package transfer

import (
	"encoding/json"
	"io"
	"time"

	"github.com/imapi/imapi/im"
)

// Encoder writes the lines of an export. Each can be parsed by [ParseLine]. It omits members that
// have their defaults, so that equal states have equal texts.
type Encoder struct{ json *json.Encoder }

// NewEncoder returns an encoder that writes to w.
func NewEncoder(w io.Writer) *Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // an escape takes six bytes
	return &Encoder{e}
}

// Encode writes a line with its newline. It returns the error of the writer.
func (e *Encoder) Encode(l im.ExportLine) error {
	if l.Message != nil {
		return e.json.Encode(messageLine(*l.Message))
	}
	return e.json.Encode(conversationLine{conversationOf(*l.Conversation, l.Members)})
}

type conversationLine struct {
	Conversation conversation `json:"conversation"`
}

type conversation struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name,omitempty"`
	Settings  settings  `json:"settings"`
	Members   []member  `json:"members"`
	CreatedAt timestamp `json:"created_at"`
}

type settings struct {
	History                   string `json:"history"`
	RevokeWindowSeconds       *int64 `json:"revoke_window_seconds,omitempty"`
	RevokeOthersWindowSeconds *int64 `json:"revoke_others_window_seconds,omitempty"`
	ExpireAfterSeconds        int64  `json:"expire_after_seconds,omitempty"`
	RetentionDays             *int64 `json:"retention_days,omitempty"`
	Announcement              string `json:"announcement,omitempty"`
	Avatar                    string `json:"avatar,omitempty"`
	Join                      string `json:"join,omitempty"`
	Invite                    string `json:"invite,omitempty"`
	MuteAll                   bool   `json:"mute_all,omitempty"`
	SlowModeSeconds           int64  `json:"slow_mode_seconds,omitempty"`
}

type member struct {
	User     im.UserID `json:"user"`
	Role     *string   `json:"role"` // null for a former member
	JoinedAt timestamp `json:"joined_at,omitzero"`
	Left     bool      `json:"left,omitempty"`
	Stays    []stay    `json:"stays"`
}

type stay struct {
	FromSeq int64  `json:"from_seq"`
	ToSeq   *int64 `json:"to_seq,omitempty"` // missing while it lasts
}

type message struct {
	ID             string          `json:"id"`
	ConversationID string          `json:"conversation_id"`
	Seq            int64           `json:"seq"`
	Sender         im.UserID       `json:"sender"`
	SenderDevice   string          `json:"sender_device,omitempty"`
	ClientID       string          `json:"client_id,omitempty"`
	Type           string          `json:"type"`
	Body           json.RawMessage `json:"body,omitempty"`
	Ext            json.RawMessage `json:"ext,omitempty"`
	Mentions       []im.UserID     `json:"mentions,omitempty"`
	MentionAll     bool            `json:"mention_all,omitempty"`
	ReplyTo        string          `json:"reply_to,omitempty"`
	Receipt        bool            `json:"receipt,omitempty"`
	State          string          `json:"state,omitempty"`
	CreatedAt      timestamp       `json:"created_at"`
	ExpiresAt      timestamp       `json:"expires_at,omitzero"`
	Burn           *burn           `json:"burn,omitempty"`
	Erased         *erased         `json:"erased,omitempty"`
	VisibleTo      im.UserID       `json:"visible_to,omitempty"`
}

type burn struct {
	AfterSeconds     int64     `json:"after_seconds"`
	UnreadTTLSeconds int64     `json:"unread_ttl_seconds"`
	BurnAt           timestamp `json:"burn_at,omitzero"`
}

type erased struct {
	At         timestamp       `json:"at"`
	By         im.UserID       `json:"by,omitempty"`
	Postscript string          `json:"postscript,omitempty"`
	Extension  json.RawMessage `json:"extension,omitempty"`
}

// timestamp is a time that is written in RFC 3339, in UTC and with milliseconds.
type timestamp struct{ time.Time }

// MarshalJSON implements [json.Marshaler].
func (t timestamp) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

func conversationOf(c im.Conversation, members []im.Membership) conversation {
	out := conversation{
		ID: c.ID.String(), Kind: c.Kind.String(), Name: c.Name, CreatedAt: timestamp{c.CreatedAt},
		Settings: settingsOf(c),
		Members:  make([]member, len(members)),
	}
	for i, m := range members {
		out.Members[i] = memberOf(m)
	}
	return out
}

// settingsOf leaves out defaults, except that of history, and settings that this kind of
// conversation does not have: an import would refuse the latter.
func settingsOf(c im.Conversation) settings {
	out := settings{
		History: c.History.String(), ExpireAfterSeconds: seconds(c.ExpireAfter), RetentionDays: inUnits(c.Retention, day),
	}
	if c.Kind == im.Direct {
		return out
	}
	out.RevokeWindowSeconds = inUnits(c.RevokeWindow, time.Second)
	out.RevokeOthersWindowSeconds = inUnits(c.RevokeOthersWindow, time.Second)
	out.Announcement, out.Avatar = c.Announcement, c.Avatar
	out.MuteAll, out.SlowModeSeconds = c.MuteAll, seconds(c.SlowMode)
	if c.Kind == im.Group && c.Join != im.JoinClosed {
		out.Join = c.Join.String()
	}
	if c.Kind == im.Group && c.Invite != im.InviteByAdmins {
		out.Invite = c.Invite.String()
	}
	return out
}

func memberOf(m im.Membership) member {
	out := member{User: m.User, Left: m.Left(), Stays: make([]stay, len(m.Intervals))}
	if m.Active() {
		role := m.Role.String()
		out.Role, out.JoinedAt = &role, timestamp{m.JoinedAt}
	}
	for i, in := range m.Intervals {
		out.Stays[i].FromSeq = in.FromSeq
		if !in.Open() {
			out.Stays[i].ToSeq = &in.ToSeq
		}
	}
	return out
}

func messageLine(m im.Message) message {
	out := message{
		ID: m.ID.String(), ConversationID: m.Conversation.String(), Seq: m.Seq, Sender: m.Sender,
		SenderDevice: m.SenderDevice, ClientID: m.ClientID, Type: m.Type.String(), Receipt: m.Receipt,
		CreatedAt: timestamp{m.CreatedAt}, ExpiresAt: timestamp{m.ExpiresAt}, VisibleTo: m.VisibleTo,
	}
	if m.ReplyTo != 0 {
		out.ReplyTo = m.ReplyTo.String()
	}
	if b := m.Burn; b != nil {
		out.Burn = &burn{seconds(b.After), seconds(b.UnreadTTL), timestamp{b.At}}
	}
	if c := m.Content; c != nil {
		out.Body, out.Mentions, out.MentionAll = c.Body, c.Mentions, c.MentionAll
		if string(c.Ext) != "{}" {
			out.Ext = c.Ext
		}
	}
	if e := m.Erased; e != nil {
		out.State = e.State.String()
		out.Erased = &erased{timestamp{e.At}, e.By, e.Postscript, e.Extension}
	}
	return out
}

// inUnits returns nil for nil.
func inUnits(d *time.Duration, unit time.Duration) *int64 {
	if d == nil {
		return nil
	}
	n := int64(*d / unit)
	return &n
}

const day = 24 * time.Hour

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func duration(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }
