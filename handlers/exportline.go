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
	History                   api.History      `json:"history"`
	RevokeWindowSeconds       *int64           `json:"revoke_window_seconds,omitempty"`
	RevokeOthersWindowSeconds *int64           `json:"revoke_others_window_seconds,omitempty"`
	ExpireAfterSeconds        *int64           `json:"expire_after_seconds,omitempty"`
	RetentionDays             *int64           `json:"retention_days,omitempty"`
	Announcement              *string          `json:"announcement,omitempty"`
	Avatar                    *string          `json:"avatar,omitempty"`
	Join                      api.JoinPolicy   `json:"join,omitempty"`
	Invite                    api.InvitePolicy `json:"invite,omitempty"`
	MuteAll                   bool             `json:"mute_all,omitempty"`
	SlowModeSeconds           *int64           `json:"slow_mode_seconds,omitempty"`
}

type memberAsWas struct {
	User     im.UserID `json:"user"`
	Role     *string   `json:"role"`
	JoinedAt *api.Time `json:"joined_at,omitempty"`
	Left     bool      `json:"left,omitempty"`
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
	MentionAll     bool            `json:"mention_all,omitempty"`
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
	out := conversationAsItWas{
		ID: c.ID.String(), Kind: c.Kind.String(), Name: c.Name, CreatedAt: api.Time(c.CreatedAt),
		Settings: exportedSettings(c),
		Members:  make([]memberAsWas, len(l.Members)),
	}
	for i, m := range l.Members {
		out.Members[i] = exportedMember(m)
	}
	return exportedConversation{out}
}

// exportedSettings leaves out what is as it is by default, and what the kind does
// not have, which an import would refuse.
func exportedSettings(c im.Conversation) settingsAsSet {
	s := settings(c)
	out := settingsAsSet{
		History: s.History, RevokeWindowSeconds: s.RevokeWindowSeconds,
		RevokeOthersWindowSeconds: s.RevokeOthersWindowSeconds, ExpireAfterSeconds: s.ExpireAfterSeconds,
		RetentionDays: s.RetentionDays, Announcement: s.Announcement, Avatar: s.Avatar, MuteAll: s.MuteAll,
		SlowModeSeconds: s.SlowModeSeconds,
	}
	if c.Kind == im.Group && c.Join != im.JoinClosed {
		out.Join = s.Join
	}
	if c.Kind == im.Group && c.Invite != im.InviteByAdmins {
		out.Invite = s.Invite
	}
	return out
}

func exportedMember(m im.Membership) memberAsWas {
	out := memberAsWas{User: m.User, Left: m.Left(), Stays: make([]stay, len(m.Intervals))}
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
		out.Body, out.Mentions, out.MentionAll = c.Body, c.Mentions, c.MentionAll
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
