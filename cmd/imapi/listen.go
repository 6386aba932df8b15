package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/imapi/imapi/client"
)

const listenSummary = `Print the events of a user as they happen, one line each, until Ctrl-C. After a lost
connection the stream is resumed, with no gap and no repeat. With --resume the next run
continues where this one ended; after a crash it may print the last event again.`

// runListen prints events.
func runListen(ctx context.Context, args []string, out, diag io.Writer) error {
	var c connection
	f := newFlags("listen", listenSummary, diag)
	c.add(f)
	asJSON := f.Bool("json", false, "print each event as the server sends it: one JSON object per line")
	cursor := f.String("cursor", "", "the `cursor` to continue after: the id of an event")
	resume := f.String("resume", "", "a `file` that keeps the cursor, for the next run to continue after")
	if err := f.parse(args); err != nil {
		return err
	}
	if *cursor != "" && *resume != "" {
		return misuse("--cursor and --resume exclude each other")
	}
	user, err := c.open(f)
	if err != nil {
		return err
	}
	options := client.EventsOptions{Cursor: *cursor, OnDisconnect: c.reportDisconnect(diag)}
	var failed error
	if *resume != "" {
		if options.Cursor, err = readCursor(*resume); err != nil {
			return err
		}
		options.OnCursor = func(cursor string) {
			if failed == nil {
				failed = writeCursor(*resume, cursor)
			}
		}
	}
	options.OnJSON = func(event []byte) {
		if failed == nil {
			failed = printEvent(out, event, *asJSON)
		}
	}
	for event, err := range user.Events(ctx, options) {
		switch {
		case ctx.Err() != nil: // Ctrl-C
			return nil
		case err != nil:
			return c.explain(err)
		case failed != nil:
			return failed
		case event.Type == client.EventTypeReset && !*asJSON:
			_, _ = fmt.Fprintln(diag, "the server no longer has the events after the cursor: some are missing here")
		}
	}
	return nil
}

// printEvent prints an event that is given in JSON.
func printEvent(out io.Writer, event []byte, asJSON bool) error {
	line := string(event)
	if !asJSON {
		var err error
		if line, err = eventText(event, time.Now()); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, line+"\n")
	return err
}

// reportDisconnect returns a function that reports the end of a connection.
func (c *connection) reportDisconnect(diag io.Writer) func(error, time.Duration) {
	return func(err error, wait time.Duration) {
		_, _ = fmt.Fprintf(diag, "not connected to %s: %v; again in %v\n", c.server, err, wait.Round(100*time.Millisecond))
	}
}

// readCursor reads the cursor in a file, which need not exist.
func readCursor(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("--resume: %w", err)
	}
	cursor := strings.TrimSpace(string(b))
	if len(cursor) > 256 || strings.ContainsFunc(cursor, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("--resume: %s does not hold a cursor; name another file, or delete it to begin with the next event", path)
	}
	return cursor, nil
}

// writeCursor replaces the cursor in a file.
func writeCursor(path, cursor string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("--resume: %w", err)
	}
	_, err = f.WriteString(cursor + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("--resume: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
