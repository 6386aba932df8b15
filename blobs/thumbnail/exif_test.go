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
		{"after the signature of its segment", "Exif\x00\x00" + intel + "\x01\x00" + entry(0x112, 3, 1, 2), 2},
		{"after another entry", intel + "\x02\x00" + entry(0x10f, 2, 9, 1) + entry(0x112, 3, 1, 5), 5},
		{"the first of two", intel + "\x02\x00" + entry(0x112, 3, 1, 5) + entry(0x112, 3, 1, 6), 5},
		{"the directory elsewhere", "II*\x00\x0a\x00\x00\x00xx\x01\x00" + entry(0x112, 3, 1, 3), 3},
		{"fewer entries than the count", intel + "\xff\xff" + entry(0x112, 3, 1, 4), 4},
		{"entry after those that are counted", intel + "\x01\x00" + entry(0x10f, 3, 1, 1) + entry(0x112, 3, 1, 4), 1},
		{"no orientation", intel + "\x01\x00" + entry(0x10f, 3, 1, 6), 1},
		{"orientation 0", intel + "\x01\x00" + entry(0x112, 3, 1, 0), 1},
		{"orientation 9", intel + "\x01\x00" + entry(0x112, 3, 1, 9), 1},
		{"orientation of another type", intel + "\x01\x00" + entry(0x112, 4, 1, 6), 1},
		{"list of orientations", intel + "\x01\x00" + entry(0x112, 3, 2, 6), 1},
		{"entry that is cut off", intel + "\x01\x00" + entry(0x112, 3, 1, 6)[:11], 1},
		{"directory after the end", "II*\x00\xff\xff\xff\xff\x01\x00", 1},
		{"directory cut off by the end", "II*\x00\x08\x00\x00\x00\x01", 1},
		{"no byte order", strings.Repeat("x", 40), 1},
		{"empty", "", 1},
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
