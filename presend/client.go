package presend

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/outgoing"
)

// Options configure a [Client].
type Options struct {
	// URL is the URL of the hook. It may have a private address, because only the operator
	// sets it.
	URL string
	// Secret signs the questions; see [CheckSecret].
	Secret string
	// Timeout bounds a question with its answer.
	Timeout time.Duration
	// AtOnce is the maximum number of concurrent questions. Package im enforces it; the client uses
	// it to bound its connections.
	AtOnce int
	// MaxMessageBytes bounds the body and ext of a message, and so the size of an answer.
	MaxMessageBytes int
	// Observe is called after each question, unless its context ended, with the time it took and
	// the reason why it has no answer, "" if it has one. The time is 0 if the hook was not asked.
	// Several goroutines may call Observe at once. It may be nil.
	Observe func(took time.Duration, why Why)
	// Now is the clock; time.Now if nil.
	Now    func() time.Time
	Logger *slog.Logger
}

// Why is the reason why a question has no answer, as a word: one of the constants below or an
// [outgoing.Reason].
type Why string

// Reasons other than those of the request.
const (
	WhyStatus Why = "status" // the answer's status is not 200
	WhyAnswer Why = "answer" // the answer is too long or not as documented
	WhyPaused Why = "paused" // the hook was not asked: it has failed too often
)

// Failure is the error of a question without an answer. It quotes neither the question nor the
// answer.
type Failure struct {
	Why    Why
	detail string
}

// Error returns the reason and its details.
func (f *Failure) Error() string {
	if f.detail == "" {
		return string(f.Why)
	}
	return string(f.Why) + ": " + f.detail
}

// Client asks the hook. It implements [im.PresendHook].
type Client struct {
	opts   Options
	http   *outgoing.Client
	signer *standardwebhooks.Webhook
	pauses *pauses

	// mu guards the failures since the last line in the log.
	mu     sync.Mutex
	failed int
	logged time.Time
}

const (
	secretPrefix = "whsec_"
	// minSecret and maxSecret are the bounds of the length of a secret in the specification, in
	// bytes.
	minSecret = 24
	maxSecret = 64
)

// CheckSecret refuses a secret that is not whsec_ and 24 to 64 bytes in base64. Its error
// does not quote it.
func CheckSecret(secret string) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || !strings.HasPrefix(secret, secretPrefix) || len(key) < minSecret || len(key) > maxSecret {
		return errors.New("must be whsec_ and 24 to 64 random bytes in base64")
	}
	return nil
}

// New returns a client. It refuses an unusable URL or secret.
func New(o Options) (*Client, error) {
	if err := outgoing.CheckURL(o.URL, true); err != nil {
		return nil, err
	}
	if err := CheckSecret(o.Secret); err != nil {
		return nil, err
	}
	signer, err := standardwebhooks.NewWebhook(o.Secret)
	if err != nil {
		return nil, errors.New("the secret is malformed") // the cause may quote it
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(time.Duration, Why) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		opts: o, signer: signer, pauses: newPauses(o.Now),
		http: outgoing.New(outgoing.Options{
			AllowPrivate: true, Timeout: o.Timeout, MaxConnections: o.AtOnce, MaxAnswer: mostAnswer(o.MaxMessageBytes),
		}),
	}, nil
}

// mostAnswer returns the maximum length of an answer. JSON may need 6 bytes for each byte of a
// message.
func mostAnswer(maxMessageBytes int) int { return 6*maxMessageBytes + 16<<10 }

// Close closes connections that are idle.
func (c *Client) Close() { c.http.Close() }

// Ask asks the hook about a message. Its error is a [*Failure], or the context's.
func (c *Client) Ask(ctx context.Context, q im.PresendQuestion) (im.PresendAnswer, error) {
	if !c.pauses.begin(q.Sender) {
		c.opts.Observe(0, WhyPaused)
		return im.PresendAnswer{}, &Failure{Why: WhyPaused}
	}
	began := time.Now()
	answer, err := c.ask(ctx, q)
	if ctx.Err() != nil {
		c.pauses.abandon(q.Sender)
		return im.PresendAnswer{}, ctx.Err()
	}
	c.pauses.end(q.Sender, err == nil)
	why := Why("")
	if err != nil {
		why = err.Why
		c.opts.Observe(time.Since(began), why)
		return im.PresendAnswer{}, err
	}
	c.opts.Observe(time.Since(began), why)
	return answer, nil
}

func (c *Client) ask(ctx context.Context, q im.PresendQuestion) (im.PresendAnswer, *Failure) {
	body := appendQuestion(nil, q)
	id, at := "presend_"+rand.Text(), c.opts.Now()
	signature, err := c.signer.Sign(id, at, body)
	if err != nil {
		return im.PresendAnswer{}, &Failure{Why: WhyAnswer, detail: "not signed"}
	}
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, signature)
	response, err := c.http.Post(ctx, c.opts.URL, h, body)
	if err != nil {
		why := Why(outgoing.ReasonBroken)
		if e, ok := errors.AsType[*outgoing.Error](err); ok {
			why = Why(e.Reason)
		}
		return im.PresendAnswer{}, &Failure{Why: why}
	}
	switch {
	case response.Status != http.StatusOK:
		return im.PresendAnswer{}, &Failure{Why: WhyStatus, detail: strconv.Itoa(response.Status)}
	case response.Cut:
		return im.PresendAnswer{}, &Failure{Why: WhyAnswer, detail: "is too long"}
	}
	answer, err := parseAnswer(response.Body)
	if err != nil {
		return im.PresendAnswer{}, &Failure{Why: WhyAnswer, detail: err.Error()}
	}
	return answer, nil
}

// logInterval is the minimum time between two log lines about failures, because a dead hook fails
// with every message.
const logInterval = 10 * time.Second

// Failed logs that a message was sent or refused without a usable answer. It writes at most one
// line every 10 seconds, with the number of such messages since the previous line.
func (c *Client) Failed(ctx context.Context, outcome im.PresendOutcome, err error) {
	c.mu.Lock()
	now := c.opts.Now()
	c.failed++
	failed, due := c.failed, c.logged.IsZero() || now.Sub(c.logged) >= logInterval
	if due {
		c.failed, c.logged = 0, now
	}
	c.mu.Unlock()
	if !due {
		return
	}
	text := err.Error()
	if refusal, ok := im.AsError(err); ok {
		text = "the rewritten message is refused: " + refusal.Code // not its text, which may name members of the answer
	}
	c.opts.Logger.WarnContext(ctx, "pre-send hook failed", "outcome", string(outcome), "error", text, "messages", failed)
}
