package im_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// list returns a set of permissions in the form of the tables.
func list(p im.Permissions) string {
	var names []string
	for one := range p.Each() {
		names = append(names, one.String())
	}
	return strings.Join(names, " ")
}

// TestPermissionsByRole checks the permissions of each role in the kinds with fixed roles.
func TestPermissionsByRole(t *testing.T) {
	const (
		member = "view send revoke_own"
		inRoom = "view send mention_all revoke_own revoke_others invite kick mute manage_members manage_conversation"
		owns   = "view send mention_all revoke_own revoke_others delete_others invite kick mute manage_members manage_roles manage_conversation manage_retention delete"
	)
	// with adds the permissions that groups have in addition to a list.
	with := func(list, after, more string) string { return strings.Replace(list, after, after+" "+more, 1) }
	admin := with(inRoom, "mention_all", "create_thread manage_threads")
	for _, test := range []struct {
		name string
		s    im.PermissionInput
		want string
	}{
		{"not in a direct conversation", im.PermissionInput{Kind: im.Direct}, ""},
		{"a user of a direct conversation", im.PermissionInput{Kind: im.Direct, Member: true, Role: im.Member}, "view send revoke_own delete"},
		{"not in a group", im.PermissionInput{Kind: im.Group, Role: im.Owner}, ""},
		{"a member of a group", im.PermissionInput{Kind: im.Group, Member: true, Role: im.Member}, with(member, "send", "create_thread")},
		{"a member of a group in which all may add others", im.PermissionInput{Kind: im.Group, Member: true, Role: im.Member, MembersInvite: true}, "view send create_thread revoke_own invite"},
		{"a muted member of a group", im.PermissionInput{Kind: im.Group, Member: true, Role: im.Member, Muted: true}, "view revoke_own"},
		{"a member while all are muted", im.PermissionInput{Kind: im.Group, Member: true, Role: im.Member, MuteAll: true}, "view revoke_own"},
		{"an admin of a group", im.PermissionInput{Kind: im.Group, Member: true, Role: im.Admin}, admin},
		{"an admin while all are muted", im.PermissionInput{Kind: im.Group, Member: true, Role: im.Admin, MuteAll: true}, admin},
		{
			"a muted admin",
			im.PermissionInput{Kind: im.Group, Member: true, Role: im.Admin, Muted: true},
			"view manage_threads revoke_own revoke_others invite kick mute manage_members manage_conversation",
		},
		{"the owner of a group", im.PermissionInput{Kind: im.Group, Member: true, Role: im.Owner}, with(owns, "mention_all", "create_thread manage_threads")},
		{"not in a room", im.PermissionInput{Kind: im.Room}, ""},
		{"a member of a room", im.PermissionInput{Kind: im.Room, Member: true, Role: im.Member}, member},
		{"an admin of a room", im.PermissionInput{Kind: im.Room, Member: true, Role: im.Admin}, inRoom},
		{"the owner of a room", im.PermissionInput{Kind: im.Room, Member: true, Role: im.Owner}, owns},
	} {
		if got := list(test.s.Permissions()); got != test.want {
			t.Errorf("%s may %q, want %q", test.name, got, test.want)
		}
	}
}

