package im

import (
	"io"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Attachment is an uploaded file. It is an orphan until a message refers to it, and exists until
// the last message that refers to it is erased, trimmed or purged. An orphan exists for
// [OrphanRetention].
type Attachment struct {
	ID       ID
	Uploader UserID
	// Slot has the key of its blob. The same key seals Info.
	Slot      Slot
	Size      int64
	CreatedAt time.Time
	Info      AttachmentInfo
	// References is the number of active messages that refer to it.
	References int
}

// AttachmentInfo describes the bytes of an attachment. It is content, and sealed like it.
type AttachmentInfo struct {
	Name string
	// Type is the media type, detected from the bytes. What the uploader says does not count.
	Type   string
	SHA256 [32]byte
	// Width and Height are the size of an image as displayed, in pixels; 0 if they are unknown.
	Width, Height int
}

// FileTypes detects the types of files. Its functions may be called by many goroutines.
type FileTypes struct {
	// Sniff returns a new writer. Once a whole file is written to it, it knows the media type.
	Sniff func() TypeSniffer
	// Measure returns the width and height of an image as displayed, in pixels; 0 if they are
	// unknown. It reads a bounded part of the file.
	Measure func(file io.ReadSeeker) (width, height int)
}

// TypeSniffer finds the media type of what is written to it. Write never fails.
type TypeSniffer interface {
	io.Writer
	Type() string
}

// AttachmentUse is the number of files and bytes that a user has uploaded and that still exist.
type AttachmentUse struct {
	Files, Bytes int64
}

// fileCost is what a file counts in addition to its bytes, so that the quota bounds the
// number of files, too.
const fileCost = 4 << 10

// quota returns the bytes that count against the quota.
func (u AttachmentUse) quota() int64 { return u.Bytes + u.Files*fileCost }

// add returns the use with one more file.
func (u AttachmentUse) add(size int64) AttachmentUse {
	return AttachmentUse{Files: u.Files + 1, Bytes: u.Bytes + size}
}

const (
	// OrphanRetention is the time for which an attachment is kept that no message refers to.
	OrphanRetention = 24 * time.Hour
	// MaxReferences is the maximum number of active messages that refer to one attachment. It
	// bounds the check whether a user may read the attachment, which may have to look at all of
	// them.
	MaxReferences = 1_000
	// maxFileName is the maximum length of the name of an attachment, in bytes.
	maxFileName = 255
	// defaultFileName is the name of an attachment without one.
	defaultFileName = "attachment"
	// maxExtension is the number of bytes that are kept at the end of a long name.
	maxExtension = 16
)

// orphanCutoff returns the time before which orphans are past their retention.
func orphanCutoff(now time.Time) time.Time { return now.Add(-OrphanRetention) }

// fileName returns the name under which a file is kept and offered: without directories, control
// characters, those that change the direction of text, and invisible characters other than joiners,
// without dots, spaces and joiners at its ends, in normal form C, and of at most [maxFileName]
// bytes. It is never empty.
func fileName(name string) string {
	name = strings.ToValidUTF8(name, "")
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	// Normalize after removing characters: one that was removed may have separated others.
	name = norm.NFC.String(strings.Map(func(r rune) rune {
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
	}, name))
	const edge = " .\u200c\u200d"
	name = strings.Trim(name, edge)
	if len(name) > maxFileName {
		extension := path.Ext(name)
		if len(extension) > maxExtension {
			extension = ""
		}
		name = strings.TrimRight(clipText(name, maxFileName-len(extension)), edge) + extension
	}
	if name == "" {
		return defaultFileName
	}
	return name
}

// clipText truncates a text that is longer than most bytes to that length, or to the last
// character that ends before it.
func clipText(s string, most int) string {
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// HasAttachment reports whether messages of this type have an attachment.
func (t MessageType) HasAttachment() bool { return t >= Image && t <= File }
