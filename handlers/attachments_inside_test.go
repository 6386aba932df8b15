package handlers

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzOneRange checks that a range is within the file.
func FuzzOneRange(f *testing.F) {
	for _, header := range []string{
		"", "bytes=0-0", "bytes=-1", "bytes=5-", "bytes=5-4", "bytes=0-1,3-4", "bytes = 1-2", "BYTES=1-2", "bytes=--1",
		"bytes=-", "bytes=99999999999999999999-", "bytes=-99999999999999999999", "bytes=0-99999999999999999999", "bytes=+1-2",
	} {
		f.Add(header, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 1 {
			return // files are not empty
		}
		from, length, ok := oneRange(header, size)
		switch {
		case !ok:
		case length < 0, length > 0 && (from < 0 || length > size || from > size-length):
			t.Errorf("%q of %d: %d bytes from %d", header, size, length, from)
		case !strings.Contains(header, "-") || strings.Contains(header, ","):
			t.Errorf("%q is a range", header)
		}
	})
}

// deadlines is a response writer that records the deadlines of its connection.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

// TestSlowUploads checks that an upload must arrive at the minimum rate on average: bytes that
// arrive early leave time for the rest, and waiting for a turn does not count.
func TestSlowUploads(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	began := now
	d := &deadlines{ResponseRecorder: httptest.NewRecorder(), write: now}
	const size = 10 * transferBytes
	b := &uploadBody{in: strings.NewReader(strings.Repeat("x", size)), rc: http.NewResponseController(d), left: -1, now: func() time.Time { return now }}
	b.begin()
	check := func(when string, want time.Duration) {
		t.Helper()
		if got := d.read.Sub(began); got != want {
			t.Errorf("%s the rest must arrive within %v, want %v", when, got, want)
		}
	}
	check("at the beginning", uploadGrace)
	if !d.write.IsZero() {
		t.Errorf("there is a deadline for writing at %v", d.write)
	}
	perChunk := transferBytes * time.Second / uploadRate
	for n := range 9 {
		now = now.Add(3 * time.Second)
		if _, err := io.ReadFull(b, make([]byte, transferBytes)); err != nil {
			t.Fatal(err)
		}
		check("after a chunk", uploadGrace+time.Duration(n+1)*perChunk)
	}
	// Reads of a few bytes do not set the deadline each time.
	before := d.read
	for range 10 {
		if _, err := b.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if d.read != before {
		t.Error("a few bytes have moved the deadline")
	}
	if _, err := io.Copy(io.Discard, b); err != nil || !b.ended || !d.read.IsZero() {
		t.Errorf("at the end: %v, ended %v, deadline %v", err, b.ended, d.read)
	}
	b.end(time.Minute)
	if want := now.Add(time.Minute); d.write != want {
		t.Errorf("the answer must be read by %v, want %v", d.write, want)
	}
	// After waiting for its turn, an upload has its full time.
	now = now.Add(time.Hour)
	began = now
	b.got = 0
	b.begin()
	check("after waiting for a turn", uploadGrace)
}
