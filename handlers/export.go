package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/transfer"
)

// ExportMessages implements GET /v1/admin/export.
func (s *Server) ExportMessages(ctx context.Context, r api.ExportMessagesRequestObject) (api.ExportMessagesResponseObject, error) {
	var only im.ID
	if text := r.Params.ConversationID; text != nil {
		var err error
		if only, err = im.ParseConversationID(*text); err != nil {
			return nil, err
		}
	}
	return answering(func(w http.ResponseWriter) error { return s.export(ctx, w, only) }), nil
}

// export writes all direct conversations, groups and rooms, or one of them. It writes only between
// reads of the store, so that a slow client keeps no read open.
func (s *Server) export(ctx context.Context, w http.ResponseWriter, only im.ID) error {
	out := newLineWriter(s, w)
	encoder := transfer.NewEncoder(&out.buffer)
	err := s.service.Export(ctx, actor(ctx), only, func(lines []im.ExportLine) error {
		if s.draining.Load() {
			return im.Refuse(im.Unavailable, "shutting_down", "the server is shutting down")
		}
		if headersOnly(ctx) {
			return errHeadersOnly
		}
		for _, l := range lines {
			if err := encoder.Encode(l); err != nil {
				return err
			}
		}
		if out.buffer.Len() < exportFlush {
			return nil
		}
		return out.flush()
	})
	if errors.Is(err, errHeadersOnly) {
		err = nil
	}
	return out.close(err)
}

// errHeadersOnly ends an export for a HEAD request, once it is known not to be refused.
var errHeadersOnly = errors.New("headers only")

// exportFlush is the minimum number of bytes that are written at once, except at the end.
const exportFlush = 32 << 10
