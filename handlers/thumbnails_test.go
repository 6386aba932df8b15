package handlers_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// picture is a PNG file.
func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// uploadPicture uploads a picture, makes its thumbnail and returns its id.
func (w *world) uploadPicture(user string) string {
	w.t.Helper()
	id, _ := w.upload(user, string(picture(w.t, 9, 9)))["id"].(string)
	w.makeThumbnails()
	return id
}

func (w *world) refuse(user, path, code string) {
	w.t.Helper()
	if a := w.do(user, "GET", path, ""); a.status != http.StatusNotFound || a.code(w.t) != code {
		w.t.Errorf("%s as %s: status %d: %s, want %s", path, user, a.status, a.body, code)
	}
}

func (w *world) makeThumbnails() {
	w.t.Helper()
	if err := w.service.MakeThumbnails(w.t.Context(), func(im.ThumbnailState, time.Duration) {}); err != nil {
		w.t.Fatal(err)
	}
}

func TestThumbnail(t *testing.T) {
	w := newWorld(t)
	a := w.upload("alice", string(picture(t, 640, 480)))
	if a["width"] != 640.0 || a["height"] != 480.0 || a["type"] != "image/png" {
		t.Errorf("the attachment is %v", a)
	}
	path := "/v1/attachments/" + a["id"].(string) + "/thumbnail"
	w.refuse("alice", path, "thumbnail_pending")
	res := w.do("alice", "GET", path, "")
	if got := res.header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After is %q", got)
	}
	w.makeThumbnails()
	res = w.do("alice", "GET", path, "")
	img, err := jpeg.Decode(bytes.NewReader(res.body))
	if err != nil || img.Bounds() != image.Rect(0, 0, 320, 240) {
		t.Fatalf("the thumbnail is %v, error %v", img, err)
	}
	for header, want := range map[string]string{
		"Content-Type": "image/jpeg", "X-Content-Type-Options": "nosniff", "Content-Disposition": "inline",
		"Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "no-store",
		"Cross-Origin-Resource-Policy": "same-site",
	} {
		if got := res.header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	etag := res.header.Get("ETag")
	if len(etag) != 66 {
		t.Errorf("the ETag is %q", etag)
	}
	again := w.do("alice", "GET", path, "", "If-None-Match", etag)
	if again.status != http.StatusNotModified {
		t.Errorf("with If-None-Match the status is %d", again.status)
	}
	w.refuse("bob", path, "attachment_not_found")
	w.refuse("alice", "/v1/attachments/nothing/thumbnail", "attachment_not_found")

	// The recipient of the message can read the thumbnail, until the message is erased; then nobody
	// can.
	m := w.must(http.StatusCreated, "alice", "POST", "/v1/conversations/@bob/messages", `{"type":"image","body":{"attachment_id":"`+a["id"].(string)+`"}}`)
	w.must(http.StatusOK, "bob", "HEAD", path, "")
	w.must(http.StatusOK, "alice", "POST", "/v1/messages/"+m["id"].(string)+"/revoke", "")
	for _, user := range []string{"alice", "bob"} {
		w.refuse(user, path, "attachment_not_found")
	}
}

// The thumbnail of a transparent picture is a PNG. A file that is not a picture has none, nor has
// SVG, or HTML that begins like a picture.
func TestThumbnailsOfOtherFiles(t *testing.T) {
	w := newWorld(t)
	var glass bytes.Buffer
	img := image.NewNRGBA(image.Rect(0, 0, 40, 40))
	img.Set(1, 1, color.White)
	if err := png.Encode(&glass, img); err != nil {
		t.Fatal(err)
	}
	a := w.upload("alice", glass.String())
	var others []string
	for _, file := range []string{
		"text", `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`,
		"\x89PNG\r\n\x1a\n<html><script>alert(1)</script>", glass.String()[:50],
		"GIF89a\x01\x00\x01\x00\x00\x00\x00,<script>alert(1)</script>",
	} {
		others = append(others, w.upload("alice", file)["id"].(string))
	}
	w.makeThumbnails()
	res := w.do("alice", "GET", "/v1/attachments/"+a["id"].(string)+"/thumbnail", "")
	if _, err := png.Decode(bytes.NewReader(res.body)); err != nil || res.header.Get("Content-Type") != "image/png" {
		t.Errorf("the thumbnail is a %s, %v", res.header.Get("Content-Type"), err)
	}
	for _, id := range others {
		w.refuse("alice", "/v1/attachments/"+id+"/thumbnail", "no_thumbnail")
		res := w.do("alice", "GET", "/v1/attachments/"+id, "")
		typ := res.header.Get("Content-Type")
		if strings.Contains(typ, "html") || strings.Contains(typ, "svg") || res.header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(res.header.Get("Content-Disposition"), "attachment") {
			t.Errorf("a file is served as %q, %q", typ, res.header)
		}
	}
}
