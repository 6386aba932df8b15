package im

import (
	"context"
	"slices"
	"time"
	"unicode/utf8"
)

// JoinPolicy says who may join a group or space without being added.
type JoinPolicy uint8

// The policies of joining. The numbers are stored: never reuse one.
const (
	JoinClosed JoinPolicy = 1 // only users who are added or invited
	JoinOpen   JoinPolicy = 2 // every user who knows its id
)

var joinNames = names[JoinPolicy]{JoinClosed: "closed", JoinOpen: "open"}

// String returns the policy as clients know it.
func (p JoinPolicy) String() string { return joinNames[p] }

// ParseJoinPolicy reads what [JoinPolicy.String] wrote.
func ParseJoinPolicy(s string) (JoinPolicy, bool) { return joinNames.parse(s) }

// InvitePolicy says who may add members to a group.
type InvitePolicy uint8

// The policies of adding. Their numbers are stored: never reuse one.
const (
	InviteByAdmins  InvitePolicy = 1
	InviteByMembers InvitePolicy = 2
)

var inviteNames = names[InvitePolicy]{InviteByAdmins: "admins", InviteByMembers: "members"}

// String returns the policy as clients know it.
func (p InvitePolicy) String() string { return inviteNames[p] }

// ParseInvitePolicy reads what [InvitePolicy.String] wrote.
func ParseInvitePolicy(s string) (InvitePolicy, bool) { return inviteNames.parse(s) }

// The maximum lengths of the texts of a conversation, in characters.
const (
	MaxName         = 128
	MaxThreadName   = 64
	MaxAnnouncement = 2048
	MaxAvatar       = 1024
)

// ConversationPatch is a change of a conversation or space. Fields that are nil change
// nothing.
type ConversationPatch struct {
	Name    *string
	History *History
	// RevokeWindow and RevokeOthersWindow point to nil to return to the value of the parent or the
	// policy.
	RevokeWindow       **time.Duration
	RevokeOthersWindow **time.Duration
	// ExpireAfter is the default for messages; 0 means never.
	ExpireAfter *time.Duration
	// Retention points to nil to return to the value of the policy.
	Retention **time.Duration
	// "" deletes Announcement and Avatar.
	Announcement, Avatar *string
	Join                 *JoinPolicy
	Invite               *InvitePolicy
	MuteAll              *bool
	// 0 switches SlowMode off.
	SlowMode *time.Duration
	Private  *bool
	// Pinned and Muted are the actor's own settings.
	Pinned, Muted *bool
}

// setting is one field of a patch that changes the conversation for all members.
type setting struct {
	field string
	// kinds have the setting. needs is the permission to change it.
	kinds []Kind
	needs Permissions
	given func(ConversationPatch) bool
}

var shared = []setting{
	{"name", []Kind{Group, Room, Thread, Channel, Space}, PermissionManageConversation, func(p ConversationPatch) bool { return p.Name != nil }},
	{"settings/history", []Kind{Group, Room}, PermissionManageConversation, func(p ConversationPatch) bool { return p.History != nil }},
	{"settings/revoke_window_seconds", []Kind{Group, Room, Channel, Space}, PermissionManageConversation, func(p ConversationPatch) bool { return p.RevokeWindow != nil }},
	{"settings/revoke_others_window_seconds", []Kind{Group, Room, Channel, Space}, PermissionManageConversation, func(p ConversationPatch) bool { return p.RevokeOthersWindow != nil }},
	{"settings/expire_after_seconds", []Kind{Direct, Group, Room, Channel}, PermissionManageConversation, func(p ConversationPatch) bool { return p.ExpireAfter != nil }},
	{"settings/retention_days", []Kind{Direct, Group, Room, Channel}, PermissionManageRetention, func(p ConversationPatch) bool { return p.Retention != nil }},
	{"settings/announcement", []Kind{Group, Room, Channel, Space}, PermissionManageConversation, func(p ConversationPatch) bool { return p.Announcement != nil }},
	{"settings/avatar", []Kind{Group, Room, Channel, Space}, PermissionManageConversation, func(p ConversationPatch) bool { return p.Avatar != nil }},
	{"settings/join", []Kind{Group, Space}, PermissionManageConversation, func(p ConversationPatch) bool { return p.Join != nil }},
	{"settings/invite", []Kind{Group}, PermissionManageConversation, func(p ConversationPatch) bool { return p.Invite != nil }},
	{"settings/mute_all", []Kind{Group, Room, Channel}, PermissionMute, func(p ConversationPatch) bool { return p.MuteAll != nil }},
	{"settings/slow_mode_seconds", []Kind{Group, Room, Channel}, PermissionMute, func(p ConversationPatch) bool { return p.SlowMode != nil }},
	{"visibility", []Kind{Channel}, PermissionManageConversation, func(p ConversationPatch) bool { return p.Private != nil }},
}