// TestPermissionsInThread checks how permissions in a thread follow from those in its parent.
func TestPermissionsInThread(t *testing.T) {
	member := im.PermissionInput{Kind: im.Group, Member: true, Role: im.Member}
	admin := im.PermissionInput{Kind: im.Group, Member: true, Role: im.Admin}
	muted := im.PermissionInput{Kind: im.Group, Member: true, Role: im.Member, Muted: true}
	for _, test := range []struct {
		name string
		s    im.PermissionInput
		want string
	}{
		{"without access to the parent", im.PermissionInput{Member: true, Creator: true}, ""},
		{"not joined", im.PermissionInput{Parent: member.Permissions()}, "view revoke_own"},
		{"joined", im.PermissionInput{Parent: member.Permissions(), Member: true}, "view send revoke_own"},
		{"creator", im.PermissionInput{Parent: member.Permissions(), Creator: true}, "view revoke_own manage_conversation"},
		{"muted creator", im.PermissionInput{Parent: muted.Permissions(), Creator: true}, "view revoke_own"},
		{"muted in the parent", im.PermissionInput{Parent: muted.Permissions(), Member: true}, "view revoke_own"},
		{
			"an admin of the parent",
			im.PermissionInput{Parent: admin.Permissions()},
			"view manage_threads revoke_own revoke_others kick manage_conversation delete",
		},
		{
			"an admin, joined",
			im.PermissionInput{Parent: admin.Permissions(), Member: true},
			"view send mention_all manage_threads revoke_own revoke_others kick manage_conversation delete",
		},
	} {
		test.s.Kind = im.Thread
		if got := list(test.s.Permissions()); got != test.want {
			t.Errorf("%s may %q, want %q", test.name, got, test.want)
		}
	}
}

