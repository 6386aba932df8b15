package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// output is where a command writes its result. It keeps the first error, so that no command that
// ignores one exits as if its result had been written.
type output struct {
	to  io.Writer
	err error
}

// Write implements [io.Writer].
func (o *output) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if err != nil {
		err = fmt.Errorf("cannot write the output: %w", err)
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

// besideOutput returns a writer to the same place, for what a command prints beside its work. An
// error there does not fail the command.
func besideOutput(out io.Writer) io.Writer {
	if o, ok := out.(*output); ok {
		return o.to
	}
	return out
}

var errInterrupted = errors.New("interrupted")

// whatIsLeft returns err. If the reason of err is that the command was interrupted, whatIsLeft
// instead returns an errInterrupted that says what is left of its work.
func whatIsLeft(ctx context.Context, err error, left string) error {
	if !isInterruption(ctx, err) {
		return err
	}
	return fmt.Errorf("%w: %s", errInterrupted, left)
}

// isInterruption reports whether the reason of an error is that ctx ended.
func isInterruption(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, errInterrupted))
}

// untilInterrupted is a reader that ends with ctx, also while it has bytes.
type untilInterrupted struct {
	ctx context.Context
	io.Reader
}

// Read implements [io.Reader].
func (r untilInterrupted) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}
