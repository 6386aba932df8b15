package im_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

// Members join and leave while others send. Exactly those who were members at an event receive it,
// and they can read the message if their stay covers it. The expectation is computed only from the
// events, in order.
func TestMembersComeAndGoWhileOthersSend(t *testing.T) {
	for _, history := range []im.History{im.HistoryJoined, im.HistoryAll} {
		t.Run(history.String(), func(t *testing.T) { comeAndGo(t, history) })
	}
}

func comeAndGo(t *testing.T, history im.History) {
	const senders, movers, rounds = 3, 4, 15
	w := newWorld(t)
	id := w.group(history, "owner", "sender0", "sender1", "sender2")
	errs := make([]error, senders+movers)
	together(senders+movers, func(i int) {
		if i < senders {
			for n := range rounds * 3 {
				if _, err := w.Send(w.ctx, as(im.UserID(fmt.Sprint("sender", i))), byID(id), text("%d", n)); err != nil {
					errs[i] = err
					return
				}
			}
			return
		}
		user := im.UserID(fmt.Sprint("mover", i-senders))
		for n := range rounds {
			if _, err := w.AddMembers(w.ctx, as("owner"), byID(id), []im.UserID{user}, im.Member); err != nil {
				errs[i] = err
				return
			}
			if n == rounds-1 && i%2 == 0 {
				return // stays
			}
			if err := w.RemoveMember(w.ctx, as("owner"), byID(id), user); err != nil {
				errs[i] = err
				return
			}
		}
	})
	for _, err := range errs {
		w.must(err)
	}

	users := []im.UserID{"owner", "sender0", "sender1", "sender2", "mover0", "mover1", "mover2", "mover3", "stranger"}
	for _, user := range users {
		want, stays := received(w.committed(), user, user != "stranger" && user[:4] != "move")
		got := map[im.Position]bool{}
		for _, e := range w.replay(as(user), 0, 7) {
			if _, twice := got[e.Position]; twice {
				t.Errorf("%s receives %d twice", user, e.Position)
			}
			got[e.Position] = e.Message != nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s receives other events (-want +got):\n%s", user, diff)
		}
		readable := 0
		for _, with := range want {
			if with {
				readable++
			}
		}
		if stays && history == im.HistoryAll {
			readable = senders * rounds * 3
		}
		page, err := w.Messages(w.ctx, as(user), byID(id), im.HistoryFilter{Limit: 1000})
		if (err == nil) != stays || len(page.Messages) != readable {
			t.Errorf("%s reads %d messages, %v, want %d", user, len(page.Messages), err, readable)
		}
	}
}

// received is what a user receives of a log: the positions, each with whether its message can be
// read at the end, and whether they are a member then.
func received(log []im.Event, user im.UserID, member bool) (_ map[im.Position]bool, stays bool) {
	out := map[im.Position]bool{}
	for _, e := range log {
		joins := e.Type == im.MemberAdded && e.User == user
		if member || joins {
			out[e.Position] = e.Type == im.MessageCreated
		}
		if joins || e.Type == im.MemberRemoved && e.User == user {
			member = joins
		}
	}
	if !member {
		for p := range out {
			out[p] = false // a former member reads nothing
		}
	}
	return out, member
}
