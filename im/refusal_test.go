package im_test

import (
	"reflect"
	"testing"

	"github.com/imapi/imapi/im"
)

// everywhere holds the use cases that take a conversation.
var everywhere = map[string]func(scene, im.Actor) error{
	"send":         send(text("hi")),
	"read history": readHistory,
	"get":          look,
	"list members": listMembers,
	"leave":        leave,
	"update": func(s scene, a im.Actor) error {
		_, err := s.UpdateConversation(s.ctx, a, s.ref, im.ConversationPatch{})
		return err
	},
	"add": func(s scene, a im.Actor) error {
		_, err := s.AddMembers(s.ctx, a, s.ref, []im.UserID{"new"}, im.Owner)
		return err
	},
	"set a role": func(s scene, a im.Actor) error {
		_, err := s.SetRole(s.ctx, a, s.ref, "owner", im.Member)
		return err
	},
	"remove": func(s scene, a im.Actor) error { return s.RemoveMember(s.ctx, a, s.ref, "owner") },
}

// TestHiddenIsTheSameAsUnknown checks that an unknown conversation, one of other users and
// one that the actor has left get the same answer.
func TestHiddenIsTheSameAsUnknown(t *testing.T) {
	w := newWorld(t)
	s := groupScene(w)
	s.add(s.ref.ID, "owner", im.Member, "later")
	unknown := scene{world: w, ref: byID(s.ref.ID + 1), message: s.message + 1}
	for name, do := range everywhere {
		want := do(unknown, as("stranger"))
		if answer(want) != "404 conversation_not_found" {
			t.Errorf("%s of an unknown conversation: %v", name, want)
		}
		for _, user := range []im.UserID{"stranger", "former", "never heard of"} {
			if got := do(s, as(user)); !reflect.DeepEqual(got, want) {
				t.Errorf("%s as %s: %#v, want %#v as for an unknown one", name, user, got, want)
			}
		}
	}
	want := readMessage(unknown, as("member"))
	if answer(want) != "404 message_not_found" {
		t.Errorf("a message that does not exist: %v", want)
	}
	for _, user := range []im.UserID{"stranger", "former", "never heard of"} {
		if got := readMessage(s, as(user)); !reflect.DeepEqual(got, want) {
			t.Errorf("a message read by %s: %#v, want %#v as for an unknown one", user, got, want)
		}
	}
	joined := w.group(im.HistoryJoined, "owner", "member")
	early := w.say("owner", byID(joined), "before you came")
	w.add(joined, "owner", im.Member, "later")
	if _, got := w.Message(w.ctx, as("later"), early.ID); !reflect.DeepEqual(got, want) {
		t.Errorf("a message from before the joining: %#v, want %#v", got, want)
	}
}

func TestNobodyHasADirectConversationWithThemselves(t *testing.T) {
	w := newWorld(t)
	for name, do := range everywhere {
		err := do(scene{world: w, ref: direct("alice")}, as("alice"))
		if got := answer(err); got != "422 direct_with_self" {
			t.Errorf("%s: %s, want 422 direct_with_self", name, got)
		}
	}
	w.equal("the effects", len(w.committed()), 0)
}

// TestOrderOfRefusals checks that the answer to a request with several errors is the first in the
// order 404, 403, 409, 422.
func TestOrderOfRefusals(t *testing.T) {
	w := newWorldWith(t, im.Policy{MaxMessageBytes: 4096, MaxMembers: 7})
	s := groupScene(w) // created with five users
	d := scene{world: w, ref: direct("alice")}
	w.must(w.PutBlock(w.ctx, as("alice"), "bob"))
	faulty := text("other words")
	faulty.ClientID, faulty.ReplyTo = "used", "no id"
	for _, user := range []im.UserID{"stranger", "former", "bob", "carol", "member"} {
		used := text("first words")
		used.ClientID = "used"
		_, err := w.Send(w.ctx, as(user), direct("dave"), used)
		w.must(err)
	}
	fresh := faulty
	fresh.ClientID = "fresh"
	tooMany := []im.UserID{"a", "b", "c"}
	add := func(role im.Role) func(scene, im.Actor) error {
		return func(s scene, a im.Actor) error {
			_, err := s.AddMembers(s.ctx, a, s.ref, tooMany, role)
			return err
		}
	}
	setRole := func(user im.UserID, role im.Role) func(scene, im.Actor) error {
		return func(s scene, a im.Actor) error {
			_, err := s.SetRole(s.ctx, a, s.ref, user, role)
			return err
		}
	}
	for _, test := range []struct {
		name string
		in   scene
		do   func(scene, im.Actor) error
		as   im.UserID
		want string
	}{
		{"unknown, client_id reused, bad reply", s, send(faulty), "stranger", "404 conversation_not_found"},
		{"left, client_id reused, bad reply", s, send(faulty), "former", "404 conversation_not_found"},
		{"client_id reused, bad reply", s, send(faulty), "member", "409 client_id_reused"},
		{"bad reply", s, send(fresh), "member", "422 reply_to_not_found"},
		{"blocked, client_id reused, bad reply", d, send(faulty), "bob", "403 blocked"},
		{"blocked, bad reply", d, send(fresh), "bob", "403 blocked"},
		{"new direct, client_id reused, bad reply", d, send(faulty), "carol", "409 client_id_reused"},
		{"new direct, bad reply", d, send(fresh), "carol", "422 reply_to_not_found"},
		{"unknown, owner, too many", s, add(im.Owner), "stranger", "404 conversation_not_found"},
		{"denied, owner, too many", s, add(im.Owner), "member", "403 permission_denied"},
		{"roles denied, owner, too many", s, add(im.Owner), "admin", "403 permission_denied"},
		{"owner, too many", s, add(im.Owner), "owner", "422 one_owner"},
		{"denied, too many", s, add(im.Member), "member", "403 permission_denied"},
		{"too many", s, add(im.Member), "admin", "422 too_many_members"},
		{"no member, denied", s, setRole("former", im.Owner), "member", "404 member_not_found"},
		{"denied, must hand over", s, setRole("owner", im.Member), "admin", "403 permission_denied"},
		{"must hand over", s, setRole("owner", im.Member), "owner", "409 owner_must_hand_over"},
	} {
		if got := answer(test.do(test.in, as(test.as))); got != test.want {
			t.Errorf("%s as %s: %s, want %s", test.name, test.as, got, test.want)
		}
	}
	w.equal("alice and bob", answer(look(d, as("bob"))), "404 conversation_not_found")
	w.equal("alice and carol", answer(look(d, as("carol"))), "404 conversation_not_found")
}
