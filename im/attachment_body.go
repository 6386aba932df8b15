package im

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// containers are media types of files that may have video or only sound.
var containers = []string{"video/mp4", "video/webm", "video/ogg", "video/3gpp", "video/quicktime", "application/ogg"}

// holds reports whether a message of this type can have an attachment of a media type.
func (t MessageType) holds(mediaType string) bool {
	switch t {
	case Image:
		return strings.HasPrefix(mediaType, "image/")
	case Audio:
		return strings.HasPrefix(mediaType, "audio/") || slices.Contains(containers, mediaType)
	case Video:
		return strings.HasPrefix(mediaType, "video/") || mediaType == "application/ogg"
	default:
		return t == File
	}
}

// attachmentBody is the body of a message with an attachment. A field whose member is absent from
// the JSON is zero.
type attachmentBody struct {
	attachment, thumbnail ID
	name                  *string
	mediaType             string
	numbers               [4]int64
}

// numberNames are the names of attachmentBody.numbers, and numberLimits their maximum values.
var (
	numberNames  = [4]string{"duration_ms", "height", "size", "width"}
	numberLimits = [4]int64{1_000_000_000_000, 1 << 20, 1 << 40, 1 << 20}
)

const (
	durationNumber = iota
	heightNumber
	sizeNumber
	widthNumber
)

// parseAttachmentBody reads a canonical body. It refuses one that does not have the shape of a
// message with an attachment.
func parseAttachmentBody(body []byte) (b attachmentBody, err error) {
	refuse := func(name, why string) error {
		return RefuseField(Invalid, "invalid_request", "body/"+ClipField(name), "%s", why)
	}
	if len(body) > len("{}") {
		err = eachStored(body, func(name, value []byte) error { return b.set(string(name), value, refuse) })
	}
	switch {
	case err != nil:
		if _, ok := AsError(err); !ok {
			err = RefuseField(Invalid, "invalid_request", "body", "does not fit the type of message")
		}
		return b, err
	case b.attachment == 0:
		return b, refuse("attachment_id", "must be the id of an attachment")
	default:
		return b, nil
	}
}

func (b *attachmentBody) set(name string, value []byte, refuse func(name, why string) error) error {
	if i := slices.Index(numberNames[:], name); i >= 0 {
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < 0 || n > numberLimits[i] || n == 0 && (i == heightNumber || i == widthNumber) {
			return refuse(name, "must be a whole number in its range")
		}
		b.numbers[i] = n
		return nil
	}
	var text string
	switch name {
	case "attachment_id", "thumbnail_id", "name", "type":
		if json.Unmarshal(value, &text) != nil || value[0] != '"' {
			return refuse(name, "must be a string")
		}
	default:
		return refuse(name, "is not a member of this type of message")
	}
	ok := true
	switch name {
	case "attachment_id":
		b.attachment, ok = ParseID(text)
	case "thumbnail_id":
		b.thumbnail, ok = ParseID(text)
	case "name":
		text = fileName(text)
		b.name = &text
	case "type":
		b.mediaType = text
	}
	if !ok {
		return refuse(name, "must be the id of an attachment")
	}
	return nil
}

// check refuses a body that contradicts its attachments, and attachments of the wrong media type.
func (b attachmentBody) check(t MessageType, a Attachment, thumbnail *Attachment) error {
	mismatch := func(field, format string, args ...any) error {
		return RefuseField(Rule, "attachment_mismatch", "body/"+field, format, args...)
	}
	switch {
	case !t.holds(a.Info.Type):
		return mismatch("attachment_id", "is of the media type %s, which a message of the type %s cannot have", a.Info.Type, t)
	case b.mediaType != "" && b.mediaType != a.Info.Type:
		return mismatch("type", "is not that of the attachment, which is %s", a.Info.Type)
	case b.numbers[sizeNumber] != 0 && b.numbers[sizeNumber] != a.Size:
		return mismatch("size", "is not that of the attachment, which is %d", a.Size)
	case thumbnail != nil && !Image.holds(thumbnail.Info.Type):
		return mismatch("thumbnail_id", "is of the type %s, which is not an image", thumbnail.Info.Type)
	default:
		return nil
	}
}

// completed returns the body, completed with members that the sender left out and the attachment
// determines.
func (b attachmentBody) completed(a Attachment) []byte {
	if b.name == nil {
		b.name = &a.Info.Name
	}
	b.mediaType, b.numbers[sizeNumber] = a.Info.Type, a.Size
	if b.numbers[widthNumber] == 0 && b.numbers[heightNumber] == 0 {
		b.numbers[widthNumber], b.numbers[heightNumber] = int64(a.Info.Width), int64(a.Info.Height)
	}
	var out bytes.Buffer
	out.WriteString(`{"attachment_id":"` + b.attachment.String() + `"`)
	number := func(i int) {
		if n := b.numbers[i]; n != 0 || i == sizeNumber {
			out.WriteString(`,"` + numberNames[i] + `":` + strconv.FormatInt(n, 10))
		}
	}
	number(durationNumber)
	number(heightNumber)
	out.Write(AppendQuoted([]byte(`,"name":`), *b.name))
	number(sizeNumber)
	if b.thumbnail != 0 {
		out.WriteString(`,"thumbnail_id":"` + b.thumbnail.String() + `"`)
	}
	out.Write(AppendQuoted([]byte(`,"type":`), b.mediaType))
	number(widthNumber)
	out.WriteByte('}')
	return out.Bytes()
}
