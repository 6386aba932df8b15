// Package metrics exports metrics of the server to Prometheus. data_streams.go has those of data
// streams, metrics.go all others.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics holds the collectors of one server. Other packages call its methods; it imports none of
// them.
type Metrics struct {
	registry *prometheus.Registry

	requests        *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec
	rateLimited     *prometheus.CounterVec
	sentAs          *prometheus.CounterVec
	uploads         *prometheus.CounterVec
	uploadedBytes   prometheus.Counter
	lostFiles       prometheus.Counter
	thumbnails      *prometheus.CounterVec
	thumbnailTime   prometheus.Histogram

	commitSize     prometheus.Histogram
	commitDuration prometheus.Histogram
	commitsFailed  prometheus.Counter
	walBytes       prometheus.Gauge

	streams       prometheus.Gauge
	streamsLagged prometheus.Counter
	delivered     prometheus.Counter
	replayed      prometheus.Counter
	lag           prometheus.Histogram

	transientsDelivered prometheus.Counter
	transientsDropped   prometheus.Counter
	transientLag        prometheus.Histogram

	presendOutcomes *prometheus.CounterVec
	presendFailures *prometheus.CounterVec
	presendDuration prometheus.Histogram

	webhooks          *prometheus.GaugeVec
	webhookDeliveries *prometheus.CounterVec

	erased          *prometheus.CounterVec
	erasureLateness prometheus.Histogram
	trimmed         prometheus.Counter
	shredded        prometheus.Counter
	shredsFailed    prometheus.Counter
	shredDuration   prometheus.Histogram
}

