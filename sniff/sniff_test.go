package sniff_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/imapi/imapi/sniff"
)

const (
	pngHead  = "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00CRC!"
	gifHead  = "GIF89a\x01\x00\x01\x00\x00\x00\x00"
	webmHead = "\x1a\x45\xdf\xa3\x87\x42\x82\x84webm"
	segment  = "\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" // of unknown size
)

func box(kind, content string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(content)))) + kind + content
}

func ftyp(brands ...string) string {
	return box("ftyp", brands[0]+"\x00\x00\x00\x00"+strings.Join(brands[1:], ""))
}

func track(kind string) string {
	return box("trak", box("tkhd", strings.Repeat("t", 84))+
		box("mdia", box("mdhd", "x")+box("hdlr", "\x00\x00\x00\x00\x00\x00\x00\x00"+kind+"rest of the handler")+box("minf", "trakmdia")))
}

func mp3Frame(bitrate byte) string { return "\xff\xfb" + string([]byte{bitrate << 4, 0}) }

func TestType(t *testing.T) {
	mp3 := mp3Frame(9) + strings.Repeat("\x00", 144*128000/44100-4)
	adts := "\xff\xf1\x50\x80\x02\x1f\xfc" + strings.Repeat("\x01", 9)
	ogg := func(packet string) string {
		return "OggS\x00\x02" + strings.Repeat("\x00", 20) + "\x01\x13" + packet
	}
	for _, test := range []struct{ name, file, want string }{
		{"jpeg", "\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg"},
		{"jpeg of a camera", "\xff\xd8\xff\xe1\x00\x10Exif\x00", "image/jpeg"},
		{"only a jpeg marker", "\xff\xd8\xff", "application/octet-stream"},
		{"png", pngHead, "image/png"},
		{"gif without colors", gifHead + ",", "image/gif"},
		{"gif with colors", "GIF87a\x01\x00\x01\x00\x80\x00\x00rgbRGB!", "image/gif"},
		{"webp, lossy", "RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"},
		{"webp, lossless", "RIFF\x10\x00\x00\x00WEBPVP8L", "image/webp"},
		{"webp, extended", "RIFF\x10\x00\x00\x00WEBPVP8X", "image/webp"},
		{"webp without a picture", "RIFF\x10\x00\x00\x00WEBPEXIF", "application/octet-stream"},
		{"avif", ftyp("avif", "mif1", "miaf"), "image/avif"},
		{"avif by a compatible brand", ftyp("mif1", "miaf", "avif"), "image/avif"},
		{"heic", ftyp("heic", "mif1"), "image/heic"},
		{"heic by a compatible brand", ftyp("mif1", "heic"), "image/heic"},
		{"mp4", ftyp("isom", "iso2", "avc1"), "video/mp4"},
		{"mp4 by a compatible brand", ftyp("abcd", "mp42"), "video/mp4"},
		{"mp4 of unknown brands", ftyp("abcd", "efgh"), "application/octet-stream"},
		{"m4a", ftyp("M4A ", "isom"), "audio/mp4"},
		{"quicktime", ftyp("qt  "), "video/quicktime"},
		{"3gp", ftyp("3gp4"), "video/3gpp"},
		{"mp3 with a tag", "ID3\x04\x00\x00\x00\x00\x02\x01", "audio/mpeg"},
		{"mp3 with a tag of impossible size", "ID3\x04\x00\x00\x80\x00\x02\x01", "application/octet-stream"},
		{"mp3", mp3 + mp3, "audio/mpeg"},
		{"one frame of mp3", mp3 + "nothing", "application/octet-stream"},
		{"mp3 of reserved bitrate", mp3Frame(15) + mp3, "application/octet-stream"},
		{"aac", adts + adts, "audio/aac"},
		{"one frame of aac", adts + "nothing", "application/octet-stream"},
		{"opus", ogg("OpusHead"), "audio/ogg"},
		{"vorbis", ogg("\x01vorbis"), "audio/ogg"},
		{"theora", ogg("\x80theora"), "video/ogg"},
		{"ogg of something else", ogg("text"), "application/octet-stream"},
		{"wav", "RIFF\x10\x00\x00\x00WAVEfmt ", "audio/wav"},
		{"avi", "RIFF\x10\x00\x00\x00AVI LIST", "video/x-msvideo"},
		{"flac", "fLaC\x00\x00\x00\x22", "audio/flac"},
		{"amr", "#!AMR\n\x3c", "audio/amr"},
		{"amr, wide band", "#!AMR-WB\n\x04", "audio/amr"},
		{"webm", webmHead, "video/webm"},
		{"webm with only audio", webmHead + segment + "\xec\x82xx" + "\x16\x54\xae\x6b\x85\xae\x83\x83\x81\x02", "audio/webm"},
		{"webm with video and audio", webmHead + segment + "\x16\x54\xae\x6b\x8a\xae\x83\x83\x81\x01\xae\x83\x83\x81\x02", "video/webm"},
		{"webm whose tracks are cut off", webmHead + segment + "\x16\x54\xae\x6b\x8a\xae", "video/webm"},
		{"matroska", "\x1a\x45\xdf\xa3\x8b\x42\x82\x88matroska", "video/x-matroska"},
		{"pdf", "%PDF-1.7\n", "application/pdf"},
		{"zip", "PK\x03\x04", "application/zip"},
		{"empty zip", "PK\x05\x06", "application/zip"},
		{"gzip", "\x1f\x8b\x08", "application/gzip"},
		{"7z", "7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"},
		{"rar", "Rar!\x1a\x07\x01", "application/vnd.rar"},
		{"empty file", "", "application/octet-stream"},
		{"zeros", "\x00\x00\x00\x00", "application/octet-stream"},
		{"an executable", "\x7fELF\x02\x01\x01", "application/octet-stream"},
		{"UTF-16", "\xff\xfeh\x00i\x00", "application/octet-stream"},
		{"Latin-1", "caf\xe9", "application/octet-stream"},

		{"text", "hello\r\n\tworld", "text/plain"},
		{"text of other scripts", "你好，世界", "text/plain"},
		{"html", "<!DOCTYPE html><script>alert(1)</script>", "text/plain"},
		{"html with a byte order mark", "\ufeff<html>", "text/plain"},
		{"svg", `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`, "text/plain"},
		{"xml", `<?xml version="1.0"?><?xml-stylesheet href="x.xsl"?>`, "text/plain"},
		{"script", "alert(document.cookie)", "text/plain"},
		{"shell script", "#!/bin/sh\nrm -rf /\n", "text/plain"},
		{"multipart archive", "MIME-Version: 1.0\nContent-Type: multipart/related", "text/plain"},
		{"html with a zero byte", "<html>\x00<script>", "application/octet-stream"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := sniff.Type([]byte(test.file)); got != test.want {
				t.Errorf("Type is %q, want %q", got, test.want)
			}
		})
	}
}

