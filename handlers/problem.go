package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/datastreams"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// statuses are the HTTP statuses of refusals by the domain.
var statuses = map[im.ErrorKind]int{
	im.Invalid:     http.StatusBadRequest,
	im.NotFound:    http.StatusNotFound,
	im.Forbidden:   http.StatusForbidden,
	im.Conflict:    http.StatusConflict,
	im.Gone:        http.StatusGone,
	im.Rule:        http.StatusUnprocessableEntity,
	im.TooLarge:    http.StatusRequestEntityTooLarge,
	im.TooMany:     http.StatusTooManyRequests,
	im.Unavailable: http.StatusServiceUnavailable,
	im.Full:        http.StatusInsufficientStorage,
}

// retryAfter is the Retry-After of 429 and 503, in seconds, if the wait is not known: long enough
// for a commit queue to drain, and too short for a user to notice.
const retryAfter = "1"

// problemFor returns the problem of an error. An error that is neither a refusal nor the end of a
// stream, of the request or of a time limit is a fault of the server. It is logged without the
// values that it quotes, and the client gets no details.
func (s *Server) problemFor(ctx context.Context, err error) api.Problem {
	var (
		refusal *im.Error
		denied  *auth.Error
	)
	switch {
	case errors.As(err, &refusal):
		p := problem(statuses[refusal.Kind], refusal.Code, refusal.Message)
		if refusal.Field != "" {
			p.Field = &refusal.Field
		}
		p.HookCode, p.HookText = optional(refusal.HookCode), optional(refusal.HookText)
		if refusal.Cause != nil {
			level := slog.LevelWarn // an unavailable storage may recover soon
			if refusal.Kind < im.Unavailable {
				level = slog.LevelError
			}
			s.log.Log(ctx, level, "request refused by storage", "code", refusal.Code, "error", faults.Text(refusal.Cause))
		}
		return p
	case errors.As(err, &denied):
		status := http.StatusUnauthorized
		if denied.Code == auth.CodeKeysUnavailable {
			status = http.StatusServiceUnavailable
		}
		return problem(status, denied.Code, denied.Message)
	case errors.Is(err, events.ErrTokenCut), errors.Is(err, datastreams.ErrTokenCut):
		return problem(http.StatusUnauthorized, auth.ErrTokenCutOff.Code, auth.ErrTokenCutOff.Message)
	case errors.Is(err, events.ErrTokenExpired), errors.Is(err, datastreams.ErrTokenExpired):
		return problem(http.StatusUnauthorized, auth.ErrTokenExpired.Code, auth.ErrTokenExpired.Message)
	case errors.Is(err, events.ErrClosed), errors.Is(err, datastreams.ErrClosed):
		return problem(http.StatusServiceUnavailable, "shutting_down", "the server is shutting down")
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		// The client has disconnected, or a read has reached its time limit.
		return problem(http.StatusServiceUnavailable, "storage_unavailable", "the request took too long")
	default:
		s.log.ErrorContext(ctx, "request failed", "error", faults.Text(err))
		return problem(http.StatusInternalServerError, "internal", "an internal error, which the server has logged")
	}
}

func problem(status int, code, detail string) api.Problem {
	return api.Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: api.ProblemCode(code), Detail: detail,
	}
}

func invalidField(field, detail string) api.Problem {
	p := problem(http.StatusBadRequest, "invalid_request", detail)
	p.Field = &field
	return p
}

// fail answers a request with the problem of an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	retryAfterOf(w, err)
	write(w, s.problemFor(r.Context(), err))
}

// retryAfterOf sets Retry-After if a refusal says how long to wait.
func retryAfterOf(w http.ResponseWriter, err error) {
	if refusal, ok := im.AsError(err); ok && refusal.RetryAfter > 0 {
		wait := (refusal.RetryAfter + time.Second - 1) / time.Second // rounded up, so that a client that waits this long is not too early
		w.Header().Set("Retry-After", strconv.FormatInt(int64(wait), 10))
	}
}

// write answers with a problem. The refusals of all layers go through it.
func write(w http.ResponseWriter, p api.Problem) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="imapi"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if h.Get("Retry-After") == "" {
			h.Set("Retry-After", retryAfter)
		}
	}
	body, _ := json.Marshal(p) // it has only texts and numbers
	// With the length the client knows where the answer ends, even if the server goes on to read the
	// rest of its upload (see readRefused).
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // fails if the client has disconnected
}
