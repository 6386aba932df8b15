package handlers_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/png"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// smallFiles limits attachments to 1,000 bytes and a user to three files of that size.
func smallFiles(_ *handlers.Options, _ *events.Options, p *im.Policy) {
	p.MaxAttachmentBytes, p.AttachmentQuota = 1000, 3*(1000+4096)
}

// form returns a multipart form and its media type.
func form(t testing.TB, parts ...[3]string) (body, mediaType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		part, err := w.CreateFormFile(p[0], p[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, p[2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func (w *world) download(user, id string, header ...string) answer {
	w.t.Helper()
	return w.do(user, "GET", "/v1/attachments/"+id, "", header...)
}

// sendFile sends a message with an attachment and returns its id.
func (w *world) sendFile(user, to, attachment string) string {
	w.t.Helper()
	return w.must(http.StatusCreated, user, "POST", "/v1/conversations/"+to+"/messages",
		`{"type":"file","body":{"attachment_id":"`+attachment+`"}}`)["id"].(string)
}

func TestUpload(t *testing.T) {
	w := newWorld(t)
	const content = "%PDF-1.7 hello"
	sum := sha256.Sum256([]byte(content))
	oneFile, oneType := form(t, [3]string{"file", "a/../naïve.pdf", content})
	for name, tt := range map[string]struct{ query, body, mediaType, disposition, want string }{
		"raw":                         {"", content, "image/png", "", "attachment"},
		"raw with a name":             {"?name=..%2F..%2Fx.pdf", content, "application/octet-stream", "", "x.pdf"},
		"raw with a disposition":      {"", content, "text/html", `attachment; filename*=utf-8''na%C3%AFve.pdf`, "naïve.pdf"},
		"the parameter comes first":   {"?name=x.pdf", content, "text/html", `attachment; filename="y.pdf"`, "x.pdf"},
		"a form":                      {"", oneFile, oneType, "", "naïve.pdf"},
		"a form without a line break": {"", strings.TrimSuffix(oneFile, "\r\n"), oneType, "", "naïve.pdf"},
		"a form and a parameter":      {"?name=x.pdf", oneFile, oneType, "", "x.pdf"},
		"bidirectional and controls":  {"?name=a%E2%80%AEfdp.exe%00%0A", content, "x/y", "", "afdp.exe"},
	} {
		t.Run(name, func(t *testing.T) {
			header := []string{"Content-Type", tt.mediaType}
			if tt.disposition != "" {
				header = append(header, "Content-Disposition", tt.disposition)
			}
			w := w.in(t)
			a := w.must(http.StatusCreated, "alice", "POST", "/v1/attachments"+tt.query, tt.body, header...)
			if a["name"] != tt.want || a["type"] != "application/pdf" || a["size"] != float64(len(content)) || a["sha256"] != hex.EncodeToString(sum[:]) {
				t.Errorf("got %v", a)
			}
			got := w.download("alice", a["id"].(string))
			if got.status != http.StatusOK || string(got.body) != content {
				t.Errorf("downloaded %d %q", got.status, got.body)
			}
		})
	}
}

func TestUploadRefusals(t *testing.T) {
	w := newWorld(t, smallFiles)
	two, twoType := form(t, [3]string{"file", "a", "a"}, [3]string{"file", "b", "b"})
	other, otherType := form(t, [3]string{"files", "a", "a"})
	large, largeType := form(t, [3]string{"file", "a", strings.Repeat("x", 1001)})
	cut, cutType := form(t, [3]string{"file", "a", "hello"})
	for name, tt := range map[string]struct {
		body, mediaType string
		status          int
		code            string
	}{
		"empty":              {"", "text/plain", 400, "invalid_request"},
		"too large":          {strings.Repeat("x", 1001), "text/plain", 413, "attachment_too_large"},
		"a large form":       {large, largeType, 413, "attachment_too_large"},
		"two files":          {two, twoType, 400, "invalid_request"},
		"another part":       {other, otherType, 400, "invalid_request"},
		"a form cut off":     {cut[:len(cut)-12], cutType, 400, "upload_incomplete"},
		"a form without end": {strings.TrimSuffix(cut, "--\r\n"), cutType, 400, "upload_incomplete"},
		"a part just begun":  {strings.TrimSuffix(cut, "--\r\n") + "\r\n", cutType, 400, "invalid_request"},
		"no boundary":        {cut, "multipart/form-data", 400, "invalid_request"},
		"another boundary":   {cut, "multipart/form-data; boundary=x", 400, "invalid_request"},
		"a huge head":        {"--b\r\nX: " + strings.Repeat("x", 20_000), "multipart/form-data; boundary=b", 400, "invalid_request"},
		"much after the end": {large + strings.Repeat("x", 100_000), largeType, 413, "attachment_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			for _, known := range []bool{true, false} {
				req, err := http.NewRequest(http.MethodPost, w.url+"/v1/attachments", io.NopCloser(strings.NewReader(tt.body)))
				if err != nil {
					t.Fatal(err)
				}
				if known {
					req.ContentLength = int64(len(tt.body))
				}
				req.Header.Set("Content-Type", tt.mediaType)
				req.Header.Set("Authorization", "Bearer "+tokenOf(t, "alice"))
				if a := w.send(req); a.status != tt.status || a.code(t) != tt.code {
					t.Errorf("length known %v: %d %s", known, a.status, a.body)
				}
			}
		})
	}
	w.left(0)
}

// left checks the numbers of attachments and files.
func (w *world) left(want int) {
	w.t.Helper()
	use, err := w.service.AttachmentUse(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	swept, err := w.service.SweepBlobs(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if use.Files != int64(want) || swept != 0 {
		w.t.Errorf("%d attachments, %d files without one; want %d", use.Files, swept, want)
	}
}

// A client that disconnects, or announces more than it sends, leaves nothing behind.
func TestUploadCutOff(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(c, "POST /v1/attachments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 200000\r\n\r\n%s",
			tokenOf(t, "alice"), strings.Repeat("x", 100_000))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	w.left(0)
}

// TestRefusedUploadsAreAnswered: a client that sends all of its file before it reads gets the
// answer, whatever refuses the file, and not a broken connection.
func TestRefusedUploadsAreAnswered(t *testing.T) {
	w := newWorld(t, func(_ *handlers.Options, _ *events.Options, p *im.Policy) { p.AttachmentQuota = 1 << 20 })
	token := tokenOf(t, "alice")
	const size = 12 << 20
	for name, test := range map[string]struct {
		head   string
		size   int
		status string
	}{
		"no token":          {"", size, "401"},
		"no such token":     {"Authorization: Bearer x\r\n", size, "401"},
		"too large":         {"Authorization: Bearer " + token + "\r\n", size, "413"},
		"over the quota":    {"Authorization: Bearer " + token + "\r\n", 9 << 20, "422"},
		"no form":           {"Authorization: Bearer " + token + "\r\nContent-Type: multipart/form-data\r\n", size, "400"},
		"a bad X-Device-Id": {"Authorization: Bearer " + token + "\r\nX-Device-Id: " + strings.Repeat("x", 1000) + "\r\n", size, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			_, err = fmt.Fprintf(c, "POST /v1/attachments HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n", test.size, test.head)
			if err == nil {
				_, err = c.Write(bytes.Repeat([]byte("x"), test.size))
			}
			if err != nil {
				t.Fatalf("sending the file: %v", err)
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if b, err := io.ReadAll(res.Body); err != nil || res.Status[:3] != test.status {
				t.Errorf("status %s, %v: %s", res.Status, err, b)
			}
		})
	}
}

// TestRefusalOfUploadIsComplete: a client that stops sending when it is refused gets all of the
// answer at once, and does not wait until the server has given up on the rest of the file.
func TestRefusalOfUploadIsComplete(t *testing.T) {
	w := newWorld(t, smallFiles)
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "POST /v1/attachments HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nthe beginning", 1<<20); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusUnauthorized || res.ContentLength <= 0 {
		t.Errorf("status %d, Content-Length %d: the end of the answer comes after the rest of the file", res.StatusCode, res.ContentLength)
	}
}

func TestAttachmentQuota(t *testing.T) {
	w := newWorld(t, smallFiles)
	var ids []string
	for range 3 {
		ids = append(ids, w.upload("alice", strings.Repeat("x", 1000))["id"].(string))
	}
	if a := w.do("alice", "POST", "/v1/attachments", "x"); a.status != 422 || a.code(t) != "attachment_quota_exceeded" {
		t.Errorf("over the quota: %d %s", a.status, a.body)
	}
	w.upload("bob", "x")
	message := w.sendFile("alice", "@bob", ids[0])
	w.must(http.StatusOK, "alice", "POST", "/v1/messages/"+message+"/revoke", "")
	w.upload("alice", "there is room again")
	w.left(4)
}

// For users who can read none of the messages with an attachment, the server looks at all of them.
func TestMessagesWithAnAttachmentAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := w.upload("alice", "hello")["id"].(string)
	body := `"type":"file","body":{"attachment_id":"` + id + `"}}`
	const most = 500 // per request
	for first := 0; first < im.MaxReferences; first += most {
		to := make([]string, most)
		for i := range to {
			to[i] = fmt.Sprint("@user", first+i)
		}
		for _, r := range w.sendAs("alice", fmt.Sprintf(`{"client_id":"c-%d",%s`, first, body), to...) {
			if r["status"] != 201.0 {
				t.Fatal(r)
			}
		}
	}
	if a := w.do("alice", "POST", "/v1/conversations/@bob/messages", "{"+body); a.status != 422 || a.code(t) != "attachment_overused" {
		t.Errorf("one message more: %d %s", a.status, a.body)
	}
	if a := w.download("user999", id); a.status != 200 {
		t.Errorf("the last recipient: %d %s", a.status, a.body)
	}
}

func TestManyUploadsAtOnce(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	for user := range 10 {
		for range 10 {
			group.Go(func() {
				a := w.do(fmt.Sprint("user", user), "POST", "/v1/attachments", strings.Repeat("x", 100_000))
				if a.status != http.StatusCreated {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
	}
	group.Wait()
	w.left(100)
}

// TestTransfersTakeTurns: a part of a file is in memory until it is written to the disk or the
// client, so the numbers of concurrent uploads and downloads, thumbnails included, are limited.
func TestTransfersTakeTurns(t *testing.T) {
	w := newWorld(t)
	id := w.uploadPicture("alice")
	release := w.server.HoldTransfers()
	for _, request := range []struct{ method, path, body string }{
		{"GET", "/v1/attachments/" + id, ""},
		{"GET", "/v1/attachments/" + id + "/thumbnail", ""},
		{"POST", "/v1/attachments", "hello"},
	} {
		a := w.do("alice", request.method, request.path, request.body)
		if a.status != http.StatusServiceUnavailable || a.code(t) != "overloaded" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s %s without a turn: %d, Retry-After %q: %s", request.method, request.path, a.status, a.header.Get("Retry-After"), a.body)
		}
	}
	release()
	for _, path := range []string{"", "/thumbnail"} {
		w.must(http.StatusOK, "alice", "HEAD", "/v1/attachments/"+id+path, "")
	}
	w.upload("alice", "hello")
	w.server.HoldTransfers()() // all turns are free
}

func TestDownloadRanges(t *testing.T) {
	w := newWorld(t)
	content := strings.Repeat("0123456789", 20_000)
	id := w.upload("alice", content)["id"].(string)
	sum := sha256.Sum256([]byte(content))
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	for name, tt := range map[string]struct {
		header       []string
		status       int
		body         string
		contentRange string
	}{
		"all":                   {nil, 200, content, ""},
		"the beginning":         {[]string{"Range", "bytes=0-4"}, 206, content[:5], "bytes 0-4/200000"},
		"across chunks":         {[]string{"Range", "bytes=65530-65545"}, 206, content[65530:65546], "bytes 65530-65545/200000"},
		"to the end":            {[]string{"Range", "bytes=199990-"}, 206, content[199990:], "bytes 199990-199999/200000"},
		"past the end":          {[]string{"Range", "bytes=199990-999999"}, 206, content[199990:], "bytes 199990-199999/200000"},
		"the end":               {[]string{"Range", "bytes=-7"}, 206, content[199993:], "bytes 199993-199999/200000"},
		"more than all":         {[]string{"Range", "bytes=-999999"}, 206, content, "bytes 0-199999/200000"},
		"after the end":         {[]string{"Range", "bytes=200000-"}, 416, "", "bytes */200000"},
		"nothing":               {[]string{"Range", "bytes=-0"}, 416, "", "bytes */200000"},
		"several":               {[]string{"Range", "bytes=0-1,5-6"}, 200, content, ""},
		"backwards":             {[]string{"Range", "bytes=5-4"}, 200, content, ""},
		"malformed":             {[]string{"Range", "bytes=a-b"}, 200, content, ""},
		"another unit":          {[]string{"Range", "lines=0-4"}, 200, content, ""},
		"if this file":          {[]string{"Range", "bytes=0-4", "If-Range", etag}, 206, content[:5], "bytes 0-4/200000"},
		"if another file":       {[]string{"Range", "bytes=0-4", "If-Range", `"x"`}, 200, content, ""},
		"unless another file":   {[]string{"If-None-Match", `"x"`}, 200, content, ""},
		"unless this file":      {[]string{"If-None-Match", `"x", W/` + etag}, 304, "", ""},
		"unless there is any":   {[]string{"If-None-Match", `*`}, 304, "", ""},
		"far larger than int64": {[]string{"Range", "bytes=99999999999999999999-"}, 416, "", "bytes */200000"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.in(t).download("alice", id, tt.header...)
			if a.status != tt.status || tt.body != "" && string(a.body) != tt.body || a.header.Get("Content-Range") != tt.contentRange {
				t.Errorf("%d, %d bytes, %q", a.status, len(a.body), a.header.Get("Content-Range"))
			}
		})
	}
	a := w.do("alice", "HEAD", "/v1/attachments/"+id, "")
	if a.status != 200 || len(a.body) != 0 || a.header.Get("Content-Length") != "200000" || a.header.Get("ETag") != etag {
		t.Errorf("HEAD: %d, %v", a.status, a.header)
	}
}

func TestDownloadHeaders(t *testing.T) {
	w := newWorld(t)
	a := w.must(http.StatusCreated, "alice", "POST", "/v1/attachments?name=%22%3Cna%C3%AFve%3E.html", "<html><script>alert(1)</script>")
	got := w.download("alice", a["id"].(string))
	for name, want := range map[string]string{
		"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Security-Policy": "default-src 'none'; sandbox", "Accept-Ranges": "bytes",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q", name, got.header.Get(name))
		}
	}
	if d := got.header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment; filename") || strings.ContainsAny(d, "<>") {
		t.Errorf("Content-Disposition: %q", d)
	}
}

// TestWhoMayDownload checks who may download an attachment throughout its life.
func TestWhoMayDownload(t *testing.T) {
	w := newWorld(t)
	id := w.upload("alice", "secret")["id"].(string)
	check := func(when string, may ...string) {
		t.Helper()
		for _, user := range []string{"alice", "bob", "carol", "mallory"} {
			want := http.StatusNotFound
			for _, m := range may {
				if m == user {
					want = http.StatusOK
				}
			}
			if a := w.download(user, id); a.status != want {
				t.Errorf("%s: %s gets %d, want %d", when, user, a.status, want)
			}
		}
	}
	check("an orphan", "alice")
	if a := w.do("mallory", "POST", "/v1/conversations/@bob/messages", `{"type":"file","body":{"attachment_id":"`+id+`"}}`); a.status != 422 || a.code(t) != "attachment_unusable" {
		t.Errorf("a stranger sends it: %d %s", a.status, a.body)
	}
	first := w.sendFile("alice", "@bob", id)
	check("sent", "alice", "bob")
	group := w.group("bob", "carol")
	second := w.sendFile("bob", group, id)
	check("forwarded", "alice", "bob", "carol")
	w.must(http.StatusOK, "alice", "POST", "/v1/messages/"+first+"/revoke", "")
	check("the first revoked", "bob", "carol")
	w.do("carol", "POST", "/v1/conversations/"+group+"/hide", `{"message_ids":["`+second+`"]}`)
	check("hidden by carol", "bob")
	w.must(http.StatusOK, "bob", "POST", "/v1/messages/"+second+"/revoke", "")
	check("all revoked")
	if a := w.do("alice", "POST", "/v1/conversations/@bob/messages", `{"type":"file","body":{"attachment_id":"`+id+`"}}`); a.status != 422 {
		t.Errorf("sent after it was erased: %d %s", a.status, a.body)
	}
	await.Until(t, "the file is deleted", func() bool {
		n, err := w.service.DeleteBlobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
	w.left(0)
}

// The readers of an expiring message lose its file at that time, whether or not the job has erased
// it.
func TestBurningAttachment(t *testing.T) {
	w := newWorld(t)
	id := w.upload("alice", "secret")["id"].(string)
	sent := w.must(http.StatusCreated, "alice", "POST", "/v1/conversations/@bob/messages",
		`{"type":"file","body":{"attachment_id":"`+id+`"},"burn":{"after_seconds":0}}`)
	if a := w.download("bob", id); a.status != http.StatusOK {
		t.Fatalf("before it is read: %d", a.status)
	}
	w.must(http.StatusOK, "bob", "POST", "/v1/conversations/"+sent["conversation_id"].(string)+"/receipts",
		`{"kind":"read","up_to":"`+sent["id"].(string)+`"}`)
	for _, user := range []string{"alice", "bob"} {
		if a := w.download(user, id); a.status != http.StatusNotFound {
			t.Errorf("%s after it burned: %d", user, a.status)
		}
	}
}

// A download in progress ends when the message is erased.
func TestErasureCutsOffADownload(t *testing.T) {
	ended := make(chan struct{}, 1)
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.Observe = func(operation string, _ int, _ time.Duration) {
			if operation == "getAttachment" {
				ended <- struct{}{}
			}
		}
	})
	id := w.upload("alice", strings.Repeat("x", 10<<20))["id"].(string)
	message := w.sendFile("alice", "@bob", id)
	req, err := http.NewRequest(http.MethodGet, w.url+"/v1/attachments/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tokenOf(t, "bob"))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.CopyN(io.Discard, res.Body, 1000); err != nil {
		t.Fatal(err)
	}
	w.must(http.StatusOK, "alice", "POST", "/v1/messages/"+message+"/revoke", "")
	<-ended // while the client does not read
	if n, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Errorf("%d bytes more, to the end", n)
	}
}

// TestErasureEndsStalledDownloads: a client that does not read has its download ended, too. Its
// turn is free before a write of the server would time out.
func TestErasureEndsStalledDownloads(t *testing.T) {
	const turns = 8 // of a user
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) { o.WriteTimeout = time.Hour })
	content := strings.Repeat("x", 10<<20)
	stall := func(id string) []net.Conn {
		stalled := make([]net.Conn, turns)
		for i := range stalled {
			stalled[i] = w.stall("bob", "/v1/attachments/"+id)
		}
		return stalled
	}
	revoked := w.upload("alice", content)["id"].(string)
	message := w.sendFile("alice", "@bob", revoked)
	kept := w.upload("alice", content)["id"].(string)
	w.sendFile("alice", "@bob", kept)
	stalled := stall(revoked)
	w.must(http.StatusOK, "alice", "POST", "/v1/messages/"+message+"/revoke", "")
	stall(kept) // needs the turns of all that are stalled
	for _, c := range stalled {
		if n, err := io.Copy(io.Discard, c); n >= int64(len(content)) {
			t.Errorf("got %d bytes, %v", n, err)
		}
	}
}

