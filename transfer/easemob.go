package transfer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/imapi/imapi/im"
)

// Easemob converts chat history in Easemob's export format, one message per line.
type Easemob struct {
	conversations map[string]string // by the id of the group or chat room at Easemob
}

// NewEasemob returns a converter. conversations has a line for each group or chat room:
// its id at Easemob and the id of its conversation here, separated by white space.
func NewEasemob(conversations io.Reader) (*Easemob, error) {
	e := &Easemob{conversations: map[string]string{}}
	lines := bufio.NewScanner(conversations)
	for number := 1; lines.Scan(); number++ {
		switch fields := strings.Fields(lines.Text()); len(fields) {
		case 0:
		case 2:
			e.conversations[fields[0]] = fields[1]
		default:
			return nil, fmt.Errorf("line %d: must be the id of a group and the id of its conversation here", number)
		}
	}
	return e, lines.Err()
}

// easemobMessage is a line of Easemob's export.
type easemobMessage struct {
	ID        easemobText `json:"msg_id"`
	Timestamp easemobText `json:"timestamp"`
	From      easemobText `json:"from"`
	To        easemobText `json:"to"`
	ChatType  string      `json:"chat_type"`
	Payload   struct {
		Bodies []map[string]json.RawMessage `json:"bodies"`
		Ext    json.RawMessage              `json:"ext"`
	} `json:"payload"`
}

// easemobText is a string that some exports write as a number.
type easemobText string

// UnmarshalJSON reads a string or a number.
func (t *easemobText) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		err := json.Unmarshal(b, &s)
		*t = easemobText(s)
		return err
	}
	var n json.Number
	err := json.Unmarshal(b, &n)
	*t = easemobText(n)
	return err
}

// easemobLine is a line of an import, made of an Easemob message.
type easemobLine struct {
	Conversation string          `json:"conversation_id"`
	Sender       string          `json:"sender"`
	ClientID     string          `json:"client_id"`
	Type         string          `json:"type"`
	Body         any             `json:"body"`
	Ext          json.RawMessage `json:"ext,omitempty"`
	CreatedAt    string          `json:"created_at"`
}

// Convert converts a line into lines of an import, one for each body of the message.
// Commands are left out, because imapi does not store them; skipped then gives this reason. The
// error says what is wrong with the line and does not quote content.
func (e *Easemob) Convert(line []byte) (lines [][]byte, skipped string, err error) {
	var m easemobMessage
	if err := json.Unmarshal(line, &m); err != nil {
		return nil, "", errors.New("is not a message of Easemob's export") // the cause may quote content
	}
	to, err := e.head(m)
	if err != nil {
		return nil, "", err
	}
	for i, b := range m.Payload.Bodies {
		var kind string
		if json.Unmarshal(b["type"], &kind) != nil {
			return nil, "", fmt.Errorf("payload/bodies/%d/type is missing", i)
		}
		if kind == "cmd" {
			skipped = "a command, which is not stored"
			continue
		}
		to.ClientID = "easemob:" + string(m.ID)
		if i > 0 {
			to.ClientID += ":" + strconv.Itoa(i+1)
		}
		if to.Type, to.Body, err = easemobBody(kind, b); err != nil {
			return nil, "", fmt.Errorf("payload/bodies/%d: %w", i, err)
		}
		out, err := json.Marshal(to)
		if err != nil {
			return nil, "", errors.New("payload cannot be converted")
		}
		lines = append(lines, out)
	}
	if len(m.Payload.Bodies) == 0 {
		return nil, "", errors.New("payload/bodies is missing or empty")
	}
	return lines, skipped, nil
}

// head returns the members that the lines of all bodies have in common.
func (e *Easemob) head(m easemobMessage) (easemobLine, error) {
	to := easemobLine{Sender: string(m.From)}
	ms, err := strconv.ParseInt(string(m.Timestamp), 10, 64)
	switch {
	case m.ID == "":
		return to, errors.New("msg_id is missing")
	case err != nil || ms <= 0 || ms > 1<<42:
		return to, errors.New("timestamp is missing or not in milliseconds since 1970")
	case m.From == "":
		return to, errors.New("from is missing")
	case m.To == "":
		return to, errors.New("to is missing")
	}
	to.CreatedAt = time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
	switch m.ChatType {
	case "chat":
		to.Conversation = "@" + string(m.To)
	case "groupchat", "chatroom", "chatgroup":
		to.Conversation = string(m.To)
		if here, known := e.conversations[to.Conversation]; known {
			to.Conversation = here
		} else if _, ours := im.ParseID(to.Conversation); !ours {
			return to, fmt.Errorf("group %q has no conversation here: add it to the file of --conversations", clipped(to.Conversation))
		}
	default:
		return to, errors.New("chat_type is missing or unknown")
	}
	if ext := string(m.Payload.Ext); ext != "" && ext != "null" && ext != "{}" {
		to.Ext = m.Payload.Ext
	}
	return to, nil
}

// easemobBody converts one body into the type and body of a message. A kind without a
// counterpart here becomes a custom message with all members of the body but its type.
func easemobBody(kind string, b map[string]json.RawMessage) (string, any, error) {
	switch kind {
	case "txt":
		if len(b["msg"]) == 0 {
			return "", nil, errors.New("msg is missing")
		}
		return im.Text.String(), map[string]json.RawMessage{"text": b["msg"]}, nil
	case "loc":
		body := map[string]json.RawMessage{}
		for ours, theirs := range map[string]string{"latitude": "lat", "longitude": "lng"} {
			var n easemobText
			if len(b[theirs]) == 0 || json.Unmarshal(b[theirs], &n) != nil || !json.Valid([]byte(n)) {
				return "", nil, fmt.Errorf("%s is missing or not a number", theirs)
			}
			body[ours] = json.RawMessage(n)
		}
		if addr := b["addr"]; len(addr) > 0 && string(addr) != "null" {
			body["address"] = addr
		}
		return im.Location.String(), body, nil
	case "custom":
		var name string
		if json.Unmarshal(b["customEvent"], &name) != nil || name == "" {
			name = "easemob.custom"
		}
		data := b["customExts"]
		if len(data) == 0 {
			data = b["v2:customExts"]
		}
		body := map[string]any{"name": name}
		if len(data) > 0 {
			body["data"] = data
		}
		return im.Custom.String(), body, nil
	case "":
		return "", nil, errors.New("type is empty")
	default:
		data := make(map[string]json.RawMessage, len(b))
		for name, v := range b {
			if name != "type" {
				data[name] = v
			}
		}
		return im.Custom.String(), map[string]any{"name": "easemob." + kind, "data": data}, nil
	}
}

// clipped returns s, shortened to 64 bytes for an error message.
func clipped(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
