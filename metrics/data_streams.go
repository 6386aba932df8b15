package metrics

import "github.com/prometheus/client_golang/prometheus"

// DataStreams are figures of data streams: what there is now, and counts since the start.
type DataStreams struct {
	Running, Readers, Publishers int
	BufferBytes                  int64
	Pushed, Delivered, Lost      int64
	Ended                        map[string]int64 // by reason
}

// DataStreams exports the figures of data streams. Each scrape calls state.
func (m *Metrics) DataStreams(state func() DataStreams) {
	m.registry.MustRegister(&dataStreams{state: state, descs: []*prometheus.Desc{
		desc("imapi_data_streams", "Running data streams."),
		desc("imapi_data_stream_readers", "Requests that read a data stream."),
		desc("imapi_data_stream_publishers", "Requests that push frames to a data stream."),
		desc("imapi_data_stream_buffer_bytes", "Memory of the buffers of all data streams."),
		desc("imapi_data_stream_frames_pushed_total", "Frames pushed to data streams."),
		desc("imapi_data_stream_frames_delivered_total", "Frames written to readers of data streams."),
		desc("imapi_data_stream_frames_lost_total", "Frames that readers of data streams lost because they were too slow or came too late."),
	}, ended: prometheus.NewDesc("imapi_data_streams_ended_total", "Data streams that ended, by reason: owner, idle, message, deleted or server.", []string{"reason"}, nil)})
}

func desc(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

// dataStreams collects all figures at once, so that they are of the same time.
type dataStreams struct {
	state func() DataStreams
	descs []*prometheus.Desc
	ended *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (d *dataStreams) Describe(out chan<- *prometheus.Desc) {
	for _, one := range d.descs {
		out <- one
	}
	out <- d.ended
}

// Collect implements [prometheus.Collector].
func (d *dataStreams) Collect(out chan<- prometheus.Metric) {
	s := d.state()
	for i, v := range []float64{
		float64(s.Running), float64(s.Readers), float64(s.Publishers), float64(s.BufferBytes),
		float64(s.Pushed), float64(s.Delivered), float64(s.Lost),
	} {
		kind := prometheus.GaugeValue
		if i >= 4 { // from there on they are counts
			kind = prometheus.CounterValue
		}
		out <- prometheus.MustNewConstMetric(d.descs[i], kind, v)
	}
	for reason, n := range s.Ended {
		out <- prometheus.MustNewConstMetric(d.ended, prometheus.CounterValue, float64(n), reason)
	}
}
