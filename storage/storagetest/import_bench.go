package storagetest

import (
	"fmt"
	"testing"

	"github.com/imapi/imapi/im"
)

// benchImport measures storing quiet messages, 500 in a transaction, as an import does.
func benchImport(b *testing.B, open Engine) {
	const batch = 500
	w := newWorld(b, open(b, false, nil))
	id := w.group(im.HistoryAll, "alice", "bob")
	users := []im.UserID{"alice", "bob", "carol", "dave"}
	text := content(b, `{"text":"a message of a usual length, neither short nor long"}`)
	stored := 0
	b.ResetTimer()
	for b.Loop() {
		messages := make([]im.Message, batch)
		for i := range messages {
			at := w.tick()
			m := im.Message{
				ID: w.ids.Next(at), Conversation: id, Sender: users[i%len(users)], Type: im.Text, State: im.Active,
				CreatedAt: at, Content: text, Quiet: true,
			}
			m.ClientID = fmt.Sprint(m.ID)
			messages[i] = m
		}
		w.write(func(tx im.Tx) error {
			for _, m := range messages {
				if _, err := tx.InsertMessage(m); err != nil {
					return err
				}
			}
			return nil
		})
		stored += batch
	}
	b.ReportMetric(float64(stored)/b.Elapsed().Seconds(), "messages/s")
}
