package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// jobLine is a line of the answer to a job: how far it is, a problem that it has found,
// what it has done, or why it did not come to its end. The last line is one of the two.
type jobLine struct {
	Done    int64           `json:"done,omitempty"`
	Total   int64           `json:"total,omitempty"`
	Problem *jobProblem     `json:"problem,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   string          `json:"error,omitempty"`
}

// jobProblem is one that imapi verify has found.
type jobProblem struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Text string `json:"text"`
}

// backedUp is what imapi backup has done.
type backedUp struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// job does something that takes long, tells how far it is, and returns what it has done.
type job func(ctx context.Context, input json.RawMessage, tell *teller) (any, error)

// jobRoutes answers commands that need more of the store than the use cases.
func (n *node) jobRoutes() http.Handler {
	mux := http.NewServeMux()
	for name, do := range map[string]job{"backup": n.backupJob, "verify": n.verifyJob, "reindex": n.reindexJob} {
		mux.HandleFunc("POST /control/"+name, func(w http.ResponseWriter, r *http.Request) { n.answerJob(w, r, name, do) })
	}
	return mux
}

func (n *node) backupJob(ctx context.Context, input json.RawMessage, tell *teller) (any, error) {
	var in struct{ Dir string }
	if err := json.Unmarshal(input, &in); err != nil || in.Dir == "" {
		return nil, errors.New("the request does not name a directory")
	}
	store, ok := n.store.(im.Backuper)
	if !ok {
		return nil, errors.New("this database cannot be backed up so: use its own tools")
	}
	b, err := store.Backup(ctx, in.Dir, func(p im.Progress) { tell.progress(p.Done, p.Total) })
	return backedUp{b.Path, b.Bytes}, err
}

func (n *node) verifyJob(ctx context.Context, _ json.RawMessage, tell *teller) (any, error) {
	return im.Verify(ctx, n.store, func(p im.Progress) { tell.progress(p.Done, p.Total) }, func(p im.Problem) error {
		return tell.line(jobLine{Problem: &jobProblem{Kind: p.Kind.String(), ID: p.ID.String(), Text: p.String()}})
	})
}

func (n *node) reindexJob(ctx context.Context, _ json.RawMessage, tell *teller) (any, error) {
	store, ok := n.store.(im.Reindexer)
	if !ok {
		return nil, errors.New("this database has no search index of its own")
	}
	return struct{}{}, store.Reindex(ctx, tell.progress)
}

// progressEvery is how often a job tells how far it is, and jobWrite how long its client
// may take for a line.
const (
	progressEvery = 100 * time.Millisecond
	jobWrite      = 30 * time.Second
)

// teller writes the lines of an answer. Once a line cannot be written the job is ended.
type teller struct {
	rc     *http.ResponseController
	lines  *json.Encoder
	cancel context.CancelFunc

	mu   sync.Mutex
	last time.Time
	err  error
}

// progress tells how far the job is, now and then.
func (t *teller) progress(done, total int64) {
	t.mu.Lock()
	due := time.Since(t.last) >= progressEvery
	if due {
		t.last = time.Now()
	}
	t.mu.Unlock()
	if due {
		_ = t.line(jobLine{Done: done, Total: total}) // the job is ended
	}
}

func (t *teller) line(l jobLine) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	_ = t.rc.SetWriteDeadline(time.Now().Add(jobWrite))
	if t.err = t.lines.Encode(l); t.err == nil {
		t.err = t.rc.Flush()
	}
	if t.err != nil {
		t.cancel()
	}
	return t.err
}

// answerJob does a job and answers with its lines. It ends with the client, and with the
// server.
func (n *node) answerJob(w http.ResponseWriter, r *http.Request, name string, do job) {
	input, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // that of requests would end this one
	w.Header().Set("Content-Type", "application/x-ndjson")
	tell := &teller{rc: rc, lines: json.NewEncoder(w), cancel: cancel}
	result, err := do(ctx, input, tell)
	last := jobLine{}
	if err == nil {
		last.Result, err = json.Marshal(result)
	}
	if err != nil {
		last = jobLine{Error: err.Error()}
		n.log.WarnContext(ctx, "job failed", "job", name, "error", faults.Text(err))
	} else {
		n.log.InfoContext(ctx, "job done", "job", name)
	}
	_ = tell.line(last)
}

var errInterrupted = errors.New("interrupted")

// job has the server do a job and shows how far it is.
func (a *admin) job(ctx context.Context, name string, input any, bar *progress, problem func(jobProblem) error, result any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return err
	}
	stop := bar.run()
	defer stop()
	res, err := a.do(ctx, http.MethodPost, "/control/"+name, "application/json", bytes.NewReader(body))
	if ctx.Err() != nil {
		err = errInterrupted
	}
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	ended := false
	err = eachLine(res.Body, func(l jobLine) error {
		switch {
		case l.Error != "":
			return errors.New(l.Error)
		case l.Result != nil:
			ended = true
			return json.Unmarshal(l.Result, result)
		case l.Problem != nil:
			return problem(*l.Problem)
		default:
			bar.at(l.Done, l.Total)
			return nil
		}
	})
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err == nil && !ended {
		err = fmt.Errorf("the server has ended before the %s was done", name)
	}
	return err
}
