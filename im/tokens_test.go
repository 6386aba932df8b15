package im_test

import (
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

func TestTokenCuts(t *testing.T) {
	w := newWorld(t)
	operator := im.Actor{User: "operator", Admin: true}
	w.pass(1500 * time.Microsecond)
	cut, err := w.CutTokens(w.ctx, operator, "alice")
	w.must(err)
	w.equal("the cut", cut, im.TokenCut{User: "alice", At: epoch.Add(time.Millisecond)})
	w.pass(time.Second)
	later, err := w.CutTokens(w.ctx, operator, "alice")
	w.must(err)
	_, err = w.CutTokens(w.ctx, as("alice"), "bob")
	w.equal("by a user", answer(err), "403 admin_required")
	w.committed()
	w.equal("told", w.cuts, []im.TokenCut{cut, later})
	cuts, err := w.TokenCuts(w.ctx)
	w.must(err)
	w.equal("kept", cuts, []im.TokenCut{later})
}
