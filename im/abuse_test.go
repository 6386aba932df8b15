package im_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestOnlyTheNewestStaysCount checks that a user who keeps joining and leaving costs no
// more than one who has done so a hundred times.
func TestOnlyTheNewestStaysCount(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryJoined, "owner")
	const stays = 105
	for i := range stays {
		w.say("owner", byID(id), "away")
		w.add(id, "owner", im.Member, "bob")
		w.say("owner", byID(id), fmt.Sprintf("stay %d", i))
		if i < stays-1 {
			w.remove(id, "owner", "bob")
		}
	}
	said := w.said("bob", byID(id))
	w.equal("how many", len(said), 100)
	w.equal("the oldest", said[0], "stay 5")
	w.equal("the newest", said[99], "stay 104")
}

// TestCutOffsDoNotGoBack checks that setting the clock back does not make tokens valid
// again.
func TestCutOffsDoNotGoBack(t *testing.T) {
	w := newWorld(t)
	root := im.Actor{User: "root", Admin: true}
	w.must1(w.CutTokens(w.ctx, root, "bob"))
	w.pass(-time.Hour)
	w.must1(w.CutTokens(w.ctx, root, "bob"))
	w.equal("cuts", w.keptCuts(), []im.TokenCut{{User: "bob", At: epoch}})
}

// TestForgedPositionsInTheListOfMembers checks that a list of members continues only after
// a user who is or was a member; otherwise it would reveal which users exist.
func TestForgedPositionsInTheListOfMembers(t *testing.T) {
	w := newWorld(t)
	w.say("carol", direct("dave"), "known elsewhere")
	id := w.group(im.HistoryAll, "owner", "a", "b")
	w.remove(id, "owner", "a")
	for after, want := range map[string]string{
		"owner": "ok", "a": "ok", "dave": "400 invalid_page_token", "never heard of": "400 invalid_page_token",
	} {
		_, err := w.Members(w.ctx, as("owner"), byID(id), im.Page{After: after, Limit: 10})
		w.equal("after "+after, answer(err), want)
	}
}

// TestPagesOfLargeMessagesEndEarly checks that pages of history are bounded in bytes, and that no
// message is missing because of that.
func TestPagesOfLargeMessagesEndEarly(t *testing.T) {
	w := newWorld(t)
	const n = 200
	for range n {
		w.say("alice", direct("bob"), strings.Repeat("x", 4000))
	}
	for _, f := range []im.HistoryFilter{{Limit: 200}, {Limit: 200, Ascending: true}, {Limit: 200, From: epoch}} {
		seen, pages := 0, 0
		for more := true; more; pages++ {
			page, err := w.Messages(w.ctx, as("bob"), direct("alice"), f)
			w.must(err)
			seen += len(page.Messages)
			f.Past, more = page.Next, page.Next != nil
		}
		if seen != n || pages < 2 {
			t.Errorf("%+v: %d messages on %d pages", f, seen, pages)
		}
	}
}
