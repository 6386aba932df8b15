package im_test

import (
	"fmt"
	"testing"

	"github.com/imapi/imapi/im"
)

// scene is a conversation with a message, in which a test does one thing.
type scene struct {
	*world
	ref     im.ConversationRef
	message im.ID // sent before anyone left
}

// groupScene creates a group with an owner, two admins, two members and a former member who was a
// member when the message was sent.
func groupScene(w *world) scene {
	w.Helper()
	id := w.group(im.HistoryAll, "owner", "member", "member2", "former")
	w.add(id, "owner", im.Admin, "admin", "admin2")
	m := w.say("owner", byID(id), "hello")
	w.remove(id, "owner", "former")
	return scene{world: w, ref: byID(id), message: m.ID}
}

// TestActionsInAGroup checks what each actor may do in a group. Each cell uses a group of its own.
func TestActionsInAGroup(t *testing.T) {
	const (
		ok         = "ok"
		noConv     = "404 conversation_not_found"
		noMessage  = "404 message_not_found"
		noMember   = "404 member_not_found"
		denied     = "403 permission_denied"
		handOver   = "409 owner_must_hand_over"
		oneOwner   = "422 one_owner"
		badRequest = "400 invalid_request"
	)
	add := func(role im.Role, users ...im.UserID) func(scene, im.Actor) error {
		return func(s scene, a im.Actor) error {
			_, err := s.AddMembers(s.ctx, a, s.ref, users, role)
			return err
		}
	}
	setRole := func(user im.UserID, role im.Role) func(scene, im.Actor) error {
		return func(s scene, a im.Actor) error {
			_, err := s.SetRole(s.ctx, a, s.ref, user, role)
			return err
		}
	}
	remove := func(user im.UserID) func(scene, im.Actor) error {
		return func(s scene, a im.Actor) error { return s.RemoveMember(s.ctx, a, s.ref, user) }
	}
	update := func(name string) func(scene, im.Actor) error {
		return func(s scene, a im.Actor) error {
			_, err := s.UpdateConversation(s.ctx, a, s.ref, im.ConversationPatch{Name: &name})
			return err
		}
	}
	actors := []im.UserID{"stranger", "former", "member", "admin", "owner"}
	w := newWorld(t)
	for _, test := range []struct {
		name string
		do   func(scene, im.Actor) error
		want [5]string // for each of the actors
	}{
		{"send", send(text("hi")), [5]string{noConv, noConv, ok, ok, ok}},
		{"send an empty draft", send(im.Draft{}), [5]string{badRequest, badRequest, badRequest, badRequest, badRequest}},
		{"read a message", readMessage, [5]string{noMessage, noMessage, ok, ok, ok}},
		{"read history", readHistory, [5]string{noConv, noConv, ok, ok, ok}},
		{"get the conversation", look, [5]string{noConv, noConv, ok, ok, ok}},
		{"list members", listMembers, [5]string{noConv, noConv, ok, ok, ok}},
		{"rename the conversation", update("other"), [5]string{noConv, noConv, denied, ok, ok}},
		{"rename it to its present name", update("a group"), [5]string{noConv, noConv, denied, ok, ok}},
		{"rename it to an empty name", update(""), [5]string{badRequest, badRequest, badRequest, badRequest, badRequest}},
		{"add a member", add(im.Member, "new"), [5]string{noConv, noConv, denied, ok, ok}},
		{"add oneself", func(s scene, a im.Actor) error { return add(im.Member, a.User)(s, a) }, [5]string{noConv, noConv, denied, ok, ok}},
		{"add a current member", add(im.Member, "member2"), [5]string{noConv, noConv, denied, ok, ok}},
		{"add an admin", add(im.Admin, "new"), [5]string{noConv, noConv, denied, denied, ok}},
		{"add an owner", add(im.Owner, "new"), [5]string{noConv, noConv, denied, denied, oneOwner}},
		{"add an invalid id", add(im.Member, "\x00"), [5]string{badRequest, badRequest, badRequest, badRequest, badRequest}},
		{"make a member an admin", setRole("member2", im.Admin), [5]string{noConv, noConv, denied, denied, ok}},
		{"give a member their present role", setRole("member2", im.Member), [5]string{noConv, noConv, denied, denied, ok}},
		{"make an admin a member", setRole("admin2", im.Member), [5]string{noConv, noConv, denied, denied, ok}},
		{"make a member the owner", setRole("member2", im.Owner), [5]string{noConv, noConv, denied, denied, ok}},
		{"make the owner a member", setRole("owner", im.Member), [5]string{noConv, noConv, denied, denied, handOver}},
		{"give the owner their present role", setRole("owner", im.Owner), [5]string{noConv, noConv, denied, denied, ok}},
		{"make oneself the owner", func(s scene, a im.Actor) error { return setRole(a.User, im.Owner)(s, a) }, [5]string{noConv, noConv, denied, denied, ok}},
		{"give a former member a role", setRole("former", im.Admin), [5]string{noConv, noConv, noMember, noMember, noMember}},
		{"give a stranger a role", setRole("stranger", im.Admin), [5]string{noConv, noConv, noMember, noMember, noMember}},
		{"remove a member", remove("member2"), [5]string{noConv, noConv, denied, ok, ok}},
		{"remove an admin", remove("admin2"), [5]string{noConv, noConv, denied, denied, ok}},
		{"remove the owner", remove("owner"), [5]string{noConv, noConv, denied, denied, handOver}},
		{"remove a former member", remove("former"), [5]string{noConv, noConv, noMember, noMember, noMember}},
		{"remove a stranger", remove("stranger"), [5]string{noConv, noConv, noMember, noMember, noMember}},
		{"leave", leave, [5]string{noConv, noConv, ok, ok, handOver}},
	} {
		for i, user := range actors {
			s := groupScene(w)
			if got := answer(test.do(s, as(user))); got != test.want[i] {
				t.Errorf("%s as %s: %s, want %s", test.name, user, got, test.want[i])
			}
		}
	}
}

