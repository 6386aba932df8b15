// Package sniff detects the type of a file from its bytes.
//
// The types are a closed list, [Types]. None of them makes a browser run anything: HTML, SVG,
// XML and scripts are text, so their type is text/plain. So there is no list of dangerous types,
// which could be incomplete. The name of a file, and what a client says about it, play no part.
//
// A file may be valid in two formats at once, such as a GIF that is also a script, or a PDF
// with an archive behind it. It gets the type of its first bytes. A server must forbid browsers
// from guessing another one (X-Content-Type-Options: nosniff).
//
//	sniff.go     Type: the type by the first bytes
//	media.go     audio and video: MPEG, ADTS, Ogg, EBML (WebM, Matroska)
//	sniffer.go   Sniffer: a writer that looks deeper into ISO media files (MP4, 3GP)
package sniff
