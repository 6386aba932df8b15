package events

import (
	"sync"

	"github.com/imapi/imapi/im"
)

// frameIndex finds the frames that streams still have to write, by message and by
// conversation. With it, the cost of an erasure depends on the number of frames that it
// changes, usually none, and not on the number of streams.
type frameIndex struct {
	mu            sync.Mutex
	messages      chains // the frames of a message
	conversations chains // the frames of events about messages of a conversation
}

func newFrameIndex() frameIndex {
	return frameIndex{
		messages:      chains{newest: make(map[im.ID]*Frame), links: func(f *Frame) *links { return &f.ofMessage }},
		conversations: chains{newest: make(map[im.ID]*Frame), links: func(f *Frame) *links { return &f.ofConversation }},
	}
}

// conversation returns the conversation under which the index lists a frame, 0 if its event is not
// about a message.
func (f *Frame) conversation() im.ID {
	if f.event.MessageID == 0 && f.about == 0 {
		return 0
	}
	return f.event.Conversation
}

// add adds new frames, and holds each of them once for the caller.
func (x *frameIndex) add(frames ...*Frame) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range frames {
		f.holds.Store(1)
		x.messages.add(f.about, f)
		x.conversations.add(f.conversation(), f)
	}
}

// release ends one hold of each frame, and removes frames without holds.
func (x *frameIndex) release(frames ...*Frame) {
	locked := false
	for _, f := range frames {
		if f.holds.Add(-1) > 0 || f.conversation() == 0 {
			continue
		}
		if !locked {
			x.mu.Lock()
			defer x.mu.Unlock()
			locked = true
		}
		x.messages.remove(f.about, f)
		x.conversations.remove(f.conversation(), f)
	}
}

// about returns the frames that were encoded with a message.
func (x *frameIndex) about(id im.ID) []*Frame {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.messages.of(id)
}

// in returns the frames of events about messages of a conversation.
func (x *frameIndex) in(conversation im.ID) []*Frame {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.conversations.of(conversation)
}

// chains are linked lists of frames, one list for each id. They ignore frames of id 0.
type chains struct {
	newest map[im.ID]*Frame
	links  func(*Frame) *links
}

// links are the neighbours of a frame in a list.
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

// of returns the frames of an id, newest first.
func (c *chains) of(id im.ID) []*Frame {
	var frames []*Frame
	for f := c.newest[id]; f != nil; f = c.links(f).earlier {
		frames = append(frames, f)
	}
	return frames
}