// A file in two formats has the type of its first bytes, and never a type that browsers run.
func TestTypeOfPolyglots(t *testing.T) {
	zeros := strings.Repeat("\x00", 600)
	for _, test := range []struct{ name, file, want string }{
		{"gif and script", gifHead + "!\xfe\x0c*/=alert(1)/*\x00;", "image/gif"},
		{"script that begins like a gif", "GIF89a/*a*/=alert(1)//" + strings.Repeat(" ", 800), "text/plain"},
		{"script that begins like a gif without a frame", "GIF89a=1;alert(1);" + zeros, "application/octet-stream"},
		{"html after the signature of png", "\x89PNG\r\n\x1a\n<html><script>alert(1)</script></html>", "application/octet-stream"},
		{"html in a comment of a png", pngHead + "\x00\x00\x00\x10tEXt<script>alert(1)</script>", "image/png"},
		{"jpeg and script", "\xff\xd8\xff\xe0/*JFIF*/=alert(1)", "image/jpeg"},
		{"pdf and zip", "%PDF-1.4\n" + zeros + "PK\x03\x04", "application/pdf"},
		{"html before a pdf", "<html>\n%PDF-1.4\n", "text/plain"},
		{"html before a zip", "<script>alert(1)</script>\nPK\x03\x04\x00", "application/octet-stream"},
		{"zip and java archive", "PK\x03\x04META-INF/MANIFEST.MF", "application/zip"},
		{"html in a sound", "RIFF\x10\x00\x00\x00WAVE<script>alert(1)</script>", "audio/wav"},
		{"svg compressed", "\x1f\x8b\x08\x00<svg>", "application/gzip"},
		{"html after much space", strings.Repeat(" ", 5000) + "<html>", "text/plain"},
		{"flash", "CWS\x0babcd", "application/octet-stream"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := sniff.Type([]byte(test.file)); got != test.want {
				t.Errorf("Type is %q, want %q", got, test.want)
			}
		})
	}
}

