package handlers

import "github.com/imapi/imapi/im"

// appendMessage appends a message as the OpenAPI document describes it. Body and ext are
// stored as canonical JSON and copied as they are.
func appendMessage(buf []byte, m im.Message) []byte {
	o := openObject(buf)
	addMessage(&o, &m)
	return o.close()
}

// addMessage adds the members of a message to an object.
func addMessage(o *jsonObject, m *im.Message) {
	o.id("id", m.ID)
	o.id("conversation_id", m.Conversation)
	o.integer("seq", m.Seq)
	o.text("sender", string(m.Sender))
	o.textOrNull("sender_device", m.SenderDevice)
	o.textOrNull("client_id", m.ClientID)
	o.text("type", m.Type.String())
	if c := m.Content; c != nil {
		o.raw("body", c.Body)
		o.raw("ext", c.Ext)
		o.users("mentions", c.Mentions)
		o.trueIfSet("mention_all", c.MentionAll)
	} else {
		o.null("body")
		o.null("ext")
		o.null("mentions")
	}
	o.idOrNull("reply_to", m.ReplyTo)
	o.boolean("receipt", m.Receipt)
	o.text("state", m.State.String())
	o.time("created_at", m.CreatedAt)
	o.timeOrNull("expires_at", m.ExpiresAt)
	if b := m.Burn; b != nil {
		o.object("burn", func(o *jsonObject) {
			o.integer("after_seconds", seconds(b.After))
			o.integer("unread_ttl_seconds", seconds(b.UnreadTTL))
			o.timeOrNull("burn_at", b.At)
		})
	} else {
		o.null("burn")
	}
	if e := m.Erased; e != nil {
		o.object("erased", func(o *jsonObject) {
			o.time("at", e.At)
			o.textOrNull("by", string(e.By))
			o.textOrNull("postscript", e.Postscript)
			o.raw("extension", e.Extension)
		})
	} else {
		o.null("erased")
	}
}

// appendHit appends a message that a search has found, with the text around the match.
func appendHit(buf []byte, hit im.SearchHit) []byte {
	o := openObject(buf)
	addMessage(&o, &hit.Message)
	addList(&o, "snippet", hit.Snippet, func(buf []byte, part im.SnippetPart) []byte {
		o := openObject(buf)
		o.text("text", part.Text)
		o.boolean("match", part.Match)
		return o.close()
	})
	return o.close()
}
