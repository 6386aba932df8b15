package thumbnail

import (
	"encoding/binary"
	"strings"
	"testing"
)

const intel = "II*\x00\x08\x00\x00\x00"

func entry(tag, kind uint16, count uint32, value uint16) string {
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, tag), kind)
	return string(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint32(b, count), value)) + "\x00\x00"
}

func TestOrientationOfEXIF(t *testing.T) {
	for _, test := range []struct {
		name, exif string
		want       int
	}{
		{"little-endian", intel + "\x01\x00" + entry(0x112, 3, 1, 6), 6},
		{"big-endian", "MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x08\x00\x00", 8},
		{"with its name", "Exif\x00\x00" + intel + "\x01\x00" + entry(0x112, 3, 1, 2), 2},
		{"behind other entries", intel + "\x02\x00" + entry(0x10f, 2, 9, 1) + entry(0x112, 3, 1, 5), 5},
		{"the first of two", intel + "\x02\x00" + entry(0x112, 3, 1, 5) + entry(0x112, 3, 1, 6), 5},
		{"the directory elsewhere", "II*\x00\x0a\x00\x00\x00xx\x01\x00" + entry(0x112, 3, 1, 3), 3},
		{"more entries announced than there are", intel + "\xff\xff" + entry(0x112, 3, 1, 4), 4},
		{"behind what is announced", intel + "\x01\x00" + entry(0x10f, 3, 1, 1) + entry(0x112, 3, 1, 4), 1},
		{"none", intel + "\x01\x00" + entry(0x10f, 3, 1, 6), 1},
		{"zero", intel + "\x01\x00" + entry(0x112, 3, 1, 0), 1},
		{"nine", intel + "\x01\x00" + entry(0x112, 3, 1, 9), 1},
		{"of another type", intel + "\x01\x00" + entry(0x112, 4, 1, 6), 1},
		{"a list", intel + "\x01\x00" + entry(0x112, 3, 2, 6), 1},
		{"a cut entry", intel + "\x01\x00" + entry(0x112, 3, 1, 6)[:11], 1},
		{"a directory behind the end", "II*\x00\xff\xff\xff\xff\x01\x00", 1},
		{"a directory at the end", "II*\x00\x08\x00\x00\x00\x01", 1},
		{"no byte order", strings.Repeat("x", 40), 1},
		{"nothing", "", 1},
	} {
		if got := orientation([]byte(test.exif)); got != test.want {
			t.Errorf("%s: orientation %d, want %d", test.name, got, test.want)
		}
	}
}

func FuzzOrientation(f *testing.F) {
	f.Add([]byte(intel + "\x01\x00" + entry(0x112, 3, 1, 6)))
	f.Add([]byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x08\x00\x00"))
	f.Fuzz(func(t *testing.T, exif []byte) {
		if o := orientation(exif); o < 1 || o > 8 {
			t.Errorf("orientation %d", o)
		}
	})
}
