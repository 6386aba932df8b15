package im_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/imapi/imapi/im"
)

// joinable is a conversation or space to which users are added and invited.
type joinable struct {
	kind   string
	add    func(by im.UserID, users ...im.UserID) error
	invite func(by im.UserID, users ...im.UserID) ([]im.InvitationView, error)
	// uninvite withdraws or declines an invitation.
	uninvite func(by, user im.UserID) error
	invited  func(by im.UserID) ([]im.InvitationView, error)
	join     func(user im.UserID) error
	remove   func(by, user im.UserID) error
	deny     func(by, user im.UserID) error
	open     func()
	id       im.ID
}

// joinables returns one of each kind, with an owner and "member".
func (w *world) joinables() []joinable {
	w.Helper()
	var list []joinable
	for _, kind := range []im.Kind{im.Group, im.Room} {
		v, err := w.CreateGroup(w.ctx, as("owner"), im.GroupDraft{Kind: kind, Name: "a " + kind.String(), Members: []im.UserID{"member"}})
		w.must(err)
		ref := byID(v.ID)
		list = append(list, joinable{
			kind: kind.String(), id: v.ID,
			add: func(by im.UserID, users ...im.UserID) error {
				_, err := w.AddMembers(w.ctx, as(by), ref, users, im.Member)
				return err
			},
			invite: func(by im.UserID, users ...im.UserID) ([]im.InvitationView, error) {
				return w.Invite(w.ctx, as(by), ref, users)
			},
			uninvite: func(by, user im.UserID) error { return w.DeleteInvitation(w.ctx, as(by), ref, user) },
			invited: func(by im.UserID) ([]im.InvitationView, error) {
				return w.Invitations(w.ctx, as(by), ref, im.Page{Limit: 10})
			},
			join: func(user im.UserID) error {
				_, err := w.Join(w.ctx, as(user), ref)
				return err
			},
			remove: func(by, user im.UserID) error { return w.RemoveMember(w.ctx, as(by), ref, user) },
			deny:   func(by, user im.UserID) error { return w.PutListed(w.ctx, as(by), ref, im.DenyList, user) },
			open: func() {
				if kind == im.Group {
					open := im.JoinOpen
					_, err := w.UpdateConversation(w.ctx, as("owner"), ref, im.ConversationPatch{Join: &open})
					w.must(err)
				}
			},
		})
	}
	id := w.space("owner", "member")
	return append(list, joinable{
		kind: "space", id: id,
		add: func(by im.UserID, users ...im.UserID) error {
			_, err := w.AddSpaceMembers(w.ctx, as(by), id, users)
			return err
		},
		invite: func(by im.UserID, users ...im.UserID) ([]im.InvitationView, error) {
			return w.InviteToSpace(w.ctx, as(by), id, users)
		},
		uninvite: func(by, user im.UserID) error { return w.DeleteSpaceInvitation(w.ctx, as(by), id, user) },
		invited: func(by im.UserID) ([]im.InvitationView, error) {
			return w.SpaceInvitations(w.ctx, as(by), id, im.Page{Limit: 10})
		},
		join: func(user im.UserID) error {
			_, err := w.JoinSpace(w.ctx, as(user), id)
			return err
		},
		remove: func(by, user im.UserID) error { return w.RemoveSpaceMember(w.ctx, as(by), id, user) },
		deny:   func(by, user im.UserID) error { return w.DenyInSpace(w.ctx, as(by), id, user) },
		open: func() {
			open := im.JoinOpen
			_, err := w.UpdateSpace(w.ctx, as("owner"), id, im.ConversationPatch{Join: &open})
			w.must(err)
		},
	})
}

