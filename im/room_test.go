package im_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// room creates a room with an owner, which the others join.
func (w *world) room(owner im.UserID, others ...im.UserID) im.ID {
	w.Helper()
	v, err := w.CreateGroup(w.ctx, as(owner), im.GroupDraft{Kind: im.Room, Name: "a room"})
	w.must(err)
	for _, user := range others {
		w.join(user, v.ID)
	}
	return v.ID
}

func (w *world) join(user im.UserID, id im.ID) {
	w.Helper()
	_, err := w.Join(w.ctx, as(user), byID(id))
	w.must(err)
}

// summary returns the events of one conversation that a user receives, as types with users.
func (w *world) summary(actor im.Actor, id im.ID) []string {
	w.Helper()
	var out []string
	for _, e := range w.replay(actor, 0, 4) {
		if e.Conversation == id {
			out = append(out, strings.TrimSpace(fmt.Sprint(e.Type, " ", e.User)))
		}
	}
	return out
}

// set changes settings of a conversation.
func (w *world) set(user im.UserID, id im.ID, p im.ConversationPatch) {
	w.Helper()
	_, err := w.UpdateConversation(w.ctx, as(user), byID(id), p)
	w.must(err)
}

// try returns the answer to sending a text.
func (w *world) try(user im.UserID, id im.ID) string {
	_, err := w.Send(w.ctx, as(user), byID(id), text("hi"))
	return answer(err)
}

// TestRoomsAreOpen checks that a user who knows a room can join and leave it, and that no other
// member receives an event about that.
func TestRoomsAreOpen(t *testing.T) {
	w := newWorld(t)
	id := w.room("owner")
	w.equal("before joining", w.try("alice", id), "404 conversation_not_found")
	w.join("alice", id)
	w.join("alice", id) // again
	w.join("bob", id)
	m := w.say("alice", byID(id), "hello")
	w.must(w.Leave(w.ctx, as("bob"), byID(id)))
	w.revoke("alice", m.ID)
	w.equal("after leaving", w.try("bob", id), "404 conversation_not_found")

	in := w.summary(as("owner"), id)
	w.equal("the owner receives", in, []string{"conversation.created", "message.created", "message.revoked"})
	w.equal("alice receives", w.summary(as("alice"), id), []string{"member.added alice", "message.created", "message.revoked"})
	w.equal("bob receives", w.summary(as("bob"), id), []string{"member.added bob", "message.created", "member.removed bob"})
}

// TestRoomsHaveNoReceiptsAndNoUnread checks that a room has neither receipts nor unread counts.
func TestRoomsHaveNoReceiptsAndNoUnread(t *testing.T) {
	w := newWorld(t)
	id := w.room("owner", "alice")
	m := w.send("owner", byID(id), mentioning("alice"))
	w.equal("unread", w.unread("alice", byID(id)), "0/0")
	all, err := w.Unread(w.ctx, as("alice"), nil)
	w.must(err)
	w.equal("unread in all", all.Total, 0)
	for _, kind := range []im.ReceiptKind{im.Read, im.Delivered} {
		_, err := w.PutReceipt(w.ctx, as("alice"), byID(id), im.ReceiptDraft{Kind: kind, UpTo: m.ID.String()})
		w.equal("a receipt", answer(err), "422 receipts_unsupported")
	}
	d := text("hi")
	d.Receipt = true
	_, err = w.Send(w.ctx, as("owner"), byID(id), d)
	w.equal("asking for receipts", answer(err), "422 receipts_unsupported")
	d = text("hi")
	d.Burn = &im.Burn{UnreadTTL: time.Hour}
	_, err = w.Send(w.ctx, as("owner"), byID(id), d)
	w.equal("burning", answer(err), "422 burn_unsupported")
	_, err = w.CreateThread(w.ctx, as("owner"), m.ID, im.ThreadDraft{Name: "a thread"})
	w.equal("a thread", answer(err), "422 thread_unsupported")

	before := len(w.committed())
	w.hide("alice", byID(id), m.ID)
	w.must(w.Hide(w.ctx, as("alice"), byID(id), im.HideDraft{All: true}))
	for _, e := range w.committed()[before:] {
		if e.Type != im.MessageHidden {
			t.Errorf("hiding publishes %s", e.Type)
		}
	}
}

