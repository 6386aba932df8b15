package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/metrics"
	"github.com/imapi/imapi/outgoing"
	"github.com/imapi/imapi/presend"
)

// presendFlags are the flags of the pre-send hook.
type presendFlags struct {
	url, secret string
	timeout     time.Duration
	fail        string
	atOnce      int
	types       string
	kinds       string
}

const (
	failOpen, failClosed = "open", "closed"
	// maxPresendTimeout is well below the 30 s within which the server must answer a request.
	maxPresendTimeout = 10 * time.Second
	maxPresendAtOnce  = 10_000
	// A user may cause 1/presendUsers of the concurrent questions, and at least one.
	presendUsers = 8
)

func (f flags) presend(c *presendFlags) {
	f.StringVar(&c.url, "presend-url", "", "the `URL` to ask before a message is stored; it may have a private address, and only then http://; none by default")
	f.StringVar(&c.secret, "presend-secret", "", "the `file` with the secret that signs the questions: whsec_ and 24 to 64 random bytes in base64; required by --presend-url")
	f.DurationVar(&c.timeout, "presend-timeout", time.Second, "the longest `duration` that the answer may take")
	f.StringVar(&c.fail, "presend-fail", failOpen, "the `policy` for a message without an answer: open (it is sent) or closed (it is refused with 503)")
	f.IntVar(&c.atOnce, "presend-at-once", 64, "the maximum `number` of concurrent questions; a user may cause an eighth of them")
	f.StringVar(&c.types, "presend-types", "", "a comma-separated `list` of the types of message about which the hook is asked, such as text,image; all by default")
	f.StringVar(&c.kinds, "presend-kinds", "", "a comma-separated `list` of the kinds of conversation in which the hook is asked, such as group,room; all by default")
}

// check refuses flags that are invalid or do not go together. Without a URL there is no hook.
func (c presendFlags) check() error {
	if err := outgoing.CheckURL(c.url, true); c.url != "" && err != nil {
		return misuse("--presend-url: the URL %w", err)
	}
	_, err := c.policy()
	switch {
	case err != nil:
		return err
	case (c.url == "") != (c.secret == ""):
		return misuse("--presend-url and --presend-secret go together")
	case c.timeout < 10*time.Millisecond || c.timeout > maxPresendTimeout:
		return misuse("--presend-timeout: must be 10ms to %v", maxPresendTimeout)
	case c.fail != failOpen && c.fail != failClosed:
		return misuse("--presend-fail: must be open or closed")
	case c.atOnce < 1 || c.atOnce > maxPresendAtOnce:
		return misuse("--presend-at-once: must be 1 to %d", maxPresendAtOnce)
	}
	return nil
}

// policy returns the configuration of the hook, without the hook itself.
func (c presendFlags) policy() (im.Presend, error) {
	p := im.Presend{
		FailOpen: c.fail == failOpen, AtOnce: c.atOnce, AtOnceOfUser: max(c.atOnce/presendUsers, 1), Wait: c.timeout,
	}
	var err error
	if p.Types, err = parseNames("--presend-types", "types of message", c.types, im.ParseMessageType); err != nil {
		return p, err
	}
	p.Kinds, err = parseNames("--presend-kinds", "kinds of conversation", c.kinds, im.ParseKind)
	if err == nil && slices.Contains(p.Kinds, im.Space) {
		err = misuse("--presend-kinds: a space has no messages; name channel")
	}
	return p, err
}

// parseNames parses a comma-separated list; nil if it is empty.
func parseNames[T comparable](flag, what, list string, parse func(string) (T, bool)) ([]T, error) {
	if list == "" {
		return nil, nil
	}
	var out []T
	for name := range strings.SplitSeq(list, ",") {
		v, known := parse(strings.TrimSpace(name))
		if !known || slices.Contains(out, v) {
			return nil, misuse("%s: must be a list of %s, each once", flag, what)
		}
		out = append(out, v)
	}
	return out, nil
}

// client returns the client of the hook, nil if there is none.
func (c presendFlags) client(maxMessageBytes int, m *metrics.Metrics, log *slog.Logger) (*presend.Client, error) {
	if c.url == "" {
		return nil, nil
	}
	secret, err := auth.LoadSecret(c.secret)
	if err != nil {
		return nil, fmt.Errorf("--presend-secret: %w", err)
	}
	if err := presend.CheckSecret(string(secret)); err != nil {
		return nil, fmt.Errorf("--presend-secret: the secret in %s %w", c.secret, err)
	}
	client, err := presend.New(presend.Options{
		URL: c.url, Secret: string(secret), Timeout: c.timeout, AtOnce: c.atOnce, MaxMessageBytes: maxMessageBytes, Logger: log,
		Observe: func(took time.Duration, why presend.Why) { m.PresendAsked(took, string(why)) },
	})
	if err != nil {
		return nil, fmt.Errorf("--presend-url: the URL %w", err)
	}
	return client, nil
}

// use makes the service ask the hook before it stores a message of the types and in the kinds of
// conversation that the flags name.
func (c presendFlags) use(client *presend.Client, s *im.Service, m *metrics.Metrics) error {
	p, err := c.policy()
	if err != nil {
		return err
	}
	p.Hook = client
	p.Observe = func(outcome im.PresendOutcome, err error) {
		m.PresendOutcome(string(outcome))
		if err != nil {
			client.Failed(context.Background(), outcome, err)
		}
	}
	s.UsePresend(p)
	return nil
}
