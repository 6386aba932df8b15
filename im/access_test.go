package im_test

import (
	"testing"

	"github.com/imapi/imapi/im"
)

var roles = []im.Role{im.Member, im.Admin, im.Owner}

func TestAllow(t *testing.T) {
	const denied, direct = "403 permission_denied", "422 direct_conversation"
	for _, test := range []struct {
		kind       im.Kind
		permission im.Permission
		want       [3]string // of a member, an admin, an owner
	}{
		{im.Group, im.PermissionAddMembers, [3]string{denied, "ok", "ok"}},
		{im.Group, im.PermissionRemoveMembers, [3]string{denied, "ok", "ok"}},
		{im.Group, im.PermissionManage, [3]string{denied, "ok", "ok"}},
		{im.Group, im.PermissionManageRoles, [3]string{denied, denied, "ok"}},
		{im.Direct, im.PermissionAddMembers, [3]string{direct, direct, direct}},
		{im.Direct, im.PermissionRemoveMembers, [3]string{direct, direct, direct}},
		{im.Direct, im.PermissionManage, [3]string{direct, direct, direct}},
		{im.Direct, im.PermissionManageRoles, [3]string{direct, direct, direct}},
	} {
		for i, role := range roles {
			err := im.Allow(im.Conversation{Kind: test.kind}, im.Membership{Role: role}, test.permission)
			if got := answer(err); got != test.want[i] {
				t.Errorf("%s of a %s, %s: %s, want %s", role, test.kind, test.permission, got, test.want[i])
			}
		}
	}
}

// Who removes must stand above who is removed.
func TestAllowRemoval(t *testing.T) {
	const denied, direct = "403 permission_denied", "422 direct_conversation"
	for _, test := range []struct {
		kind  im.Kind
		actor im.Role
		want  [3]string // of removing a member, an admin, an owner
	}{
		{im.Group, im.Member, [3]string{denied, denied, denied}},
		{im.Group, im.Admin, [3]string{"ok", denied, denied}},
		{im.Group, im.Owner, [3]string{"ok", "ok", denied}},
		{im.Direct, im.Member, [3]string{direct, direct, direct}},
		{im.Direct, im.Admin, [3]string{direct, direct, direct}},
		{im.Direct, im.Owner, [3]string{direct, direct, direct}},
	} {
		for i, role := range roles {
			err := im.AllowRemoval(im.Conversation{Kind: test.kind},
				im.Membership{User: "alice", Role: test.actor}, im.Membership{User: "bob", Role: role})
			if got := answer(err); got != test.want[i] {
				t.Errorf("%s of a %s removes a %s: %s, want %s", test.actor, test.kind, role, got, test.want[i])
			}
		}
	}
}
