package handlers

import (
	"context"
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// BePatient makes requests wait long for memory and for turns, because the machine may stand still.
func (s *Server) BePatient() { s.bodies.wait, s.transferWait = await.Limit, await.Limit }

// HoldBodies takes all memory for decoding bodies until release is called. In the meantime requests
// wait for it only briefly.
func (s *Server) HoldBodies() (release func()) {
	s.bodies.wait = time.Nanosecond
	return s.bodies.decoding.hold()
}

// HoldTransfers takes all turns of uploads and downloads until release is called. In the meantime
// requests wait for one only briefly.
func (s *Server) HoldTransfers() (release func()) {
	s.transferWait = time.Nanosecond
	downloads, uploads := s.downloads.hold(), s.uploads.hold()
	return func() { downloads(); uploads() }
}

// hold takes all of a budget until release is called.
func (b *budget) hold() (release func()) {
	users := make([]im.UserID, b.size/b.perUser)
	for i := range users {
		users[i] = im.UserID(fmt.Sprint("holder ", i))
		if err := b.acquire(context.Background(), users[i], b.perUser, time.Hour); err != nil {
			panic(err)
		}
	}
	return func() {
		for _, user := range users {
			b.release(user, b.perUser)
		}
	}
}
