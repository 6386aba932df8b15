package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/transfer"
)

const importSummary = `Import messages and conversations from FILE, or from standard input if FILE is -. The file
holds lines of JSON, as POST /v1/admin/import takes and imapi export writes them, or an
export of Easemob. An import publishes no events. It skips what is already stored, so an
interrupted import can be run again. It goes through the server that runs on the data
directory, or opens the data itself if none runs.`

// importFile runs the import command. It returns an error if a line fails.
func importFile(ctx context.Context, args []string, _, diag io.Writer) error {
	a := adminFlags{begins: true}
	f := newFlagsWithFiles("import", "FILE", importSummary, diag)
	a.add(f)
	a.addPolicy(f)
	format := f.String("format", "imapi", "the `format` of the file: imapi or easemob")
	groups := f.String("conversations", "", "the `file` that maps groups of Easemob to conversations: the two ids on each line")
	files, err := f.parseWithFiles(args)
	if err != nil {
		return err
	}
	switch {
	case len(files) != 1:
		return misuse("name one FILE, or - for standard input")
	case *format != "imapi" && *format != "easemob":
		return misuse("--format: must be imapi or easemob")
	case *groups != "" && *format != "easemob":
		return misuse("--conversations requires --format easemob")
	}
	if err := a.check(); err != nil {
		return err
	}
	in, size, err := openInput(ctx, files[0])
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	var convert converter
	if *format == "easemob" {
		e, err := openEasemob(*groups)
		if err != nil {
			return err
		}
		convert = e.Convert
	}
	server, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer server.close()
	if server.began {
		_, _ = fmt.Fprintf(diag, "%s: there was no database, so a new one was created\n", a.where())
	}
	run := importRun{bar: newProgress(diag, size), convert: convert}
	return run.do(ctx, server, in)
}

