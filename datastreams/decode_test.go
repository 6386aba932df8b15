package datastreams

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imapi/imapi/im"
)

func decodeAll(body io.Reader, form Encoding, most int) (frames []Payload, err error) {
	d := NewDecoder(body, form, most, func(bool) {}, func(int) error { return nil })
	for {
		f, err := d.Next()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
}

// TestDecodingByteByByte: a body gives the same frames, in whatever pieces it arrives.
func TestDecodingByteByByte(t *testing.T) {
	for name, c := range map[string]struct {
		form Encoding
		body string
	}{
		"binary": {Binary, "\x00\x00\x00\x03\x07abc\x00\x00\x00\x00\xff"},
		"lines":  {Lines, "\n{\"text\":\"a\"}\r\n  \n{\"json\":[1, 2],\"dtype\":3}\n{\"base64\":\"AA==\"}"},
		"one":    {OneJSON, "\n{\"text\":\n\"a\"}\n\n"},
	} {
		whole, err := decodeAll(strings.NewReader(c.body), c.form, 100)
		if err != nil || len(whole) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		pieces, err := decodeAll(iotest.OneByteReader(strings.NewReader(c.body)), c.form, 100)
		if err != nil || len(pieces) != len(whole) {
			t.Fatalf("%s: %d frames, %v", name, len(pieces), err)
		}
		for i := range whole {
			if !bytes.Equal(whole[i].binary, pieces[i].binary) || whole[i].Form != pieces[i].Form {
				t.Errorf("%s: frame %d is %q and %q", name, i, whole[i].binary, pieces[i].binary)
			}
		}
	}
}

// TestDecoderTakesMemory: the decoder calls take before it allocates more memory, and a refusal
// ends it.
func TestDecoderTakesMemory(t *testing.T) {
	for name, c := range map[string]struct {
		form Encoding
		body string
	}{
		"binary": {Binary, "\x00\x0f\x00\x00\x00"},
		"lines":  {Lines, `{"text":"` + strings.Repeat("a", 1<<20)},
	} {
		refusal := errors.New("no memory")
		asked := 0
		d := NewDecoder(strings.NewReader(c.body), c.form, 1<<20, func(bool) {}, func(n int) error { asked += n; return refusal })
		if _, err := d.Next(); !errors.Is(err, refusal) || asked == 0 {
			t.Errorf("%s: asked for %d bytes, then %v", name, asked, err)
		}
	}
}

// FuzzDecoder decodes arbitrary bytes in each form. No frame is larger than allowed, every error is
// a refusal, and decoded frames are the same after they are encoded and decoded again.
func FuzzDecoder(f *testing.F) {
	for _, body := range []string{
		"", "\x00\x00\x00\x01\x02a", "\x00\x00\x00\x09\x02a", "\xff\xff\xff\xff\x00", `{"text":"a"}`, "{\"json\":{\"a\":\n1}}\n{\"dtype\":255,\"base64\":\"AA==\"}",
		`{"text":"\ud800"}`, `{"dtype":1e0,"text":""}`, "\n\n{", `{"text":"a","text":"b"}`,
	} {
		for form := range 3 {
			f.Add([]byte(body), byte(form))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, form byte) {
		const most = 64
		frames, err := decodeAll(bytes.NewReader(body), Encoding(form%3)+1, most)
		if err != nil {
			if e, ok := im.AsError(err); !ok || e.Kind != im.Invalid && e.Kind != im.TooLarge || !strings.HasPrefix(e.Field, "frames/") {
				t.Fatalf("%v", err)
			}
		}
		var binary bytes.Buffer
		for _, p := range frames {
			if p.Size() > most {
				t.Fatalf("a frame of %d bytes", p.Size())
			}
			fr := &frame{Payload: p, id: 1, from: []byte(`"a"`)}
			if event, _ := fr.event(); bytes.Count(event, []byte("\n")) != 4 || bytes.ContainsRune(event, '\r') {
				t.Fatalf("the event has other lines: %q", event)
			}
			binary.Write(p.binary)
		}
		again, err := decodeAll(&binary, Binary, most)
		if err != nil || len(again) != len(frames) {
			t.Fatalf("%d of %d frames again, %v", len(again), len(frames), err)
		}
		for i := range again {
			if !bytes.Equal(again[i].binary, frames[i].binary) {
				t.Fatalf("frame %d is %q, then %q", i, frames[i].binary, again[i].binary)
			}
		}
	})
}
