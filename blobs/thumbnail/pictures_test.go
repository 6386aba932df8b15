package thumbnail_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
)

// The colors of the quarters of the pictures in these tests.
var (
	red    = color.NRGBA{220, 30, 30, 255}
	green  = color.NRGBA{30, 200, 30, 255}
	blue   = color.NRGBA{30, 30, 220, 255}
	yellow = color.NRGBA{220, 220, 30, 255}
	unseen = color.NRGBA{}
)

// quarters is a picture with a red and a green quarter above a blue and a yellow one.
func quarters(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i, c := range []color.NRGBA{red, green, blue, yellow} {
		at := image.Pt(i%2*w/2, i/2*h/2)
		draw.Draw(img, image.Rectangle{at, at.Add(image.Pt((w+1)/2, (h+1)/2))}, image.NewUniform(c), image.Point{}, draw.Src)
	}
	return img
}

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gifOf makes a GIF with frames on a screen.
func gifOf(t testing.TB, screen image.Point, frames ...*image.Paletted) []byte {
	t.Helper()
	all := gif.GIF{Config: image.Config{Width: screen.X, Height: screen.Y, ColorModel: frames[0].Palette}}
	for _, frame := range frames {
		all.Image, all.Delay, all.Disposal = append(all.Image, frame), append(all.Delay, 1), append(all.Disposal, 0)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &all); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func paletted(img image.Image) *image.Paletted {
	p := image.NewPaletted(img.Bounds(), append(color.Palette{red, green, blue, yellow, color.NRGBA{}}, palette.WebSafe[:200]...))
	draw.Draw(p, p.Bounds(), img, img.Bounds().Min, draw.Src)
	return p
}

// insert puts segments after the first bytes of a file.
func insert(file []byte, at int, parts ...string) []byte {
	return []byte(string(file[:at]) + strings.Join(parts, "") + string(file[at:]))
}

// segment is a segment of a JPEG.
func segment(marker byte, content string) string {
	return string(binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(2+len(content)))) + content
}

// chunk is a chunk of a PNG.
func chunk(kind, content string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(content)))
	b = append(append(b, kind...), content...)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:])))
}

// exifOf is EXIF data with an orientation between other entries.
func exifOf(order binary.AppendByteOrder, orientation uint16) string {
	b := []byte("II*\x00")
	if order.String() == binary.BigEndian.String() {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint32(b, 8)
	entries := [][4]uint16{{0x010f, 2}, {0x0112, 3, orientation}, {0x011a, 5}}
	b = order.AppendUint16(b, uint16(len(entries)))
	for _, e := range entries {
		b = order.AppendUint16(order.AppendUint16(b, e[0]), e[1])
		b = order.AppendUint16(order.AppendUint16(order.AppendUint32(b, 1), e[2]), e[3])
	}
	return string(order.AppendUint32(b, 0))
}

func zlibOf(t testing.TB, parts ...[]byte) string {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	for _, part := range parts {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pngHeader is the beginning of a PNG.
func pngHeader(w, h uint32, depth, colors, interlaced byte) string {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	return "\x89PNG\r\n\x1a\n" + chunk("IHDR", string(append(b, depth, colors, 0, 0, interlaced)))
}

// progressive is a gray JPEG with a number of scans. The first has the average of each block, which
// is zero, and the others have nothing.
func progressive(w, h uint16, scans int) []byte {
	blocks := (int(w) + 7) / 8 * ((int(h) + 7) / 8)
	zeros := string(bytes.Repeat([]byte{0}, (blocks+7)/8)) // a code of one bit for each block
	size := string(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, h), w))
	code := "\x01" + strings.Repeat("\x00", 15) + "\x00" // a code of one bit, for the value zero
	var b strings.Builder
	b.WriteString("\xff\xd8" + segment(0xdb, "\x00"+strings.Repeat("\x01", 64)) +
		segment(0xc2, "\x08"+size+"\x01\x01\x11\x00") + segment(0xc4, "\x00"+code+"\x10"+code))
	for n := range scans {
		spectrum := "\x01\x3f\x00"
		if n == 0 {
			spectrum = "\x00\x00\x00"
		}
		b.WriteString(segment(0xda, "\x01\x01\x00"+spectrum) + zeros)
	}
	return []byte(b.String() + "\xff\xd9")
}

// riff is a WebP with the given chunks.
func riff(chunks ...string) []byte {
	all := "WEBP" + strings.Join(chunks, "")
	return []byte("RIFF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(all)))) + all)
}

func riffChunk(kind, content string) string {
	c := kind + string(binary.LittleEndian.AppendUint32(nil, uint32(len(content)))) + content
	if len(content)%2 == 1 {
		c += "\x00"
	}
	return c
}

// lossless is the content of a VP8L chunk: a picture of one color. Each of its five codes has one
// symbol, so pixels take no bits.
func lossless(w, h int, c color.NRGBA) string {
	var b []byte
	used := 0
	put := func(value uint32, n int) {
		for i := range n {
			if used%8 == 0 {
				b = append(b, 0)
			}
			b[used/8] |= byte(value>>i&1) << (used % 8)
			used++
		}
	}
	put(0x2f, 8)
	put(uint32(w-1), 14)
	put(uint32(h-1), 14)
	put(1, 1) // alpha is used
	put(0, 3) // version
	put(0, 3) // no transforms, no cache of colors, one set of codes
	for _, symbol := range []uint8{c.G, c.R, c.B, c.A} {
		put(1, 1) // a simple code
		put(0, 1) // of one symbol
		put(1, 1) // of eight bits
		put(uint32(symbol), 8)
	}
	put(1, 1) // distances: one symbol of one bit
	put(0, 3)
	return string(b)
}

// lossy is the content of a VP8 chunk: a gray picture. All bits of its two partitions are zero, so
// everything is predicted and nothing corrected.
func lossy(w, h int) string {
	const first = 64 << 10
	tag := uint32(1<<4 | first<<5) // a key frame, displayed
	b := []byte{byte(tag), byte(tag >> 8), byte(tag >> 16), 0x9d, 0x01, 0x2a}
	b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(w)), uint16(h))
	return string(b) + strings.Repeat("\x00", 2*first)
}

// extended is a VP8X chunk.
func extended(flags byte, w, h int) string {
	return riffChunk("VP8X", string([]byte{flags, 0, 0, 0})+u24(w-1)+u24(h-1))
}

func u24(n int) string { return string([]byte{byte(n), byte(n >> 8), byte(n >> 16)}) }