// TestSlowMode checks that members who may not mute others must wait between messages.
func TestSlowMode(t *testing.T) {
	w := newWorld(t)
	id := w.room("owner", "alice", "bob")
	slow := 10 * time.Second
	w.set("owner", id, im.ConversationPatch{SlowMode: &slow})
	w.equal("first", w.try("alice", id), "ok")
	w.pass(4 * time.Second)
	_, err := w.Send(w.ctx, as("alice"), byID(id), text("again"))
	w.equal("too soon", answer(err), "429 slow_mode")
	if e, _ := im.AsError(err); e.RetryAfter != 6*time.Second {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	w.equal("another user", w.try("bob", id), "ok")
	for range 2 {
		w.equal("the owner", w.try("owner", id), "ok")
	}
	w.pass(6 * time.Second)
	w.equal("in time", w.try("alice", id), "ok")
	none := time.Duration(0)
	w.set("owner", id, im.ConversationPatch{SlowMode: &none})
	w.equal("ended", w.try("alice", id), "ok")
}

// TestSlowModeWaitsAtMostItsInterval checks that nobody waits for hours because the clock was set
// back by hours.
func TestSlowModeWaitsAtMostItsInterval(t *testing.T) {
	for name, create := range map[string]func(*world) im.ID{
		"room":  func(w *world) im.ID { return w.room("owner", "alice") },
		"group": func(w *world) im.ID { return w.group(im.HistoryAll, "owner", "alice") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := create(w)
			slow := 10 * time.Second
			w.set("owner", id, im.ConversationPatch{SlowMode: &slow})
			w.pass(2 * time.Hour)
			w.equal("ahead", w.try("alice", id), "ok")
			w.pass(-2 * time.Hour)
			w.pass(slow)
			w.equal("after the interval", w.try("alice", id), "ok")
			w.pass(slow - time.Millisecond)
			w.equal("too soon", w.try("alice", id), "429 slow_mode")
			w.pass(time.Millisecond)
			w.equal("after the interval", w.try("alice", id), "ok")
		})
	}
}

// TestSlowModeDoesNotHoldUpRepetitions checks that repeating a client_id returns the first
// message in spite of slow mode.
func TestSlowModeDoesNotHoldUpRepetitions(t *testing.T) {
	w := newWorld(t)
	id := w.room("owner", "alice")
	slow := 10 * time.Second
	w.set("owner", id, im.ConversationPatch{SlowMode: &slow})
	d := text("hi")
	d.ClientID = "c-1"
	for _, again := range []bool{false, true} {
		sent, err := w.Send(w.ctx, as("alice"), byID(id), d)
		w.must(err)
		w.equal("again", sent.Again, again)
	}
}

func TestMute(t *testing.T) {
	w := newWorld(t)
	id := w.room("owner", "alice", "bob", "admin")
	_, err := w.SetRole(w.ctx, as("owner"), byID(id), "admin", im.Admin)
	w.must(err)
	mute := func(actor, user im.UserID, long time.Duration) string {
		_, err := w.MuteMember(w.ctx, as(actor), byID(id), user, long)
		return answer(err)
	}
	w.equal("by a member", mute("bob", "alice", 0), "403 permission_denied")
	w.equal("of the owner", mute("admin", "owner", 0), "403 permission_denied")
	w.equal("of oneself", mute("admin", "admin", 0), "403 permission_denied")
	w.equal("of a stranger", mute("admin", "carol", 0), "404 member_not_found")
	w.equal("for a negative time", mute("admin", "alice", -1), "400 invalid_request")

	w.equal("for a minute", mute("admin", "alice", time.Minute), "ok")
	_, err = w.Send(w.ctx, as("alice"), byID(id), text("hi"))
	w.equal("why", err, "permission_denied: you need the permission send here: you are muted")
	w.say("bob", byID(id), "hello")
	w.equal("reading", w.said("alice", byID(id)), []string{"hello"})

	// The mute outlasts the membership.
	w.must(w.Leave(w.ctx, as("alice"), byID(id)))
	w.join("alice", id)
	w.equal("after coming back", w.try("alice", id), "403 permission_denied")
	w.pass(time.Minute)
	w.equal("after a minute", w.try("alice", id), "ok")
	page, err := w.Members(w.ctx, as("bob"), byID(id), im.Page{Limit: 10})
	w.must(err)
	for _, m := range page.Items {
		w.equal("until when "+string(m.User)+" is muted then", m.MutedUntil, time.Time{})
	}

	w.equal("for good", mute("admin", "alice", 0), "ok")
	w.pass(20 * 365 * 24 * time.Hour)
	w.equal("twenty years later", w.try("alice", id), "403 permission_denied")
	w.must(w.UnmuteMember(w.ctx, as("admin"), byID(id), "alice"))
	w.equal("unmuted", w.try("alice", id), "ok")
}

