package thumbnail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"

	"github.com/imapi/imapi/sniff"
)

// A Picture is what the header of a picture says.
type Picture struct {
	Type          string // as package sniff calls it
	Width, Height int    // in pixels, as displayed

	stored      image.Point // width and height before it is turned
	orientation int         // of EXIF, 1 to 8
	pixelBytes  int64       // memory for decoding, per pixel
}

func (p Picture) pixels() int64 { return int64(p.stored.X) * int64(p.stored.Y) }

// memory returns the approximate number of bytes that decoding takes.
func (p Picture) memory() int64 { return p.pixels() * p.pixelBytes }

// maxSteps is the maximum number of segments or chunks of a file that are read.
const maxSteps = 1000

// Measure reads the header of a picture from the beginning of r. It reads little and skips
// with Seek. A picture may be measured and still be too large for a thumbnail, or damaged.
// Measure returns ErrFormat, or the error of r.
func Measure(r io.ReadSeeker) (Picture, error) {
	head := make([]byte, sniff.HeadSize)
	n, err := io.ReadFull(r, head)
	if err != nil && !cutOff(err) {
		return Picture{}, err
	}
	head = head[:n]
	p := Picture{Type: sniff.Type(head), orientation: 1}
	var measure func(*cursor, []byte) error
	switch p.Type {
	case sniff.JPEG:
		measure = p.jpeg
	case sniff.PNG:
		measure = p.png
	case sniff.GIF:
		measure = p.gif
	case sniff.WebP:
		measure = p.webp
	default:
		return Picture{}, fmt.Errorf("%w: %s", ErrFormat, p.Type)
	}
	if err := measure(&cursor{r: r}, head); cutOff(err) {
		return Picture{}, fmt.Errorf("%w: it is cut off", ErrFormat)
	} else if err != nil {
		return Picture{}, err
	}
	if p.stored.X <= 0 || p.stored.Y <= 0 {
		return Picture{}, fmt.Errorf("%w: it has no pixels", ErrFormat)
	}
	p.Width, p.Height = p.stored.X, p.stored.Y
	if p.orientation > 4 {
		p.Width, p.Height = p.Height, p.Width
	}
	return p, nil
}

// Size returns the width and height of a picture as [Measure] does, 0 if they are unknown.
func Size(r io.ReadSeeker) (width, height int) {
	p, err := Measure(r)
	if err != nil {
		return 0, 0
	}
	return p.Width, p.Height
}

func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// cursor reads parts of a file, a bounded number of them.
type cursor struct {
	r     io.ReadSeeker
	steps int
	b     [maxExif]byte
}

// at reads n bytes, at most maxExif, from an offset. They are valid until the next call.
func (c *cursor) at(offset int64, n int) ([]byte, error) {
	if c.steps++; c.steps > maxSteps {
		return nil, fmt.Errorf("%w: it has over %d segments", ErrFormat, maxSteps)
	}
	if _, err := c.r.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	_, err := io.ReadFull(c.r, c.b[:n])
	return c.b[:n], err
}

// png reads the header, and the orientation if it comes before the pixels.
func (p *Picture) png(c *cursor, head []byte) error {
	p.stored = image.Pt(int(binary.BigEndian.Uint32(head[16:])), int(binary.BigEndian.Uint32(head[20:])))
	depth, color, interlaced := head[24], head[25], head[28]
	p.pixelBytes = 4
	switch {
	case depth == 16:
		p.pixelBytes = 8
	case color == 3:
		p.pixelBytes = 1
	}
	if interlaced != 0 {
		p.pixelBytes *= 2 // the last pass, half of the pixels, is decoded separately and then merged
	}
	for offset := int64(33); ; {
		chunk, err := c.at(offset, 8)
		if cutOff(err) {
			return nil // truncated before the pixels, but the size is known
		}
		if err != nil {
			return err
		}
		size := int64(binary.BigEndian.Uint32(chunk))
		switch string(chunk[4:]) {
		case "IDAT", "IEND":
			return nil
		case "eXIf":
			if size > maxExif {
				return nil
			}
			exif, err := c.at(offset+8, int(size))
			if err != nil {
				return err
			}
			p.orientation = orientation(exif)
			return nil
		}
		offset += 12 + size
	}
}

// gif reads the size of the screen. The first frame is within the screen.
func (p *Picture) gif(_ *cursor, head []byte) error {
	p.stored = image.Pt(int(binary.LittleEndian.Uint16(head[6:])), int(binary.LittleEndian.Uint16(head[8:])))
	p.pixelBytes = 2 // one byte, and another if the frame is interlaced
	return nil
}