// No type is one that a browser runs, or renders as a page.
func TestTypesAreInert(t *testing.T) {
	for _, typ := range sniff.Types {
		for _, word := range []string{"html", "svg", "xml", "script", "flash", "java", "css", "wasm", "json"} {
			if strings.Contains(typ, word) {
				t.Errorf("%s is among the types", typ)
			}
		}
	}
}

func TestTextMayBeCutInACharacter(t *testing.T) {
	text := []byte(strings.Repeat("a", sniff.HeadSize-1) + "é and more")
	if got := sniff.Type(text); got != sniff.Text {
		t.Errorf("a long text has type %q", got)
	}
	if got := sniff.Type(text[:100]); got != sniff.Text {
		t.Errorf("a short text has type %q", got)
	}
	if got := sniff.Type([]byte("short \xc3")); got != sniff.Unknown {
		t.Errorf("a file that ends in a character has type %q", got)
	}
}

func TestSniffer(t *testing.T) {
	mdat := box("mdat", strings.Repeat("moovtrak", 4000))
	large := "\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x00\x20hdlrhdlrhdlrhdlr"
	for _, test := range []struct{ name, file, want string }{
		{"audio, index at the end", ftyp("mp42", "isom") + mdat + box("moov", box("mvhd", "x")+track("soun")), "audio/mp4"},
		{"audio, index at the beginning", ftyp("iso5") + box("moov", track("soun")) + mdat, "audio/mp4"},
		{"video", ftyp("isom") + mdat + box("moov", track("soun")+track("vide")), "video/mp4"},
		{"video before audio", ftyp("isom") + mdat + box("moov", track("vide")+track("soun")), "video/mp4"},
		{"audio after a large box", ftyp("isom") + large + box("moov", track("soun")), "audio/mp4"},
		{"no tracks", ftyp("isom") + mdat, "video/mp4"},
		{"data up to the end of the file", ftyp("isom") + "\x00\x00\x00\x00mdat" + box("moov", track("soun")), "video/mp4"},
		{"a handler up to the end of the file", ftyp("isom") + "\x00\x00\x00\x00hdlr\x00\x00\x00\x00\x00\x00\x00\x00sounrest", "audio/mp4"},
		{"a box of impossible size", ftyp("isom") + "\x00\x00\x00\x07free" + box("moov", track("soun")), "video/mp4"},
		{"3gp of a voice recorder", ftyp("3gp4") + mdat + box("moov", track("soun")), "audio/3gpp"},
		{"m4a with a cover", ftyp("M4A ") + box("moov", track("vide")+track("soun")), "audio/mp4"},
		{"text", "just text", "text/plain"},
		{"empty file", "", "application/octet-stream"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{1, 7, 4096, len(test.file) + 1} {
				var s sniff.Sniffer
				for part := range slices.Chunk([]byte(test.file), size) {
					if n, err := s.Write(part); n != len(part) || err != nil {
						t.Fatalf("Write returned %d, %v", n, err)
					}
				}
				if got := s.Type(); got != test.want {
					t.Errorf("in writes of %d bytes the type is %q, want %q", size, got, test.want)
				}
			}
		})
	}
}

// The type of any bytes, written in parts of any size, is one of the list, and the same as in
// one write.
func FuzzSniffer(f *testing.F) {
	f.Add([]byte(ftyp("isom")+box("moov", track("soun"))), 3)
	f.Add([]byte(webmHead+segment+"\x16\x54\xae\x6b\x85\xae\x83\x83\x81\x02"), 1)
	f.Add([]byte(pngHead), 10)
	f.Add([]byte(ftyp("isom")+"\x00\x00\x00\x00hdlr\x00\x00\x00\x00\x00\x00\x00\x00soun"), 5)
	f.Add([]byte("<svg/>"), 2)
	f.Fuzz(func(t *testing.T, file []byte, size int) {
		before := bytes.Clone(file)
		head := sniff.Type(file)
		if !slices.Contains(sniff.Types, head) {
			t.Fatalf("Type is %q, which is not in the list", head)
		}
		var whole, parts sniff.Sniffer
		_, _ = whole.Write(file)
		for part := range slices.Chunk(file, min(max(size, 1), 5000)) {
			_, _ = parts.Write(part)
		}
		got := whole.Type()
		if again := parts.Type(); again != got {
			t.Errorf("in parts the type is %q, at once %q", again, got)
		}
		if got != head && !strings.HasPrefix(got, "audio/") {
			t.Errorf("the head has type %q, the file %q", head, got)
		}
		if !bytes.Equal(file, before) {
			t.Error("the file was changed")
		}
	})
}
