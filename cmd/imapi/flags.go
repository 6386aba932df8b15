package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// flags is a flag set in which every flag can also be given in the
// environment.
type flags struct {
	*flag.FlagSet
}

// usageError says that the command line is at fault.
type usageError struct{ error }

func misuse(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

func newFlags(name, summary string, diag io.Writer) flags {
	f := flags{flag.NewFlagSet(name, flag.ContinueOnError)}
	f.SetOutput(io.Discard) // mistakes are reported by dispatch
	f.Usage = func() {
		_, _ = fmt.Fprintf(diag, "usage: imapi %s [FLAGS]\n\n%s\n", name, summary)
		f.VisitAll(func(fl *flag.Flag) {
			value, text := flag.UnquoteUsage(fl)
			byDefault := ""
			if fl.DefValue != "" && fl.DefValue != "false" {
				byDefault = " (" + fl.DefValue + ")"
			}
			_, _ = fmt.Fprintf(diag, "\n  --%s %s\n        %s%s\n        %s\n", fl.Name, value, text, byDefault, environment(fl.Name))
		})
	}
	return f
}

// environment returns the variable by which a flag can be given.
func environment(name string) string {
	return "IMAPI_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// parse reads the arguments, and the environment for flags that they leave
// out.
func (f flags) parse(args []string) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &usageError{err}
	}
	if f.NArg() > 0 {
		return misuse("unexpected argument %q", f.Arg(0))
	}
	given := make(map[string]bool)
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	var err error
	f.VisitAll(func(fl *flag.Flag) {
		value, ok := os.LookupEnv(environment(fl.Name))
		if !ok || given[fl.Name] || err != nil {
			return
		}
		if e := f.Set(fl.Name, value); e != nil {
			// The value may be a secret: only the name is repeated.
			err = misuse("%s: is not a value for --%s", environment(fl.Name), fl.Name)
		}
	})
	return err
}
