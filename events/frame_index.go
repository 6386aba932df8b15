package events

import (
	"sync"

	"github.com/imapi/imapi/im"
)

// waiting finds the frames that may still be written, by the message that they
// tell of and by its conversation, so that taking something back costs nothing
// but what it changes: there may be many streams, and many erasures, but hardly
// ever something that waits.
type waiting struct {
	mu            sync.Mutex
	messages      chains // frames made with a message, by it
	conversations chains // those of all events about messages, by conversation
}

func newWaiting() waiting {
	return waiting{
		messages:      chains{newest: make(map[im.ID]*Frame), links: func(f *Frame) *links { return &f.ofMessage }},
		conversations: chains{newest: make(map[im.ID]*Frame), links: func(f *Frame) *links { return &f.ofConversation }},
	}
}

// place returns the conversation under which a frame is found, 0 if its event
// is not about a message.
func (f *Frame) place() im.ID {
	if f.event.MessageID == 0 && f.about == 0 {
		return 0
	}
	return f.event.Conversation
}

// add takes frames that nobody holds yet. The caller holds them then, once.
func (w *waiting) add(frames ...*Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range frames {
		f.holds.Store(1)
		w.messages.add(f.about, f)
		w.conversations.add(f.place(), f)
	}
}

// release ends one hold of each of the frames.
func (w *waiting) release(frames ...*Frame) {
	for _, f := range frames {
		if f.holds.Add(-1) == 0 && f.place() != 0 {
			w.remove(f)
		}
	}
}

func (w *waiting) remove(f *Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages.remove(f.about, f)
	w.conversations.remove(f.place(), f)
}

// about returns the frames that were made with a message.
func (w *waiting) about(id im.ID) []*Frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.messages.of(id)
}

// in returns the frames of events about messages of a conversation.
func (w *waiting) in(conversation im.ID) []*Frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conversations.of(conversation)
}

// chains are frames by an id; those of one id are a list. Frames of the id 0
// are not among them.
type chains struct {
	newest map[im.ID]*Frame
	links  func(*Frame) *links
}

// links are a frame's neighbours in a list.
type links struct{ newer, earlier *Frame }

func (c *chains) add(id im.ID, f *Frame) {
	if id == 0 {
		return
	}
	if earlier := c.newest[id]; earlier != nil {
		c.links(f).earlier, c.links(earlier).newer = earlier, f
	}
	c.newest[id] = f
}

func (c *chains) remove(id im.ID, f *Frame) {
	if id == 0 {
		return
	}
	l := c.links(f)
	if l.earlier != nil {
		c.links(l.earlier).newer = l.newer
	}
	switch {
	case l.newer != nil:
		c.links(l.newer).earlier = l.earlier
	case l.earlier != nil:
		c.newest[id] = l.earlier
	default:
		delete(c.newest, id)
	}
	*l = links{}
}

// of returns the frames of an id, the newest first.
func (c *chains) of(id im.ID) []*Frame {
	var frames []*Frame
	for f := c.newest[id]; f != nil; f = c.links(f).earlier {
		frames = append(frames, f)
	}
	return frames
}
