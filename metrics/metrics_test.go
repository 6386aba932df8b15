package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// full returns metrics with a value in every series.
func full() *Metrics {
	m := New("dev")
	m.Request("sendMessage", 201, time.Millisecond)
	m.Commit(3, time.Millisecond, false)
	m.EventDelivered(time.Millisecond)
	m.Erased("revoked")
	m.ErasedLate(time.Millisecond)
	m.Shredded(3, time.Second, false)
	m.OldestMessage(func() (time.Time, bool) { return time.Time{}, false })
	m.ClockGuard(func() time.Duration { return 0 })
	m.Attachments(func() (int64, int64) { return 0, 0 })
	m.ThumbnailsWaiting(func() float64 { return 0 })
	m.Thumbnail("made", time.Second)
	m.Unshredded(func() (int, time.Duration) { return 3, time.Second })
	m.SearchIndex(func() SearchState { return SearchState{} })
	m.DataStreams([]string{"idle", "owner"}, func() DataStreams { return DataStreams{} })
	return m
}

// TestNames checks names, units and help texts against the conventions of Prometheus, including
// those of metrics that are known only at run time.
func TestNames(t *testing.T) {
	families, err := full().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestFailuresAreOnlyCounted: a failed commit or a failed attempt to shred must not
// look like a fast one in the histograms.
func TestFailuresAreOnlyCounted(t *testing.T) {
	m := New("dev")
	m.Commit(3, time.Second, true)
	m.Shredded(3, time.Second, true)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		switch metric := f.GetMetric()[0]; {
		case metric.GetCounter() != nil:
			got[f.GetName()] = metric.GetCounter().GetValue()
		case metric.GetHistogram() != nil:
			got[f.GetName()] = float64(metric.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"imapi_commits_failed_total":       1,
		"imapi_commit_batch_size":          0,
		"imapi_commit_duration_seconds":    0,
		"imapi_shredding_failed_total":     1,
		"imapi_keys_shredded_total":        0,
		"imapi_shredding_duration_seconds": 0,
	} {
		if v, found := got[name]; !found || v != want {
			t.Errorf("%s is %v (found %t), want %v", name, v, found, want)
		}
	}
}