// TestPermissionsInSpace checks the precedence of roles, overrides and lists.
func TestPermissionsInSpace(t *testing.T) {
	const send, view, mute = im.PermissionSend, im.PermissionView, im.PermissionMute
	role := func(id im.ID, allow, deny im.Permissions) im.SpaceRole {
		return im.SpaceRole{ID: id, Grants: im.Grants{Allow: allow, Deny: deny}}
	}
	override := func(id im.ID, allow, deny im.Permissions) im.Override {
		return im.Override{Role: id, Grants: im.Grants{Allow: allow, Deny: deny}}
	}
	everyone := role(im.Everyone, view|send, 0)
	public := func(list ...im.Override) *im.ChannelAccess { return &im.ChannelAccess{Overrides: list} }
	private := func(list ...im.Override) *im.ChannelAccess { return &im.ChannelAccess{Private: true, Overrides: list} }
	for _, test := range []struct {
		name    string
		roles   im.RoleSet
		has     []im.ID
		channel *im.ChannelAccess
		change  func(*im.PermissionInput)
		want    string
	}{
		{"everyone's", im.RoleSet{everyone}, nil, nil, nil, "view send"},
		{"a role of others", im.RoleSet{role(1, mute, 0), everyone}, nil, nil, nil, "view send"},
		{"a role allows", im.RoleSet{role(1, mute, 0), everyone}, []im.ID{1}, nil, nil, "view send mute"},
		{"a role denies", im.RoleSet{role(1, 0, send), everyone}, []im.ID{1}, nil, nil, "view"},
		{"the higher role wins", im.RoleSet{role(2, send, 0), role(1, 0, send), everyone}, []im.ID{1, 2}, nil, nil, "view send"},
		{"the higher role wins, in whichever order they are held", im.RoleSet{role(2, 0, send), role(1, send, 0), everyone}, []im.ID{2, 1}, nil, nil, "view"},
		{"roles that were deleted do not matter", im.RoleSet{role(1, mute, 0), everyone}, []im.ID{7, 1, 9}, nil, nil, "view send mute"},
		{"a space cannot be hidden from its members", im.RoleSet{role(1, 0, view), everyone}, []im.ID{1}, nil, nil, "view send"},

		{"a channel as the space", im.RoleSet{role(1, mute, 0), everyone}, []im.ID{1}, public(), nil, "view send mute"},
		{"the channel's override for everyone prevails over the role in the space", im.RoleSet{role(1, send, 0), everyone}, []im.ID{1}, public(override(im.Everyone, 0, send)), nil, "view"},
		{"in the channel, too, the role takes precedence over everyone", im.RoleSet{role(1, 0, 0), everyone}, []im.ID{1}, public(override(im.Everyone, 0, send), override(1, send, 0)), nil, "view send"},
		{"in the channel, too, the higher role wins", im.RoleSet{role(2, 0, 0), role(1, 0, 0), everyone}, []im.ID{1, 2}, public(override(1, send, 0), override(2, 0, send)), nil, "view"},
		{"an override of a role of others", im.RoleSet{role(1, 0, 0), everyone}, nil, public(override(1, 0, send)), nil, "view send"},
		{"no permission without view", im.RoleSet{everyone}, nil, public(override(im.Everyone, send, view)), nil, ""},
		{"managing a channel includes deleting it", im.RoleSet{role(1, im.PermissionManageConversation, 0), everyone}, []im.ID{1}, public(), nil, "view send manage_conversation delete"},

		{"denied", im.RoleSet{role(1, mute, 0), everyone}, []im.ID{1}, public(override(1, view, 0)), func(s *im.PermissionInput) { s.Denied = true }, ""},
		{"on the allow list of a public channel", im.RoleSet{everyone}, nil, public(override(im.Everyone, 0, view)), func(s *im.PermissionInput) { s.Allowed = true }, ""},
		{"private", im.RoleSet{role(1, mute, 0), everyone}, []im.ID{1}, private(), nil, ""},
		{"private and allowed", im.RoleSet{role(1, mute, 0), everyone}, []im.ID{1}, private(), func(s *im.PermissionInput) { s.Allowed = true }, "view send mute"},
		{"private and denied", im.RoleSet{everyone}, nil, private(), func(s *im.PermissionInput) { s.Allowed, s.Denied = true, true }, "view send"},
		{"private and a role that may view it", im.RoleSet{role(1, 0, 0), everyone}, []im.ID{1}, private(override(1, view, 0)), nil, "view send"},
		{"private, and a role that may view it but a higher one may not", im.RoleSet{role(2, 0, 0), role(1, 0, 0), everyone}, []im.ID{1, 2}, private(override(1, view, 0), override(2, 0, view)), nil, ""},

		{"muted", im.RoleSet{role(1, mute, 0), everyone}, []im.ID{1}, public(), func(s *im.PermissionInput) { s.Muted = true }, "view mute"},
		{"all muted", im.RoleSet{everyone}, nil, public(), func(s *im.PermissionInput) { s.MuteAll = true }, "view"},
		{"all muted, with the permission to mute", im.RoleSet{role(1, mute, 0), everyone}, []im.ID{1}, public(), func(s *im.PermissionInput) { s.MuteAll = true }, "view send mute"},
		{"no member", im.RoleSet{everyone}, nil, public(), func(s *im.PermissionInput) { s.Member, s.Role = false, 0 }, ""},
	} {
		s := im.PermissionInput{Kind: im.Space, Member: true, Role: im.Member, Roles: test.roles, Has: test.has, Channel: test.channel}
		if test.channel != nil {
			s.Kind = im.Channel
		}
		if test.change != nil {
			test.change(&s)
		}
		if got := list(s.Permissions()); got != test.want {
			t.Errorf("%s: may %q, want %q", test.name, got, test.want)
		}
		if s.Member {
			s.Role, s.Muted = im.Owner, false
			all := im.RolePermissions
			if s.Kind == im.Channel {
				all = im.ChannelPermissions
			}
			if got := s.Permissions(); !got.Has(all | im.PermissionDelete | im.PermissionManageRetention) {
				t.Errorf("%s: the owner has %q, want all permissions", test.name, list(got))
			}
		}
	}
}

