package storagetest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

// standing is all that decides who may what in a space and one of its channels, as
// it was after an event.
type standing struct {
	// members are those who are told of the event, is who is one after it.
	members, is map[im.UserID]bool
	roles       map[im.UserID]map[im.ID]bool
	lists       map[im.UserID]map[im.List]bool
	set         im.RoleSet
	access      im.ChannelAccess
}

func (s standing) clone() standing {
	c := s
	c.is, c.members = maps.Clone(s.is), maps.Clone(s.is)
	c.roles, c.lists = map[im.UserID]map[im.ID]bool{}, map[im.UserID]map[im.List]bool{}
	for user, has := range s.roles {
		c.roles[user] = maps.Clone(has)
	}
	for user, on := range s.lists {
		c.lists[user] = maps.Clone(on)
	}
	return c
}

// standingModel keeps what was after each event.
type standingModel struct {
	*world
	random              *rand.Rand
	space, channel      im.ID
	otherSpace, another im.ID // in which the same things happen, and are not to be seen
	users               []im.UserID
	now                 standing
	at                  map[im.Position]standing
}

// testStandingModel lets members come and go, roles be given and taken, and lists,
// roles and overrides change, and holds the state after each event against a
// model: then, and again each time that the log was cut.
func testStandingModel(w *world) {
	m := &standingModel{world: w, random: rand.New(rand.NewPCG(81, 82)), at: map[im.Position]standing{}}
	for i := range 9 {
		m.users = append(m.users, im.UserID(fmt.Sprint(i)))
	}
	m.space, m.otherSpace = w.space(), w.space(m.users...)
	m.channel, m.another = w.channel(m.space), w.channel(m.otherSpace)
	m.now = standing{is: map[im.UserID]bool{}, roles: map[im.UserID]map[im.ID]bool{}, lists: map[im.UserID]map[im.List]bool{}}
	for _, user := range m.users {
		m.now.roles[user], m.now.lists[user] = map[im.ID]bool{}, map[im.List]bool{}
	}
	for round := range 5 {
		for range 80 {
			m.step()
		}
		m.compare()
		w.write(func(tx im.Tx) error {
			// Many more steps than the log has events left to cut.
			for range 30 {
				if _, err := tx.TrimLog(w.now.Add(-time.Duration(20+round)*time.Millisecond), 9); err != nil {
					return err
				}
			}
			return nil
		})
		cut := w.bounds().Cut
		if cut == 0 {
			w.Fatal("nothing was cut")
		}
		maps.DeleteFunc(m.at, func(at im.Position, _ standing) bool { return at < cut })
		m.compare()
	}
}

