package presend

import (
	"time"

	"github.com/imapi/imapi/im"
)

// appendQuestion appends the body of a request, as PresendRequest of the OpenAPI document
// describes it. The sender's part of it is canonical JSON already.
func appendQuestion(buf []byte, q im.PresendQuestion) []byte {
	text := func(name, value string) {
		buf = append(append(append(buf, '"'), name...), `":`...)
		buf = im.AppendQuoted(buf, value)
	}
	textOrNull := func(name, value string) {
		if value == "" {
			buf = append(append(append(buf, '"'), name...), `":null`...)
		} else {
			text(name, value)
		}
	}
	idOrNull := func(name string, id im.ID) {
		if id == 0 {
			textOrNull(name, "")
		} else {
			text(name, id.String())
		}
	}
	buf = append(buf, `{"type":"message.presend",`...)
	text("timestamp", q.At.Format(time.RFC3339Nano))
	buf = append(buf, `,"data":{`...)
	text("sender", string(q.Sender))
	buf = append(buf, ',')
	textOrNull("sender_device", q.SenderDevice)
	buf = append(buf, ',')
	textOrNull("client_id", q.Draft.ClientID)
	buf = append(buf, `,"conversation":{`...)
	c := q.Conversation
	idOrNull("id", c.ID)
	buf = append(buf, ',')
	text("kind", c.Kind.String())
	buf = append(buf, ',')
	peer := im.UserID("")
	if c.Kind == im.Direct {
		peer = c.Peer(q.Sender)
	}
	textOrNull("peer", string(peer))
	buf = append(buf, ',')
	idOrNull("parent_id", c.Parent)
	buf = append(buf, ',')
	idOrNull("space_id", c.Space)
	buf = append(append(buf, `},"message":`...), q.Content.Sent...)
	return append(buf, `}}`...)
}
