package im_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/imapi/imapi/im"
)

// ownable is a conversation or space with the operations on its members.
type ownable struct {
	joinable
	// handOver makes a member the owner; promote gives them a lower role.
	handOver, promote func(by, user im.UserID) error
	allow             func(by, user im.UserID) error
}

func (w *world) ownables() []ownable {
	w.Helper()
	var list []ownable
	for _, p := range w.joinables() {
		ref := byID(p.id)
		o := ownable{joinable: p}
		if p.kind == "space" {
			o.handOver = func(by, user im.UserID) error {
				_, err := w.HandOverSpace(w.ctx, as(by), p.id, user)
				return err
			}
			role := w.role(p.id, "owner", im.PermissionKick|im.PermissionManageMembers|im.PermissionInvite, 0)
			o.promote = func(by, user im.UserID) error { return w.GrantRole(w.ctx, as(by), p.id, role, user) }
			o.allow = func(by, user im.UserID) error { return w.AllowInSpace(w.ctx, as(by), p.id, user) }
		} else {
			set := func(role im.Role) func(by, user im.UserID) error {
				return func(by, user im.UserID) error {
					_, err := w.SetRole(w.ctx, as(by), ref, user, role)
					return err
				}
			}
			o.handOver, o.promote = set(im.Owner), set(im.Admin)
			o.allow = func(by, user im.UserID) error { return w.DeleteListed(w.ctx, as(by), ref, im.DenyList, user) }
		}
		list = append(list, o)
	}
	return list
}

// owners returns the members and the owners.
func (w *world) owners(id im.ID) (members, owners []im.UserID) {
	w.Helper()
	w.must(w.store.View(w.ctx, func(r im.Reader) error {
		list, err := r.Members(id, im.Page{Limit: 100})
		for _, m := range list {
			members = append(members, m.User)
			if m.Role == im.Owner {
				owners = append(owners, m.User)
			}
		}
		return err
	}))
	return members, owners
}

// TestExactlyOneOwner checks that after any changes a conversation with members has exactly
// one owner, with an owner's permissions.
func TestExactlyOneOwner(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			random := rand.New(rand.NewPCG(seed, 10))
			users := []im.UserID{"owner", "member", "a", "b", "rescuer"}
			emptied := 0
			for _, p := range w.ownables() {
				if random.IntN(3) > 0 {
					p.open()
				}
				was := ""
				for step := range 150 {
					by, user := users[random.IntN(len(users))], users[random.IntN(len(users))]
					var what string
					var err error
					switch random.IntN(12) {
					case 0, 1:
						what, err = "joins", p.join(by)
					case 2, 3, 4:
						what, err = "leaves", p.remove(by, by)
					case 5:
						what, err = "removes", p.remove(by, user)
					case 6:
						what, err = "adds", p.add(by, user)
					case 7:
						what, err = "hands over to", p.handOver(by, user)
					case 8:
						what, err = "promotes", p.promote(by, user)
					case 9:
						what, err = "denies", p.deny(by, user)
					case 10:
						what, err = "allows", p.allow(by, user)
					default:
						what = "invites"
						_, err = p.invite(by, user)
					}
					if _, refused := im.AsError(err); err != nil && !refused {
						t.Fatal(err)
					}
					at := fmt.Sprintf("%s, step %d: %s %s %s: %s", p.kind, step, by, what, user, answer(err))
					members, owners := w.owners(p.id)
					if len(members) == 0 {
						if emptied++; p.join("rescuer") != nil {
							break // all have left
						}
						members, owners = w.owners(p.id)
					}
					if len(owners) != 1 {
						t.Fatalf("%s: the owners are %v, the members %v; it was %s", at, owners, members, was)
					}
					was = fmt.Sprint(owners)
					w.ownerMay(p, owners[0], at)
				}
			}
			if emptied == 0 {
				t.Error("no conversation was ever left by all")
			}
		})
	}
}

// ownerMay checks that only the owner is shown as the owner and may delete the conversation.
func (w *world) ownerMay(p ownable, owner im.UserID, at string) {
	w.Helper()
	members, _ := w.owners(p.id)
	for _, user := range members {
		var may im.Permissions
		var role im.Role
		var err error
		if p.kind == "space" {
			role, may, err = w.SpacePermissions(w.ctx, as(user), p.id)
			w.must(err)
			v, err := w.SpaceOf(w.ctx, as(user), p.id)
			w.must(err)
			w.equal(at+": shown as the owner", v.Owner, owner)
		} else {
			role, may, err = w.PermissionsIn(w.ctx, as(user), byID(p.id))
			w.must(err)
		}
		if (role == im.Owner) != (user == owner) || may.Has(im.PermissionDelete) != (user == owner) {
			w.Errorf("%s: %s is %s and may delete: %t", at, user, role, may.Has(im.PermissionDelete))
		}
	}
}

// TestFirstToJoinOwns checks that the first user to join a conversation that all have left becomes
// the owner, muted or not, by an invitation or because it is open.
func TestFirstToJoinOwns(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.ownables() {
		_, err := p.invite("owner", "invited")
		w.must(err)
		w.must(w.mute(p, "owner", "member"))
		w.must(p.remove("member", "member"))
		w.must(p.remove("owner", "owner"))
		w.must(p.join("invited"))
		_, owners := w.owners(p.id)
		w.equal(p.kind+": by an invitation", owners, []im.UserID{"invited"})
		w.ownerMay(p, "invited", p.kind)
		_, err = p.invite("invited", "member")
		w.must(err)
		w.must(p.remove("invited", "invited"))
		w.must(p.join("member"))
		_, owners = w.owners(p.id)
		w.equal(p.kind+": a muted user", owners, []im.UserID{"member"})
		w.ownerMay(p, "member", p.kind)
		w.equal(p.kind+": may speak", w.mayIn(p, "member").Has(im.PermissionSend|im.PermissionCreateThread) || p.kind == "room" && w.mayIn(p, "member").Has(im.PermissionSend), true)
		_, err = p.invite("member", "next")
		w.must(err)
		w.must(p.join("next"))
		_, owners = w.owners(p.id)
		w.equal(p.kind+": the next user", owners, []im.UserID{"member"})
	}
}

// mute mutes a user for good.
func (w *world) mute(p ownable, by, user im.UserID) error {
	if p.kind == "space" {
		_, err := w.MuteSpaceMember(w.ctx, as(by), p.id, user, 0)
		return err
	}
	_, err := w.MuteMember(w.ctx, as(by), byID(p.id), user, 0)
	return err
}

// mayIn returns the permissions of a user.
func (w *world) mayIn(p ownable, user im.UserID) im.Permissions {
	w.Helper()
	var may im.Permissions
	var err error
	if p.kind == "space" {
		_, may, err = w.SpacePermissions(w.ctx, as(user), p.id)
	} else {
		_, may, err = w.PermissionsIn(w.ctx, as(user), byID(p.id))
	}
	w.must(err)
	return may
}
