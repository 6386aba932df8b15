package im

import "testing"

func TestSlotSet(t *testing.T) {
	s := newSlotSet(130)
	for _, slot := range []Slot{0, 63, 64, 129, 130, 1 << 40} {
		if s.has(slot) {
			t.Errorf("an empty set has %d", slot)
		}
		s.add(slot)
		if s.has(slot) != (slot < 130) {
			t.Errorf("%d was added, and has returns %t", slot, s.has(slot))
		}
	}
	if s.has(1) || s.has(128) {
		t.Error("others are in the set, too")
	}
}
