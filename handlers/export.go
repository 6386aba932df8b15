package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// ExportMessages implements GET /v1/admin/export.
func (s *Server) ExportMessages(ctx context.Context, r api.ExportMessagesRequestObject) (api.ExportMessagesResponseObject, error) {
	var only im.ID
	if text := r.Params.ConversationID; text != nil {
		id, ok := im.ParseID(*text)
		if !ok {
			return nil, im.Refuse(im.NotFound, "conversation_not_found", "no such conversation")
		}
		only = id
	}
	return answering(func(w http.ResponseWriter) error { return s.export(ctx, w, only) }), nil
}

// GetRetention implements GET /v1/admin/retention.
func (s *Server) GetRetention(ctx context.Context, r api.GetRetentionRequestObject) (api.GetRetentionResponseObject, error) {
	asOf := value(r.Params.AsOf, time.Time{})
	list := listOf("retention", asOf.String())
	token, err := s.readPageToken(list, r.Params.PageToken)
	if err != nil {
		return nil, err
	}
	var past *im.RetentionKey
	if token != nil {
		setting, err := strconv.Atoi(token.Key)
		if err != nil {
			return nil, im.RefuseField(im.Invalid, "invalid_page_token", "page_token", "is not a token of this list")
		}
		asOf = time.UnixMilli(token.AsOf).UTC()
		past = &im.RetentionKey{Setting: setting, OldestKey: im.OldestKey{OldestAt: time.UnixMilli(token.At).UTC(), ID: im.ID(token.Seq)}}
	}
	page, err := s.service.Overdue(ctx, actor(ctx), asOf, past, int(value(r.Params.Limit, 100)))
	if err != nil {
		return nil, err
	}
	out := api.GetRetention200JSONResponse{AsOf: api.Time(page.AsOf), Items: each(page.Items, retentionOf)}
	if n := page.Next; n != nil {
		out.NextPageToken = optional(s.seal(pageToken{
			List: list, Key: strconv.Itoa(n.Setting), At: n.OldestAt.UnixMilli(), Seq: int64(n.ID), AsOf: page.AsOf.UnixMilli(),
		}))
	}
	return out, nil
}

// RunRetention implements POST /v1/admin/retention.
func (s *Server) RunRetention(ctx context.Context, r api.RunRetentionRequestObject) (api.RunRetentionResponseObject, error) {
	return answering(func(w http.ResponseWriter) error {
		out := newLineWriter(s, w)
		err := s.service.TrimAs(ctx, actor(ctx), value(r.Params.AsOf, time.Time{}), func(of im.RetentionOf) error {
			if err := out.add(retentionOf(of)); err != nil {
				return err
			}
			return out.flush()
		})
		return out.close(err)
	}), nil
}

func retentionOf(of im.RetentionOf) api.RetentionOf {
	return api.RetentionOf{ConversationID: of.Conversation.String(), Messages: of.Messages, Before: api.Time(of.Before)}
}

// answering is a response that writes itself. An error is answered as one as
// long as nothing was written.
type answering func(w http.ResponseWriter) error

// VisitExportMessagesResponse writes it.
func (a answering) VisitExportMessagesResponse(w http.ResponseWriter) error { return a(w) }

// VisitRunRetentionResponse writes it.
func (a answering) VisitRunRetentionResponse(w http.ResponseWriter) error { return a(w) }

// export writes everything, or one conversation. What one read found is on its
// way before the next one is made.
func (s *Server) export(ctx context.Context, w http.ResponseWriter, only im.ID) error {
	out := newLineWriter(s, w)
	err := s.service.Export(ctx, actor(ctx), only, func(lines []im.ExportLine) error {
		if s.draining.Load() {
			return im.Refuse(im.Unavailable, "shutting_down", "the server is about to stop")
		}
		if headersOnly(ctx) {
			return errHeadersOnly
		}
		for _, l := range lines {
			if err := out.add(exportLine(l)); err != nil {
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

// errHeadersOnly ends an export of which only the headers are asked for, once it
// was not refused.
var errHeadersOnly = errors.New("headers only")

// exportFlush is how many bytes of an export are worth a write.
const exportFlush = 32 << 10

// lineWriter writes lines of JSON.
type lineWriter struct {
	resultWriter
	encoder *json.Encoder
}

func newLineWriter(s *Server, w http.ResponseWriter) *lineWriter {
	l := &lineWriter{resultWriter: resultWriter{server: s, w: w, rc: http.NewResponseController(w)}}
	l.encoder = plain(&l.buffer)
	// The server's read timeout is for requests; it would end this one as if the
	// client had gone.
	_ = l.rc.SetReadDeadline(time.Time{})
	_ = l.rc.SetWriteDeadline(time.Time{}) // each write has one of its own
	return l
}

// add puts a line into the buffer.
func (l *lineWriter) add(line any) error { return l.encoder.Encode(line) }

// flush writes what is in the buffer.
func (l *lineWriter) flush() error {
	l.begin()
	err := l.resultWriter.flush()
	l.buffer.Reset()
	return err
}

// close ends the answer. After an error it must not look as if it were whole: as
// long as nothing was written the error is returned, to be answered, and later
// the connection is dropped.
func (l *lineWriter) close(err error) error {
	if err == nil {
		err = l.flush()
	}
	if err != nil && l.began {
		panic(http.ErrAbortHandler)
	}
	return err
}
