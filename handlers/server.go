package handlers

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/datastreams"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
)

// Options configure a [Server]. Options without a default are required, except Logger: without it
// nothing is logged.
type Options struct {
	Service  *im.Service
	Verifier *auth.Verifier
	Hub      *events.Hub
	// Streams runs data streams; nil if the server has none. MaxFrameBytes is the maximum size of
	// the body of a frame, in bytes; 1 MiB by default.
	Streams       *datastreams.Hub
	MaxFrameBytes int
	// TokenKey seals page tokens. Without one, page tokens are valid only until the server stops.
	TokenKey []byte
	// Metrics answers GET /metrics; 404 if nil.
	Metrics http.Handler
	// Demo answers / and all paths below /demo/; 404 if nil.
	Demo http.Handler
	// Reference answers GET /docs and below; 404 if nil.
	Reference http.Handler
	// Observe is called after each answer; for an event stream over HTTP/1.1, when it has caught
	// up with the log. It may be nil.
	Observe func(operation string, status int, took time.Duration)
	// Origins are the web origins that browsers may call from, or "*" for any. None by
	// default.
	Origins []string
	// Rate limits the requests of a user, and the failed authentications of an address, in
	// requests a second. A costly request counts as several, as the OpenAPI document says.
	// Bursts may be twice that. 0 sets no limit. Admins have none.
	Rate float64
	// CommandRate limits the commands of a user, in commands a second. Bursts may be twice
	// that. 0 sets no separate limit; commands also count against Rate.
	CommandRate float64
	// TrustedProxies are the proxies whose X-Forwarded-For is trusted. None by default.
	TrustedProxies []netip.Prefix
	// Limited is called for each request that a rate limit refuses, with "user", "command"
	// or "address". It may be nil.
	Limited func(by string)
	// SentAs is called for each message that an admin sends as another user, with "sent",
	// "repeated" or "refused". It may be nil.
	SentAs func(result string)
	// Uploaded is called after each upload that was passed to Service, with its size or the error.
	// It is not called if the request is refused before that, such as for its Content-Length. It may
	// be nil.
	Uploaded func(bytes int64, err error)
	// LostFile is called for each download of an attachment whose file is missing or damaged.
	// It may be nil.
	LostFile func()
	// Now is the clock of the rate limits and of repeated log lines; time.Now if nil.
	Now func() time.Time
	// WriteTimeout ends a stream, a download or another long answer if a single write takes longer;
	// 10 s by default.
	WriteTimeout time.Duration
	Logger       *slog.Logger
}

// Server answers requests.
type Server struct {
	service  *im.Service
	verifier *auth.Verifier
	hub      *events.Hub
	streams  *datastreams.Hub
	metrics  http.Handler
	sealer   sealer
	limits   limits
	bodies   bodyBudgets
	log      *slog.Logger
	observe  func(operation string, status int, took time.Duration)
	sentAs   func(result string)
	// unavailable counts answers of 503 for the log.
	unavailable unavailable
	// uploads and downloads bound the memory for attachments in transfer.
	uploads, downloads *budget
	transferWait       time.Duration
	observeUpload      func(bytes int64, err error)
	lostFile           func()

	writeTimeout  time.Duration
	maxFrameBytes int
	draining      atomic.Bool
	drained       chan struct{} // closed by Drain
}

var _ api.StrictServerInterface = (*Server)(nil)

