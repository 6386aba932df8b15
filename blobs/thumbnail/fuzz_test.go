package thumbnail_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"testing"

	"github.com/imapi/imapi/blobs/thumbnail"
)

func seeds(f *testing.F) {
	f.Add(insert(jpegOf(f, quarters(16, 8)), 2, segment(0xe1, "Exif\x00\x00"+exifOf(binary.LittleEndian, 6))))
	f.Add(progressive(16, 16, 3))
	f.Add(insert(pngOf(f, quarters(16, 8)), 33, chunk("eXIf", exifOf(binary.BigEndian, 3))))
	f.Add(pngOf(f, paletted(quarters(8, 8))))
	f.Add(gifOf(f, image.Pt(16, 8), paletted(quarters(16, 8)), paletted(quarters(16, 8))))
	f.Add(riff(extended(0x08, 16, 8), riffChunk("VP8L", lossless(16, 8, red)), riffChunk("EXIF", exifOf(binary.LittleEndian, 6))))
	f.Add(riff(extended(2, 16, 16), riffChunk("ANMF", u24(0)+u24(0)+u24(15)+u24(15)+u24(1)+"\x00"+riffChunk("VP8L", lossless(16, 16, red)))))
	f.Add(riff(extended(0x10, 4, 4), riffChunk("ALPH", "\x00"+"0123456789abcdef"), riffChunk("VP8 ", lossy(4, 4)[:400])))
}

// Whatever the file is, Make refuses it with one of its errors, or the thumbnail is a picture
// within the box, with the proportions that Measure returns and without metadata.
func FuzzMake(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		before := bytes.Clone(file)
		made, err := thumbnail.Make(t.Context(), file)
		if !bytes.Equal(file, before) {
			t.Error("the file was changed")
		}
		p, unmeasured := thumbnail.Measure(bytes.NewReader(file))
		if unmeasured != nil && !errors.Is(unmeasured, thumbnail.ErrFormat) {
			t.Errorf("Measure fails with %v", unmeasured)
		}
		if err != nil {
			if !errors.Is(err, thumbnail.ErrFormat) && !errors.Is(err, thumbnail.ErrTooLarge) {
				t.Errorf("Make fails with %v", err)
			}
			return
		}
		if unmeasured != nil {
			t.Errorf("a thumbnail was made of what cannot be measured: %v", unmeasured)
		}
		img, _, err := image.Decode(bytes.NewReader(made.Bytes))
		if err != nil {
			t.Fatal(err)
		}
		w, h := img.Bounds().Dx(), img.Bounds().Dy()
		if w != made.Width || h != made.Height || w > min(thumbnail.Box, p.Width) || h > min(thumbnail.Box, p.Height) {
			t.Errorf("a thumbnail of %d × %d, of a picture of %d × %d", w, h, p.Width, p.Height)
		}
		if (p.Width > p.Height) != (w > h) && w != h {
			t.Errorf("a picture of %d × %d became one of %d × %d", p.Width, p.Height, w, h)
		}
	})
}
