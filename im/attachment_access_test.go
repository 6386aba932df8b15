package im_test

import (
	"context"
	"testing"

	"github.com/imapi/imapi/im"
)

// noSearch is a store whose transactions may not search for messages with an attachment.
type noSearch struct {
	im.Store
	t      testing.TB
	before func() // called before a transaction; may be nil
}

func (s *noSearch) Write(ctx context.Context, fn func(im.Tx) error) error {
	if s.before != nil {
		s.before()
	}
	return s.Store.Write(ctx, func(tx im.Tx) error { return fn(noSearchTx{tx, s.t}) })
}

type noSearchTx struct {
	im.Tx
	t testing.TB
}

func (tx noSearchTx) MessagesWith(a im.ID, user im.UserID, past im.ID, limit int) ([]im.Message, error) {
	tx.t.Error("a transaction searches for the messages with an attachment")
	return tx.Tx.MessagesWith(a, user, past, limit)
}

func fileDraft(a im.Attachment) im.Draft {
	return im.Draft{Type: im.File, Body: []byte(`{"attachment_id":"` + a.ID.String() + `"}`)}
}

// TestForwardingSearchesBeforeItsTransaction: up to a thousand messages may have to be examined to
// decide whether the sender sees a file. In the transaction, this would delay everyone.
func TestForwardingSearchesBeforeItsTransaction(t *testing.T) {
	g := newGallery(t)
	store := &noSearch{Store: g.store, t: t}
	file, other := g.upload("alice", picture(t, 9, 9)), g.upload("alice", picture(t, 8, 8))
	_, err := g.Send(g.ctx, as("alice"), direct("bob"), fileDraft(file))
	g.must(err)
	g.Service = im.NewService(store, im.DefaultPolicy(), g.clock)
	g.use(g.Service)
	_, err = g.Send(g.ctx, as("bob"), direct("carol"), fileDraft(file))
	g.equal("a user who sees the file", answer(err), "ok")
	_, err = g.Send(g.ctx, as("mallory"), direct("carol"), fileDraft(file))
	g.equal("a user who does not", answer(err), "422 attachment_unusable")
	results, err := g.SendAs(g.ctx, root, "carol", []string{"@dave", "@erin"}, fileDraft(file))
	g.must(err)
	for _, r := range results {
		g.equal("an admin, as a user who sees it, to "+r.To, answer(r.Err), "ok")
	}
	results, err = g.SendAs(g.ctx, root, "mallory", []string{"@dave"}, fileDraft(file))
	g.must(err)
	g.equal("an admin, as a user who does not", answer(results[0].Err), "422 attachment_unusable")

	// A hook may insert a file that the sender sees in another message.
	_, err = g.Send(g.ctx, as("alice"), direct("bob"), fileDraft(other))
	g.must(err)
	asked(g.world, im.Presend{}, func(context.Context, im.PresendQuestion) (im.PresendAnswer, error) {
		return im.PresendAnswer{Action: im.PresendRewrite, Body: fileDraft(other).Body}, nil
	})
	sent, err := g.Send(g.ctx, as("bob"), direct("carol"), fileDraft(file))
	g.must(err)
	g.equal("the file from the hook", sent.Message.Attachments, []im.ID{other.ID})
}

// TestForwardingWhatIsRevokedMeanwhile: the message in which a sender was found to see a file is
// revoked before their transaction. Another such message suffices; without one they cannot send the
// file.
func TestForwardingWhatIsRevokedMeanwhile(t *testing.T) {
	for name, test := range map[string]struct {
		messages, revoked int
		want              string
	}{
		"one of two":                    {2, 1, "ok"},
		"the only one":                  {1, 1, "422 attachment_unusable"},
		"all but one, as often as seen": {4, 3, "ok"},
		"one more before each search":   {6, 5, "422 attachment_unusable"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGallery(t)
			file := g.upload("alice", picture(t, 9, 9))
			send := func(to im.UserID) im.ID {
				sent, err := g.Send(g.ctx, as("alice"), direct(to), fileDraft(file))
				g.must(err)
				return sent.Message.ID
			}
			send("carol") // keeps the file until the end
			var shown []im.ID
			for range test.messages {
				shown = append(shown, send("bob"))
			}
			store := &noSearch{Store: g.store, t: t}
			service := im.NewService(store, im.DefaultPolicy(), g.clock)
			left := test.revoked
			store.before = func() {
				if left--; left >= 0 {
					_, err := g.Revoke(g.ctx, as("alice"), shown[len(shown)-1], im.RevokeNote{})
					g.must(err)
					shown = shown[:len(shown)-1]
				}
			}
			_, err := service.Send(g.ctx, as("bob"), direct("dave"), fileDraft(file))
			g.equal("forwarded", answer(err), test.want)
		})
	}
}
