// Package thumbnail makes small pictures of JPEG, PNG, GIF and WebP files that strangers have
// uploaded.
//
// [Measure] reads the header of a picture, [Make] makes a thumbnail: a JPEG, or a PNG if it
// is transparent somewhere. A thumbnail contains nothing but pixels. Metadata, such as where a
// photo was taken, is left out; the orientation is applied. Color profiles are left out, too. The
// same file gives the same thumbnail. Of an animation only the first frame is decoded.
//
// The cost of a picture is computed from its header, before it is decoded: see [MaxPixels],
// [MaxMemory] and [MaxScans]. The decoders read through a reader that checks the context and yields
// to other goroutines.
//
// Still, decoders have unknown bugs, and decoding takes processor time from others. So a server
// makes thumbnails in a [Process] of low priority, whose memory the system limits and which holds
// no secrets.
//
//	thumbnail.go   Make: limits, decoding, encoding
//	measure.go     Measure: type, size and orientation of a picture
//	jpeg.go        segments of JPEG files: headers, and what decoding needs
//	webp.go        chunks of WebP files: headers, and what decoding needs
//	exif.go        the orientation in EXIF
//	shrink.go      scaling and turning
//	process.go     Process: thumbnails made in another process; Serve: that process
//	maker.go       Process as package im uses it
//	confine_*.go   what that process may do, on each system
package thumbnail
