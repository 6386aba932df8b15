package im_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// space creates a space with an owner and members.
func (w *world) space(owner im.UserID, members ...im.UserID) im.ID {
	w.Helper()
	v, err := w.CreateSpace(w.ctx, as(owner), im.SpaceDraft{Name: "a space"})
	w.must(err)
	if len(members) > 0 {
		_, err = w.AddSpaceMembers(w.ctx, as(owner), v.ID, members)
		w.must(err)
	}
	return v.ID
}

func (w *world) channel(user im.UserID, space im.ID, private bool) im.ID {
	w.Helper()
	v, err := w.CreateChannel(w.ctx, as(user), space, im.ChannelDraft{Name: "a channel", Private: private})
	w.must(err)
	return v.ID
}

// role creates a role of a space and gives it to users.
func (w *world) role(space im.ID, owner im.UserID, allow, deny im.Permissions, users ...im.UserID) im.ID {
	w.Helper()
	name := "a role"
	r, _, err := w.CreateRole(w.ctx, as(owner), space, im.RoleDraft{Name: &name, Allow: allow, Deny: deny})
	w.must(err)
	for _, user := range users {
		w.must(w.GrantRole(w.ctx, as(owner), space, r.ID, user))
	}
	return r.ID
}

func (w *world) override(channel im.ID, by im.UserID, role im.ID, allow, deny im.Permissions) {
	w.Helper()
	_, err := w.PutOverride(w.ctx, as(by), byID(channel), im.Override{Role: role, Grants: im.Grants{Allow: allow, Deny: deny}})
	w.must(err)
}

// may returns the permissions that a user is shown.
func (w *world) may(user im.UserID, id im.ID) string {
	w.Helper()
	_, may, err := w.PermissionsIn(w.ctx, as(user), byID(id))
	if err != nil {
		return answer(err)
	}
	return list(may)
}

func TestSpaces(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice")
	v, err := w.SpaceOf(w.ctx, as("alice"), id)
	w.must(err)
	w.equal("space", fmt.Sprint(v.Name, " ", v.Owner, " ", v.MemberCount, " ", v.Me.Role()), "a space owner 2 member")
	_, err = w.SpaceOf(w.ctx, as("mallory"), id)
	w.equal("to a stranger", answer(err), "404 space_not_found")
	w.equal("as a conversation", w.roleOf(id, "owner"), "404 conversation_not_found")
	w.equal("in the list", len(w.list("owner")), 0)
	g := w.group(im.HistoryAll, "owner")
	_, err = w.SpaceOf(w.ctx, as("owner"), g)
	w.equal("a group as a space", answer(err), "404 space_not_found")
	_, err = w.Send(w.ctx, as("owner"), byID(id), text("hi"))
	w.equal("sending to it", answer(err), "404 conversation_not_found")
	admin := im.Actor{User: "root", Admin: true}
	w.equal("deleting it as a conversation", answer(w.DeleteConversation(w.ctx, admin, byID(id))), "404 conversation_not_found")

	_, err = w.JoinSpace(w.ctx, as("bob"), id)
	w.equal("joining a closed one", answer(err), "404 space_not_found")
	open := im.JoinOpen
	_, err = w.UpdateSpace(w.ctx, as("alice"), id, im.ConversationPatch{Join: &open})
	w.equal("opening it as a member", err, "permission_denied: you need the permission manage_space here")
	_, err = w.UpdateSpace(w.ctx, as("owner"), id, im.ConversationPatch{Join: &open})
	w.must(err)
	for range 2 {
		_, err = w.JoinSpace(w.ctx, as("bob"), id)
		w.must(err)
	}
	w.equal("leaving as the owner", answer(w.LeaveSpace(w.ctx, as("owner"), id)), "409 owner_must_hand_over")
	_, err = w.HandOverSpace(w.ctx, as("alice"), id, "alice")
	w.equal("taking it", answer(err), "403 permission_denied")
	_, err = w.HandOverSpace(w.ctx, as("owner"), id, "alice")
	w.must(err)
	w.must(w.LeaveSpace(w.ctx, as("owner"), id))
	w.equal("deleting it as a member", answer(w.DeleteSpace(w.ctx, as("bob"), id)), "403 permission_denied")
	channel := w.channel("alice", id, false)
	m := w.say("bob", byID(channel), "hello")
	w.must(w.DeleteSpace(w.ctx, as("alice"), id))
	_, err = w.SpaceOf(w.ctx, as("alice"), id)
	w.equal("deleted", answer(err), "404 space_not_found")
	w.equal("its channel", w.try("bob", channel), "404 conversation_not_found")
	_, err = w.Message(w.ctx, as("bob"), m.ID)
	w.equal("its messages", answer(err), "404 message_not_found")
	w.must(w.Purge(w.ctx))
}

