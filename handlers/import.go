package handlers

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/transfer"
)

// InsertMessage implements POST /v1/admin/import/message and its former path,
// /v1/admin/insert.
func (s *Server) InsertMessage(ctx context.Context, r api.InsertMessageRequestObject) (api.InsertMessageResponseObject, error) {
	line, err := json.Marshal(r.Body)
	if err != nil {
		return nil, im.RefuseField(im.Invalid, "invalid_request", "body", "does not fit the OpenAPI document")
	}
	m, err := transfer.ParseMessage(line)
	if err != nil {
		return nil, err
	}
	stored, again, err := s.service.Insert(ctx, actor(ctx), m)
	switch {
	case err != nil:
		return nil, err
	case again:
		return answerMessage(http.StatusOK, stored), nil
	default:
		return answerMessage(http.StatusCreated, stored), nil
	}
}

// ImportMessages implements POST /v1/admin/import.
func (s *Server) ImportMessages(ctx context.Context, r api.ImportMessagesRequestObject) (api.ImportMessagesResponseObject, error) {
	if _, err := s.service.Import(ctx, actor(ctx), nil); err != nil {
		return nil, err
	}
	return importing{ctx: ctx, server: s, body: r.Body}, nil
}

// importing is a response that is written while the request is read. One goroutine reads and
// prepares lines while another stores the lines before them. Both hold a bounded number of lines.
type importing struct {
	ctx    context.Context
	server *Server
	body   io.Reader
}

const (
	// The reading goroutine hands over a chunk of lines when it has chunkWeight rows, or when the
	// next line has not arrived yet. It may be chunksAhead chunks ahead of the storing goroutine.
	chunkWeight = 256
	chunksAhead = 4
	// importIdle is the time that an import waits for the client to send something.
	importIdle = 2 * time.Minute
	// While the store is overloaded, a batch is attempted importRetries times with a pause of
	// importRetry between two attempts.
	importRetry   = 50 * time.Millisecond
	importRetries = 100
)

// A transaction stores minBatch to maxBatch rows, as many as take less than maxBatchTime, because
// all other writers wait for it. Smaller batches would spend most of their time in commits, which
// on a busy machine are slow whatever their size.
const (
	minBatch     = 512
	maxBatch     = 2048
	maxBatchTime = 40 * time.Millisecond
)

// importedLine is a prepared line with its number. Numbers begin at 1.
type importedLine struct {
	number   int64
	prepared im.Prepared
}

// VisitImportMessagesResponse stores and answers lines until the request ends, the server
// drains or the store fails.
func (i importing) VisitImportMessagesResponse(w http.ResponseWriter) error {
	ctx, cancel := context.WithCancel(i.ctx)
	defer cancel()
	out := newLineWriter(i.server, w)
	_ = out.rc.EnableFullDuplex() // HTTP/2 is always full-duplex

	in := &lineReader{
		server: i.server, out: make(chan []importedLine, chunksAhead), done: make(chan struct{}),
		in: transfer.NewReader(&patientReader{ctx, i.body, out.rc}),
	}
	go in.run(ctx)
	defer func() {
		cancel()
		select {
		case <-in.done:
		default:
			// The goroutine may be waiting for the client. A body must not be read after
			// its handler has returned.
			_ = out.rc.SetReadDeadline(time.Now())
			<-in.done
		}
	}()

	if err := i.store(ctx, in, out); err != nil {
		panic(http.ErrAbortHandler) // the status may be written already
	}
	return out.flush()
}

// store stores lines and answers them until there are no more. An error means that the
// client has disconnected or is too slow.
func (i importing) store(ctx context.Context, in *lineReader, out *lineWriter) error {
	var pending []importedLine
	size := batchSize(minBatch)
	for {
		if len(pending) == 0 {
			select {
			case lines, open := <-in.out:
				if !open {
					return in.err
				}
				pending = lines
			case <-i.server.drained:
			}
		}
		select {
		case <-i.server.drained:
			next := in.last.Load() + 1
			if len(pending) > 0 {
				next = pending[0].number
			}
			return out.add(failed(next, problem(http.StatusServiceUnavailable, "shutting_down", "the server is shutting down")))
		default:
		}
		pending = in.fill(pending, int(size))
		n := prefix(pending, int(size))
		results, ok := i.storeBatch(ctx, pending[:n], &size)
		for _, r := range results {
			if err := out.add(r); err != nil {
				return err
			}
		}
		if err := out.flush(); err != nil || !ok {
			return err
		}
		pending = pending[n:]
	}
}

// storeBatch stores lines in one transaction. It returns false if the store has failed
// and the import must end.
func (i importing) storeBatch(ctx context.Context, lines []importedLine, size *batchSize) ([]api.ImportResult, bool) {
	prepared := make([]im.Prepared, len(lines))
	weight := 0
	for j, l := range lines {
		prepared[j] = l.prepared
		weight += l.prepared.Weight()
	}
	began := time.Now()
	stored, err := i.tryToStore(ctx, prepared)
	size.adapt(weight, time.Since(began))
	results := make([]api.ImportResult, len(lines))
	for j, l := range lines {
		switch {
		case err != nil:
			results[j] = failed(l.number, i.server.problemFor(ctx, err))
		case stored[j].Err != nil:
			results[j] = failed(l.number, i.server.problemFor(ctx, stored[j].Err))
		default:
			results[j] = api.ImportResult{Line: l.number, Status: http.StatusCreated, ID: optional(stored[j].ID.String())}
			if stored[j].Again {
				results[j].Status = http.StatusOK
			}
		}
	}
	return results, err == nil
}

// tryToStore stores a batch, and retries while the store is overloaded.
func (i importing) tryToStore(ctx context.Context, batch []im.Prepared) ([]im.ImportResult, error) {
	for tries := 1; ; tries++ {
		results, err := i.server.service.Import(ctx, actor(ctx), batch)
		if refusal, ok := im.AsError(err); !ok || refusal.Code != "overloaded" || tries == importRetries {
			return results, err
		}
		timer := time.NewTimer(importRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

func failed(line int64, p api.Problem) api.ImportResult {
	return api.ImportResult{Line: line, Status: p.Status, Code: &p.Code, Detail: &p.Detail, Field: p.Field}
}

// batchSize is the maximum number of rows that are stored in one transaction, unless one line has
// more.
type batchSize int

// adapt adjusts the size to the time that a batch of weight rows took.
func (b *batchSize) adapt(weight int, took time.Duration) {
	switch {
	case took > maxBatchTime:
		*b = max(minBatch, *b/2)
	case took < maxBatchTime/2 && weight >= int(*b):
		*b = min(maxBatch, *b*2)
	}
}

// prefix returns the number of first lines that together have at most weight rows, or 1 if the
// first line by itself has more.
func prefix(lines []importedLine, weight int) int {
	for n, l := range lines {
		if weight -= l.prepared.Weight(); weight < 0 {
			return max(n, 1)
		}
	}
	return len(lines)
}
