package thumbnail

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
)

// Markers of JPEG files.
const (
	markerSOF  = 0xc0 // to 0xcf: frames, except the next three
	markerDHT  = 0xc4
	markerJPG  = 0xc8
	markerDAC  = 0xcc
	markerSOF2 = 0xc2 // progressive
	markerRST0 = 0xd0
	markerRST7 = 0xd7
	markerEOI  = 0xd9
	markerSOS  = 0xda // a scan
	markerAPP0 = 0xe0 // JFIF
	markerAPP1 = 0xe1 // EXIF, XMP
	markerAPPE = 0xee // Adobe: how colors are stored
	markerAPPF = 0xef
	markerCOM  = 0xfe
)

// jpeg reads segments up to the header of the frame.
func (p *Picture) jpeg(c *cursor, _ []byte) error {
	oriented := false
	for offset := int64(2); ; {
		segment, err := c.at(offset, 4)
		if err != nil {
			return err
		}
		marker, size := segment[1], int(binary.BigEndian.Uint16(segment[2:]))
		switch {
		case segment[0] == 0xff && marker == 0xff:
			offset++ // fill bytes may precede a marker
			continue
		case segment[0] != 0xff || marker < markerSOF || size < 2 || marker == markerSOS || marker == markerEOI:
			return fmt.Errorf("%w: it has no frame", ErrFormat)
		case marker >= markerSOF && marker <= 0xcf && marker != markerDHT && marker != markerJPG && marker != markerDAC:
			frame, err := c.at(offset+4, size-2)
			if err != nil {
				return err
			}
			return p.frame(marker, frame)
		case marker == markerAPP1 && !oriented:
			exif, err := c.at(offset+4, size-2)
			if err != nil {
				return err
			}
			if bytes.HasPrefix(exif, []byte("Exif\x00\x00")) {
				p.orientation, oriented = orientation(exif), true
			}
		}
		offset += 2 + int64(size)
	}
}

// frame reads the header of a frame: how large the picture is, and how much memory its components
// take. Each component is sampled at most once per pixel.
func (p *Picture) frame(marker byte, b []byte) error {
	if len(b) < 6 || len(b) != 6+3*int(b[5]) || b[5] == 0 || b[5] > 4 {
		return fmt.Errorf("%w: the header of its frame is malformed", ErrFormat)
	}
	p.stored = image.Pt(int(binary.BigEndian.Uint16(b[3:])), int(binary.BigEndian.Uint16(b[1:])))
	p.pixelBytes = int64(b[5])
	if marker == markerSOF2 {
		// All coefficients, of four bytes, are held until the last scan. Most files sample
		// color every other pixel.
		samples, most := int64(0), int64(1)
		for i := 6; i < len(b); i += 3 {
			h, v := int64(b[i+1]>>4), int64(b[i+1]&15)
			samples, most = samples+h*v, max(most, h*v)
		}
		p.pixelBytes += (4*samples + most - 1) / most
	}
	return nil
}

// decodableJPEG returns what a decoder needs of a JPEG: no metadata, nothing after its end. It
// returns ErrFormat if the file is cut off or has a malformed segment, and ErrTooLarge if it has
// too many scans. Scans are counted in what is returned, so the decoder cannot find more. The
// decoder refuses a second frame, which could be larger than the one that was measured.
func decodableJPEG(file []byte, p Picture) ([]byte, error) {
	out := make([]byte, 0, len(file))
	out = append(out, file[:2]...)
	for rest := file[2:]; ; {
		i := bytes.IndexByte(rest, 0xff)
		if i < 0 || i+1 >= len(rest) {
			return nil, fmt.Errorf("%w: it is cut off", ErrFormat)
		}
		rest = rest[i:] // decoders skip what is between segments
		marker := rest[1]
		switch {
		case marker == 0xff:
			rest = rest[1:]
			continue
		case marker == 0, marker >= markerRST0 && marker <= markerRST7:
			rest = rest[2:]
			continue
		case marker == markerEOI:
			out = append(out, rest[:2]...)
			return out, countScans(out, p)
		}
		if len(rest) < 4 {
			return nil, fmt.Errorf("%w: it is cut off", ErrFormat)
		}
		end := 2 + int(binary.BigEndian.Uint16(rest[2:]))
		if end < 4 || end > len(rest) {
			return nil, fmt.Errorf("%w: a segment is malformed", ErrFormat)
		}
		if marker == markerSOS {
			end += scanLength(rest[end:])
		}
		metadata := marker > markerAPP0 && marker <= markerAPPF && marker != markerAPPE || marker == markerCOM
		if !metadata {
			out = append(out, rest[:end]...)
		}
		rest = rest[end:]
	}
}

// scanLength returns the length of the coded pixels at the beginning of b: up to the next marker
// other than a restart.
func scanLength(b []byte) int {
	for i := 0; ; {
		j := bytes.IndexByte(b[i:], 0xff)
		if j < 0 || i+j+1 >= len(b) {
			return len(b)
		}
		i += j
		if next := b[i+1]; next != 0 && (next < markerRST0 || next > markerRST7) {
			return i
		}
		i += 2
	}
}

func countScans(file []byte, p Picture) error {
	scans := bytes.Count(file, []byte{0xff, markerSOS})
	if scans > MaxScans || int64(scans)*p.pixels() > maxScanned {
		return fmt.Errorf("%w: %d scans of %d × %d pixels", ErrTooLarge, scans, p.stored.X, p.stored.Y)
	}
	return nil
}