// naive decides about one permission by following the documentation step by step.
func naive(s im.PermissionInput, p im.Permissions) bool {
	if !s.Member {
		return false
	}
	speaks := p == im.PermissionSend || p == im.PermissionMentionAll || p == im.PermissionCreateThread
	if s.Muted && speaks {
		return false
	}
	if s.Kind == im.Channel && (p == im.PermissionInvite || p == im.PermissionKick || p == im.PermissionManageSpace) {
		return false
	}
	if s.Role == im.Owner {
		return true
	}
	if s.MuteAll && speaks && !naive(s, im.PermissionMute) {
		return false
	}
	if p == im.PermissionManageRetention || p == im.PermissionDelete && s.Kind == im.Space {
		return false
	}
	// says returns "allow", "deny" or "" for a permission, from the highest role whose grants
	// mention it.
	says := func(p im.Permissions, grants func(im.SpaceRole) (im.Grants, bool)) string {
		for _, role := range s.Roles {
			if role.ID != im.Everyone && !slices.Contains(s.Has, role.ID) {
				continue
			}
			g, there := grants(role)
			switch {
			case there && g.Allow&p != 0:
				return "allow"
			case there && g.Deny&p != 0:
				return "deny"
			}
		}
		return ""
	}
	inSpace := func(role im.SpaceRole) (im.Grants, bool) { return role.Grants, true }
	if s.Kind == im.Space {
		return p == im.PermissionView || says(p, inSpace) == "allow"
	}
	inChannel := func(role im.SpaceRole) (im.Grants, bool) {
		for _, o := range s.Channel.Overrides {
			if o.Role == role.ID {
				return o.Grants, true
			}
		}
		return im.Grants{}, false
	}
	decide := func(p im.Permissions) bool {
		if said := says(p, inChannel); said != "" {
			return said == "allow"
		}
		return says(p, inSpace) == "allow"
	}
	var sees bool
	switch {
	case s.Channel.Private:
		sees = s.Allowed || says(im.PermissionView, inChannel) == "allow"
	default:
		sees = !s.Denied && decide(im.PermissionView)
	}
	switch {
	case p == im.PermissionView || !sees:
		return sees
	case p == im.PermissionDelete:
		return decide(im.PermissionManageConversation)
	default:
		return decide(p)
	}
}

// randomInput returns the input for a member of a channel with random roles and overrides.
func randomInput(r *rand.Rand) im.PermissionInput {
	grants := func() im.Grants {
		allow := im.Permissions(r.Uint32()) & im.RolePermissions & im.Permissions(r.Uint32())
		return im.Grants{Allow: allow, Deny: im.Permissions(r.Uint32()) & im.RolePermissions &^ allow & im.Permissions(r.Uint32())}
	}
	s := im.PermissionInput{
		Kind: im.Space, Member: r.IntN(20) > 0, Role: im.Member, Muted: r.IntN(6) == 0, MuteAll: r.IntN(6) == 0,
		Allowed: r.IntN(3) == 0, Denied: r.IntN(3) == 0,
	}
	if r.IntN(20) == 0 {
		s.Role = im.Owner
	}
	channel := &im.ChannelAccess{Private: r.IntN(2) == 0}
	for id := range im.ID(r.IntN(6)) {
		s.Roles = append(s.Roles, im.SpaceRole{ID: id + 1, Grants: grants()})
		if r.IntN(2) == 0 {
			s.Has = append(s.Has, id+1)
		}
		if r.IntN(2) == 0 {
			channel.Overrides = append(channel.Overrides, im.Override{Role: id + 1, Grants: grants()})
		}
	}
	s.Roles = append(s.Roles, im.SpaceRole{ID: im.Everyone, Grants: grants()})
	if r.IntN(2) == 0 {
		channel.Overrides = append(channel.Overrides, im.Override{Role: im.Everyone, Grants: grants()})
	}
	r.Shuffle(len(s.Has), func(i, j int) { s.Has[i], s.Has[j] = s.Has[j], s.Has[i] })
	r.Shuffle(len(channel.Overrides), func(i, j int) {
		channel.Overrides[i], channel.Overrides[j] = channel.Overrides[j], channel.Overrides[i]
	})
	if r.IntN(3) > 0 {
		s.Kind, s.Channel = im.Channel, channel
	}
	return s
}

