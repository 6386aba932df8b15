package thumbnail

import (
	"bytes"
	"encoding/binary"
)

// maxExif is the maximum size of the EXIF data that is read, in bytes. A segment of a JPEG cannot
// hold more.
const maxExif = 1 << 16

// The tag of the orientation, and its type.
const (
	tagOrientation = 0x0112
	typeShort      = 3
)

// orientation returns the orientation in EXIF, 1 to 8. It returns 1, which is upright, if there is
// no orientation or the data is malformed. It reads the first directory and nothing that the
// directory points to.
func orientation(exif []byte) int {
	exif = bytes.TrimPrefix(exif, []byte("Exif\x00\x00"))
	if len(exif) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(exif[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	start := order.Uint32(exif[4:])
	if uint64(start)+2 > uint64(len(exif)) {
		return 1
	}
	entries := exif[start+2:]
	for n := order.Uint16(exif[start:]); n > 0 && len(entries) >= 12; n-- {
		entry := entries[:12]
		entries = entries[12:]
		if order.Uint16(entry) != tagOrientation {
			continue
		}
		o := order.Uint16(entry[8:])
		if order.Uint16(entry[2:]) != typeShort || order.Uint32(entry[4:]) != 1 || o < 1 || o > 8 {
			return 1
		}
		return int(o)
	}
	return 1
}
