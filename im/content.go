package im

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Draft is a message as its sender wrote it, before it has an id and a seq.
type Draft struct {
	ClientID string
	// Type is 0 for a command, which [Service.Command] sends.
	Type MessageType
	// Body and Ext are JSON objects as they were sent; Ext may be empty.
	Body     json.RawMessage
	Ext      json.RawMessage
	Mentions []UserID
	// MentionAll mentions everyone.
	MentionAll bool
	ReplyTo    string
	Receipt    bool
	Push       json.RawMessage
	// Burn is nil for a message that does not burn. Its At is ignored.
	Burn *Burn
	// ExpireAfter is the time from sending until the message expires; 0 leaves that to the
	// conversation.
	ExpireAfter time.Duration
	// VisibleTo is the only member who can see it, "" for all. Only an inserted message may
	// have one.
	VisibleTo UserID
	// Canonical promises that Body, Ext and Push, if set, are valid and canonical JSON, so that
	// Content copies them without reading them again.
	Canonical bool

	// original is [Content.Original] of a rewritten message.
	original string
	// admin is the admin who sends the message as another user, "" if its sender does.
	admin UserID
}

// MaxClientID is the maximum length of a client_id, in bytes.
const MaxClientID = 128

// MaxMentions is the maximum number of users that a message may mention.
const MaxMentions = 200

// The limits of timers. A burn may wait 7 days, as in the systems that imapi replaces. To
// keep messages for more than a year, use retention.
const (
	MaxBurnAfter     = 7 * 24 * time.Hour
	DefaultUnreadTTL = 7 * 24 * time.Hour
	MaxUnreadTTL     = 30 * 24 * time.Hour
	MaxExpireAfter   = 365 * 24 * time.Hour
)

// checkTimers checks the burn and expiry timers of a draft.
func (d Draft) checkTimers() error {
	if b := d.Burn; b != nil {
		if b.After < 0 || b.After > MaxBurnAfter {
			return RefuseField(Invalid, "invalid_request", "burn/after_seconds", "must be 0 to %d", int(MaxBurnAfter.Seconds()))
		}
		if b.UnreadTTL < time.Second || b.UnreadTTL > MaxUnreadTTL {
			return RefuseField(Invalid, "invalid_request", "burn/unread_ttl_seconds", "must be 1 to %d", int(MaxUnreadTTL.Seconds()))
		}
	}
	if d.ExpireAfter < 0 || d.ExpireAfter > MaxExpireAfter {
		return RefuseField(Invalid, "invalid_request", "expire_after_seconds", "must be 1 to %d", int(MaxExpireAfter.Seconds()))
	}
	return nil
}

// checkClientID refuses a malformed client_id. "" is none.
func checkClientID(id string) error {
	if id != "" && !printable(id, MaxClientID) {
		return RefuseField(Invalid, "invalid_request", "client_id", "must be 1 to %d printable ASCII characters", MaxClientID)
	}
	return nil
}

// Content checks a draft by itself, independent of sender and conversation, and returns its
// stored form. maxBytes bounds body and ext together, and push by itself, as canonical JSON, and
// the user ids of the mentions together.
func (d Draft) Content(maxBytes int) (*Content, error) {
	if err := checkClientID(d.ClientID); err != nil {
		return nil, err
	}
	if len(d.Mentions) > MaxMentions {
		return nil, RefuseField(Invalid, "invalid_request", "mentions", "at most %d users", MaxMentions)
	}
	seen, size := make(map[UserID]bool, len(d.Mentions)), 0
	for i, u := range d.Mentions {
		field := fmt.Sprintf("mentions/%d", i)
		if !u.Valid() {
			return nil, RefuseField(Invalid, "invalid_request", field, "is not a user id: "+UserIDRule)
		}
		if seen[u] {
			return nil, RefuseField(Invalid, "invalid_request", field, "is given twice")
		}
		seen[u] = true
		size += len(u)
	}
	if size > maxBytes {
		return nil, RefuseField(TooLarge, "message_too_large", "mentions", "are %d bytes together, over the limit of %d", size, maxBytes)
	}
	if err := d.checkTimers(); err != nil {
		return nil, err
	}
	if err := d.checkSize(maxBytes); err != nil {
		return nil, err
	}
	return d.stored()
}

// checkSize is CheckSize for a draft that may be malformed. Canonical JSON is at most twice as long
// as its source if that is UTF-8, as callers have checked, so a short draft need not be measured.
func (d Draft) checkSize(maxBytes int) error {
	if 2*(len(d.Body)+max(len(d.Ext), len("{}"))) <= maxBytes && 2*len(d.Push) <= maxBytes {
		return nil
	}
	if d.Canonical {
		return CheckSize(len(d.Body), len(d.Ext), len(d.Push), maxBytes)
	}
	if json.Valid(d.Body) && (len(d.Ext) == 0 || json.Valid(d.Ext)) && (len(d.Push) == 0 || json.Valid(d.Push)) {
		return CheckSize(CanonicalSize(d.Body), CanonicalSize(d.Ext), CanonicalSize(d.Push), maxBytes)
	}
	return nil
}

