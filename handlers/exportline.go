package handlers

import (
	"encoding/json"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// A line of an export is that of an import without what goes without saying, so
// that there is one text for everything that is stored.

type exportedConversation struct {
	Conversation conversationAsItWas `json:"conversation"`
}

type conversationAsItWas struct {
	ID        string        `json:"id"`
	Kind      string        `json:"kind"`
	Name      string        `json:"name,omitempty"`
	Settings  settingsAsSet `json:"settings"`
	Members   []memberAsWas `json:"members"`
	CreatedAt api.Time      `json:"created_at"`
}

type settingsAsSet struct {
	History             string `json:"history"`
	RevokeWindowSeconds *int64 `json:"revoke_window_seconds,omitempty"`
	ExpireAfterSeconds  int64  `json:"expire_after_seconds,omitempty"`
	RetentionDays       *int64 `json:"retention_days,omitempty"`
}

type memberAsWas struct {
	User     im.UserID `json:"user"`
	Role     *string   `json:"role"`
	JoinedAt *api.Time `json:"joined_at,omitempty"`
	Stays    []stay    `json:"stays"`
}

type stay struct {
	FromSeq int64  `json:"from_seq"`
	ToSeq   *int64 `json:"to_seq,omitempty"`
}

type messageAsItWas struct {
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
	ReplyTo        string          `json:"reply_to,omitempty"`
	Receipt        bool            `json:"receipt,omitempty"`
	State          string          `json:"state,omitempty"`
	CreatedAt      api.Time        `json:"created_at"`
	ExpiresAt      *api.Time       `json:"expires_at,omitempty"`
	Burn           *burnAsItWas    `json:"burn,omitempty"`
	Erased         *erasedAsItWas  `json:"erased,omitempty"`
	VisibleTo      im.UserID       `json:"visible_to,omitempty"`
}

type burnAsItWas struct {
	AfterSeconds     int64     `json:"after_seconds"`
	UnreadTTLSeconds int64     `json:"unread_ttl_seconds"`
	BurnAt           *api.Time `json:"burn_at,omitempty"`
}

type erasedAsItWas struct {
	At         api.Time        `json:"at"`
	By         im.UserID       `json:"by,omitempty"`
	Postscript string          `json:"postscript,omitempty"`
	Extension  json.RawMessage `json:"extension,omitempty"`
}

// exportLine returns a line as the contract writes it.
func exportLine(l im.ExportLine) any {
	if l.Message != nil {
		return exportedMessage(*l.Message)
	}
	c := *l.Conversation
	s := settings(c)
	out := conversationAsItWas{
		ID: c.ID.String(), Kind: c.Kind.String(), Name: c.Name, CreatedAt: api.Time(c.CreatedAt),
		Settings: settingsAsSet{
			History: c.History.String(), RevokeWindowSeconds: s.RevokeWindowSeconds,
			ExpireAfterSeconds: value(s.ExpireAfterSeconds, 0), RetentionDays: s.RetentionDays,
		},
		Members: make([]memberAsWas, len(l.Members)),
	}
	for i, m := range l.Members {
		out.Members[i] = exportedMember(m)
	}
	return exportedConversation{out}
}

func exportedMember(m im.Membership) memberAsWas {
	out := memberAsWas{User: m.User, Stays: make([]stay, len(m.Intervals))}
	if m.Active() {
		out.Role, out.JoinedAt = optional(m.Role.String()), timeOrNil(m.JoinedAt)
	}
	for i, in := range m.Intervals {
		out.Stays[i].FromSeq = in.FromSeq
		if !in.Open() {
			out.Stays[i].ToSeq = &in.ToSeq
		}
	}
	return out
}

func exportedMessage(m im.Message) messageAsItWas {
	out := messageAsItWas{
		ID: m.ID.String(), ConversationID: m.Conversation.String(), Seq: m.Seq, Sender: m.Sender,
		SenderDevice: m.SenderDevice, ClientID: m.ClientID, Type: m.Type.String(), Receipt: m.Receipt,
		CreatedAt: api.Time(m.CreatedAt), ExpiresAt: timeOrNil(m.ExpiresAt), VisibleTo: m.VisibleTo,
	}
	if m.ReplyTo != 0 {
		out.ReplyTo = m.ReplyTo.String()
	}
	if b := m.Burn; b != nil {
		out.Burn = &burnAsItWas{seconds(b.After), seconds(b.UnreadTTL), timeOrNil(b.At)}
	}
	if c := m.Content; c != nil {
		out.Body, out.Mentions = c.Body, c.Mentions
		if string(c.Ext) != "{}" {
			out.Ext = c.Ext
		}
	}
	if e := m.Erased; e != nil {
		out.State = e.State.String()
		out.Erased = &erasedAsItWas{api.Time(e.At), e.By, e.Postscript, e.Extension}
	}
	return out
}
