package handlers

import (
	"context"
	"time"
)

// HoldBodies takes all the room there is for decoding bodies until release is called, and has
// requests wait for it no longer than a moment.
func (s *Server) HoldBodies() (release func()) {
	s.bodies.wait = time.Nanosecond
	if err := s.bodies.decoding.acquire(context.Background(), decodingBytes, time.Hour); err != nil {
		panic(err)
	}
	return func() { s.bodies.decoding.release(decodingBytes) }
}
