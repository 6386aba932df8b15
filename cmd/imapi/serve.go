package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/metrics"
	"github.com/imapi/imapi/retention"
	"github.com/imapi/imapi/storage"
	"github.com/imapi/imapi/web"
)

// drainTime is how long requests that are under way at SIGTERM may take to
// finish; streams are told to resume elsewhere at its beginning. The rest of
// the five seconds in which the process ends is for closing the store.
const drainTime = 3 * time.Second

// config is what serve can be told.
type config struct {
	listen, metricsListen string
	tlsCert, tlsKey       string
	data, database        string
	synchronous           string
	readLimit             time.Duration
	logFormat             string
	logLevel              slog.Level
	origins               string

	algorithm, publicKey, jwksURL, issuer, audience string
	leeway, ticketTTL                               time.Duration

	policy                   im.Policy
	revokeByKind, burnPolicy string

	retentionInterval time.Duration
	maxStreams        int
	maxStreamsPerUser int
}

func parseConfig(args []string, diag io.Writer) (config, error) {
	c := config{policy: im.DefaultPolicy()}
	f := newFlags("serve", "Run the server. It needs no flags: a first start makes the data directory and a\nsecret for tokens in it.", diag)
	f.StringVar(&c.listen, "listen", "127.0.0.1:8080", "`address` to listen on; port 0 takes any")
	f.StringVar(&c.metricsListen, "metrics-listen", "", "`address` to serve /metrics on instead")
	f.StringVar(&c.tlsCert, "tls-cert", "", "PEM `file` of the certificate chain; needs --tls-key")
	f.StringVar(&c.tlsKey, "tls-key", "", "PEM `file` of the certificate's key")
	f.StringVar(&c.data, "data", "./data", "`directory` of all that the server keeps")
	f.StringVar(&c.database, "database", "", "`URL` of the database; SQLite in the data directory by default")
	f.StringVar(&c.synchronous, "synchronous", "full", "`when` a write is durable: full (survives a power cut) or normal (a crash of the process alone)")
	f.DurationVar(&c.readLimit, "read-limit", 500*time.Millisecond, "`time` that one read of the database may take before it is ended with 503")
	f.StringVar(&c.logFormat, "log-format", "text", "`format` of the log: text or json")
	f.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "least `level` that is logged: debug (every request), info, warn, error")
	f.StringVar(&c.origins, "cors-origins", "", "comma-separated web `origins` that browsers may call from; * for any")
	f.StringVar(&c.algorithm, "auth-algorithm", auth.HS256, "the one `algorithm` of tokens: HS256, RS256, ES256 or EdDSA")
	f.StringVar(&c.publicKey, "auth-public-key", "", "PEM `file` of the key that verifies tokens; for all but HS256")
	f.StringVar(&c.jwksURL, "auth-jwks-url", "", "`URL` of a JWK set with the keys that verify tokens, instead of a file")
	f.StringVar(&c.issuer, "auth-issuer", "", "the `iss` that tokens must have")
	f.StringVar(&c.audience, "auth-audience", "", "the `aud` that tokens must have")
	f.DurationVar(&c.leeway, "auth-leeway", 0, "`time` that the clock of who makes tokens may differ")
	f.DurationVar(&c.ticketTTL, "ticket-ttl", time.Hour, "`time` that a stream ticket is good for")
	f.DurationVar(&c.policy.LogRetention, "event-retention", c.policy.LogRetention, "`time` that events stay in the log, for clients that were away")
	f.retention(&c.policy)
	f.DurationVar(&c.retentionInterval, "retention-interval", 10*time.Minute, "`time` between two looks for messages that are past retention, to remove them; they cannot be read from then on anyway")
	f.IntVar(&c.policy.MaxMessageBytes, "max-message-bytes", c.policy.MaxMessageBytes, "most `bytes` of a message's body and ext together")
	f.IntVar(&c.policy.MaxMembers, "max-members", c.policy.MaxMembers, "most `members` of a group")
	f.IntVar(&c.policy.MaxRoomMembers, "max-room-members", c.policy.MaxRoomMembers, "most `members` of a room")
	f.IntVar(&c.policy.MaxSpaceMembers, "max-space-members", c.policy.MaxSpaceMembers, "most `members` of a space")
	f.IntVar(&c.policy.MaxChannels, "max-channels", c.policy.MaxChannels, "most `channels` of a space")
	f.IntVar(&c.policy.MaxRoles, "max-roles", c.policy.MaxRoles, "most `roles` of a space, everyone's included")
	f.IntVar(&c.policy.MaxChannelRoles, "max-channel-roles", c.policy.MaxChannelRoles, "most `roles` with overrides in one channel")
	f.DurationVar(&c.policy.RevokeWindow, "revoke-window", c.policy.RevokeWindow, "`time` in which one may revoke what one sent; 0 sets no limit")
	f.DurationVar(&c.policy.RevokeOthersWindow, "revoke-others-window", c.policy.RevokeOthersWindow, "`time` in which those who have the right may revoke what others sent, where the conversation does not say; 0 sets no limit")
	f.StringVar(&c.revokeByKind, "revoke-window-by-kind", "", "--revoke-window of some `kinds`, such as direct=120s,group=10m")
	f.StringVar(&c.burnPolicy, "burn-policy", "flagged", "`which` direct messages their recipient may burn: flagged (those sent for burning) or any")
	f.IntVar(&c.policy.MaxReceiptMembers, "max-receipt-members", c.policy.MaxReceiptMembers, "most `members` of a group with receipts")
	f.IntVar(&c.maxStreams, "max-streams", 20000, "most event `streams` in all; 0 sets no limit")
	f.IntVar(&c.maxStreamsPerUser, "max-streams-per-user", 32, "most event `streams` of a user")
	if err := f.parse(args); err != nil {
		return c, err
	}
	if err := c.check(); err != nil {
		return c, err
	}
	c.policy.BurnAny = c.burnPolicy == "any"
	windows, err := parseWindows(c.revokeByKind)
	c.policy.RevokeWindowByKind = windows
	return c, err
}

