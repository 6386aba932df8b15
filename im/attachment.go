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

// Attachment is an uploaded file. It is an orphan until the first message has it, and exists
// until the last message that has it is erased.
type Attachment struct {
	ID       ID
	Uploader UserID
	// Slot has the key of its blob. The same key seals Info.
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
	// Width and Height are the size of an image as it is to be shown, 0 if they are unknown.
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
	MaxReferences = 1_000
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
	// Characters that are left out may have kept others apart, so what is left is normalized.
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
	if len(name) > MaxFileName {
		extension := path.Ext(name)
		if len(extension) > maxExtension {
			extension = ""
		}
		name = strings.TrimRight(clipText(name, MaxFileName-len(extension)), edge) + extension
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