func TestInvitations(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice")
	_, err := w.InviteToSpace(w.ctx, as("alice"), id, []im.UserID{"bob"})
	w.equal("by a member", err, "permission_denied: you need the permission invite here")
	w.must(w.PutBlock(w.ctx, as("carol"), "owner"))
	_, err = w.InviteToSpace(w.ctx, as("owner"), id, []im.UserID{"bob", "alice", "carol", "bob"})
	w.equal("invited by a blocked user", field(err), "403 blocked users/2")
	made, err := w.InviteToSpace(w.ctx, as("owner"), id, []im.UserID{"bob", "alice", "bob"})
	w.must(err)
	w.equal("invited", fmt.Sprint(len(made), " ", made[0].User, " ", made[0].Name), "1 bob a space")
	_, err = w.InviteToSpace(w.ctx, as("owner"), id, []im.UserID{"bob"})
	w.must(err)
	mine, err := w.MyInvitations(w.ctx, as("bob"), 0, 10)
	w.must(err)
	w.equal("bob's", fmt.Sprint(len(mine), " ", mine[0].Conversation == id, " ", mine[0].By, " ", mine[0].Name), "1 true owner a space")
	w.equal("bob receives", w.summary(as("bob"), id), []string{"space.invited bob"})
	w.equal("others are not", slices.Contains(w.summary(as("alice"), id), "space.invited bob"), false)
	_, err = w.SpaceOf(w.ctx, as("bob"), id)
	w.equal("before joining", answer(err), "404 space_not_found")
	_, err = w.JoinSpace(w.ctx, as("bob"), id)
	w.must(err)
	open, err := w.SpaceInvitations(w.ctx, as("owner"), id, im.Page{Limit: 10})
	w.must(err)
	w.equal("open", len(open), 0)

	w.equal("declining an invitation that does not exist", answer(w.DeleteSpaceInvitation(w.ctx, as("dave"), id, "dave")), "404 space_not_found")
	_, err = w.InviteToSpace(w.ctx, as("owner"), id, []im.UserID{"dave", "erin"})
	w.must(err)
	w.equal("withdrawn by a member", answer(w.DeleteSpaceInvitation(w.ctx, as("alice"), id, "dave")), "403 permission_denied")
	w.must(w.DeleteSpaceInvitation(w.ctx, as("dave"), id, "dave"))
	w.must(w.DeleteSpaceInvitation(w.ctx, as("owner"), id, "erin"))
	w.equal("withdrawn again", answer(w.DeleteSpaceInvitation(w.ctx, as("owner"), id, "erin")), "404 invitation_not_found")
	for _, user := range []im.UserID{"dave", "erin"} {
		_, err = w.JoinSpace(w.ctx, as(user), id)
		w.equal("joining without", answer(err), "404 space_not_found")
	}
}

