package im

import "context"

// ChannelDraft is a channel as it is asked for.
type ChannelDraft struct {
	Name     string
	Private  bool
	Settings ConversationPatch
}

// CreateChannel makes a channel of a space. Who creates a private one is put on
// its allow list, but for the owner, who sees it by that.
func (s *Service) CreateChannel(ctx context.Context, actor Actor, space ID, d ChannelDraft) (ConversationView, error) {
	d.Settings.Name, d.Settings.Private = &d.Name, &d.Private
	if err := d.Settings.checkFor(Channel, s.policy); err != nil {
		return ConversationView{}, err
	}
	return write(ctx, s, func(tx Tx) (ConversationView, error) {
		in, me, err := s.enterSpaceTo(tx, actor, space, PermissionManageConversation)
		if err != nil {
			return ConversationView{}, err
		}
		if err := s.allowCreation(tx, actor, in, me, d); err != nil {
			return ConversationView{}, err
		}
		there, err := tx.Channels(space, 0, s.policy.MaxChannels)
		if err != nil {
			return ConversationView{}, err
		}
		if len(there) >= s.policy.MaxChannels {
			return ConversationView{}, Refuse(Rule, "too_many_channels", "a space has at most %d channels", s.policy.MaxChannels)
		}
		now := s.time()
		c, err := s.newConversation(tx, Channel, actor, now)
		if err != nil {
			return ConversationView{}, err
		}
		c = d.Settings.apply(c)
		c.Space = space
		if err := tx.CreateConversation(c); err != nil {
			return ConversationView{}, err
		}
		at, err := tx.Append(c.event(created, actor, now))
		if err != nil {
			return ConversationView{}, err
		}
		if err := tx.PutAccess(c.ID, ChannelAccess{Private: d.Private}, at); err != nil {
			return ConversationView{}, err
		}
		if d.Private && me.role != Owner {
			if err := tx.PutListed(c.ID, AllowList, actor.User, now, at); err != nil {
				return ConversationView{}, err
			}
		}
		return s.seen(tx, actor, c.ID)
	})
}

// allowCreation refuses settings that take more than creating a channel does, and a
// channel that who creates it would not see.
func (s *Service) allowCreation(r Reader, actor Actor, space Conversation, me Access, d ChannelDraft) error {
	for _, one := range shared {
		if one.given(d.Settings) {
			if err := Allow(space, me, one.needs); err != nil {
				return err
			}
		}
	}
	return s.staysInSight(r, actor, Conversation{Kind: Channel, Space: space.ID}, ChannelAccess{Private: d.Private})
}

// staysInSight refuses to let a channel be seen by others than before if who does so
// would not see it any more. Of a private one they are on the allow list then.
func (s *Service) staysInSight(r Reader, actor Actor, c Conversation, access ChannelAccess) error {
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
		return Refuse(Forbidden, "permission_denied", "you need the permission %s here: you would not see it yourself", PermissionView)
	}
	return nil
}

// Channels returns a page of the channels of a space that the actor can see, by
// id; after is the last of the page before, 0 begins. Next has its ID alone. A page is
// full if there are enough: a short one would tell of channels that they do not see.
func (s *Service) Channels(ctx context.Context, actor Actor, space, after ID, limit int) (ConversationPage, error) {
	return view(ctx, s, func(r Reader) (page ConversationPage, err error) {
		if _, _, err := s.enterSpace(r, actor, space); err != nil {
			return page, err
		}
		list, err := r.Channels(space, after, s.policy.MaxChannels)
		if err != nil {
			return page, err
		}
		for _, c := range list {
			me, err := s.access(r, c, actor.User)
			if err != nil {
				return page, err
			}
			if !me.Can(PermissionView) {
				continue
			}
			if n := len(page.Items); n == limit {
				page.Next = &ConversationKey{ID: page.Items[n-1].ID}
				break
			}
			v, err := s.look(r, c, me)
			if err != nil {
				return page, err
			}
			page.Items = append(page.Items, v)
		}
		return page, nil
	})
}

// membersLooked is how many members of a space one page of those of a channel looks
// at, and how many at a time.
const (
	membersLooked  = 10_000
	membersAtATime = 1000
	// rolesLooked is how many roles of a member count for as much as the member.
	rolesLooked = 8
)

// channelMembers returns those members of a space who can see a channel of it. It
// looks at a bounded number: a page may be short, even empty, and yet have a Next.
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
	for looked := 0; looked < membersLooked; {
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
			looked += 1 + len(m.Roles)/rolesLooked
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