// TestActionsInADirectConversation checks what alice, bob and others may do in their direct
// conversation, in which alice has blocked bob.
func TestActionsInADirectConversation(t *testing.T) {
	const (
		ok        = "ok"
		noConv    = "404 conversation_not_found"
		noMessage = "404 message_not_found"
		noMember  = "404 member_not_found"
		blocked   = "403 blocked"
		direct422 = "422 direct_conversation"
	)
	w := newWorld(t)
	m := w.say("bob", direct("alice"), "hello")
	w.must(w.PutBlock(w.ctx, as("alice"), "bob"))
	actors := []im.UserID{"alice", "bob", "carol"}
	for _, test := range []struct {
		name string
		do   func(scene, im.Actor) error
		want [3]string // for each of the actors
	}{
		{"send", send(text("hi")), [3]string{ok, blocked, noConv}},
		{"read a message", readMessage, [3]string{ok, ok, noMessage}},
		{"read history", readHistory, [3]string{ok, ok, noConv}},
		{"get the conversation", look, [3]string{ok, ok, noConv}},
		{"list members", listMembers, [3]string{ok, ok, noConv}},
		{"rename the conversation", func(s scene, a im.Actor) error {
			name := "us"
			_, err := s.UpdateConversation(s.ctx, a, s.ref, im.ConversationPatch{Name: &name})
			return err
		}, [3]string{direct422, direct422, noConv}},
		{"add a member", func(s scene, a im.Actor) error {
			_, err := s.AddMembers(s.ctx, a, s.ref, []im.UserID{"carol"}, im.Member)
			return err
		}, [3]string{direct422, direct422, noConv}},
		{"set a role", func(s scene, a im.Actor) error {
			_, err := s.SetRole(s.ctx, a, s.ref, "alice", im.Owner)
			return err
		}, [3]string{direct422, direct422, noConv}},
		{"set a stranger's role", func(s scene, a im.Actor) error {
			_, err := s.SetRole(s.ctx, a, s.ref, "carol", im.Owner)
			return err
		}, [3]string{noMember, noMember, noConv}},
		{"remove alice", func(s scene, a im.Actor) error { return s.RemoveMember(s.ctx, a, s.ref, "alice") }, [3]string{direct422, direct422, noConv}},
		{"leave", leave, [3]string{direct422, direct422, noConv}},
	} {
		for i, user := range actors {
			s := scene{world: w, ref: byID(m.Conversation), message: m.ID}
			if got := answer(test.do(s, as(user))); got != test.want[i] {
				t.Errorf("%s as %s: %s, want %s", test.name, user, got, test.want[i])
			}
		}
	}
}

