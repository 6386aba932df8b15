// Package thumbnail makes small pictures of JPEG, PNG, GIF and WebP files that strangers have
// uploaded.
//
// [Measure] reads the header of a picture, [Make] makes a thumbnail: a JPEG, or a PNG if it
// is transparent somewhere. A thumbnail consists of pixels alone. Metadata is left out, such
// as the place where a photo was taken; its orientation is applied. Color profiles are left
// out, too. The same file gives the same thumbnail. Of several frames only the first is
// decoded.
//
// What a picture may cost is known from its header, before it is decoded: see [MaxPixels],
// [MaxMemory] and [MaxScans]. The decoders read through a reader that ends with the context
// and lets other goroutines run in between. One limit is not kept here: the codes of a
// lossless WebP may take some hundred times as much memory as its file has bytes. So a server makes
// thumbnails in a process of its own, whose memory the system limits.
//
//	thumbnail.go   Make: limits, decoding, encoding
//	measure.go     Measure: type, size and orientation of a picture
//	jpeg.go        segments of JPEG files: headers, and what decoding needs
//	webp.go        chunks of WebP files: headers, and what decoding needs
//	exif.go        the orientation in EXIF
//	shrink.go      scaling and turning
package thumbnail