// New returns a server and its routes.
func New(o Options) (*Server, http.Handler, error) {
	s := &Server{
		service: o.Service, verifier: o.Verifier, hub: o.Hub, streams: o.Streams, maxFrameBytes: o.MaxFrameBytes,
		metrics: o.Metrics, log: o.Logger, observe: o.Observe, writeTimeout: o.WriteTimeout,
		drained: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.observe == nil {
		s.observe = func(string, int, time.Duration) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s.unavailable.now = o.Now
	if s.sentAs = o.SentAs; s.sentAs == nil {
		s.sentAs = func(string) {}
	}
	if o.Limited == nil {
		o.Limited = func(string) {}
	}
	s.limits = limits{
		users: newBuckets[im.UserID](o.Rate, o.Now), commands: newBuckets[im.UserID](o.CommandRate, o.Now),
		addresses: newBuckets[netip.Addr](o.Rate, o.Now),
		proxies:   o.TrustedProxies, observe: o.Limited,
	}
	s.uploads = newBudget(transfersAtOnce*transferBytes, transfersOfUser*transferBytes)
	s.downloads = newBudget(transfersAtOnce*transferBytes, transfersOfUser*transferBytes)
	s.transferWait = transferWait
	s.observeUpload = o.Uploaded
	if s.observeUpload == nil {
		s.observeUpload = func(int64, error) {}
	}
	if s.lostFile = o.LostFile; s.lostFile == nil {
		s.lostFile = func() {}
	}
	s.bodies = bodyBudgets{
		reading:  share{free: readingBytes, perUser: readingBytesPerUser, takenBy: make(map[im.UserID]int)},
		decoding: newBudget(decodingBytes, decodingBytesPerUser), wait: decodeWait,
	}
	if s.maxFrameBytes == 0 {
		s.maxFrameBytes = 1 << 20
	}
	if s.writeTimeout == 0 {
		s.writeTimeout = 10 * time.Second
	}
	if len(o.TokenKey) == 0 {
		o.TokenKey = make([]byte, 32)
		_, _ = rand.Read(o.TokenKey) // crypto/rand documents that it never fails
	}
	var err error
	if s.sealer, err = newSealer(o.TokenKey); err != nil {
		return nil, nil, err
	}
	doc, err := loadDocument(s.service.MaxMessageBytes())
	if err != nil {
		return nil, nil, err
	}

	mux := chi.NewRouter()
	var r chi.Router = mux
	r.Use(common, originalPath, answersHead, lastEventIDInQuery, s.observed(doc), s.recovered, crossOrigin(o.Origins), readRefused, s.authenticated(doc, mux))
	notFound := func(w http.ResponseWriter, _ *http.Request) {
		write(w, problem(http.StatusNotFound, "not_found", "no such path"))
	}
	r.NotFound(notFound)
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		methods := allowed(mux, r.URL.RawPath)
		if len(methods) == 0 { // chi calls this for a method that it does not know, whatever the path
			notFound(w, r)
			return
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		write(w, problem(http.StatusMethodNotAllowed, "method_not_allowed", "the path does not have this method"))
	})
	if o.Demo != nil {
		r.Method(http.MethodGet, "/", o.Demo)
		r.Method(http.MethodGet, "/demo/*", o.Demo)
		r.Method(http.MethodPost, "/demo/*", o.Demo)
	}
	if o.Reference != nil {
		r.Method(http.MethodGet, "/docs", o.Reference)
		r.Method(http.MethodGet, "/docs/*", o.Reference)
	}
	strict := api.NewStrictHandlerWithOptions(s, []api.StrictMiddlewareFunc{negotiated}, api.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  s.badRequest,
		ResponseErrorHandlerFunc: s.fail,
	})
	validation := []api.MiddlewareFunc{s.validated(doc)}
	api.HandlerWithOptions(direct{strict, s}, api.ChiServerOptions{
		BaseRouter: r, Middlewares: validation, ErrorHandlerFunc: s.badRequest,
	})
	byOldName := api.ServerInterfaceWrapper{Handler: strict, HandlerMiddlewares: validation, ErrorHandlerFunc: s.badRequest}
	r.Post("/v1/admin/insert", byOldName.InsertMessage)
	return s, r, nil
}

// allowed returns the methods of a path.
func allowed(routes chi.Routes, path string) []string {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if !routes.Match(chi.NewRouteContext(), method, path) {
			continue
		}
		methods = append(methods, method)
		if method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	return methods
}

// Drain makes /readyz answer 503, so that load balancers send no more requests. It ends imports
// after the batch that is being stored, and breaks off exports.
func (s *Server) Drain() {
	if !s.draining.Swap(true) {
		close(s.drained)
	}
}

// principalKey is the key of the principal in the context of a request.
type principalKey struct{}

// withPrincipal returns the context of a request by p. It names the caller, because the store is
// shared fairly between callers.
func withPrincipal(ctx context.Context, p auth.Principal, c im.Caller) context.Context {
	return im.WithCaller(context.WithValue(ctx, principalKey{}, p), c)
}

// principal returns the authenticated principal of a request. Every request under /v1/ has
// one.
func principal(ctx context.Context) auth.Principal {
	p, _ := ctx.Value(principalKey{}).(auth.Principal)
	return p
}

func actor(ctx context.Context) im.Actor { return principal(ctx).Actor }
