package handlers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// message returns a message as the contract writes it.
func message(m im.Message) api.Message {
	out := api.Message{
		ID:             m.ID.String(),
		ConversationID: m.Conversation.String(),
		Seq:            m.Seq,
		Sender:         api.UserID(m.Sender),
		SenderDevice:   optional(m.SenderDevice),
		ClientID:       optional(m.ClientID),
		Type:           api.MessageType(m.Type.String()),
		Receipt:        m.Receipt,
		State:          api.MessageState(m.State.String()),
		CreatedAt:      api.Time(m.CreatedAt),
	}
	if m.ReplyTo != 0 {
		out.ReplyTo = optional(m.ReplyTo.String())
	}
	out.ExpiresAt = timeOrNil(m.ExpiresAt)
	if b := m.Burn; b != nil {
		out.Burn = &api.Burn{AfterSeconds: seconds(b.After), UnreadTTLSeconds: seconds(b.UnreadTTL), BurnAt: timeOrNil(b.At)}
	}
	if e := m.Erased; e != nil {
		out.Erased = &api.Erased{
			At: api.Time(e.At), By: optional(string(e.By)), Postscript: optional(e.Postscript), Extension: e.Extension,
		}
	}
	if c := m.Content; c != nil {
		out.Body, out.Ext = c.Body, c.Ext
		mentions := userIDs(c.Mentions)
		out.Mentions = &mentions
		out.MentionAll = trueOrNil(c.MentionAll)
	}
	return out
}

// conversation returns a conversation as one of its members sees it.
func conversation(v im.ConversationView) api.Conversation {
	out := api.Conversation{
		ID:             v.ID.String(),
		Kind:           api.Kind(v.Kind.String()),
		Name:           v.Name,
		MemberCount:    v.MemberCount,
		Role:           roleOrNil(v.Me.Role),
		Unread:         v.Unread.Messages,
		UnreadMore:     v.Unread.More,
		UnreadMentions: v.Unread.Mentions,
		Pinned:         !v.Me.Mark.PinnedAt.IsZero(),
		Muted:          v.Me.Mark.Muted,
		Hidden:         v.Hidden,
		FirstSeq:       v.FirstSeq,
		MutedUntil:     timeOrNil(v.Me.MutedUntil),
		Creator:        optional(string(v.Creator)),
		SpaceID:        idOrNil(v.Space),
		ParentID:       idOrNil(v.Parent),
		RootID:         idOrNil(v.Root),
		Settings:       settings(v.Conversation),
		CreatedAt:      api.Time(v.CreatedAt),
		UpdatedAt:      api.Time(v.UpdatedAt),
	}
	if peer := v.Peer(v.Me.User); peer != "" {
		out.Peer = optional(string(peer))
	}
	switch v.Kind {
	case im.Channel:
		out.Visibility = pointer(api.Public)
		if v.Private {
			out.Visibility = pointer(api.Private)
		}
	case im.Thread:
		if out.LastActivityAt = timeOrNil(v.ActiveAt); !v.Later {
			out.MessageCount = &v.Messages
		}
	}
	if v.LastMessage != nil {
		last := message(*v.LastMessage)
		out.LastMessage = &last
	}
	return out
}

func member(m im.Membership) api.Member {
	return api.Member{
		User: api.UserID(m.User), Role: api.Role(m.Role.String()), JoinedAt: api.Time(m.JoinedAt),
		MutedUntil: timeOrNil(m.MutedUntil),
	}
}

