package storagetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// benchSpaces measures a space of 10,000 members, each with a role and every tenth on a
// list and muted: loading the access of one member, as for each message; loading that of
// 1,000 and of all members, as for each event; and sending in a channel compared with
// sending in a group.
func benchSpaces(b *testing.B, open Engine) {
	const members = 10_000
	w := newWorld(b, open(b, false, nil))
	users := make([]im.UserID, members)
	for i := range users {
		users[i] = im.UserID(fmt.Sprint("user ", i))
	}
	space := w.space(users...)
	channel, group := w.channel(space), w.group(im.HistoryAll, "alice", "bob")
	w.write(func(tx im.Tx) error {
		for i, user := range users {
			if err := tx.GrantRole(space, user, im.ID(i%5), 1); err != nil {
				return err
			}
			if i%10 != 0 {
				continue
			}
			if err := tx.PutListed(channel, im.AllowList, user, epoch, 1); err != nil {
				return err
			}
			if err := tx.PutMute(channel, user, epoch); err != nil {
				return err
			}
		}
		return nil
	})
	for _, n := range []int{1, 1000, members} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			for b.Loop() {
				got := read(w, func(r im.Reader) ([]im.SpaceMember, error) {
					return r.SpaceMembersAt(space, channel, im.Latest, users[members-n:])
				})
				if len(got) != n {
					b.Fatalf("%d members", len(got))
				}
			}
		})
	}
	text := content(b, `{"text":"a message of a usual length, neither short nor long"}`)
	for name, id := range map[string]im.ID{"group": group, "channel": channel} {
		b.Run("send to="+name, func(b *testing.B) {
			for b.Loop() {
				m := im.Message{
					ID: w.ids.Next(time.Now()), Conversation: id, Sender: users[0],
					Type: im.Text, State: im.Active, CreatedAt: time.Now(), Content: text,
				}
				w.write(func(tx im.Tx) error {
					if _, err := tx.Conversation(id); err != nil {
						return err
					}
					_, _, err := insert(tx, m)
					return err
				})
			}
		})
	}
}
