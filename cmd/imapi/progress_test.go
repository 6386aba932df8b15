package main

import (
	"bytes"
	"testing"
	"time"
)

// TestProgressLine checks the text of the bar, with and without a known size.
func TestProgressLine(t *testing.T) {
	p := newProgress(&bytes.Buffer{}, 4_000_000)
	p.bytes.Store(1_000_000)
	p.done.Add(30)
	want := " 25% [======                  ]  1.0 MB  30 lines  15/s  6s left"
	if got := p.line(2 * time.Second); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.size = 0
	if got, want := p.line(2*time.Second), "1.0 MB  30 lines  15/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestProgressOfCounts does the same for counts, whose total becomes known only later.
func TestProgressOfCounts(t *testing.T) {
	p := newCount(&bytes.Buffer{}, "messages")
	p.at(30, 0)
	if got, want := p.line(2*time.Second), "30 messages  15/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.at(30, 120)
	if got, want := p.line(2*time.Second), " 25% [======                  ]  30 messages  15/s  6s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p = newCount(&bytes.Buffer{}, "bytes")
	p.at(3_000_000, 12_000_000)
	if got, want := p.line(2*time.Second), " 25% [======                  ]  3.0 MB  1.5 MB/s  6s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestProgressIsForPeople checks that text is written above the bar.
func TestProgressIsForPeople(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, 0)
	p.terminal, p.shown = true, true
	p.printf("line %d\n", 7)
	if got, want := out.String(), "\r\x1b[Kline 7\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	out.Reset()
	stop := p.run()
	stop()
	if p.shown {
		t.Error("the bar stays")
	}
}
