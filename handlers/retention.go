package handlers

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// GetRetention implements GET /v1/admin/retention.
func (s *Server) GetRetention(ctx context.Context, r api.GetRetentionRequestObject) (api.GetRetentionResponseObject, error) {
	asOf := value(r.Params.AsOf, time.Time{})
	var keep *time.Duration
	if text := r.Params.Retention; text != nil {
		parsed, ok := im.ParseRetention(*text)
		if !ok {
			return nil, im.RefuseField(im.Invalid, "invalid_request", "retention", im.RetentionRule)
		}
		keep = &parsed
	}
	list := listOf("retention", asOf.String(), value(r.Params.Retention, ""))
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
	page, err := s.service.Overdue(ctx, actor(ctx), asOf, keep, past, int(value(r.Params.Limit, 100)))
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
