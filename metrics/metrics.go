// Package metrics counts what the server does, for Prometheus.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the counters of one server. Its methods are what the other
// packages report to; it knows none of them.
type Metrics struct {
	registry *prometheus.Registry

	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	rateLimited    *prometheus.CounterVec

	commitSize    prometheus.Histogram
	commitSeconds prometheus.Histogram
	commitsFailed prometheus.Counter
	unmoved       prometheus.Gauge

	streams  prometheus.Gauge
	told     prometheus.Counter
	replayed prometheus.Counter
	lagged   prometheus.Counter
	lag      prometheus.Histogram

	erased                 *prometheus.CounterVec
	lateness               prometheus.Histogram
	removed                prometheus.Counter
	shredded, shredsFailed prometheus.Counter
	shredSeconds           prometheus.Histogram
}

// New returns counters at zero, and with them those of the Go runtime and the
// process.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_requests_total", Help: "Requests answered, by operation of the API document and status.",
		}, []string{"operation", "status"}),
		requestSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "imapi_request_seconds", Help: "Time to answer a request; streams count when they end.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"operation"}),
		rateLimited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_rate_limited_total", Help: "Requests refused because there were too many, by whose limit it was.",
		}, []string{"by"}),
		commitSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_commit_batch_size", Help: "Writes that shared a commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_commit_seconds", Help: "Time of a commit with its writes.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		commitsFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_commits_failed_total", Help: "Commits that were not made.",
		}),
		unmoved: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "imapi_wal_bytes", Help: "Bytes of the write-ahead log that are not in the database yet, when it was last looked at.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "imapi_streams", Help: "Event streams that are open.",
		}),
		told: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_events_told_total", Help: "Events written to streams as they happened.",
		}),
		replayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_events_replayed_total", Help: "Events written to streams from the log.",
		}),
		lagged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_streams_lagged_total", Help: "Times that a stream fell back to reading the log.",
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_event_lag_seconds", Help: "Time from an event to its being written to a stream, as it happened.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		erased: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_erased_total", Help: "Messages that were taken back, by how.",
		}, []string{"how"}),
		lateness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_erasure_lateness_seconds", Help: "How long after it was due a message was erased; readers see a tombstone from when it is due.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 20),
		}),
	}
	m.shredded = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "imapi_keys_shredded_total", Help: "Keys of erased content that were destroyed.",
	})
	m.shredsFailed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "imapi_shredding_failed_total", Help: "Times that keys could not be destroyed, which is tried again.",
	})
	m.shredSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "imapi_shredding_seconds", Help: "Time from the commit of an erasure to the destruction of its key, of the longest in each batch.",
		Buckets: prometheus.ExponentialBuckets(0.01, 2, 12),
	})
	m.removed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "imapi_retention_removed_total", Help: "Messages, tombstones too, that were removed because they were past retention.",
	})
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "imapi_build_info", Help: "Always 1; the label tells the version.",
		ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	for _, by := range []string{"user", "address"} {
		m.rateLimited.WithLabelValues(by) // there from the start, to be watched
	}
	m.registry.MustRegister(
		m.requests, m.requestSeconds, m.rateLimited, m.commitSize, m.commitSeconds, m.commitsFailed, m.unmoved,
		m.streams, m.told, m.replayed, m.lagged, m.lag, m.erased, m.lateness, m.removed, build,
		m.shredded, m.shredsFailed, m.shredSeconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler answers with all of them in the text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Request counts an answered request.
func (m *Metrics) Request(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
	m.requestSeconds.WithLabelValues(operation).Observe(took.Seconds())
}

// RateLimited counts a request that was refused by the rate limit of its user or
// address.
func (m *Metrics) RateLimited(by string) { m.rateLimited.WithLabelValues(by).Inc() }

// Commit counts a commit of size writes.
func (m *Metrics) Commit(size int, took time.Duration, failed bool) {
	if failed {
		m.commitsFailed.Inc()
		return
	}
	m.commitSize.Observe(float64(size))
	m.commitSeconds.Observe(took.Seconds())
}

// WriteAheadLog tells how many bytes of the write-ahead log are not in the database yet.
func (m *Metrics) WriteAheadLog(unmoved int64) { m.unmoved.Set(float64(unmoved)) }

// StreamsOpen tells how many streams there are now.
func (m *Metrics) StreamsOpen(n int) { m.streams.Set(float64(n)) }

// EventTold tells that a stream was told an event as it happened, and how long
// after it did.
func (m *Metrics) EventTold(lag time.Duration) {
	m.told.Inc()
	m.lag.Observe(lag.Seconds())
}

// EventsReplayed tells that a stream was told events from the log.
func (m *Metrics) EventsReplayed(n int) { m.replayed.Add(float64(n)) }

// StreamsLagged tells that streams fell back to reading the log.
func (m *Metrics) StreamsLagged(n int) { m.lagged.Add(float64(n)) }

// OldestMessage has the age of the oldest message that is kept asked for, false
// for none, whenever somebody wants to know.
func (m *Metrics) OldestMessage(created func() (time.Time, bool)) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "imapi_oldest_message_age_seconds", Help: "Age of the oldest message that is kept, tombstones too; 0 without any.",
	}, func() float64 {
		at, found := created()
		if !found {
			return 0
		}
		return time.Since(at).Seconds()
	}))
}

