package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/imapi/imapi/client"
)

// maxShown is the number of bytes of a text that a line shows.
const maxShown = 2000

// clean puts a text on one line and cuts it off after about maxShown bytes. It escapes characters
// that control the terminal or the text direction, because messages are written by others.
func clean(text string) string {
	var b strings.Builder
	for i, r := range text {
		if b.Len() > maxShown {
			b.WriteString("…")
			break
		}
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				fmt.Fprintf(&b, `\x%02x`, text[i])
			} else {
				b.WriteRune(r)
			}
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// clockText returns a time in the local time zone, without the date if that is today.
func clockText(t, now time.Time) string {
	t = t.In(now.Location())
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// bodyText returns the content of a message.
func bodyText(m client.Message) string {
	switch m.Type {
	case client.MessageTypeText:
		var body client.TextBody
		if json.Unmarshal(m.Body, &body) == nil {
			return clean(body.Text)
		}
	case client.MessageTypeImage, client.MessageTypeAudio, client.MessageTypeVideo, client.MessageTypeFile:
		var body client.AttachmentBody
		if json.Unmarshal(m.Body, &body) == nil {
			name := ""
			if body.Name != nil && *body.Name != "" {
				name = " " + clean(*body.Name)
			}
			return fmt.Sprintf("[%s%s, attachment %s]", m.Type, name, clean(body.AttachmentID))
		}
	case client.MessageTypeLocation:
		var body client.LocationBody
		if json.Unmarshal(m.Body, &body) == nil {
			address := ""
			if body.Address != nil {
				address = " " + clean(*body.Address)
			}
			return fmt.Sprintf("[location %g, %g%s]", body.Latitude, body.Longitude, address)
		}
	case client.MessageTypeCustom: // shown as it is
	}
	return fmt.Sprintf("[%s %s]", m.Type, clean(string(m.Body)))
}

// messageText returns a message as part of a line: its seq, its sender and its content, or, for a
// tombstone, its state, who erased it if that was not the sender, and the postscript.
func messageText(m client.Message) string {
	said := fmt.Sprintf("#%d %s: ", m.Seq, clean(m.Sender))
	if m.State == client.MessageStateActive {
		return said + bodyText(m)
	}
	said += "[" + string(m.State)
	if m.Erased != nil {
		if m.Erased.By != nil && *m.Erased.By != m.Sender {
			said += " by " + clean(*m.Erased.By)
		}
		if m.Erased.Postscript != nil {
			said += ": " + clean(*m.Erased.Postscript)
		}
	}
	return said + "]"
}

// eventText returns an event, given in JSON, as one line: its time, its type and its content. Of an
// event with a message it shows the message, and of any other every field, so it works for types
// that it does not know.
func eventText(raw []byte, now time.Time) (string, error) {
	var e client.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return "", fmt.Errorf("decode an event: %w", err)
	}
	line := clockText(e.At, now) + "  " + fmt.Sprintf("%-20s", clean(string(e.Type)))
	if m := e.Message; m != nil {
		return line + "  " + clean(m.ConversationID) + " " + messageText(*m), nil
	}
	fields, err := fieldsText(raw, "id", "type", "at", "message")
	if err != nil {
		return "", err
	}
	return strings.TrimRight(line+"  "+fields, " "), nil
}

// fieldsText returns the members of a JSON object as name=value, in their order, except some.
func fieldsText(raw []byte, without ...string) (string, error) {
	in := json.NewDecoder(bytes.NewReader(raw))
	if _, err := in.Token(); err != nil {
		return "", fmt.Errorf("decode an event: %w", err)
	}
	var parts []string
next:
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return "", fmt.Errorf("decode an event: %w", err)
		}
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return "", fmt.Errorf("decode an event: %w", err)
		}
		for _, w := range without {
			if name == w {
				continue next
			}
		}
		text := string(value)
		var s string
		if json.Unmarshal(value, &s) == nil && text != "null" {
			if text = clean(s); text == "" || strings.ContainsAny(text, ` ="`) {
				text = `"` + text + `"`
			}
		} else {
			text = clean(text)
		}
		parts = append(parts, fmt.Sprintf("%s=%s", clean(fmt.Sprint(name)), text))
	}
	return strings.Join(parts, " "), nil
}
