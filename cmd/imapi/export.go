package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
)

const exportSummary = `Export conversations, members and messages to FILE or to standard output, as lines of
JSON that imapi import reads. An export holds the content of messages, so only the
current user can read FILE.`

// exportFile runs the export command.
func exportFile(ctx context.Context, args []string, out, diag io.Writer) error {
	var a adminFlags
	f := newFlagsWithFiles("export", "[FILE]", exportSummary, diag)
	a.add(f)
	a.addPolicy(f)
	conversation := f.String("conversation", "", "the `id` of the only conversation to export")
	files, err := f.parseWithFiles(args)
	if err != nil {
		return err
	}
	if len(files) > 1 {
		return misuse("name one FILE at most")
	}
	if err := a.check(); err != nil {
		return err
	}
	server, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer server.close()
	path := "/v1/admin/export"
	if *conversation != "" {
		path += "?" + url.Values{"conversation_id": {*conversation}}.Encode()
	}
	res, err := server.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	bar := newProgress(diag, 0)
	body := io.TeeReader(untilInterrupted{ctx, res.Body}, counted{bar})
	if len(files) == 0 || files[0] == "-" {
		_, err := io.Copy(out, body)
		return whatIsLeft(ctx, err, fmt.Sprintf("the output ends after %d lines and is not the whole export", bar.done.Load()))
	}
	stop := bar.run()
	defer stop()
	return writeFile(ctx, files[0], body)
}

// counted is a writer that counts bytes and lines in a progress bar.
type counted struct{ bar *progress }

func (c counted) Write(b []byte) (int, error) {
	c.bar.done.Add(int64(bytes.Count(b, []byte{'\n'})))
	return c.bar.Write(b)
}

// writeFile writes a file that, of the users of the system, only the one who runs the command can
// read. The file gets its name once it is complete. If ctx ends before, the error says what is left.
//
// writeFile replaces the target of a symbolic link, not the link. It writes to a device or a named
// pipe instead of replacing it.
func writeFile(ctx context.Context, name string, from io.Reader) error {
	switch info, err := os.Stat(name); {
	case err != nil: // no such file yet
	case info.IsDir():
		return fmt.Errorf("%s is a directory", name)
	case !info.Mode().IsRegular():
		return writeTo(ctx, name, from)
	default:
		if target, err := filepath.EvalSymlinks(name); err == nil {
			name = target
		}
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return whatIsLeft(ctx, errors.Join(err, os.Remove(f.Name())), name+" was not written")
	}
	return nil
}

// writeTo writes to a device or a named pipe.
func writeTo(ctx context.Context, name string, from io.Reader) error {
	f, err := unlessInterrupted(ctx, func() (*os.File, error) { return os.OpenFile(name, os.O_WRONLY, 0) })
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return whatIsLeft(ctx, errors.Join(err, f.Close()), "what was written to "+name+" is not complete")
}
