// Package handlers is the HTTP side of imapi: it implements the interface that
// is generated from the contract, holds requests against the document, turns
// domain values into those of the contract and every refusal into
// problem+json. It decides nothing: the rules are in package im.
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
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
)

// Options are what a [Server] is made of. Those without a default are needed.
type Options struct {
	Service  *im.Service
	Verifier *auth.Verifier
	Hub      *events.Hub
	// TokenKey seals page tokens; without one they are good until the server ends.
	TokenKey []byte
	// Metrics answers GET /metrics; nil serves none here.
	Metrics http.Handler
	// Demo answers GET /; nil serves none.
	Demo http.Handler
	// Observe is told of every request once it was answered; nil tells nobody.
	Observe func(operation string, status int, took time.Duration)
	// Origins are the web origins that browsers may call from: exact ones, or
	// "*" for any. None by default.
	Origins []string
	// Rate is how many requests a second a user may make, and an address that fails
	// to say who it is; bursts may be twice that. 0 sets no limit.
	Rate float64
	// TrustedProxies are who is believed when they say by X-Forwarded-For whom they
	// got a request from. Nobody by default.
	TrustedProxies []netip.Prefix
	// Limited is told of every request that is refused for its rate, with whose
	// limit it was, "user" or "address"; nil tells nobody.
	Limited func(by string)
	// Now is the clock of the rate limits; time.Now if nil.
	Now func() time.Time
	// WriteTimeout ends a stream whose client takes longer for a write; 10 s
	// by default.
	WriteTimeout time.Duration
	Logger       *slog.Logger
}

// Server answers requests.
type Server struct {
	service  *im.Service
	verifier *auth.Verifier
	hub      *events.Hub
	metrics  http.Handler
	sealer   sealer
	limits   limits
	bodies   bodyBudgets
	log      *slog.Logger
	observe  func(operation string, status int, took time.Duration)

	writeTimeout time.Duration
	draining     atomic.Bool
	drained      chan struct{} // closed by Drain
}

var _ api.StrictServerInterface = (*Server)(nil)

// New returns a server and its routes.
func New(o Options) (*Server, http.Handler, error) {
	s := &Server{
		service: o.Service, verifier: o.Verifier, hub: o.Hub,
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
	if o.Limited == nil {
		o.Limited = func(string) {}
	}
	s.limits = limits{
		users: newBuckets[im.UserID](o.Rate, o.Now), addresses: newBuckets[netip.Addr](o.Rate, o.Now),
		proxies: o.TrustedProxies, observe: o.Limited,
	}
	s.bodies = bodyBudgets{
		reading:  share{free: readingBytes, ofUser: readingBytesOfUser, takenBy: make(map[im.UserID]int)},
		decoding: newBudget(decodingBytes, decodingOfUser), wait: decodeWait,
	}
	if s.writeTimeout == 0 {
		s.writeTimeout = 10 * time.Second
	}
	if len(o.TokenKey) == 0 {
		o.TokenKey = make([]byte, 32)
		_, _ = rand.Read(o.TokenKey) // never fails, says crypto/rand
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
	r.Use(asSent, answersHead, s.observed(doc), s.recovered, crossOrigin(o.Origins), s.authenticated(doc, mux))
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		write(w, problem(http.StatusNotFound, "not_found", "there is nothing at this path"))
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(allowed(mux, r.URL.RawPath), ", "))
		write(w, problem(http.StatusMethodNotAllowed, "method_not_allowed", "the path does not take this method"))
	})
	if o.Demo != nil {
		r.Method(http.MethodGet, "/", o.Demo)
	}
	strict := api.NewStrictHandlerWithOptions(s, []api.StrictMiddlewareFunc{negotiated}, api.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  s.badRequest,
		ResponseErrorHandlerFunc: s.fail,
	})
	held := []api.MiddlewareFunc{s.validated(doc)}
	api.HandlerWithOptions(direct{strict, s}, api.ChiServerOptions{
		BaseRouter: r, Middlewares: held, ErrorHandlerFunc: s.badRequest,
	})
	byOldName := api.ServerInterfaceWrapper{Handler: strict, HandlerMiddlewares: held, ErrorHandlerFunc: s.badRequest}
	r.Post("/v1/admin/insert", byOldName.InsertMessage)
	return s, r, nil
}

// allowed returns the methods that a path takes.
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

// Drain makes the server say that it is not ready, so that no more clients are
// sent to it while it stops, and ends imports after what is being stored.
func (s *Server) Drain() {
	if !s.draining.Swap(true) {
		close(s.drained)
	}
}

// principalKey is where the middleware puts who asks.
type principalKey struct{}

// withPrincipal returns the context of a request of p, for whom the store works.
func withPrincipal(ctx context.Context, p auth.Principal, c im.Caller) context.Context {
	return im.WithCaller(context.WithValue(ctx, principalKey{}, p), c)
}

// principal returns who asks; authenticated has seen to it that there is one.
func principal(ctx context.Context) auth.Principal {
	p, _ := ctx.Value(principalKey{}).(auth.Principal)
	return p
}

func actor(ctx context.Context) im.Actor { return principal(ctx).Actor }
