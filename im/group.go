package im

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// GroupDraft is a group as its owner asks for it.
type GroupDraft struct {
	Name    string
	History History
	// RevokeWindow and ExpireAfter are the group's own, as in Conversation.
	RevokeWindow *time.Duration
	ExpireAfter  time.Duration
	Retention    *time.Duration
	// Members are added besides the owner; naming the owner or somebody twice
	// does no harm.
	Members []UserID
}

// CreateGroup makes a group that the actor owns and tells its members.
func (s *Service) CreateGroup(ctx context.Context, actor Actor, d GroupDraft) (ConversationView, error) {
	settings := ConversationPatch{
		Name: &d.Name, RevokeWindow: &d.RevokeWindow, ExpireAfter: &d.ExpireAfter, Retention: &d.Retention,
	}
	if err := settings.check(s.policy); err != nil {
		return ConversationView{}, err
	}
	if err := checkUsers("members", d.Members); err != nil {
		return ConversationView{}, err
	}
	users := unique(append([]UserID{actor.User}, d.Members...))
	if len(users) > s.policy.MaxMembers {
		return ConversationView{}, s.errTooManyMembers("members")
	}
	if d.History == 0 {
		d.History = HistoryJoined
	}
	done, err := s.admit(ctx, len(users))
	if err != nil {
		return ConversationView{}, err
	}
	defer done()
	return write(ctx, s, func(tx Tx) (ConversationView, error) {
		now := s.time()
		c := Conversation{
			ID: s.ids.Next(now), Kind: Group, Name: d.Name, History: d.History,
			RevokeWindow: d.RevokeWindow, ExpireAfter: d.ExpireAfter, Retention: d.Retention,
			FirstSeq: 1, CreatedAt: now, UpdatedAt: now, EditedAt: now,
		}
		members := make([]Membership, len(users))
		for i, u := range users {
			members[i] = Membership{Conversation: c.ID, User: u, Role: Member, JoinedAt: now}
		}
		members[0].Role = Owner
		if err := s.create(tx, actor, c, members); err != nil {
			return ConversationView{}, err
		}
		return s.seen(tx, actor, c.ID)
	})
}

// ConversationPatch is what of a conversation is to change; nil leaves it.
type ConversationPatch struct {
	Name    *string
	History *History
	// RevokeWindow is the conversation's own; a pointer to nil leaves it to
	// the server again.
	RevokeWindow **time.Duration
	// ExpireAfter is the default of messages; 0 ends it.
	ExpireAfter *time.Duration
	// Retention is the conversation's own; a pointer to nil leaves it to the
	// server again.
	Retention **time.Duration
	// Pinned and Muted are the actor's own.
	Pinned, Muted *bool
}

// shared reports whether the patch changes what all members see.
func (p ConversationPatch) shared() bool {
	return p.Name != nil || p.History != nil || p.RevokeWindow != nil || p.ExpireAfter != nil || p.Retention != nil
}

// MaxRevokeWindow is the longest revoke window that a conversation may set;
// no limit at all is set by 0.
const MaxRevokeWindow = 365 * 24 * time.Hour

// MaxRetention is the longest retention that a conversation may set; to keep
// messages for ever is set by 0.
const MaxRetention = 36500 * day

func (p ConversationPatch) check(policy Policy) error {
	if p.Name != nil {
		if err := checkName(*p.Name); err != nil {
			return err
		}
	}
	if p.History != nil && p.History.String() == "" {
		return RefuseField(Invalid, "invalid_request", "settings/history", "is not a setting of history")
	}
	if w := p.RevokeWindow; w != nil && *w != nil && (**w < 0 || **w > MaxRevokeWindow) {
		return RefuseField(Invalid, "invalid_request", "settings/revoke_window_seconds", "must be 0 to %d", int(MaxRevokeWindow.Seconds()))
	}
	if r := p.Retention; r != nil && *r != nil {
		switch keep, most := **r, policy.RetentionMax; {
		case keep < 0 || keep > MaxRetention:
			return RefuseField(Invalid, "invalid_request", "settings/retention_days", "must be 0 to %d", int(MaxRetention/day))
		case most > 0 && (keep == 0 || keep > most):
			return RefuseField(Rule, "retention_too_long", "settings/retention_days", "this server keeps no message for longer than %s", FormatRetention(most))
		}
	}
	if e := p.ExpireAfter; e != nil && (*e < 0 || *e > MaxExpireAfter) {
		return RefuseField(Invalid, "invalid_request", "settings/expire_after_seconds", "must be 0 to %d", int(MaxExpireAfter.Seconds()))
	}
	return nil
}

