package storagetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
)

// checkOverridden checks Overridden. It expects bob to be muted in channel for a day, and on
// the deny list of channel since position 4.
func (w *world) checkOverridden(space, channel, other im.ID) {
	w.Helper()
	deleted := w.channel(space)
	private := func(overrides ...im.Override) im.ChannelAccess {
		return im.ChannelAccess{Private: true, Overrides: overrides}
	}
	deny := im.Grants{Deny: im.PermissionSend}
	w.write(func(tx im.Tx) error {
		for id, access := range map[im.ID]im.ChannelAccess{
			channel: private(im.Override{Role: 77, Grants: deny}, im.Override{Role: 7, Grants: deny}),
			other:   private(im.Override{Role: im.Everyone, Grants: deny}),
			deleted: private(im.Override{Role: 7, Grants: deny}),
		} {
			if err := tx.PutAccess(id, private(im.Override{Role: 9, Grants: deny}), 6); err != nil {
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
	here := im.ChannelOf{Channel: channel, Access: private(im.Override{Role: 77, Grants: deny}, im.Override{Role: 7, Grants: deny})}
	otherChannel := im.ChannelOf{Channel: other, MuteAll: true, Access: private(im.Override{Role: im.Everyone, Grants: deny})}
	w.equal("one role", ask("alice", 7), []im.ChannelOf{here})
	w.equal("several roles", ask("nobody", im.Everyone, 77, 5), []im.ChannelOf{here, otherChannel})
	w.equal("roles without overrides", len(ask("alice", 9, 70)), 0)
	here.Lists, here.MutedHere = []im.ListStay{{List: im.DenyList, From: 4}}, epoch.Add(24*time.Hour)
	w.equal("a user who is muted and denied", ask("bob", 7, 77, im.Everyone), []im.ChannelOf{here, otherChannel})
}

// testSpaceMembers checks what the model leaves out: mutes, the owner of the space, and reads
// that name no channel.
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
	w.checkOverridden(space, channel, other)
	none := read(w, func(r im.Reader) ([]im.SpaceMember, error) {
		return r.SpaceMembersAt(channel, channel, im.Latest, []im.UserID{"alice"})
	})
	w.equal("a channel as the space", len(none), 0)

	again := w.store.Write(w.Context(), func(tx im.Tx) error { return tx.GrantRole(space, "bob", 7, 9) })
	if again == nil {
		w.Fatal("granted a role twice")
	}
	for _, user := range []im.UserID{"alice", "nobody"} {
		w.notFound("a role that "+string(user)+" does not have",
			w.store.Write(w.Context(), func(tx im.Tx) error { return tx.EndRole(space, user, 7, 9) }))
	}
	// A role that the same event ends and grants again continues.
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
		im.Latest:     {{Role: 7, From: 9}}, // roles that have ended are left out
	} {
		got := read(w, func(r im.Reader) ([]im.SpaceMember, error) {
			return r.SpaceMembersAt(space, 0, at, []im.UserID{"bob"})
		})
		w.equal("roles after granting again", got[0].Roles, want)
	}
}

// testManyStays checks that many short stays in a role and on a list do not make loading a member
// slower, and that the recent ones are known.
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
			w.equal(fmt.Sprint("at ", at), rolesAndListsAt(bob(at), at), want)
		}
	}
	then := bob(first + 2*times)
	w.equal("number of known stays", []int{len(then.Roles), len(then.Lists)}, []int{100, 101})
}
