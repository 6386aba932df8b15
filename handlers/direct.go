package handlers

import (
	"context"
	"net/http"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/jsonscan"
)

// direct serves the operations that send a message without the generated code, which would decode
// their bodies again. Their methods of Server read the scanned body instead.
type direct struct {
	api.ServerInterface
	server *Server
}

// SendMessage serves POST /v1/conversations/{conversation}/messages.
func (d direct) SendMessage(w http.ResponseWriter, r *http.Request, conversation api.ConversationID) {
	response, err := d.server.SendMessage(withScannedBody(r), api.SendMessageRequestObject{Conversation: conversation})
	if err == nil {
		err = response.VisitSendMessageResponse(w)
	}
	if err != nil {
		d.server.fail(w, r, err)
	}
}

// SendMessagesAs serves POST /v1/admin/messages.
func (d direct) SendMessagesAs(w http.ResponseWriter, r *http.Request) {
	response, err := d.server.SendMessagesAs(withScannedBody(r), api.SendMessagesAsRequestObject{})
	if err == nil {
		err = response.VisitSendMessagesAsResponse(w)
	}
	if err != nil {
		d.server.fail(w, r, err)
	}
}

// EndDataStream serves POST /v1/streams/{stream}/end.
func (d direct) EndDataStream(w http.ResponseWriter, r *http.Request, stream api.DataStreamID) {
	response, err := d.server.EndDataStream(withScannedBody(r), api.EndDataStreamRequestObject{Stream: stream})
	if err == nil {
		err = response.VisitEndDataStreamResponse(w)
	}
	if err != nil {
		d.server.fail(w, r, err)
	}
}

// bodyKey is the key of the scanned body in the context of a request that direct serves.
type bodyKey struct{}

// withScannedBody returns the context of a request with its scanned body, if it has a body.
func withScannedBody(r *http.Request) context.Context {
	body, ok := r.Body.(*validBody)
	if !ok {
		return r.Context()
	}
	return context.WithValue(r.Context(), bodyKey{}, body.value)
}

// scannedBody returns the scanned body of a request that direct serves; no value if it has none.
func scannedBody(ctx context.Context) jsonscan.Value {
	body, _ := ctx.Value(bodyKey{}).(jsonscan.Value)
	return body
}
