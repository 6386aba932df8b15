package im_test

import (
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestOrphans checks that an attachment without a message is erased after 24 hours, but not while
// the clock is not trusted; that nobody can use it from then on in either case; and that one with a
// message stays.
func TestOrphans(t *testing.T) {
	c := withClocks(t)
	g := &gallery{world: c.world, maker: &maker{}, dir: t.TempDir()}
	g.use(g.Service)
	erase := func(want int) {
		t.Helper()
		n, err := g.EraseOrphans(g.ctx)
		g.must(err)
		g.equal("erased", n, want)
	}
	files := func(want int64) {
		t.Helper()
		use, err := g.AttachmentUse(g.ctx)
		g.must(err)
		g.equal("attachments", use.Files, want)
	}
	reads := func(a im.Attachment, want string) {
		t.Helper()
		_, err := g.Attachment(g.ctx, as("alice"), a.ID)
		g.equal("alice reads it", answer(err), want)
	}
	sent, orphan := g.upload("alice", picture(t, 9, 9)), g.upload("alice", picture(t, 9, 9))
	_, err := g.Send(g.ctx, as("alice"), direct("bob"), fileDraft(sent))
	g.must(err)
	c.elapse(im.OrphanRetention)
	erase(0)
	reads(orphan, "ok")
	younger := g.upload("alice", picture(t, 9, 9))
	c.elapse(time.Millisecond)
	reads(orphan, unknownFile)
	_, err = g.Send(g.ctx, as("alice"), direct("bob"), fileDraft(orphan))
	g.equal("sent after its time", answer(err), "422 attachment_unusable")
	files(3)
	erase(1)
	files(2)
	reads(sent, "ok")
	reads(younger, "ok")

	c.pass(im.OrphanRetention + time.Hour) // a jump
	reads(younger, unknownFile)
	erase(0)
	files(2)
	c.elapse(2 * time.Hour)
	erase(1)
	files(1)
	reads(sent, "ok")
	c.elapse(2 * day) // its message is past retention
	g.must(g.Trim(g.ctx, time.Time{}, nil))
	files(0)
	reads(sent, unknownFile)
}
