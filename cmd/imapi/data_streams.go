package main

import (
	"github.com/imapi/imapi/datastreams"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/metrics"
)

// dataStreamConfig is the configuration of data streams.
type dataStreamConfig struct {
	on                  string
	maxFrameBytes       int
	max, maxPerUser     int
	maxReaders          int
	bufferBytes, buffer int
	rate                int
}

// dataStreams adds the flags of data streams.
func (f *flags) dataStreams(c *dataStreamConfig) {
	f.StringVar(&c.on, "streams", "on", "whether the server has data streams: `on or off`")
	f.IntVar(&c.maxFrameBytes, "max-frame-bytes", 1<<20, "the maximum `number` of bytes of a frame of a data stream")
	f.IntVar(&c.max, "max-data-streams", 10_000, "the maximum `number` of data streams in all")
	f.IntVar(&c.maxPerUser, "max-data-streams-per-user", 32, "the maximum `number` of data streams of a user")
	f.IntVar(&c.maxReaders, "max-stream-readers", 5000, "the maximum `number` of readers of a data stream")
	f.IntVar(&c.buffer, "stream-buffer-bytes", 4<<20, "the `number` of bytes of memory that the buffer of a data stream may take; at least four times --max-frame-bytes")
	f.IntVar(&c.bufferBytes, "stream-buffers-bytes", 256<<20, "the `number` of bytes of memory that the buffers of all data streams may take; the largest ones shrink first")
	f.IntVar(&c.rate, "stream-rate", 1<<20, "the `number` of bytes a second that a user may push to data streams; a frame counts as its body and 160 bytes; bursts may be four times that")
}

// Bounds of the flags. A frame is in memory several times while it is read and encoded.
const (
	maxFrameBytes  = 16 << 20
	maxBufferBytes = 1 << 40
)

// fault returns an error if the configuration is invalid.
func (c dataStreamConfig) fault() error {
	switch {
	case c.on != "on" && c.on != "off":
		return misuse("--streams: must be on or off")
	case c.maxFrameBytes < 1 || c.maxFrameBytes > maxFrameBytes:
		return misuse("--max-frame-bytes: must be 1 to %d", maxFrameBytes)
	case c.max < 1 || c.maxPerUser < 1 || c.maxReaders < 1:
		return misuse("--max-data-streams, --max-data-streams-per-user, --max-stream-readers: must be at least 1")
	case c.buffer < 4*c.maxFrameBytes || c.buffer > maxBufferBytes:
		return misuse("--stream-buffer-bytes: must be %d, which is four times --max-frame-bytes, to %d", 4*c.maxFrameBytes, maxBufferBytes)
	case c.bufferBytes < c.buffer || c.bufferBytes > maxBufferBytes:
		return misuse("--stream-buffers-bytes: must be %d, which is --stream-buffer-bytes, to %d", c.buffer, maxBufferBytes)
	case c.rate < 1:
		return misuse("--stream-rate: must be at least 1")
	default:
		return nil
	}
}

// openDataStreams starts the hub of data streams, unless they are off.
func (n *node) openDataStreams() {
	c := n.config.dataStreams
	if c.on != "on" {
		return
	}
	n.streams = datastreams.NewHub(datastreams.Options{
		Domain: n.service, Publish: func(notice datastreams.Notice) { n.hub.PublishTransient(handlers.StreamNotice(notice)) },
		Logger: n.log, Leeway: n.config.leeway,
		MaxFrameBytes: c.maxFrameBytes, MaxStreams: c.max, MaxStreamsPerUser: c.maxPerUser, MaxReaders: c.maxReaders,
		StreamBytes: c.buffer, Bytes: c.bufferBytes, Rate: c.rate,
	})
	var reasons []string
	for reason := range n.streams.Stats().Ended {
		reasons = append(reasons, reason.String())
	}
	n.metrics.DataStreams(reasons, func() metrics.DataStreams {
		s := n.streams.Stats()
		out := metrics.DataStreams{
			Running: s.Streams, Readers: s.Readers, Publishers: s.Publishers, BufferBytes: s.Bytes,
			Pushed: s.Pushed, Delivered: s.Delivered, Lost: s.Lost, Ended: make(map[string]int64, len(s.Ended)),
		}
		for reason, times := range s.Ended {
			out.Ended[reason.String()] = times
		}
		return out
	})
}