// TestRolesDoNotEscalate checks that a member cannot give permissions that they lack, nor
// change members with roles as high as theirs.
func TestRolesDoNotEscalate(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "mod", "mod2", "alice")
	const manage = im.PermissionManageRoles | im.PermissionKick | im.PermissionMute
	high := w.role(id, "owner", im.PermissionRevokeOthers, 0)
	mods := w.role(id, "owner", manage, 0, "mod", "mod2")
	low := w.role(id, "owner", 0, im.PermissionSend)
	strong := w.role(id, "owner", im.PermissionInvite, 0)
	update := func(user im.UserID, role im.ID, d im.RoleDraft) string {
		_, _, err := w.UpdateRole(w.ctx, as(user), id, role, d)
		return answer(err)
	}
	create := func(user im.UserID, d im.RoleDraft) string {
		_, _, err := w.CreateRole(w.ctx, as(user), id, d)
		return answer(err)
	}
	name := "x"
	const denied = "403 permission_denied"
	for what, got := range map[string]string{
		"a member makes a role":                         create("alice", im.RoleDraft{Name: &name}),
		"gives a permission that they lack":             create("mod", im.RoleDraft{Name: &name, Allow: im.PermissionInvite}),
		"makes a role higher than theirs":               create("mod", im.RoleDraft{Name: &name, Position: 1}),
		"changes their own role":                        update("mod", mods, im.RoleDraft{Name: &name}),
		"changes a higher role":                         update("mod", high, im.RoleDraft{Name: &name}),
		"moves a role higher than theirs":               update("mod", low, im.RoleDraft{Position: 1}),
		"gives a role a permission that they lack":      update("mod", low, im.RoleDraft{Allow: im.PermissionInvite}),
		"gives everyone a permission that they lack":    update("mod", im.Everyone, im.RoleDraft{Allow: im.PermissionInvite}),
		"takes a higher role":                           answer(w.GrantRole(w.ctx, as("mod"), id, high, "mod")),
		"gives their own role":                          answer(w.GrantRole(w.ctx, as("mod"), id, mods, "alice")),
		"gives a role with a permission that they lack": answer(w.GrantRole(w.ctx, as("mod"), id, strong, "mod")),
		"takes their own role from an equal":            answer(w.RevokeRole(w.ctx, as("mod"), id, mods, "mod2")),
		"gives a role to an equal":                      answer(w.GrantRole(w.ctx, as("mod"), id, low, "mod2")),
		"deletes a higher role":                         answer(w.DeleteRole(w.ctx, as("mod"), id, high)),
		"kicks an equal":                                answer(w.RemoveSpaceMember(w.ctx, as("mod"), id, "mod2")),
		"kicks the owner":                               answer(w.RemoveSpaceMember(w.ctx, as("mod"), id, "owner")),
		"sets roles of which one is not theirs": func() string {
			_, err := w.SetSpaceRoles(w.ctx, as("mod"), id, "alice", []im.ID{low, high})
			return answer(err)
		}(),
	} {
		if got != denied {
			t.Errorf("%s: %s", what, got)
		}
	}
	w.equal("a permission of the owner only", create("owner", im.RoleDraft{Name: &name, Allow: im.PermissionDelete}), "422 permission_not_grantable")
	w.equal("an unknown role", update("owner", 77, im.RoleDraft{Name: &name}), "404 role_not_found")
	w.equal("everyone's name", update("owner", im.Everyone, im.RoleDraft{Name: &name}), "422 everyone_role")
	w.equal("giving everyone's", answer(w.GrantRole(w.ctx, as("owner"), id, im.Everyone, "alice")), "422 everyone_role")
	w.equal("deleting everyone's", answer(w.DeleteRole(w.ctx, as("owner"), id, im.Everyone)), "422 everyone_role")

	// Permissions that the actor has.
	w.equal("a role with permissions that they have", create("mod", im.RoleDraft{Name: &name, Allow: im.PermissionKick}), "ok")
	w.must(w.GrantRole(w.ctx, as("mod"), id, low, "alice"))
	w.must(w.RemoveSpaceMember(w.ctx, as("mod"), id, "alice"))
	roles, err := w.SpaceRoles(w.ctx, as("mod"), id)
	w.must(err)
	w.equal("the order", fmt.Sprint(roles[0].ID == high, roles[1].ID == mods, roles[len(roles)-1].ID == im.Everyone), "true true true")
}

