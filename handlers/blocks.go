package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// ListBlocks implements GET /v1/blocks.
func (s *Server) ListBlocks(ctx context.Context, r api.ListBlocksRequestObject) (api.ListBlocksResponseObject, error) {
	list := listOf("blocks")
	page, limit, err := s.userPage(list, r.Params.PageToken, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	blocks, err := s.service.Blocks(ctx, actor(ctx), page)
	if err != nil {
		return nil, err
	}
	blocks, next := cut(s, blocks, limit, func(b im.Block) pageToken { return userToken(list, b.User) })
	out := api.ListBlocks200JSONResponse{Items: make([]api.Block, len(blocks)), NextPageToken: next}
	for i, b := range blocks {
		out.Items[i] = api.Block{User: api.UserID(b.User), CreatedAt: api.Time(b.At)}
	}
	return out, nil
}

// PutBlock implements PUT /v1/blocks/{user}.
func (s *Server) PutBlock(ctx context.Context, r api.PutBlockRequestObject) (api.PutBlockResponseObject, error) {
	if err := s.service.PutBlock(ctx, actor(ctx), im.UserID(r.User)); err != nil {
		return nil, err
	}
	return api.PutBlock204Response{}, nil
}

// DeleteBlock implements DELETE /v1/blocks/{user}.
func (s *Server) DeleteBlock(ctx context.Context, r api.DeleteBlockRequestObject) (api.DeleteBlockResponseObject, error) {
	if err := s.service.DeleteBlock(ctx, actor(ctx), im.UserID(r.User)); err != nil {
		return nil, err
	}
	return api.DeleteBlock204Response{}, nil
}
