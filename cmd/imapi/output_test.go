package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dataWithMessages returns a data directory with some messages, which no server runs on.
func dataWithMessages(t *testing.T) string {
	t.Helper()
	data := dataDir(t)
	lines := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(lines, []byte(importLines(100, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	var diag bytes.Buffer
	if status := dispatch(t.Context(), []string{"import", lines, "--data", data}, io.Discard, &diag); status != exitOK {
		t.Fatalf("import: %d %s", status, &diag)
	}
	return data
}

var errNoSpace = errors.New("no space left on device")

// fullWriter is a writer without space.
type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errNoSpace }

// TestOutputThatCannotBeWritten checks that a command whose result cannot be written fails and says
// so, as with imapi help > /dev/full.
func TestOutputThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	data := dataWithMessages(t)
	for _, args := range []string{
		"help", "--help", "help serve", "help version", "version", "--version",
		"token --user alice --data", "export --data", "retention --data", "retention --dry-run --data", "verify --data",
		"backup " + filepath.Join(t.TempDir(), "backup") + " --data", "doctor --data", "doctor --json --data",
	} {
		words := strings.Fields(args)
		if words[len(words)-1] == "--data" {
			words = append(words, data)
		}
		var diag bytes.Buffer
		status := dispatch(t.Context(), words, fullWriter{}, &diag)
		if status != exitFailure || !strings.Contains(diag.String(), "cannot write the ") || !strings.Contains(diag.String(), errNoSpace.Error()) {
			t.Errorf("%s: %d %q", args, status, &diag)
		}
	}
	// The help of --help is on standard error.
	for _, c := range everyCommand() {
		var out bytes.Buffer
		if status := dispatch(t.Context(), []string{c.name, "--help"}, &out, fullWriter{}); status != exitFailure {
			t.Errorf("%s --help: %d %q", c.name, status, &out)
		}
	}
}

// TestNoCommandIgnoresItsOutput checks that a command fails if its result was not written, whatever
// the command made of that.
func TestNoCommandIgnoresItsOutput(t *testing.T) {
	t.Parallel()
	o := &output{to: fullWriter{}}
	_, _ = io.WriteString(o, "first")
	_, _ = io.WriteString(o, "second")
	_, _ = io.WriteString(besideOutput(o), "beside")
	if !errors.Is(o.err, errNoSpace) {
		t.Errorf("the error is %v", o.err)
	}
	beside := &output{to: fullWriter{}}
	if _, err := io.WriteString(besideOutput(beside), "x"); !errors.Is(err, errNoSpace) || beside.err != nil {
		t.Errorf("beside: %v, %v", err, beside.err)
	}
}

// interruptingWriter interrupts the command with what it is given first.
type interruptingWriter struct {
	bytes.Buffer
	interrupt context.CancelFunc
}

func (w *interruptingWriter) Write(b []byte) (int, error) {
	w.interrupt()
	return w.Buffer.Write(b)
}

// TestInterruptions checks that a command that is interrupted says so in plain words, and what is
// left of its work.
func TestInterruptions(t *testing.T) {
	t.Parallel()
	data := dataWithMessages(t)
	t.Run("an export to standard output", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out, diag := interruptingWriter{interrupt: cancel}, bytes.Buffer{}
		status := dispatch(ctx, []string{"export", "--data", data}, &out, &diag)
		if status != exitFailure || !strings.Contains(diag.String(), "interrupted: the output ends after ") || !strings.Contains(diag.String(), "is not the whole export") {
			t.Errorf("%d %q", status, &diag)
		}
	})
	t.Run("an export to a file", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		dir := t.TempDir()
		file := filepath.Join(dir, "export")
		if err := os.WriteFile(file, []byte("an earlier one"), 0o600); err != nil {
			t.Fatal(err)
		}
		first := io.TeeReader(strings.NewReader("a part"), &interruptingWriter{interrupt: cancel})
		err := writeFile(ctx, file, untilInterrupted{ctx, first})
		if err == nil || err.Error() != "interrupted: "+file+" was not written" {
			t.Errorf("%v", err)
		}
		got, _ := os.ReadFile(file)
		left, _ := os.ReadDir(dir)
		if string(got) != "an earlier one" || len(left) != 1 {
			t.Errorf("%q in %v", got, left)
		}
	})
	t.Run("before the command has begun", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		backup := filepath.Join(t.TempDir(), "backup")
		for _, args := range [][]string{
			{"export"},
			{"export", filepath.Join(t.TempDir(), "file")},
			{"import", os.DevNull},
			{"retention"},
			{"retention", "--dry-run"},
			{"verify"},
			{"reindex"},
			{"backup", backup},
			{"doctor"},
			{"healthcheck", "--server", "http://127.0.0.1:1"},
			{"send", "hi", "--as", "alice", "--to", "bob", "--server", "http://127.0.0.1:1"},
			{"serve", "--listen", "127.0.0.1:0"},
		} {
			var out, diag bytes.Buffer
			status := dispatch(ctx, append(args, "--data", data), &out, &diag)
			said := out.String() + diag.String()
			if strings.Contains(said, "context") || strings.Contains(said, "cancel") {
				t.Errorf("%v: %d %q", args, status, said)
			}
			if args[0] != "serve" && (status != exitFailure || !strings.Contains(diag.String(), "interrupted")) {
				t.Errorf("%v: %d %q", args, status, said)
			}
		}
	})
}