// event returns an event as the contract writes it, under its cursor.
func event(e im.Event, cursor string) api.Event {
	out := api.Event{
		ID:          cursor,
		Type:        api.EventType(e.Type),
		At:          api.Time(e.At),
		Actor:       optional(string(e.Actor)),
		ActorDevice: optional(e.ActorDevice),
		User:        optional(string(e.User)),
	}
	if e.Conversation != e.Space { // a space is no conversation to clients
		out.ConversationID = idOrNil(e.Conversation)
	}
	out.SpaceID, out.ThreadID, out.RootID = idOrNil(e.Space), idOrNil(e.Thread), idOrNil(e.Root)
	out.Role, out.RoleID = roleOrNil(e.Role), idOrNil(e.RoleID)
	switch e.Type {
	case im.RoleCreated, im.RoleUpdated, im.RoleDeleted:
		out.RoleID = pointer(roleName(e.RoleID))
	}
	if a := e.Activity; a != nil {
		out.MessageCount, out.LastActivityAt = &a.Messages, timeOrNil(a.At)
	}
	if e.MessageID != 0 {
		out.MessageID = optional(e.MessageID.String())
		seq := e.Seq
		out.Seq = &seq
	}
	if e.Type == im.MessageCreated {
		out.Sender = optional(string(e.Actor))
	}
	if m := e.Message; m != nil {
		full := message(*m)
		out.Message, out.Mentions, out.MentionAll = &full, full.Mentions, full.MentionAll
		out.Sender = optional(string(m.Sender))
	}
	if len(e.Mentioned) > 0 {
		mentioned := userIDs(e.Mentioned)
		out.Mentions = &mentioned
	}
	if e.MentionedAll {
		out.MentionAll = &e.MentionedAll
	}
	if len(e.MessageIDs) > 0 {
		ids := make([]string, len(e.MessageIDs))
		for i, id := range e.MessageIDs {
			ids[i] = id.String()
		}
		out.MessageIds = &ids
	}
	if e.UpTo != 0 {
		out.UpTo = optional(e.UpTo.String())
	}
	out.UpToSeq, out.FirstSeq, out.Before = seqOrNil(e.UpToSeq), seqOrNil(e.FirstSeq), timeOrNil(e.Before)
	if n := e.Unread; n != nil {
		out.Unread, out.UnreadMore, out.UnreadMentions = &n.Messages, &n.More, &n.Mentions
	}
	if own := e.Own; own != nil {
		out.Pinned, out.Muted = &own.Pinned, &own.Muted
	}
	out.BurnAt, out.MutedUntil = timeOrNil(e.BurnAt), timeOrNil(e.MutedUntil)
	out.PushContent = optional(e.Push.Content)
	if e.Push.Payload != nil {
		out.PushPayload = &e.Push.Payload
	}
	return out
}

// EncodeEvent writes an event as JSON, for the stream.
func EncodeEvent(e im.Event, cursor string) ([]byte, error) {
	var b bytes.Buffer
	if err := plain(&b).Encode(event(e, cursor)); err != nil {
		return nil, fmt.Errorf("encode event %s: %w", e.Type, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// plain encodes JSON with <, > and & as they are: escaped, each takes six
// bytes.
func plain(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// optional returns nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// idOrNil returns nil for 0.
func idOrNil(id im.ID) *string {
	if id == 0 {
		return nil
	}
	return pointer(id.String())
}

// roleOrNil returns nil for 0, which is no role.
func roleOrNil(r im.Role) *api.Role {
	if r == 0 {
		return nil
	}
	return pointer(api.Role(r.String()))
}

// trueOrNil returns nil for false.
func trueOrNil(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}

// seqOrNil returns nil for 0.
func seqOrNil(seq int64) *int64 {
	if seq == 0 {
		return nil
	}
	return &seq
}

// timeOrNil returns nil for the zero time.
func timeOrNil(t time.Time) *api.Time {
	if t.IsZero() {
		return nil
	}
	out := api.Time(t)
	return &out
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func userIDs(users []im.UserID) []api.UserID {
	out := make([]api.UserID, len(users))
	for i, u := range users {
		out[i] = api.UserID(u)
	}
	return out
}

func domainUsers(users []api.UserID) []im.UserID {
	out := make([]im.UserID, len(users))
	for i, u := range users {
		out[i] = im.UserID(u)
	}
	return out
}

// each returns a list as clients see it, one by one.
func each[T, U any](list []T, as func(T) U) []U {
	out := make([]U, len(list))
	for i, v := range list {
		out[i] = as(v)
	}
	return out
}
