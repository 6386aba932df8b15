package client

// seenEvents is how many events back a repetition is noticed.
const seenEvents = 1024

// seen remembers the ids of the latest events.
type seen struct {
	ids  map[string]struct{}
	ring []string
	next int
}

func newSeen() *seen { return &seen{ids: map[string]struct{}{}} }

// add remembers an id, and reports whether it was not remembered yet.
func (s *seen) add(id string) bool {
	if _, ok := s.ids[id]; ok {
		return false
	}
	if len(s.ring) < seenEvents {
		s.ring = append(s.ring, id)
	} else {
		delete(s.ids, s.ring[s.next])
		s.ring[s.next] = id
		s.next = (s.next + 1) % seenEvents
	}
	s.ids[id] = struct{}{}
	return true
}