// stored returns the stored form of a draft: canonical JSON of the request, without its client_id.
// If the pre-send hook rewrote the message, the form includes the fingerprint of the original
// request. Equal drafts have equal stored forms.
func (d Draft) stored() (*Content, error) {
	c := &Content{Ext: json.RawMessage("{}"), Mentions: d.Mentions, MentionAll: d.MentionAll}
	out := make([]byte, 0, 128+len(d.Body)+len(d.Ext)+len(d.Push)+32*len(d.Mentions))
	var err error
	object := func(name string, raw json.RawMessage) (from int) {
		out = append(out, name...)
		from = len(out)
		if err == nil {
			out, err = appendCanonicalObject(out, name[2:len(name)-2], raw, d.Canonical)
		}
		return from
	}
	from := object(`{"body":`, d.Body)
	bodyEnd := len(out)
	if err == nil {
		err = checkBody(d.Type, out[from:])
	}
	if err != nil {
		return nil, err
	}
	bodyFrom := from
	if b := d.Burn; b != nil {
		out = strconv.AppendInt(append(out, `,"burn":{"after_seconds":`...), int64(b.After/time.Second), 10)
		out = append(strconv.AppendInt(append(out, `,"unread_ttl_seconds":`...), int64(b.UnreadTTL/time.Second), 10), '}')
	}
	if n := int64(d.ExpireAfter / time.Second); n != 0 {
		out = strconv.AppendInt(append(out, `,"expire_after_seconds":`...), n, 10)
	}
	ext := d.Ext
	if len(ext) == 0 {
		ext = json.RawMessage("{}")
	}
	extFrom := object(`,"ext":`, ext)
	extEnd := len(out)
	if d.MentionAll {
		out = append(out, `,"mention_all":true`...)
	}
	for i, u := range d.Mentions {
		if i == 0 {
			out = append(out, `,"mentions":[`...)
		} else {
			out = append(out, ',')
		}
		if out = AppendQuoted(out, u); i+1 == len(d.Mentions) {
			out = append(out, ']')
		}
	}
	if d.original != "" {
		c.Original = d.original
		out = AppendQuoted(append(out, `,"original":`...), d.original)
	}
	if len(d.Push) > 0 {
		object(`,"push":`, d.Push)
	}
	if err != nil {
		return nil, err
	}
	if d.Receipt {
		out = append(out, `,"receipt":true`...)
	}
	if d.ReplyTo != "" {
		out = AppendQuoted(append(out, `,"reply_to":`...), d.ReplyTo)
	}
	out = AppendQuoted(append(out, `,"type":`...), d.Type.String())
	if d.VisibleTo != "" {
		out = AppendQuoted(append(out, `,"visible_to":`...), d.VisibleTo)
	}
	c.Sent = append(out, '}')
	c.Body, c.Ext = c.Sent[bodyFrom:bodyEnd:bodyEnd], c.Sent[extFrom:extEnd:extEnd]
	return c, nil
}

// CheckSize refuses a message whose parts are too large: body and ext together, and push. The sizes
// are those of their canonical JSON, 0 for a part that is missing.
func CheckSize(body, ext, push, maxBytes int) error {
	if ext == 0 {
		ext = len("{}")
	}
	if n := body + ext; n > maxBytes {
		return RefuseField(TooLarge, "message_too_large", "body",
			"body and ext together are %d bytes as canonical JSON, over the limit of %d", n, maxBytes)
	}
	if push > maxBytes {
		return RefuseField(TooLarge, "message_too_large", "push", "is %d bytes as canonical JSON, over the limit of %d", push, maxBytes)
	}
	return nil
}

