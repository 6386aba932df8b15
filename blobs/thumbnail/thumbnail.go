package thumbnail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"runtime"

	"golang.org/x/image/webp"

	"github.com/imapi/imapi/sniff"
)

// Limits of the pictures from which thumbnails are made. A photo of 48 megapixels is within them.
const (
	MaxBytes  = 32 << 20  // of the file
	MaxSide   = 1<<16 - 1 // pixels of its width and height
	MaxPixels = 64 << 20
	// MaxMemory is the approximate number of bytes that decoding may take, computed from type,
	// size, depth and color model: a progressive JPEG takes up to five times as much as another.
	MaxMemory = 256 << 20
	// MaxScans is the maximum number of scans of a JPEG. Encoders write about ten; a file of a few
	// hundred kilobytes could have a hundred thousand, each over all pixels.
	MaxScans = 100
	// maxScanned is the maximum number of pixels in all scans of a JPEG together.
	maxScanned = 1 << 30
)

// Box is the largest width and height of a thumbnail, in pixels.
const Box = 320

// MaxThumbnail is the largest size of a thumbnail, in bytes. If a thumbnail would be larger, [Box]
// is halved for it until it fits.
const MaxThumbnail = 128 << 10

// quality is the JPEG quality of thumbnails. Scaling has removed the finest details already.
const quality = 80

var (
	// ErrFormat means that a file is not a JPEG, PNG, GIF or WebP, is damaged, or is of a
	// variant that the decoders do not support.
	ErrFormat = errors.New("thumbnail: not a picture, or a damaged one")
	// ErrTooLarge means that making a thumbnail would cost more than is allowed.
	ErrTooLarge = errors.New("thumbnail: the picture is too large")
)

// A Thumbnail is a picture of at most [Box] pixels in width and height. It is not larger than
// the original.
type Thumbnail struct {
	Type          string // image/jpeg or image/png
	Width, Height int
	Bytes         []byte
}

// Make makes a thumbnail of the picture in a file. Any error wraps ErrFormat or ErrTooLarge, or is
// the error of the context.
func Make(ctx context.Context, file []byte) (Thumbnail, error) {
	if len(file) > MaxBytes {
		return Thumbnail{}, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(file))
	}
	p, err := Measure(bytes.NewReader(file))
	if err != nil {
		return Thumbnail{}, err
	}
	if err := p.within(); err != nil {
		return Thumbnail{}, err
	}
	src, at, err := decode(ctx, p, file)
	if ended := ctx.Err(); ended != nil {
		return Thumbnail{}, ended
	}
	if err != nil {
		return Thumbnail{}, err
	}
	for box := Box; ; box /= 2 {
		small, err := shrink(ctx, src, at, p.stored, box)
		if err != nil {
			return Thumbnail{}, err
		}
		if t, err := encode(turn(small, p.orientation)); err != nil || len(t.Bytes) <= MaxThumbnail {
			return t, err
		}
	}
}

func (p Picture) within() error {
	w, h := p.stored.X, p.stored.Y
	switch {
	case w > MaxSide || h > MaxSide || p.pixels() > MaxPixels:
		return fmt.Errorf("%w: %d × %d pixels", ErrTooLarge, w, h)
	case p.memory() > MaxMemory:
		return fmt.Errorf("%w: it takes %d bytes to decode", ErrTooLarge, p.memory())
	}
	return nil
}

// decode returns the pixels of a picture and the position of their top left corner in it: a frame
// of a GIF or WebP may cover only a part of it.
func decode(ctx context.Context, p Picture, file []byte) (src image.Image, at image.Point, err error) {
	clean := file
	var read func(io.Reader) (image.Image, error)
	switch p.Type {
	case sniff.JPEG:
		read = jpeg.Decode
		clean, err = decodableJPEG(file, p)
	case sniff.PNG:
		read = png.Decode
	case sniff.GIF:
		read = gif.Decode // the first frame
	case sniff.WebP:
		read = webp.Decode
		clean, at, err = decodableWebP(file, p.stored)
	}
	if err != nil {
		return nil, at, err
	}
	src, err = read(&reader{ctx, bytes.NewReader(clean)})
	if err != nil {
		return nil, at, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if p.Type == sniff.GIF {
		at = src.Bounds().Min
	}
	if !src.Bounds().Sub(src.Bounds().Min).Add(at).In(image.Rectangle{Max: p.stored}) {
		return nil, at, fmt.Errorf("%w: its frame is larger than the picture", ErrFormat)
	}
	return src, at, nil
}

// reader passes the file to a decoder in small parts. Between the parts it lets other goroutines
// run and checks the context, because a few bytes can take a long time to decode.
type reader struct {
	ctx context.Context // a decoder takes no context
	r   *bytes.Reader
}

const readSize = 1024

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	runtime.Gosched()
	return r.r.Read(p[:min(len(p), readSize)])
}

func encode(img *image.RGBA) (Thumbnail, error) {
	var b bytes.Buffer
	t := Thumbnail{Width: img.Bounds().Dx(), Height: img.Bounds().Dy()}
	var err error
	if img.Opaque() {
		t.Type, err = sniff.JPEG, jpeg.Encode(&b, img, &jpeg.Options{Quality: quality})
	} else {
		t.Type, err = sniff.PNG, png.Encode(&b, img)
	}
	t.Bytes = b.Bytes()
	return t, err
}
