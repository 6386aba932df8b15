package handlers

import (
	"context"
	"encoding/hex"
	"net/http"
	"strconv"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// GetThumbnail implements GET /v1/attachments/{attachment}/thumbnail.
func (s *Server) GetThumbnail(ctx context.Context, r api.GetThumbnailRequestObject) (api.GetThumbnailResponseObject, error) {
	id, err := im.ParseAttachmentID(r.Attachment)
	if err != nil {
		return nil, err
	}
	return answering(func(w http.ResponseWriter) error { return s.thumbnail(ctx, w, id, r.Params) }), nil
}

// thumbnail writes the thumbnail of an attachment. It is a download like that of the attachment
// itself: its bytes are in memory until the client has them.
func (s *Server) thumbnail(ctx context.Context, w http.ResponseWriter, id im.ID, params api.GetThumbnailParams) error {
	user := principal(ctx).User
	if err := s.downloads.acquire(ctx, user, transferBytes, s.transferWait); err != nil {
		return err
	}
	defer s.downloads.release(user, transferBytes)
	t, err := s.service.Thumbnail(ctx, actor(ctx), id)
	if err != nil {
		return err
	}
	etag := `"` + hex.EncodeToString(t.Info.SHA256[:]) + `"`
	h := w.Header()
	h.Set("ETag", etag)
	if matchesETag(value(params.IfNoneMatch, ""), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", t.Info.Type)
	h.Set("Content-Length", strconv.Itoa(len(t.Bytes)))
	// The server has encoded these pixels itself, so a browser may show them.
	h.Set("Content-Disposition", "inline")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-site")
	w.WriteHeader(http.StatusOK)
	if headersOnly(ctx) {
		return nil
	}
	_, err = w.Write(t.Bytes)
	return err
}

// VisitGetThumbnailResponse writes the response.
func (a answering) VisitGetThumbnailResponse(w http.ResponseWriter) error { return a(w) }