// New returns metrics that are all zero, together with those of the Go runtime
// and the process.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_requests_total", Help: "Requests answered, by operation of the OpenAPI document and status.",
		}, []string{"operation", "status"}),
		requestDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "imapi_request_duration_seconds", Help: "Time to answer a request. An event stream over HTTP/1.1 is counted when it has caught up with the log, any other stream when it ends.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"operation"}),
		rateLimited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_rate_limited_total", Help: "Requests refused by a rate limit, by limit: user, command or address.",
		}, []string{"by"}),
		sentAs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_messages_sent_as_total", Help: "Messages that admins sent as other users, by result: sent, repeated or refused.",
		}, []string{"result"}),
		uploads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_uploads_total", Help: "Uploads of attachments, by result: stored, or the code of the refusal.",
		}, []string{"result"}),
		uploadedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_uploaded_bytes_total", Help: "Bytes of attachments that were stored.",
		}),
		lostFiles: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_lost_files_total", Help: "Downloads that failed because the file of the attachment is missing or damaged.",
		}),
		thumbnails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_thumbnails_total", Help: "Thumbnails, by result: made, failed (there will be none), or retried (the attempt was aborted).",
		}, []string{"result"}),
		thumbnailTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_thumbnail_duration_seconds", Help: "Time to make and store a thumbnail, including failed attempts.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 12),
		}),

		commitSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_commit_batch_size", Help: "Writes per commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		commitDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_commit_duration_seconds", Help: "Duration of a commit with its writes.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		commitsFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_commits_failed_total", Help: "Commits that failed.",
		}),
		walBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "imapi_wal_bytes", Help: "Bytes of the write-ahead log that the last checkpoint did not move into the database.",
		}),

		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "imapi_streams", Help: "Open event streams.",
		}),
		streamsLagged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_streams_lagged_total", Help: "Times that a stream fell behind and went back to reading the log.",
		}),
		delivered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_events_delivered_total", Help: "Events written to streams as they were published.",
		}),
		replayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_events_replayed_total", Help: "Events written to streams from the log.",
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_event_lag_seconds", Help: "Time from an event to its delivery to a stream. Replayed events are not counted.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),

		transientsDelivered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_transient_events_delivered_total", Help: "Events that are not in the log, such as commands, written to streams.",
		}),
		transientsDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_transient_events_dropped_total",
			Help: "Events that are not in the log and that a stream did not get because it was behind, its queue or the hub's was full, or its user had lost access.",
		}),
		transientLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_transient_event_lag_seconds", Help: "Time from an event that is not in the log to its delivery to a stream.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),

		presendOutcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_presend_messages_total",
			Help: "Messages that the pre-send hook was asked about, by outcome: allowed, refused, dropped, rewritten, failed_open or failed_closed.",
		}, []string{"outcome"}),
		presendFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_presend_failures_total", Help: "Questions to which the pre-send hook gave no usable answer, by reason.",
		}, []string{"reason"}),
		presendDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_presend_duration_seconds", Help: "Duration of a question to the pre-send hook, whether answered or not.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		webhooks: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "imapi_webhooks", Help: "Webhooks, by state: active, paused by an admin, or turned off by the server.",
		}, []string{"state"}),
		webhookDeliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_webhook_deliveries_total", Help: "Requests to webhooks, by result: delivered, failed (will be repeated) or skipped (will not).",
		}, []string{"result"}),

		erased: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapi_messages_erased_total", Help: "Messages erased, by reason: revoked, burned or expired.",
		}, []string{"reason"}),
		erasureLateness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_erasure_lateness_seconds", Help: "Time from when a timer was due until its message was erased. Readers see a tombstone as soon as it is due.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 20),
		}),
		trimmed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_messages_trimmed_total", Help: "Messages trimmed because they were past retention, tombstones included.",
		}),
		shredded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_keys_shredded_total", Help: "Keys of erased content that were shredded.",
		}),
		shredsFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapi_shredding_failed_total", Help: "Failed attempts to shred keys. Each is repeated.",
		}),
		shredDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "imapi_shredding_duration_seconds", Help: "Time from the commit of an erasure until its key was shredded: the longest of each batch.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 12),
		}),
	}
	m.registry.MustRegister(
		m.requests, m.requestDuration, m.rateLimited, m.sentAs, m.uploads, m.uploadedBytes, m.lostFiles, m.thumbnails, m.thumbnailTime,
		m.commitSize, m.commitDuration, m.commitsFailed, m.walBytes,
		m.streams, m.streamsLagged, m.delivered, m.replayed, m.lag,
		m.transientsDelivered, m.transientsDropped, m.transientLag,
		m.presendOutcomes, m.presendFailures, m.presendDuration,
		m.webhooks, m.webhookDeliveries,
		m.erased, m.erasureLateness, m.trimmed, m.shredded, m.shredsFailed, m.shredDuration,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "imapi_build_info", Help: "Always 1. The label is the version of the server.",
			ConstLabels: prometheus.Labels{"version": version},
		}, func() float64 { return 1 }),
	)
	// Create the following series now: if a series appeared only with its first value, rate() would
	// miss that value.
	for _, by := range []string{"user", "command", "address"} {
		m.rateLimited.WithLabelValues(by)
	}
	for _, outcome := range []string{"allowed", "refused", "dropped", "rewritten", "failed_open", "failed_closed"} {
		m.presendOutcomes.WithLabelValues(outcome)
	}
	for _, reason := range []string{"timeout", "connect", "dns", "tls", "broken", "address_refused", "status", "answer", "paused"} {
		m.presendFailures.WithLabelValues(reason)
	}
	for _, result := range []string{"sent", "repeated", "refused"} {
		m.sentAs.WithLabelValues(result)
	}
	m.uploads.WithLabelValues(uploadStored)
	for _, result := range []string{"made", "failed", "retried"} {
		m.thumbnails.WithLabelValues(result)
	}
	for _, result := range []string{"delivered", "failed", "skipped"} {
		m.webhookDeliveries.WithLabelValues(result)
	}
	return m
}

// Handler serves all metrics in the text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Request counts an answered request.
func (m *Metrics) Request(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
	m.requestDuration.WithLabelValues(operation).Observe(took.Seconds())
}

// RateLimited counts a request refused by a rate limit; by is "user", "command" or
// "address".
func (m *Metrics) RateLimited(by string) { m.rateLimited.WithLabelValues(by).Inc() }

// SentAs counts a message that an admin sent as another user; result is "sent", "repeated" or
// "refused".
func (m *Metrics) SentAs(result string) { m.sentAs.WithLabelValues(result).Inc() }

// uploadStored is the result of an upload that was stored.
const uploadStored = "stored"