// TestBlockedCannotAdd checks that a user cannot add or invite someone who has blocked them,
// and that such a request changes nothing.
func TestBlockedCannotAdd(t *testing.T) {
	w := newWorld(t)
	w.must(w.PutBlock(w.ctx, as("victim"), "owner"))
	for _, p := range w.joinables() {
		w.equal(p.kind+": added", field(p.add("owner", "alice", "alice", "member", "victim")), "403 blocked members/3")
		_, err := p.invite("owner", "bob", "bob", "victim")
		w.equal(p.kind+": invited", field(err), "403 blocked users/2")
		list, err := p.invited("owner")
		w.must(err)
		w.equal(p.kind+": invitations", len(list), 0)
		w.equal(p.kind+": the others", answer(p.add("owner", "alice")), "ok")
		// A block works in one direction, and does not affect third users.
		w.must(w.PutBlock(w.ctx, as("owner"), "carol"))
		w.must(w.PutBlock(w.ctx, as("dave"), "carol"))
		w.equal(p.kind+": blocks of others", answer(p.add("owner", "carol", "dave")), "ok")
		w.equal(p.kind+": a member who blocks", answer(w.PutBlock(w.ctx, as("alice"), "owner")), "ok")
		w.equal(p.kind+": is a member", answer(p.add("owner", "alice")), "ok")
		w.must(w.DeleteBlock(w.ctx, as("alice"), "owner"))
	}
	for _, kind := range []im.Kind{im.Group, im.Room} {
		_, err := w.CreateGroup(w.ctx, as("owner"), im.GroupDraft{Kind: kind, Name: "new", Members: []im.UserID{"owner", "bob", "victim"}})
		w.equal("created with", field(err), "403 blocked members/2")
	}
	w.equal("the victim's conversations", len(w.list("victim")), 0)
	w.must(w.DeleteBlock(w.ctx, as("victim"), "owner"))
	for _, p := range w.joinables() {
		w.equal(p.kind+": after the block", answer(p.add("owner", "victim")), "ok")
	}
}

// TestLeaversAreNotAdded checks that a user who left rejoins only at their own request, and that a
// removed one can be added again.
func TestLeaversAreNotAdded(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.joinables() {
		is := func(what string, err error, want string) {
			t.Helper()
			w.equal(p.kind+": "+what, field(err), want)
		}
		is("removed", p.remove("owner", "member"), "ok")
		is("added after removal", p.add("owner", "member"), "ok")
		is("left", p.remove("member", "member"), "ok")
		is("added again", p.add("owner", "alice", "member"), "409 has_left members/1")
		is("no user was added", p.remove("owner", "alice"), "404 member_not_found")
		_, err := p.invite("owner", "member")
		is("invited", err, "ok")
		is("added, but did not accept", p.add("owner", "member"), "409 has_left members/0")
		is("declined", p.uninvite("member", "member"), "ok")
		if p.kind != "room" {
			is("joining after declining", p.join("member"), "404 "+map[string]string{"group": "conversation", "space": "space"}[p.kind]+"_not_found")
		}
		_, err = p.invite("owner", "member")
		is("invited again", err, "ok")
		is("accepted", p.join("member"), "ok")
		list, err := p.invited("owner")
		is("the invitation", err, "ok")
		w.equal(p.kind+": has done its work", len(list), 0)
		is("removed again", p.remove("owner", "member"), "ok")
		is("a removed user can be added", p.add("owner", "member"), "ok")
		is("left again", p.remove("member", "member"), "ok")
		p.open()
		is("joined by themselves", p.join("member"), "ok")
		is("removed once more", p.remove("owner", "member"), "ok")
		is("and can be added", p.add("owner", "member"), "ok")
		is("denied", p.deny("owner", "member"), "ok")
		is("on the deny list", p.add("owner", "member"), "409 on_deny_list members/0")
	}
}

