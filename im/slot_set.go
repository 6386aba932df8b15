package im

// SlotSet is a set of slots below an end.
type SlotSet struct {
	end  Slot
	bits []uint64
}

// NewSlotSet returns an empty set for slots less than end. It takes one bit per slot.
func NewSlotSet(end Slot) *SlotSet {
	return &SlotSet{end: end, bits: make([]uint64, (end+63)/64)}
}

// Add adds a slot to the set. It ignores one that is not less than the end.
func (s *SlotSet) Add(slot Slot) {
	if slot < s.end {
		s.bits[slot/64] |= 1 << (slot % 64)
	}
}

// Has reports whether a slot is in the set.
func (s *SlotSet) Has(slot Slot) bool {
	return slot < s.end && s.bits[slot/64]&(1<<(slot%64)) != 0
}
