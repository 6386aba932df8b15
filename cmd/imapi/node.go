package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/blobs"
	"github.com/imapi/imapi/blobs/thumbnail"
	"github.com/imapi/imapi/datastreams"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/metrics"
	"github.com/imapi/imapi/outgoing"
	"github.com/imapi/imapi/presend"
	"github.com/imapi/imapi/retention"
	"github.com/imapi/imapi/storage"
	"github.com/imapi/imapi/webhooks"
)

// webhookTimeout bounds a request to a webhook.
const webhookTimeout = 15 * time.Second

// node is a server with all of its parts.
type node struct {
	config  config
	log     *slog.Logger
	store   im.Store
	service *im.Service
	timers  *retention.Timers
	cleanup *retention.Cleanup
	hub     *events.Hub
	streams *datastreams.Hub // nil with --streams=off
	blobs   *blobs.Files
	blobDir *blobs.Dir
	hooks   *webhooks.Deliverer
	// thumbnails makes thumbnails; nil in a node that only runs a command.
	thumbnails *thumbnail.Process
	server     *handlers.Server
	routes     http.Handler
	metrics    *metrics.Metrics
	// forgetCuts is the job that forgets cut-offs, in the store and in the verifier.
	forgetCuts func(context.Context) (int, error)

	certificate               *tls.Certificate // nil without TLS
	listener, metricsListener net.Listener
	control                   *control
	stopHooks, stopJobs       context.CancelFunc
	presend                   *presend.Client // nil without a pre-send hook
	jobs                      sync.WaitGroup
}

// verification returns the configuration of the token verifier. It lacks the ticket key, which the
// store has, and for HS256 the secret, which the server creates at its first start.
func (c config) verification(log *slog.Logger) (auth.Config, error) {
	verify := auth.Config{
		Algorithm: c.algorithm, JWKSURL: c.jwksURL, Issuer: c.issuer, Audience: c.audience,
		Leeway: c.leeway, MaxAge: c.maxTokenAge, TicketTTL: c.ticketTTL, Log: log,
	}
	if c.publicKey != "" {
		var err error
		if verify.PublicKeyPEM, err = os.ReadFile(c.publicKey); err != nil {
			return verify, fmt.Errorf("--auth-public-key: %w", err)
		}
	}
	if c.algorithm != auth.HS256 {
		return verify, verify.CheckKeys()
	}
	return verify, nil
}

// certificate returns the certificate of the server, nil without TLS.
func (c config) certificate() (*tls.Certificate, error) {
	if c.tlsCert == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return &certificate, nil
}

