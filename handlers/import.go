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

// InsertMessage implements POST /v1/admin/import/message, and /v1/admin/insert, as that
// was called before.
func (s *Server) InsertMessage(ctx context.Context, r api.InsertMessageRequestObject) (api.InsertMessageResponseObject, error) {
	line, err := json.Marshal(r.Body)
	if err != nil {
		return nil, im.RefuseField(im.Invalid, "invalid_request", "body", "does not fit the API document")
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

// importing is a response that is written while the request is read. Lines are
// read and prepared by one goroutine while another stores those before them;
// both hold a bounded number.
type importing struct {
	ctx    context.Context
	server *Server
	body   io.Reader
}

const (
	// chunkWeight is how many rows the goroutine that reads hands over at once,
	// and chunksAhead how many times it may do so before they are taken.
	chunkWeight = 256
	chunksAhead = 4
	// importIdle is how long a client may keep an import waiting for a line.
	importIdle = 2 * time.Minute
	// While the store is overloaded an import tries again, so long and so often.
	importRetry   = 50 * time.Millisecond
	importRetries = 100
)

// The bounds of how many rows are stored in one transaction, and how long one may
// last: others wait meanwhile. Below the lesser bound most of the time would be
// that of commits, which on a busy machine are slow whatever is in them.
const (
	leastBatch = 512
	mostBatch  = 2048
	batchTime  = 40 * time.Millisecond
)

// importedLine is a line with its number, from 1.
type importedLine struct {
	number   int64
	prepared im.Prepared
}

// VisitImportMessagesResponse reads to the end of the request, of the server, or
// of the store's will, and answers each line.
func (i importing) VisitImportMessagesResponse(w http.ResponseWriter) error {
	ctx, cancel := context.WithCancel(i.ctx)
	defer cancel()
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex()            // HTTP/2 is so by itself
	_ = rc.SetWriteDeadline(time.Time{}) // each write has one of its own

	in := &lineReader{
		server: i.server, out: make(chan []importedLine, chunksAhead), done: make(chan struct{}),
		in: transfer.NewReader(&patientReader{ctx, i.body, rc}),
	}
	go in.run(ctx)
	defer func() {
		cancel()
		select {
		case <-in.done:
		default:
			// It may be waiting for the client, and nobody may read a body
			// after its handler has returned.
			_ = rc.SetReadDeadline(time.Now())
			<-in.done
		}
	}()

	out := resultWriter{server: i.server, w: w, rc: rc}
	if err := i.store(ctx, in, &out); err != nil {
		// There is no status left to tell it by.
		panic(http.ErrAbortHandler)
	}
	return out.end()
}

// store stores what is read until the end and answers it. An error means that
// the client is gone, or was too slow.
func (i importing) store(ctx context.Context, in *lineReader, out *resultWriter) error {
	var pending []importedLine
	batch := batchSize(leastBatch)
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
			return out.write(failed(next, problem(http.StatusServiceUnavailable, "shutting_down", "the server is about to stop")))
		default:
		}
		pending = in.fill(pending, int(batch))
		n := prefix(pending, int(batch))
		results, ok := i.storeBatch(ctx, pending[:n], &batch)
		if err := out.write(results...); err != nil || !ok {
			return err
		}
		pending = pending[n:]
	}
}

// storeBatch stores lines in one transaction. It reports false if the store does
// not take any more.
func (i importing) storeBatch(ctx context.Context, lines []importedLine, size *batchSize) ([]api.ImportResult, bool) {
	prepared := make([]im.Prepared, len(lines))
	weight := 0
	for j, l := range lines {
		prepared[j] = l.prepared
		weight += l.prepared.Weight()
	}
	began := time.Now()
	stored, err := i.tryToStore(ctx, prepared)
	size.learn(weight, time.Since(began))
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

// tryToStore waits while the store is overloaded: an import is in no hurry.
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

// batchSize is how many rows are stored in one transaction.
type batchSize int

// learn adapts the size to how long a batch of some weight took.
func (b *batchSize) learn(weight int, took time.Duration) {
	switch {
	case took > batchTime:
		*b = max(leastBatch, *b/2)
	case took < batchTime/2 && weight >= int(*b):
		*b = min(mostBatch, *b*2)
	}
}

// prefix returns how many lines weigh no more than this; at least one.
func prefix(lines []importedLine, weight int) int {
	for n, l := range lines {
		if weight -= l.prepared.Weight(); weight < 0 {
			return max(n, 1)
		}
	}
	return len(lines)
}
