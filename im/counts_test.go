package im_test

import (
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

func TestCounts(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	before := im.Counts{
		LastSeq: 10, FirstSeq: 4, Counted: 7, UpdatedAt: at(50), ListedAt: at(40), ListedID: 100, OldestAt: at(20),
	}
	empty := im.Counts{LastSeq: 10, FirstSeq: 11, Counted: 7, UpdatedAt: at(50), ListedAt: at(40), ListedID: 100}
	for name, test := range map[string]struct {
		before im.Counts
		m      im.Message
		want   im.Counts
	}{
		"sent": {
			before,
			im.Message{ID: 101, CreatedAt: at(60)},
			im.Counts{LastSeq: 11, FirstSeq: 4, Counted: 8, UpdatedAt: at(60), ListedAt: at(60), ListedID: 101, OldestAt: at(20)},
		},
		// After the clock was set back, a new message is the newest activity, but its conversation
		// does not move down in lists.
		"sent with an earlier time": {
			before,
			im.Message{ID: 99, CreatedAt: at(30)},
			im.Counts{LastSeq: 11, FirstSeq: 4, Counted: 8, UpdatedAt: at(30), ListedAt: at(40), ListedID: 100, OldestAt: at(20)},
		},
		"visible to one user": {
			before,
			im.Message{ID: 101, CreatedAt: at(60), VisibleTo: "bob"},
			im.Counts{LastSeq: 11, FirstSeq: 4, Counted: 8, UpdatedAt: at(60), ListedAt: at(60), ListedID: 101, OldestAt: at(20)},
		},
		"quiet": {
			before,
			im.Message{ID: 101, CreatedAt: at(60), Quiet: true},
			im.Counts{LastSeq: 11, FirstSeq: 4, Counted: 7, UpdatedAt: at(60), ListedAt: at(60), ListedID: 101, OldestAt: at(20)},
		},
		"quiet with an earlier time": {
			before,
			im.Message{ID: 5, CreatedAt: at(10), Quiet: true},
			im.Counts{LastSeq: 11, FirstSeq: 4, Counted: 7, UpdatedAt: at(50), ListedAt: at(40), ListedID: 100, OldestAt: at(10)},
		},
		"quiet and visible to one user": {
			before,
			im.Message{ID: 101, CreatedAt: at(60), Quiet: true, VisibleTo: "bob"},
			im.Counts{LastSeq: 11, FirstSeq: 4, Counted: 7, UpdatedAt: at(50), ListedAt: at(40), ListedID: 100, OldestAt: at(20)},
		},
		"with a greater seq of its own": {
			before,
			im.Message{ID: 101, CreatedAt: at(60), Seq: 15, Quiet: true, VisibleTo: "bob"},
			im.Counts{LastSeq: 15, FirstSeq: 4, Counted: 7, UpdatedAt: at(50), ListedAt: at(40), ListedID: 100, OldestAt: at(20)},
		},
		"with a seq that is taken": {
			before,
			im.Message{ID: 101, CreatedAt: at(60), Seq: 3, Quiet: true, VisibleTo: "bob"},
			im.Counts{LastSeq: 11, FirstSeq: 4, Counted: 7, UpdatedAt: at(50), ListedAt: at(40), ListedID: 100, OldestAt: at(20)},
		},
		"the first message": {
			im.Counts{FirstSeq: 1, UpdatedAt: at(50), ListedAt: at(50)},
			im.Message{ID: 101, CreatedAt: at(60)},
			im.Counts{LastSeq: 1, FirstSeq: 1, Counted: 1, UpdatedAt: at(60), ListedAt: at(60), ListedID: 101, OldestAt: at(60)},
		},
		"the first message after a trim": {
			empty,
			im.Message{ID: 101, CreatedAt: at(60), Seq: 20},
			im.Counts{LastSeq: 20, FirstSeq: 20, Counted: 8, UpdatedAt: at(60), ListedAt: at(60), ListedID: 101, OldestAt: at(60)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.before.With(test.m); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestMentioning(t *testing.T) {
	content := &im.Content{Mentions: []im.UserID{"bob", "alice", "carol"}, MentionAll: true}
	all := []im.UserID{"bob", "carol"}
	for name, test := range map[string]struct {
		m        im.Message
		users    []im.UserID
		everyone bool
	}{
		"sent":                  {im.Message{Sender: "alice", Content: content}, all, true},
		"without mentions":      {im.Message{Sender: "alice", Content: &im.Content{}}, nil, false},
		"mentioning its sender": {im.Message{Sender: "alice", Content: &im.Content{Mentions: []im.UserID{"alice"}}}, nil, false},
		"quiet":                 {im.Message{Sender: "alice", Content: content, Quiet: true}, nil, false},
		"visible to one member": {im.Message{Sender: "alice", Content: content, VisibleTo: "bob"}, nil, false},
		"erased":                {im.Message{Sender: "alice", State: im.Revoked}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			users, everyone := test.m.Mentioning()
			if !slices.Equal(users, test.users) || everyone != test.everyone {
				t.Errorf("got %v %t, want %v %t", users, everyone, test.users, test.everyone)
			}
		})
	}
	if !slices.Equal(content.Mentions, []im.UserID{"bob", "alice", "carol"}) {
		t.Errorf("the message was changed to %v", content.Mentions)
	}
}

func TestUnreadCountIsCapped(t *testing.T) {
	for name, test := range map[string]struct {
		count im.UnreadCount
		full  bool
		want  im.UnreadCount
	}{
		"nothing":                  {im.UnreadCount{}, false, im.UnreadCount{}},
		"both at the limit":        {im.UnreadCount{Messages: 1000, Mentions: 1000}, false, im.UnreadCount{Messages: 1000, Mentions: 1000}},
		"mentions below the limit": {im.UnreadCount{Messages: 1001, Mentions: 999}, false, im.UnreadCount{Messages: 1000, More: true, Mentions: 999}},
		"mentions at the limit":    {im.UnreadCount{Messages: 1001, Mentions: 1000}, true, im.UnreadCount{Messages: 1000, More: true, Mentions: 1000}},
		"both above the limit":     {im.UnreadCount{Messages: 9000, Mentions: 9000}, true, im.UnreadCount{Messages: 1000, More: true, Mentions: 1000}},
	} {
		if got := test.count.Full(); got != test.full {
			t.Errorf("%s: %+v is full: %t", name, test.count, got)
		}
		if got := test.count.Capped(); got != test.want {
			t.Errorf("%s: %+v is capped to %+v, want %+v", name, test.count, got, test.want)
		}
	}
}
