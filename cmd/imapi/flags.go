package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"
)

// flags is a flag set whose flags can also be set by environment variables.
type flags struct {
	*flag.FlagSet
	help func() error // prints all flags
	// given has the flags that were among the arguments. Parsing sets it.
	given map[string]bool
}

// usageError is an error in the command line.
type usageError struct{ error }

func misuse(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

func newFlags(name, summary string, diag io.Writer) flags {
	return newFlagsWithFiles(name, "", summary, diag)
}

// newFlagsWithFiles is newFlags for a command that takes files.
func newFlagsWithFiles(name, files, summary string, diag io.Writer) flags {
	f := flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), given: make(map[string]bool)}
	// dispatch reports errors, without the help: a screenful of it would hide them.
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.help = func() error {
		var all strings.Builder
		_, _ = fmt.Fprintf(&all, "usage: imapi %s\n\n%s\n", strings.TrimSpace(name+" [FLAGS] "+files), summary)
		f.VisitAll(func(fl *flag.Flag) {
			value, text := flag.UnquoteUsage(fl)
			byDefault := ""
			if fl.DefValue != "" && fl.DefValue != "false" {
				byDefault = " (" + fl.DefValue + ")"
			}
			_, _ = fmt.Fprintf(&all, "\n  %s\n        %s%s\n        %s\n", strings.TrimSpace("--"+fl.Name+" "+value), text, byDefault, environment(fl.Name))
		})
		if _, err := io.WriteString(diag, all.String()); err != nil {
			return fmt.Errorf("cannot write the help: %w", err)
		}
		return flag.ErrHelp
	}
	return f
}

// environment returns the name of the environment variable of a flag.
func environment(name string) string {
	return "IMAPI_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// parse parses the arguments, and the environment for flags that are not among them.
func (f flags) parse(args []string) error {
	files, err := f.parseWithFiles(args)
	if err == nil && len(files) > 0 {
		err = misuse("unexpected argument %q", files[0])
	}
	return err
}

// parseWithFiles is parse for a command that takes files. They may come before, between and
// after the flags.
func (f flags) parseWithFiles(args []string) (files []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, f.help()
			}
			return nil, f.mistake(err)
		}
		rest := f.Args()
		if n := len(args) - len(rest); len(rest) == 0 || n > 0 && args[n-1] == "--" {
			return append(files, rest...), f.parseEnvironment()
		}
		files, args = append(files, rest[0]), rest[1:]
	}
}

// invalidValue is how package flag reports a value that does not fit its flag.
var invalidValue = regexp.MustCompile(`(?s)^invalid (?:boolean )?value (".*") for (?:flag )?-([\w-]+): (.*)$`)

// mistake rewords an error of package flag in the style of the commands, with the expected value.
func (f flags) mistake(err error) error {
	text := err.Error()
	if name, found := strings.CutPrefix(text, "flag provided but not defined: -"); found {
		return misuse("there is no flag --%s", name)
	}
	if name, found := strings.CutPrefix(text, "flag needs an argument: -"); found {
		return misuse("--%s needs a value", name)
	}
	m := invalidValue.FindStringSubmatch(text)
	if m == nil {
		return &usageError{err}
	}
	value, name, expected := m[1], m[2], m[3]
	if getter, ok := f.Lookup(name).Value.(flag.Getter); ok {
		switch getter.Get().(type) {
		case time.Duration:
			expected = "must be a duration such as 90s, 15m or 24h"
		case int, int64, uint, uint64:
			expected = "must be a whole number"
		case bool:
			expected = "must be true or false"
		case *slog.Level:
			expected = "must be debug, info, warn or error"
		}
	}
	return misuse("--%s: %s %s", name, value, expected)
}

// parseEnvironment notes which flags were among the arguments, and sets the others from the
// environment.
func (f flags) parseEnvironment() error {
	f.Visit(func(fl *flag.Flag) { f.given[fl.Name] = true })
	var err error
	f.VisitAll(func(fl *flag.Flag) {
		value, ok := os.LookupEnv(environment(fl.Name))
		if !ok || f.given[fl.Name] || err != nil {
			return
		}
		if e := f.Set(fl.Name, value); e != nil {
			// The value may be a secret, so the error names only the variable.
			err = misuse("%s: its value does not fit --%s", environment(fl.Name), fl.Name)
		}
	})
	return err
}