// parseWindows reads a list such as direct=120s,group=10m.
func parseWindows(list string) (map[im.Kind]time.Duration, error) {
	windows := make(map[im.Kind]time.Duration)
	for entry := range strings.SplitSeq(list, ",") {
		if list == "" {
			break
		}
		name, text, _ := strings.Cut(strings.TrimSpace(entry), "=")
		kind, known := im.ParseKind(name)
		window, err := time.ParseDuration(text)
		if _, twice := windows[kind]; !known || kind == im.Space || err != nil || window < 0 || twice {
			return nil, misuse("--revoke-window-by-kind: must be a list such as direct=120s,group=10m")
		}
		windows[kind] = window
	}
	return windows, nil
}

// maxMessageBytes keeps a message well within a request body.
const maxMessageBytes = 256 << 10

// maxChannels is about how many channels a member's replay may have to look at, and
// maxRoles how many roles may be asked at each check.
const (
	maxChannels = 1000
	maxRoles    = 1000
)

func (c config) check() error {
	switch {
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return misuse("--tls-cert and --tls-key go together")
	case c.readLimit <= 0 || c.readLimit > time.Minute:
		return misuse("--read-limit: must be more than 0 and at most 1m")
	case c.synchronous != "full" && c.synchronous != "normal":
		return misuse("--synchronous: must be full or normal")
	case c.logFormat != "text" && c.logFormat != "json":
		return misuse("--log-format: must be text or json")
	case c.policy.LogRetention <= 0:
		return misuse("--event-retention: must be more than 0")
	case c.retentionInterval <= 0:
		return misuse("--retention-interval: must be more than 0")
	case c.policy.MaxMessageBytes < im.MinMessageBytes || c.policy.MaxMessageBytes > maxMessageBytes:
		return misuse("--max-message-bytes: must be %d to %d", im.MinMessageBytes, maxMessageBytes)
	case c.policy.RevokeWindow < 0 || c.policy.RevokeOthersWindow < 0:
		return misuse("--revoke-window, --revoke-others-window: must not be negative")
	case c.burnPolicy != "flagged" && c.burnPolicy != "any":
		return misuse("--burn-policy: must be flagged or any")
	case c.policy.MaxReceiptMembers < 0:
		return misuse("--max-receipt-members: must not be negative")
	case c.policy.MaxMembers < 2 || c.policy.MaxRoomMembers < 2 || c.policy.MaxSpaceMembers < 2:
		return misuse("--max-members, --max-room-members, --max-space-members: must be at least 2")
	case c.policy.MaxChannels < 1 || c.policy.MaxChannels > maxChannels:
		return misuse("--max-channels: must be 1 to %d", maxChannels)
	case c.policy.MaxRoles < 1 || c.policy.MaxRoles > maxRoles || c.policy.MaxChannelRoles < 1 || c.policy.MaxChannelRoles > maxRoles:
		return misuse("--max-roles, --max-channel-roles: must be 1 to %d", maxRoles)
	case c.maxStreams < 0:
		return misuse("--max-streams: must not be negative")
	case c.maxStreamsPerUser < 1:
		return misuse("--max-streams-per-user: must be at least 1")
	case c.ticketTTL < time.Second:
		return misuse("--ticket-ttl: must be at least 1s")
	case c.algorithm == auth.HS256 && (c.publicKey != "" || c.jwksURL != ""):
		return misuse("--auth-algorithm: HS256 is verified with the secret in the data directory, not with a public key")
	case c.algorithm != auth.HS256 && (c.publicKey == "") == (c.jwksURL == ""):
		return misuse("--auth-algorithm %s takes one of --auth-public-key and --auth-jwks-url", c.algorithm)
	}
	return checkRetention(c.policy)
}

