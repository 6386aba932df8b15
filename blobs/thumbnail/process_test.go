package thumbnail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/imapi/imapi/blobs/thumbnail"
)

// TestMain runs the process that makes thumbnails, or one that misbehaves, if the first argument
// asks for it.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	var in io.Reader = os.Stdin
	switch os.Args[1] {
	case "serve":
	case "memory": // allocates more memory than it may
		in = readerFunc(func([]byte) (int, error) {
			var all [][]byte
			for range 4096 {
				b := make([]byte, 1<<20)
				for i := 0; i < len(b); i += 4096 { // a page of memory
					b[i] = 1
				}
				all = append(all, b)
			}
			return len(all), nil
		})
	case "files": // writes a file and reports the result
		in = readerFunc(func([]byte) (int, error) {
			os.Exit(describe(os.WriteFile(os.Args[2], []byte("content"), 0o600)))
			return 0, nil
		})
	case "hang":
		_, _ = os.Stdout.WriteString("\x03")
		_, _ = io.Copy(io.Discard, os.Stdin)
		select {}
	case "end":
		in = readerFunc(func([]byte) (int, error) { os.Exit(1); return 0, nil })
	case "nonsense":
		_, _ = os.Stdout.WriteString("\x03")
		_, _ = os.Stdin.Read(make([]byte, 8))
		_, _ = os.Stdout.WriteString("\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")
	default:
		os.Exit(m.Run())
	}
	if err := thumbnail.Serve(in, os.Stdout); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func describe(err error) int {
	if err == nil {
		return 1
	}
	return 0
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func newProcess(t *testing.T, args ...string) *thumbnail.Process {
	t.Helper()
	p := thumbnail.NewProcess(os.Args[0], args...)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestProcess(t *testing.T) {
	p := newProcess(t, "serve")
	var wg sync.WaitGroup
	for _, test := range []struct {
		name string
		file []byte
		want error
	}{
		{"jpeg", jpegOf(t, quarters(640, 480)), nil},
		{"png", pngOf(t, quarters(40, 30)), nil},
		{"transparent webp", riff(riffChunk("VP8L", lossless(64, 32, unseen))), nil},
		{"text", []byte("text"), thumbnail.ErrFormat},
		{"empty file", nil, thumbnail.ErrFormat},
		{"too many pixels", []byte(pngHeader(60000, 60000, 8, 0, 0)), thumbnail.ErrTooLarge},
	} {
		wg.Go(func() {
			want, _ := thumbnail.Make(t.Context(), test.file)
			got, err := p.Make(t.Context(), bytes.NewReader(test.file), int64(len(test.file)))
			if !errors.Is(err, test.want) || !bytes.Equal(got.Bytes, want.Bytes) || got.Type != want.Type || got.Width != want.Width || got.Height != want.Height {
				t.Errorf("%s: a %s of %d × %d and %d bytes, error %v; in this process a %s of %d × %d and %d bytes", test.name,
					got.Type, got.Width, got.Height, len(got.Bytes), err, want.Type, want.Width, want.Height, len(want.Bytes))
			}
		})
	}
	wg.Wait()
	if _, err := p.Make(t.Context(), nil, thumbnail.MaxBytes+1); !errors.Is(err, thumbnail.ErrTooLarge) {
		t.Errorf("a file over the limit: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Make(t.Context(), bytes.NewReader(pngOf(t, quarters(9, 9))), int64(len(pngOf(t, quarters(9, 9))))); err != nil {
		t.Errorf("after Close, which ends the process until there is work: %v", err)
	}
}

// The caller gets an error, whatever happens to the process.
func TestProcessFails(t *testing.T) {
	file := pngOf(t, quarters(40, 30))
	broken := errors.New("broken")
	for _, test := range []struct {
		name string
		args []string
		file io.Reader
		want error
	}{
		{"it does not exist", nil, bytes.NewReader(file), thumbnail.ErrStart},
		{"it is something else", []string{"-test.run=^$"}, bytes.NewReader(file), thumbnail.ErrStart},
		{"it ends", []string{"end"}, bytes.NewReader(file), thumbnail.ErrProcess},
		{"it answers nonsense", []string{"nonsense"}, bytes.NewReader(file), thumbnail.ErrProcess},
		{"the file cannot be read", []string{"serve"}, iotest.ErrReader(broken), broken},
		{"the file is shorter than it should be", []string{"serve"}, bytes.NewReader(file[:9]), io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProcess(t, test.args...)
			if test.args == nil {
				p = thumbnail.NewProcess(filepath.Join(t.TempDir(), "missing"))
			}
			if made, err := p.Make(t.Context(), test.file, int64(len(file))); !errors.Is(err, test.want) || made.Bytes != nil {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if test.args == nil || test.args[0] != "serve" {
				return
			}
			if _, err := p.Make(t.Context(), bytes.NewReader(file), int64(len(file))); err != nil {
				t.Errorf("the next picture: %v", err)
			}
		})
	}
}

func TestProcessIsKilledWithItsContext(t *testing.T) {
	p := newProcess(t, "hang")
	ctx, cancel := context.WithCancel(t.Context())
	file := pngOf(t, quarters(40, 30))
	read := readerFunc(func(b []byte) (int, error) {
		time.AfterFunc(10*time.Millisecond, cancel) // while the file is being read and the process waits
		return copy(b, file), nil
	})
	if _, err := p.Make(ctx, read, int64(len(file))); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if _, err := p.Make(ctx, read, int64(len(file))); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

// The process dies when it allocates too much memory, before it exhausts the machine's. It cannot
// write files.
func TestProcessIsConfined(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux limits the memory that a process allocates")
	}
	file := pngOf(t, quarters(40, 30))
	path := filepath.Join(t.TempDir(), "file")
	for _, args := range [][]string{{"memory"}, {"files", path}} {
		p := newProcess(t, args...)
		if _, err := p.Make(t.Context(), bytes.NewReader(file), int64(len(file))); !errors.Is(err, thumbnail.ErrProcess) {
			t.Errorf("%v: %v, want ErrProcess", args, err)
		}
	}
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
		t.Errorf("the process wrote %q into a file", b)
	}
}

// All threads of the process have a low priority, and its environment has no secrets.
func TestProcessHasLowPriority(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	t.Setenv("SECRET_OF_THE_SERVER", "secret")
	p := newProcess(t, "serve")
	file := pngOf(t, quarters(40, 30))
	confined, seen := false, false
	look := readerFunc(func(b []byte) (int, error) {
		seen = seen || confined && lowPriority(t)
		return copy(b, file), nil
	})
	for range 2 {
		if _, err := p.Make(t.Context(), look, int64(len(file))); err != nil {
			t.Fatal(err)
		}
		confined = true
	}
	if !seen {
		t.Error("no process of low priority was found")
	}
}

// isLow reports whether a niceness is low enough. The tests may run at a low priority themselves,
// which the process then keeps.
func isLow(niceness string) bool {
	n, err := strconv.Atoi(niceness)
	return err == nil && n >= 10
}

// lowPriority reports whether a child of this process has a low priority.
func lowPriority(t *testing.T) bool {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 17 || fields[1] != fmt.Sprint(os.Getpid()) || !isLow(fields[16]) {
			continue
		}
		env, err := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if err != nil || bytes.Contains(env, []byte("SECRET")) {
			t.Errorf("the environment is %q, %v", env, err)
		}
		threads, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "task/*/stat"))
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			_, rest, _ := strings.Cut(string(stat), ") ")
			if fields := strings.Fields(rest); err == nil && !isLow(fields[16]) {
				t.Errorf("a thread has the priority %s", fields[16])
			}
		}
		return true
	}
	return false
}
