package datastreams

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
)

// TestLimits: data streams and requests beyond the limits of a user and of all are refused.
func TestLimits(t *testing.T) {
	ctx := context.Background()
	h := newTestHub(t, Options{MaxStreams: 4, MaxStreamsPerUser: 2, MaxReaders: 2, MaxAttachedPerUser: 3, MaxAttached: 5})
	create := func(user im.UserID, admin bool) (View, error) {
		return h.Create(ctx, im.Actor{User: user, Admin: admin}, im.DataStreamDraft{Access: im.StreamForAnyone})
	}
	one, _ := create("own", false)
	two, err := create("own", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create("own", false); code(err) != "too_many_streams" {
		t.Errorf("a third one of a user: %v", err)
	}
	_, _ = create("bob", false)
	if _, err := create("own", true); err != nil {
		t.Errorf("a third one by an admin: %v", err)
	}
	if _, err := create("carol", false); code(err) != "overloaded" {
		t.Errorf("one too many in all: %v", err)
	}
	_ = h.Delete(ctx, im.Actor{User: "own"}, one.ID)
	if _, err := create("carol", false); err != nil {
		t.Errorf("after one has ended: %v", err)
	}

	readOf := func(user im.UserID, id im.DataStreamID) error {
		_, err := h.Read(ctx, as(user), id, Oldest, false)
		return err
	}
	publish(t, h, two.ID, as("own"))
	for i, want := range []string{"<nil>", "<nil>", "too_many_streams"} {
		if err := readOf("own", two.ID); code(err) != want {
			t.Errorf("reader %d of the user: %v, want %s", i, err, want)
		}
	}
	if err := readOf("bob", two.ID); code(err) != "too_many_streams" {
		t.Errorf("a third reader of the data stream: %v", err)
	}
	three, _ := create("dave", true)
	_ = three
	for i := range 3 {
		_ = readOf(im.UserID(fmt.Sprint("user", i)), one.ID)
	}
	if err := readOf("user9", one.ID); code(err) != "overloaded" {
		t.Errorf("one request too many in all: %v", err)
	}
}

// TestRateOfAUser: a request with one frame is refused rather than wait for long; an admin
// has no rate.
func TestRateOfAUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, Options{Rate: 1000})
		id, admin := open(t, h)
		for range 20 {
			push(t, admin, text(strings.Repeat("x", 1000)))
		}
		p := publish(t, h, id, as("own"))
		refused := 0
		for range 8 {
			if _, err := p.Push(text(strings.Repeat("x", 3900)), true); err != nil {
				e, ok := im.AsError(err)
				if !ok || e.Code != "rate_limited" || e.RetryAfter <= 0 {
					t.Fatal(err)
				}
				refused++
			}
		}
		if refused != 7 {
			t.Errorf("%d of 8 bursts were refused, want all but the first", refused)
		}
	})
}

// TestEmptyFramesCount: even an empty frame costs the server something, so the rate of a user also
// limits empty frames.
func TestEmptyFramesCount(t *testing.T) {
	const rate, frames = 1000, 20
	h := newTestHub(t, Options{Rate: rate})
	id, _ := open(t, h)
	p := publish(t, h, id, as("own"))
	began := time.Now()
	for range frames {
		push(t, p, NewPayload(0, Bytes, nil))
	}
	now := time.Now()
	if most := burst*rate - frames*frameOverhead + rate*now.Sub(began).Seconds(); p.pace.TokensAt(now) > most {
		t.Errorf("%v bytes may be pushed at once after %d empty frames, want at most %v", p.pace.TokensAt(now), frames, most)
	}
}

// TestLimitsRevealNothingToStrangers: a user without the right learns nothing about a data stream
// from its limits or their own, and does not count against them.
func TestLimitsRevealNothingToStrangers(t *testing.T) {
	ctx := context.Background()
	h := newTestHub(t, Options{MaxReaders: 1, MaxAttachedPerUser: 1})
	v, err := h.Create(ctx, im.Actor{User: "own"}, im.DataStreamDraft{Access: im.StreamForMembers, Conversation: &im.ConversationRef{ID: 7}})
	if err != nil {
		t.Fatal(err)
	}
	free, _ := open(t, h)
	read(t, h, v.ID, Client{Actor: im.Actor{User: "own", Admin: true}}, Oldest, false, nil) // its only reader
	read(t, h, free, as("carol"), Oldest, false, nil)                                       // her only request
	for _, stranger := range []im.UserID{"carol", "dave"} {
		if _, err := h.Read(ctx, as(stranger), v.ID, Oldest, false); code(err) != "stream_not_found" {
			t.Errorf("%s reads: %v", stranger, err)
		}
		if _, err := h.Publish(ctx, as(stranger), v.ID, ""); code(err) != "stream_not_found" {
			t.Errorf("%s pushes: %v", stranger, err)
		}
	}
	if _, err := h.Read(ctx, as("bob"), v.ID, Oldest, false); code(err) != "too_many_streams" {
		t.Errorf("a member reads: %v", err)
	}
	if st := h.Stats(); st.Readers != 2 || st.Publishers != 1 {
		t.Errorf("%d readers and %d publishers are counted, want 2 and 1", st.Readers, st.Publishers)
	}
}

// TestErasuresAreLookedAtTogether: the hub looks through all data streams for what commits have
// ended, but not once for each of thousands of erasures a second.
func TestErasuresAreLookedAtTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0 // each reads the clock once
		h := newTestHub(t, Options{Now: func() time.Time { looks++; return time.Now() }})
		erased := im.Commit{Events: []im.Event{{Type: im.MessageRevoked, MessageID: 42}}}
		for range 300 {
			h.Committed(erased)
			time.Sleep(watchPause / 50)
			synctest.Wait()
		}
		if looks != 7 {
			t.Errorf("%d looks in %v, want one at once and then one every %v", looks, 6*watchPause, watchPause)
		}
	})
}
