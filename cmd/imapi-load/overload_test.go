package main

import (
	"strconv"
	"testing"

	"github.com/imapi/imapi/internal/testsize"
)

// excesses are the loads that are put on the server in excess, with the flags of their best rate
// and of the overload.
var excesses = map[string]struct{ best, overload []string }{
	"send": {
		best:     []string{"--conversations", "200", "--streams", "20"},
		overload: []string{"--conversations", "500", "--users", "1000", "--streams", "20"},
	},
	"history": {
		best:     []string{"--conversations", "200", "--fill", "50", "--users", "1000"},
		overload: []string{"--conversations", "200", "--fill", "50", "--users", "1000", "--streams", "20"},
	},
}

// best measures the rate of an operation that the server serves, and overload puts four times
// that on it, on more connections than it serves at once. It fails if nothing was done.
func (s *server) best(t testing.TB, operation, seconds string) float64 {
	t.Helper()
	args := append([]string{operation, "--data", s.data, "--connections", "64", "--warmup", "500ms", "--duration", seconds + "s", "--settle", "1m", "--quiet"},
		excesses[operation].best...)
	var o *operated
	undisturbed(t, func(errorf func(string, ...any)) {
		status, res, diag := s.load(t.Context(), args...)
		if o = res.Operations[operation]; status != good || o.Shed > 0 {
			errorf("status %d, %+v: %s", status, o, diag)
		}
	})
	return o.PerSecond
}

func (s *server) overload(t testing.TB, operation string, best float64, connections int, seconds string) *operated {
	t.Helper()
	args := append([]string{
		operation, "--data", s.data, "--connections", strconv.Itoa(connections), "--rate", strconv.Itoa(int(4 * best)),
		"--warmup", "2s", "--duration", seconds + "s", "--settle", "1m", "--quiet",
	}, excesses[operation].overload...)
	var o *operated
	undisturbed(t, func(errorf func(string, ...any)) {
		status, res, diag := s.load(t.Context(), args...)
		if o = res.Operations[operation]; status != good || o.Done == 0 {
			errorf("status %d, %+v: %s", status, o, diag)
		}
	})
	return o
}

// Under four times the load that it can serve, the server only refuses with Retry-After, keeps its
// streams open, delivers everything that it stored, and serves everyone as soon as the load ends.
func TestOverload(t *testing.T) {
	t.Setenv(tokenVariable, "")
	s := startServer(t, "--rate", "0")
	for _, operation := range testsize.Pick([]string{"send", "history"}, []string{"send"}) {
		best := s.best(t, operation, testsize.Pick("3", "1"))
		under := s.overload(t, operation, best, 1500, testsize.Pick("10", "2"))
		after := s.best(t, operation, testsize.Pick("3", "1"))
		t.Logf("%s: %.0f/s before, %.0f under four times that (%d refused), %.0f after", operation, best, under.PerSecond, under.Shed, after)
	}
}

// BenchmarkOverload reports the rate of sends, and of pages of history, under four times the
// load that the server can serve, relative to its best rate, in alternation. With 1,500
// connections it need refuse little; with 5,000 and 10,000 more and more.
func BenchmarkOverload(b *testing.B) {
	for _, operation := range []string{"send", "history"} {
		for _, connections := range []int{1500, 5000, 10000} {
			b.Run(operation+"/"+strconv.Itoa(connections), func(b *testing.B) {
				b.Setenv(tokenVariable, "")
				s := startServer(b, "--rate", "0")
				var best, under, refused float64
				for b.Loop() {
					now := s.best(b, operation, "4")
					best += now
					o := s.overload(b, operation, now, connections, "8")
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
}
