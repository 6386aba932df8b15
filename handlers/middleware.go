package handlers

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/cors"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// originalPath makes the router match, and the handlers decode, the path as the client sent it.
// net/http keeps that path only if it differs from its own encoding: a user id with a "%" or
// "/" in it would be decoded twice or not at all.
func originalPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawPath = r.URL.EscapedPath()
		next.ServeHTTP(w, r)
	})
}

// common sets the headers that every answer has: browsers must not guess its type, and no cache may
// store it. Otherwise a browser keeps messages in its cache on disk, where no erasure reaches them.
// The demo and the reference set their own Cache-Control.
func common(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// lastEventIDInQuery takes the Last-Event-ID of a stream from the query parameter lastEventId.
// Libraries that stand in for EventSource send it there when they reconnect, and give up at the
// 400 that an unknown parameter gets. The OpenAPI document does not have the parameter, because
// generated code would give it the same name as the header.
func lastEventIDInQuery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const param, header = "lastEventId", "Last-Event-ID"
		if strings.Contains(r.URL.RawQuery, param) && r.Method == http.MethodGet && isStream(r.URL.Path) {
			if query, err := url.ParseQuery(r.URL.RawQuery); err == nil && len(query[param]) == 1 {
				if r.Header.Get(header) == "" { // a client without an event may send an empty header
					r.Header.Set(header, query.Get(param))
				}
				query.Del(param)
				r.URL.RawQuery = query.Encode()
			}
		}
		next.ServeHTTP(w, r)
	})
}

// headKey is set in the context of a HEAD request by answersHead.
type headKey struct{}

// answersHead serves HEAD as GET. net/http, which has the original request, drops the body.
func answersHead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.WithContext(context.WithValue(r.Context(), headKey{}, true))
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// headersOnly reports whether the request is HEAD. Streams, exports and downloads then end after
// their headers.
func headersOnly(ctx context.Context) bool {
	only, _ := ctx.Value(headKey{}).(bool)
	return only
}

// recovered answers 500 after a panic and logs it.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v) // net/http's way to drop a connection
			}
			s.log.ErrorContext(r.Context(), "panic", faults.Panic(v)...)
			write(w, problem(http.StatusInternalServerError, "internal", "an internal error, which the server has logged"))
		}()
		next.ServeHTTP(w, r)
	})
}

// observed counts a request and logs it by its route. It never logs path or query, which
// have ids and tickets in them.
func (s *Server) observed(doc *document) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			defer func() {
				status := ww.Status()
				if status == 0 {
					status = http.StatusOK
				}
				took := time.Since(began)
				operation := doc.operation(r.Method, chi.RouteContext(r.Context()).RoutePattern())
				s.observe(operation, status, took)
				level := slog.LevelDebug
				switch {
				case status == http.StatusServiceUnavailable:
					s.unavailable.count(r.Context(), s.log)
				case status >= http.StatusInternalServerError:
					level = slog.LevelWarn
				}
				if s.log.Enabled(r.Context(), level) {
					s.log.Log(r.Context(), level, "request", "operation", operation,
						"status", status, "bytes", ww.BytesWritten(), "took", took)
				}
			}()
			next.ServeHTTP(ww, r)
		})
	}
}

// unavailableEvery is the minimum time between two log lines about answers of 503.
const unavailableEvery = 10 * time.Second

// unavailable counts answers of 503. A server that is overloaded, or whose disk has failed, gives
// thousands a second. A log line for each would cost more than the answer and fill the disk.
type unavailable struct {
	now     func() time.Time
	mu      sync.Mutex
	answers int
	logged  time.Time
}

// count counts an answer. If the last log line was long enough ago, it logs the number of answers
// since then.
func (u *unavailable) count(ctx context.Context, log *slog.Logger) {
	u.mu.Lock()
	u.answers++
	n, now := u.answers, u.now()
	if age := now.Sub(u.logged); age >= 0 && age < unavailableEvery {
		u.mu.Unlock()
		return
	}
	u.answers, u.logged = 0, now
	u.mu.Unlock()
	log.WarnContext(ctx, "requests were answered with 503", "count", n)
}

// crossOrigin lets browsers call from the allowed origins. All headers are allowed:
// libraries for event streams and tracing add their own, and without cookies no header can
// be used against a user.
func crossOrigin(origins []string) func(http.Handler) http.Handler {
	if len(origins) == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{"*"},
		ExposedHeaders: []string{"Retry-After", "ETag", "Location", "Date", "Content-Disposition", "Content-Range", firstFrameHeader},
		MaxAge:         int(time.Hour.Seconds()),
	}).Handler
}

