package handlers

import (
	"cmp"
	"slices"

	"github.com/imapi/imapi/im"
)

// AppendEvent appends the JSON of an event to buf. cursor is its id.
func AppendEvent(buf []byte, e *im.Event, cursor string) []byte {
	size := 512 // an event and names of usual length
	if m := e.Message; m != nil {
		size += 512
		if m.Content != nil {
			size += len(m.Content.Sent)
		}
	}
	o := openObject(slices.Grow(buf, size))
	o.text("id", cursor)
	o.text("type", string(e.Type))
	o.time("at", e.At)
	if e.Conversation != e.Space { // to clients a space is not a conversation
		o.idIfSet("conversation_id", e.Conversation)
	}
	o.idIfSet("space_id", e.Space)
	o.idIfSet("thread_id", e.Thread)
	o.idIfSet("root_id", e.Root)
	o.textIfSet("actor", string(e.Actor))
	o.textIfSet("actor_device", e.ActorDevice)
	o.textIfSet("user", string(e.User))
	if e.Role != 0 {
		o.text("role", e.Role.String())
	}
	switch e.Type {
	case im.RoleCreated, im.RoleUpdated, im.RoleDeleted:
		o.text("role_id", roleName(e.RoleID))
	default:
		o.idIfSet("role_id", e.RoleID)
	}
	addEventMessages(&o, e)
	if a := e.Activity; a != nil {
		o.integer("message_count", a.Messages)
		o.timeIfSet("last_activity_at", a.At)
	}
	if n := e.Unread; n != nil {
		o.integer("unread", int64(n.Messages))
		o.boolean("unread_more", n.More)
		o.integer("unread_mentions", int64(n.Mentions))
	}
	if own := e.Own; own != nil {
		o.boolean("pinned", own.Pinned)
		o.boolean("muted", own.Muted)
	}
	o.timeIfSet("muted_until", e.MutedUntil)
	o.textIfSet("push_content", e.Push.Content)
	if e.Push.Payload != nil {
		o.raw("push_payload", e.Push.Payload)
	}
	return o.close()
}

// addEventMessages adds the members of an event that are about messages.
func addEventMessages(o *jsonObject, e *im.Event) {
	if e.MessageID != 0 {
		o.id("message_id", e.MessageID)
		o.integer("seq", e.Seq)
	}
	sender, mentions, mentionAll := im.UserID(""), e.Mentioned, e.MentionedAll
	if e.Type == im.MessageCreated {
		sender = e.Actor
	}
	if m := e.Message; m != nil {
		sender = cmp.Or(m.Sender, sender)
		if m.Content != nil {
			mentionAll = mentionAll || m.Content.MentionAll
		}
	}
	o.textIfSet("sender", string(sender))
	switch {
	case len(mentions) > 0:
		o.users("mentions", mentions)
	case e.Message != nil && e.Message.Content != nil:
		o.users("mentions", e.Message.Content.Mentions)
	}
	o.trueIfSet("mention_all", mentionAll)
	if len(e.MessageIDs) > 0 {
		addList(o, "message_ids", e.MessageIDs, appendID)
	}
	o.idIfSet("up_to", e.UpTo)
	o.integerIfSet("up_to_seq", e.UpToSeq)
	o.integerIfSet("first_seq", e.FirstSeq)
	o.timeIfSet("before", e.Before)
	o.timeIfSet("burn_at", e.BurnAt)
	if e.Message != nil {
		o.object("message", func(o *jsonObject) { addMessage(o, e.Message) })
	}
}
