package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// GetList implements GET /v1/conversations/{conversation}/lists/{list}.
func (s *Server) GetList(ctx context.Context, r api.GetListRequestObject) (api.GetListResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	which, _ := im.ParseList(string(r.List))
	list := listOf("listed", r.Conversation, which.String())
	page, limit, err := s.userPage(list, r.Params.PageToken, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	found, err := s.service.Listed(ctx, actor(ctx), ref, which, page)
	if err != nil {
		return nil, err
	}
	return api.GetList200JSONResponse(s.listingPage(list, found, limit)), nil
}

// AddToList implements PUT /v1/conversations/{conversation}/lists/{list}/{user}.
func (s *Server) AddToList(ctx context.Context, r api.AddToListRequestObject) (api.AddToListResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err == nil {
		list, _ := im.ParseList(string(r.List))
		err = s.service.PutListed(ctx, actor(ctx), ref, list, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.AddToList204Response{}, nil
}

// RemoveFromList implements DELETE /v1/conversations/{conversation}/lists/{list}/{user}.
func (s *Server) RemoveFromList(ctx context.Context, r api.RemoveFromListRequestObject) (api.RemoveFromListResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err == nil {
		list, _ := im.ParseList(string(r.List))
		err = s.service.DeleteListed(ctx, actor(ctx), ref, list, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.RemoveFromList204Response{}, nil
}

// listingPage returns a page of a list that was read with up to one item more than limit.
func (s *Server) listingPage(list uint32, found []im.Listing, limit int) api.ListingPage {
	found, next := cut(s, found, limit, func(l im.Listing) pageToken { return userToken(list, l.User) })
	out := api.ListingPage{Items: make([]api.Listing, len(found)), NextPageToken: next}
	for i, l := range found {
		out.Items[i] = api.Listing{User: api.UserID(l.User), CreatedAt: api.Time(l.At)}
	}
	return out
}

// ListSpaceDenied implements GET /v1/spaces/{space}/lists/deny.
func (s *Server) ListSpaceDenied(ctx context.Context, r api.ListSpaceDeniedRequestObject) (api.ListSpaceDeniedResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	list := listOf("space denied", r.Space)
	page, limit, err := s.userPage(list, r.Params.PageToken, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	found, err := s.service.SpaceDenied(ctx, actor(ctx), space, page)
	if err != nil {
		return nil, err
	}
	return api.ListSpaceDenied200JSONResponse(s.listingPage(list, found, limit)), nil
}

// PutSpaceDenied implements PUT /v1/spaces/{space}/lists/deny/{user}.
func (s *Server) PutSpaceDenied(ctx context.Context, r api.PutSpaceDeniedRequestObject) (api.PutSpaceDeniedResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err == nil {
		err = s.service.DenyInSpace(ctx, actor(ctx), space, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.PutSpaceDenied204Response{}, nil
}

// DeleteSpaceDenied implements DELETE /v1/spaces/{space}/lists/deny/{user}.
func (s *Server) DeleteSpaceDenied(ctx context.Context, r api.DeleteSpaceDeniedRequestObject) (api.DeleteSpaceDeniedResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err == nil {
		err = s.service.AllowInSpace(ctx, actor(ctx), space, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.DeleteSpaceDenied204Response{}, nil
}
