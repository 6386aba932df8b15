package datastreams

import (
	"slices"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// End is how a data stream ended.
type End struct {
	Reason im.StreamEndReason
	// Message is the final message, 0 if there is none.
	Message im.ID
	At      time.Time
	// clientID is the client_id that the message was sent with.
	clientID string
	// onlyFor is the sender if the pre-send hook dropped the message, because nobody else may learn
	// of it; otherwise "".
	onlyFor im.UserID
}

// as returns the end as a user may see it.
func (e *End) as(user im.UserID) *End {
	if e == nil || e.onlyFor == "" || e.onlyFor == user {
		return e
	}
	return &End{Reason: im.StreamEndedByOwner, At: e.At}
}

// View is a data stream as clients see it.
type View struct {
	im.DataStream
	// Readers and Publishers are sorted.
	Readers, Publishers []im.UserID
	// First is the id of the oldest frame of the buffer, and Next that of the next frame. After the
	// end, First is Next.
	First, Next int64
	End         *End // nil while it runs
}

// stream is a data stream.
type stream struct {
	hub    *Hub
	number int64 // increases from one data stream to the next

	// ending is held while the data stream is ended by a request, so that a repetition waits
	// for the first one.
	ending sync.Mutex

	mu      sync.Mutex
	is      im.DataStream
	clients map[*attached]struct{}
	readers int
	end     *End // nil while it runs
	// endedAt is when it ended, and dropAt when the buffer is dropped. Unlike the time in end, they
	// have a monotonic reading: setting the wall clock must not cost readers the rest, or a client
	// the news of the end.
	endedAt, dropAt time.Time
	active          time.Time // of the last frame
	held            int       // the number of requests that are ending it; while there are any, it is not idle

	// frames[head:] are the buffer. The id of frames[head] is first.
	frames []*frame
	head   int
	first  int64
	bytes  int // the sum of the sizes of the frames
	// taken is an id: every reader that is not stuck has taken all frames below it.
	taken int64
	// waiting are readers that have taken all frames.
	waiting []*Reader
}

// next returns the id of the next frame. The caller holds mu.
func (s *stream) next() int64 { return s.first + int64(len(s.frames)-s.head) }

// at returns the frame of the buffer with an id. The caller holds mu.
func (s *stream) at(id int64) *frame { return s.frames[s.head+int(id-s.first)] }

// evict drops the oldest frame. The caller holds mu.
func (s *stream) evict() {
	s.addBytes(-s.frames[s.head].size)
	s.frames[s.head] = nil
	s.head++
	s.first++
	if s.head >= 64 && 2*s.head >= len(s.frames) {
		n := copy(s.frames, s.frames[s.head:])
		clear(s.frames[n:])
		s.frames, s.head = s.frames[:n], 0
	}
}

// drop drops all frames. The caller holds mu.
func (s *stream) drop() {
	s.first = s.next()
	s.addBytes(-s.bytes)
	s.frames, s.head, s.waiting = nil, 0, nil
}

// addBytes counts bytes of the buffer. The caller holds mu.
func (s *stream) addBytes(n int) {
	s.bytes += n
	s.hub.bytes.Add(int64(n))
}

// shrinkTo drops the oldest frames until the buffer takes at most size bytes.
func (s *stream) shrinkTo(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes > size && s.head < len(s.frames) {
		s.evict()
	}
}

// push appends a frame and returns its id. Before it drops a frame that readers have not taken yet,
// it waits for them, so that readers who keep up lose nothing in a burst. It does not wait for
// stuck readers, so it never waits for long.
func (s *stream) push(p *Publisher, payload Payload) (int64, error) {
	f := &frame{Payload: payload, from: p.from}
	s.mu.Lock()
	f.size = frameOverhead + len(payload.binary)
	if s.readers > 0 {
		f.guess = f.eventSize() // until it is encoded
		f.size += f.guess
	}
	var until time.Time
	for {
		if p.err != nil {
			s.mu.Unlock()
			return 0, p.err
		}
		if s.makeRoom(f.size, until) {
			break
		}
		if until.IsZero() {
			until = time.Now().Add(s.hub.patience)
		}
		s.mu.Unlock()
		p.sleep(readerWait)
		s.mu.Lock()
	}
	f.id = s.next()
	s.frames = append(s.frames, f)
	s.addBytes(f.size)
	s.active = s.hub.opts.Now()
	p.frames, p.last = p.frames+1, f.id
	waiting := s.waiting
	s.waiting = nil
	for _, r := range waiting {
		r.waits = false
	}
	s.mu.Unlock()
	for _, r := range waiting {
		r.signal()
	}
	s.hub.pushed.Add(1)
	s.hub.shrink()
	return f.id, nil
}

// readerWait is the interval at which a waiting publisher checks on the readers.
const readerWait = time.Millisecond

// makeRoom drops old frames until there is room for one of the given size. It returns false if the
// caller must first wait for readers. Once until has passed, it drops frames that readers have not
// taken; a zero until never passes. The caller holds mu.
func (s *stream) makeRoom(size int, until time.Time) bool {
	for s.bytes+size > s.hub.opts.StreamBytes && s.head < len(s.frames) {
		if s.first >= s.taken && !s.lookForTaken() && (until.IsZero() || time.Now().Before(until)) {
			return false
		}
		s.evict()
	}
	return true
}

// lookForTaken updates taken, ignoring readers that are stuck, and reports whether the oldest frame
// has been taken. The caller holds mu.
func (s *stream) lookForTaken() bool {
	s.taken = s.next()
	for c := range s.clients {
		if r := c.reader; r != nil && r.next > 0 && c.err == nil && !r.stuck() {
			s.taken = min(s.taken, r.next)
		}
	}
	return s.first < s.taken
}

// encoded counts the bytes of a frame that was encoded as an event, if it is in the buffer, and
// drops the oldest frames if the buffer has become too large.
func (s *stream) encoded(f *frame, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.id < s.first {
		return
	}
	s.addBytes(size - f.guess)
	f.size, f.guess = f.size+size-f.guess, 0
	for s.head+1 < len(s.frames) && (s.bytes > 2*s.hub.opts.StreamBytes || s.bytes > s.hub.opts.StreamBytes && s.first < s.taken) {
		s.evict()
	}
}

// view returns the data stream. The caller holds mu.
func (s *stream) view() View {
	v := View{
		DataStream: s.is.WithoutLists(), Readers: s.is.Readers(), Publishers: s.is.Publishers(),
		First: s.first, Next: s.next(), End: s.end,
	}
	if s.end != nil {
		v.First = v.Next // the rest is only for readers that are connected already
	}
	return v
}

// finish ends the data stream, unless it has ended, and reports whether it did. The caller
// holds mu, and must publish the notice of the end.
func (s *stream) finish(e End, lingers time.Duration) bool {
	if s.end != nil {
		return false
	}
	now := s.hub.opts.Now()
	e.At = now.UTC().Truncate(time.Millisecond)
	s.end = &e
	s.endedAt, s.dropAt = now, now.Add(lingers)
	for c := range s.clients {
		if c.publisher != nil {
			if e.Reason == im.StreamEndedByServer {
				c.kick(ErrClosed)
			} else {
				c.kick(im.ErrStreamEnded(e.as(c.actor.User).Reason))
			}
		}
	}
	if lingers == 0 || s.readers == 0 {
		s.drop()
	}
	for c := range s.clients {
		if c.reader != nil {
			c.reader.signal()
		}
	}
	return true
}

// attachedUsers returns the users of the requests that read or push, and the owner, sorted and
// without duplicates. The caller holds mu.
func (s *stream) attachedUsers() []im.UserID {
	users := []im.UserID{s.is.Owner}
	for c := range s.clients {
		users = append(users, c.actor.User)
	}
	slices.Sort(users)
	return slices.Compact(users)
}
