package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/metrics"
)

const doctorSummary = `Check the configuration, the data directory, the database and its keys, the server, the
clocks, the token, and whether events pass the proxies on the way unbuffered. Print a line
for each, with what to do next where something is wrong. Give it the flags and the
environment of serve. Nothing is repaired. It may run beside the server; without one it
opens the database as verify does. The exit status is 1 if a check fails.`

// doctorFlags are the flags of serve, those of a client, and those of the doctor alone.
type doctorFlags struct {
	config
	server, token, as string
	wait              time.Duration
	asJSON            bool
}

// doctorUser is the user in whose name the doctor calls a server on the same machine, unless a
// token or a user is given. This user has no conversations and so sees nothing.
const doctorUser = "imapi-doctor"

// runDoctor checks an installation.
func runDoctor(ctx context.Context, args []string, out, diag io.Writer) error {
	var d doctorFlags
	f := newFlags("doctor", doctorSummary, diag)
	d.add(f)
	f.StringVar(&d.server, "server", "", "the `URL` at which clients reach the server; by default that of the one that runs on --data")
	f.StringVar(&d.token, "token", "", "the `token` to check and to call with")
	f.StringVar(&d.as, "as", "", "the `user` to call as, instead of a token")
	f.DurationVar(&d.wait, "stream-wait", 20*time.Second, "the `duration` to wait for a heartbeat, which comes every 15s; 0 does not wait")
	f.BoolVar(&d.asJSON, "json", false, "print each check as one JSON object per line")
	if err := f.parse(args); err != nil {
		return err
	}
	if d.wait < 0 {
		return misuse("--stream-wait: must not be negative")
	}
	c := connection{server: d.server, token: d.token, as: d.as, data: d.data, issuer: d.issuer, audience: d.audience}
	if err := c.locate(); err != nil {
		return err
	}
	r := &report{ctx: ctx, out: out, asJSON: d.asJSON}
	d.checkConfiguration(r)
	d.checkDirectory(r)
	running := d.checkDatabase(ctx, r)
	checkTimeService(r, clockSynchronized)
	if d.server == "" && !running {
		r.skip("server", "no server runs on "+d.data+", and --server names none")
		return r.result()
	}
	if !checkServer(ctx, r, c.server) {
		return r.result()
	}
	if c.as == "" && strings.TrimSpace(c.token) == "" && d.server == "" && d.algorithm == auth.HS256 {
		c.as = doctorUser
	}
	token, err := c.credential(f)
	if err != nil {
		r.warn("token", "there is none, so the stream is not checked", "set IMAPI_TOKEN, or name a user with --as on the server's machine")
		return r.result()
	}
	if value, ok := checkToken(ctx, r, &c, token); ok {
		d.checkStream(ctx, r, c.server, value)
	}
	return r.result()
}

// report prints what the checks find until ctx ends. What fails after that fails because of it.
type report struct {
	ctx    context.Context
	out    io.Writer
	asJSON bool
	failed int
	err    error // of writing
}

// finding is the result of a check.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, skipped, warning or failure
	Text   string `json:"text"`
	Next   string `json:"next,omitempty"`
}

func (r *report) ok(check, format string, args ...any) {
	r.print(finding{check, "ok", fmt.Sprintf(format, args...), ""})
}

func (r *report) skip(check, why string) { r.print(finding{check, "skipped", why, ""}) }

func (r *report) warn(check, what, next string) { r.print(finding{check, "warning", what, next}) }

func (r *report) fail(check, what, next string) {
	r.failed++
	r.print(finding{check, "failure", what, next})
}

func (r *report) print(f finding) {
	if r.ctx.Err() != nil {
		return
	}
	var err error
	if r.asJSON {
		err = json.NewEncoder(r.out).Encode(f)
	} else {
		result := f.Result
		if result == "failure" {
			result = "FAILURE"
		}
		text := fmt.Sprintf("%-8s %-14s %s\n", result, f.Check, f.Text)
		if f.Next != "" {
			text += fmt.Sprintf("%-8s %-14s → %s\n", "", "", f.Next)
		}
		_, err = io.WriteString(r.out, text)
	}
	r.err = errors.Join(r.err, err)
}

func (r *report) result() error {
	switch {
	case r.err != nil:
		return r.err
	case r.ctx.Err() != nil:
		return fmt.Errorf("%w: not all checks were made", errInterrupted)
	case r.failed == 1:
		return errors.New("a check failed")
	case r.failed > 1:
		return fmt.Errorf("%d checks failed", r.failed)
	default:
		return nil
	}
}

// certificateWarning is the time before a certificate expires at which the doctor warns.
const certificateWarning = 14 * 24 * time.Hour

// checkConfiguration checks the flags, the files that they name, and the environment.
func (d *doctorFlags) checkConfiguration(r *report) {
	const check = "configuration"
	failed := r.failed
	if err := d.complete(); err != nil {
		r.fail(check, err.Error(), "correct the flag or the environment variable; imapi serve --help lists them")
	}
	log := slog.New(slog.DiscardHandler)
	if _, err := d.verification(log); err != nil {
		r.fail(check, err.Error(), "serve would not start; see docs/security.md about tokens")
	}
	switch certificate, err := d.certificate(); {
	case err != nil:
		r.fail(check, err.Error(), "serve would not start")
	case certificate != nil && time.Now().After(certificate.Leaf.NotAfter):
		r.fail(check, "the certificate in "+d.tlsCert+" has expired", "renew it and restart the server")
	case certificate != nil && time.Now().Add(certificateWarning).After(certificate.Leaf.NotAfter):
		r.warn(check, "the certificate in "+d.tlsCert+" expires at "+certificate.Leaf.NotAfter.Format(time.RFC3339), "renew it and restart the server")
	}
	if hook, err := d.presend.client(d.policy.MaxMessageBytes, metrics.New(version), log); err != nil {
		r.fail(check, err.Error(), "serve would not start; see docs/presend.md")
	} else if hook != nil {
		hook.Close()
	}
	if unknown := unknownVariables(os.Environ()); len(unknown) > 0 {
		r.warn(check, "no command has a flag for "+strings.Join(unknown, ", "), "correct the name; imapi serve --help lists the variables")
	}
	if r.failed == failed {
		r.ok(check, "the flags are valid, and so are the files that they name")
	}
}

