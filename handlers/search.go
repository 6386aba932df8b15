package handlers

import (
	"context"
	"fmt"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// SearchMessages implements GET /v1/messages/search.
func (s *Server) SearchMessages(ctx context.Context, r api.SearchMessagesRequestObject) (api.SearchMessagesResponseObject, error) {
	p := r.Params
	in, err := optionalRef(p.ConversationID)
	if err != nil {
		return nil, err
	}
	f := im.SearchFilter{
		In: in, Words: p.Q, Sender: im.UserID(value(p.Sender, "")),
		From: value(p.From, time.Time{}), To: value(p.To, time.Time{}), Limit: int(value(p.Limit, 50)),
	}
	if p.Type != nil {
		f.Type, _ = im.ParseMessageType(string(*p.Type))
	}
	list := listOf("search", p.Q, value(p.ConversationID, ""), fmt.Sprint(f.Type, f.Sender, f.From, f.To))
	token, err := s.readPageToken(list, p.PageToken)
	if err != nil {
		return nil, err
	}
	if token != nil {
		f.Past = im.ID(token.Seq)
	}
	page, err := s.service.Search(ctx, actor(ctx), f)
	if err != nil {
		return nil, err
	}
	var next *string
	if page.Next != 0 {
		next = optional(s.seal(pageToken{List: list, Seq: int64(page.Next)}))
	}
	return answerPage(page.Hits, appendHit, next, nil), nil
}