// apply returns the conversation as the patch has it.
func (p ConversationPatch) apply(c Conversation) Conversation {
	if p.Name != nil {
		c.Name = *p.Name
	}
	if p.History != nil {
		c.History = *p.History
	}
	if p.RevokeWindow != nil {
		c.RevokeWindow = *p.RevokeWindow
	}
	if p.ExpireAfter != nil {
		c.ExpireAfter = *p.ExpireAfter
	}
	if p.Retention != nil {
		c.Retention = *p.Retention
	}
	return c
}

// allowPatch refuses a patch of what all members see. When messages disappear
// is for either side of a direct conversation to choose; nothing else of one can
// be changed.
func allowPatch(c Conversation, m Membership, p ConversationPatch) error {
	if c.Kind == Direct && p.Name == nil && p.History == nil && p.RevokeWindow == nil {
		return nil
	}
	if p.Retention != nil {
		if err := Allow(c, m, PermissionManageRetention); err != nil {
			return err
		}
	}
	return Allow(c, m, PermissionManage)
}

// sameSettings reports whether two versions of a conversation are the same to
// its members.
func sameSettings(a, b Conversation) bool {
	same := func(a, b *time.Duration) bool { return a == b || a != nil && b != nil && *a == *b }
	return a.Name == b.Name && a.History == b.History && a.ExpireAfter == b.ExpireAfter &&
		same(a.RevokeWindow, b.RevokeWindow) && same(a.Retention, b.Retention)
}

// UpdateConversation changes a group's name or settings and tells its members,
// and what the actor set for themselves, and tells their other devices. A patch
// that changes nothing is told to nobody.
func (s *Service) UpdateConversation(ctx context.Context, actor Actor, ref ConversationRef, p ConversationPatch) (ConversationView, error) {
	if err := p.check(s.policy); err != nil {
		return ConversationView{}, err
	}
	id, err := write(ctx, s, func(tx Tx) (ID, error) {
		c, m, err := enter(tx, actor, ref)
		if err != nil {
			return 0, err
		}
		if p.shared() {
			if err := s.patchShared(tx, actor, c, m, p); err != nil {
				return 0, err
			}
		}
		return c.ID, s.patchOwn(tx, actor, c, m, p)
	})
	if err != nil {
		return ConversationView{}, err
	}
	// What it looks like takes reads that nobody else has to wait for.
	return s.Conversation(ctx, actor, ConversationRef{ID: id})
}

// patchShared changes what all members see.
func (s *Service) patchShared(tx Tx, actor Actor, c Conversation, m Membership, p ConversationPatch) error {
	if err := allowPatch(c, m, p); err != nil {
		return err
	}
	if blocked, err := blockedByPeer(tx, actor, c); err != nil {
		return err
	} else if blocked {
		return errBlocked()
	}
	changed := p.apply(c)
	if sameSettings(changed, c) {
		return nil
	}
	changed.UpdatedAt = s.time()
	changed.EditedAt = changed.UpdatedAt
	if cutoff := s.cutoff(c); !c.OldestAt.IsZero() && c.OldestAt.Before(cutoff) {
		changed.TrimBefore = cutoff // it stays past, whatever the retention is now
	}
	if err := tx.UpdateConversation(changed); err != nil {
		return err
	}
	_, err := tx.Append(Event{
		Type: ConversationUpdated, At: changed.UpdatedAt, Conversation: c.ID,
		Actor: actor.User, ActorDevice: actor.Device,
	})
	return err
}