// ParseContent reads the stored form of a message's content, which is canonical JSON. Body
// and Ext are parts of b: only the mentions and Original are decoded. It returns an error if b is
// not an object; it does not check the syntax within body and ext.
func ParseContent(b []byte) (*Content, error) {
	c := &Content{Sent: b, Ext: json.RawMessage("{}")}
	err := eachStored(b, func(name, value []byte) (err error) {
		switch string(name) {
		case "body":
			c.Body = value
		case "ext":
			c.Ext = value
		case "mentions":
			err = json.Unmarshal(value, &c.Mentions)
		case "mention_all":
			c.MentionAll = value[0] == 't'
		case "original":
			err = json.Unmarshal(value, &c.Original)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stored content: %w", err)
	}
	return c, nil
}

// rewrittenFrom reports whether c is what the pre-send hook made of a draft.
func (c *Content) rewrittenFrom(given *Content) bool {
	return c.Original != "" && c.Original == fingerprint(given.Sent)
}

// SentAs reports whether a request with this canonical JSON would be stored as c.
func (c *Content) SentAs(sent []byte) bool {
	if c.Original == "" {
		return bytes.Equal(c.Sent, sent)
	}
	// A message imported from an export has the rewritten content and no fingerprint.
	plain := append(make([]byte, 0, len(c.Sent)), '{')
	err := eachStored(c.Sent, func(name, value []byte) error {
		if string(name) == "original" {
			return nil
		}
		if len(plain) > 1 {
			plain = append(plain, ',')
		}
		plain = append(append(append(plain, '"'), name...), `":`...)
		plain = append(plain, value...)
		return nil
	})
	return err == nil && bytes.Equal(append(plain, '}'), sent)
}

// push returns the push data of stored content, nil without any.
func (c *Content) push() (push json.RawMessage) {
	// ParseContent has found that the content is well-formed.
	_ = eachStored(c.Sent, func(name, value []byte) error {
		if string(name) == "push" {
			push = value
		}
		return nil
	})
	return push
}

var errStoredForm = errors.New("is not a canonical JSON object")

// eachStored calls fn for each member of a canonical JSON object, whose names must be plain, until
// fn returns an error.
func eachStored(b []byte, fn func(name, value []byte) error) error {
	if len(b) < 2 || b[0] != '{' {
		return errStoredForm
	}
	for i := 1; ; i++ {
		if i >= len(b) || b[i] != '"' {
			return errStoredForm
		}
		end := bytes.IndexByte(b[i+1:], '"')
		if end < 0 {
			return errStoredForm
		}
		name := b[i+1 : i+1+end]
		i += end + len(`"":`)
		if i >= len(b) || b[i-1] != ':' {
			return errStoredForm
		}
		n := storedLength(b[i:])
		if n == 0 {
			return errStoredForm
		}
		if err := fn(name, b[i:i+n:i+n]); err != nil {
			return err
		}
		switch i += n; {
		case i == len(b)-1 && b[i] == '}':
			return nil
		case i >= len(b) || b[i] != ',':
			return errStoredForm
		}
	}
}

// storedText returns a string member of a canonical JSON object, "" if there is none.
func storedText(object []byte, member string) (text string) {
	_ = eachStored(object, func(name, value []byte) error {
		if string(name) != member || value[0] != '"' {
			return nil
		}
		if bytes.IndexByte(value, '\\') < 0 {
			text = string(value[1 : len(value)-1])
			return nil
		}
		return json.Unmarshal(value, &text)
	})
	return text
}

// storedLength returns the length of the value at the beginning of a canonical JSON text; 0
// if the value has no end.
func storedLength(b []byte) int {
	open := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if i >= len(b) {
				return 0
			}
			if open == 0 {
				return i + 1
			}
		case '{', '[':
			open++
		case '}', ']':
			if open == 0 {
				return i // the end of the object around it
			}
			if open--; open == 0 {
				return i + 1
			}
		case ',':
			if open == 0 {
				return i
			}
		}
	}
	return 0
}

// checkBody checks a canonical body against the shape of its type. The OpenAPI document has
// the same shapes, but imports are not validated against it.
func checkBody(t MessageType, body []byte) error {
	var required, optional []string
	switch t {
	case Image, Audio, Video, File:
		_, err := parseAttachmentBody(body)
		return err
	case Text:
		required = []string{"text"}
	case Location:
		required, optional = []string{"latitude", "longitude"}, []string{"address"}
	case Custom:
		required, optional = []string{"name"}, []string{"data"}
	default:
		return RefuseField(Invalid, "invalid_request", "type", "is not a type of message")
	}
	var values [2][]byte // of the required members; nil for null
	err := eachStored(body, func(name, value []byte) error {
		i := slices.Index(required, string(name))
		fits := i >= 0 || slices.Contains(optional, string(name))
		switch {
		case i >= 0 && t == Location:
			fits = value[0] == '-' || value[0] >= '0' && value[0] <= '9' || value[0] == 'n'
		case i >= 0:
			fits = value[0] == '"' || value[0] == 'n'
		case string(name) == "address":
			fits = value[0] == '"'
		}
		if !fits {
			return errStoredForm
		}
		if i >= 0 && value[0] != 'n' {
			values[i] = value
		}
		return nil
	})
	if err != nil && len(body) > len("{}") {
		return RefuseField(Invalid, "invalid_request", "body", "does not fit the type of message")
	}
	for i, name := range required {
		switch most := [2]float64{90, 180}[i]; {
		case t == Location && !isDegrees(values[i], most):
			return RefuseField(Invalid, "invalid_request", "body/"+name, "must be degrees from -%.0f to %.0f", most, most)
		case t != Location && len(values[i]) <= len(`""`):
			return RefuseField(Invalid, "invalid_request", "body/"+name, "must not be empty")
		}
	}
	return nil
}

// isDegrees reports whether a JSON number is from -most to most; false for nil.
func isDegrees(number []byte, most float64) bool {
	n, err := strconv.ParseFloat(string(number), 64)
	return err == nil && math.Abs(n) <= most
}
