package datastreams

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
)

// TestFailureOfTheStoreIsTriedAgain: a user who has lost the conversation loses their reader even
// if the first look-up fails.
func TestFailureOfTheStoreIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &domain{members: map[im.UserID]bool{"own": true, "bob": true}}
		h := newTestHub(t, Options{Domain: d})
		v, err := h.Create(context.Background(), im.Actor{User: "own"}, im.DataStreamDraft{Access: im.StreamForMembers, Conversation: &im.ConversationRef{ID: 7}})
		if err != nil {
			t.Fatal(err)
		}
		r := read(t, h, v.ID, as("bob"), Oldest, false, nil)
		d.mu.Lock()
		d.fails = errors.New("failed")
		delete(d.members, "bob")
		d.mu.Unlock()
		h.Committed(im.Commit{Events: []im.Event{{Type: im.MemberRemoved, Conversation: 7, User: "bob"}}})
		time.Sleep(checkPause)
		synctest.Wait()
		d.mu.Lock()
		failed := d.failed
		d.fails = nil
		d.mu.Unlock()
		if failed == 0 || r.ended() {
			t.Fatalf("%d look-ups failed, and the reader has ended: %t", failed, r.ended())
		}
		r.wait(t)
		if code(r.err) != "stream_not_found" {
			t.Errorf("it ended by %v", r.err)
		}
	})
}
