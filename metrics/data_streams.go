package metrics

import "github.com/prometheus/client_golang/prometheus"

// DataStreams are figures of data streams: the current state, and counts since the start.
type DataStreams struct {
	Running, Readers, Publishers int
	BufferBytes                  int64
	Pushed, Delivered, Lost      int64
	Ended                        map[string]int64 // by reason
}

// DataStreams exports the figures of data streams. reasons are all the reasons for which they end.
// Each scrape calls state several times.
func (m *Metrics) DataStreams(reasons []string, state func() DataStreams) {
	m.gauge("imapi_data_streams", "Running data streams.", func() float64 { return float64(state().Running) })
	m.gauge("imapi_data_stream_readers", "Requests that read a data stream.", func() float64 { return float64(state().Readers) })
	m.gauge("imapi_data_stream_publishers", "Requests that push frames to a data stream.", func() float64 { return float64(state().Publishers) })
	m.gauge("imapi_data_stream_buffer_bytes", "Bytes of memory of the buffers of all data streams.", func() float64 { return float64(state().BufferBytes) })
	m.registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "imapi_data_stream_frames_pushed_total", Help: "Frames pushed to data streams.",
		}, func() float64 { return float64(state().Pushed) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "imapi_data_stream_frames_delivered_total", Help: "Frames written to readers of data streams.",
		}, func() float64 { return float64(state().Delivered) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "imapi_data_stream_frames_lost_total", Help: "Frames that readers of data streams lost because they were too slow or came too late.",
		}, func() float64 { return float64(state().Lost) }),
	)
	for _, reason := range reasons {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "imapi_data_streams_ended_total", Help: "Data streams that ended, by reason.", ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(state().Ended[reason]) }))
	}
}
