package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// CutTokens implements POST /v1/admin/users/{user}/tokens/cut.
func (s *Server) CutTokens(ctx context.Context, r api.CutTokensRequestObject) (api.CutTokensResponseObject, error) {
	cut, err := s.service.CutTokens(ctx, actor(ctx), im.UserID(r.User))
	if err != nil {
		return nil, err
	}
	return api.CutTokens200JSONResponse{User: api.UserID(cut.User), CutAt: api.Time(cut.At)}, nil
}
