package thumbnail_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/draw"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/imapi/imapi/blobs/thumbnail"
)

// decoded makes a thumbnail and decodes it.
func decoded(t *testing.T, file []byte) (thumbnail.Thumbnail, image.Image) {
	t.Helper()
	made, err := thumbnail.Make(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	img, format, err := image.Decode(bytes.NewReader(made.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	if img.Bounds().Dx() != made.Width || img.Bounds().Dy() != made.Height || "image/"+format != made.Type {
		t.Fatalf("a %s of %v, said to be a %s of %d × %d", format, img.Bounds(), made.Type, made.Width, made.Height)
	}
	return made, img
}

// corners returns the colors near the corners: top left, top right, bottom left, bottom right.
func corners(img image.Image) (c [4]color.NRGBA) {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	for i := range c {
		c[i] = color.NRGBAModel.Convert(img.At(w/8+i%2*w*3/4, h/8+i/2*h*3/4)).(color.NRGBA)
	}
	return c
}

func near(a, b color.NRGBA) bool {
	d := func(x, y uint8) bool { return max(x, y)-min(x, y) <= 24 }
	return d(a.A, b.A) && (b.A == 0 || d(a.R, b.R) && d(a.G, b.G) && d(a.B, b.B))
}

func wantCorners(t *testing.T, img image.Image, want ...color.NRGBA) {
	t.Helper()
	for i, got := range corners(img) {
		if !near(got, want[i]) {
			t.Errorf("corner %d is %v, want %v", i, got, want[i])
		}
	}
}

func TestMake(t *testing.T) {
	half := quarters(400, 200)
	draw.Draw(half, image.Rect(0, 0, 200, 200), image.Transparent, image.Point{}, draw.Src)
	gray := image.NewGray(image.Rect(0, 0, 64, 32))
	draw.Draw(gray, gray.Bounds(), image.NewUniform(color.Gray{128}), image.Point{}, draw.Src)
	deep := image.NewNRGBA64(image.Rect(0, 0, 400, 200))
	draw.Draw(deep, deep.Bounds(), quarters(400, 200), image.Point{}, draw.Src)
	frame := paletted(quarters(100, 100))
	frame.Rect = image.Rect(100, 0, 200, 100)
	mid := color.NRGBA{128, 128, 128, 255}
	same := func(c color.NRGBA) []color.NRGBA { return []color.NRGBA{c, c, c, c} }
	all := []color.NRGBA{red, green, blue, yellow}
	glass := color.NRGBA{200, 0, 0, 128}
	for _, test := range []struct {
		name          string
		file          []byte
		kind          string
		width, height int
		corners       []color.NRGBA
	}{
		{"wide jpeg", jpegOf(t, quarters(640, 200)), "image/jpeg", 320, 100, all},
		{"tall jpeg", jpegOf(t, quarters(200, 640)), "image/jpeg", 100, 320, all},
		{"large jpeg", jpegOf(t, quarters(801, 601)), "image/jpeg", 320, 240, all},
		{"gray jpeg", jpegOf(t, gray), "image/jpeg", 64, 32, same(mid)},
		{"progressive jpeg", progressive(640, 640, 3), "image/jpeg", 320, 320, same(mid)},
		{"small jpeg stays", jpegOf(t, quarters(32, 16)), "image/jpeg", 32, 16, all},
		{"jpeg with bytes after its end", append(jpegOf(t, quarters(32, 16)), "PK\x03\x04<html>"...), "image/jpeg", 32, 16, all},
		{"jpeg with fill bytes", bytes.Replace(jpegOf(t, quarters(32, 16)), []byte("\xff\xc0"), []byte("\xff\xff\xff\xc0"), 1), "image/jpeg", 32, 16, all},
		{"opaque png", pngOf(t, quarters(640, 320)), "image/jpeg", 320, 160, all},
		{"transparent png", pngOf(t, half), "image/png", 320, 160, []color.NRGBA{unseen, green, unseen, yellow}},
		{"png of 16 bits", pngOf(t, deep), "image/jpeg", 320, 160, all},
		{"png with a palette", pngOf(t, paletted(half)), "image/png", 320, 160, []color.NRGBA{unseen, green, unseen, yellow}},
		{"png of one pixel", pngOf(t, quarters(1, 1)), "image/jpeg", 1, 1, nil},
		{"png one pixel high", pngOf(t, quarters(10000, 1)), "image/jpeg", 320, 1, nil},
		{"png one pixel wide", pngOf(t, quarters(1, 10000)), "image/jpeg", 1, 320, nil},
		{"gif", gifOf(t, image.Pt(640, 320), paletted(quarters(640, 320))), "image/jpeg", 320, 160, all},
		{"gif of two frames", gifOf(t, image.Pt(100, 50), paletted(quarters(100, 50)), paletted(image.NewNRGBA(image.Rect(0, 0, 100, 50)))), "image/jpeg", 100, 50, all},
		{"gif whose frame covers a part", gifOf(t, image.Pt(200, 200), frame), "image/png", 200, 200, []color.NRGBA{unseen, green, unseen, unseen}},
		{"gif whose second frame is damaged", gifCut(gifOf(t, image.Pt(100, 50), paletted(quarters(100, 50)), paletted(quarters(100, 50)))), "image/jpeg", 100, 50, all},
		{"lossless webp", riff(riffChunk("VP8L", lossless(640, 320, red))), "image/jpeg", 320, 160, same(red)},
		{"transparent webp", riff(riffChunk("VP8L", lossless(64, 32, glass))), "image/png", 64, 32, same(glass)},
		{"lossy webp", riff(riffChunk("VP8 ", lossy(64, 32))), "image/jpeg", 64, 32, nil},
		{"lossy webp with alpha", riff(extended(0x10, 64, 32), riffChunk("ALPH", "\x00"+strings.Repeat("\x00", 64*32)), riffChunk("VP8 ", lossy(64, 32))), "image/png", 64, 32, same(unseen)},
		{
			"animated webp", riff(
				extended(0x12, 100, 50), riffChunk("ANIM", "\x00\x00\x00\x00\x00\x00"),
				riffChunk("ANMF", u24(25)+u24(0)+u24(49)+u24(49)+u24(10)+"\x00"+riffChunk("VP8L", lossless(50, 50, red))),
				riffChunk("ANMF", u24(0)+u24(0)+u24(99)+u24(49)+u24(10)+"\x00"+riffChunk("VP8L", lossless(100, 50, blue))),
			), "image/png", 100, 50, []color.NRGBA{unseen, red, unseen, red},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			made, img := decoded(t, test.file)
			if made.Type != test.kind || made.Width != test.width || made.Height != test.height {
				t.Errorf("a %s of %d × %d, want a %s of %d × %d", made.Type, made.Width, made.Height, test.kind, test.width, test.height)
			}
			if test.corners != nil {
				wantCorners(t, img, test.corners...)
			}
			again, err := thumbnail.Make(t.Context(), test.file)
			if err != nil || !bytes.Equal(again.Bytes, made.Bytes) {
				t.Errorf("a second thumbnail differs: %v", err)
			}
		})
	}
}

// gifCut cuts a GIF in its last frame.
func gifCut(file []byte) []byte { return file[:len(file)-20] }

func TestAveragesAreExact(t *testing.T) {
	// Every other pixel is black, the rest are white.
	img := image.NewGray(image.Rect(0, 0, 640, 640))
	for i := range img.Pix {
		img.Pix[i] = byte(i%2) * 255
	}
	_, small := decoded(t, pngOf(t, img))
	for y := 0; y < 320; y += 7 {
		for x := 0; x < 320; x += 7 {
			if c := color.GrayModel.Convert(small.At(x, y)).(color.Gray); c.Y != 128 {
				t.Fatalf("the average at %d, %d is %d, want 128", x, y, c.Y)
			}
		}
	}
}

func TestOrientation(t *testing.T) {
	a, b, c, d := red, green, blue, yellow
	shown := map[uint16][]color.NRGBA{
		0: {a, b, c, d}, 1: {a, b, c, d}, 2: {b, a, d, c}, 3: {d, c, b, a}, 4: {c, d, a, b},
		5: {a, c, b, d}, 6: {c, a, d, b}, 7: {d, b, c, a}, 8: {b, d, a, c}, 9: {a, b, c, d},
	}
	img := quarters(80, 40)
	for o, want := range shown {
		for name, file := range map[string][]byte{
			"jpeg":               insert(jpegOf(t, img), 2, segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00"), segment(0xe1, "Exif\x00\x00"+exifOf(binary.LittleEndian, o)), segment(0xe1, "Exif\x00\x00"+exifOf(binary.LittleEndian, o%8+1))),
			"jpeg, big-endian":   insert(jpegOf(t, img), 2, segment(0xe1, "Exif\x00\x00"+exifOf(binary.BigEndian, o))),
			"png":                insert(pngOf(t, img), 33, chunk("eXIf", exifOf(binary.BigEndian, o))),
			"png, after a chunk": insert(pngOf(t, img), 33, chunk("tEXt", "a\x00b"), chunk("eXIf", exifOf(binary.LittleEndian, o))),
		} {
			made, small := decoded(t, file)
			w, h := 80, 40
			if o >= 5 && o <= 8 {
				w, h = h, w
			}
			if made.Width != w || made.Height != h {
				t.Errorf("%s, orientation %d: the thumbnail is %d × %d", name, o, made.Width, made.Height)
			}
			wantCorners(t, small, want...)
			if p, err := thumbnail.Measure(bytes.NewReader(file)); err != nil || (p.Width > p.Height) != (w > h) || p.Width*p.Height != 3200 {
				t.Errorf("%s, orientation %d: measured %d × %d, %v", name, o, p.Width, p.Height, err)
			}
		}
	}
	turned := riff(extended(0x08, 40, 20), riffChunk("VP8L", lossless(40, 20, red)), riffChunk("EXIF", exifOf(binary.LittleEndian, 6)))
	if made, _ := decoded(t, turned); made.Width != 20 || made.Height != 40 {
		t.Errorf("the thumbnail of a turned WebP is %d × %d, want 20 × 40", made.Width, made.Height)
	}
}

// A thumbnail has no metadata.
func TestMetadataIsLeftOut(t *testing.T) {
	const marker = "51.4779N 0.0015W"
	gps := segment(0xe1, "Exif\x00\x00"+exifOf(binary.LittleEndian, 6)+marker)
	half := quarters(40, 20)
	half.Set(3, 3, color.Transparent)
	for name, file := range map[string][]byte{
		"jpeg": insert(jpegOf(t, quarters(40, 20)), 2, gps, segment(0xfe, marker), segment(0xe2, "ICC_PROFILE\x00"+marker), segment(0xed, marker)),
		"png": insert(pngOf(t, half), 33, chunk("tEXt", "Comment\x00"+marker), chunk("eXIf", exifOf(binary.LittleEndian, 1)+marker),
			chunk("zTXt", "Comment\x00\x00"+zlibOf(t, []byte(marker))), chunk("iCCP", marker+"\x00\x00"+zlibOf(t, []byte(marker)))),
		"gif":  insert(gifOf(t, image.Pt(40, 20), paletted(quarters(40, 20))), len(gifOf(t, image.Pt(40, 20), paletted(quarters(40, 20))))-1, "!\xfe"+string(rune(len(marker)))+marker+"\x00"),
		"webp": riff(extended(0x0c, 40, 20), riffChunk("VP8L", lossless(40, 20, red)), riffChunk("EXIF", marker), riffChunk("XMP ", marker)),
	} {
		if !bytes.Contains(file, []byte(marker)) {
			t.Fatalf("%s: the file does not hold the marker", name)
		}
		made, _ := decoded(t, file)
		for _, word := range []string{marker, "Exif", "Comment", "ICC", "xap"} {
			if bytes.Contains(made.Bytes, []byte(word)) {
				t.Errorf("%s: the thumbnail holds %q", name, word)
			}
		}
	}
}

// A file that would cost too much is refused before that.
func TestBombs(t *testing.T) {
	flat := func(w, h uint32, depth, colors byte, content string) []byte {
		return []byte(pngHeader(w, h, depth, colors, 0) + chunk("IDAT", content) + chunk("IEND", ""))
	}
	deflated := zlibOf(t, make([]byte, 4<<20)) // 4 KB
	gifScreen := gifOf(t, image.Pt(100, 50), paletted(quarters(100, 50)))
	copy(gifScreen[6:], "\xff\xff\xff\xff")
	jpegHead := jpegOf(t, quarters(16, 16))
	at := bytes.Index(jpegHead, []byte("\xff\xc0"))
	copy(jpegHead[at+5:], "\xff\xff\xff\xff")
	cut := []byte("RIFF\xff\xff\xff\x7fWEBPVP8 \xff\xff\xff\x7f" + lossy(64, 32)[:20])
	for _, test := range []struct {
		name string
		file []byte
		want error
	}{
		{"png of 65,000 × 65,000 pixels", flat(65000, 65000, 1, 0, deflated), thumbnail.ErrTooLarge},
		{"png of 2,147,483,647 × 2,147,483,647 pixels", flat(1<<31-1, 1<<31-1, 16, 6, deflated), thumbnail.ErrTooLarge},
		{"png of 100,000 × 1 pixels", flat(100000, 1, 8, 2, deflated), thumbnail.ErrTooLarge},
		{"png of 8,000 × 8,000 pixels of 16 bits", flat(8000, 8000, 16, 6, deflated), thumbnail.ErrTooLarge},
		{"png that unpacks to more than its pixels", flat(8, 8, 8, 0, deflated), thumbnail.ErrFormat},
		{"png with a palette of 1,000 colors", []byte(pngHeader(8, 8, 8, 3, 0) + chunk("PLTE", strings.Repeat("rgb", 1000)) + chunk("IDAT", deflated)), thumbnail.ErrFormat},
		{"png with a chunk of 2 GB", []byte(pngHeader(8, 8, 8, 0, 0) + "\x7f\xff\xff\xffzTXt"), thumbnail.ErrFormat},
		{"png with 5,000 chunks", insert([]byte(pngHeader(8, 8, 8, 0, 0)), 33, strings.Repeat(chunk("tEXt", "a\x00"), 5000)), thumbnail.ErrFormat},
		{"gif of 65,535 × 65,535 pixels", gifScreen, thumbnail.ErrTooLarge},
		{"jpeg of 65,535 × 65,535 pixels", jpegHead, thumbnail.ErrTooLarge},
		{"progressive jpeg of 8,000 × 8,000 pixels", progressive(8000, 8000, 1), thumbnail.ErrTooLarge},
		{"jpeg of 101 scans", progressive(8, 8, 101), thumbnail.ErrTooLarge},
		{"jpeg of 10,000 scans", progressive(8, 8, 10000), thumbnail.ErrTooLarge},
		{"jpeg whose scans go over 1.6 billion pixels", progressive(4096, 4096, 98), thumbnail.ErrTooLarge},
		{"jpeg with 5,000 segments", insert(jpegOf(t, quarters(8, 8)), 2, strings.Repeat(segment(0xfe, "a"), 5000)), thumbnail.ErrFormat},
		{"jpeg of two frames", insert(progressive(8, 8, 2), 2, segment(0xc2, "\x08\x00\x08\x00\x08\x01\x01\x11\x00")), thumbnail.ErrFormat},
		{"webp of 16,384 × 16,384 pixels in 30 bytes", riff(riffChunk("VP8L", lossless(16384, 16384, red))), thumbnail.ErrTooLarge},
		{"webp whose frame is larger than the picture", riff(extended(0, 16, 16), riffChunk("VP8L", lossless(4000, 4000, red))), thumbnail.ErrFormat},
		{"animated webp whose frame is larger than the picture", riff(extended(2, 16, 16), riffChunk("ANMF", u24(0)+u24(0)+u24(3999)+u24(3999)+u24(1)+"\x00"+riffChunk("VP8L", lossless(4000, 4000, red)))), thumbnail.ErrFormat},
		{"animated webp whose frame is beside the picture", riff(extended(2, 16, 16), riffChunk("ANMF", u24(9)+u24(9)+u24(15)+u24(15)+u24(1)+"\x00"+riffChunk("VP8L", lossless(16, 16, red)))), thumbnail.ErrFormat},
		{"webp of 16,777,216 pixels in width", riff(extended(0, 1<<24, 1<<24), riffChunk("VP8L", lossless(16, 16, red))), thumbnail.ErrTooLarge},
		{"webp with a chunk of 2 GB", cut, thumbnail.ErrFormat},
		{"33 MB of a picture", append(jpegOf(t, quarters(16, 16)), make([]byte, 33<<20)...), thumbnail.ErrTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			made, err := thumbnail.Make(t.Context(), test.file)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, test.want) {
				t.Errorf("a thumbnail of %d bytes, error %v, want %v", len(made.Bytes), err, test.want)
			}
			if used, may := after.TotalAlloc-before.TotalAlloc, uint64(len(test.file)+4<<20); used > may {
				t.Errorf("refusing took %d bytes of memory, want at most %d", used, may)
			}
		})
	}
}

// A file that is truncated anywhere, or has any byte changed, is refused or yields some thumbnail.
func TestDamagedFiles(t *testing.T) {
	for name, file := range map[string][]byte{
		"jpeg": insert(jpegOf(t, quarters(16, 8)), 2, segment(0xe1, "Exif\x00\x00"+exifOf(binary.LittleEndian, 6))),
		"png":  insert(pngOf(t, quarters(16, 8)), 33, chunk("eXIf", exifOf(binary.LittleEndian, 6))),
		"gif":  gifOf(t, image.Pt(16, 8), paletted(quarters(16, 8))),
		"webp": riff(extended(0x08, 16, 8), riffChunk("VP8L", lossless(16, 8, red)), riffChunk("EXIF", exifOf(binary.LittleEndian, 6))),
	} {
		for i := range file {
			for _, damaged := range [][]byte{file[:i], append(append(bytes.Clone(file[:i]), file[i]^0xff), file[i+1:]...)} {
				made, err := thumbnail.Make(t.Context(), damaged)
				if err != nil && !errors.Is(err, thumbnail.ErrFormat) && !errors.Is(err, thumbnail.ErrTooLarge) {
					t.Errorf("%s damaged at %d: %v", name, i, err)
				}
				if (err == nil) == (len(made.Bytes) == 0) {
					t.Errorf("%s damaged at %d: %d bytes and error %v", name, i, len(made.Bytes), err)
				}
			}
		}
	}
}

func TestOtherFiles(t *testing.T) {
	for name, file := range map[string]string{
		"empty file": "", "text": "hello", "svg": "<svg/>", "pdf": "%PDF-1.7\n",
		"heic": "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
	} {
		if _, err := thumbnail.Make(t.Context(), []byte(file)); !errors.Is(err, thumbnail.ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
}

// endsAfter is a context that ends after a number of calls of Err.
type endsAfter struct {
	context.Context
	left *int
}

func (c endsAfter) Err() error {
	if *c.left--; *c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Make gives up soon after its context ended, at whatever point that happens.
func TestMakeEndsWithItsContext(t *testing.T) {
	for name, file := range map[string][]byte{
		"jpeg": jpegOf(t, quarters(160, 160)),
		"png":  pngOf(t, quarters(160, 160)),
		"gif":  gifOf(t, image.Pt(160, 160), paletted(quarters(160, 160))),
		"webp": riff(riffChunk("VP8L", lossless(160, 160, red))),
	} {
		asked := 0
		for n := 0; ; n++ {
			left := n
			made, err := thumbnail.Make(endsAfter{t.Context(), &left}, file)
			if err == nil {
				break
			}
			asked++
			if !errors.Is(err, context.Canceled) || made.Bytes != nil {
				t.Fatalf("%s, canceled after %d steps: %v", name, n, err)
			}
		}
		if asked < 160/8 {
			t.Errorf("%s: the context was asked %d times, want at least once for each 8 rows", name, asked)
		}
	}
}

type failing struct {
	io.ReadSeeker
	err error
}

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestMeasurePassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	if _, err := thumbnail.Measure(failing{bytes.NewReader(nil), broken}); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the reader", err)
	}
}

// A picture can be measured even if it is too large for a thumbnail, and even if most of it is
// missing.
func TestMeasure(t *testing.T) {
	for _, test := range []struct {
		name          string
		file          []byte
		kind          string
		width, height int
	}{
		{"jpeg", jpegOf(t, quarters(640, 200)), "image/jpeg", 640, 200},
		{"jpeg after long metadata", insert(jpegOf(t, quarters(640, 200)), 2, strings.Repeat(segment(0xe2, strings.Repeat("x", 65000)), 10)), "image/jpeg", 640, 200},
		{"large png", []byte(pngHeader(30000, 40000, 8, 2, 0)), "image/png", 30000, 40000},
		{"gif", gifOf(t, image.Pt(64, 32), paletted(quarters(64, 32)))[:800], "image/gif", 64, 32},
		{"lossy webp", riff(riffChunk("VP8 ", lossy(64, 32)[:20])), "image/webp", 64, 32},
		{"lossless webp", riff(riffChunk("VP8L", lossless(16384, 1, red))), "image/webp", 16384, 1},
		{"extended webp", riff(extended(0, 1<<24, 3)), "image/webp", 1 << 24, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := thumbnail.Measure(bytes.NewReader(test.file))
			if err != nil || p.Type != test.kind || p.Width != test.width || p.Height != test.height {
				t.Errorf("a %s of %d × %d, error %v", p.Type, p.Width, p.Height, err)
			}
		})
	}
}