// Uploaded counts an upload and, if it was stored, its bytes. result is "stored" or the code of the
// refusal.
func (m *Metrics) Uploaded(result string, bytes int64) {
	m.uploads.WithLabelValues(result).Inc()
	if result == uploadStored {
		m.uploadedBytes.Add(float64(bytes))
	}
}

// LostFile counts a download of an attachment whose file is missing or damaged.
func (m *Metrics) LostFile() { m.lostFiles.Inc() }

// Attachments exports the number of attachments and of their bytes. Each scrape calls use.
func (m *Metrics) Attachments(use func() (files, bytes int64)) {
	m.gauge("imapi_attachments", "Attachments that are stored.",
		func() float64 { files, _ := use(); return float64(files) })
	m.gauge("imapi_attachment_bytes", "Bytes of the attachments that are stored.",
		func() float64 { _, bytes := use(); return float64(bytes) })
}

// Thumbnail counts an attempt to make a thumbnail. result is "made", "failed" or "retried".
func (m *Metrics) Thumbnail(result string, took time.Duration) {
	m.thumbnails.WithLabelValues(result).Inc()
	m.thumbnailTime.Observe(took.Seconds())
}

// ThumbnailsWaiting exports the number of waiting thumbnails. Each scrape calls waiting.
func (m *Metrics) ThumbnailsWaiting(waiting func() float64) {
	m.gauge("imapi_thumbnails_waiting", "Thumbnails that wait to be made, counted up to 10,000.", waiting)
}

// Commit counts a commit of size writes. If it failed, only the failure is counted.
func (m *Metrics) Commit(size int, took time.Duration, failed bool) {
	if failed {
		m.commitsFailed.Inc()
		return
	}
	m.commitSize.Observe(float64(size))
	m.commitDuration.Observe(took.Seconds())
}

// WriteAheadLog sets the number of bytes of the write-ahead log that are not in the database yet.
func (m *Metrics) WriteAheadLog(bytes int64) { m.walBytes.Set(float64(bytes)) }

// StreamsOpen sets the number of open streams.
func (m *Metrics) StreamsOpen(n int) { m.streams.Set(float64(n)) }

// StreamsLagged counts n streams that fell back to reading the log.
func (m *Metrics) StreamsLagged(n int) { m.streamsLagged.Add(float64(n)) }

// TransientDelivered counts a transient event delivered to a stream, lag after it happened.
func (m *Metrics) TransientDelivered(lag time.Duration) {
	m.transientsDelivered.Inc()
	m.transientLag.Observe(lag.Seconds())
}

// TransientsDropped adds n to the count of transient events that a stream did not get. One that the
// hub dropped for all streams counts once.
func (m *Metrics) TransientsDropped(n int) { m.transientsDropped.Add(float64(n)) }

// EventDelivered counts an event delivered to a stream as it was published,
// lag after it happened.
func (m *Metrics) EventDelivered(lag time.Duration) {
	m.delivered.Inc()
	m.lag.Observe(lag.Seconds())
}

// EventsReplayed counts n events delivered to a stream from the log.
func (m *Metrics) EventsReplayed(n int) { m.replayed.Add(float64(n)) }

// PresendOutcome counts a message that the pre-send hook was asked about.
func (m *Metrics) PresendOutcome(outcome string) { m.presendOutcomes.WithLabelValues(outcome).Inc() }

// PresendAsked records a question to the pre-send hook; why is the reason if there is no answer,
// otherwise "". The duration is not recorded if the hook was not asked.
func (m *Metrics) PresendAsked(took time.Duration, why string) {
	if why != "" {
		m.presendFailures.WithLabelValues(why).Inc()
	}
	if took > 0 {
		m.presendDuration.Observe(took.Seconds())
	}
}

// Erased counts an erased message; reason is "revoked", "burned" or "expired".
func (m *Metrics) Erased(reason string) { m.erased.WithLabelValues(reason).Inc() }

// ErasedLate records how late a timer erased a message.
func (m *Metrics) ErasedLate(late time.Duration) { m.erasureLateness.Observe(late.Seconds()) }