const (
	apiPrefix   = "/v1/"
	eventsPath  = "/v1/events"
	importPath  = "/v1/admin/import"
	uploadPath  = "/v1/attachments"
	ticketParam = "ticket"
)

// authenticated authenticates each request to the API before anything else is answered, and charges
// its cost to the rate limit. If the request would write and the store has too much to write, it
// waits or is refused. A request that has a principal already is passed on as it is.
func (s *Server) authenticated(doc *document, routes chi.Routes) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, known := r.Context().Value(principalKey{}).(auth.Principal)
			if known || !strings.HasPrefix(r.URL.Path, apiPrefix) {
				next.ServeHTTP(w, r)
				return
			}
			p, err := s.verify(r)
			if err != nil {
				s.fail(w, r, s.limits.failed(r, err))
				return
			}
			pattern := routes.Find(chi.NewRouteContext(), r.Method, r.URL.RawPath)
			refuse := func(err error) {
				// The route is not matched yet, and metrics and the log need it.
				chi.RouteContext(r.Context()).RoutePatterns = []string{pattern}
				s.fail(w, r, err)
			}
			if err := s.limits.spend(p, doc.costOf(r.Method, pattern).base); err != nil {
				if byTicket(r) && r.URL.Path == eventsPath {
					s.tryLater(w)
					return
				}
				refuse(err)
				return
			}
			if doc.writes[routeKey{r.Method, pattern}] {
				if err := s.service.Admit(r.Context(), p.User); err != nil {
					refuse(err)
					return
				}
			}
			if p, err = withDevice(p, r); err != nil {
				s.fail(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(withPrincipal(r.Context(), p, im.Caller{User: p.User})))
		})
	}
}

// tryLater answers an EventSource with the time after which to reconnect.
func (s *Server) tryLater(w http.ResponseWriter) {
	_ = retryLater{s.hub.RetryLater()}.VisitGetEventsResponse(w) // fails if the client has disconnected
}

// withDevice adds the device of the X-Device-Id header. It refuses several such headers, an invalid
// device, and a device other than the token's.
func withDevice(p auth.Principal, r *http.Request) (auth.Principal, error) {
	if len(r.Header.Values("X-Device-Id")) > 1 {
		return p, im.RefuseField(im.Invalid, "invalid_request", "X-Device-Id", "is given more than once")
	}
	switch device := r.Header.Get("X-Device-Id"); {
	case device == "" || device == p.Device:
	case !im.ValidDevice(device):
		return p, im.RefuseField(im.Invalid, "invalid_request", "X-Device-Id", "must be 1 to %d printable ASCII characters", im.MaxDeviceID)
	case p.Device != "":
		return p, im.RefuseField(im.Invalid, "device_mismatch", "X-Device-Id", "is not the token's device")
	default:
		p.Device = device
	}
	return p, nil
}

// byTicket reports whether a request authenticates with a ticket, which is for streams only.
func byTicket(r *http.Request) bool {
	return r.Method == http.MethodGet && isStream(r.URL.Path) && r.Header.Get("Authorization") == "" &&
		r.URL.Query().Get(ticketParam) != ""
}

// isStream reports whether a path is that of a stream, of events or of data.
func isStream(path string) bool { return path == eventsPath || readsDataStream(path) }

// readsDataStream reports whether a path is the one for reading a data stream.
func readsDataStream(path string) bool {
	rest, is := strings.CutPrefix(path, "/v1/streams/")
	_, rest, _ = strings.Cut(rest, "/")
	return is && rest == "events"
}

// errSeveralTokens refuses a request with several Authorization headers. If a proxy checked one of
// them and this server another, a user could act as somebody else.
var errSeveralTokens = &auth.Error{Code: auth.CodeTokenMalformed, Message: "the request has several Authorization headers"}

// verify verifies the token or ticket of a request.
func (s *Server) verify(r *http.Request) (auth.Principal, error) {
	if len(r.Header.Values("Authorization")) > 1 {
		return auth.Principal{}, errSeveralTokens
	}
	if byTicket(r) {
		return s.verifier.VerifyTicket(r.URL.Query().Get(ticketParam))
	}
	token, err := auth.Bearer(r.Header.Get("Authorization"))
	if err != nil {
		return auth.Principal{}, err
	}
	return s.verifier.Verify(token)
}
