package sniff

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// id3Type recognizes a tag in front of MPEG audio.
func id3Type(b []byte) string {
	if len(b) < 10 || string(b[:3]) != "ID3" || b[3] < 2 || b[3] > 4 || b[4] == 0xff || b[5]&0x0f != 0 {
		return ""
	}
	if b[6]|b[7]|b[8]|b[9] >= 0x80 { // seven bits in each byte of the size
		return ""
	}
	return audioMPEG
}

// mpegAudioType requires two frames in a row, because the 11 set bits of a single one occur by
// chance.
func mpegAudioType(b []byte) string {
	n := mpegFrame(b)
	if n == 0 || n > len(b) || mpegFrame(b[n:]) == 0 {
		return ""
	}
	return audioMPEG
}

var (
	mpegRates    = [4]int{44100, 48000, 32000, 0}
	mpegBitrates = map[[2]byte][16]int{ // by version (3 is 1, others are 2 and 2.5) and layer (1 is III)
		{1, 3}: {0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
		{1, 2}: {0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
		{1, 1}: {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
		{2, 3}: {0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
		{2, 2}: {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
		{2, 1}: {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
	}
)

// mpegFrame returns the length of the frame of MPEG audio at the beginning of b, 0 if there
// is none.
func mpegFrame(b []byte) int {
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe0 != 0xe0 {
		return 0
	}
	version, layer, padding := b[1]>>3&3, b[1]>>1&3, int(b[2]>>1&1)
	rate := mpegRates[b[2]>>2&3]
	if version == 1 || layer == 0 || rate == 0 {
		return 0
	}
	generation := byte(2)
	switch version {
	case 3:
		generation = 1
	case 2:
		rate /= 2
	case 0:
		rate /= 4
	}
	bitrate := mpegBitrates[[2]byte{generation, layer}][b[2]>>4] * 1000
	if bitrate == 0 {
		return 0
	}
	switch {
	case layer == 3:
		return (12*bitrate/rate + padding) * 4
	case layer == 1 && generation == 2:
		return 72*bitrate/rate + padding
	}
	return 144*bitrate/rate + padding
}

// adtsType requires two frames of AAC in a row.
func adtsType(b []byte) string {
	n := adtsFrame(b)
	if n == 0 || n > len(b) || adtsFrame(b[n:]) == 0 {
		return ""
	}
	return audioAAC
}

func adtsFrame(b []byte) int {
	if len(b) < 7 || b[0] != 0xff || b[1]&0xf6 != 0xf0 || b[2]>>2&15 > 12 {
		return 0
	}
	n := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5
	if n < 7 {
		return 0
	}
	return n
}

// oggType goes by the first packet of the first stream.
func oggType(b []byte) string {
	if len(b) < 28 || string(b[:5]) != "OggS\x00" || b[5]&2 == 0 { // flag 2 is for the first page of a stream
		return ""
	}
	packet := b[min(len(b), 27+int(b[26])):]
	for _, magic := range []string{"OpusHead", "\x01vorbis", "Speex   ", "\x7fFLAC"} {
		if bytes.HasPrefix(packet, []byte(magic)) {
			return audioOgg
		}
	}
	if bytes.HasPrefix(packet, []byte("\x80theora")) || bytes.HasPrefix(packet, []byte("fishead\x00")) {
		return videoOgg
	}
	return ""
}

// Elements of EBML.
const (
	ebmlHeader     = 0x1a45dfa3
	ebmlDocType    = 0x4282
	ebmlSegment    = 0x18538067
	ebmlTracks     = 0x1654ae6b
	ebmlTrackEntry = 0xae
	ebmlTrackType  = 0x83
)

// ebmlType distinguishes WebM from Matroska by the header. A WebM whose tracks are listed in the
// head, as recorders write it, and which has audio and no video, is audio.
func ebmlType(b []byte) string {
	id, header, rest := ebmlElement(b)
	if id != ebmlHeader {
		return ""
	}
	t := ""
	for id, value, next := ebmlElement(header); id != 0; id, value, next = ebmlElement(next) {
		switch {
		case id == ebmlDocType && string(value) == "webm":
			t = videoWebM
		case id == ebmlDocType && string(value) == "matroska":
			t = matroska
		}
	}
	if t != videoWebM {
		return t
	}
	audio, video := false, false
	for len(rest) > 0 {
		id, value, next := ebmlElement(rest)
		switch id {
		case 0:
			rest = nil
		case ebmlSegment, ebmlTracks, ebmlTrackEntry:
			rest = rest[len(rest)-len(value)-len(next):] // into the element, and then past it
		case ebmlTrackType:
			audio = audio || string(value) == "\x02"
			video = video || string(value) == "\x01"
			rest = next
		default:
			rest = next
		}
	}
	if audio && !video {
		return audioWebM
	}
	return t
}

// ebmlElement returns the id and value of the first element of b and what follows it. The id
// is 0 if there is none. A value that goes beyond the end of b, or whose size is unknown, ends with
// b.
func ebmlElement(b []byte) (id uint32, value, rest []byte) {
	if len(b) == 0 || b[0] < 0x10 {
		return 0, nil, nil
	}
	n := bits.LeadingZeros8(b[0]) + 1
	if len(b) < n+1 || b[n] == 0 {
		return 0, nil, nil
	}
	for _, c := range b[:n] {
		id = id<<8 | uint32(c)
	}
	b = b[n:]
	n = bits.LeadingZeros8(b[0]) + 1
	if len(b) < n {
		return 0, nil, nil
	}
	var size [8]byte
	copy(size[8-n:], b[:n])
	size[8-n] &= 0xff >> n
	length := binary.BigEndian.Uint64(size[:])
	b = b[n:]
	end := int(min(length, uint64(len(b))))
	return id, b[:end], b[end:]
}
