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

	"github.com/imapi/imapi/blobs"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// jobLine is a line of the response to a job: its progress, a problem that it found, its
// result or its error. The last line has the result or the error.
type jobLine struct {
	Done    int64           `json:"done,omitempty"`
	Total   int64           `json:"total,omitempty"`
	Problem *jobProblem     `json:"problem,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   string          `json:"error,omitempty"`
}

// jobProblem is a problem that imapi verify found.
type jobProblem struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Text string `json:"text"`
}

// backedUp is the result of imapi backup.
type backedUp struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	// Files and FileBytes are the files of attachments that were copied.
	Files     int64 `json:"files"`
	FileBytes int64 `json:"file_bytes"`
}

// job does long work, reports its progress, and returns its result.
type job func(ctx context.Context, input json.RawMessage, out *jobWriter) (any, error)

// jobRoutes serves commands that need more of the store than the use cases offer.
func (n *node) jobRoutes() http.Handler {
	mux := http.NewServeMux()
	for name, do := range map[string]job{"backup": n.backupJob, "verify": n.verifyJob, "reindex": n.reindexJob} {
		mux.HandleFunc("POST /control/"+name, func(w http.ResponseWriter, r *http.Request) { n.answerJob(w, r, name, do) })
	}
	return mux
}

func (n *node) backupJob(ctx context.Context, input json.RawMessage, out *jobWriter) (any, error) {
	var in struct{ Dir string }
	if err := json.Unmarshal(input, &in); err != nil || in.Dir == "" {
		return nil, errors.New("the request does not name a directory")
	}
	store, ok := n.store.(im.Backuper)
	if !ok {
		return nil, errors.New("imapi cannot back up this database: use the database's own tools")
	}
	var files blobs.Copied
	also := func() (err error) {
		files, err = n.backUpBlobs(ctx, in.Dir)
		return err
	}
	b, err := store.Backup(ctx, in.Dir, also, func(p im.Progress) { out.progress(p.Done, p.Total) })
	return backedUp{b.Path, b.Bytes, files.Files, files.Bytes}, err
}

func (n *node) verifyJob(ctx context.Context, _ json.RawMessage, out *jobWriter) (any, error) {
	return im.Verify(ctx, n.store, n.blobs, func(p im.Progress) { out.progress(p.Done, p.Total) }, func(p im.Problem) error {
		return out.line(jobLine{Problem: &jobProblem{Kind: p.Kind.String(), ID: p.ID.String(), Text: p.String()}})
	})
}

func (n *node) reindexJob(ctx context.Context, _ json.RawMessage, out *jobWriter) (any, error) {
	store, ok := n.store.(im.Reindexer)
	if !ok {
		return nil, errors.New("this database has no search index of its own")
	}
	return struct{}{}, store.Reindex(ctx, out.progress)
}

// progressEvery is the interval of progress lines, and jobWrite the timeout for writing a
// line.
const (
	progressEvery = 100 * time.Millisecond
	jobWrite      = 30 * time.Second
)

// jobWriter writes the lines of a response. If a line cannot be written, it ends the job.
type jobWriter struct {
	rc     *http.ResponseController
	lines  *json.Encoder
	cancel context.CancelFunc

	mu   sync.Mutex
	last time.Time
	err  error
}

// progress writes the progress of the job at most once per interval.
func (t *jobWriter) progress(done, total int64) {
	t.mu.Lock()
	due := time.Since(t.last) >= progressEvery
	if due {
		t.last = time.Now()
	}
	t.mu.Unlock()
	if due {
		_ = t.line(jobLine{Done: done, Total: total}) // an error ends the job
	}
}

func (t *jobWriter) line(l jobLine) error {
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

// answerJob runs a job and writes its lines. The job ends early if the client disconnects or
// the server stops.
func (n *node) answerJob(w http.ResponseWriter, r *http.Request, name string, do job) {
	input, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // the deadline of ordinary requests would end this one
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &jobWriter{rc: rc, lines: json.NewEncoder(w), cancel: cancel}
	result, err := do(ctx, input, out)
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
	_ = out.line(last)
}

// job asks the server to run a job and shows its progress.
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
		err = fmt.Errorf("the server stopped before the %s was done", name)
	}
	return err
}
