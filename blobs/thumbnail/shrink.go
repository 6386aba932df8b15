package thumbnail

import (
	"context"
	"image"
	"image/draw"
	"runtime"
)

// stripRows is the number of rows that are converted at once. Other goroutines may run after each
// strip.
const stripRows = 8

// shrink scales a picture of the given size down to fit into a box. Its visible part is src, with
// its top left corner at a point of the picture; the rest is transparent. Each pixel of the result
// is the average of the area that it covers, computed in integers so that the result is the same on
// every machine.
func shrink(ctx context.Context, src image.Image, at, size image.Point, box int) (*image.RGBA, error) {
	w, h := size.X, size.Y
	dw, dh := fit(w, h, box)
	dst := image.NewRGBA(image.Rect(0, 0, dw, dh))
	strip := image.NewRGBA(image.Rect(0, 0, w, min(stripRows, h)))
	row := make([]uint32, 4*dw) // a row of the picture, scaled to the width of the result
	sum := make([]uint64, 4*dw) // the sum of the rows that a row of the result covers
	corner := src.Bounds().Min.Sub(at)
	for y := range h {
		if y%stripRows == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			runtime.Gosched()
			clear(strip.Pix)
			draw.Draw(strip, strip.Bounds(), src, corner.Add(image.Pt(0, y)), draw.Src)
		}
		clear(row)
		shrinkRow(row, strip.Pix[(y%stripRows)*strip.Stride:][:4*w], w, dw)
		// A row of the picture covers dh units of height, a row of the result h of them.
		top := y * dh
		for covered := 0; covered < dh; {
			n := min(dh-covered, h-(top+covered)%h)
			for i, v := range row {
				sum[i] += uint64(v) * uint64(n)
			}
			covered += n
			if (top+covered)%h == 0 {
				flush(dst.Pix[((top+covered)/h-1)*dst.Stride:], sum, uint64(w)*uint64(h))
			}
		}
	}
	return dst, nil
}

// shrinkRow adds up the pixels of a row. A pixel of the picture covers dw units of width, a pixel
// of the result w of them, so a pixel of the picture lies in one or two pixels of the result.
func shrinkRow(row []uint32, pix []byte, w, dw int) {
	i, left := 0, w // the pixel of the result, and how much of it is not covered
	for x := range w {
		p := pix[4*x : 4*x+4 : 4*x+4]
		n := min(dw, left)
		add(row[4*i:4*i+4:4*i+4], p, uint32(n))
		if left -= n; left == 0 {
			i, left = i+1, w
			if n = dw - n; n > 0 {
				add(row[4*i:4*i+4:4*i+4], p, uint32(n))
				left -= n
			}
		}
	}
}

func add(sum []uint32, p []byte, n uint32) {
	sum[0] += uint32(p[0]) * n
	sum[1] += uint32(p[1]) * n
	sum[2] += uint32(p[2]) * n
	sum[3] += uint32(p[3]) * n
}

// flush writes the rounded averages and resets the sums.
func flush(pix []byte, sum []uint64, area uint64) {
	for i, v := range sum {
		pix[i] = byte((v + area/2) / area)
		sum[i] = 0
	}
}

// fit returns the size at which a picture fits into a box, never larger than the picture is.
func fit(w, h, box int) (dw, dh int) {
	switch {
	case w <= box && h <= box:
		return w, h
	case w >= h:
		return box, max(1, (h*box+w/2)/w)
	default:
		return max(1, (w*box+h/2)/h), box
	}
}

// turn applies an orientation of EXIF.
func turn(src *image.RGBA, orientation int) *image.RGBA {
	if orientation == 1 {
		return src
	}
	w, h := src.Bounds().Dx(), src.Bounds().Dy()
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	if orientation > 4 {
		dst = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range dst.Bounds().Dy() {
		for x := range dst.Bounds().Dx() {
			sx, sy := x, y
			switch orientation {
			case 2: // mirrored
				sx = w - 1 - x
			case 3: // upside down
				sx, sy = w-1-x, h-1-y
			case 4:
				sy = h - 1 - y
			case 5:
				sx, sy = y, x
			case 6: // needs a quarter turn clockwise
				sx, sy = y, h-1-x
			case 7:
				sx, sy = w-1-y, h-1-x
			case 8: // needs a quarter turn counterclockwise
				sx, sy = w-1-y, x
			}
			copy(dst.Pix[dst.PixOffset(x, y):][:4], src.Pix[src.PixOffset(sx, sy):][:4])
		}
	}
	return dst
}