// step lets something happen by one event.
func (m *standingModel) step() {
	m.Helper()
	user, role, list := m.users[m.random.IntN(len(m.users))], im.ID(1+m.random.IntN(3)), im.List(1+m.random.IntN(2))
	next := m.now.clone()
	kind := m.random.IntN(8)
	at := m.tick()
	set := im.RoleSet{{ID: role, Grants: im.Grants{Allow: im.Permissions(m.random.Uint32N(1 << 17))}}, {ID: im.Everyone}}
	access := im.ChannelAccess{Private: m.random.IntN(2) == 0}
	if m.random.IntN(3) > 0 {
		access.Overrides = []im.Override{{Role: role, Grants: im.Grants{Deny: im.PermissionSend}}, {Role: im.Everyone}}
	}
	var pos im.Position
	m.write(func(tx im.Tx) (err error) {
		pos, err = tx.Append(im.Event{Type: im.MemberUpdated, At: at, Conversation: m.space, Space: m.space, User: user})
		if err != nil {
			return err
		}
		switch {
		case kind == 0 && m.now.is[user]:
			if err := tx.RemoveMember(m.space, user, pos, false); err != nil {
				return err
			}
			return tx.EndStanding(m.space, user, pos)
		case kind <= 1 && !m.now.is[user]:
			return tx.AddMember(im.Membership{Conversation: m.space, User: user, Role: im.Member, JoinedAt: at}, pos)
		case kind <= 3 && m.now.roles[user][role]:
			return tx.EndRole(m.space, user, role, pos)
		case kind <= 3 && m.now.is[user]:
			if err := tx.GrantRole(m.otherSpace, user, role, pos); err != nil {
				return err
			}
			if err := tx.EndRole(m.otherSpace, user, role, pos+1); err != nil {
				return err
			}
			return tx.GrantRole(m.space, user, role, pos)
		case kind == 4 && m.now.lists[user][list]:
			return tx.EndListed(m.channel, list, user, pos)
		case kind <= 5:
			if err := tx.PutListed(m.another, list, user, at, pos); err != nil {
				return err
			}
			return tx.PutListed(m.channel, list, user, at, pos)
		case kind == 6:
			if err := tx.PutRoles(m.otherSpace, nil, pos); err != nil {
				return err
			}
			if err := tx.PutRoles(m.space, nil, pos); err != nil { // replaced at once
				return err
			}
			return tx.PutRoles(m.space, set, pos)
		default:
			if err := tx.PutAccess(m.another, access, pos); err != nil {
				return err
			}
			return tx.PutAccess(m.channel, access, pos)
		}
	})
	switch {
	case kind == 0 && m.now.is[user]:
		next.members[user] = true
		delete(next.is, user)
		next.roles[user] = map[im.ID]bool{}
		delete(next.lists[user], im.AllowList)
	case kind <= 1 && !m.now.is[user]:
		next.members[user], next.is[user] = true, true
	case kind <= 3 && m.now.roles[user][role]:
		delete(next.roles[user], role)
	case kind <= 3 && m.now.is[user]:
		next.roles[user][role] = true
	case kind == 4 && m.now.lists[user][list]:
		delete(next.lists[user], list)
	case kind <= 5:
		next.lists[user][list] = true
	case kind == 6:
		next.set = set
	default:
		next.access = access
	}
	m.now = next
	m.at[pos] = next
}

// compare holds what the store says of each event, and of now, against the model.
func (m *standingModel) compare() {
	m.Helper()
	latest := m.now
	latest.members = latest.is
	for at, want := range m.at {
		m.compareAt(at, want)
	}
	m.compareAt(im.Latest, latest)

	var paged []im.SpaceMember
	for after := ""; ; {
		page := read(m.world, func(r im.Reader) ([]im.SpaceMember, error) {
			return r.SpaceMembers(m.space, m.channel, im.Page{After: after, Limit: 2})
		})
		for _, member := range page {
			m.equal("intervals", len(member.Intervals), 0)
		}
		if paged = append(paged, page...); len(page) < 2 {
			break
		}
		after = string(page[1].User)
	}
	slices.SortFunc(paged, func(a, b im.SpaceMember) int { return cmp.Compare(a.User, b.User) })
	all := read(m.world, func(r im.Reader) ([]im.SpaceMember, error) {
		return r.SpaceMembersAt(m.space, m.channel, im.Latest, m.users)
	})
	for i := range all {
		all[i].Intervals = nil
	}
	m.equal("by pages", paged, all)
}

