package handlers

import (
	"context"
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
)

// HoldBodies takes all memory for decoding bodies until release is called. Requests then
// wait for it only a moment.
func (s *Server) HoldBodies() (release func()) {
	s.bodies.wait = time.Nanosecond
	users := make([]im.UserID, decodingBytes/decodingBytesPerUser)
	for i := range users {
		users[i] = im.UserID(fmt.Sprint("holder ", i))
		if err := s.bodies.decoding.acquire(context.Background(), users[i], decodingBytesPerUser, time.Hour); err != nil {
			panic(err)
		}
	}
	return func() {
		for _, user := range users {
			s.bodies.decoding.release(user, decodingBytesPerUser)
		}
	}
}
