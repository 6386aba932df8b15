package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"sync"
)

// StreamItem is what a reader of a data stream receives: a frame, a gap or the end.
type StreamItem struct {
	// Frame is the frame, nil if the item is not one.
	Frame *Frame
	// Lost is the number of frames lost at this point, 0 if the item is not a gap.
	Lost int64
	// Ended describes how the data stream ended; nil if the item is not the end.
	Ended *StreamEnd
}

// Frame is a frame of a data stream. It has one of Text, JSON and Base64.
type Frame struct {
	// ID rises by one from frame to frame, from 1 on.
	ID int64 `json:"id"`
	// From is the user who pushed the frame.
	From UserID `json:"from"`
	// Dtype says what the data is, as the application defines.
	Dtype uint8           `json:"dtype"`
	Text  *string         `json:"text"`
	JSON  json.RawMessage `json:"json"`
	// Base64 has the bytes, decoded.
	Base64 []byte `json:"base64"`
}

// StreamEnd is how a data stream ended.
type StreamEnd struct {
	Reason StreamEndReason `json:"reason"`
	// MessageID is the id of the final message, "" if there is none.
	MessageID string `json:"message_id"`
}

// Frames reads a data stream: from the oldest frame that the server has, or after the one
// that o.Cursor names by its id. It reconnects by itself, and yields each frame once and in
// order, a gap where frames were lost, and the end as the last item.
//
// The iteration ends with an error in the same cases as that of [Client.Events]. If the data stream
// ended more than a minute ago, the error is a [*Problem] with the code stream_not_found.
func (c *Client) Frames(ctx context.Context, stream string, o EventsOptions) iter.Seq2[StreamItem, error] {
	return func(yield func(StreamItem, error) bool) {
		s := newStream(c, "v1/streams/"+url.PathEscape(stream)+"/events", o)
		next := int64(0)
		if last, err := strconv.ParseInt(o.Cursor, 10, 64); err == nil {
			next = last + 1
		}
		s.handle = func(b block) (ending, bool) {
			item, err := readItem(b)
			if err != nil {
				return ending{err: err, final: true}, false
			}
			if f := item.Frame; f != nil {
				if f.ID < next {
					return ending{}, true // after a reconnection
				}
				next = f.ID + 1
			}
			known := item.Frame != nil || item.Lost > 0 || item.Ended != nil
			if known && !yield(item, nil) || item.Ended != nil {
				return ending{stopped: true}, false
			}
			s.move(b)
			return ending{}, true
		}
		if err := s.follow(ctx); err != nil {
			yield(StreamItem{}, err)
		}
	}
}

// readItem reads the event of a block. A heartbeat, or an event that this client does not
// know, is the zero StreamItem.
func readItem(b block) (item StreamItem, err error) {
	if !b.hasData {
		return item, nil
	}
	switch b.event {
	case "stream.frame":
		item.Frame = new(Frame)
		err = json.Unmarshal(b.data, item.Frame)
	case "stream.gap":
		err = json.Unmarshal(b.data, &struct {
			Lost *int64 `json:"lost"`
		}{&item.Lost})
	case "stream.ended":
		item.Ended = new(StreamEnd)
		err = json.Unmarshal(b.data, item.Ended)
	}
	if err != nil {
		return item, fmt.Errorf("client: decode an event of a data stream: %w", err)
	}
	return item, nil
}

// Pusher pushes frames to a data stream over one open request. Its methods must not be called
// at the same time. A method that pushes returns once the frame is on its way; what the server has
// taken is known from [Pusher.Close]. If the request has ended, the methods return the reason.
// dtype says what the data is, as the application defines.
type Pusher struct {
	frames *json.Encoder
	body   *io.PipeWriter
	done   chan struct{} // closed when the request was answered
	cancel context.CancelFunc

	pushed PushedFrames // set before done is closed
	err    error
	once   sync.Once
}

// Push opens a request that pushes frames; the caller must call [Pusher.Close]. as is the user who
// sends the frames: "" is the user of the token, and any other user requires the scope admin. The
// request ends with ctx.
func (c *Client) Push(ctx context.Context, stream, as string) (*Pusher, error) {
	ctx, cancel := context.WithCancel(ctx)
	in, out := io.Pipe()
	address := c.server + "v1/streams/" + url.PathEscape(stream) + "/frames"
	if as != "" {
		address += "?as=" + url.QueryEscape(as)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, in)
	if err == nil {
		request.Header.Set("Content-Type", "application/x-ndjson")
		err = c.identify(ctx, request)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	p := &Pusher{frames: json.NewEncoder(out), body: out, done: make(chan struct{}), cancel: cancel}
	p.frames.SetEscapeHTML(false)
	go func() {
		defer close(p.done)
		p.pushed, p.err = c.pushed(request)
		_ = in.Close() // a later frame fails
	}()
	return p, nil
}

var errPushEnded = errors.New("client: the request that pushes frames has ended")

// pushed sends a request that pushes frames, and returns its answer.
func (c *Client) pushed(request *http.Request) (frames PushedFrames, err error) {
	response, err := refusing{c.stream}.Do(request)
	if err != nil {
		return frames, err
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&frames); err != nil {
		return frames, fmt.Errorf("client: decode the answer: %w", err)
	}
	return frames, nil
}

// Text pushes text.
func (p *Pusher) Text(dtype uint8, text string) error {
	return p.push(dtype, PushFrame{Text: &text})
}

// JSON pushes a value as JSON.
func (p *Pusher) JSON(dtype uint8, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("client: encode a frame: %w", err)
	}
	return p.push(dtype, PushFrame{JSON: b})
}

// Bytes pushes bytes.
func (p *Pusher) Bytes(dtype uint8, b []byte) error {
	if b == nil {
		b = []byte{}
	}
	// PushFrame would leave out an empty slice.
	return p.write(map[string]any{"dtype": dtype, "base64": b})
}

func (p *Pusher) push(dtype uint8, f PushFrame) error {
	d := int32(dtype)
	f.Dtype = &d
	return p.write(f)
}

// write sends a frame. If the request has ended, it returns the reason.
func (p *Pusher) write(frame any) error {
	err := p.frames.Encode(frame)
	if !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	// The transport closes the body of a refused request before Do returns the refusal.
	<-p.done
	if p.err != nil {
		return p.err
	}
	return errPushEnded
}

// Close ends the request and returns the number of frames that were pushed, and the id of the last
// one. A refusal by the server is a [*Problem], which says how many were pushed before it.
func (p *Pusher) Close() (PushedFrames, error) {
	p.once.Do(func() {
		_ = p.body.Close()
		<-p.done
		p.cancel()
	})
	return p.pushed, p.err
}
