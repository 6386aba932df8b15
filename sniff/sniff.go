package sniff

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// HeadSize is the number of bytes at the beginning of a file that determine its type.
const HeadSize = 4096

// The types of pictures that can have thumbnails.
const (
	JPEG = "image/jpeg"
	PNG  = "image/png"
	GIF  = "image/gif"
	WebP = "image/webp"
)

// Other types that are used by name.
const (
	Unknown = "application/octet-stream"
	Text    = "text/plain"
)

const (
	avif      = "image/avif"
	heic      = "image/heic"
	audioMPEG = "audio/mpeg"
	audioAAC  = "audio/aac"
	audioMP4  = "audio/mp4"
	audioOgg  = "audio/ogg"
	audioWebM = "audio/webm"
	audio3GP  = "audio/3gpp"
	wav       = "audio/wav"
	flac      = "audio/flac"
	amr       = "audio/amr"
	videoMP4  = "video/mp4"
	videoOgg  = "video/ogg"
	videoWebM = "video/webm"
	video3GP  = "video/3gpp"
	quicktime = "video/quicktime"
	matroska  = "video/x-matroska"
	avi       = "video/x-msvideo"
	pdf       = "application/pdf"
	zip       = "application/zip"
	gzip      = "application/gzip"
	sevenZip  = "application/x-7z-compressed"
	rar       = "application/vnd.rar"
)

// Types are all types that [Type] and [Sniffer.Type] return, sorted.
var Types = slices.Sorted(slices.Values([]string{
	JPEG, PNG, GIF, WebP, avif, heic,
	audioMPEG, audioAAC, audioMP4, audioOgg, audioWebM, audio3GP, wav, flac, amr,
	videoMP4, videoOgg, videoWebM, video3GP, quicktime, matroska, avi,
	pdf, zip, gzip, sevenZip, rar, Text, Unknown,
}))

// Type returns the type of a file by its first [HeadSize] bytes, or all of them if it has fewer;
// [Unknown] if no type matches.
func Type(head []byte) string {
	head = head[:min(len(head), HeadSize)]
	for _, is := range formats {
		if t := is(head); t != "" {
			return t
		}
	}
	if isText(head) {
		return Text
	}
	return Unknown
}

// formats are functions that return the type of a file in their format, and "" for all others.
var formats = []func(head []byte) string{
	jpegType, pngType, gifType, riffType, isoType, ebmlType, oggType,
	begins(pdf, "%PDF-1."), begins(pdf, "%PDF-2."),
	begins(zip, "PK\x03\x04"), begins(zip, "PK\x05\x06"), // the second is an empty archive
	begins(gzip, "\x1f\x8b\x08"),
	begins(sevenZip, "7z\xbc\xaf\x27\x1c"),
	begins(rar, "Rar!\x1a\x07"),
	begins(amr, "#!AMR\n"), begins(amr, "#!AMR-WB\n"),
	begins(flac, "fLaC\x00\x00\x00\x22"), begins(flac, "fLaC\x80\x00\x00\x22"),
	id3Type, mpegAudioType, adtsType,
}

func begins(t, magic string) func([]byte) string {
	return func(head []byte) string {
		if bytes.HasPrefix(head, []byte(magic)) {
			return t
		}
		return ""
	}
}

// A JPEG begins with the marker SOI and the marker of a table, frame, comment or
// application segment.
func jpegType(b []byte) string {
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 || b[2] != 0xff {
		return ""
	}
	switch m := b[3]; {
	case m >= 0xc0 && m <= 0xcf, m >= 0xdb && m <= 0xdd, m >= 0xe0 && m <= 0xef, m == 0xfe:
		return JPEG
	}
	return ""
}

// A PNG begins with its signature and a header chunk with a size, depth and color type.
func pngType(b []byte) string {
	if len(b) < 33 || !bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")) {
		return ""
	}
	w, h, depth, color := binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:]), b[24], b[25]
	if w == 0 || h == 0 || w >= 1<<31 || h >= 1<<31 || !slices.Contains([]byte{1, 2, 4, 8, 16}, depth) || !slices.Contains([]byte{0, 2, 3, 4, 6}, color) {
		return ""
	}
	return PNG
}

// A GIF has an extension, a frame or its end after the header and the color table.
func gifType(b []byte) string {
	if len(b) < 14 || !bytes.HasPrefix(b, []byte("GIF87a")) && !bytes.HasPrefix(b, []byte("GIF89a")) {
		return ""
	}
	next := 13
	if flags := b[10]; flags&0x80 != 0 {
		next += 3 << (flags&7 + 1)
	}
	if next < len(b) && (b[next] == '!' || b[next] == ',' || b[next] == ';') {
		return GIF
	}
	return ""
}

func riffType(b []byte) string {
	if len(b) < 16 || string(b[:4]) != "RIFF" {
		return ""
	}
	switch form, chunk := string(b[8:12]), string(b[12:16]); {
	case form == "WEBP" && (chunk == "VP8 " || chunk == "VP8L" || chunk == "VP8X"):
		return WebP
	case form == "WAVE":
		return wav
	case form == "AVI ":
		return avi
	}
	return ""
}

// isText reports whether a head is UTF-8 and not empty, and has no ASCII control characters except
// tabs, line feeds, carriage returns and form feeds. A full head may end in the middle of a
// character.
func isText(b []byte) bool {
	cut := len(b) == HeadSize
	if len(b) == 0 {
		return false
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return cut && !utf8.FullRune(b)
		}
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' || r == 0x7f {
			return false
		}
		b = b[n:]
	}
	return true
}
