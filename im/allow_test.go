package im_test

import (
	"testing"

	"github.com/imapi/imapi/im"
)

var roles = []im.Role{im.Member, im.Admin, im.Owner}

// member returns the access of a member with a role in a kind of conversation.
func member(kind im.Kind, role im.Role, user im.UserID) im.Access {
	return im.NewAccess(im.Membership{User: user, Role: role}, im.PermissionInput{Kind: kind, Member: true, Role: role}.Permissions())
}

// TestAllow checks that a refusal names the missing permission.
func TestAllow(t *testing.T) {
	err := im.Allow(im.Conversation{Kind: im.Group}, member(im.Group, im.Member, "bob"), im.PermissionKick)
	if got, want := err.Error(), "permission_denied: you need the permission kick here"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := im.Allow(im.Conversation{Kind: im.Group}, member(im.Group, im.Admin, "bob"), im.PermissionKick); err != nil {
		t.Error(err)
	}
	err = im.Allow(im.Conversation{Kind: im.Direct}, member(im.Direct, im.Member, "bob"), im.PermissionKick)
	if got := answer(err); got != "422 direct_conversation" {
		t.Error(got)
	}
}

// TestAllowRemoval checks that a member removes only members with a lower role.
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
		{im.Room, im.Admin, [3]string{"ok", denied, denied}},
		{im.Direct, im.Member, [3]string{direct, direct, direct}},
	} {
		for i, role := range roles {
			err := im.AllowRemoval(im.Conversation{Kind: test.kind},
				member(test.kind, test.actor, "alice"), im.MemberView{User: "bob", Role: role})
			if got := answer(err); got != test.want[i] {
				t.Errorf("%s of a %s removes a %s: %s, want %s", test.actor, test.kind, role, got, test.want[i])
			}
		}
	}
}