// TestActionsWithoutAConversation checks requests that name no conversation.
func TestActionsWithoutAConversation(t *testing.T) {
	w := newWorld(t)
	user, admin := as("alice"), im.Actor{User: "operator", Admin: true}
	name := func(length int) string { return fmt.Sprintf("%0*d", length, 0) }
	group := func(a im.Actor, name string, members ...im.UserID) error {
		_, err := w.CreateGroup(w.ctx, a, im.GroupDraft{Name: name, Members: members})
		return err
	}
	cut := func(a im.Actor, user im.UserID) error {
		_, err := w.CutTokens(w.ctx, a, user)
		return err
	}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"create a group", group(user, "g", "bob"), "ok"},
		{"create a group without members", group(user, "g"), "ok"},
		{"create a group naming oneself and a user twice", group(user, "g", "alice", "bob", "bob"), "ok"},
		{"create a group with the longest name", group(user, name(128)), "ok"},
		{"create a group with a name too long", group(user, name(129)), "400 invalid_request"},
		{"create a group with a name of 128 three-byte characters", group(user, string([]rune(fmt.Sprintf("%0128d", 0))[:127])+"王"), "ok"},
		{"create a group without a name", group(user, ""), "400 invalid_request"},
		{"create a group with an empty id", group(user, "g", ""), "400 invalid_request"},
		{"block", w.PutBlock(w.ctx, user, "bob"), "ok"},
		{"block again", w.PutBlock(w.ctx, user, "bob"), "ok"},
		{"block oneself", w.PutBlock(w.ctx, user, "alice"), "422 block_self"},
		{"block an empty id", w.PutBlock(w.ctx, user, ""), "400 invalid_request"},
		{"unblock", w.DeleteBlock(w.ctx, user, "bob"), "ok"},
		{"unblock again", w.DeleteBlock(w.ctx, user, "bob"), "ok"},
		{"unblock oneself", w.DeleteBlock(w.ctx, user, "alice"), "422 block_self"},
		{"cut tokens as a user", cut(user, "bob"), "403 admin_required"},
		{"cut one's own tokens as a user", cut(user, "alice"), "403 admin_required"},
		{"cut tokens as admin", cut(admin, "bob"), "ok"},
		{"cut the tokens of an empty id", cut(admin, ""), "400 invalid_request"},
	} {
		if got := answer(test.err); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestServerAdminsHaveNoPermissionsInConversations checks that an admin of the server is an
// ordinary user in conversations.
func TestServerAdminsHaveNoPermissionsInConversations(t *testing.T) {
	w := newWorld(t)
	s := groupScene(w)
	admin := im.Actor{User: "operator", Admin: true}
	for name, do := range map[string]func(scene, im.Actor) error{
		"send": send(text("hi")), "read": readMessage, "history": readHistory, "look": look, "leave": leave,
	} {
		if e, ok := im.AsError(do(s, admin)); !ok || e.Kind != im.NotFound {
			t.Errorf("%s: %v, want not found", name, e)
		}
	}
}

func send(d im.Draft) func(scene, im.Actor) error {
	return func(s scene, a im.Actor) error {
		_, err := s.Send(s.ctx, a, s.ref, d)
		return err
	}
}

func readMessage(s scene, a im.Actor) error {
	_, err := s.Message(s.ctx, a, s.message)
	return err
}

func readHistory(s scene, a im.Actor) error {
	_, err := s.Messages(s.ctx, a, s.ref, im.HistoryFilter{Limit: 10})
	return err
}

func look(s scene, a im.Actor) error {
	_, err := s.Conversation(s.ctx, a, s.ref)
	return err
}

func listMembers(s scene, a im.Actor) error {
	_, err := s.Members(s.ctx, a, s.ref, im.Page{Limit: 10})
	return err
}

func leave(s scene, a im.Actor) error { return s.Leave(s.ctx, a, s.ref) }