// TestMutedCanRevoke checks that a muted user can revoke their messages.
func TestMutedCanRevoke(t *testing.T) {
	w := newWorld(t)
	id := w.room("owner", "alice")
	m := w.say("alice", byID(id), "oops")
	_, err := w.MuteMember(w.ctx, as("owner"), byID(id), "alice", 0)
	w.must(err)
	w.revoke("alice", m.ID)
}

func TestMuteAll(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "owner", "alice")
	w.add(id, "owner", im.Admin, "admin")
	yes, no := true, false
	w.set("admin", id, im.ConversationPatch{MuteAll: &yes})
	for user, want := range map[im.UserID]string{"alice": "403 permission_denied", "admin": "ok", "owner": "ok"} {
		w.equal(string(user), w.try(user, id), want)
	}
	w.set("admin", id, im.ConversationPatch{MuteAll: &no})
	w.equal("unmuted", w.try("alice", id), "ok")
}

// TestDenyList checks that a user on the deny list of an open conversation loses it and
// cannot join.
func TestDenyList(t *testing.T) {
	w := newWorld(t)
	open := im.JoinOpen
	g, err := w.CreateGroup(w.ctx, as("owner"), im.GroupDraft{
		Name: "an open group", Settings: im.ConversationPatch{Join: &open}, Members: []im.UserID{"alice", "bob"},
	})
	w.must(err)
	for _, id := range []im.ID{w.room("owner", "alice", "bob"), g.ID} {
		deny := func(actor, user im.UserID) string {
			return answer(w.PutListed(w.ctx, as(actor), byID(id), im.DenyList, user))
		}
		w.equal("by a member", deny("bob", "alice"), "403 permission_denied")
		w.equal("of the owner", deny("owner", "owner"), "403 permission_denied")
		w.equal("denied", deny("owner", "alice"), "ok")
		w.equal("denied again", deny("owner", "alice"), "ok")
		w.equal("sending", w.try("alice", id), "404 conversation_not_found")
		_, err := w.Join(w.ctx, as("alice"), byID(id))
		w.equal("joining", answer(err), "404 conversation_not_found")
		_, err = w.AddMembers(w.ctx, as("owner"), byID(id), []im.UserID{"carol", "alice"}, im.Member)
		w.equal("being added", answer(err), "409 on_deny_list")
		w.equal("no user was added", w.roleOf(id, "carol"), "404 conversation_not_found")
		listed, err := w.Listed(w.ctx, as("owner"), byID(id), im.DenyList, im.Page{Limit: 10})
		w.must(err)
		w.equal("on the list", fmt.Sprint(len(listed), " ", listed[0].User), "1 alice")
		w.must(w.DeleteListed(w.ctx, as("owner"), byID(id), im.DenyList, "alice"))
		w.join("alice", id)
		w.equal("let in again", w.try("alice", id), "ok")
	}
}

// TestOneRowForAMessage checks that a message to a room is one row of the event log, however
// many members it has.
func TestOneRowForAMessage(t *testing.T) {
	w := newWorld(t)
	members := make([]im.UserID, 300)
	for i := range members {
		members[i] = im.UserID(fmt.Sprint("m", i))
	}
	id := w.room("owner")
	w.add(id, "owner", im.Member, members...)
	before := len(w.committed())
	w.say("m1", byID(id), "hi")
	w.equal("events", len(w.committed())-before, 1)
	for _, user := range []im.UserID{"m0", "m299", "owner"} {
		if received := w.received(as(user)); !slices.Contains(received, "message 1 hi") {
			t.Errorf("%s receives %v", user, received)
		}
	}
}

