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
	"github.com/imapi/imapi/internal/testsize"
)

// spaceState is everything that determines access to a space and one of its channels, after an
// event.
type spaceState struct {
	// members are the users who receive the event, is holds those who are members after it.
	members, is map[im.UserID]bool
	roles       map[im.UserID]map[im.ID]bool
	lists       map[im.UserID]map[im.List]bool
	set         im.SpaceRoles
	access      im.ChannelAccess
}

func (s spaceState) clone() spaceState {
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

// spaceModel keeps the state after each event.
type spaceModel struct {
	*world
	random              *rand.Rand
	space, channel      im.ID
	otherSpace, another im.ID // changed, too; must not affect space and channel
	users               []im.UserID
	now                 spaceState
	at                  map[im.Position]spaceState
}

// testSpaceModel makes random changes to members, roles, lists and overrides, and compares
// the state after each event with a model, also after the log is trimmed.
func testSpaceModel(w *world) {
	m := &spaceModel{world: w, random: rand.New(rand.NewPCG(81, 82)), at: map[im.Position]spaceState{}}
	for i := range 9 {
		m.users = append(m.users, im.UserID(fmt.Sprint(i)))
	}
	m.space, m.otherSpace = w.space(), w.space(m.users...)
	m.channel, m.another = w.channel(m.space), w.channel(m.otherSpace)
	m.now = spaceState{is: map[im.UserID]bool{}, roles: map[im.UserID]map[im.ID]bool{}, lists: map[im.UserID]map[im.List]bool{}}
	for _, user := range m.users {
		m.now.roles[user], m.now.lists[user] = map[im.ID]bool{}, map[im.List]bool{}
	}
	for round := range 5 {
		for range testsize.Pick(80, 25) {
			m.step()
		}
		m.compare()
		w.write(func(tx im.Tx) error {
			// More steps than there are events to trim.
			for range 30 {
				if _, err := tx.TrimLog(w.now.Add(-time.Duration(20+round)*time.Millisecond), 9); err != nil {
					return err
				}
			}
			return nil
		})
		cut := w.bounds().Cut
		if cut == 0 {
			w.Fatal("no event was trimmed")
		}
		maps.DeleteFunc(m.at, func(at im.Position, _ spaceState) bool { return at < cut })
		m.compare()
	}
}

// step makes a random change with one event.
func (m *spaceModel) step() {
	m.Helper()
	user, role, list := m.users[m.random.IntN(len(m.users))], im.ID(1+m.random.IntN(3)), im.List(1+m.random.IntN(2))
	next := m.now.clone()
	kind := m.random.IntN(8)
	at := m.tick()
	set := im.SpaceRoles{
		Owner: append(m.users, "")[m.random.IntN(len(m.users)+1)],
		Roles: im.RoleSet{{ID: role, Grants: im.Grants{Allow: im.Permissions(m.random.Uint32N(1 << 17))}}, {ID: im.Everyone}},
	}
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
			return tx.EndSpaceAccess(m.space, user, pos)
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
			if err := tx.PutRoles(m.otherSpace, im.SpaceRoles{Owner: user}, pos); err != nil {
				return err
			}
			if err := tx.PutRoles(m.space, im.SpaceRoles{Owner: user}, pos); err != nil { // replaced in the same event
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

// compare compares the store's state after each event, and now, with the model.
func (m *spaceModel) compare() {
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
	m.equal("SpaceMembers in pages", paged, all)
}

func (m *spaceModel) compareAt(at im.Position, want spaceState) {
	m.Helper()
	m.view(func(r im.Reader) error {
		set, err := r.RolesAt(m.space, at)
		m.must(err)
		m.equal(fmt.Sprint("roles at ", at), set, want.set)
		access, err := r.AccessAt(m.channel, at)
		if !errors.Is(err, im.ErrNotFound) || !reflect.DeepEqual(want.access, im.ChannelAccess{}) {
			m.must(err) // before the first PutAccess there is none
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
				m.equal(fmt.Sprintf("roles and lists of %s at %d", member.User, at), rolesAndListsAt(member, at),
					[]any{slices.Sorted(maps.Keys(want.roles[member.User])), slices.Sorted(maps.Keys(want.lists[member.User]))})
				whole, err := r.Membership(m.space, member.User)
				m.must(err)
				m.equal("membership", member.Membership, whole)
				lists, muted, err := r.InChannel(m.channel, member.User)
				m.must(err)
				in := im.SpaceMember{Roles: member.Roles, Lists: lists}
				m.equal("in the channel", []any{rolesAndListsAt(in, at), muted}, []any{rolesAndListsAt(member, at), member.MutedHere})
			}
			m.equal(fmt.Sprintf("members at %d of %v", at, asked), got, users)
		}
		return nil
	})
}

// compareSpan checks that the state after an event also holds at both ends of its span.
func (m *spaceModel) compareSpan(
	span func(im.ID, im.Position) (im.Span, error), at im.Position, held func(im.Position) any, id im.ID,
) {
	m.Helper()
	s, err := span(id, at)
	if errors.Is(err, im.ErrNotFound) {
		return // nothing was stored by then
	}
	m.must(err)
	if s.From > at || s.To != 0 && s.To <= at {
		m.Fatalf("the span %v does not contain %d", s, at)
	}
	last := s.To - 1
	if s.To == 0 {
		last = im.Latest
	}
	for _, end := range []im.Position{s.From, last} {
		m.equal(fmt.Sprintf("at %d of the span %v of %d", end, s, at), held(end), held(at))
	}
}

// rolesAndListsAt returns the roles and lists of a member after an event.
func rolesAndListsAt(m im.SpaceMember, at im.Position) []any {
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