var variable = regexp.MustCompile(`\bIMAPI_[A-Z_]+\b`)

// unknownVariables returns the names of environment variables that begin with IMAPI_ and belong to
// no flag.
func unknownVariables(environment []string) (unknown []string) {
	known := make(map[string]bool)
	for _, g := range groups() {
		for _, c := range g.commands {
			var text bytes.Buffer
			_ = c.run(context.Background(), []string{"--help"}, &text, &text) // flag.ErrHelp
			for _, name := range variable.FindAllString(text.String(), -1) {
				known[name] = true
			}
		}
	}
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "IMAPI_") && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// skewWarning and skewFailure are the differences between this machine's clock and the server's
// above which the doctor warns and fails. Tokens depend on both clocks.
const (
	skewWarning = 3 * time.Second
	skewFailure = time.Minute
)

// checkServer checks that the server is ready, and its clock. It reports whether
// the server is ready.
func checkServer(ctx context.Context, r *report, server string) bool {
	ctx, cancel := awake.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	asked := time.Now()
	ready, err := askReady(ctx, server, "")
	if err != nil {
		r.fail("server", err.Error(), "start it with imapi serve, or name another with --server; its log says why it is not ready")
		return false
	}
	took := time.Since(asked)
	r.ok("server", "%s is ready; it answered in %v", server, took.Round(10*time.Microsecond))
	for _, detail := range ready.details() {
		r.warn("server", detail, "see docs/operations.md")
	}
	checkClock(r, ready.now, asked, took)
	return true
}

// checkClock compares the server's time, to the second, with the time of this machine. If the
// server runs on this machine the two always agree, right or wrong.
func checkClock(r *report, server, asked time.Time, took time.Duration) {
	if server.IsZero() {
		r.skip("clock", "the server's answer has no date")
		return
	}
	// The server truncated its time to a second at some moment between request and answer.
	var skew time.Duration
	if early := server.Add(time.Second).Sub(asked); early < 0 {
		skew = early
	} else if late := server.Sub(asked.Add(took)); late > 0 {
		skew = late
	}
	switch off := skew.Abs().Round(time.Second); {
	case skew.Abs() > skewFailure:
		r.fail("clock", fmt.Sprintf("the clocks of this machine and the server differ by %v", off), "run NTP on both machines; retention, timers and tokens go by the clock")
	case skew.Abs() > skewWarning:
		r.warn("clock", fmt.Sprintf("the clocks of this machine and the server differ by %v", off), "run NTP on both machines; if this one signs tokens, see --auth-leeway")
	default:
		r.ok("clock", "the clocks of this machine and the server agree")
	}
}

// checkTimeService reports whether a time service sets the clock of this machine. It does not warn
// if the kernel knows of none, because a hypervisor may set the clock.
func checkTimeService(r *report, synchronized func() (bool, error)) {
	const check = "time service"
	switch yes, err := synchronized(); {
	case err != nil:
		r.skip(check, "this system does not tell whether a time service sets this machine's clock")
	case yes:
		r.ok(check, "the kernel says that a time service sets this machine's clock")
	default:
		r.skip(check, "the kernel knows of no time service that sets this machine's clock: run NTP, unless the hypervisor sets it")
	}
}

// checkToken checks the token, and returns it if the server accepts it.
func checkToken(ctx context.Context, r *report, c *connection, source client.TokenSource) (string, bool) {
	token, err := source(ctx)
	if err != nil {
		r.fail("token", err.Error(), "give another token, or name the directory of the server's secret with --data")
		return "", false
	}
	about, err := auth.Describe(token)
	if err != nil {
		r.fail("token", err.Error(), "a token is three parts of base64url with dots between them; the application signs it, or imapi token for a trial")
		return "", false
	}
	now := time.Now()
	switch {
	case !about.Expires.IsZero() && now.After(about.Expires):
		r.fail("token", fmt.Sprintf("the token of %s expired %v ago, at %s", clean(about.Subject), now.Sub(about.Expires).Round(time.Second), about.Expires.Format(time.RFC3339)), "get a new one")
		return "", false
	case now.Before(about.NotBefore):
		r.fail("token", "it is valid only from "+about.NotBefore.Format(time.RFC3339), "wait, or correct the clock of the machine that signs")
		return "", false
	}
	user, err := client.New(c.server, client.Options{Token: client.StaticToken(token)})
	if err != nil {
		r.fail("token", err.Error(), "correct --server")
		return "", false
	}
	ctx, cancel := awake.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := user.GetUnreadWithResponse(ctx, nil); err != nil {
		why := c.explain(err)
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			why = notAnswering(ctx, c.server, err)
		}
		r.fail("token", strings.ReplaceAll(why.Error(), "\n  ", "; "), "it is signed by "+clean(about.Algorithm)+": compare --auth-algorithm, --auth-issuer and --auth-audience of the server, and its key")
		return "", false
	}
	r.ok("token", "the token of %s is accepted; %s, expires at %s", clean(about.Subject), clean(about.Algorithm), about.Expires.Format(time.RFC3339))
	return token, true
}
