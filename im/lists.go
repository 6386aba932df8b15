package im

import (
	"context"
	"slices"
	"time"
)

// List is one of the lists of users of a conversation or space.
type List uint8

// The lists. Their numbers are stored: never reuse one.
const (
	// AllowList holds the users who may see a private channel.
	AllowList List = 1
	// DenyList holds the users who may not see a public channel, or may not be members of a
	// group, room or space.
	DenyList List = 2
)

var listNames = names[List]{AllowList: "allow", DenyList: "deny"}

// String returns the list as clients know it.
func (l List) String() string { return listNames[l] }

// ParseList reads what [List.String] wrote.
func ParseList(s string) (List, bool) { return listNames.parse(s) }

// Listing is an entry of a list.
type Listing struct {
	User UserID
	At   time.Time
}

// Listed returns a page of a list of a conversation.
func (s *Service) Listed(ctx context.Context, actor Actor, ref ConversationRef, list List, p Page) ([]Listing, error) {
	return view(ctx, s, func(r Reader) ([]Listing, error) {
		c, _, err := s.enterList(r, actor, ref, list)
		if err != nil {
			return nil, err
		}
		return r.Listed(c.ID, list, p)
	})
}

// enterList returns a conversation and the actor's access to it. It refuses a kind without
// such a list and an actor who may not edit it.
func (s *Service) enterList(r Reader, actor Actor, ref ConversationRef, list List) (Conversation, Access, error) {
	c, me, err := s.enter(r, actor, ref)
	if err != nil {
		return c, me, err
	}
	if c.Kind == Direct || c.Kind == Thread || list == AllowList && c.Kind != Channel {
		return c, me, Refuse(Rule, "list_unsupported", "a conversation of the kind %s has no %s list", c.Kind, list)
	}
	return c, me, allow(c, me, PermissionManageMembers)
}

// PutListed puts a user on a list of a conversation. In a channel the user must be a member of the
// space. The deny list of a group or room also ends their membership or invitation. It is not an
// error if they are on the list.
func (s *Service) PutListed(ctx context.Context, actor Actor, ref ConversationRef, list List, user UserID) error {
	return s.setListed(ctx, actor, ref, list, user, true)
}

// DeleteListed takes a user off a list of a conversation. It is not an error if they are not on
// it.
func (s *Service) DeleteListed(ctx context.Context, actor Actor, ref ConversationRef, list List, user UserID) error {
	return s.setListed(ctx, actor, ref, list, user, false)
}

func (s *Service) setListed(ctx context.Context, actor Actor, ref ConversationRef, list List, user UserID, on bool) error {
	if err := checkUsers("user", []UserID{user}); err != nil {
		return err
	}
	return s.inSteps(ctx, func(tx Tx) (more bool, err error) {
		c, me, err := s.enterList(tx, actor, ref, list)
		if err != nil {
			return false, err
		}
		if c.Kind == Channel {
			return false, s.setListedInChannel(tx, actor, c, me, list, user, on)
		}
		return s.setDenied(tx, actor, c, me, user, on)
	})
}

// setDenied changes the deny list of a group or room. A user who is put on it loses their
// membership or invitation. If more is true, the caller calls again in a new transaction.
func (s *Service) setDenied(tx Tx, actor Actor, c Conversation, me Access, user UserID, on bool) (more bool, err error) {
	target, found, err := maybe(tx.Membership(c.ID, user))
	if err != nil {
		return false, err
	}
	if on && found && target.Active() {
		if target.Role >= me.role {
			return false, Refuse(Forbidden, "permission_denied", "you may only deny members whose role is below yours")
		}
		if more, err = s.removeMember(tx, actor, c, s.memberView(target)); err != nil || more {
			return more, err
		}
	}
	i, invited, err := maybe(tx.Invitation(c.ID, user))
	if err != nil {
		return false, err
	}
	if on && invited {
		if err := s.endInvitation(tx, actor, c, i); err != nil {
			return false, err
		}
	}
	return false, s.putListedNow(tx, c.ID, DenyList, user, on)
}

// putListed puts a user on a list, or removes them from it, from an event on.
func (s *Service) putListed(tx MemberWriter, id ID, list List, user UserID, at Position, on bool) error {
	if on {
		return tx.PutListed(id, list, user, s.time(), at)
	}
	return tx.EndListed(id, list, user, at)
}

// putListedNow is putListed from the newest event on, for a change that has no event of its
// own.
func (s *Service) putListedNow(tx Tx, id ID, list List, user UserID, on bool) error {
	bounds, err := tx.LogBounds()
	if err != nil {
		return err
	}
	return s.putListed(tx, id, list, user, bounds.Head, on)
}