// ClockHeld has it asked for how much longer nothing is removed because the clock
// jumped ahead, whenever somebody wants to know.
func (m *Metrics) ClockHeld(held func() time.Duration) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "imapi_clock_guard_seconds", Help: "For how much longer nothing is removed by time, because the clock jumped ahead; 0 while it is trusted.",
	}, func() float64 { return held().Seconds() }))
}

// Unshredded has it asked how many keys wait to be shredded, and for how long the longest
// has, whenever somebody wants to know.
func (m *Metrics) Unshredded(waits func() (keys int, waited time.Duration)) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "imapi_shredding_waiting", Help: "Keys of erased content that are not yet destroyed.",
		}, func() float64 { keys, _ := waits(); return float64(keys) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "imapi_shredding_waiting_seconds", Help: "For how long the key has waited that waits longest; 0 while none does.",
		}, func() float64 { _, waited := waits(); return waited.Seconds() }),
	)
}

// SearchState is how the search index is.
type SearchState struct {
	Waiting, Removals int
	Complete          bool
	Failures          int64
}

// SearchIndex has it asked how the search index is, whenever somebody wants to know.
func (m *Metrics) SearchIndex(state func() SearchState) {
	gauge := func(name, help string, value func(SearchState) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(state()) }))
	}
	gauge("imapi_search_waiting", "Messages that are in the search index in memory, and not in its file yet.",
		func(s SearchState) float64 { return float64(s.Waiting) })
	gauge("imapi_search_removals_waiting", "Erased messages that are not yet taken out of the file of the search index.",
		func(s SearchState) float64 { return float64(s.Removals) })
	gauge("imapi_search_complete", "0 while the search index is compared with the messages or made anew, and older ones are looked at one by one; else 1.",
		func(s SearchState) float64 {
			if s.Complete {
				return 1
			}
			return 0
		})
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "imapi_search_failures_total", Help: "Times that the file of the search index could not be written.",
	}, func() float64 { return float64(state().Failures) }))
}

// Shredded tells of a batch of keys that were destroyed, and how long after the commit of
// the erasure that waited longest, or that they could not be.
func (m *Metrics) Shredded(keys int, delay time.Duration, failed bool) {
	if failed {
		m.shredsFailed.Inc()
		return
	}
	m.shredded.Add(float64(keys))
	m.shredSeconds.Observe(delay.Seconds())
}

// Removed counts messages that were removed because they were past retention.
func (m *Metrics) Removed(messages int64) { m.removed.Add(float64(messages)) }

// Erased counts a message that was taken back, and how.
func (m *Metrics) Erased(how string) { m.erased.WithLabelValues(how).Inc() }

// ErasedLate tells how long after it was due a timer erased a message.
func (m *Metrics) ErasedLate(late time.Duration) { m.lateness.Observe(late.Seconds()) }
