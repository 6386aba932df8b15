package im_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// refusedAs returns the code of a refusal, "" for none.
func refusedAs(err error) string {
	if e, ok := im.AsError(err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// TestRulesOfDataStreams checks what each user may do.
func TestRulesOfDataStreams(t *testing.T) {
	const none, unknown, denied = "", "stream_not_found", "permission_denied"
	muted := im.Refuse(im.Forbidden, "permission_denied", "muted")
	outside, member := im.StreamUser{}, im.StreamUser{Sees: true}
	silent := im.StreamUser{Sees: true, Speak: muted}
	blocked := im.StreamUser{Sees: true, Blocked: true, Speak: im.Refuse(im.Forbidden, "blocked", "blocked")}
	place := im.Conversation{ID: 7}
	build := func(access im.StreamAccess, in im.Conversation) im.DataStream {
		d := im.DataStreamDraft{Access: access, Publishers: []im.UserID{"pat"}}
		if access == im.StreamForListed {
			d.Readers = []im.UserID{"lee"}
		}
		return im.NewDataStream(d, "own", in, time.Now())
	}
	members, listed, anyone := build(im.StreamForMembers, place), build(im.StreamForListed, place), build(im.StreamForAnyone, place)
	free, open := build(im.StreamForListed, im.Conversation{}), build(im.StreamForAnyone, im.Conversation{})
	for _, c := range []struct {
		name                     string
		stream                   im.DataStream
		user                     string
		is                       im.StreamUser
		view, read, push, manage string
	}{
		{"members: owner", members, "own", member, none, none, none, none},
		{"members: muted owner", members, "own", silent, none, none, denied, none},
		{"members: publisher", members, "pat", member, none, none, none, "not_stream_owner"},
		{"members: muted publisher", members, "pat", silent, none, none, denied, "not_stream_owner"},
		{"members: publisher outside", members, "pat", outside, unknown, unknown, unknown, unknown},
		{"members: blocked publisher", members, "pat", blocked, "blocked", "blocked", "blocked", "blocked"},
		{"members: member", members, "bob", member, none, none, "not_publisher", "not_stream_owner"},
		{"members: stranger", members, "bob", outside, unknown, unknown, unknown, unknown},
		{"members: admin", members, "root!", outside, none, "not_reader", none, none},
		{"listed: owner", listed, "own", member, none, none, none, none},
		{"listed: reader", listed, "lee", member, none, none, "not_publisher", "not_stream_owner"},
		{"listed: reader outside", listed, "lee", outside, unknown, unknown, unknown, unknown},
		{"listed: publisher", listed, "pat", member, none, "not_reader", none, "not_stream_owner"},
		{"listed: member", listed, "bob", member, unknown, unknown, unknown, unknown},
		{"listed: admin", listed, "root!", member, none, "not_reader", none, none},
		{"listed: admin who is listed", listed, "lee!", member, none, none, none, none},
		{"anyone: stranger", anyone, "bob", outside, none, none, "not_publisher", "not_stream_owner"},
		{"anyone: blocked", anyone, "bob", blocked, none, none, "not_publisher", "not_stream_owner"},
		{"anyone: publisher outside", anyone, "pat", outside, none, none, denied, "not_stream_owner"},
		{"anyone: publisher", anyone, "pat", member, none, none, none, "not_stream_owner"},
		{"free, listed: owner", free, "own", outside, none, none, none, none},
		{"free, listed: reader", free, "lee", outside, none, none, "not_publisher", "not_stream_owner"},
		{"free, listed: publisher", free, "pat", outside, none, "not_reader", none, "not_stream_owner"},
		{"free, listed: stranger", free, "bob", outside, unknown, unknown, unknown, unknown},
		{"free, anyone: stranger", open, "bob", outside, none, none, "not_publisher", "not_stream_owner"},
	} {
		user, admin := strings.CutSuffix(c.user, "!")
		actor := im.Actor{User: im.UserID(user), Admin: admin}
		got := []string{
			refusedAs(c.stream.AllowView(actor, c.is)), refusedAs(c.stream.AllowRead(actor, c.is)),
			refusedAs(c.stream.AllowPush(actor, c.is)), refusedAs(c.stream.AllowManage(actor, c.is)),
		}
		if want := []string{c.view, c.read, c.push, c.manage}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: view, read, push, manage %q, want %q", c.name, got, want)
		}
	}
	for name, c := range map[string]struct {
		stream im.DataStream
		owner  im.StreamUser
		want   bool
	}{
		"members: owner is a member":          {members, member, true},
		"members: owner may not send":         {members, silent, true},
		"members: owner has left":             {members, outside, false},
		"members: owner is blocked":           {members, blocked, false},
		"free, anyone: owner is not a member": {open, outside, true},
	} {
		if got := c.stream.Outlives(c.owner); got != c.want {
			t.Errorf("%s: the stream goes on: %t, want %t", name, got, c.want)
		}
	}
}

// TestListsOfDataStreams grants and withdraws rights up to the limits.
func TestListsOfDataStreams(t *testing.T) {
	d := im.NewDataStream(im.DataStreamDraft{Access: im.StreamForListed}, "own", im.Conversation{}, time.Now())
	for i := range im.MaxStreamPublishers {
		if err := d.PutPublisher(im.UserID(fmt.Sprint("user", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.PutPublisher("user0"); err != nil {
		t.Errorf("one who is listed already: %v", err)
	}
	if code := refusedAs(d.PutPublisher("more")); code != "too_many_listed" {
		t.Errorf("one too many: %q", code)
	}
	if code := refusedAs(d.PutReader("\x00")); code != "invalid_request" {
		t.Errorf("an invalid user: %q", code)
	}
	d.DeletePublisher("user0")
	if n := len(d.Publishers()); n != im.MaxStreamPublishers-1 {
		t.Errorf("%d are left", n)
	}
	open := im.NewDataStream(im.DataStreamDraft{Access: im.StreamForAnyone}, "own", im.Conversation{}, time.Now())
	if code := refusedAs(open.DeleteReader("bob")); code != "readers_unsupported" {
		t.Errorf("a reader of a data stream for anyone: %q", code)
	}
}

// TestDraftsOfDataStreams: drafts that are invalid in every state are refused.
func TestDraftsOfDataStreams(t *testing.T) {
	in := &im.ConversationRef{ID: 7}
	for name, c := range map[string]struct {
		draft im.DataStreamDraft
		code  string
	}{
		"for members":                    {im.DataStreamDraft{Access: im.StreamForMembers, Conversation: in}, ""},
		"for members of no conversation": {im.DataStreamDraft{Access: im.StreamForMembers}, "conversation_required"},
		"for a listed reader":            {im.DataStreamDraft{Access: im.StreamForListed, Readers: []im.UserID{"a"}}, ""},
		"for anyone, with a reader":      {im.DataStreamDraft{Access: im.StreamForAnyone, Readers: []im.UserID{"a"}}, "readers_unsupported"},
		"an invalid publisher":           {im.DataStreamDraft{Access: im.StreamForAnyone, Publishers: []im.UserID{""}}, "invalid_request"},
		"an invalid owner":               {im.DataStreamDraft{Access: im.StreamForAnyone, Owner: "."}, "invalid_request"},
		"idle for too long":              {im.DataStreamDraft{Access: im.StreamForAnyone, Idle: 25 * time.Hour}, "invalid_request"},
		"for anyone, with no publishers": {im.DataStreamDraft{Access: im.StreamForAnyone, Publishers: make([]im.UserID, 0, 1)}, ""},
	} {
		if code := refusedAs(c.draft.Check()); code != c.code {
			t.Errorf("%s: %q, want %q", name, code, c.code)
		}
	}
}

// TestActingAs checks who may start a data stream or push in whose name.
func TestActingAs(t *testing.T) {
	admin := im.Actor{User: "root", Admin: true}
	for name, c := range map[string]struct {
		actor im.Actor
		as    im.UserID
		want  string
	}{
		"a user as nobody else":       {as("alice"), "", "alice"},
		"a user as themselves":        {as("alice"), "alice", "alice"},
		"a user as another user":      {as("alice"), "bob", "403 admin_required as"},
		"an admin as nobody else":     {admin, "", "root"},
		"an admin as another user":    {admin, "bob", "bob"},
		"an admin as themselves, too": {admin, "root", "root"},
	} {
		user, err := im.ActingAs(c.actor, c.as)
		got := string(user)
		if err != nil {
			got = field(err)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestIDsOfDataStreams: an id can be parsed from its text, and from no other.
func TestIDsOfDataStreams(t *testing.T) {
	id := im.NewDataStreamID()
	if got, ok := im.ParseDataStreamID(id.String()); !ok || got != id || len(id.String()) != 26 {
		t.Errorf("%s is read as %s, %t", id, got, ok)
	}
	text := id.String()
	for _, bad := range []string{"", text[:25], text + "0", strings.ToUpper(text[:25]) + "w", text[:25] + "v"} {
		if got, ok := im.ParseDataStreamID(bad); ok && got.String() != bad {
			t.Errorf("%q is read as %s", bad, got)
		}
	}
	if _, ok := im.ParseDataStreamID(text[:25] + "w"); ok {
		t.Error("an invalid character in an id is accepted")
	}
}

// TestStreamConversationNamesItsField: a request for a data stream names the conversation in its
// conversation_id.
func TestStreamConversationNamesItsField(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.StreamConversation(w.ctx, as("alice"), direct("alice"))
	w.equal("with oneself", field(err), "422 direct_with_self conversation_id")
	_, _, err = w.StreamConversation(w.ctx, as("alice"), byID(1))
	w.equal("an unknown one", field(err), "404 conversation_not_found")
}
