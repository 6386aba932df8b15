package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/retention"
	"github.com/imapi/imapi/sockets"
)

// drainTime is the time that running requests get to finish after SIGTERM. Streams are closed at
// its start, and clients resume them after the restart. The process must end within five seconds;
// the rest is for closing the store.
const drainTime = 3 * time.Second

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
	n.greet(besideOutput(out))
	ballast := make([]byte, ballastSize)
	defer runtime.KeepAlive(ballast)
	return n.run(ctx)
}

// ballastSize is the size, in bytes, of memory that is allocated and never touched, so it has no
// pages. The garbage collector starts a cycle when the heap has doubled; with a small heap, cycles
// took a tenth of the processor time. The ballast lets the heap grow by 32 MB more before each
// cycle.
const ballastSize = 32 << 20

func (n *node) listen(ctx context.Context) (err error) {
	if n.listener, err = listen(ctx, "--listen", n.config.listen); err != nil || n.config.metricsListen == "" {
		return err
	}
	n.metricsListener, err = listen(ctx, "--metrics-listen", n.config.metricsListen)
	return err
}

// listen opens the address of a flag. 0.0.0.0 means all addresses of IPv4 and nothing
// else; for "tcp" it would include those of IPv6.
func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	network := "tcp"
	if host, _, err := net.SplitHostPort(address); err == nil && host == net.IPv4zero.String() {
		network = "tcp4"
	}
	l, err := new(net.ListenConfig).Listen(ctx, network, address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %w\n  stop the program that listens there, or choose another port; 0 picks a free one", flag, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: %w\n  ports below 1024 are for privileged programs: choose another, and put a proxy in front", flag, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return l, nil
}

// scheme returns the scheme of the server's URLs.
func (n *node) scheme() string {
	if n.certificate != nil {
		return "https"
	}
	return "http"
}

// greet prints the address and how to get started.
func (n *node) greet(out io.Writer) {
	scheme := n.scheme()
	_, _ = fmt.Fprintf(out, "imapi %s listens on %s://%s\n", version, scheme, n.listener.Addr())
	if n.config.algorithm == auth.HS256 {
		_, _ = fmt.Fprintf(out, "  a token:  %s token --user alice --data %s\n", os.Args[0], n.config.data)
	}
	if n.config.demo {
		_, _ = fmt.Fprintf(out, "  the demo: %s://%s/\n", scheme, reachable(n.listener.Addr()))
	}
	if n.config.docs {
		_, _ = fmt.Fprintf(out, "  the docs: %s://%s/docs\n", scheme, reachable(n.listener.Addr()))
	}
}

// reachable returns an address of a listener that a browser can open, which the unspecified
// address is not.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
}

// run answers requests and runs the jobs until ctx ends or a listener fails, and then
// drains.
func (n *node) run(ctx context.Context) error {
	jobs, stopJobs := context.WithCancel(context.WithoutCancel(ctx))
	n.stopJobs = stopJobs
	n.jobs.Go(func() { retention.WatchClock(jobs, n.log, n.service) })
	n.jobs.Go(func() { newReclaimer().run(jobs) })
	n.jobs.Go(func() { n.timers.Run(jobs) })
	n.jobs.Go(func() { n.cleanup.Run(jobs) })
	hooks, stop := context.WithCancel(jobs)
	n.stopHooks = stop
	n.jobs.Go(func() { n.hooks.Run(hooks) })
	for _, job := range []retention.Job{
		{Name: "trim event log", Do: n.service.TrimLog},
		{Name: "delete old client ids", Do: n.service.Forget},
		{Name: "delete old token cut-offs", Do: n.forgetCuts},
		{Name: "erase orphans", Do: n.service.EraseOrphans},
		{Name: "delete files of erased attachments", Do: n.service.DeleteBlobs},
	} {
		n.jobs.Go(func() { retention.Regularly(jobs, n.log, retention.Interval, job) })
	}
	thumbnails := retention.NewThumbnails(n.log, n.service, n.observeThumbnail)
	n.jobs.Go(func() {
		thumbnails.Run(jobs)
		_ = n.thumbnails.Close() // it is idle by now
	})
	sweep := retention.Job{Name: "sweep files", Do: n.service.SweepBlobs}
	n.jobs.Go(func() { retention.Regularly(jobs, n.log, sweepInterval, sweep) })

	failed := make(chan error, 3)
	main := n.httpServer(n.routes)
	main.ConnContext = sockets.ConnContext
	servers := []*http.Server{main}
	go func() {
		if n.certificate != nil {
			main.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*n.certificate}}
			failed <- main.ServeTLS(sockets.Listener(n.listener), "", "")
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
	commands := n.httpServer(handlers.Control(n.control.Key, n.routes, n.jobRoutes()))
	servers = append(servers, commands)
	go func() { failed <- commands.Serve(n.control.listener) }()

	var err error
	select {
	case <-ctx.Done():
		n.log.InfoContext(ctx, "draining", "streams", n.hub.Streams())
	case err = <-failed:
	}
	n.server.Drain()
	n.stopHooks() // deliveries in flight end while requests drain
	drain, cancel := awake.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	// Closing the hub ends the streams: Shutdown would wait for those of HTTP/2, and does not know
	// about hijacked connections.
	n.hub.Close()
	if n.streams != nil {
		n.streams.Drain()
	}
	for _, s := range servers {
		if e := s.Shutdown(drain); e != nil {
			err = errors.Join(err, e, s.Close())
		}
	}
	if errors.Is(err, context.Canceled) { // Shutdown returns the error of drain, not its cause
		n.log.WarnContext(ctx, "requests were cut off", "after", drainTime)
		err = nil
	}
	return err
}

// httpServer returns a server with timeouts against slow clients. Streams extend the deadlines for
// themselves. It also serves HTTP/2, because browsers open only six connections to a host over
// HTTP/1. Browsers speak it only with TLS; without TLS it is for proxies and other programs.
func (n *node) httpServer(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   h,
		Protocols: protocols,
		// The header has no shorter limit. net/http answers 400 if the limit is over when it has read
		// part of a header, as for all who connect while the machine stands still, and streams are not
		// resumed after a 400.
		ReadTimeout:  30 * time.Second,
		WriteTimeout: 30 * time.Second,
		IdleTimeout:  2 * time.Minute,
		// The write deadline of a stream resets only that stream. WriteByteTimeout closes a
		// connection whose client has stopped reading.
		HTTP2:          &http.HTTP2Config{WriteByteTimeout: 10 * time.Second},
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
}
