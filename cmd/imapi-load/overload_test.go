package main

import (
	"strconv"
	"testing"

	"github.com/imapi/imapi/internal/testsize"
)

// best measures the rate of sends that the server can serve. overload sends at four times that
// rate, over more connections than the server admits to its queue.
func (s *server) best(t testing.TB, seconds string) float64 {
	t.Helper()
	status, res, diag := s.load(t.Context(), "send", "--data", s.data, "--conversations", "200", "--streams", "20", "--connections", "64",
		"--warmup", "500ms", "--duration", seconds+"s", "--settle", "1m", "--quiet")
	if o := res.Operations["send"]; status != good || o.Shed > 0 {
		t.Fatalf("status %d, %+v: %s", status, o, diag)
	}
	return res.Operations["send"].PerSecond
}

func (s *server) overload(t testing.TB, best float64, connections int, seconds string) *operated {
	t.Helper()
	status, res, diag := s.load(t.Context(), "send", "--data", s.data, "--conversations", "500", "--users", "1000", "--streams", "20",
		"--connections", strconv.Itoa(connections), "--rate", strconv.Itoa(int(4*best)), "--warmup", "2s", "--duration", seconds+"s", "--settle", "1m", "--quiet")
	if status != good {
		t.Fatalf("status %d, %+v: %s", status, res.Operations["send"], diag)
	}
	return res.Operations["send"]
}

// Under four times the load that it can serve, the server only refuses with Retry-After, keeps its
// streams open, delivers everything that it stored, and serves everyone as soon as the load ends.
func TestOverload(t *testing.T) {
	t.Setenv(tokenVariable, "")
	s := startServer(t, "--rate", "0")
	best := s.best(t, testsize.Pick("3", "1"))
	under := s.overload(t, best, 1500, testsize.Pick("10", "2"))
	after := s.best(t, testsize.Pick("3", "1"))
	t.Logf("%.0f sends/s before, %.0f under four times that (%d refused), %.0f after", best, under.PerSecond, under.Shed, after)
	if under.Done == 0 {
		t.Error("nothing was sent under overload")
	}
}

// BenchmarkOverload reports the rate of sends under four times the load that the server can
// serve, relative to its best rate, in alternation. With 1,500 connections it has to refuse little;
// with 5,000 it must refuse most sends.
func BenchmarkOverload(b *testing.B) {
	for _, connections := range []int{1500, 5000} {
		b.Run(strconv.Itoa(connections), func(b *testing.B) {
			b.Setenv(tokenVariable, "")
			s := startServer(b, "--rate", "0")
			var best, under, refused float64
			for b.Loop() {
				now := s.best(b, "4")
				best += now
				o := s.overload(b, now, connections, "8")
				under += o.PerSecond
				refused += float64(o.Shed) / 8
			}
			b.ReportMetric(best/float64(b.N), "best/s")
			b.ReportMetric(under/float64(b.N), "overloaded/s")
			b.ReportMetric(refused/float64(b.N), "refused/s")
			b.ReportMetric(under/best, "of-best")
		})
	}
}