func TestJoiningGroups(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryJoined, "owner", "alice")
	_, err := w.Join(w.ctx, as("bob"), byID(id))
	w.equal("a closed group", answer(err), "404 conversation_not_found")
	_, err = w.AddMembers(w.ctx, as("alice"), byID(id), []im.UserID{"bob"}, im.Member)
	w.equal("adding as a member", err, "permission_denied: you need the permission invite here")
	open, members := im.JoinOpen, im.InviteByMembers
	w.set("owner", id, im.ConversationPatch{Join: &open, Invite: &members})
	w.join("bob", id)
	w.add(id, "alice", im.Member, "carol")
	_, err = w.AddMembers(w.ctx, as("alice"), byID(id), []im.UserID{"dave"}, im.Admin)
	w.equal("adding an admin", answer(err), "403 permission_denied")
	_, err = w.Join(w.ctx, as("bob"), direct("alice"))
	w.equal("a direct conversation that does not exist", answer(err), "404 conversation_not_found")
	w.say("bob", direct("alice"), "hi")
	_, err = w.Join(w.ctx, as("bob"), direct("alice"))
	w.equal("a direct conversation", answer(err), "422 direct_conversation")
}

// TestSettingsByKind checks that each kind has its settings and refuses others.
func TestSettingsByKind(t *testing.T) {
	w := newWorld(t)
	group, room := w.group(im.HistoryAll, "owner"), w.room("owner")
	m := w.say("owner", byID(group), "hi")
	th, err := w.CreateThread(w.ctx, as("owner"), m.ID, im.ThreadDraft{Name: "a thread"})
	w.must(err)
	space := w.space("owner")
	channel := w.channel("owner", space, false)
	yes, open, members, history := true, im.JoinOpen, im.InviteByMembers, im.HistoryJoined
	words, slow, window := "words", time.Second, new(time.Minute)
	for name, test := range map[string]struct {
		p    im.ConversationPatch
		want string // + for a group, a room, a thread, a channel and a space, if they accept it
	}{
		"name":          {im.ConversationPatch{Name: &words}, "+++++"},
		"announcement":  {im.ConversationPatch{Announcement: &words}, "++-++"},
		"avatar":        {im.ConversationPatch{Avatar: &words}, "++-++"},
		"join":          {im.ConversationPatch{Join: &open}, "+---+"},
		"invite":        {im.ConversationPatch{Invite: &members}, "+----"},
		"mute all":      {im.ConversationPatch{MuteAll: &yes}, "++-+-"},
		"slow mode":     {im.ConversationPatch{SlowMode: &slow}, "++-+-"},
		"history":       {im.ConversationPatch{History: &history}, "++---"},
		"window":        {im.ConversationPatch{RevokeWindow: &window}, "++-++"},
		"others window": {im.ConversationPatch{RevokeOthersWindow: &window}, "++-++"},
		"expiry":        {im.ConversationPatch{ExpireAfter: &slow}, "++-+-"},
		"retention":     {im.ConversationPatch{Retention: &window}, "++-+-"},
		"visibility":    {im.ConversationPatch{Private: &yes}, "---+-"},
	} {
		got := ""
		for _, id := range []im.ID{group, room, th.ID, channel, space} {
			_, err := w.UpdateConversation(w.ctx, as("owner"), byID(id), test.p)
			if id == space {
				_, err = w.UpdateSpace(w.ctx, as("owner"), id, test.p)
			}
			switch answer(err) {
			case "ok":
				got += "+"
			case "422 setting_unsupported":
				got += "-"
			default:
				got += answer(err)
			}
		}
		w.equal(name, got, test.want)
	}
}

func TestMaxMembersByKind(t *testing.T) {
	policy := im.DefaultPolicy()
	policy.MaxMembers, policy.MaxRoomMembers, policy.MaxSpaceMembers = 2, 3, 2
	w := newWorldWith(t, policy)
	id := w.room("owner", "a", "b")
	_, err := w.Join(w.ctx, as("c"), byID(id))
	w.equal("one more in a room", answer(err), "422 too_many_members")
	w.join("a", id) // a member already
	space := w.space("owner", "a")
	_, err = w.AddSpaceMembers(w.ctx, as("owner"), space, []im.UserID{"b"})
	w.equal("one more in a space", answer(err), "422 too_many_members")
	_, err = w.InviteToSpace(w.ctx, as("owner"), space, []im.UserID{"b"})
	w.must(err)
	_, err = w.JoinSpace(w.ctx, as("b"), space)
	w.equal("one more by invitation", answer(err), "422 too_many_members")
}
