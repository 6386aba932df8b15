package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imapi/imapi/internal/await"
)

// noise returns a picture whose thumbnail differs from that of any other picture.
func noise() image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			img.Set(x, y, color.NRGBA{uint8(rand.IntN(256)), uint8(rand.IntN(256)), uint8(rand.IntN(256)), 255})
		}
	}
	return img
}

// request makes a request with a body of any type and returns the answer.
func (sc *scene) request(method, user, path string, body []byte) (*http.Response, []byte) {
	sc.t.Helper()
	req, err := http.NewRequest(method, "http://"+sc.server.addr+path, bytes.NewReader(body))
	if err != nil {
		sc.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+sc.tokens[user])
	req.Header.Set("Content-Type", "text/html") // which must be ignored
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		sc.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		sc.t.Fatal(err)
	}
	return res, b
}

// upload uploads a file and gives the crawler its id.
func (sc *scene) upload(user, name string, file []byte) string {
	sc.t.Helper()
	res, b := sc.request(http.MethodPost, user, "/v1/attachments?name="+name, file)
	if res.StatusCode != http.StatusCreated {
		sc.t.Fatalf("upload: %d %s", res.StatusCode, b)
	}
	_, after, _ := strings.Cut(string(b), `"id":"`)
	id, _, _ := strings.Cut(after, `"`)
	sc.ids["attachment"] = append(sc.ids["attachment"], id)
	return id
}

// thumbnail waits for the thumbnail of an attachment.
func (sc *scene) thumbnail(user, id string) (*http.Response, []byte) {
	sc.t.Helper()
	var res *http.Response
	var b []byte
	await.Until(sc.t, "the thumbnail is made", func() bool {
		res, b = sc.request(http.MethodGet, user, "/v1/attachments/"+id+"/thumbnail", nil)
		return !bytes.Contains(b, []byte("thumbnail_pending"))
	})
	return res, b
}

// sendPicture sends a picture with the marker in its name and after its pixels, waits for its
// thumbnail, and adds the bytes of that to the forms of the marker. It returns the id of the
// message. It checks that no file has the marker, even before the message is erased.
func (sc *scene) sendPicture(conversation string, m *marker) string {
	sc.t.Helper()
	var file bytes.Buffer
	if err := png.Encode(&file, noise()); err != nil {
		sc.t.Fatal(err)
	}
	file.WriteString(m.text)
	attachment := sc.upload("alice", m.text+".png", file.Bytes())
	res, thumbnail := sc.thumbnail("alice", attachment)
	if res.StatusCode != http.StatusOK {
		sc.t.Fatalf("thumbnail: %d %s", res.StatusCode, thumbnail)
	}
	if m.forms != nil {
		m.forms["pixels"] = file.Bytes()[200:240]
		m.forms["pixels of the thumbnail"] = thumbnail[len(thumbnail)-60 : len(thumbnail)-20]
		sc.inNoFile(*m)
	}
	id := sc.post("alice", "/v1/conversations/"+conversation+"/messages",
		fmt.Sprintf(`{"type":"image","body":{"attachment_id":%q},"ext":{"%s":1}}`, attachment, m.text))["id"].(string)
	sc.ids["message"] = append(sc.ids["message"], id)
	if m.forms != nil {
		sc.inNoFile(*m)
	}
	return id
}

// TestTheCrawlerFindsPictures checks that the crawler finds a picture and its thumbnail while they
// are not erased.
func TestTheCrawlerFindsPictures(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	m := newMarker()
	sc.sendPicture(sc.direct, &m)
	found := strings.Join(sc.leaks(m), "\n")
	attachment := sc.ids["attachment"][len(sc.ids["attachment"])-1]
	for _, where := range []string{"GET /v1/attachments/" + attachment + " as bob", "GET /v1/attachments/" + attachment + "/thumbnail as bob as pixels of the thumbnail"} {
		if !strings.Contains(found, where) {
			t.Errorf("the picture was not found in %s; found in:\n%s", where, found)
		}
	}
	for _, user := range []string{"carol", "stranger", "nobody"} {
		if strings.Contains(found, "GET /v1/attachments/"+attachment+" as "+user) || strings.Contains(found, "/thumbnail as "+user) {
			t.Errorf("%s can see the picture:\n%s", user, found)
		}
	}
}