func (m *standingModel) compareAt(at im.Position, want standing) {
	m.Helper()
	m.view(func(r im.Reader) error {
		set, err := r.RolesAt(m.space, at)
		m.must(err)
		m.equal(fmt.Sprint("roles at ", at), set, want.set)
		access, err := r.AccessAt(m.channel, at)
		if !errors.Is(err, im.ErrNotFound) || !reflect.DeepEqual(want.access, im.ChannelAccess{}) {
			m.must(err) // else there was none yet
		}
		m.equal(fmt.Sprint("access at ", at), access, want.access)
		m.compareSpan(r.RolesSpan, at, func(at im.Position) any {
			set, err := r.RolesAt(m.space, at)
			m.must(err)
			return set
		}, m.space)
		m.compareSpan(r.AccessSpan, at, func(at im.Position) any {
			access, err := r.AccessAt(m.channel, at)
			if !errors.Is(err, im.ErrNotFound) {
				m.must(err)
			}
			return access
		}, m.channel)
		one := m.users[m.random.IntN(len(m.users))]
		for _, asked := range [][]im.UserID{m.users, {one}, {one, "nobody", one}} {
			var users []im.UserID
			for _, u := range slices.Compact(slices.Sorted(slices.Values(asked))) {
				if want.members[u] {
					users = append(users, u)
				}
			}
			list, err := r.SpaceMembersAt(m.space, m.channel, at, asked)
			m.must(err)
			var got []im.UserID
			for _, member := range list {
				got = append(got, member.User)
				m.equal(fmt.Sprintf("what %s has at %d", member.User, at), standingOf(member, at),
					[]any{slices.Sorted(maps.Keys(want.roles[member.User])), slices.Sorted(maps.Keys(want.lists[member.User]))})
				whole, err := r.Membership(m.space, member.User)
				m.must(err)
				m.equal("membership", member.Membership, whole)
				lists, muted, err := r.InChannel(m.channel, member.User)
				m.must(err)
				in := im.SpaceMember{Roles: member.Roles, Lists: lists}
				m.equal("in the channel", []any{standingOf(in, at), muted}, []any{standingOf(member, at), member.MutedHere})
			}
			m.equal(fmt.Sprintf("members at %d of %v", at, asked), got, users)
		}
		return nil
	})
}

// compareSpan holds that what held after an event did at both ends of its span.
func (m *standingModel) compareSpan(
	span func(im.ID, im.Position) (im.Span, error), at im.Position, held func(im.Position) any, id im.ID,
) {
	m.Helper()
	s, err := span(id, at)
	if errors.Is(err, im.ErrNotFound) {
		return // what held is nothing, then
	}
	m.must(err)
	if s.From > at || s.To != 0 && s.To <= at {
		m.Fatalf("the span %v does not hold %d", s, at)
	}
	last := s.To - 1
	if s.To == 0 {
		last = im.Latest
	}
	for _, end := range []im.Position{s.From, last} {
		m.equal(fmt.Sprintf("at %d of the span %v of %d", end, s, at), held(end), held(at))
	}
}

// standingOf are the roles and lists of a member after an event.
func standingOf(m im.SpaceMember, at im.Position) []any {
	holds := func(from, to im.Position) bool { return from <= at && (to == 0 || at < to) }
	var roles []im.ID
	var lists []im.List
	for _, r := range m.Roles {
		if holds(r.From, r.To) {
			roles = append(roles, r.Role)
		}
	}
	for _, l := range m.Lists {
		if holds(l.From, l.To) {
			lists = append(lists, l.List)
		}
	}
	slices.Sort(roles)
	slices.Sort(lists)
	return []any{roles, lists}
}

// overridden asks for the channels of a space in which roles have overrides; in one of
// them bob is muted for a day and denied since 4.
func (w *world) overridden(space, channel, other im.ID) {
	w.Helper()
	deleted := w.channel(space)
	say := func(overrides ...im.Override) im.ChannelAccess {
		return im.ChannelAccess{Private: true, Overrides: overrides}
	}
	deny := im.Grants{Deny: im.PermissionSend}
	w.write(func(tx im.Tx) error {
		for id, access := range map[im.ID]im.ChannelAccess{
			channel: say(im.Override{Role: 77, Grants: deny}, im.Override{Role: 7, Grants: deny}),
			other:   say(im.Override{Role: im.Everyone, Grants: deny}),
			deleted: say(im.Override{Role: 7, Grants: deny}),
		} {
			if err := tx.PutAccess(id, say(im.Override{Role: 9, Grants: deny}), 6); err != nil {
				return err
			}
			if err := tx.PutAccess(id, access, 7); err != nil {
				return err
			}
		}
		c, err := tx.Conversation(other)
		if err != nil {
			return err
		}
		c.MuteAll = true
		if err := tx.UpdateConversation(c); err != nil {
			return err
		}
		return tx.DeleteConversation(deleted, epoch, 8)
	})
	ask := func(user im.UserID, roles ...im.ID) []im.ChannelOf {
		return read(w, func(r im.Reader) ([]im.ChannelOf, error) { return r.Overridden(space, roles, user) })
	}
	here := im.ChannelOf{Channel: channel, Access: say(im.Override{Role: 77, Grants: deny}, im.Override{Role: 7, Grants: deny})}
	there := im.ChannelOf{Channel: other, MuteAll: true, Access: say(im.Override{Role: im.Everyone, Grants: deny})}
	w.equal("overrides of a role", ask("alice", 7), []im.ChannelOf{here})
	w.equal("of one or another", ask("nobody", im.Everyone, 77, 5), []im.ChannelOf{here, there})
	w.equal("of none that is there now", len(ask("alice", 9, 70)), 0)
	here.Lists, here.MutedHere = []im.ListStay{{List: im.DenyList, From: 4}}, epoch.Add(24*time.Hour)
	w.equal("for who is muted and denied", ask("bob", 7, 77, im.Everyone), []im.ChannelOf{here, there})
}

