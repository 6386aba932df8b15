package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// SendReceipts implements POST /v1/conversations/{conversation}/receipts.
func (s *Server) SendReceipts(ctx context.Context, r api.SendReceiptsRequestObject) (api.SendReceiptsResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	kind, _ := im.ParseReceiptKind(string(r.Body.Kind))
	got, err := s.service.PutReceipt(ctx, actor(ctx), ref, im.ReceiptDraft{
		Kind: kind, MessageIDs: value(r.Body.MessageIds, nil), UpTo: value(r.Body.UpTo, ""),
	})
	if err != nil {
		return nil, err
	}
	out := api.SendReceipts200JSONResponse{
		Unread: got.Unread.Messages, UnreadMore: got.Unread.More, Burning: make([]api.Burning, len(got.Burning)),
	}
	for i, m := range got.Burning {
		out.Burning[i] = api.Burning{MessageID: m.ID.String(), BurnAt: api.Time(m.Burn.At)}
	}
	return out, nil
}

// GetReceipts implements GET /v1/messages/{message}/receipts.
func (s *Server) GetReceipts(ctx context.Context, r api.GetReceiptsRequestObject) (api.GetReceiptsResponseObject, error) {
	id, err := im.ParseMessageID(r.Message)
	if err != nil {
		return nil, err
	}
	got, err := s.service.Receipts(ctx, actor(ctx), id)
	if err != nil {
		return nil, err
	}
	return api.GetReceipts200JSONResponse{
		Read: receipts(got.Read), Delivered: receipts(got.Delivered), Unread: userIDs(got.Unread),
		ReadCount: len(got.Read), UnreadCount: len(got.Unread),
	}, nil
}

func receipts(list []im.Receipt) []api.Receipt {
	out := make([]api.Receipt, len(list))
	for i, r := range list {
		out[i] = api.Receipt{User: api.UserID(r.User), At: api.Time(r.At)}
	}
	return out
}
