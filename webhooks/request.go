package webhooks

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/outgoing"
)

// headers returns the headers of a request, signed with each of the secrets.
func headers(secrets []string, id string, at time.Time, body []byte) (http.Header, error) {
	signatures := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return nil, errors.New("the secret of a webhook is malformed") // the cause may quote it
		}
		signature, err := signer.Sign(id, at, body)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	h := http.Header{"Content-Type": {"application/json"}}
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return h, nil
}

// post makes a request and returns its outcome. made is false if ctx ended first, or if the request
// could not be signed, which is the only error. A request that fails has a fault as its outcome.
func (d *Deliverer) post(ctx context.Context, w im.ActiveWebhook, id string, body []byte) (a im.Attempt, made bool, err error) {
	a.At = d.opts.Now()
	h, err := headers(w.Secrets, id, a.At, body)
	if err != nil {
		return a, false, err
	}
	began := time.Now()
	answer, err := d.opts.Client.Post(ctx, w.URL, h, body)
	a.Took = time.Since(began)
	if ctx.Err() != nil {
		return a, false, nil //nolint:nilerr // false means that ctx ended
	}
	if err != nil {
		a.Fault = faultOf(err)
		return a, true, nil
	}
	a.Status, a.RetryAfter = answer.Status, retryAfter(answer.Header.Get("Retry-After"), d.opts.Now())
	if answer.Cut {
		a.Fault = im.FaultResponse
	}
	return a, true, nil
}

func faultOf(err error) im.DeliveryFault {
	why, ok := errors.AsType[*outgoing.Error](err)
	if !ok {
		return im.FaultUnreachable
	}
	switch why.Reason {
	case outgoing.ReasonAddress:
		return im.FaultAddress
	case outgoing.ReasonTimeout:
		return im.FaultTimeout
	case outgoing.ReasonBroken:
		return im.FaultResponse
	default:
		return im.FaultUnreachable
	}
}

// retryAfter parses a Retry-After header: seconds or a date. It returns 0 for anything else.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
