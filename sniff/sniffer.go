package sniff

import (
	"encoding/binary"
	"slices"
	"strings"
)

// isoType goes by the brands of an ISO media file. The major brand decides; if it is not
// known, or only says that there is a picture, the compatible ones do.
func isoType(b []byte) string {
	if len(b) < 16 || string(b[4:8]) != "ftyp" {
		return ""
	}
	size := binary.BigEndian.Uint32(b)
	if size < 16 || size > HeadSize || size%4 != 0 {
		return ""
	}
	t := isoBrand(string(b[8:12]))
	for i := 16; t == "" && i+4 <= int(size) && i+4 <= len(b); i += 4 {
		t = isoBrand(string(b[i : i+4]))
	}
	return t
}

func isoBrand(brand string) string {
	switch {
	case brand == "M4A " || brand == "M4B " || brand == "M4P ":
		return audioMP4
	case brand == "qt  ":
		return quicktime
	case brand == "avif" || brand == "avis":
		return avif
	case slices.Contains([]string{"heic", "heix", "heim", "heis", "hevc", "hevx"}, brand):
		return heic
	case strings.HasPrefix(brand, "3g"): // 3gp4 … 3gp9, 3ge6, 3g2a …
		return video3GP
	case strings.HasPrefix(brand, "iso") || strings.HasPrefix(brand, "mp4") || strings.HasPrefix(brand, "avc") || strings.HasPrefix(brand, "M4V"),
		slices.Contains([]string{"dash", "msdh", "MSNV", "mmp4", "cmfc", "f4v "}, brand):
		return videoMP4
	}
	return ""
}

// A Sniffer detects the type of a file that is written to it, in writes of any size. Unlike [Type]
// it detects whether an MP4 or 3GP file has a video track or only audio, which may be recorded at
// its end. It keeps [HeadSize] bytes, however long the file is. The zero Sniffer is ready for use.
type Sniffer struct {
	head []byte
	full bool // the head was looked at
	t    string
	boxes
}

// Write accepts the next bytes of the file. It never fails.
func (s *Sniffer) Write(p []byte) (int, error) {
	n := len(p)
	if !s.full {
		if s.head == nil {
			s.head = make([]byte, 0, HeadSize)
		}
		k := min(HeadSize-len(s.head), len(p))
		s.head = append(s.head, p[:k]...)
		if p = p[k:]; len(s.head) < HeadSize {
			return n, nil
		}
		s.look()
	}
	if s.walks() {
		s.walk(p)
	}
	return n, nil
}

// Type returns the type of the file, which must have been written completely.
func (s *Sniffer) Type() string {
	if !s.full {
		s.look()
	}
	switch {
	case s.t == videoMP4 && s.audio && !s.video:
		return audioMP4
	case s.t == video3GP && s.audio && !s.video:
		return audio3GP
	}
	return s.t
}

func (s *Sniffer) look() {
	s.t, s.full = Type(s.head), true
	if s.walks() {
		s.walk(s.head)
	}
	s.head = nil
}

func (s *Sniffer) walks() bool { return s.t == videoMP4 || s.t == video3GP }

// boxes walks over the boxes of an ISO media file. To enter a box that contains others, it
// only skips the header: the boxes inside and those after it follow each other.
type boxes struct {
	skip         uint64 // bytes until the next header
	want         int    // length of the header, once its first 8 bytes are known
	header       []byte // the part of it that has been read
	over         bool   // nothing more can be learned
	audio, video bool   // whether there is such a track
}

const (
	boxHeader   = 8
	largeHeader = 16            // with a size of 64 bits
	hdlrHeader  = 8 + 4 + 4 + 4 // with the version, a reserved word, and the kind of the track
)

func (b *boxes) walk(p []byte) {
	for len(p) > 0 && !b.over {
		if b.skip > 0 {
			n := min(b.skip, uint64(len(p)))
			b.skip -= n
			p = p[n:]
			continue
		}
		b.want = max(b.want, boxHeader)
		n := min(b.want-len(b.header), len(p))
		b.header = append(b.header, p[:n]...)
		p = p[n:]
		if len(b.header) == b.want {
			b.enter()
		}
	}
}

// enter handles the header of a box once it is complete, and otherwise asks for more of it.
func (b *boxes) enter() {
	size, kind := uint64(binary.BigEndian.Uint32(b.header)), string(b.header[4:8])
	if size == 1 {
		if b.want = largeHeader; len(b.header) < b.want {
			return
		}
		size = binary.BigEndian.Uint64(b.header[8:])
	}
	used := uint64(len(b.header))
	switch kind {
	case "moov", "trak", "mdia":
		size = used // continue inside
	case "hdlr":
		if used == boxHeader && (size == 0 || size >= hdlrHeader) {
			b.want = hdlrHeader
			return
		}
		if used == hdlrHeader {
			kind := string(b.header[16:20])
			b.audio = b.audio || kind == "soun"
			b.video = b.video || kind == "vide"
		}
	}
	if size < used { // a size of 0 means until the end of the file
		b.over = true
		return
	}
	b.skip, b.want, b.header = size-used, 0, b.header[:0]
}
