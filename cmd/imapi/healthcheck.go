package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/imapi/imapi/awake"
)

const healthcheckSummary = `Ask the server whether it is ready. The exit status is 0 if it is and 1 otherwise, as
containers expect. Without --server it asks the server that runs on --data, whatever its
address and certificate are.`

// runHealthcheck asks a server whether it is ready.
func runHealthcheck(ctx context.Context, args []string, out, diag io.Writer) error {
	f := newFlags("healthcheck", healthcheckSummary, diag)
	data := f.String("data", "./data", "the `directory` of the server's data")
	server := f.String("server", "", "the `URL` of the server, instead of --data")
	timeout := f.Duration("timeout", 5*time.Second, "the `duration` that the answer may take")
	if err := f.parse(args); err != nil {
		return err
	}
	if *timeout <= 0 {
		return misuse("--timeout: must be more than 0")
	}
	ctx, cancel := awake.WithTimeout(ctx, *timeout)
	defer cancel()
	address, key := *server, ""
	if address != "" {
		if err := checkURL(address); err != nil {
			return err
		}
	} else {
		running, ok := readControl(*data)
		if !ok {
			return fmt.Errorf("no server runs on %s: there is no %s; name its directory with --data, or its URL with --server", *data, filepath.Join(*data, controlName))
		}
		address, key = running.URL, running.Key
	}
	ready, err := askReady(ctx, address, key)
	if err != nil {
		return fmt.Errorf("%w\n  start it with imapi serve, or name another with --data or --server; imapi doctor says more", err)
	}
	_, err = fmt.Fprintln(out, strings.Join(append([]string{"ready"}, ready.details()...), "; "))
	return err
}

// readiness is the answer of a server that is ready.
type readiness struct {
	Details *struct {
		ClockJumped      int64 `json:"clock_jumped_seconds"`
		RemovalHeld      int64 `json:"removal_held_seconds"`
		SearchFailing    bool  `json:"search_index_failing"`
		ShreddingWaiting int   `json:"shredding_waiting"`
		ShreddingSeconds int64 `json:"shredding_waiting_seconds"`
	} `json:"details"`
	// now is the time of the server, to the second; zero if it is unknown.
	now time.Time
}

// details returns the warnings of a server that is ready.
func (r readiness) details() (list []string) {
	d := r.Details
	if d == nil {
		return nil
	}
	if d.RemovalHeld > 0 {
		list = append(list, fmt.Sprintf("the clock jumped ahead by %v, so nothing is removed by age for %v", seconds(d.ClockJumped), seconds(d.RemovalHeld)))
	}
	if d.ShreddingWaiting > 0 {
		list = append(list, fmt.Sprintf("%d keys of erased content wait to be shredded, for %v", d.ShreddingWaiting, seconds(d.ShreddingSeconds)))
	}
	if d.SearchFailing {
		list = append(list, "the search index cannot be written")
	}
	return list
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// askReady requests /readyz. The error says why a server is not ready.
func askReady(ctx context.Context, server, key string) (r readiness, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(server, "/")+"/readyz", nil)
	if err != nil {
		return r, err
	}
	answering := http.DefaultClient
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
		answering = controlClient
	}
	res, err := answering.Do(req)
	if err != nil {
		return r, notAnswering(ctx, server, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return r, notAnswering(ctx, server, err)
	}
	if res.StatusCode != http.StatusOK {
		var p struct{ Code, Detail string }
		if json.Unmarshal(body, &p) != nil || p.Code == "" {
			return r, fmt.Errorf("%s answers %s, which an imapi server never does", server, res.Status)
		}
		return r, fmt.Errorf("not ready: %s: %s", p.Code, p.Detail)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("%s does not answer like an imapi server", server)
	}
	r.now, _ = http.ParseTime(res.Header.Get("Date"))
	return r, nil
}

// notAnswering returns the error of a request without an answer. It names the server, not the URL
// of the request. ctx is the context of the request: over HTTP/2, err is the error of a context that
// has ended and not its cause, which package awake sets if the time is over.
func notAnswering(ctx context.Context, server string, err error) error {
	if request, ok := errors.AsType[*url.Error](err); ok {
		err = request.Err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("%s did not answer in time", server)
	}
	return fmt.Errorf("no server answers at %s: %w", server, err)
}
