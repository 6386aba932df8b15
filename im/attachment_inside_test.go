package im

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestFileNames(t *testing.T) {
	long := strings.Repeat("é", 200)
	for name, want := range map[string]string{
		"":                          defaultFileName,
		".":                         defaultFileName,
		"..":                        defaultFileName,
		" . . ":                     defaultFileName,
		"a.txt":                     "a.txt",
		".profile":                  "profile",
		"../../etc/passwd":          "passwd",
		`C:\Users\me\a.txt`:         "a.txt",
		"dir/":                      defaultFileName,
		"a\x00b\r\nc.txt":           "abc.txt",
		"a\u202egnp.exe":            "agnp.exe",
		"a\u200b\ufeff.txt":         "a.txt",
		"a\u00a0b.txt":              "a b.txt",
		"e\u0301.txt":               "é.txt",
		"\xff\xfea.txt":             "a.txt",
		"👩\u200d🚀.png":              "👩\u200d🚀.png",
		long + ".jpeg":              strings.Repeat("é", 125) + ".jpeg",
		long + "." + long[:40]:      strings.Repeat("é", 127),
		strings.Repeat("x", 255):    strings.Repeat("x", 255),
		strings.Repeat("x", 256):    strings.Repeat("x", 255),
		strings.Repeat("a. ", 1000): strings.TrimRight(strings.Repeat("a. ", 85), " ."),
	} {
		if got := fileName(name); got != want {
			t.Errorf("%.60q is %.60q, want %.60q", name, got, want)
		}
	}
}

// FuzzFileName checks that a name leads out of no directory, has no invisible characters, and does
// not change when FileName is applied again.
func FuzzFileName(f *testing.F) {
	for _, name := range []string{"", "a/b", `a\b`, "..", "a\u202eb", strings.Repeat("é", 300) + ".txt", "\xff", "e\u0301", "a\u200d", "A\u200b\u0300", strings.Repeat("x", 252) + "\u200dyyy"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := fileName(name)
		if got == "" || got == "." || got == ".." || len(got) > maxFileName || !utf8.ValidString(got) || !norm.NFC.IsNormalString(got) {
			t.Errorf("%q is %q", name, got)
		}
		for _, r := range got {
			if r == '/' || r == '\\' || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%q is %q", name, got)
			}
		}
		if again := fileName(got); again != got {
			t.Errorf("%q is %q, and that %q", name, got, again)
		}
	})
}

func TestTypesOfMessagesAndFiles(t *testing.T) {
	for mediaType, want := range map[string]string{
		"image/png":                "image file",
		"image/heic":               "image file",
		"audio/mpeg":               "audio file",
		"video/mp4":                "audio video file",
		"video/x-matroska":         "video file",
		"application/ogg":          "audio video file",
		"text/plain":               "file",
		"application/octet-stream": "file",
		"":                         "file",
		"imaged/png":               "file",
	} {
		var list []string
		for _, m := range []struct {
			name string
			of   MessageType
		}{{"image", Image}, {"audio", Audio}, {"video", Video}, {"file", File}, {"text", Text}} {
			if m.of.holds(mediaType) {
				list = append(list, m.name)
			}
		}
		if got := strings.Join(list, " "); got != want {
			t.Errorf("%s: %s, want %s", mediaType, got, want)
		}
	}
}

func TestBodiesOfAttachments(t *testing.T) {
	id, thumb := ID(1<<40).String(), ID(1<<41).String()
	a := Attachment{ID: 1 << 40, Size: 7, Info: AttachmentInfo{Name: "a.png", Type: "image/png", Width: 3, Height: 4}}
	with := func(members string) string { return `{"attachment_id":"` + id + `"` + members + `}` }
	for name, tt := range map[string]struct{ body, field, code, want string }{
		"only the id":            {body: with(""), want: with(`,"height":4,"name":"a.png","size":7,"type":"image/png","width":3`)},
		"another name":           {body: with(`,"name":"../b\u202e.png"`), want: with(`,"height":4,"name":"b.png","size":7,"type":"image/png","width":3`)},
		"another size on screen": {body: with(`,"height":8,"width":6`), want: with(`,"height":8,"name":"a.png","size":7,"type":"image/png","width":6`)},
		"one measure":            {body: with(`,"width":6`), want: with(`,"name":"a.png","size":7,"type":"image/png","width":6`)},
		"a duration":             {body: with(`,"duration_ms":9`), want: with(`,"duration_ms":9,"height":4,"name":"a.png","size":7,"type":"image/png","width":3`)},
		"a thumbnail":            {body: with(`,"thumbnail_id":"` + thumb + `"`), want: with(`,"height":4,"name":"a.png","size":7,"thumbnail_id":"` + thumb + `","type":"image/png","width":3`)},
		"its size and type":      {body: with(`,"size":7,"type":"image/png"`), want: with(`,"height":4,"name":"a.png","size":7,"type":"image/png","width":3`)},
		"empty":                  {body: `{}`, field: "body/attachment_id", code: "invalid_request"},
		"no id":                  {body: `{"name":"a"}`, field: "body/attachment_id", code: "invalid_request"},
		"a number as id":         {body: `{"attachment_id":1}`, field: "body/attachment_id", code: "invalid_request"},
		"null as id":             {body: `{"attachment_id":null}`, field: "body/attachment_id", code: "invalid_request"},
		"no id of ours":          {body: `{"attachment_id":"../x"}`, field: "body/attachment_id", code: "invalid_request"},
		"a bad thumbnail":        {body: with(`,"thumbnail_id":"x"`), field: "body/thumbnail_id", code: "invalid_request"},
		"a number as name":       {body: with(`,"name":1`), field: "body/name", code: "invalid_request"},
		"zero width":             {body: with(`,"width":0`), field: "body/width", code: "invalid_request"},
		"a large width":          {body: with(`,"width":1048577`), field: "body/width", code: "invalid_request"},
		"a negative size":        {body: with(`,"size":-1`), field: "body/size", code: "invalid_request"},
		"half a millisecond":     {body: with(`,"duration_ms":0.5`), field: "body/duration_ms", code: "invalid_request"},
		"another member":         {body: with(`,"url":"http://x"`), field: "body/url", code: "invalid_request"},
		"another type":           {body: with(`,"type":"text/html"`), field: "body/type", code: "attachment_mismatch"},
		"another size":           {body: with(`,"size":8`), field: "body/size", code: "attachment_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := parseAttachmentBody([]byte(tt.body))
			if err == nil {
				err = b.check(Image, a, nil)
			}
			if tt.code != "" {
				refusal, ok := AsError(err)
				if !ok || refusal.Code != tt.code || refusal.Field != tt.field {
					t.Errorf("%v, want %s of %s", err, tt.code, tt.field)
				}
				return
			}
			if err != nil || string(b.completed(a)) != tt.want {
				t.Errorf("%s, %v, want %s", b.completed(a), err, tt.want)
			}
		})
	}
}
