package handlers

import (
	"context"
	"net/http"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// RevokeMessage implements POST /v1/messages/{message}/revoke.
func (s *Server) RevokeMessage(ctx context.Context, r api.RevokeMessageRequestObject) (api.RevokeMessageResponseObject, error) {
	id, err := im.ParseMessageID(r.Message)
	if err != nil {
		return nil, err
	}
	var note im.RevokeNote
	if b := r.Body; b != nil {
		note = revokeNote(b.Postscript, b.Extension, b.PushContent, b.PushPayload)
	}
	m, err := s.service.Revoke(ctx, actor(ctx), id, note)
	if err != nil {
		return nil, err
	}
	return answerMessage(http.StatusOK, m), nil
}

// RevokeMessages implements POST /v1/messages/revoke.
func (s *Server) RevokeMessages(ctx context.Context, r api.RevokeMessagesRequestObject) (api.RevokeMessagesResponseObject, error) {
	b := r.Body
	results, err := s.service.RevokeMany(ctx, actor(ctx), b.Ids, revokeNote(b.Postscript, b.Extension, b.PushContent, b.PushPayload))
	if err != nil {
		return nil, err
	}
	out := api.RevokeMessages200JSONResponse{Items: make([]api.RevokeResult, len(results))}
	for i, result := range results {
		out.Items[i] = api.RevokeResult{ID: result.ID, Status: http.StatusOK}
		if result.Err != nil {
			p := s.problemFor(ctx, result.Err)
			out.Items[i].Status, out.Items[i].Code = p.Status, &p.Code
		}
	}
	return out, nil
}

func revokeNote(postscript *string, extension *api.FreeValue, pushContent *string, pushPayload *api.FreeValue) im.RevokeNote {
	return im.RevokeNote{
		Postscript: value(postscript, ""), Extension: value(extension, nil),
		Push: im.Push{Content: value(pushContent, ""), Payload: value(pushPayload, nil)},
	}
}

// BurnMessage implements POST /v1/messages/{message}/burn.
func (s *Server) BurnMessage(ctx context.Context, r api.BurnMessageRequestObject) (api.BurnMessageResponseObject, error) {
	id, err := im.ParseMessageID(r.Message)
	if err != nil {
		return nil, err
	}
	m, err := s.service.Burn(ctx, actor(ctx), id)
	if err != nil {
		return nil, err
	}
	return answerMessage(http.StatusOK, m), nil
}