// newNode returns a server that listens, and that answers once run is called. It checks as much as
// possible before it creates any data.
func newNode(ctx context.Context, c config, log *slog.Logger) (n *node, err error) {
	n = &node{config: c, log: log, metrics: metrics.New(version), stopJobs: func() {}}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	verify, err := c.verification(log)
	if err != nil {
		return n, err
	}
	if n.certificate, err = c.certificate(); err != nil {
		return n, err
	}
	if n.presend, err = c.presend.client(c.policy.MaxMessageBytes, n.metrics, log); err != nil {
		return n, err
	}
	if err := n.listen(ctx); err != nil {
		return n, err
	}
	n.store, err = storage.Open(ctx, c.database, storage.Options{
		DataDir: c.data, Synchronous: c.synchronous, Logger: log, ReadLimit: c.readLimit,
		AcceptLostKeys: c.acceptLostKeys, Progress: slowly(log),
		Keys: c.keys, ObserveShred: func(s storage.ShredStats) { n.metrics.Shredded(s.Keys, s.Delay, s.Err != nil) },
		Observe:    func(s storage.BatchStats) { n.metrics.Commit(s.Calls, s.Duration, s.Err != nil) },
		ObserveLog: n.metrics.WriteAheadLog,
	})
	if errors.Is(err, storage.ErrInUse) {
		return n, fmt.Errorf("%w\n  stop it, or choose another directory with --data", err)
	}
	if err != nil {
		return n, err
	}
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return n, err
	}
	if c.algorithm == auth.HS256 {
		if verify.Secret, err = auth.LoadOrCreateSecret(filepath.Join(c.data, secretFile)); err != nil {
			return n, err
		}
	}
	n.service = im.NewService(n.store, c.policy, nil)
	if n.presend != nil {
		if err := c.presend.use(n.presend, n.service, n.metrics); err != nil {
			return n, err
		}
	}
	if err := n.openBlobs(blobsIn(c.blobs, c.data)); err != nil {
		return n, err
	}
	if err := n.useThumbnails(); err != nil {
		return n, err
	}
	n.timers = retention.NewTimers(log, n.service)
	n.cleanup = retention.NewCleanup(log, n.service, c.retentionInterval, n.metrics.Trimmed)
	n.measureState()

	verify.TicketKey = n.store.Instance().TicketKey
	verifier, err := auth.New(ctx, verify)
	if err != nil {
		return n, err
	}
	forgotten, err := n.service.TokenCuts(im.AtStart(ctx), verifier.Cut)
	if err != nil {
		return n, err
	}
	verifier.ForgetCuts(forgotten)
	n.forgetCuts = func(ctx context.Context) (int, error) {
		forgot, through, err := n.service.ForgetCuts(ctx)
		if err == nil && forgot > 0 {
			verifier.ForgetCuts(through)
		}
		return forgot, err
	}
	n.hub, err = events.NewHub(ctx, events.Options{
		Log: n.service, Head: n.store.Head, LogID: n.store.Instance().Log, Encode: handlers.AppendEvent, Logger: log,
		Leeway: c.leeway, Observer: n.metrics, Deliver: n.service.Deliver, MaxStreams: c.maxStreams, MaxStreamsPerUser: c.maxStreamsPerUser,
	})
	if err != nil {
		return n, err
	}
	n.openDataStreams()
	n.hooks = webhooks.New(webhooks.Options{
		Source: n.service, Client: outgoing.New(outgoing.Options{AllowPrivate: c.privateWebhooks, Timeout: webhookTimeout}),
		Encode:  func(content im.WebhookContent) []byte { return handlers.EncodeWebhook(content, n.eventID) },
		ID:      n.eventID,
		Offline: n.hub.Offline, Logger: log, Observer: n.metrics,
	})
	n.metrics.WebhookLag(n.hooks.Lag)
	n.store.OnCommit(func(commit im.Commit) {
		for _, cut := range commit.Cuts {
			verifier.Cut(cut)
		}
		n.committed(commit)
	})

	options := handlers.Options{
		Service: n.service, Verifier: verifier, Hub: n.hub, Streams: n.streams, MaxFrameBytes: c.dataStreams.maxFrameBytes,
		TokenKey: n.store.Instance().TicketKey, Observe: n.metrics.Request, Origins: c.origins, Logger: log,
		Rate: float64(c.rate), CommandRate: float64(c.commandRate), TrustedProxies: c.trustedProxies, Limited: n.metrics.RateLimited, SentAs: n.metrics.SentAs,
		Uploaded: n.observeUpload, LostFile: n.metrics.LostFile,
	}
	options.Demo, options.Reference = n.pages(verify.Secret)
	if c.metricsListen == "" {
		options.Metrics = n.metrics.Handler()
	}
	if n.server, n.routes, err = handlers.New(options); err != nil {
		return n, err
	}
	return n, n.listenControl(ctx)
}

// measureState registers the metrics that are read from the state of the server.
func (n *node) measureState() {
	n.metrics.OldestMessage(func() (time.Time, bool) {
		at, found, err := n.service.OldestMessage(context.Background())
		return at, found && err == nil
	})
	n.metrics.Unshredded(n.service.Unshredded)
	n.metrics.SearchIndex(func() metrics.SearchState {
		s := n.service.SearchState()
		return metrics.SearchState{Waiting: s.Waiting, Deletions: s.Removals, Complete: s.Complete, Failures: s.Failures}
	})
	n.metrics.Attachments(n.attachmentUse)
	n.metrics.ThumbnailsWaiting(n.waitingThumbnails)
	n.metrics.ClockGuard(func() time.Duration { return n.service.Clock().Held })
}

// committed gives a commit to every part of the server that needs it, except the verifier. It runs
// on the writer's goroutine.
func (n *node) committed(commit im.Commit) {
	for _, e := range commit.Events {
		if !e.Type.Erases() {
			continue
		}
		n.metrics.Erased(e.Message.State.String())
		if e.Actor == "" { // a timer
			n.metrics.ErasedLate(e.Late)
		}
	}
	n.hub.Publish(commit)
	if n.streams != nil {
		n.streams.Committed(commit)
	}
	n.hooks.Committed(commit)
	n.timers.Due(commit.Due)
	n.cleanup.Committed(commit)
}

func (n *node) eventID(at im.Position) string { return handlers.EventID(n.service, at) }

// slowly returns a function that logs the progress of a start every 5 s, from the fifth second on.
func slowly(log *slog.Logger) func(im.Progress) {
	last := time.Now()
	return func(p im.Progress) {
		if time.Since(last) < 5*time.Second {
			return
		}
		last = time.Now()
		log.Info("checking the keys of all messages", "done", p.Done, "total", p.Total)
	}
}

// close stops and closes what newNode and run have started. It accepts a node that newNode could
// not complete.
func (n *node) close() {
	for _, l := range []net.Listener{n.listener, n.metricsListener} {
		if l != nil {
			_ = l.Close() // usually closed by its server already
		}
	}
	if n.control != nil {
		n.control.close()
	}
	n.stopJobs()
	n.jobs.Wait()
	if n.streams != nil {
		n.streams.Close()
	}
	if n.presend != nil {
		n.presend.Close()
	}
	if n.hub != nil {
		n.hub.Close()
	}
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			n.log.Error("storage not closed", "error", faults.Text(err))
		}
	}
}
