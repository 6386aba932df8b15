package im

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// MemberPage is a page of the members of a conversation.
type MemberPage struct {
	Items []MemberView
	// Next is the Page.After of the next page, "" on the last one.
	Next UserID
}

// Members returns a page of the current members. Members of a channel are the members of its
// space who can see it.
func (s *Service) Members(ctx context.Context, actor Actor, ref ConversationRef, p Page) (MemberPage, error) {
	return view(ctx, s, func(r Reader) (MemberPage, error) {
		c, _, err := s.enter(r, actor, ref)
		if err != nil {
			return MemberPage{}, err
		}
		if c.Kind == Channel {
			return s.channelMembers(r, c, p)
		}
		if err := checkAfter(r, c.ID, p); err != nil {
			return MemberPage{}, err
		}
		p.Limit++
		list, err := r.Members(c.ID, p)
		return pageOfMembers(s.memberViews(list), p.Limit-1), err
	})
}

// Member returns a current member. It refuses with member_not_found if the user is not one.
func (s *Service) Member(ctx context.Context, actor Actor, ref ConversationRef, user UserID) (MemberView, error) {
	return view(ctx, s, func(r Reader) (MemberView, error) {
		c, _, err := s.enter(r, actor, ref)
		if err != nil {
			return MemberView{}, err
		}
		if c.Kind == Channel {
			a, err := s.access(r, c, user)
			if err == nil && !a.Can(PermissionView) {
				err = errUnknownMember()
			}
			return a.member(), err
		}
		m, found, err := maybe(r.Membership(c.ID, user))
		if err == nil && (!found || !m.Active()) {
			err = errUnknownMember()
		}
		return s.memberView(m), err
	})
}

// checkAfter refuses a page that begins after a user who never was a member here. Such a
// token was not issued by this list, and accepting it would reveal whether the user is known
// elsewhere.
func checkAfter(r MemberReader, id ID, p Page) error {
	if p.After == "" {
		return nil
	}
	_, found, err := maybe(r.Membership(id, UserID(p.After)))
	if err == nil && !found {
		err = RefuseField(Invalid, "invalid_page_token", "page_token", "is not a token of this list")
	}
	return err
}

// pageOfMembers makes a page of a list that was read with one more item than the page holds.
func pageOfMembers(list []MemberView, limit int) MemberPage {
	if len(list) <= limit {
		return MemberPage{Items: list}
	}
	return MemberPage{Items: list[:limit], Next: list[limit-1].User}
}

// hasOwnMembers refuses channels and threads, whose members and roles cannot be set.
func hasOwnMembers(c Conversation) error {
	if c.Kind != Channel && c.Kind != Thread {
		return nil
	}
	return Refuse(Rule, "members_unsupported", "the members and roles of a %s cannot be set", c.Kind)
}

// enterWithMember returns a conversation, the actor's access to it and the member whom they name.
func (s *Service) enterWithMember(r Reader, actor Actor, ref ConversationRef, user UserID) (c Conversation, me Access, target MemberView, err error) {
	if c, me, err = s.enter(r, actor, ref); err != nil {
		return c, me, target, err
	}
	if c.Kind == Channel {
		return c, me, target, hasOwnMembers(c)
	}
	m, found, err := maybe(r.Membership(c.ID, user))
	if err == nil && (!found || !m.Active()) {
		err = errUnknownMember()
	}
	return c, me, s.memberView(m), err
}

// memberEvent returns an event about a member. In rooms, channels and spaces, which may have very
// many members, only that member receives it.
func memberEvent(t EventType, actor Actor, c Conversation, m MemberView, at time.Time) Event {
	e := Event{
		Type: t, At: at, Conversation: c.ID, Space: c.Space, Actor: actor.User, ActorDevice: actor.Device,
		User: m.User, Role: m.Role, MutedUntil: m.MutedUntil,
	}
	switch c.Kind {
	case Space:
		e.Space, e.To = c.ID, m.User
	case Room, Channel:
		e.To = m.User
	default: // goes to all members
	}
	return e
}

func (s *Service) errTooManyMembers(k Kind, field string) error {
	return RefuseField(Rule, "too_many_members", field, "a %s has at most %d members", k, s.policy.maxMembers(k))
}

// unique returns a list without duplicates, in the same order.
func unique[T comparable](users []T) []T {
	seen := make(map[T]bool, len(users))
	return slices.DeleteFunc(slices.Clone(users), func(u T) bool {
		again := seen[u]
		seen[u] = true
		return again
	})
}

func checkUsers(field string, users []UserID) error {
	for i, u := range users {
		if !u.Valid() {
			return RefuseField(Invalid, "invalid_request", fmt.Sprintf("%s/%d", field, i),
				"is not a user id: "+UserIDRule)
		}
	}
	return nil
}
