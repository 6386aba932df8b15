package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/sockets"
)

// acceptKey is the key of the Accept header in the context of a request. OpenAPI does not allow
// that header as a parameter of an operation.
type acceptKey struct{}

// pushKey is the key of the request in the context of PushFrames, which reads its body.
type pushKey struct{}

// takeKey is the key of a bool in the context of GetEvents: whether the connection can be taken
// from the server.
type takeKey struct{}

// negotiated puts the Accept header into the context of the streams, the request into that of
// PushFrames, and into that of GetEvents also whether the connection can be taken.
func negotiated(next api.StrictHandlerFunc, operation string) api.StrictHandlerFunc {
	switch operation {
	case "GetEvents":
		return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
			ctx = context.WithValue(ctx, takeKey{}, sockets.CanTake(r))
			return next(context.WithValue(ctx, acceptKey{}, r.Header["Accept"]), w, r, request)
		}
	case "ReadDataStream":
		return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
			return next(context.WithValue(ctx, acceptKey{}, r.Header["Accept"]), w, r, request)
		}
	case "PushFrames":
		return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
			return next(context.WithValue(ctx, pushKey{}, r), w, r, request)
		}
	default:
		return next
	}
}

// wantsPage reports whether a client accepts JSON but not a stream. A client without an Accept
// header gets the stream.
func wantsPage(ctx context.Context) bool {
	accept, _ := ctx.Value(acceptKey{}).([]string)
	return hasMediaType(accept, "application/json") && !hasMediaType(accept, "text/event-stream")
}

// wantsBinary reports whether a client accepts the binary form but not an event stream.
func wantsBinary(ctx context.Context) bool {
	accept, _ := ctx.Value(acceptKey{}).([]string)
	return hasMediaType(accept, octets) && !hasMediaType(accept, "text/event-stream")
}

// hasMediaType reports whether one of the values of a header names the media type, with
// any parameters.
func hasMediaType(values []string, mediaType string) bool {
	return slices.ContainsFunc(values, func(v string) bool {
		for part := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), mediaType) {
				return true
			}
		}
		return false
	})
}
