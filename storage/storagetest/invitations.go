package storagetest

import (
	"time"

	"github.com/imapi/imapi/im"
)

func testInvitations(w *world) {
	space, other := w.space("alice"), w.space("bob")
	invite := func(space im.ID, user, by im.UserID, n int) im.Invitation {
		w.Helper()
		i := im.Invitation{Conversation: space, User: user, By: by, At: epoch.Add(time.Duration(n) * time.Second)}
		w.write(func(tx im.Tx) error { return tx.PutInvitation(i) })
		return i
	}
	invitations := func(space im.ID, after string, limit int) []im.Invitation {
		w.Helper()
		return read(w, func(r im.Reader) ([]im.Invitation, error) {
			return r.Invitations(space, im.Page{After: after, Limit: limit})
		})
	}
	of := func(user im.UserID, after im.ID, limit int) []im.Invitation {
		w.Helper()
		return read(w, func(r im.Reader) ([]im.Invitation, error) { return r.InvitationsOf(user, after, limit) })
	}
	w.equal("before", []any{len(invitations(space, "", 9)), len(of("carol", 0, 9))}, []any{0, 0})
	carol, bob, inOther := invite(space, "carol", "alice", 1), invite(space, "bob", "alice", 2), invite(other, "carol", "bob", 3)
	w.equal("invitations to a space", invitations(space, "", 9), []im.Invitation{bob, carol})
	w.equal("after one", invitations(space, "bob", 9), []im.Invitation{carol})
	w.equal("up to one", invitations(space, "", 1), []im.Invitation{bob})
	w.equal("invitations of a user", of("carol", 0, 9), []im.Invitation{carol, inOther})
	w.equal("after a space", of("carol", space, 9), []im.Invitation{inOther})
	w.equal("up to one", of("carol", 0, 1), []im.Invitation{carol})

	carol = invite(space, "carol", "bob", 4)
	one := read(w, func(r im.Reader) (im.Invitation, error) { return r.Invitation(space, "carol") })
	w.equal("replaced invitation", one, carol)
	for range 2 {
		w.write(func(tx im.Tx) error { return tx.DeleteInvitation(space, "carol") })
	}
	w.notFound("deleted invitation", w.store.View(w.Context(), func(r im.Reader) error {
		_, err := r.Invitation(space, "carol")
		return err
	}))
	w.equal("remaining invitations", of("carol", 0, 9), []im.Invitation{inOther})
}
