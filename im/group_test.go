package im_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// since returns short forms of the events published after the first n.
func (w *world) since(n int) []string {
	var out []string
	for _, e := range w.committed()[n:] {
		s := fmt.Sprintf("%s by %s", e.Type, e.Actor)
		if e.User != "" {
			s += fmt.Sprintf(": %s, %s", e.User, e.Role)
		}
		out = append(out, s)
	}
	return out
}

func TestCreateGroup(t *testing.T) {
	w := newWorld(t)
	v, err := w.CreateGroup(w.ctx, on("alice", "phone"), im.GroupDraft{Name: "friends", Members: []im.UserID{"bob", "alice", "bob", "carol"}})
	w.must(err)
	if v.Kind != im.Group || v.Name != "friends" || v.History != im.HistoryJoined || v.MemberCount != 3 ||
		v.Me.Role() != im.Owner || v.LastMessage != nil || v.LastSeq != 0 || !v.CreatedAt.Equal(epoch) {
		t.Errorf("made %+v", v)
	}
	w.equal("published", w.since(0), []string{"conversation.created by alice"})
	page, err := w.Members(w.ctx, as("carol"), byID(v.ID), im.Page{Limit: 10})
	w.must(err)
	is := map[im.UserID]string{}
	for _, m := range page.Items {
		is[m.User] = m.Role.String()
	}
	w.equal("members", is, map[im.UserID]string{"alice": "owner", "bob": "member", "carol": "member"})
}

func TestUpdateConversation(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryJoined, "alice", "bob")
	before := len(w.committed())
	w.pass(time.Second)
	same, name, all := "a group", "friends", im.HistoryAll
	update := func(p im.ConversationPatch) im.ConversationView {
		v, err := w.UpdateConversation(w.ctx, as("alice"), byID(id), p)
		w.must(err)
		return v
	}
	for _, p := range []im.ConversationPatch{{}, {Name: &same}} {
		if v := update(p); !v.UpdatedAt.Equal(epoch) || v.Name != same {
			t.Errorf("an empty change: %+v", v)
		}
	}
	w.equal("nothing is published", w.since(before), []string(nil))
	v := update(im.ConversationPatch{Name: &name, History: &all})
	if v.Name != name || v.History != all || !v.UpdatedAt.Equal(epoch.Add(time.Second)) {
		t.Errorf("changed to %+v", v)
	}
	if v = update(im.ConversationPatch{Name: &same}); v.Name != same || v.History != all {
		t.Errorf("changed to %+v", v)
	}
	w.equal("published", w.since(before), []string{"conversation.updated by alice", "conversation.updated by alice"})
}

func TestHandOver(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob", "carol")
	before := len(w.committed())
	m, err := w.SetRole(w.ctx, as("alice"), byID(id), "bob", im.Owner)
	w.must(err)
	w.equal("bob", fmt.Sprint(m.User, " is ", m.Role), "bob is owner")
	w.equal("the roles", []string{w.roleOf(id, "alice"), w.roleOf(id, "bob"), w.roleOf(id, "carol")},
		[]string{"admin", "owner", "member"})
	w.equal("published", w.since(before), []string{"member.updated by alice: bob, owner", "member.updated by alice: alice, admin"})

	_, err = w.SetRole(w.ctx, as("alice"), byID(id), "alice", im.Owner)
	w.equal("alice becomes the owner again", answer(err), "403 permission_denied")
	w.equal("bob leaves", answer(w.Leave(w.ctx, as("bob"), byID(id))), "409 owner_must_hand_over")
	w.must(w.Leave(w.ctx, as("alice"), byID(id)))
	w.equal("alice is", w.roleOf(id, "alice"), "404 conversation_not_found")

	w.back(id, "bob", "alice")
	w.equal("alice, back again, is", w.roleOf(id, "alice"), "member")
}

func TestTheLastMemberLeaves(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob")
	m := w.say("alice", byID(id), "the last words")
	w.equal("the owner leaves", answer(w.Leave(w.ctx, as("alice"), byID(id))), "409 owner_must_hand_over")
	w.must(w.Leave(w.ctx, as("bob"), byID(id)))
	before := len(w.committed())
	w.must(w.Leave(w.ctx, as("alice"), byID(id)))
	w.equal("published", w.since(before), []string{"member.removed by alice: alice, owner"})
	for _, user := range []im.UserID{"alice", "bob"} {
		w.equal("leaving again", answer(w.Leave(w.ctx, as(user), byID(id))), "404 conversation_not_found")
		_, err := w.Message(w.ctx, as(user), m.ID)
		w.equal("reading", answer(err), "404 message_not_found")
		if list := w.list(user); len(list) != 0 {
			t.Errorf("%s lists %+v", user, list)
		}
	}
}

