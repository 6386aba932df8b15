package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build; see the Makefile.
var version = "dev"

// command is a subcommand. It runs until it is done or ctx ends, and writes its output to out
// and messages for people to diag.
type command struct {
	name    string
	summary string
	run     func(ctx context.Context, args []string, out, diag io.Writer) error
}

// group is a group of commands in the help.
type group struct {
	title    string
	commands []command
}

// groups returns all commands. It is a function because help is one of them.
func groups() []group {
	return []group{
		{"The server", []command{
			{"serve", "run the server", serve},
			{"doctor", "check the configuration, the data, the server and the way to it", runDoctor},
			{"healthcheck", "ask the server whether it is ready, for containers", runHealthcheck},
		}},
		{"Messages", []command{
			{"token", "print a token for a user", token},
			{"send", "send a message or files", runSend},
			{"listen", "print the events of a user as they happen", runListen},
			{"tail", "print the latest messages of a conversation, and new ones", runTail},
		}},
		{"Data", []command{
			{"backup", "copy the data and the keys into a directory", runBackup},
			{"restore", "restore a backup", runRestore},
			{"verify", "check that erased content is gone and all other content can be read", runVerify},
			{"import", "import messages and conversations from a file", importFile},
			{"export", "export messages and conversations to a file", exportFile},
			{"retention", "trim messages past retention, or list what would be trimmed", runRetention},
			{"reindex", "rebuild the search index", runReindex},
		}},
		{"This program", []command{
			{"help", "print this, or the flags of a command", help},
			{"version", "print the version", printVersion},
		}},
	}
}

// find returns a command by its name.
func find(name string) (command, bool) {
	for _, g := range groups() {
		for _, c := range g.commands {
			if c.name == name {
				return c, true
			}
		}
	}
	return command{}, false
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// unlessInterrupted returns what read returns, or the error of ctx if that ends first. It is for
// reading a terminal and opening a named pipe, which ctx cannot end. After an interruption read
// goes on, so the command must end.
func unlessInterrupted[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// Exit statuses.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitUnreachable = 3 // no server answered; another attempt may succeed
)

// unreachableError is the error of a command that got no answer from the server.
type unreachableError struct{ error }

func (e *unreachableError) Unwrap() error { return e.error }

// dispatch runs the subcommand in the arguments and returns the exit status.
func dispatch(ctx context.Context, args []string, out, diag io.Writer) int {
	if len(args) == 0 {
		usage(diag)
		return exitUsage
	}
	switch args[0] {
	case "--help", "-help", "-h":
		args = append([]string{"help"}, args[1:]...)
	case thumbnailsCommand:
		if err := makeThumbnails(ctx, args, out, diag); err != nil {
			return exitFailure
		}
		return exitOK
	case "--version", "-version":
		args = append([]string{"version"}, args[1:]...)
	}
	c, ok := find(args[0])
	if !ok {
		_, _ = fmt.Fprintf(diag, "imapi: unknown command %q (imapi help)\n", args[0])
		return exitUsage
	}
	result := &output{to: out}
	err := c.run(ctx, args[1:], result, diag)
	switch {
	case isInterruption(ctx, err) && !errors.Is(err, errInterrupted):
		err = errInterrupted
	case err == nil, errors.Is(err, flag.ErrHelp):
		err = cmp.Or(result.err, err)
	}
	var misuse *usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &misuse):
		_, _ = fmt.Fprintf(diag, "imapi %s: %v (imapi %s --help)\n", c.name, err, c.name)
		return exitUsage
	}
	_, _ = fmt.Fprintf(diag, "imapi %s: %v\n", c.name, err)
	if _, ok := errors.AsType[*unreachableError](err); ok {
		return exitUnreachable
	}
	return exitFailure
}

// help prints the commands, or the flags of the command that is named.
func help(ctx context.Context, args []string, out, diag io.Writer) error {
	f := newFlagsWithFiles("help", "[COMMAND]", "Print the commands, or the flags of a command.", diag)
	names, err := f.parseWithFiles(args)
	switch {
	case err != nil:
		return err
	case len(names) == 0:
		usage(out)
		return nil
	case len(names) > 1:
		return misuse("name one command")
	}
	c, ok := find(names[0])
	if !ok {
		return misuse("unknown command %q", names[0])
	}
	return c.run(ctx, []string{"--help"}, out, out)
}

func usage(w io.Writer) {
	_, _ = fmt.Fprintln(w, "imapi is a self-hosted instant-messaging backend.\n\nusage: imapi COMMAND [FLAGS]")
	for _, g := range groups() {
		_, _ = fmt.Fprintf(w, "\n%s:\n", g.title)
		for _, c := range g.commands {
			_, _ = fmt.Fprintf(w, "  %-12s %s\n", c.name, c.summary)
		}
	}
	_, _ = fmt.Fprintln(w, `
imapi help COMMAND lists the flags of a command. Every flag --some-name can also be
set as IMAPI_SOME_NAME in the environment; the flag wins.

Exit status: 0 success, 1 failure, 2 wrong usage, 3 no server answered.`)
}

func printVersion(_ context.Context, args []string, out, diag io.Writer) error {
	f := newFlags("version", "Print the version.", diag)
	if err := f.parse(args); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "imapi", version)
	return err
}