// testSpaceMembers looks at what the model does not: mutes, who owns the space,
// and a space without a channel.
func testSpaceMembers(w *world) {
	space := w.space("alice", "bob")
	channel, other := w.channel(space), w.channel(space)
	hour, day := epoch.Add(time.Hour), epoch.Add(24*time.Hour)
	w.write(func(tx im.Tx) error {
		for id, until := range map[im.ID]time.Time{space: hour, channel: day} {
			if err := tx.PutMute(id, "bob", until); err != nil {
				return err
			}
		}
		if err := tx.SetRole(space, "alice", im.Owner); err != nil {
			return err
		}
		if err := tx.GrantRole(space, "bob", 7, 3); err != nil {
			return err
		}
		return tx.PutListed(channel, im.DenyList, "bob", epoch, 4)
	})
	alice := im.SpaceMember{Membership: w.membership(space, "alice")}
	bob := im.SpaceMember{Membership: w.membership(space, "bob"), Roles: []im.RoleStay{{Role: 7, From: 3}}}
	w.equal("owner, mute", []any{alice.Role, bob.MutedUntil}, []any{im.Owner, hour})
	here := bob
	here.Lists, here.MutedHere = []im.ListStay{{List: im.DenyList, From: 4}}, day
	for id, want := range map[im.ID][]im.SpaceMember{0: {alice, bob}, other: {alice, bob}, channel: {alice, here}} {
		got := read(w, func(r im.Reader) ([]im.SpaceMember, error) {
			return r.SpaceMembersAt(space, id, im.Latest, []im.UserID{"bob", "nobody", "alice"})
		})
		w.equal("now", got, want)
		page := read(w, func(r im.Reader) ([]im.SpaceMember, error) { return r.SpaceMembers(space, id, im.Page{Limit: 9}) })
		for i := range got {
			got[i].Intervals = nil
		}
		w.equal("a page", page, got)
	}
	w.overridden(space, channel, other)
	none := read(w, func(r im.Reader) ([]im.SpaceMember, error) {
		return r.SpaceMembersAt(channel, channel, im.Latest, []im.UserID{"alice"})
	})
	w.equal("of what is no space", len(none), 0)

	again := w.store.Write(w.Context(), func(tx im.Tx) error { return tx.GrantRole(space, "bob", 7, 9) })
	if again == nil {
		w.Fatal("a role was given twice")
	}
	for _, user := range []im.UserID{"alice", "nobody"} {
		w.notFound("a role that "+string(user)+" has not",
			w.store.Write(w.Context(), func(tx im.Tx) error { return tx.EndRole(space, user, 7, 9) }))
	}
	// Given again by the event that has ended it, it goes on.
	w.write(func(tx im.Tx) error {
		for _, fn := range []func(im.ID, im.UserID, im.ID, im.Position) error{tx.EndRole, tx.GrantRole, tx.EndRole, tx.GrantRole} {
			if err := fn(space, "bob", 7, 9); err != nil {
				return err
			}
		}
		return nil
	})
	for at, want := range map[im.Position][]im.RoleStay{
		im.Latest - 1: {{Role: 7, From: 3, To: 9}, {Role: 7, From: 9}},
		im.Latest:     {{Role: 7, From: 9}}, // what has ended is not asked for
	} {
		got := read(w, func(r im.Reader) ([]im.SpaceMember, error) {
			return r.SpaceMembersAt(space, 0, at, []im.UserID{"bob"})
		})
		w.equal("again", got[0].Roles, want)
	}
}