// TestInvitationsToGroups checks that invitations to groups and rooms work like those to
// spaces.
func TestInvitationsToGroups(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.joinables() {
		w.step(p.kind, func() {
			received := func() []string {
				var out []string
				for _, e := range w.committed() {
					if e.Conversation == p.id && e.To == "carol" {
						out = append(out, string(e.Type))
					}
				}
				return out
			}
			_, err := p.invite("member", "bob")
			w.equal("by a member", err, "permission_denied: you need the permission invite here")
			made, err := p.invite("owner", "carol", "member", "carol")
			w.must(err)
			w.equal("invited", fmt.Sprint(len(made), made[0].User, made[0].By, made[0].Kind, made[0].Name), fmt.Sprint(1, "carol", "owner", p.kind, "a "+p.kind))
			_, err = p.invite("owner", "carol")
			w.must(err)
			mine, err := w.MyInvitations(w.ctx, as("carol"), 0, 10)
			w.must(err)
			w.equal("theirs", slices.ContainsFunc(mine, func(i im.InvitationView) bool {
				return i.Conversation == p.id && i.Kind.String() == p.kind && i.Name == "a "+p.kind
			}), true)
			prefix := map[bool]string{true: "space.", false: "conversation."}[p.kind == "space"]
			w.equal("received once", received(), []string{prefix + "invited"})
			unknown := map[bool]string{true: "404 space_not_found", false: "404 conversation_not_found"}[p.kind == "space"]
			_, err = p.invited("carol")
			w.equal("an invited user sees no others", answer(err), unknown)
			w.equal("withdrawn by a member", answer(p.uninvite("member", "carol")), "403 permission_denied")
			w.equal("withdrawn by a stranger", answer(p.uninvite("eve", "carol")), unknown)
			w.equal("declining an invitation that does not exist", answer(p.uninvite("eve", "eve")), unknown)
			w.equal("declining as a member", answer(p.uninvite("member", "member")), "404 invitation_not_found")
			w.must(p.uninvite("owner", "carol"))
			w.equal("withdrawn again", answer(p.uninvite("owner", "carol")), "404 invitation_not_found")
			w.equal("received", received(), []string{prefix + "invited", prefix + "uninvited"})
			_, err = p.invite("owner", "carol", "dave")
			w.must(err)
			w.must(p.deny("owner", "carol"))
			w.equal("denied", received(), []string{prefix + "invited", prefix + "uninvited", prefix + "invited", prefix + "uninvited"})
			w.equal("joining while denied", answer(p.join("carol")), unknown)
			made, err = p.invite("owner", "carol")
			w.must(err)
			w.equal("inviting a denied user", len(made), 0)
			w.must(p.add("owner", "dave"))
			list, err := p.invited("owner")
			w.must(err)
			w.equal("adding ends the invitation", len(list), 0)
		})
	}
	mine, err := w.MyInvitations(w.ctx, as("carol"), 0, 10)
	w.must(err)
	w.equal("open invitations of carol in the end", len(mine), 0)
}

// TestInvitationsEndWithTheirConversation checks that the invitations to what is deleted are open for
// nobody, and end with one event for each.
func TestInvitationsEndWithTheirConversation(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.joinables() {
		w.step(p.kind, func() {
			_, err := p.invite("owner", "carol", "dave")
			w.must(err)
			if p.kind == "space" {
				w.must(w.DeleteSpace(w.ctx, as("owner"), p.id))
			} else {
				w.must(w.DeleteConversation(w.ctx, as("owner"), byID(p.id)))
			}
			for _, when := range []string{"at first", "when purged"} {
				if when == "when purged" {
					w.must(w.Purge(w.ctx))
				}
				for _, user := range []im.UserID{"carol", "dave"} {
					mine, err := w.MyInvitations(w.ctx, as(user), 0, 10)
					w.must(err)
					w.equal(when+": open invitations", len(mine), 0)
					unknown := map[bool]string{true: "404 space_not_found", false: "404 conversation_not_found"}[p.kind == "space"]
					w.equal(when+": declining", answer(p.uninvite(user, user)), unknown)
				}
			}
			w.must(w.Purge(w.ctx))
			var ended []string
			for _, e := range w.committed() {
				if e.Conversation == p.id && (e.Type == im.ConversationUninvited || e.Type == im.SpaceUninvited) {
					ended = append(ended, string(e.Type)+" "+string(e.To))
				}
			}
			prefix := map[bool]string{true: "space.", false: "conversation."}[p.kind == "space"]
			w.equal("published, once each", ended, []string{prefix + "uninvited carol", prefix + "uninvited dave"})
		})
	}
}

// TestInvitationsNeedMembers checks that nobody is invited to kinds without members of their own.
func TestInvitationsNeedMembers(t *testing.T) {
	w := newWorld(t)
	sent, err := w.Send(w.ctx, as("owner"), direct("bob"), text("hi"))
	w.must(err)
	_, err = w.Invite(w.ctx, as("owner"), byID(sent.Message.Conversation), []im.UserID{"carol"})
	w.equal("to a direct conversation", answer(err), "422 direct_conversation")
	channel := w.channel("owner", w.space("owner"), false)
	_, err = w.Invite(w.ctx, as("owner"), byID(channel), []im.UserID{"carol"})
	w.equal("to a channel", answer(err), "422 members_unsupported")
}