// patchOwn changes what the actor set for themselves.
func (s *Service) patchOwn(tx Tx, actor Actor, c Conversation, m Membership, p ConversationPatch) error {
	now, mark := s.time(), m.Mark
	switch {
	case p.Pinned == nil:
	case !*p.Pinned:
		mark.PinnedAt = time.Time{}
	case mark.PinnedAt.IsZero():
		mark.PinnedAt = now
	}
	if p.Muted != nil {
		mark.Muted = *p.Muted
	}
	if mark == m.Mark {
		return nil
	}
	mark.ChangedAt = now
	if err := tx.PutMark(c.ID, actor.User, mark); err != nil {
		return err
	}
	_, err := tx.Append(Event{
		Type: ConversationUpdated, At: now, Conversation: c.ID, To: actor.User,
		Actor: actor.User, ActorDevice: actor.Device,
		Own: &OwnSettings{Pinned: !mark.PinnedAt.IsZero(), Muted: mark.Muted},
	})
	return err
}

// Members returns a page of who is a member now.
func (s *Service) Members(ctx context.Context, actor Actor, ref ConversationRef, p Page) ([]Membership, error) {
	return view(ctx, s, func(r Reader) ([]Membership, error) {
		c, _, err := enter(r, actor, ref)
		if err != nil {
			return nil, err
		}
		if p.After != "" {
			// A page goes on after somebody who is or was here. A token made
			// up of another name would tell whether that is known elsewhere.
			_, found, err := maybe(r.Membership(c.ID, UserID(p.After)))
			if err != nil {
				return nil, err
			}
			if !found {
				return nil, RefuseField(Invalid, "invalid_page_token", "page_token", "is not a token of this list")
			}
		}
		return r.Members(c.ID, p)
	})
}

