package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	// The first signal ends the load; stop restores the default, so that the second one ends
	// the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// The exit statuses.
const (
	good    = 0
	noLoad  = 1
	badLine = 2
	faulty  = 3
)

// dispatch runs the load that the arguments describe and returns the exit status.
func dispatch(ctx context.Context, args []string, out, diag io.Writer) int {
	c, err := parseConfig(args, diag)
	if err == nil {
		var res *result
		if res, err = put(ctx, c, diag); err == nil {
			return report(c, res, out, diag)
		}
	}
	var wrong *usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
		return good
	case errors.As(err, &wrong):
		_, _ = fmt.Fprintf(diag, "imapi-load: %v (imapi-load --help)\n", err)
		return badLine
	default:
		_, _ = fmt.Fprintf(diag, "imapi-load: %v\n", err)
		return noLoad
	}
}

// report prints a result and returns the exit status.
func report(c config, res *result, out, diag io.Writer) int {
	write := res.writeText
	if c.json {
		write = res.writeJSON
	}
	if err := write(out); err != nil {
		_, _ = fmt.Fprintf(diag, "imapi-load: %v\n", err)
		return noLoad
	}
	faults := res.faults()
	for _, f := range faults {
		_, _ = fmt.Fprintf(diag, "imapi-load: %s\n", f)
	}
	if len(faults) > 0 {
		return faulty
	}
	return good
}

// tidying is the time limit for deleting the conversations of a run.
const tidying = time.Minute

// put puts a load on the server and returns what it measured. An error means that there was
// no load.
func put(ctx context.Context, c config, diag io.Writer) (res *result, err error) {
	var p *progress
	if !c.quiet {
		p = newProgress(diag)
	}
	defer p.end()
	r, err := newRun(c, p)
	if err != nil {
		return nil, err
	}
	lasting := context.WithoutCancel(ctx)
	streaming, endStreams := context.WithCancel(lasting)
	var streams sync.WaitGroup
	defer func() {
		endStreams()
		streams.Wait()
		if c.keep {
			return
		}
		ctx, cancel := context.WithTimeout(lasting, tidying)
		defer cancel()
		if e := r.world.tearDown(ctx, c, p.step); e != nil {
			p.end()
			_, _ = fmt.Fprintf(diag, "imapi-load: conversations of run %s were not deleted: %v\n", r.world.run, e)
		}
	}()
	if err := r.prepare(ctx, streaming, &streams); err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("interrupted before the load began")
		}
		return nil, err
	}
	stop := p.watch(r)
	r.load(ctx)
	took := max(time.Since(r.began()), 0)
	stop()
	r.settle(lasting)
	return r.result(took, ctx.Err() != nil), nil
}
