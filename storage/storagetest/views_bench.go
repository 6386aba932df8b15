package storagetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/imapi/imapi/im"
)

// benchViews measures the requests of a client that starts, for a user with a thousand
// conversations who has read no message: the first page of the list, now and as of an earlier time,
// all unread counts, and a page of history. With a hundred times as many messages it must not take
// twice as long.
func benchViews(b *testing.B, open Engine) {
	const n = 1000
	for _, messages := range []int{10_000, 1_000_000} {
		var w *world
		var ids []im.ID
		b.Run(fmt.Sprintf("messages=%d", messages), func(b *testing.B) {
			if w == nil {
				w = newWorld(b, open(b, false, nil))
				ids = w.spread(n, messages)
			}
			list := im.ConversationQuery{User: "alice", AsOf: w.now, Limit: 50}
			b.Run("list", func(b *testing.B) {
				for b.Loop() {
					if got := w.list(list); len(got) != list.Limit {
						b.Fatalf("%d conversations are listed", len(got))
					}
				}
			})
			b.Run("list as of before", func(b *testing.B) {
				before := list
				before.AsOf = epoch.Add(w.now.Sub(epoch) / 2) // all have been active since
				for b.Loop() {
					if got := w.list(before); len(got) != before.Limit {
						b.Fatalf("%d conversations are listed", len(got))
					}
				}
			})
			b.Run("unread of all", func(b *testing.B) {
				for b.Loop() {
					w.unreadOfAll(ids, "alice", min(messages/n, im.MaxUnread))
				}
			})
			b.Run("history", func(b *testing.B) {
				q := im.HistoryQuery{
					Conversation: ids[n/2], Ranges: []im.SeqRange{{From: 1, To: int64(messages / n)}}, Reader: "alice", Limit: 10,
				}
				for b.Loop() {
					read(w, func(r im.Reader) (im.HistoryPage, error) { return r.Messages(q) })
				}
			})
		})
	}
}

// spread creates conversations and sends messages to them in turn.
func (w *world) spread(conversations, messages int) []im.ID {
	w.Helper()
	ids := make([]im.ID, conversations)
	for i := range ids {
		ids[i] = w.group(im.HistoryAll, "alice", "bob")
	}
	text := content(w, `{"text":"a message of a usual length, neither short nor long"}`)
	for sent := 0; sent < messages; sent += conversations {
		w.write(func(tx im.Tx) error {
			for _, id := range ids {
				at := w.tick()
				_, err := tx.InsertMessage(im.Message{
					ID: w.ids.Next(at), Conversation: id, Sender: "bob", Type: im.Text, State: im.Active,
					CreatedAt: at, Content: text,
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return ids
}

// unreadOfAll counts the unread messages of every conversation as the use case does, many at
// once, in transactions of bounded length.
func (w *world) unreadOfAll(ids []im.ID, user im.UserID, want int) {
	w.Helper()
	for len(ids) > 0 {
		part := ids[:min(200, len(ids))]
		ids = ids[len(part):]
		w.must(w.store.View(context.Background(), func(r im.Reader) error {
			conversations, err := r.ConversationsByID(part)
			if err != nil {
				return err
			}
			memberships, err := r.Memberships(user, part)
			if err != nil {
				return err
			}
			var queries []im.UnreadQuery
			for i, c := range conversations {
				messages := memberships[i].Intervals.Messages(c.LastSeq)
				queries = append(queries, im.UnreadQuery{Conversation: c.ID, User: user, Ranges: messages, Now: w.now})
			}
			counts, err := r.Unread(queries...)
			for _, got := range counts {
				if got.Messages != want {
					err = fmt.Errorf("%d are unread, want %d", got.Messages, want)
				}
			}
			return err
		}))
	}
}