func (c config) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.logLevel}
	if c.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, args []string, out, diag io.Writer) error {
	c, err := parseConfig(args, diag)
	if err != nil {
		return err
	}
	n, err := newNode(ctx, c, c.logger(diag))
	if err != nil {
		return err
	}
	defer n.close()
	if err := n.listen(); err != nil {
		return err
	}
	n.greet(out)
	return n.run(ctx)
}

// node is a server with all that it is wired of.
type node struct {
	config  config
	log     *slog.Logger
	store   im.Store
	service *im.Service
	timers  *retention.Timers
	cleanup *retention.Cleanup
	hub     *events.Hub
	server  *handlers.Server
	routes  http.Handler
	metrics *metrics.Metrics

	listener, metricsListener net.Listener
	control                   *control
	stopJobs                  context.CancelFunc
	jobs                      sync.WaitGroup
}

func newNode(ctx context.Context, c config, log *slog.Logger) (n *node, err error) {
	n = &node{config: c, log: log, metrics: metrics.New(version), stopJobs: func() {}}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	verify := auth.Config{
		Algorithm: c.algorithm, JWKSURL: c.jwksURL, Issuer: c.issuer, Audience: c.audience,
		Leeway: c.leeway, TicketTTL: c.ticketTTL, Log: log,
	}
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return n, err
	}
	switch {
	case c.algorithm == auth.HS256:
		if verify.Secret, err = loadSecret(c.data); err != nil {
			return n, err
		}
	case c.publicKey != "":
		if verify.PublicKeyPEM, err = os.ReadFile(c.publicKey); err != nil {
			return n, err
		}
	}
	n.store, err = storage.Open(ctx, c.database, storage.Options{
		DataDir: c.data, Synchronous: c.synchronous, Logger: log, ReadLimit: c.readLimit,
		Observe: func(s storage.BatchStats) { n.metrics.Commit(s.Calls, s.Duration, s.Err != nil) },
	})
	if err != nil {
		return n, err
	}
	n.service = im.NewService(n.store, c.policy, nil)
	n.timers = retention.NewTimers(log, n.service)
	n.cleanup = retention.NewCleanup(log, n.service, c.retentionInterval, n.metrics.Removed)
	n.metrics.OldestMessage(func() (time.Time, bool) {
		at, found, err := n.service.OldestMessage(context.Background())
		return at, found && err == nil
	})

	verify.TicketKey = n.store.Instance().TicketKey
	cuts, err := n.service.TokenCuts(ctx)
	if err != nil {
		return n, err
	}
	verify.Cuts = make(map[im.UserID]time.Time, len(cuts))
	for _, cut := range cuts {
		verify.Cuts[cut.User] = cut.At
	}
	verifier, err := auth.New(ctx, verify)
	if err != nil {
		return n, err
	}
	n.hub, err = events.NewHub(ctx, events.Options{
		Log: n.service, LogID: n.store.Instance().Log, Encode: handlers.EncodeEvent, Logger: log,
		Observer: n.metrics, Deliver: n.service.Deliver, MaxStreams: c.maxStreams, MaxStreamsPerUser: c.maxStreamsPerUser,
	})
	if err != nil {
		return n, err
	}
	n.store.OnCommit(func(commit im.Commit) {
		for _, cut := range commit.Cuts {
			verifier.Cut(cut)
		}
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
		n.timers.Due(commit.Due)
		n.cleanup.Committed(commit)
	})

	options := handlers.Options{
		Service: n.service, Verifier: verifier, Hub: n.hub, LogID: n.store.Instance().Log,
		TokenKey: n.store.Instance().TicketKey, Demo: web.Handler(), Observe: n.metrics.Request, Logger: log,
	}
	if c.metricsListen == "" {
		options.Metrics = n.metrics.Handler()
	}
	for origin := range strings.SplitSeq(c.origins, ",") {
		if origin = strings.TrimSpace(origin); origin != "" {
			options.Origins = append(options.Origins, origin)
		}
	}
	n.server, n.routes, err = handlers.New(options)
	return n, err
}

