package events

import (
	"math"
	"net/url"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

func TestCursorRoundTrip(t *testing.T) {
	for _, c := range []Cursor{
		{},
		{Log: 1, Position: 1},
		{Log: math.MaxUint32, Position: math.MaxInt64},
		{Log: 0xdeadbeef, Position: 1 << 40},
	} {
		s := c.String()
		if url.QueryEscape(s) != s {
			t.Errorf("%v: %q is not URL-safe", c, s)
		}
		got, err := ParseCursor(s)
		if err != nil || got != c {
			t.Errorf("ParseCursor(%q) = %v, %v; want %v", s, got, err, c)
		}
	}
}

func TestParseCursorRefuses(t *testing.T) {
	good := Cursor{Log: 7, Position: 42}.String()
	for name, s := range map[string]string{
		"empty":       "",
		"short":       good[:19],
		"long":        good + "A",
		"padded":      good + "=",
		"line break":  good[:10] + "\n" + good[10:],
		"broken line": good[:10] + "\n" + good[11:],
		"standard":    strings.Repeat("+", 20),
		"zeros":       strings.Repeat("A", 20),
		"negative":    Cursor{Log: 7, Position: -1}.String(),
	} {
		if c, err := ParseCursor(s); err == nil {
			t.Errorf("%s: ParseCursor(%q) = %v, want an error", name, s, c)
		}
	}
	// One wrong character is always detected.
	for i := range good {
		for _, r := range "ABYZabyz0189-_" {
			s := good[:i] + string(r) + good[i+1:]
			if c, err := ParseCursor(s); s != good && err == nil {
				t.Errorf("ParseCursor(%q) = %v, want an error", s, c)
			}
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add(Cursor{Log: 7, Position: 42}.String())
	f.Add("")
	f.Add(strings.Repeat("A", 20))
	f.Add(strings.Repeat("A", 19) + "\n")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			return
		}
		if c.Position < 0 {
			t.Errorf("ParseCursor(%q) = %v", s, c)
		}
		if c.String() != s {
			t.Errorf("%q and %q are both %v", s, c.String(), c)
		}
	})
}

func TestResolve(t *testing.T) {
	bounds := im.LogBounds{Cut: 10, Head: 20, Past: []im.PastLog{{Log: 3, Head: 12}, {Log: 4, Head: 17}, {Log: 5, Head: 8}}}
	for _, tt := range []struct {
		name  string
		c     Cursor
		from  im.Position
		reset bool
	}{
		{"in the log", Cursor{1, 15}, 15, false},
		{"at the oldest", Cursor{1, 10}, 10, false},
		{"at the head", Cursor{1, 20}, 20, false},
		{"before the oldest", Cursor{1, 9}, 20, true},
		{"ahead", Cursor{1, 21}, 20, true},
		{"another log", Cursor{2, 15}, 20, true},
		{"in the first log, before its end", Cursor{3, 11}, 11, false},
		{"at the end of the first log", Cursor{3, 12}, 12, false},
		{"in the first log, after the backup", Cursor{3, 13}, 20, true},
		{"before the end of the second", Cursor{4, 16}, 16, false},
		{"after the end of the second", Cursor{4, 18}, 20, true},
		{"in a log that was trimmed entirely", Cursor{5, 8}, 20, true},
	} {
		if from, reset := resolve(tt.c, bounds, 1); from != tt.from || reset != tt.reset {
			t.Errorf("%s: resolve = %d, %t; want %d, %t", tt.name, from, reset, tt.from, tt.reset)
		}
	}
}