// testVersions: what nothing was said of is empty or not there, and a deletion ends what holds.
func testVersions(w *world) {
	space := w.space("alice")
	channel := w.channel(space)
	roles := func(at im.Position) im.RoleSet {
		return read(w, func(r im.Reader) (im.RoleSet, error) { return r.RolesAt(space, at) })
	}
	access := func(at im.Position) any {
		return read(w, func(r im.Reader) (any, error) {
			a, err := r.AccessAt(channel, at)
			if errors.Is(err, im.ErrNotFound) {
				return "none", nil
			}
			return a, err
		})
	}
	w.equal("before", []any{len(roles(im.Latest)), access(im.Latest)}, []any{0, "none"})
	set := im.RoleSet{
		{ID: 1<<62 + 1, Grants: im.Grants{Allow: im.RolePermissions, Deny: im.PermissionView}},
		{ID: im.Everyone, Grants: im.Grants{Allow: im.EveryoneMay}},
	}
	private := im.ChannelAccess{Private: true, Overrides: []im.Override{{Role: 1<<62 + 1, Grants: im.Grants{Allow: im.PermissionView}}}}
	w.write(func(tx im.Tx) error {
		if err := tx.PutRoles(space, set, 5); err != nil {
			return err
		}
		return tx.PutAccess(channel, private, 6)
	})
	for _, at := range []im.Position{4, 5, 6, im.Latest} {
		want, wanted := set[:0], any("none")
		if at >= 5 {
			want = set
		}
		if at >= 6 {
			wanted = private
		}
		w.equal(fmt.Sprint("at ", at), []any{roles(at), access(at)}, []any{want, wanted})
	}
	w.tick()
	for range 9 {
		w.send(w.text(channel, "alice", "said"))
	}
	by := w.deleteForAll(space)
	w.equal("before the deletion", []any{roles(by - 1), access(by - 1)}, []any{set, private})
	w.equal("after it", []any{len(roles(by)), access(im.Latest)}, []any{0, "none"})
}

// testManyStays holds that what came and went very often does not make a look at a
// member longer, and that what it was lately is known.
func testManyStays(w *world) {
	space := w.space("alice", "bob")
	channel := w.channel(space)
	const times = 250
	first := read(w, func(r im.Reader) (im.LogBounds, error) { return r.LogBounds() }).Head + 1
	for n := range im.Position(times) {
		w.write(func(tx im.Tx) error {
			from, to := first+2*n, first+2*n+1
			return errors.Join(
				tx.GrantRole(space, "bob", 7, from), tx.PutListed(channel, im.AllowList, "bob", epoch, from),
				tx.EndRole(space, "bob", 7, to), tx.EndListed(channel, im.AllowList, "bob", to),
			)
		})
	}
	w.write(func(tx im.Tx) error { return tx.PutListed(channel, im.DenyList, "bob", epoch, first) })
	bob := func(at im.Position) im.SpaceMember {
		return read(w, func(r im.Reader) ([]im.SpaceMember, error) {
			return r.SpaceMembersAt(space, channel, at, []im.UserID{"bob"})
		})[0]
	}
	now := bob(im.Latest)
	w.equal("now", []int{len(now.Roles), len(now.Lists)}, []int{0, 1})
	for n := range im.Position(50) {
		at := first + 2*(times-1-n)
		for is, at := range map[bool]im.Position{true: at, false: at + 1} {
			want := []any{[]im.ID(nil), []im.List{im.DenyList}}
			if is {
				want = []any{[]im.ID{7}, []im.List{im.AllowList, im.DenyList}}
			}
			w.equal(fmt.Sprint("at ", at), standingOf(bob(at), at), want)
		}
	}
	then := bob(first + 2*times)
	w.equal("what is known", []int{len(then.Roles), len(then.Lists)}, []int{100, 101})
}