// AddMembers adds users to a group, each told by an event of their own, and
// returns their standing. Who is a member already is left as they are.
func (s *Service) AddMembers(ctx context.Context, actor Actor, ref ConversationRef, users []UserID, role Role) ([]Membership, error) {
	if err := checkUsers("members", users); err != nil {
		return nil, err
	}
	if err := checkRole(role); err != nil {
		return nil, err
	}
	users = unique(users)
	done, err := s.admit(ctx, len(users))
	if err != nil {
		return nil, err
	}
	defer done()
	return write(ctx, s, func(tx Tx) ([]Membership, error) {
		c, me, err := enter(tx, actor, ref)
		if err != nil {
			return nil, err
		}
		if err := Allow(c, me, PermissionAddMembers); err != nil {
			return nil, err
		}
		if role > Member {
			if err := Allow(c, me, PermissionManageRoles); err != nil {
				return nil, err
			}
		}
		if role == Owner {
			return nil, RefuseField(Rule, "one_owner", "role", "a group has one owner; hand it over to a member instead")
		}
		now := s.time()
		var out, fresh []Membership
		for _, u := range users {
			m, found, err := maybe(tx.Membership(c.ID, u))
			if err != nil {
				return nil, err
			}
			if found && m.Active() {
				out = append(out, m)
				continue
			}
			m = Membership{Conversation: c.ID, User: u, Role: role, JoinedAt: now}
			out, fresh = append(out, m), append(fresh, m)
		}
		if c.MemberCount+len(fresh) > s.policy.MaxMembers {
			return nil, s.errTooManyMembers("members")
		}
		for _, m := range fresh {
			at, err := tx.Append(memberEvent(MemberAdded, actor, m, now))
			if err != nil {
				return nil, err
			}
			if err := tx.AddMember(m, at); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
}

// SetRole gives a member of a group another role. Making somebody the owner
// hands the group over: who owned it becomes an admin.
func (s *Service) SetRole(ctx context.Context, actor Actor, ref ConversationRef, user UserID, role Role) (Membership, error) {
	if err := checkRole(role); err != nil {
		return Membership{}, err
	}
	return write(ctx, s, func(tx Tx) (Membership, error) {
		c, me, target, err := s.other(tx, actor, ref, user)
		if err != nil {
			return Membership{}, err
		}
		if err := Allow(c, me, PermissionManageRoles); err != nil {
			return Membership{}, err
		}
		if target.Role == role {
			return target, nil
		}
		if target.User == me.User {
			return Membership{}, errHandOver()
		}
		changes := []Membership{target}
		changes[0].Role = role
		if role == Owner {
			me.Role = Admin
			changes = append(changes, me)
		}
		now := s.time()
		for _, m := range changes {
			if err := tx.SetRole(c.ID, m.User, m.Role); err != nil {
				return Membership{}, err
			}
			if _, err := tx.Append(memberEvent(MemberUpdated, actor, m, now)); err != nil {
				return Membership{}, err
			}
		}
		return changes[0], nil
	})
}

// RemoveMember takes a user out of a group. Removing oneself is leaving, which
// the owner may do only as the last one or after handing over.
func (s *Service) RemoveMember(ctx context.Context, actor Actor, ref ConversationRef, user UserID) error {
	_, err := write(ctx, s, func(tx Tx) (struct{}, error) {
		c, me, target, err := s.other(tx, actor, ref, user)
		if err != nil {
			return struct{}{}, err
		}
		switch {
		case c.Kind == Direct:
			err = Allow(c, me, PermissionRemoveMembers)
		case target.User != me.User:
			err = allowRemoval(c, me, target)
		case me.Role == Owner && c.MemberCount > 1:
			err = errHandOver()
		}
		if err != nil {
			return struct{}{}, err
		}
		at, err := tx.Append(memberEvent(MemberRemoved, actor, target, s.time()))
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, tx.RemoveMember(c.ID, user, at)
	})
	return err
}

// Leave takes the actor out of a group.
func (s *Service) Leave(ctx context.Context, actor Actor, ref ConversationRef) error {
	return s.RemoveMember(ctx, actor, ref, actor.User)
}

// other finds a conversation, the actor's standing in it and that of a member
// whom they name.
func (s *Service) other(r Reader, actor Actor, ref ConversationRef, user UserID) (c Conversation, me, target Membership, err error) {
	if c, me, err = enter(r, actor, ref); err != nil {
		return c, me, target, err
	}
	target, found, err := maybe(r.Membership(c.ID, user))
	if err == nil && (!found || !target.Active()) {
		err = errUnknownMember()
	}
	return c, me, target, err
}

func memberEvent(t EventType, actor Actor, m Membership, at time.Time) Event {
	return Event{
		Type: t, At: at, Conversation: m.Conversation, Actor: actor.User, ActorDevice: actor.Device,
		User: m.User, Role: m.Role,
	}
}

func errHandOver() error {
	return Refuse(Conflict, "owner_must_hand_over", "make another member the owner first")
}

func (s *Service) errTooManyMembers(field string) error {
	return RefuseField(Rule, "too_many_members", field, "a group has at most %d members", s.policy.MaxMembers)
}

// unique returns users, or ids, in their order, each once.
func unique[T comparable](users []T) []T {
	seen := make(map[T]bool, len(users))
	return slices.DeleteFunc(slices.Clone(users), func(u T) bool {
		again := seen[u]
		seen[u] = true
		return again
	})
}

// manyMembers is how many members changed at once make a write that others
// would notice, and atOnce how many such writes may queue for the one writer:
// the rest wait their turn here, where nobody is behind them.
const (
	manyMembers = 100
	atOnce      = 2
)

// admit waits until a write of this many members may be queued. The caller
// calls done after it.
func (s *Service) admit(ctx context.Context, members int) (done func(), err error) {
	if members < manyMembers {
		return func() {}, nil
	}
	select {
	case s.large <- struct{}{}:
		return func() { <-s.large }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func checkName(name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > MaxName {
		return RefuseField(Invalid, "invalid_request", "name", "must be 1 to %d characters", MaxName)
	}
	return nil
}

func checkRole(role Role) error {
	if role.String() == "" {
		return RefuseField(Invalid, "invalid_request", "role", "is not a role")
	}
	return nil
}

func checkUsers(field string, users []UserID) error {
	for i, u := range users {
		if !u.Valid() {
			return RefuseField(Invalid, "invalid_request", fmt.Sprintf("%s/%d", field, i),
				"must be a user id of 1 to %d printable ASCII characters", MaxUserID)
		}
	}
	return nil
}
