package handlers

import (
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// appendConversation appends a conversation as one user sees it.
func appendConversation(buf []byte, v im.ConversationView) []byte {
	o := openObject(buf)
	o.id("id", v.ID)
	o.text("kind", v.Kind.String())
	o.text("name", v.Name)
	o.textIfSet("peer", string(v.Peer(v.Me.User())))
	o.idOrNull("space_id", v.Space)
	o.idOrNull("parent_id", v.Parent)
	o.idOrNull("root_id", v.Root)
	switch {
	case v.Kind != im.Channel:
		o.null("visibility")
	case v.Private:
		o.text("visibility", string(api.Private))
	default:
		o.text("visibility", string(api.Public))
	}
	o.textOrNull("creator", string(v.Creator))
	o.integer("member_count", int64(v.MemberCount))
	o.textOrNull("role", v.Me.Role().String())
	o.timeOrNull("muted_until", v.Me.MutedUntil())
	o.boolean("pinned", !v.Me.Mark().PinnedAt.IsZero())
	o.boolean("muted", v.Me.Mark().Muted)
	o.boolean("hidden", v.Hidden)
	o.integer("unread", int64(v.Unread.Messages))
	o.boolean("unread_more", v.Unread.More)
	o.integer("unread_mentions", int64(v.Unread.Mentions))
	o.integer("first_seq", v.FirstSeq)
	if v.Kind == im.Thread {
		o.timeOrNull("last_activity_at", v.ActiveAt)
	} else {
		o.null("last_activity_at")
	}
	if v.Kind == im.Thread && !v.Later {
		o.integer("message_count", v.Messages)
	} else {
		o.null("message_count")
	}
	if v.LastMessage != nil {
		o.object("last_message", func(o *jsonObject) { addMessage(o, v.LastMessage) })
	} else {
		o.null("last_message")
	}
	o.object("settings", func(o *jsonObject) { addSettings(o, v.Conversation) })
	o.time("created_at", v.CreatedAt)
	o.time("updated_at", v.UpdatedAt)
	return o.close()
}

// addSettings adds the settings of a conversation.
func addSettings(o *jsonObject, c im.Conversation) {
	o.text("history", c.History.String())
	o.integerOrNull("revoke_window_seconds", unitsOrNil(c.RevokeWindow, time.Second))
	o.integerOrNull("revoke_others_window_seconds", unitsOrNil(c.RevokeOthersWindow, time.Second))
	o.integerOrNull("expire_after_seconds", secondsOrNil(c.ExpireAfter))
	o.integerOrNull("retention_days", unitsOrNil(c.Retention, day))
	o.textOrNull("announcement", c.Announcement)
	o.textOrNull("avatar", c.Avatar)
	o.text("join", c.Join.String())
	o.text("invite", c.Invite.String())
	o.boolean("mute_all", c.MuteAll)
	o.integerOrNull("slow_mode_seconds", secondsOrNil(c.SlowMode))
}
