package im

import (
	"bytes"
	"encoding/json"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Attachment is an uploaded file. It is an orphan until the first message has it, and exists
// until the last message that has it is erased.
type Attachment struct {
	ID       ID
	Uploader UserID
	// Slot is that of the key of its blob, which seals Info, too.
	Slot      Slot
	Size      int64
	CreatedAt time.Time
	Info      AttachmentInfo
	// References is how many active messages have it.
	References int
}

// AttachmentInfo describes the bytes of an attachment. It is content, and sealed like it.
type AttachmentInfo struct {
	Name string
	// Type is a media type, found from the bytes and not from what the uploader says.
	Type   string
	SHA256 [32]byte
	// Width and Height are those of an image as it is to be shown, 0 if they are unknown.
	Width, Height int
}

// FileTypes finds out what files are. Its functions may be called by many goroutines.
type FileTypes struct {
	// Sniff returns a new writer that is given a whole file and then knows its media type.
	Sniff func() TypeSniffer
	// Measure returns the width and height of an image as it is to be shown, 0 if they are
	// unknown. It reads a bounded part of the file.
	Measure func(file io.ReadSeeker) (width, height int)
}

// TypeSniffer finds the media type of what is written to it. Write never fails.
type TypeSniffer interface {
	io.Writer
	Type() string
}

// AttachmentUse is how many files and bytes a user has uploaded that still exist.
type AttachmentUse struct {
	Files, Bytes int64
}

// fileCost is what a file counts in addition to its bytes, so that the quota bounds the
// number of files, too.
const fileCost = 4 << 10

// quota returns how much of a quota is used.
func (u AttachmentUse) quota() int64 { return u.Bytes + u.Files*fileCost }

// add returns the use with one more file.
func (u AttachmentUse) add(size int64) AttachmentUse {
	return AttachmentUse{Files: u.Files + 1, Bytes: u.Bytes + size}
}

const (
	// OrphanRetention is how long an attachment that no message has is kept.
	OrphanRetention = 24 * time.Hour
	// MaxReferences is how many active messages can have one attachment. To find out whether
	// a user may read it, all of them may have to be looked at.
	MaxReferences = 10_000
	// MaxFileName is the longest name of an attachment, in bytes.
	MaxFileName = 255
	// DefaultFileName is the name of an attachment without one.
	DefaultFileName = "attachment"
	// maxExtension is how many bytes at the end of a long name are kept.
	maxExtension = 16
)

// orphanCutoff returns the time before which orphans are past their retention.
func orphanCutoff(now time.Time) time.Time { return now.Add(-OrphanRetention) }

// FileName returns the name under which a file is kept and offered: without directories,
// control characters, invisible characters and those that change the direction of text, in
// normal form C, and of at most [MaxFileName] bytes. It is never empty, "." or "..".
func FileName(name string) string {
	name = strings.ToValidUTF8(name, "")
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '\u200c' || r == '\u200d': // joiners, which some scripts and emoji need
			return r
		case r == ' ' || unicode.IsPrint(r):
			return r
		case unicode.Is(unicode.Zs, r):
			return ' '
		default:
			return -1
		}
	}, norm.NFC.String(name))
	name = strings.Trim(name, " .\u200c\u200d")
	if len(name) > MaxFileName {
		extension := path.Ext(name)
		if len(extension) > maxExtension {
			extension = ""
		}
		name = strings.TrimRight(clipText(name, MaxFileName-len(extension)), " .") + extension
	}
	if name == "" {
		return DefaultFileName
	}
	return name
}

// clipText cuts a longer text to most bytes, or to fewer that end with a whole character.
func clipText(s string, most int) string {
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// HasAttachment reports whether messages of this type have an attachment.
func (t MessageType) HasAttachment() bool { return t >= Image && t <= File }

// containers are media types of files that may have sound alone.
var containers = []string{"video/mp4", "video/webm", "video/ogg", "video/3gpp", "video/quicktime", "application/ogg"}

// holds reports whether an attachment of a media type can be that of a message of this type.
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

// attachmentBody is the body of a message with an attachment. Its zero fields are absent from
// the JSON.
type attachmentBody struct {
	attachment, thumbnail ID
	name                  *string
	mediaType             string
	numbers               [4]int64
}

// numberNames are the names of attachmentBody.numbers, and numberLimits their greatest
// values.
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

// parseAttachmentBody reads a canonical body. It refuses one that has not the shape of a
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
		text = FileName(text)
		b.name = &text
	case "type":
		b.mediaType = text
	}
	if !ok {
		return refuse(name, "must be the id of an attachment")
	}
	return nil
}

// check refuses a body that contradicts its attachments.
func (b attachmentBody) check(t MessageType, a Attachment, thumbnail *Attachment) error {
	mismatch := func(field, format string, args ...any) error {
		return RefuseField(Rule, "attachment_mismatch", "body/"+field, format, args...)
	}
	switch {
	case !t.holds(a.Info.Type):
		return mismatch("attachment_id", "is of the type %s, which is none of %s", a.Info.Type, t)
	case b.mediaType != "" && b.mediaType != a.Info.Type:
		return mismatch("type", "is not that of the attachment, which is %s", a.Info.Type)
	case b.numbers[sizeNumber] != 0 && b.numbers[sizeNumber] != a.Size:
		return mismatch("size", "is not that of the attachment, which is %d", a.Size)
	case thumbnail != nil && !Image.holds(thumbnail.Info.Type):
		return mismatch("thumbnail_id", "is of the type %s, which is no image", thumbnail.Info.Type)
	default:
		return nil
	}
}

// completed returns the body with the members that the sender left out and that are known of
// the attachment.
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