// shared reports whether the patch changes the conversation for all members.
func (p ConversationPatch) shared() bool {
	return slices.ContainsFunc(shared, func(s setting) bool { return s.given(p) })
}

// besides returns the patch without what is so in a conversation already.
func (p ConversationPatch) besides(c Conversation) ConversationPatch {
	leaveOut(&p.History, c.History)
	leaveOut(&p.ExpireAfter, c.ExpireAfter)
	leaveOut(&p.Announcement, c.Announcement)
	leaveOut(&p.Avatar, c.Avatar)
	leaveOut(&p.Join, c.Join)
	leaveOut(&p.Invite, c.Invite)
	leaveOut(&p.MuteAll, c.MuteAll)
	leaveOut(&p.SlowMode, c.SlowMode)
	return p
}

func leaveOut[T comparable](given **T, value T) {
	if *given != nil && **given == value {
		*given = nil
	}
}

// unsupported refuses settings that a kind does not have.
func (p ConversationPatch) unsupported(k Kind) error {
	for _, s := range shared {
		switch {
		case !s.given(p) || slices.Contains(s.kinds, k):
		case k == Direct:
			return RefuseField(Rule, "direct_conversation", s.field, "a direct conversation does not have this setting")
		default:
			return RefuseField(Rule, "setting_unsupported", s.field, "a %s does not have this setting", k)
		}
	}
	return nil
}

// MaxRevokeWindow is the longest revoke window of a conversation, apart from 0, which sets no
// limit.
const MaxRevokeWindow = 365 * 24 * time.Hour

// MaxRetention is the longest retention of a conversation, apart from 0, which means forever.
const MaxRetention = 36500 * day

// MaxSlowMode is the longest interval of slow mode.
const MaxSlowMode = 6 * time.Hour

// checkFor checks the settings of a new conversation of a kind.
func (p ConversationPatch) checkFor(k Kind, policy Policy) error {
	if err := p.check(policy); err != nil {
		return err
	}
	return p.unsupported(k)
}

// check refuses values that no conversation may have.
func (p ConversationPatch) check(policy Policy) error {
	if p.Name != nil {
		if err := checkName(*p.Name, MaxName); err != nil {
			return err
		}
	}
	for _, window := range []struct {
		field string
		value **time.Duration
	}{
		{"settings/revoke_window_seconds", p.RevokeWindow},
		{"settings/revoke_others_window_seconds", p.RevokeOthersWindow},
	} {
		if w := window.value; w != nil && *w != nil && (**w < 0 || **w > MaxRevokeWindow) {
			return RefuseField(Invalid, "invalid_request", window.field, "must be 0 to %d", int(MaxRevokeWindow.Seconds()))
		}
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
	if m := p.SlowMode; m != nil && (*m < 0 || *m > MaxSlowMode) {
		return RefuseField(Invalid, "invalid_request", "settings/slow_mode_seconds", "must be 0 to %d", int(MaxSlowMode.Seconds()))
	}
	for _, text := range []struct {
		field string
		value *string
		most  int
	}{
		{"settings/announcement", p.Announcement, MaxAnnouncement},
		{"settings/avatar", p.Avatar, MaxAvatar},
	} {
		if text.value != nil && utf8.RuneCountInString(*text.value) > text.most {
			return RefuseField(Invalid, "invalid_request", text.field, "at most %d characters", text.most)
		}
	}
	switch {
	case p.History != nil && p.History.String() == "":
		return RefuseField(Invalid, "invalid_request", "settings/history", "is not a value of history")
	case p.Join != nil && p.Join.String() == "":
		return RefuseField(Invalid, "invalid_request", "settings/join", "is not a value of join")
	case p.Invite != nil && p.Invite.String() == "":
		return RefuseField(Invalid, "invalid_request", "settings/invite", "is not a value of invite")
	}
	return nil
}

func checkName(name string, most int) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > most {
		return RefuseField(Invalid, "invalid_request", "name", "must be 1 to %d characters", most)
	}
	return nil
}

