package im

import (
	"cmp"
	"context"
)

// ChannelDraft is a channel to be created.
type ChannelDraft struct {
	// ClientID makes creating idempotent, unless it is "".
	ClientID string
	Name     string
	Private  bool
	Settings ConversationPatch
}

// CreateChannel creates a channel of a space. The creator of a private channel is put on its
// allow list, except the owner of the space, who sees the channel anyway. With a client_id it is
// idempotent, as CreateGroup is.
func (s *Service) CreateChannel(ctx context.Context, actor Actor, space ID, d ChannelDraft) (Created, error) {
	d.Settings.Name, d.Settings.Private = &d.Name, &d.Private
	if err := d.Settings.checkFor(Channel, s.policy); err != nil {
		return Created{}, err
	}
	q := creation{actor: actor, clientID: d.ClientID, wanted: d.Settings.apply(defaults(Channel, actor))}
	q.wanted.Space = space
	if err := q.check(); err != nil {
		return Created{}, err
	}
	return write(ctx, s, func(tx Tx) (Created, error) {
		in, me, err := s.enterSpace(tx, actor, space)
		if err != nil {
			return Created{}, err
		}
		before, err := q.earlier(tx)
		if err != nil || before.created != 0 {
			return s.createdAgain(tx, actor, before, err)
		}
		if err := cmp.Or(s.allowCreation(tx, actor, in, me, d), before.refusal); err != nil {
			return Created{}, err
		}
		there, err := tx.Channels(space, 0, s.policy.MaxChannels)
		if err != nil {
			return Created{}, err
		}
		if len(there) >= s.policy.MaxChannels {
			return Created{}, Refuse(Rule, "too_many_channels", "a space has at most %d channels", s.policy.MaxChannels)
		}
		now := s.time()
		c, err := s.newConversation(tx, q.wanted, now)
		if err != nil {
			return Created{}, err
		}
		if err := tx.CreateConversation(c); err != nil {
			return Created{}, err
		}
		at, err := tx.Append(c.event(created, actor, now))
		if err != nil {
			return Created{}, err
		}
		if err := tx.PutAccess(c.ID, ChannelAccess{Private: d.Private}, at); err != nil {
			return Created{}, err
		}
		if d.Private && me.role != Owner {
			if err := tx.PutListed(c.ID, AllowList, actor.User, now, at); err != nil {
				return Created{}, err
			}
		}
		return s.createdNow(tx, q, c.ID)
	})
}

// allowCreation refuses an actor who may not create channels, settings for which the actor lacks
// the permission, and a channel that the actor would not see.
func (s *Service) allowCreation(r Reader, actor Actor, space Conversation, me Access, d ChannelDraft) error {
	if err := allow(space, me, PermissionManageConversation); err != nil {
		return err
	}
	for _, one := range shared {
		if one.given(d.Settings) {
			if err := allow(space, me, one.needs); err != nil {
				return err
			}
		}
	}
	return s.staysVisible(r, actor, Conversation{Kind: Channel, Space: space.ID}, ChannelAccess{Private: d.Private})
}

// staysVisible refuses a change of a channel's visibility after which the actor could no longer see
// the channel. If access is private, the actor counts as being on the allow list.
func (s *Service) staysVisible(r Reader, actor Actor, c Conversation, access ChannelAccess) error {
	m, err := spaceMember(r, c.Space, c.ID, actor.User)
	if err != nil {
		return err
	}
	roles, err := r.RolesAt(c.Space, Latest)
	if err != nil {
		return err
	}
	if access.Private {
		m.Lists = append(m.Lists, ListStay{List: AllowList})
	}
	if !s.mayInSpace(c, m, rules{roles: roles, access: &access}, Latest).Has(PermissionView) {
		return Refuse(Forbidden, "permission_denied", "you need the permission %s here: otherwise you could not see the channel yourself", PermissionView)
	}
	return nil
}

// Channels returns a page of the channels of a space that the actor can see, in the order of
// their ids. after is the last id of the previous page; 0 starts at the beginning. Next has only
// an ID.
// Every page but the last is full: a shorter one would disclose channels that the actor
// cannot see.
func (s *Service) Channels(ctx context.Context, actor Actor, space, after ID, limit int) (ConversationPage, error) {
	return view(ctx, s, func(r Reader) (page ConversationPage, err error) {
		if _, _, err := s.enterSpace(r, actor, space); err != nil {
			return page, err
		}
		list, err := r.Channels(space, after, s.policy.MaxChannels)
		if err != nil {
			return page, err
		}
		var visible []entered
		for _, c := range list {
			me, err := s.access(r, c, actor.User)
			if err != nil {
				return page, err
			}
			if !me.Can(PermissionView) {
				continue
			}
			if n := len(visible); n == limit {
				page.Next = &ConversationKey{ID: visible[n-1].ID}
				break
			}
			visible = append(visible, entered{Conversation: c, me: me})
		}
		for len(page.Items) < len(visible) {
			views, err := s.conversationViews(r, visible[len(page.Items):])
			if err != nil {
				return page, err
			}
			page.Items = append(page.Items, views...)
		}
		return page, nil
	})
}

// membersScanned bounds the members of a space that are examined for one page of a
// channel's members, and membersAtATime those that one statement returns.
const (
	membersScanned = 10_000
	membersAtATime = 1000
	// Every rolesScanned roles of a member count as another member.
	rolesScanned = 8
)

// channelMembers returns the members of a space who can see one of its channels. It looks at a
// bounded number of members, so a page may be short or empty and still have a Next.
func (s *Service) channelMembers(r Reader, c Conversation, p Page) (MemberPage, error) {
	var page MemberPage
	if err := checkAfter(r, c.Space, p); err != nil {
		return page, err
	}
	rules, err := rulesAt(r, c.Space, c.ID, Latest)
	if err != nil {
		return page, err
	}
	after := p.After
	for looked := 0; looked < membersScanned; {
		list, err := r.SpaceMembers(c.Space, c.ID, Page{After: after, Limit: membersAtATime})
		if err != nil {
			return page, err
		}
		for _, m := range list {
			if len(page.Items) == p.Limit {
				page.Next = UserID(after)
				return page, nil
			}
			after = string(m.User)
			looked += 1 + len(m.Roles)/rolesScanned
			if s.mayInSpace(c, m, rules, Latest).Has(PermissionView) {
				page.Items = append(page.Items, s.channelMemberView(m))
			}
		}
		if len(list) < membersAtATime {
			return page, nil
		}
	}
	page.Next = UserID(after)
	return page, nil
}