func (n *node) listen() (err error) {
	if n.listener, err = net.Listen("tcp", n.config.listen); err != nil {
		return err
	}
	if n.config.metricsListen != "" {
		if n.metricsListener, err = net.Listen("tcp", n.config.metricsListen); err != nil {
			return err
		}
	}
	return n.listenControl()
}

// greet tells a person what they need next.
func (n *node) greet(out io.Writer) {
	scheme := "http"
	if n.config.tlsCert != "" {
		scheme = "https"
	}
	_, _ = fmt.Fprintf(out, "imapi %s listens on %s://%s\n", version, scheme, n.listener.Addr())
	if n.config.algorithm == auth.HS256 {
		_, _ = fmt.Fprintf(out, "  a token:  %s token --user alice --data %s\n", os.Args[0], n.config.data)
	}
	_, _ = fmt.Fprintf(out, "  the demo: %s://%s/\n", scheme, n.listener.Addr())
}

// run answers requests and does the jobs until ctx ends or a listener fails,
// and then drains.
func (n *node) run(ctx context.Context) error {
	jobs, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stopJobs = stop
	n.jobs.Go(func() { n.timers.Run(jobs) })
	n.jobs.Go(func() { n.cleanup.Run(jobs) })
	n.jobs.Go(func() { retention.TrimLog(jobs, n.log, n.service, retention.LogInterval) })

	failed := make(chan error, 3)
	main := n.httpServer(n.routes)
	servers := []*http.Server{main}
	go func() {
		if n.config.tlsCert != "" {
			failed <- main.ServeTLS(n.listener, n.config.tlsCert, n.config.tlsKey)
		} else {
			failed <- main.Serve(n.listener)
		}
	}()
	if n.metricsListener != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", n.metrics.Handler())
		side := n.httpServer(mux)
		servers = append(servers, side)
		go func() { failed <- side.Serve(n.metricsListener) }()
	}
	commands := n.httpServer(handlers.Control(n.control.Key, n.routes))
	servers = append(servers, commands)
	go func() { failed <- commands.Serve(n.control.listener) }()

	var err error
	select {
	case <-ctx.Done():
		n.log.Info("draining", "streams", n.hub.Streams())
	case err = <-failed:
	}
	n.server.Drain()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	// Closing the hub ends the streams, which Shutdown waits for.
	n.hub.Close()
	for _, s := range servers {
		if e := s.Shutdown(drain); e != nil {
			err = errors.Join(err, e, s.Close())
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		n.log.Warn("requests were cut off", "after", drainTime)
		err = nil
	}
	return err
}

// httpServer bounds what a client can hold up. Streams lift the deadlines for
// themselves. Browsers allow six connections to a host over HTTP/1, so HTTP/2
// is spoken too, with and without TLS.
func (n *node) httpServer(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		// The deadline of a stream's write only resets that stream: it is this
		// which ends a connection whose client has stopped reading.
		HTTP2:          &http.HTTP2Config{WriteByteTimeout: 10 * time.Second},
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
}

// close undoes what newNode, listen and run did, in reverse.
func (n *node) close() {
	for _, l := range []net.Listener{n.listener, n.metricsListener} {
		if l != nil {
			_ = l.Close() // closed by its server already, as a rule
		}
	}
	if n.control != nil {
		n.control.close()
	}
	n.stopJobs()
	n.jobs.Wait()
	if n.hub != nil {
		n.hub.Close()
	}
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			n.log.Error("storage not closed", "error", err.Error())
		}
	}
}
