package storagetest

import (
	"strings"

	"github.com/imapi/imapi/im"
)

// testTexts checks that name, announcement and avatar can be changed separately, several
// times in a transaction, to the maximum length and to nothing, and that other changes keep them.
func testTexts(w *world) {
	id := w.make(im.Conversation{Kind: im.Group, Name: "first"})
	other := w.make(im.Conversation{Kind: im.Group, Name: "first", Announcement: "another's"})
	long := strings.Repeat("名", im.MaxAnnouncement)
	want := [3]string{"first", "", ""}
	change := func(to ...[3]string) {
		w.Helper()
		w.write(func(tx im.Tx) error {
			for _, texts := range to {
				c, err := tx.Conversation(id)
				if err != nil {
					return err
				}
				if got := [3]string{c.Name, c.Announcement, c.Avatar}; got != want {
					w.Fatalf("%q, want %q", got, want)
				}
				c.Name, c.Announcement, c.Avatar, c.MuteAll, want = texts[0], texts[1], texts[2], !c.MuteAll, texts
				if err := tx.UpdateConversation(c); err != nil {
					return err
				}
			}
			return nil
		})
		c := w.conversation(id)
		w.equal("changed", [3]string{c.Name, c.Announcement, c.Avatar}, want)
	}
	change([3]string{"first", "", ""}) // changes another field
	change([3]string{"second", "", ""})
	change([3]string{"second", long, ""}, [3]string{"second", "short", "a"}, [3]string{"third", "short", "b"})
	change([3]string{"third", "", "b"})
	change([3]string{"third", "b", ""}, [3]string{"", "third", "b"}, [3]string{"first", "", ""})
	c := w.conversation(other)
	w.equal("another conversation", []any{c.Name, c.Announcement}, []any{"first", "another's"})
	w.deleteConversation(id)
	c = w.conversation(id)
	w.equal("deleted", []any{c.Name, c.Announcement, c.Avatar}, []any{"", "", ""})
	w.notFound("unknown conversation", w.store.Write(w.Context(), func(tx im.Tx) error {
		return tx.UpdateConversation(im.Conversation{ID: 1, Name: "a name"})
	}))
}

// testRoleNames checks that the current names of roles are returned, and that they are deleted with
// the role and the space.
func testRoleNames(w *world) {
	space, other := w.space("alice"), w.space("alice")
	names := func(of im.ID) map[im.ID]string {
		return read(w, func(r im.Reader) (map[im.ID]string, error) { return r.RoleNames(of) })
	}
	put := func(space, role im.ID, list ...string) {
		w.Helper()
		w.write(func(tx im.Tx) error {
			for _, name := range list {
				if err := tx.PutRoleName(space, role, name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	w.equal("before", names(space), map[im.ID]string{})
	put(space, 1<<62+1, "a name 名")
	put(space, 7, "b", "another", "b")
	put(other, 8, "elsewhere")
	w.equal("given", names(space), map[im.ID]string{1<<62 + 1: "a name 名", 7: "b"})
	put(space, 7, "b")
	put(space, 1<<62+1, "renamed")
	w.equal("renamed", names(space), map[im.ID]string{1<<62 + 1: "renamed", 7: "b"})
	put(space, 7, "")
	put(space, 9, "")
	put(space, 10, "short", "")
	w.equal("deleted", names(space), map[im.ID]string{1<<62 + 1: "renamed"})
	put(space, 7, "again")
	w.deleteConversation(space)
	w.equal("deleted space", names(space), map[im.ID]string{})
	w.equal("another space", names(other), map[im.ID]string{8: "elsewhere"})
}
