package handlers

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

const (
	// transferBytes is what an upload or download takes from its budget: one chunk, although an
	// upload may have three in memory and a download four. Up to transfersAtOnce of each kind
	// run at once, and up to transfersOfUser of one user. The others wait for up to
	// transferWait.
	transferBytes   = 64 << 10
	transfersAtOnce = 256
	transfersOfUser = 8
	transferWait    = 10 * time.Second

	// uploadGrace is the time that an upload may take in addition to its time at uploadRate, which
	// is in bytes per second.
	uploadGrace = 30 * time.Second
	uploadRate  = 16 << 10

	// The rest of an upload that is refused is read for up to refusedTime, and up to
	// refusedBytes of it.
	refusedTime  = 5 * time.Second
	refusedBytes = 16 << 20

	// partHead is the maximum number of bytes before the file in a form, and formBytes that of all
	// bytes of the form besides the file.
	partHead  = 16 << 10
	formBytes = 64 << 10
	// filePart is the name of the part of a form that is the file.
	filePart = "file"
)

// UploadAttachment passes the body on as it arrives. The generated code cannot accept a file
// of any media type.
func (d direct) UploadAttachment(w http.ResponseWriter, r *http.Request, params api.UploadAttachmentParams) {
	if params.Name == nil {
		params.Name = nameIn(r.Header.Get("Content-Disposition"))
	}
	body := &uploadBody{in: r.Body, rc: http.NewResponseController(w), left: -1, now: time.Now}
	request := api.UploadAttachmentRequestObject{Params: params, Body: body}
	mediaType, parts, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if strings.EqualFold(mediaType, "multipart/form-data") {
		if boundary := parts["boundary"]; err == nil && boundary != "" {
			body.left = partHead
			request.MultipartBody = multipart.NewReader(io.MultiReader(body, strings.NewReader("\r\n"), cutOff{}), boundary)
		} else {
			write(w, invalidField("Content-Type", "has no boundary"))
			return
		}
	}
	most := d.server.service.MaxAttachmentBytes()
	body.size = r.ContentLength
	if request.MultipartBody != nil {
		body.size, most = -1, most+formBytes
	}
	if r.ContentLength > most {
		w.Header().Set("Connection", "close") // the body stays unread
		write(w, problem(http.StatusRequestEntityTooLarge, "attachment_too_large", fmt.Sprintf("the file is over the limit of %d bytes", d.server.service.MaxAttachmentBytes())))
		return
	}
	body.begin()
	response, err := d.server.UploadAttachment(r.Context(), request)
	body.end(d.server.writeTimeout)
	if err == nil {
		err = response.VisitUploadAttachmentResponse(w)
	}
	if err != nil {
		if !body.ended {
			w.Header().Set("Connection", "close")
		}
		d.server.fail(w, r, err)
	}
}

// readRefused reads the rest of a refused upload, once the answer is sent. Many clients send all of
// a file before they read the answer. If the connection were closed while they send,
// the answer could be lost, and they would see only a broken connection.
func readRefused(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != uploadPath || r.ProtoMajor != 1 {
			next.ServeHTTP(w, r)
			return
		}
		body := &noted{ReadCloser: r.Body}
		r.Body = body
		next.ServeHTTP(w, r)
		if body.ended || !body.began && r.Header.Get("Expect") != "" {
			return // the body was read, or the client waits for the answer before it sends
		}
		rc := http.NewResponseController(w)
		// Without it, net/http would read a part of the body before it sends the answer.
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		_ = rc.SetReadDeadline(time.Now().Add(refusedTime))
		_, _ = io.CopyN(io.Discard, body, refusedBytes)
	})
}

// noted is a body that records whether reading has begun and whether it has reached the end.
type noted struct {
	io.ReadCloser
	began, ended bool
}

// Read reads the body.
func (n *noted) Read(p []byte) (int, error) {
	n.began = true
	read, err := n.ReadCloser.Read(p)
	n.ended = n.ended || errors.Is(err, io.EOF)
	return read, err
}

// nameIn returns the name of a file in a Content-Disposition header, nil if it has none.
func nameIn(disposition string) *string {
	_, params, err := mime.ParseMediaType(disposition)
	if err != nil || params["filename"] == "" {
		return nil
	}
	return new(params["filename"])
}

// uploadBody is the body of an upload. It must arrive at uploadRate on average, after
// uploadGrace.
type uploadBody struct {
	in   io.Reader
	rc   *http.ResponseController
	size int64 // of the file; -1 if it is unknown
	left int64 // bytes that may still be read; negative for no limit
	now  func() time.Time

	began    time.Time
	got      int64
	extended int64 // got when the deadline was last set
	ended    bool  // it was read to its end
}

// begin replaces the deadlines of the server, which are for short requests.
func (b *uploadBody) begin() {
	b.began = b.now()
	b.extend()
	_ = b.rc.SetWriteDeadline(time.Time{})
}

