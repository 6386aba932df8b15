package transfer

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestReader(t *testing.T) {
	longest, long := strings.Repeat("x", MaxLine), strings.Repeat("y", readBuffer+1)
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"nothing":                 {"", []string{""}},
		"an end after a newline":  {"a\nb\n", []string{"a", "b", ""}},
		"an end without one":      {"a\nb", []string{"a", "b"}},
		"blank lines and spaces":  {" \t\n a \r\n\n", []string{"", "a", "", ""}},
		"longer than the buffer":  {long + "\nb", []string{long, "b"}},
		"as long as is allowed":   {longest + "\nb", []string{longest, "b"}},
		"too long, then another":  {longest + "x\nb", []string{"too long", "b"}},
		"too long at the end":     {"a\n" + longest + "xx", []string{"a", "too long", ""}},
		"far too long, no memory": {strings.Repeat(longest, 4) + "\nb", []string{"too long", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(iotest.HalfReader(strings.NewReader(c.in)))
			var got []string
			for {
				line, err := r.Next()
				text := string(line)
				if errors.Is(err, bufio.ErrTooLong) {
					text = "too long"
				}
				got = append(got, text)
				if errors.Is(err, io.EOF) {
					break
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("unexpected lines (-want +got):\n%s", diff)
			}
			if cap(r.long) > 4*MaxLine {
				t.Errorf("the reader holds %d bytes", cap(r.long))
			}
		})
	}
}

func TestReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	if line, err := r.Next(); string(line) != "a" || err != nil {
		t.Errorf("first line: %q, %v", line, err)
	}
	if _, err := r.Next(); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the reader", err)
	}
}

func TestReaderIsReadyWithAWholeLine(t *testing.T) {
	in, out := io.Pipe()
	defer func() { _ = in.Close() }()
	r := NewReader(in)
	go func() { _, _ = out.Write([]byte("a\nb\nc")) }()
	if r.Ready() {
		t.Error("ready before anything was read")
	}
	for _, want := range []bool{true, false} {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if r.Ready() != want {
			t.Errorf("ready is %t, want %t", !want, want)
		}
	}
}