func TestAttachmentBodies(t *testing.T) {
	w := newWorld(t)
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 3, 4))); err != nil {
		t.Fatal(err)
	}
	png := w.must(http.StatusCreated, "alice", "POST", "/v1/attachments?name=cat.png", picture.String())["id"].(string)
	text := w.must(http.StatusCreated, "alice", "POST", "/v1/attachments?name=a.txt", "hello")["id"].(string)
	for body, want := range map[string]string{
		`{"type":"image","body":{"attachment_id":"` + png + `"}}`:                                               "",
		`{"type":"file","body":{"attachment_id":"` + png + `","name":"../x.png","thumbnail_id":"` + png + `"}}`: "",
		`{"type":"image","body":{"attachment_id":"` + text + `"}}`:                                              "attachment_mismatch",
		`{"type":"video","body":{"attachment_id":"` + png + `"}}`:                                               "attachment_mismatch",
		`{"type":"file","body":{"attachment_id":"` + text + `","size":6}}`:                                      "attachment_mismatch",
		`{"type":"file","body":{"attachment_id":"` + text + `","type":"text/html"}}`:                            "attachment_mismatch",
		`{"type":"file","body":{"attachment_id":"` + png + `","thumbnail_id":"` + text + `"}}`:                  "attachment_mismatch",
		`{"type":"file","body":{"attachment_id":"0123456789abc"}}`:                                              "attachment_unusable",
		`{"type":"file","body":{"attachment_id":"x"}}`:                                                          "invalid_request",
		`{"type":"file","body":{"attachment_id":"` + png + `","width":0}}`:                                      "invalid_request",
		`{"type":"file","body":{"text":"x"}}`:                                                                   "invalid_request",
	} {
		a := w.do("alice", "POST", "/v1/conversations/@bob/messages", body)
		if want == "" && a.status != http.StatusCreated || want != "" && a.code(t) != want {
			t.Errorf("%s: %d %s, want %s", body, a.status, a.body, want)
		}
	}
	sent := w.must(http.StatusCreated, "alice", "POST", "/v1/conversations/@bob/messages", `{"client_id":"c-1","type":"image","body":{"attachment_id":"`+png+`"}}`)
	body, _ := sent["body"].(map[string]any)
	if body["name"] != "cat.png" || body["type"] != "image/png" || body["size"] != float64(picture.Len()) || body["width"] != 3.0 || body["height"] != 4.0 {
		t.Errorf("the body is %v", body)
	}
	again := w.must(http.StatusOK, "alice", "POST", "/v1/conversations/@bob/messages", `{"client_id":"c-1","type":"image","body":{"attachment_id":"`+png+`"}}`)
	if again["id"] != sent["id"] {
		t.Errorf("a repetition is %v", again)
	}
}