// apply returns the conversation after the patch.
func (p ConversationPatch) apply(c Conversation) Conversation {
	set(&c.Name, p.Name)
	set(&c.History, p.History)
	set(&c.RevokeWindow, p.RevokeWindow)
	set(&c.RevokeOthersWindow, p.RevokeOthersWindow)
	set(&c.ExpireAfter, p.ExpireAfter)
	set(&c.Retention, p.Retention)
	set(&c.Announcement, p.Announcement)
	set(&c.Avatar, p.Avatar)
	set(&c.Join, p.Join)
	set(&c.Invite, p.Invite)
	set(&c.MuteAll, p.MuteAll)
	set(&c.SlowMode, p.SlowMode)
	set(&c.Private, p.Private)
	return c
}

func set[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}

// allowPatch refuses a patch that the actor may not apply. Either user of a direct conversation may
// change when its messages disappear, and nothing else.
func allowPatch(c Conversation, m Access, p ConversationPatch) error {
	if c.Kind == Direct {
		return p.unsupported(Direct)
	}
	for _, s := range shared {
		if !s.given(p) {
			continue
		}
		needs := s.needs
		if !slices.Contains(s.kinds, c.Kind) {
			needs = PermissionManageConversation // a user who lacks it must not learn that the kind has no such setting
		}
		if c.Kind == Space && needs == PermissionManageConversation {
			needs = PermissionManageSpace
		}
		if err := allow(c, m, needs); err != nil {
			return err
		}
	}
	return p.unsupported(c.Kind)
}

// sameSettings reports whether two versions of a conversation look the same to its members.
func sameSettings(a, b Conversation) bool {
	same := func(a, b *time.Duration) bool { return a == b || a != nil && b != nil && *a == *b }
	return a.Name == b.Name && a.History == b.History && a.ExpireAfter == b.ExpireAfter &&
		same(a.RevokeWindow, b.RevokeWindow) && same(a.RevokeOthersWindow, b.RevokeOthersWindow) &&
		same(a.Retention, b.Retention) && a.Announcement == b.Announcement && a.Avatar == b.Avatar &&
		a.Join == b.Join && a.Invite == b.Invite && a.MuteAll == b.MuteAll && a.SlowMode == b.SlowMode &&
		a.Private == b.Private
}

// UpdateConversation changes the name or settings of a conversation and publishes that to its
// members. It also changes the actor's own settings and publishes those to their other
// devices. It publishes nothing if nothing changes.
func (s *Service) UpdateConversation(ctx context.Context, actor Actor, ref ConversationRef, p ConversationPatch) (ConversationView, error) {
	if err := p.check(s.policy); err != nil {
		return ConversationView{}, err
	}
	type step struct {
		id, through ID
		more        bool
	}
	var done step
	finishing := WithBulk(context.WithoutCancel(ctx))
	for {
		through := done.through
		var err error
		done, err = write(ctx, s, func(tx Tx) (step, error) {
			c, m, err := s.enter(tx, actor, ref)
			if err != nil {
				return step{}, err
			}
			if p.shared() {
				through, more, err := s.patchShared(tx, actor, c, m, p, through)
				if err != nil || more {
					return step{c.ID, through, more}, err
				}
			}
			return step{id: c.ID}, s.patchOwn(tx, actor, c, m, p)
		})
		if err != nil {
			return ConversationView{}, err
		}
		if !done.more {
			break
		}
		ctx = finishing
	}
	id := done.id
	// The view is read outside the transaction, so that no writer waits for it.
	return s.Conversation(ctx, actor, ConversationRef{ID: id})
}

