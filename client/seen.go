package client

// seenEvents is the number of latest events among which a duplicate is detected.
const seenEvents = 1024

// seen holds the ids of the latest events.
type seen struct {
	ids  map[string]struct{}
	ring []string
	next int
}

func newSeen() *seen { return &seen{ids: map[string]struct{}{}} }

// add adds an id and reports whether it is new.
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
