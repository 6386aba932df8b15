package handlers

import (
	"context"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// MuteMember implements PUT /v1/conversations/{conversation}/members/{user}/mute.
func (s *Server) MuteMember(ctx context.Context, r api.MuteMemberRequestObject) (api.MuteMemberResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err != nil {
		return nil, err
	}
	until, err := s.service.MuteMember(ctx, actor(ctx), ref, im.UserID(r.User), muteFor(r.Body))
	if err != nil {
		return nil, err
	}
	return api.MuteMember200JSONResponse{User: r.User, MutedUntil: api.Time(until)}, nil
}

// UnmuteMember implements DELETE /v1/conversations/{conversation}/members/{user}/mute.
func (s *Server) UnmuteMember(ctx context.Context, r api.UnmuteMemberRequestObject) (api.UnmuteMemberResponseObject, error) {
	ref, err := im.ParseConversationRef(r.Conversation)
	if err == nil {
		err = s.service.UnmuteMember(ctx, actor(ctx), ref, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.UnmuteMember204Response{}, nil
}

// MuteSpaceMember implements PUT /v1/spaces/{space}/members/{user}/mute.
func (s *Server) MuteSpaceMember(ctx context.Context, r api.MuteSpaceMemberRequestObject) (api.MuteSpaceMemberResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err != nil {
		return nil, err
	}
	until, err := s.service.MuteSpaceMember(ctx, actor(ctx), space, im.UserID(r.User), muteFor(r.Body))
	if err != nil {
		return nil, err
	}
	return api.MuteSpaceMember200JSONResponse{User: r.User, MutedUntil: api.Time(until)}, nil
}

// UnmuteSpaceMember implements DELETE /v1/spaces/{space}/members/{user}/mute.
func (s *Server) UnmuteSpaceMember(ctx context.Context, r api.UnmuteSpaceMemberRequestObject) (api.UnmuteSpaceMemberResponseObject, error) {
	space, err := im.ParseSpaceID(r.Space)
	if err == nil {
		err = s.service.UnmuteSpaceMember(ctx, actor(ctx), space, im.UserID(r.User))
	}
	if err != nil {
		return nil, err
	}
	return api.UnmuteSpaceMember204Response{}, nil
}

// muteFor returns the length of a mute; 0 if it has no end.
func muteFor(m *api.MuteFor) time.Duration {
	if m == nil {
		return 0
	}
	return duration(value(m.Seconds, 0))
}