func TestTooManyMembers(t *testing.T) {
	w := newWorldWith(t, im.Policy{MaxMessageBytes: 4096, MaxMembers: 3})
	_, err := w.CreateGroup(w.ctx, as("a"), im.GroupDraft{Name: "g", Members: []im.UserID{"b", "c", "d"}})
	w.equal("a group of four", answer(err), "422 too_many_members")
	id := w.group(im.HistoryAll, "a", "b", "b", "a")
	before := len(w.committed())
	add := func(users ...im.UserID) string {
		_, err := w.AddMembers(w.ctx, as("a"), byID(id), users, im.Member)
		return answer(err)
	}
	w.equal("two more", add("c", "d"), "422 too_many_members")
	w.equal("none of them is a member", w.roleOf(id, "c"), "404 conversation_not_found")
	w.equal("one more, named twice, and a member", add("c", "c", "b"), "ok")
	w.equal("members, in a full group", add("a", "b", "c"), "ok")
	w.equal("one more", add("d"), "422 too_many_members")
	w.remove(id, "a", "b")
	w.equal("one for another", add("d"), "ok")
	w.equal("published", w.since(before), []string{
		"member.added by a: c, member", "member.removed by a: b, member", "member.added by a: d, member",
	})
}

func TestAddingTwice(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice")
	w.add(id, "alice", im.Admin, "bob")
	before := len(w.committed())
	w.pass(time.Hour)
	added, err := w.AddMembers(w.ctx, as("alice"), byID(id), []im.UserID{"bob", "carol", "carol", "alice"}, im.Member)
	w.must(err)
	var got []string
	for _, m := range added {
		got = append(got, fmt.Sprintf("%s, %s since %s", m.User, m.Role, m.JoinedAt.Sub(epoch)))
	}
	w.equal("members", got, []string{"bob, admin since 0s", "carol, member since 1h0m0s", "alice, owner since 0s"})
	w.equal("published", w.since(before), []string{"member.added by alice: carol, member"})
	c, err := w.Conversation(w.ctx, as("bob"), byID(id))
	w.must(err)
	w.equal("members", c.MemberCount, 3)
}

// TestComingBack checks what a member can read who left and rejoined.
func TestComingBack(t *testing.T) {
	for _, test := range []struct {
		history im.History
		want    []string
		last    string
	}{
		{im.HistoryJoined, []string{"2", "3", "6", "7"}, "7"},
		{im.HistoryAll, []string{"1", "2", "3", "4", "5", "6", "7"}, "7"},
	} {
		t.Run(test.history.String(), func(t *testing.T) {
			w := newWorld(t)
			id := w.group(test.history, "alice")
			ids := map[string]im.ID{}
			say := func(list ...string) {
				for _, words := range list {
					ids[words] = w.say("alice", byID(id), words).ID
				}
			}
			say("1")
			w.add(id, "alice", im.Member, "bob")
			say("2", "3")
			w.must(w.Leave(w.ctx, as("bob"), byID(id)))
			say("4", "5")
			_, err := w.Messages(w.ctx, as("bob"), byID(id), im.HistoryFilter{Limit: 10})
			w.equal("while away", answer(err), "404 conversation_not_found")
			w.back(id, "alice", "bob")
			w.must(w.Leave(w.ctx, as("bob"), byID(id))) // a stay without messages
			w.back(id, "alice", "bob")
			say("6", "7")
			w.equal("bob reads", w.said("bob", byID(id)), test.want)
			for words, m := range ids {
				_, err := w.Message(w.ctx, as("bob"), m)
				if got, want := answer(err) == "ok", slices.Contains(test.want, words); got != want {
					t.Errorf("message %s: %v, want it read: %t", words, err, want)
				}
			}
			c, err := w.Conversation(w.ctx, as("bob"), byID(id))
			w.must(err)
			w.equal("the preview", words(*c.LastMessage), test.last)
			newest, err := w.Messages(w.ctx, as("bob"), byID(id), im.HistoryFilter{BeforeSeq: 6, Limit: 1})
			w.must(err)
			before := "5"
			if test.history == im.HistoryJoined {
				before = "3"
			}
			w.equal("the newest before 6", words(newest.Messages[0]), before)
		})
	}
}

// TestPreviewOfANewMember checks that a preview shows only messages that the member may read.
func TestPreviewOfANewMember(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryJoined, "alice")
	w.say("alice", byID(id), "before bob")
	w.add(id, "alice", im.Member, "bob")
	list := w.list("bob")
	if len(list) != 1 || list[0].LastMessage != nil {
		t.Errorf("bob is shown %+v", list)
	}
}