// TestFilesAreNeverRendered uploads files that browsers could run, under names that lead out of the
// directory, and checks the headers with which the server returns them.
func TestFilesAreNeverRendered(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, noise(), nil); err != nil {
		t.Fatal(err)
	}
	const script = "<script>alert(1)</script>"
	for _, file := range []struct{ name, content, kind string }{
		{"page.html", "<!DOCTYPE html>" + script, "text/plain"},
		{"picture.svg", `<svg xmlns="http://www.w3.org/2000/svg">` + script + "</svg>", "text/plain"},
		{"data.xml", `<?xml version="1.0"?><?xml-stylesheet href="x.xsl"?><x/>`, "text/plain"},
		{"code.js", "alert(1)", "text/plain"},
		{"gif.js", "GIF89a/*" + strings.Repeat(" ", 10) + "*/=alert(1)", "text/plain"},
		{"png.html", "\x89PNG\r\n\x1a\n" + script, "application/octet-stream"},
		{"jpeg.html", picture.String() + script, "image/jpeg"},
		{"pdf.zip", "%PDF-1.7\n" + script + "PK\x03\x04", "application/pdf"},
		{"..%2F..%2F..%2Fetc%2Fpasswd", "root", "text/plain"},
		{"..%5C..%5Cboot.ini", "root", "text/plain"},
		{"%00%0d%0aSet-Cookie:%20a=b", "root", "text/plain"},
	} {
		t.Run(file.name, func(t *testing.T) {
			id := sc.upload("alice", file.name, []byte(file.content))
			res, b := sc.request(http.MethodGet, "alice", "/v1/attachments/"+id, nil)
			h := res.Header
			if string(b) != file.content || res.StatusCode != http.StatusOK {
				t.Fatalf("status %d, %d bytes", res.StatusCode, len(b))
			}
			if h.Get("Content-Type") != file.kind || h.Get("X-Content-Type-Options") != "nosniff" ||
				h.Get("Content-Security-Policy") != "default-src 'none'; sandbox" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment;") {
				t.Errorf("a %s, want a %s: %v", h.Get("Content-Type"), file.kind, h)
			}
			if d := h.Get("Content-Disposition"); strings.ContainsAny(d, "/\\\r\n") || h.Get("Set-Cookie") != "" {
				t.Errorf("the name is %q, cookies %q", d, h.Get("Set-Cookie"))
			}
			res, b = sc.thumbnail("alice", id)
			if file.kind != "image/jpeg" {
				if res.StatusCode != http.StatusNotFound || !bytes.Contains(b, []byte("no_thumbnail")) {
					t.Errorf("a thumbnail: %d %q", res.StatusCode, b)
				}
				return
			}
			if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "image/jpeg" || res.Header.Get("X-Content-Type-Options") != "nosniff" ||
				res.Header.Get("Content-Disposition") != "inline" || bytes.Contains(b, []byte("script")) {
				t.Errorf("the thumbnail: %d %v, %d bytes", res.StatusCode, res.Header, len(b))
			}
		})
	}
	// Nothing was written outside the directory of the blobs.
	err := filepath.WalkDir(sc.server.data, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.ContainsAny(d.Name(), "\\ ") || strings.Contains(path, "passwd") || strings.Contains(path, "boot") {
			t.Errorf("there is %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A server that is killed while it makes thumbnails makes them after its start.
func TestThumbnailsAfterACrash(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewGray(image.Rect(0, 0, 3000, 3000))); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 5 {
		ids = append(ids, sc.upload("alice", "a.png", file.Bytes()))
	}
	sc.server.kill()
	sc.server.start()
	for _, id := range ids {
		if res, b := sc.thumbnail("alice", id); res.StatusCode != http.StatusOK {
			t.Errorf("after the start: %d %q", res.StatusCode, b)
		}
	}
}

// sendPicture sends a picture with a secret in its name and after its pixels, and returns the id of
// the message. The secret is nowhere else.
func (st *stage) sendPicture(conversation, text, more string) string {
	attachment := st.uploadPicture(text)
	st.n++
	return st.post(st.alice, "/v1/conversations/"+conversation+"/messages", fmt.Sprintf(
		`{"client_id":"%s-%d","type":"image","body":{"attachment_id":%q,"name":"a.png"}%s}`, st.alice, st.n, attachment, more))
}

// uploadPicture uploads a picture with a secret in its name and after its pixels, and returns its
// id.
func (st *stage) uploadPicture(text string) string {
	var file bytes.Buffer
	if err := png.Encode(&file, noise()); err != nil {
		st.t.Error(err)
	}
	st.alsoInFile(text)
	return st.post(st.alice, "/v1/attachments?name="+text+".png", file.String()+text)
}
