package im

// SlotSet is a set of slots below an end.
type SlotSet struct {
	end  Slot
	bits []uint64
}

// newSlotSet returns an empty set for slots less than end. It takes one bit per slot.
func newSlotSet(end Slot) *SlotSet {
	return &SlotSet{end: end, bits: make([]uint64, (end+63)/64)}
}

// add adds a slot to the set. It ignores one that is not less than the end.
func (s *SlotSet) add(slot Slot) {
	if slot < s.end {
		s.bits[slot/64] |= 1 << (slot % 64)
	}
}

// has reports whether a slot is in the set.
func (s *SlotSet) has(slot Slot) bool {
	return slot < s.end && s.bits[slot/64]&(1<<(slot%64)) != 0
}
