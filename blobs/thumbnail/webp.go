package thumbnail

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
)

// Flags of the header of an extended WebP.
const (
	webpAnimated = 1 << 1
	webpEXIF     = 1 << 3
	webpAlpha    = 1 << 4
)

// webp reads the first chunk of a WebP and, if it is extended and not animated, its EXIF, which
// comes last.
func (p *Picture) webp(c *cursor, _ []byte) error {
	const first = 12
	b, err := c.at(first, 8+10)
	if err != nil {
		return err
	}
	kind, b := string(b[:4]), b[8:]
	p.pixelBytes = 12 // lossless frames or alpha: four, as many for transforms, and codes
	switch kind {
	case "VP8 ":
		if p.stored = vp8Size(b); p.stored == (image.Point{}) {
			return fmt.Errorf("%w: it has no key frame", ErrFormat)
		}
		p.pixelBytes = 3
	case "VP8L":
		if b[0] != 0x2f {
			return fmt.Errorf("%w: it has no signature", ErrFormat)
		}
		n := binary.LittleEndian.Uint32(b[1:])
		p.stored = image.Pt(int(n&0x3fff)+1, int(n>>14&0x3fff)+1)
	case "VP8X":
		p.stored = image.Pt(uint24(b[4:])+1, uint24(b[7:])+1)
		if flags := b[0]; flags&webpEXIF != 0 && flags&webpAnimated == 0 {
			return p.webpEXIF(c, first)
		}
	}
	return nil
}

// vp8Size returns the size of a key frame, zero if there is none.
func vp8Size(b []byte) image.Point {
	if b[0]&1 != 0 || string(b[3:6]) != "\x9d\x01\x2a" {
		return image.Point{}
	}
	return image.Pt(int(binary.LittleEndian.Uint16(b[6:])&0x3fff), int(binary.LittleEndian.Uint16(b[8:])&0x3fff))
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func (p *Picture) webpEXIF(c *cursor, offset int64) error {
	for {
		header, err := c.at(offset, 8)
		if cutOff(err) {
			return nil
		}
		if err != nil {
			return err
		}
		kind, size := string(header[:4]), int64(binary.LittleEndian.Uint32(header[4:]))
		if kind == "EXIF" {
			if size > maxExif {
				return nil
			}
			exif, err := c.at(offset+8, int(size))
			if cutOff(err) {
				return nil
			}
			if err != nil {
				return err
			}
			p.orientation = orientation(exif)
			return nil
		}
		offset += 8 + size + size&1
	}
}

// decodableWebP returns the parts of a WebP that a decoder needs, of an animation only the
// first frame, and the position of that frame in the picture. The decoder trusts lengths and
// allocates accordingly, so all are checked.
func decodableWebP(file []byte, stored image.Point) (out []byte, at image.Point, err error) {
	kept := map[string][]byte{}
	var header []byte
	for kind, chunk := range webpChunks(file[12:]) {
		if _, again := kept[kind]; again {
			continue
		}
		switch kind {
		case "VP8X":
			if len(chunk) != 10 || len(kept) > 0 || header != nil {
				return nil, at, fmt.Errorf("%w: its header is malformed", ErrFormat)
			}
			header = bytes.Clone(chunk)
		case "ANMF":
			if len(chunk) < 16 || header == nil {
				return nil, at, fmt.Errorf("%w: a frame is malformed", ErrFormat)
			}
			at = image.Pt(2*uint24(chunk), 2*uint24(chunk[3:]))
			copy(header[4:], chunk[6:12]) // its width and height
			for kind, part := range webpChunks(chunk[16:]) {
				if kept[kind] == nil && (kind == "ALPH" || kind == "VP8 " || kind == "VP8L") {
					kept[kind] = part
				}
			}
		case "ALPH", "VP8 ", "VP8L":
			kept[kind] = chunk
		}
		if kept["VP8 "] != nil || kept["VP8L"] != nil {
			break
		}
	}
	if header != nil && !(image.Rectangle{Max: image.Pt(uint24(header[4:])+1, uint24(header[7:])+1)}).Add(at).In(image.Rectangle{Max: stored}) {
		return nil, at, fmt.Errorf("%w: its frame is larger than the picture", ErrFormat)
	}
	if header == nil || kept["VP8L"] != nil {
		delete(kept, "ALPH") // a lossless frame has its own alpha
	}
	if header != nil {
		header[0] = 0
		if kept["ALPH"] != nil {
			header[0] = webpAlpha
		}
	}
	out = append(out, "RIFF\x00\x00\x00\x00WEBP"...)
	if header != nil {
		out = appendChunk(out, "VP8X", header)
	}
	for _, kind := range []string{"ALPH", "VP8 ", "VP8L"} {
		if chunk := kept[kind]; chunk != nil {
			out = appendChunk(out, kind, chunk)
		}
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, at, nil
}

// webpChunks yields the kind and value of each chunk. The last one may be cut off.
func webpChunks(b []byte) func(yield func(string, []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for len(b) >= 8 {
			kind, size := string(b[:4]), int64(binary.LittleEndian.Uint32(b[4:]))
			value := b[8:][:min(size, int64(len(b)-8))]
			if !yield(kind, value) {
				return
			}
			b = b[8:][min(size+size&1, int64(len(b)-8)):]
		}
	}
}

func appendChunk(b []byte, kind string, value []byte) []byte {
	b = binary.LittleEndian.AppendUint32(append(b, kind...), uint32(len(value)))
	b = append(b, value...)
	if len(value)%2 == 1 {
		b = append(b, 0)
	}
	return b
}
