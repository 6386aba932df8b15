package main

import (
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

var commands = []command{
	{"serve", "run the server", serve},
	{"token", "print a token for a user", token},
	{"import", "import messages and conversations from a file", importFile},
	{"export", "export messages and conversations to a file", exportFile},
	{"retention", "trim messages past retention, or list what would be trimmed", runRetention},
	{"backup", "copy the data and the keys into a directory", runBackup},
	{"restore", "restore a backup", runRestore},
	{"verify", "check that erased content is gone and all other content can be read", runVerify},
	{"reindex", "rebuild the search index", runReindex},
	{"version", "print the version", printVersion},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// dispatch runs the subcommand in the arguments and returns the exit status: 0 for success,
// 1 for a failure, 2 for a wrong command line.
func dispatch(ctx context.Context, args []string, out, diag io.Writer) int {
	if len(args) == 0 {
		usage(diag)
		return 2
	}
	switch args[0] {
	case "help", "--help", "-h":
		usage(out)
		return 0
	case thumbnailsCommand:
		if err := makeThumbnails(ctx, args, out, diag); err != nil {
			return 1
		}
		return 0
	case "--version", "-version":
		args = append([]string{"version"}, args[1:]...)
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], out, diag)
		var misuse *usageError
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.As(err, &misuse):
			_, _ = fmt.Fprintf(diag, "imapi %s: %v (imapi %s --help)\n", c.name, err, c.name)
			return 2
		default:
			_, _ = fmt.Fprintf(diag, "imapi %s: %v\n", c.name, err)
			return 1
		}
	}
	_, _ = fmt.Fprintf(diag, "imapi: unknown command %q (imapi help)\n", args[0])
	return 2
}

func usage(w io.Writer) {
	_, _ = fmt.Fprintln(w, "imapi is a self-hosted instant-messaging backend.\n\nusage: imapi COMMAND [FLAGS]")
	_, _ = fmt.Fprintln(w)
	for _, c := range commands {
		_, _ = fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	_, _ = fmt.Fprintln(w, "\nimapi COMMAND --help lists its flags. Every flag --some-name can also be set\nas IMAPI_SOME_NAME in the environment; the flag wins.")
}

func printVersion(_ context.Context, args []string, out, diag io.Writer) error {
	f := newFlags("version", "Print the version.", diag)
	if err := f.parse(args); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "imapi", version)
	return err
}
