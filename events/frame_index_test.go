package events

import (
	"slices"
	"testing"

	"github.com/imapi/imapi/im"
)

// The index finds frames by message and by conversation until their last hold is released.
func TestFrameIndex(t *testing.T) {
	w := newFrameIndex()
	frame := func(conversation, message im.ID, with bool) *Frame {
		f := &Frame{event: &im.Event{Conversation: conversation, MessageID: message}}
		if with {
			f.about = message
		}
		return f
	}
	frames := []*Frame{
		frame(1, 1, true), frame(2, 2, true), frame(1, 1, true), frame(1, 0, false), frame(1, 1, true), frame(1, 3, false),
	}
	w.add(frames...)
	frames[2].holds.Add(1)
	for _, tt := range []struct {
		name      string
		release   int
		about, in []int
	}{
		{"one that is about no message", 3, []int{4, 2, 0}, []int{5, 4, 2, 0}},
		{"the first of two holds", 2, []int{4, 2, 0}, []int{5, 4, 2, 0}},
		{"the last hold", 2, []int{4, 0}, []int{5, 4, 0}},
		{"the newest about the message", 4, []int{0}, []int{5, 0}},
		{"one of another conversation", 1, []int{0}, []int{5, 0}},
		{"the newest of the conversation", 5, []int{0}, []int{0}},
		{"the only one left", 0, nil, nil},
	} {
		w.release(frames[tt.release])
		for what, found := range map[string]struct {
			got  []*Frame
			want []int
		}{"message": {w.about(1), tt.about}, "conversation": {w.in(1), tt.in}} {
			var want []*Frame
			for _, i := range found.want {
				want = append(want, frames[i])
			}
			if !slices.Equal(found.got, want) {
				t.Errorf("%s was released: %d frames of the %s, want those at %v", tt.name, len(found.got), what, found.want)
			}
		}
	}
	if len(w.messages.newest)+len(w.conversations.newest) != 0 {
		t.Errorf("%d and %d are left", len(w.messages.newest), len(w.conversations.newest))
	}
}
