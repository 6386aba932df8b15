package storagetest

import (
	"errors"
	"fmt"

	"github.com/imapi/imapi/im"
)

// testVersions checks roles and access rules before they are first stored, at each version,
// and after a deletion.
func testVersions(w *world) {
	space := w.space("alice")
	channel := w.channel(space)
	roles := func(at im.Position) im.SpaceRoles {
		return read(w, func(r im.Reader) (im.SpaceRoles, error) { return r.RolesAt(space, at) })
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
	w.equal("before", []any{roles(im.Latest), access(im.Latest)}, []any{im.SpaceRoles{}, "none"})
	set := im.SpaceRoles{Owner: "alice", Roles: im.RoleSet{
		{ID: 1<<62 + 1, Grants: im.Grants{Allow: im.RolePermissions, Deny: im.PermissionView}},
		{ID: im.Everyone, Grants: im.Grants{Allow: im.DefaultPermissions}},
	}}
	private := im.ChannelAccess{Private: true, Overrides: []im.Override{{Role: 1<<62 + 1, Grants: im.Grants{Allow: im.PermissionView}}}}
	w.write(func(tx im.Tx) error {
		if err := tx.PutRoles(space, set, 5); err != nil {
			return err
		}
		return tx.PutAccess(channel, private, 6)
	})
	for _, at := range []im.Position{4, 5, 6, im.Latest} {
		want, wanted := im.SpaceRoles{}, any("none")
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
	by := w.deleteConversation(space)
	w.equal("before the deletion", []any{roles(by - 1), access(by - 1)}, []any{set, private})
	w.equal("after it", []any{roles(by), access(im.Latest)}, []any{im.SpaceRoles{}, "none"})
}
