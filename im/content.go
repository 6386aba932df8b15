package im

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Draft is a message as its sender asks for it, before it has a place.
type Draft struct {
	ClientID string
	Type     MessageType
	// Body and Ext are JSON objects as they were sent; Ext may be empty.
	Body     json.RawMessage
	Ext      json.RawMessage
	Mentions []UserID
	// MentionAll mentions everyone.
	MentionAll bool
	ReplyTo    string
	Receipt    bool
	Push       json.RawMessage
	// Burn is nil for a message that is not to burn. Its At is ignored.
	Burn *Burn
	// ExpireAfter is when the message expires, from sending; 0 leaves that to
	// the conversation.
	ExpireAfter time.Duration
	// VisibleTo is the one member who is to see it, of what is inserted; "" for
	// all.
	VisibleTo UserID
}

// MaxClientID is the longest client_id, in bytes.
const MaxClientID = 128

// MaxMentions is how many users one message may mention.
const MaxMentions = 200

// sent is the form in which a draft is stored: all that makes it the message
// that it is, and nothing that imapi adds. Keys are in byte order.
type sent struct {
	Body     json.RawMessage `json:"body"`
	Burn     *sentBurn       `json:"burn,omitempty"`
	Expire   int64           `json:"expire_after_seconds,omitempty"`
	Ext      json.RawMessage `json:"ext,omitempty"`
	All      bool            `json:"mention_all,omitempty"`
	Mentions []UserID        `json:"mentions,omitempty"`
	Push     json.RawMessage `json:"push,omitempty"`
	Receipt  bool            `json:"receipt,omitempty"`
	ReplyTo  string          `json:"reply_to,omitempty"`
	Type     string          `json:"type"`

	VisibleTo UserID `json:"visible_to,omitempty"`
}

type sentBurn struct {
	After     int64 `json:"after_seconds"`
	UnreadTTL int64 `json:"unread_ttl_seconds"`
}

// The limits of timers. A burn may wait 7 days, as the systems do that imapi
// stands in for; more than a year is not a timer.
const (
	MaxBurnAfter     = 7 * 24 * time.Hour
	DefaultUnreadTTL = 7 * 24 * time.Hour
	MaxUnreadTTL     = 30 * 24 * time.Hour
	MaxExpireAfter   = 365 * 24 * time.Hour
)

// checkTimers checks burn and expiry of a draft.
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

// Content checks a draft by itself, whoever sends it wherever, and returns
// what of it is to be stored. maxBytes bounds body and ext together, as
// canonical JSON, and on their own push and the mentions.
func (d Draft) Content(maxBytes int) (*Content, error) {
	if d.ClientID != "" && !printable(d.ClientID, MaxClientID) {
		return nil, RefuseField(Invalid, "invalid_request", "client_id", "must be 1 to %d printable ASCII characters", MaxClientID)
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
			return nil, RefuseField(Invalid, "invalid_request", field, "is there twice")
		}
		seen[u] = true
		size += len(u)
	}
	if size > maxBytes {
		return nil, RefuseField(TooLarge, "message_too_large", "mentions", "are %d bytes together; at most %d are taken", size, maxBytes)
	}
	if err := d.checkTimers(); err != nil {
		return nil, err
	}
	if json.Valid(d.Body) && (len(d.Ext) == 0 || json.Valid(d.Ext)) && (len(d.Push) == 0 || json.Valid(d.Push)) {
		if err := CheckSize(d.Body, d.Ext, d.Push, maxBytes); err != nil {
			return nil, err
		}
	}
	body, err := canonicalObject("body", d.Body)
	if err != nil {
		return nil, err
	}
	if err := checkBody(d.Type, body); err != nil {
		return nil, err
	}
	ext := json.RawMessage("{}")
	if len(d.Ext) > 0 {
		if ext, err = canonicalObject("ext", d.Ext); err != nil {
			return nil, err
		}
	}
	var push json.RawMessage
	if len(d.Push) > 0 {
		if push, err = canonicalObject("push", d.Push); err != nil {
			return nil, err
		}
	}
	asSent := sent{
		Body: body, Expire: int64(d.ExpireAfter / time.Second), Ext: ext, Mentions: d.Mentions, Push: push,
		Receipt: d.Receipt, ReplyTo: d.ReplyTo, Type: d.Type.String(), VisibleTo: d.VisibleTo, All: d.MentionAll,
	}
	if b := d.Burn; b != nil {
		asSent.Burn = &sentBurn{int64(b.After / time.Second), int64(b.UnreadTTL / time.Second)}
	}
	c := &Content{Body: body, Ext: ext, Mentions: d.Mentions, MentionAll: d.MentionAll}
	c.Sent, err = marshal(asSent)
	return c, err
}