// patchShared changes the conversation for all members. A change of the retention also applies to
// its threads, of which there may be any number. They change first, in steps: while more is true,
// nothing else has changed, and the caller calls again with through.
func (s *Service) patchShared(
	tx Tx, actor Actor, c Conversation, m Access, p ConversationPatch, after ID,
) (through ID, more bool, err error) {
	if err := s.allowPatchOf(tx, actor, c, m, p); err != nil {
		return 0, false, err
	}
	changed := p.apply(c)
	if sameSettings(changed, c) {
		return 0, false, nil
	}
	access, err := s.visibility(tx, actor, changed, c)
	if err != nil {
		return 0, false, err
	}
	if c.Kind == Thread {
		if err := slowDown(tx, c, m, s.time()); err != nil {
			return 0, false, err
		}
	}
	cutoff := s.cutoff(c)
	if p.Retention != nil {
		if s.holds() {
			return 0, false, s.errClockJumped() // a wrong clock would trim messages for good
		}
		through, more, err = s.setThreadRetention(tx, c.ID, changed.Retention, cutoff, after)
		if err != nil || more {
			return through, more, err
		}
	}
	return 0, false, s.putShared(tx, actor, c, changed, m, access, cutoff)
}

// setThreadRetention changes the retention of a conversation's threads with ids greater than after,
// in the order of their ids, until the step is over. through is the id of the last thread that it
// has changed.
func (s *Service) setThreadRetention(tx ConversationWriter, id ID, retention *time.Duration, past time.Time, after ID) (through ID, more bool, err error) {
	for step := s.pace(); ; after = through {
		through, more, err = tx.SetThreadRetention(id, retention, past, after, threadsAtOnce)
		if err != nil || !more || step.over() {
			return through, more, err
		}
	}
}

// allowPatchOf refuses a patch that the actor may not apply, or that the state of the
// conversation forbids.
func (s *Service) allowPatchOf(r Reader, actor Actor, c Conversation, m Access, p ConversationPatch) error {
	if err := allowPatch(c, m, p); err != nil {
		return err
	}
	if c.Kind == Thread && p.Name != nil {
		if err := checkName(*p.Name, MaxThreadName); err != nil {
			return err
		}
	}
	blocked, err := blockedByPeer(r, actor, c)
	if err == nil && blocked && s.policy.livesLonger(c, p.apply(c)) {
		err = errBlocked()
	}
	return err
}

// putShared stores a change for all members and publishes it.
func (s *Service) putShared(
	tx Tx, actor Actor, c, changed Conversation, m Access, access *ChannelAccess, cutoff time.Time,
) error {
	changed.UpdatedAt = s.time()
	changed.EditedAt = changed.UpdatedAt
	if changed.EditedAt.Equal(c.CreatedAt) {
		// Another time than CreatedAt shows that there was a change, after which a repeated creation
		// is not compared. A later one would show the name to a user who joined right after the change.
		changed.EditedAt = changed.EditedAt.Add(-time.Millisecond)
	}
	// Only a change of the retention advances TrimBefore. If other changes did, too, one made while
	// the clock is wrong would put messages past retention for good.
	if changed.Retention != c.Retention && !c.OldestAt.IsZero() && c.OldestAt.Before(cutoff) {
		changed.TrimBefore = cutoff // messages past the old retention stay past retention
	}
	if err := tx.UpdateConversation(changed); err != nil {
		return err
	}
	at, err := tx.Append(changed.event(updated, actor, changed.UpdatedAt))
	if err != nil || access == nil {
		return err
	}
	if err := tx.PutAccess(c.ID, *access, at); err != nil || !changed.Private || m.role == Owner {
		return err
	}
	// An actor who makes a channel private can still see it.
	return tx.PutListed(c.ID, AllowList, actor.User, changed.UpdatedAt, at)
}

// visibility returns the new access rules of a channel that the patch makes private or public, nil
// if it does neither.
func (s *Service) visibility(r Reader, actor Actor, changed, c Conversation) (*ChannelAccess, error) {
	if changed.Private == c.Private {
		return nil, nil
	}
	access, err := r.AccessAt(c.ID, Latest)
	if err != nil {
		return nil, err
	}
	before := access
	access.Private = changed.Private
	if err := s.staysVisible(r, actor, c, access); err != nil {
		return nil, err
	}
	roles, err := s.changeRoles(r, actor, c.Space)
	if err != nil {
		return nil, err
	}
	return &access, roles.protectHigherRoles(roles.roles, before, access)
}

// patchOwn changes the actor's own settings, and publishes that to the actor's other devices.
func (s *Service) patchOwn(tx Tx, actor Actor, c Conversation, m Access, p ConversationPatch) error {
	now, mark := s.time(), m.mark
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
	if mark == m.mark {
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