// TestRolesEndWithTheStay checks that a user who leaves a space and rejoins has none of their
// former roles.
func TestRolesEndWithTheStay(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice")
	w.role(id, "owner", im.PermissionInvite, 0, "alice")
	private := w.channel("owner", id, true)
	w.must(w.PutListed(w.ctx, as("owner"), byID(private), im.AllowList, "alice"))
	w.equal("before", w.try("alice", private), "ok")
	w.must(w.LeaveSpace(w.ctx, as("alice"), id))
	_, err := w.InviteToSpace(w.ctx, as("owner"), id, []im.UserID{"alice"})
	w.must(err)
	_, err = w.JoinSpace(w.ctx, as("alice"), id)
	w.must(err)
	_, may, err := w.SpacePermissions(w.ctx, as("alice"), id)
	w.must(err)
	w.equal("may invite", may.Has(im.PermissionInvite), false)
	w.equal("after", w.try("alice", private), "404 conversation_not_found")
}

func TestMentionAll(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice", "bob")
	channel := w.channel("owner", id, false)
	group := w.group(im.HistoryAll, "owner", "alice", "bob")
	d := text("all of you")
	d.MentionAll = true
	for _, c := range []im.ID{channel, group} {
		_, err := w.Send(w.ctx, as("alice"), byID(c), d)
		w.equal("by a member", err, "permission_denied: you need the permission mention_all here")
		m := w.send("owner", byID(c), d)
		w.equal("alice has not read", w.unread("alice", byID(c)), "1/1")
		w.equal("sender", w.unread("owner", byID(c)), "0/0")
		w.revoke("owner", m.ID)
		w.equal("revoked", w.unread("alice", byID(c)), "0/0")
	}
	_, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
	w.equal("in a direct conversation", answer(err), "422 direct_conversation")
}

// TestMuteInSpaces checks that a mute in a space applies to all of its channels, and one in a
// channel only to that channel.
func TestMuteInSpaces(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice", "mod", "bob")
	a, b := w.channel("owner", id, false), w.channel("owner", id, false)
	w.role(id, "owner", im.PermissionMute, 0, "mod")
	m := w.say("bob", byID(a), "hi")
	th, err := w.CreateThread(w.ctx, as("alice"), m.ID, im.ThreadDraft{Name: "x"})
	w.must(err)
	states := func() string {
		return fmt.Sprint(w.try("alice", a), " ", w.try("alice", b), " ", w.try("alice", th.ID))
	}
	_, err = w.MuteMember(w.ctx, as("bob"), byID(a), "alice", 0)
	w.equal("without the permission", answer(err), "403 permission_denied")
	_, err = w.MuteMember(w.ctx, as("mod"), byID(a), "owner", 0)
	w.equal("the owner", answer(err), "403 permission_denied")
	_, err = w.MuteMember(w.ctx, as("mod"), byID(a), "alice", 0)
	w.must(err)
	w.equal("in a", states(), "403 permission_denied ok 403 permission_denied")
	w.must(w.UnmuteMember(w.ctx, as("mod"), byID(a), "alice"))
	w.equal("unmuted", states(), "ok ok ok")
	_, err = w.MuteSpaceMember(w.ctx, as("mod"), id, "alice", time.Minute)
	w.must(err)
	w.equal("in the space", states(), "403 permission_denied 403 permission_denied 403 permission_denied")
	w.pass(time.Minute)
	w.equal("a minute later", states(), "ok ok ok")
}