// CheckSize refuses a message whose parts are too large as canonical JSON: body and ext
// together, and push. They are valid JSON, or empty; nothing is made of them, so it may be
// asked before they are decoded.
func CheckSize(body, ext, push []byte, maxBytes int) error {
	n := CanonicalSize(body)
	if len(ext) == 0 {
		ext = []byte("{}")
	}
	if n += CanonicalSize(ext); n > maxBytes {
		return RefuseField(TooLarge, "message_too_large", "body",
			"body and ext together are %d bytes as canonical JSON; at most %d are taken", n, maxBytes)
	}
	if n = CanonicalSize(push); n > maxBytes {
		return RefuseField(TooLarge, "message_too_large", "push", "is %d bytes as canonical JSON; at most %d are taken", n, maxBytes)
	}
	return nil
}

// ParseContent reads the stored form of a message's content, which is canonical JSON. Body
// and Ext are parts of b: nothing is decoded but the mentions. It returns an error if b is
// no JSON object by its outline; what is within body and ext it does not check.
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
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stored content: %w", err)
	}
	return c, nil
}

var errStoredForm = errors.New("is not a canonical JSON object")

// eachStored calls fn for each member of a canonical JSON object that has a plain name.
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

// storedLength returns the length of the value that a canonical JSON text begins with; 0 if
// it does not end.
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

// checkBody holds a body against the shape that its type asks for. The HTTP
// contract says the same; imports and tests come by here alone.
func checkBody(t MessageType, body json.RawMessage) error {
	switch t {
	case Text:
		var b struct {
			Text *string `json:"text"`
		}
		if err := strict(body, &b, "text"); err != nil {
			return err
		}
		if b.Text == nil || *b.Text == "" {
			return RefuseField(Invalid, "invalid_request", "body/text", "must not be empty")
		}
	case Location:
		var b struct {
			Latitude  *float64     `json:"latitude"`
			Longitude *float64     `json:"longitude"`
			Address   optionalText `json:"address"`
		}
		if err := strict(body, &b, "latitude", "longitude", "address"); err != nil {
			return err
		}
		if b.Latitude == nil || math.Abs(*b.Latitude) > 90 {
			return RefuseField(Invalid, "invalid_request", "body/latitude", "must be degrees from -90 to 90")
		}
		if b.Longitude == nil || math.Abs(*b.Longitude) > 180 {
			return RefuseField(Invalid, "invalid_request", "body/longitude", "must be degrees from -180 to 180")
		}
	case Custom:
		var b struct {
			Name *string         `json:"name"`
			Data json.RawMessage `json:"data"`
		}
		if err := strict(body, &b, "name", "data"); err != nil {
			return err
		}
		if b.Name == nil || *b.Name == "" {
			return RefuseField(Invalid, "invalid_request", "body/name", "must not be empty")
		}
	default:
		return RefuseField(Invalid, "invalid_request", "type", "is not a type of message")
	}
	return nil
}

// optionalText is a string that may be left out, but not be null.
type optionalText string

// UnmarshalJSON refuses null, of which other decoders make no text at all.
func (t *optionalText) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s == nil {
		return errors.New("null is no text")
	}
	*t = optionalText(*s)
	return nil
}

// strict decodes a body into its shape and refuses members of any other name.
// Names are held against the list because a decoder takes "Text" for "text".
func strict(body json.RawMessage, into any, names ...string) error {
	var members map[string]json.RawMessage
	err := json.Unmarshal(body, &members)
	for name := range members {
		if !slices.Contains(names, name) {
			err = fmt.Errorf("unknown member")
		}
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		return RefuseField(Invalid, "invalid_request", "body", "does not fit the type of message")
	}
	return nil
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