// TestPermissionsAgainstModel compares the permissions with a model that decides about one at a
// time.
func TestPermissionsAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := im.RolePermissions | im.PermissionManageRetention | im.PermissionDelete
	for range testsize.Pick(50_000, 5000) {
		s := randomInput(r)
		got := s.Permissions()
		for p := range all.Each() {
			if want := naive(s, p); got.Has(p) != want {
				t.Fatalf("%s is %t, want %t, of %+v in %+v", p, !want, want, s, s.Channel)
			}
		}
	}
}

func TestPermissionNames(t *testing.T) {
	seen := make(map[string]bool)
	for p := range (im.RolePermissions | im.PermissionManageRetention | im.PermissionDelete).Each() {
		name := p.String()
		if name == "" || seen[name] {
			t.Errorf("permission %b is called %q", p, name)
		}
		seen[name] = true
		if back, ok := im.ParsePermission(name); !ok || back != p {
			t.Errorf("%q is read as %v", name, back)
		}
	}
	if _, ok := im.ParsePermission("anything"); ok {
		t.Error("anything is a permission")
	}
}

// BenchmarkPermissions measures one check for a member with several roles in a channel with the
// maximum number of overrides. It allocates nothing, and does not depend on the number of members
// of the space.
func BenchmarkPermissions(b *testing.B) {
	for _, roles := range []int{2, 20, 100} {
		s := im.PermissionInput{Kind: im.Channel, Member: true, Role: im.Member, Channel: &im.ChannelAccess{}}
		for id := range im.ID(roles) {
			s.Roles = append(s.Roles, im.SpaceRole{ID: id + 1, Grants: im.Grants{Deny: im.PermissionMute}})
			if id%4 == 0 {
				s.Has = append(s.Has, id+1)
			}
			if id < 20 {
				s.Channel.Overrides = append(s.Channel.Overrides, im.Override{Role: id + 1, Grants: im.Grants{Allow: im.PermissionKick}})
			}
		}
		s.Roles = append(s.Roles, im.SpaceRole{ID: im.Everyone, Grants: im.Grants{Allow: im.DefaultPermissions}})
		b.Run(fmt.Sprint("roles=", roles), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !s.Permissions().Has(im.PermissionSend) {
					b.Fatal("may not send")
				}
			}
		})
	}
}

// TestPermissionsAreDocumented compares the table in docs/permissions.md with the code.
func TestPermissionsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	columns := []im.PermissionInput{
		{Kind: im.Direct, Role: im.Member},
		{Kind: im.Group, Role: im.Member},
		{Kind: im.Group, Role: im.Admin},
		{Kind: im.Group, Role: im.Owner},
		{Kind: im.Room, Role: im.Member},
		{Kind: im.Room, Role: im.Admin},
		{Kind: im.Room, Role: im.Owner},
	}
	got := make([]im.Permissions, len(columns))
	_, table, _ := strings.Cut(string(text), "|---|---|---|---|---|---|---|---|\n")
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(row), "|")
		if len(cells) != len(columns)+3 {
			break
		}
		for name := range strings.SplitSeq(strings.SplitN(cells[1], ":", 2)[0], ",") {
			p, ok := im.ParsePermission(strings.Trim(name, " `"))
			if !ok {
				t.Errorf("no permission is called %s", name)
			}
			for i, cell := range cells[2 : 2+len(columns)] {
				switch strings.TrimSpace(cell) {
				case "●":
					got[i] |= p
				case "○":
					columns[i].MembersInvite = true
					got[i] |= p
				}
			}
		}
	}
	for i, s := range columns {
		s.Member = true
		if want := s.Permissions(); got[i] != want {
			t.Errorf("a %s of a %s: documented is %q, but is %q", s.Role, s.Kind, list(got[i]), list(want))
		}
	}
	for p := range (im.RolePermissions | im.PermissionManageRetention | im.PermissionDelete).Each() {
		if !strings.Contains(string(text), "`"+p.String()+"`") {
			t.Errorf("%s is not documented", p)
		}
	}
}
