package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strings"
	"time"
)

// usageError is an error in the command line.
type usageError struct{ error }

func misuse(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// tokenVariable is the environment variable that can be set instead of --token. Other users of the
// machine can see a flag, but not the variable.
const tokenVariable = "IMAPI_LOAD_TOKEN" //nolint:gosec // a name, not a token

// config is what the command line says.
type config struct {
	scenario
	server                        *url.URL
	token, data, issuer, audience string
	unlimited                     bool
	rate                          float64
	warmup, duration, settle      time.Duration
	textBytes, uploadBytes        int
	json, quiet, keep             bool
}

func (c *config) endpoint() *endpoint { return &endpoint{url: c.server} }

// parseConfig parses the arguments: the name of a scenario, if it comes first, and flags.
func parseConfig(args []string, diag io.Writer) (config, error) {
	name := scenarios[0].name
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	var c config
	var err error
	if c.scenario, err = scenarioOf(name); err != nil {
		return c, err
	}
	f := flag.NewFlagSet("imapi-load", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	server := f.String("server", "http://127.0.0.1:8080", "the `URL` of the server")
	f.StringVar(&c.data, "data", "./data", "the `directory` of the server's data; its secret signs the tokens of as many users as needed")
	f.StringVar(&c.token, "token", os.Getenv(tokenVariable), "instead of --data: the `token` of the one user who does everything, on many devices; also "+tokenVariable)
	f.StringVar(&c.issuer, "auth-issuer", "", "the `issuer` (iss) that the server requires of tokens")
	f.StringVar(&c.audience, "auth-audience", "", "the `audience` (aud) that the server requires of tokens")
	f.BoolVar(&c.unlimited, "unlimited", false, "give the tokens the scope admin, to which the rate limit of users does not apply")
	f.Float64Var(&c.rate, "rate", 0, "the `number` of operations that are due per second, whether or not earlier ones were answered; 0 starts one on each connection as soon as the previous one is answered")
	f.DurationVar(&c.duration, "duration", 30*time.Second, "the `duration` of the load; 0 goes on until Ctrl-C")
	f.DurationVar(&c.warmup, "warmup", 0, "the `duration` of load before that, which is not measured")
	f.DurationVar(&c.settle, "settle", 10*time.Second, "the longest `duration` to wait for deliveries at the end")
	f.IntVar(&c.connections, "connections", c.connections, "the `number` of connections for requests")
	f.Var(&c.mix, "mix", "the `operations` and their weights, such as send=8,history=2: "+strings.Join(operationNames(), ", "))
	f.StringVar(&c.kind, "kind", c.kind, "the `kind` of the conversations: direct, group or room")
	f.IntVar(&c.conversations, "conversations", c.conversations, "the `number` of conversations")
	f.IntVar(&c.members, "members", c.members, "the `number` of members of each conversation")
	f.IntVar(&c.users, "users", c.users, "the `number` of users; 0 for as many as the conversations and streams need")
	f.IntVar(&c.streams, "streams", c.streams, "the `number` of event streams whose deliveries are checked")
	f.IntVar(&c.idle, "idle", c.idle, "the `number` of further streams, whose deliveries are not checked")
	f.IntVar(&c.fill, "fill", c.fill, "the `number` of messages that each conversation has at the beginning")
	f.IntVar(&c.textBytes, "text-bytes", 100, "the `number` of bytes of each text")
	f.IntVar(&c.uploadBytes, "upload-bytes", 64<<10, "the `number` of bytes of each attachment")
	f.BoolVar(&c.json, "json", false, "print the result as JSON")
	f.BoolVar(&c.quiet, "quiet", false, "say nothing while the load runs")
	f.BoolVar(&c.keep, "keep", false, "do not delete the conversations at the end")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			help(diag, f)
			return c, err
		}
		return c, &usageError{err}
	}
	if f.NArg() > 0 {
		return c, misuse("unexpected argument %q: the scenario comes first, and then the flags", f.Arg(0))
	}
	if c.server, err = url.Parse(*server); err != nil || c.server.Hostname() == "" || c.server.Scheme != "http" && c.server.Scheme != "https" || c.server.RawQuery != "" {
		return c, misuse("--server: must be an http or https URL")
	}
	c.server.Path = strings.TrimSuffix(c.server.Path, "/")
	return c, c.complete()
}

// most bounds every flag that is a number, except --upload-bytes. A greater number is a typing
// error.
const most = 1_000_000

// complete checks the configuration. It computes the number of users if that is 0, and raises it
// to what the direct conversations need.
func (c *config) complete() error {
	for _, n := range []struct {
		flag         string
		value, least int
	}{
		{"connections", c.connections, 1},
		{"conversations", c.conversations, 1},
		{"members", c.members, 1},
		{"users", c.users, 0},
		{"streams", c.streams, 0},
		{"idle", c.idle, 0},
		{"fill", c.fill, 0},
		{"text-bytes", c.textBytes, 1},
	} {
		if n.value < n.least || n.value > most {
			return misuse("--%s: must be %d to %d", n.flag, n.least, most)
		}
	}
	switch {
	case c.rate < 0 || math.IsNaN(c.rate) || c.rate > most:
		return misuse("--rate: must be 0 to %d", most)
	case c.duration < 0 || c.settle < 0 || c.warmup < 0:
		return misuse("--warmup, --duration, --settle: must not be negative")
	case c.uploadBytes < 1 || c.uploadBytes > 1<<30:
		return misuse("--upload-bytes: must be 1 to %d", 1<<30)
	case c.kind != "direct" && c.kind != "group" && c.kind != "room":
		return misuse("--kind: must be direct, group or room")
	case c.kind == "direct" && c.members != 2:
		return misuse("--members: a direct conversation has 2")
	case c.mix["replay"] > 0 && c.fill == 0:
		return misuse("--fill: must be more than 0, because streams replay the messages that it creates")
	}
	if c.users == 0 {
		c.users = max(c.members, min(c.conversations*c.members, c.streams+c.idle), c.streams, 1)
	}
	if c.kind == "direct" && c.token == "" {
		// Two users have one direct conversation.
		c.users = max(c.users, c.conversations+1)
	}
	return nil
}

// help prints what the command does, its scenarios and its flags.
func help(w io.Writer, f *flag.FlagSet) {
	_, _ = fmt.Fprint(w, `usage: imapi-load [SCENARIO] [FLAGS]

Put load on an imapi server and print how it did. It makes users and conversations
of its own, checks that each stream receives each message once and in order, and
deletes its conversations at the end. Ctrl-C ends the load and prints the result
so far; a second one ends at once.

The exit status is 0 if all went well, 3 if the server lost or repeated an event or
failed a request, 1 if there was no load and 2 for a wrong command line. Requests
that the server refuses with 429 or 503 and Retry-After are shed, not failed.

Scenarios:
`)
	for _, s := range scenarios {
		_, _ = fmt.Fprintf(w, "  %-9s %s\n", s.name, s.summary)
	}
	f.VisitAll(func(fl *flag.Flag) {
		value, text := flag.UnquoteUsage(fl)
		byDefault := ""
		if fl.DefValue != "" && fl.DefValue != "false" && fl.Name != "token" {
			byDefault = " (" + fl.DefValue + ")"
		}
		_, _ = fmt.Fprintf(w, "\n  %s\n        %s%s\n", strings.TrimSpace("--"+fl.Name+" "+value), text, byDefault)
	})
}