// extend sets the deadline for what comes next.
func (b *uploadBody) extend() {
	b.extended = b.got
	_ = b.rc.SetReadDeadline(b.began.Add(uploadGrace + time.Duration(b.got)*time.Second/uploadRate))
}

// end sets the deadlines for the answer. A read deadline that passes during the answer would cancel
// the request.
func (b *uploadBody) end(write time.Duration) {
	_ = b.rc.SetReadDeadline(time.Time{})
	_ = b.rc.SetWriteDeadline(b.now().Add(write))
}

// Read reads the body.
func (b *uploadBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, im.RefuseField(im.Invalid, "invalid_request", "body", "the form has more than a file")
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.in.Read(p)
	if b.got += int64(n); b.got-b.extended >= transferBytes {
		b.extend()
	}
	if b.left > 0 {
		b.left -= int64(n)
	}
	b.ended = b.ended || errors.Is(err, io.EOF)
	if b.ended {
		// Storing the file may take longer than the deadline, which would cancel the request.
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// UploadAttachment implements POST /v1/attachments.
func (s *Server) UploadAttachment(ctx context.Context, r api.UploadAttachmentRequestObject) (api.UploadAttachmentResponseObject, error) {
	user := principal(ctx).User
	if err := s.uploads.acquire(ctx, user, transferBytes, s.transferWait); err != nil {
		return nil, err
	}
	defer s.uploads.release(user, transferBytes)
	body, _ := r.Body.(*uploadBody) // direct sets it
	body.begin()                    // waiting does not count
	upload := im.Upload{Size: body.size, Body: body}
	if r.Params.Name != nil {
		upload.Name = *r.Params.Name
	}
	if r.MultipartBody != nil {
		part, err := r.MultipartBody.NextPart()
		if err != nil || part.FormName() != filePart {
			return nil, im.RefuseField(im.Invalid, "invalid_request", "body", "the form must have one part, named %s", filePart)
		}
		body.left = s.service.MaxAttachmentBytes() + formBytes
		if name := nameIn(part.Header.Get("Content-Disposition")); name != nil && r.Params.Name == nil {
			upload.Name = *name
		}
		upload.Body = &onlyPart{part, r.MultipartBody}
	}
	a, err := s.service.Upload(ctx, actor(ctx), upload)
	s.observeUpload(a.Size, err)
	if err != nil {
		return nil, err
	}
	return api.UploadAttachment201JSONResponse(attachment(a)), nil
}

// cutOff is appended to the body of a form, after a line break. [multipart.Reader.NextPart] stops
// at the closing boundary, so it reads this far only if the form is incomplete. It would take an
// [io.EOF] for the end of a complete form.
type cutOff struct{}

// Read fails.
func (cutOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// onlyPart reads a part of a form. It fails if another one follows, or the form does not end.
type onlyPart struct {
	*multipart.Part
	form *multipart.Reader
}

// Read reads the part.
func (p *onlyPart) Read(b []byte) (int, error) {
	n, err := p.Part.Read(b)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	switch _, next := p.form.NextPart(); {
	case errors.Is(next, io.EOF):
		return n, io.EOF
	case next == nil:
		return n, im.RefuseField(im.Invalid, "invalid_request", "body", "the form has more than one part")
	default:
		return n, next
	}
}

func attachment(a im.Attachment) api.Attachment {
	out := api.Attachment{
		ID: a.ID.String(), Size: a.Size, Type: a.Info.Type, Sha256: hex.EncodeToString(a.Info.SHA256[:]), Name: a.Info.Name,
		CreatedAt: api.Time(a.CreatedAt),
	}
	if a.Info.Width > 0 && a.Info.Height > 0 {
		out.Width, out.Height = new(int32(a.Info.Width)), new(int32(a.Info.Height))
	}
	return out
}

// GetAttachment implements GET /v1/attachments/{attachment}.
func (s *Server) GetAttachment(ctx context.Context, r api.GetAttachmentRequestObject) (api.GetAttachmentResponseObject, error) {
	id, err := im.ParseAttachmentID(r.Attachment)
	if err != nil {
		return nil, err
	}
	return answering(func(w http.ResponseWriter) error { return s.download(ctx, w, id, r.Params) }), nil
}

// VisitGetAttachmentResponse writes the response.
func (a answering) VisitGetAttachmentResponse(w http.ResponseWriter) error { return a(w) }

// download writes an attachment, or a range of it.
func (s *Server) download(ctx context.Context, w http.ResponseWriter, id im.ID, params api.GetAttachmentParams) error {
	user := principal(ctx).User
	if err := s.downloads.acquire(ctx, user, transferBytes, s.transferWait); err != nil {
		return err
	}
	defer s.downloads.release(user, transferBytes)
	d, err := s.service.Download(ctx, actor(ctx), id)
	if err != nil {
		return s.lost(err)
	}
	defer func() { _ = d.Close() }() // only read
	etag := `"` + hex.EncodeToString(d.Info.SHA256[:]) + `"`
	h := w.Header()
	if matchesETag(value(params.IfNoneMatch, ""), etag) {
		h.Set("ETag", etag)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	status, from, length := http.StatusOK, int64(0), d.Size
	match := value(params.IfRange, "")
	if start, n, one := oneRange(value(params.Range, ""), d.Size); one && (match == "" || match == etag) {
		if n == 0 {
			h.Set("ETag", etag)
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", d.Size))
			write(w, problem(http.StatusRequestedRangeNotSatisfiable, "range_not_satisfiable", fmt.Sprintf("the file has %d bytes", d.Size)))
			return nil
		}
		status, from, length = http.StatusPartialContent, start, n
	}
	var part []byte
	if !headersOnly(ctx) {
		// Read it before the status is written, because the file may be damaged.
		if part, err = firstPart(d, from, length); err != nil {
			return s.lost(err)
		}
	}
	if status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+length-1, d.Size))
	}
	h.Set("ETag", etag)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", d.Info.Type)
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	h.Set("Content-Disposition", disposition(d.Info.Name))
	// The type is never one that browsers run. If a browser guesses another type anyway, the
	// sandbox runs the file without an origin and without rights.
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-site")
	w.WriteHeader(status)
	if headersOnly(ctx) {
		return nil
	}
	if err := s.copyFile(w, d, part, length); err != nil {
		// The status is written, so only a broken connection can show the client that the file is
		// incomplete.
		if failed := d.Err(); failed != nil && ctx.Err() == nil {
			_ = s.problemFor(ctx, s.lost(failed)) // logs it if it is a fault of the server
		}
		panic(http.ErrAbortHandler)
	}
	return nil
}

// lost counts a download that fails because the file is lost, and returns its error.
func (s *Server) lost(err error) error {
	if refusal, ok := im.AsError(err); ok && refusal.Code == "attachment_lost" {
		s.lostFile()
	}
	return err
}

// firstPart returns the beginning of a range of a file, of length bytes.
func firstPart(d *im.Download, from, length int64) ([]byte, error) {
	if _, err := d.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	return d.Next(length)
}

// copyFile writes a range of a file to a client, of length bytes that begin with part. Each write
// has a deadline of its own. It returns at once when the user loses the attachment.
func (s *Server) copyFile(w http.ResponseWriter, d *im.Download, part []byte, length int64) error {
	rc := http.NewResponseController(w)
	d.OnLost(func() { _ = rc.SetWriteDeadline(time.Now()) })
	for {
		// Each transferBytes have a deadline of their own, because a slow client may take long for
		// a whole part.
		for rest := part; len(rest) > 0; {
			piece := rest[:min(len(rest), transferBytes)]
			_ = rc.SetWriteDeadline(time.Now().Add(s.writeTimeout))
			if err := d.Err(); err != nil {
				return err // OnLost may have set the deadline that was just replaced
			}
			if _, err := w.Write(piece); err != nil {
				return err
			}
			rest = rest[len(piece):]
		}
		if length -= int64(len(part)); length == 0 {
			return nil
		}
		var err error
		if part, err = d.Next(length); err != nil {
			return err
		}
	}
}

// disposition returns the header that offers a file for saving (RFC 6266).
func disposition(name string) string {
	if text := mime.FormatMediaType("attachment", map[string]string{"filename": name}); text != "" {
		return text
	}
	return "attachment"
}

// matchesETag reports whether a list of ETags contains etag, by weak comparison, or "*".
func matchesETag(list, etag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == etag || one == "*" {
			return true
		}
	}
	return false
}

// oneRange parses a header with one range of bytes, such as "bytes=0-99", "bytes=100-" or
// "bytes=-100". The length is 0 if no byte of the file is in the range. It returns false for a
// header that is missing or malformed, or has several ranges: RFC 9110 lets a server ignore such
// a header, and many small ranges of one file would be expensive.
func oneRange(header string, size int64) (from, length int64, ok bool) {
	unit, text, found := strings.Cut(header, "=")
	first, last, dash := strings.Cut(strings.TrimSpace(text), "-")
	if !found || !dash || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return 0, 0, false
	}
	if first == "" {
		n, ok := digits(last)
		n = min(n, size)
		return size - n, n, ok
	}
	from, ok = digits(first)
	to := size - 1
	if ok && last != "" {
		to, ok = digits(last)
	}
	if !ok || last != "" && to < from {
		return 0, 0, false
	}
	return from, max(min(to, size-1)-from+1, 0), true
}

// digits parses a number without a sign. It returns the largest int64 for larger numbers.
func digits(text string) (int64, bool) {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil || errors.Is(err, strconv.ErrRange)
}
