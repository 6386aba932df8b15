package handlers

import (
	"context"
	"net/http"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// CreateThread implements POST /v1/messages/{message}/thread.
func (s *Server) CreateThread(ctx context.Context, r api.CreateThreadRequestObject) (api.CreateThreadResponseObject, error) {
	root, err := im.ParseMessageID(r.Message)
	if err != nil {
		return nil, err
	}
	v, err := s.service.CreateThread(ctx, actor(ctx), root, im.ThreadDraft{ClientID: value(r.Body.ClientID, ""), Name: r.Body.Name})
	if err != nil {
		return nil, err
	}
	return answerCreated(v), nil
}

// GetThread implements GET /v1/messages/{message}/thread.
func (s *Server) GetThread(ctx context.Context, r api.GetThreadRequestObject) (api.GetThreadResponseObject, error) {
	id, err := im.ParseMessageID(r.Message)
	if err != nil {
		return nil, err
	}
	v, err := s.service.ThreadUnder(ctx, actor(ctx), id)
	if err != nil {
		return nil, err
	}
	return answerConversation(http.StatusOK, v), nil
}

// ListThreads implements GET /v1/conversations/{conversation}/threads.
func (s *Server) ListThreads(ctx context.Context, r api.ListThreadsRequestObject) (api.ListThreadsResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	list := listOf("threads", r.Conversation)
	before, limit, err := s.idPage(list, r.Params.PageToken, r.Params.Limit, 50)
	if err != nil {
		return nil, err
	}
	page, err := s.service.Threads(ctx, actor(ctx), ref, before, limit)
	if err != nil {
		return nil, err
	}
	return s.conversationPage(list, page), nil
}

// ListMyThreads implements GET /v1/threads.
func (s *Server) ListMyThreads(ctx context.Context, r api.ListMyThreadsRequestObject) (api.ListMyThreadsResponseObject, error) {
	list := listOf("my threads")
	before, limit, err := s.idPage(list, r.Params.PageToken, r.Params.Limit, 50)
	if err != nil {
		return nil, err
	}
	page, err := s.service.MyThreads(ctx, actor(ctx), before, limit)
	if err != nil {
		return nil, err
	}
	return s.conversationPage(list, page), nil
}

// conversationPage answers with a page of a list in the order of ids.
func (s *Server) conversationPage(list uint32, page im.ConversationPage) answer {
	var next *string
	if page.Next != nil {
		next = optional(s.seal(idToken(list, page.Next.ID)))
	}
	return answerPage(page.Items, appendConversation, next, nil)
}