// setListedInChannel changes a list of a channel. If that makes the channel visible or invisible to
// the user, they receive an event.
func (s *Service) setListedInChannel(tx Tx, actor Actor, c Conversation, me Access, list List, user UserID, on bool) error {
	before, found, err := maybeMember(spaceMember(tx, c.Space, c.ID, user))
	if err != nil {
		return err
	}
	if !found {
		if on {
			return errUnknownMember()
		}
		return s.putListedNow(tx, c.ID, list, user, false)
	}
	if before.onListAt(list, Latest) == on {
		return nil
	}
	// Actors may put themselves on an allow list and take themselves off. belowMe would refuse
	// that, because nobody is below themselves.
	if user != actor.User || list == DenyList {
		if _, err := s.belowMe(tx, actor, c.Space, c.ID, me, user, PermissionManageMembers); err != nil {
			return err
		}
	}
	rules, err := rulesAt(tx, c.Space, c.ID, Latest)
	if err != nil {
		return err
	}
	after := before
	after.Lists = slices.DeleteFunc(slices.Clone(before.Lists), func(l ListStay) bool { return l.List == list && l.To == 0 })
	if on {
		after.Lists = append(after.Lists, ListStay{List: list})
	}
	saw := s.mayInSpace(c, before, rules, Latest).Has(PermissionView)
	sees := s.mayInSpace(c, after, rules, Latest).Has(PermissionView)
	if saw == sees {
		return s.putListedNow(tx, c.ID, list, user, on)
	}
	published := c.event(updated, actor, s.time())
	published.Type, published.To, published.User = ChannelClosed, user, user
	if sees {
		published.Type = ChannelOpened
	}
	at, err := tx.Append(published)
	if err != nil {
		return err
	}
	if sees { // as after joining, earlier messages do not count as unread
		mark, err := tx.Mark(c.ID, user)
		if err != nil {
			return err
		}
		mark.ClearedSeq, mark.ChangedAt = c.LastSeq, published.At
		if err := tx.PutMark(c.ID, user, mark); err != nil {
			return err
		}
	}
	return s.putListed(tx, c.ID, list, user, at, on)
}

// maybeMember returns false for the error member_not_found.
func maybeMember(m SpaceMember, err error) (SpaceMember, bool, error) {
	if e, ok := AsError(err); ok && e.Kind == NotFound {
		return m, false, nil
	}
	return m, err == nil, err
}

// SpaceDenied returns a page of the deny list of a space.
func (s *Service) SpaceDenied(ctx context.Context, actor Actor, id ID, p Page) ([]Listing, error) {
	return view(ctx, s, func(r Reader) ([]Listing, error) {
		if _, _, err := s.enterSpaceTo(r, actor, id, PermissionManageMembers); err != nil {
			return nil, err
		}
		return r.Listed(id, DenyList, p)
	})
}

// DenyInSpace puts a user on the deny list of a space. They lose their membership or
// invitation. It is not an error if they are on the list.
func (s *Service) DenyInSpace(ctx context.Context, actor Actor, id ID, user UserID) error {
	return s.setDeniedInSpace(ctx, actor, id, user, true)
}

// AllowInSpace takes a user off the deny list of a space. It is not an error if they are not on
// it.
func (s *Service) AllowInSpace(ctx context.Context, actor Actor, id ID, user UserID) error {
	return s.setDeniedInSpace(ctx, actor, id, user, false)
}

func (s *Service) setDeniedInSpace(ctx context.Context, actor Actor, id ID, user UserID, on bool) error {
	if err := checkUsers("user", []UserID{user}); err != nil {
		return err
	}
	return s.inSteps(ctx, func(tx Tx) (more bool, err error) {
		c, me, err := s.enterSpaceTo(tx, actor, id, PermissionManageMembers)
		if err != nil {
			return false, err
		}
		if on {
			if more, err = s.takeFromSpace(tx, actor, c, me, user); err != nil || more {
				return more, err
			}
		}
		return false, s.putListedNow(tx, id, DenyList, user, on)
	})
}

// takeFromSpace ends the membership and the invitation of a user who is denied. It refuses if
// the member's highest role is not below the actor's. If more is true, the caller calls again
// in a new transaction.
func (s *Service) takeFromSpace(tx Tx, actor Actor, c Conversation, me Access, user UserID) (more bool, err error) {
	target, found, err := maybeMember(s.belowMe(tx, actor, c.ID, 0, me, user, PermissionManageMembers))
	if err != nil {
		return false, err
	}
	i, invited, err := maybe(tx.Invitation(c.ID, user))
	if err != nil {
		return false, err
	}
	if found {
		if more, err = s.removeFromSpace(tx, actor, c, s.memberView(target.Membership)); err != nil || more {
			return more, err
		}
	}
	if invited {
		return false, s.endInvitation(tx, actor, c, i)
	}
	return false, nil
}