// Trimmed counts messages that were trimmed because they were past retention.
func (m *Metrics) Trimmed(messages int64) { m.trimmed.Add(float64(messages)) }

// Shredded counts a batch of shredded keys. The delay is the time since the
// commit of the erasure that waited longest. If failed, the batch was not
// shredded, and only the failure is counted.
func (m *Metrics) Shredded(keys int, delay time.Duration, failed bool) {
	if failed {
		m.shredsFailed.Inc()
		return
	}
	m.shredded.Add(float64(keys))
	m.shredDuration.Observe(delay.Seconds())
}

// WebhookStates sets the number of webhooks in each state.
func (m *Metrics) WebhookStates(active, paused, off int) {
	m.webhooks.WithLabelValues("active").Set(float64(active))
	m.webhooks.WithLabelValues("paused").Set(float64(paused))
	m.webhooks.WithLabelValues("off").Set(float64(off))
}

// WebhookAttempted counts a request to a webhook; result is "delivered",
// "failed" or "skipped".
func (m *Metrics) WebhookAttempted(result string) { m.webhookDeliveries.WithLabelValues(result).Inc() }

// WebhookLag exports how far webhooks are behind the log. Each scrape calls lag.
func (m *Metrics) WebhookLag(lag func() time.Duration) {
	m.gauge("imapi_webhook_lag_seconds", "Age of the oldest event that an active webhook has yet to get; 0 if there is none.",
		func() float64 { return lag().Seconds() })
}

// OldestMessage exports the age of the oldest stored message. Each scrape calls created, which
// returns false if there is none.
func (m *Metrics) OldestMessage(created func() (time.Time, bool)) {
	m.gauge("imapi_oldest_message_age_seconds", "Age of the oldest stored message, tombstones included; 0 if there is none.",
		func() float64 {
			at, found := created()
			if !found {
				return 0
			}
			return time.Since(at).Seconds()
		})
}

// ClockGuard exports the remaining time in which nothing is trimmed and no unused attachment is
// deleted by age, because the clock jumped ahead. Each scrape calls held.
func (m *Metrics) ClockGuard(held func() time.Duration) {
	m.gauge("imapi_clock_guard_seconds", "Remaining time in which nothing is trimmed and no unused attachment is deleted by age, because the clock jumped ahead; 0 while the clock is trusted.",
		func() float64 { return held().Seconds() })
}

// Unshredded exports the number of keys that wait to be shredded, and how long the oldest has
// waited. Each scrape calls waits.
func (m *Metrics) Unshredded(waits func() (keys int, waited time.Duration)) {
	m.gauge("imapi_shredding_waiting", "Keys of erased content that are not shredded yet.",
		func() float64 { keys, _ := waits(); return float64(keys) })
	m.gauge("imapi_shredding_waiting_seconds", "Time that the oldest key of erased content has waited to be shredded; 0 if none waits.",
		func() float64 { _, waited := waits(); return waited.Seconds() })
}

// SearchState is the state of the search index.
type SearchState struct {
	Waiting   int   // messages indexed in memory, and not in the file yet
	Deletions int   // erased messages whose entries are still in the file
	Complete  bool  // false while the index is being rebuilt or checked
	Failures  int64 // failed writes to the file
}

// SearchIndex exports the state of the search index. Each scrape calls state.
func (m *Metrics) SearchIndex(state func() SearchState) {
	m.gauge("imapi_search_waiting", "Messages that are in the search index in memory, and not in its file yet.",
		func() float64 { return float64(state().Waiting) })
	m.gauge("imapi_search_deletions_waiting", "Erased messages whose entries are still in the file of the search index.",
		func() float64 { return float64(state().Deletions) })
	m.gauge("imapi_search_complete", "0 while the search index is being rebuilt or checked, and older messages are scanned instead; 1 otherwise.",
		func() float64 {
			if state().Complete {
				return 1
			}
			return 0
		})
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "imapi_search_failures_total", Help: "Failed writes to the file of the search index. Each is repeated.",
	}, func() float64 { return float64(state().Failures) }))
}

// gauge registers a gauge whose value is computed at each scrape.
func (m *Metrics) gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}