// openEasemob returns a converter with the mapping in a file; "" is no mapping.
func openEasemob(file string) (*transfer.Easemob, error) {
	if file == "" {
		return transfer.NewEasemob(strings.NewReader(""))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	e, err := transfer.NewEasemob(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return e, nil
}

// openInput opens a file, or standard input for "-". It returns the size of the file, 0 if
// unknown.
func openInput(ctx context.Context, name string) (*os.File, int64, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = unlessInterrupted(ctx, func() (*os.File, error) { return os.Open(name) }); err != nil {
			return nil, 0, err
		}
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return f, 0, nil
	}
	return f, info.Size(), nil
}

// converter converts a line of another format into lines of an import. skipped is the reason why
// the line, or a part of it, is skipped; "" if nothing is.
type converter func(line []byte) (lines [][]byte, skipped string, err error)

// importRun is a run of the command.
type importRun struct {
	bar     *progress
	convert converter

	mu sync.Mutex
	// origins are the line numbers in the file of the lines that were sent and have no
	// result yet, in order.
	origins []int64

	stored, again, gone, failed, skipped int64
	// through is the last line of the file with a result.
	through int64

	interrupted atomic.Bool
}

// stopWait is the time that an interrupted command waits for the results of the lines that it has
// sent.
const stopWait = 10 * time.Second

// do sends the file and reads the results until both end.
func (r *importRun) do(ctx context.Context, server *admin, in io.Reader) error {
	began := time.Now()
	body, send := io.Pipe()
	// An interrupted command stops sending and waits for the results.
	stopped := context.AfterFunc(ctx, func() {
		r.interrupted.Store(true)
		_ = send.Close()
	})
	defer stopped()
	request, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	late := context.AfterFunc(ctx, func() { awake.AfterFunc(stopWait, cancel) })
	defer late()

	sent := make(chan error, 1)
	go func() {
		err := r.send(in, send)
		_ = send.CloseWithError(err)
		sent <- err
	}()
	stopBar := r.bar.run()
	err := r.receive(request, server, body)
	stopBar()
	_ = body.CloseWithError(errEnded)
	if err == nil && !r.interrupted.Load() {
		err = endOf(sent)
	}
	r.summarize(time.Since(began))
	switch {
	case r.interrupted.Load():
		return fmt.Errorf("interrupted after line %d: run it again to continue; stored lines are skipped", r.through)
	case err != nil:
		return fmt.Errorf("after line %d: %w", r.through, err)
	case r.failed > 0:
		return fmt.Errorf("%d lines failed", r.failed)
	}
	return nil
}

var errEnded = errors.New("the server has ended the import")

// endOf returns the error of sending, which should have ended with the results. It does not wait
// for long, because sending may be blocked reading a pipe.
func endOf(sent <-chan error) error {
	late := make(chan struct{})
	defer awake.AfterFunc(time.Second, func() { close(late) })()
	select {
	case err := <-sent:
		return err
	case <-late:
		return errEnded
	}
}

// send sends the file in chunks of complete lines. It does not wait for a full chunk.
func (r *importRun) send(in io.Reader, to io.Writer) error {
	lines := transfer.NewReader(io.TeeReader(in, r.bar))
	var out bytes.Buffer
	for number := int64(1); ; number++ {
		line, err := lines.Next()
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			r.count(&r.failed)
			r.bar.printf("line %d: longer than %d bytes\n", number, transfer.MaxLine)
			err = nil
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		r.put(&out, number, line)
		if err != nil || out.Len() >= 64<<10 || !lines.Ready() {
			if _, err := to.Write(out.Bytes()); err != nil {
				return err
			}
			out.Reset()
		}
		if err != nil {
			return nil //nolint:nilerr // io.EOF
		}
	}
}

// put appends to out the lines to send for a line of the file. There are none for a line that is
// empty, is skipped as a whole or cannot be converted.
func (r *importRun) put(out *bytes.Buffer, number int64, line []byte) {
	if len(line) == 0 {
		return
	}
	lines := [][]byte{line}
	if r.convert != nil {
		var skipped string
		var err error
		if lines, skipped, err = r.convert(line); err != nil {
			r.count(&r.failed)
			r.bar.printf("line %d: %v\n", number, err)
		} else if skipped != "" {
			r.count(&r.skipped)
			r.bar.printf("line %d: skipped: %s\n", number, skipped)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range lines {
		r.origins = append(r.origins, number)
		out.Write(l)
		out.WriteByte('\n')
	}
}

func (r *importRun) count(n *int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

// importResult is the result of a line.
type importResult struct {
	Status              int
	Code, Detail, Field string
}

// receive sends the request and reads the results until they end.
func (r *importRun) receive(ctx context.Context, server *admin, body *io.PipeReader) error {
	// Standard input may never end.
	by := clientUntil(func() { _ = body.CloseWithError(errEnded) })
	res, err := server.doBy(ctx, by, http.MethodPost, "/v1/admin/import", "application/x-ndjson", io.NopCloser(body))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	return eachLine(res.Body, func(result importResult) error {
		r.answered(result)
		return nil
	})
}

// answered counts a result, and prints a failure.
func (r *importRun) answered(result importResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var line int64
	if len(r.origins) > 0 {
		line, r.origins = r.origins[0], r.origins[1:]
	}
	switch {
	case r.interrupted.Load() && result.Code == "malformed_json":
		return // a line that the interruption cut off
	case result.Status == http.StatusCreated:
		r.stored++
	case result.Status == http.StatusOK:
		r.again++
	case result.Code == "message_gone":
		r.gone++
	default:
		r.failed++
		r.bar.printf("line %d: %d %s: %s\n", line, result.Status, result.Code, joinField(result.Field, result.Detail))
	}
	r.through = max(r.through, line)
	r.bar.done.Add(1)
}

func (r *importRun) summarize(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.stored + r.again + r.gone + r.failed + r.skipped
	gone := ""
	if r.gone > 0 { // trimmed, or deleted with their conversations
		gone = fmt.Sprintf(", %d deleted since they were imported", r.gone)
	}
	r.bar.printf("%d lines in %v, %.0f a second: %d stored, %d already there, %d failed, %d skipped%s\n",
		n, took.Round(time.Millisecond), float64(n)/max(took.Seconds(), 0.001), r.stored, r.again, r.failed, r.skipped, gone)
}