// TestDenyInSpace checks that a user on the deny list of a space loses it and cannot join,
// even if it is open.
func TestDenyInSpace(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice", "bob", "mod")
	w.role(id, "owner", im.PermissionManageMembers|im.PermissionInvite, 0, "mod")
	open := im.JoinOpen
	_, err := w.UpdateSpace(w.ctx, as("owner"), id, im.ConversationPatch{Join: &open})
	w.must(err)
	channel := w.channel("owner", id, false)
	_, err = w.InviteToSpace(w.ctx, as("mod"), id, []im.UserID{"carol"})
	w.must(err)
	deny := func(actor, user im.UserID) string { return answer(w.DenyInSpace(w.ctx, as(actor), id, user)) }
	w.equal("by a member", deny("bob", "alice"), "403 permission_denied")
	w.equal("of the owner", deny("mod", "owner"), "403 permission_denied")
	w.equal("of oneself", deny("mod", "mod"), "403 permission_denied")
	for _, user := range []im.UserID{"alice", "alice", "carol", "dave"} {
		w.equal("of "+string(user), deny("mod", user), "ok")
	}
	w.equal("alice sends", w.try("alice", channel), "404 conversation_not_found")
	for _, user := range []im.UserID{"alice", "carol", "dave"} {
		_, err := w.JoinSpace(w.ctx, as(user), id)
		w.equal("joining", answer(err), "404 space_not_found")
		_, err = w.AddSpaceMembers(w.ctx, as("mod"), id, []im.UserID{"erin", user})
		w.equal("being added", answer(err), "409 on_deny_list")
		made, err := w.InviteToSpace(w.ctx, as("mod"), id, []im.UserID{user})
		w.must(err)
		w.equal("being invited", len(made), 0)
	}
	w.equal("carol receives", w.summary(as("carol"), id), []string{"space.invited carol", "space.uninvited carol"})
	listed, err := w.SpaceDenied(w.ctx, as("mod"), id, im.Page{Limit: 10})
	w.must(err)
	w.equal("on the list", fmt.Sprint(len(listed), " ", listed[0].User), "3 alice")
	_, err = w.SpaceDenied(w.ctx, as("bob"), id, im.Page{Limit: 10})
	w.equal("for members", answer(err), "403 permission_denied")
	for _, user := range []im.UserID{"alice", "alice", "bob", "mod", "owner"} {
		w.must(w.AllowInSpace(w.ctx, as("mod"), id, user))
	}
	_, err = w.JoinSpace(w.ctx, as("alice"), id)
	w.must(err)
}

// TestSingleLookups checks requests for one member, role or channel.
func TestSingleLookups(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice", "bob")
	role := w.role(id, "owner", im.PermissionMute, 0, "alice")
	private := w.channel("owner", id, true)
	w.must(w.PutListed(w.ctx, as("owner"), byID(private), im.AllowList, "alice"))
	m, err := w.SpaceMember(w.ctx, as("bob"), id, "alice")
	w.must(err)
	w.equal("roles", m.Roles, []im.ID{role})
	_, err = w.SpaceMember(w.ctx, as("bob"), id, "carol")
	w.equal("an unknown user", answer(err), "404 member_not_found")
	_, err = w.Member(w.ctx, as("alice"), byID(private), "bob")
	w.equal("a member who cannot see the channel", answer(err), "404 member_not_found")
	_, err = w.Member(w.ctx, as("alice"), byID(private), "owner")
	w.must(err)
	said := w.say("alice", byID(private), "hi")
	_, err = w.ThreadUnder(w.ctx, as("owner"), said.ID)
	w.equal("no thread", answer(err), "404 thread_not_found")
	th, err := w.CreateThread(w.ctx, as("alice"), said.ID, im.ThreadDraft{Name: "a thread"})
	w.must(err)
	v, err := w.ThreadUnder(w.ctx, as("owner"), said.ID)
	w.must(err)
	w.equal("the thread", v.ID, th.ID)
	_, err = w.ThreadUnder(w.ctx, as("bob"), said.ID)
	w.equal("of an invisible channel", answer(err), "404 message_not_found")
}
