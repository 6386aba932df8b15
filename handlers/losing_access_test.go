package handlers_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// losing is a way in which bob, who has an open stream, loses and regains access to a conversation,
// by the act of others or his own on another device.
type losing struct {
	conversation func(*scene) string
	// alone is set for a conversation without threads.
	alone bool
	// reads is set for a thread that he can still read, because he receives events of its parent
	// about it.
	reads bool
	// before, which may be nil, is called first.
	before func(*scene)
	take   func(*scene)
	taken  []im.EventType
	give   func(*scene)
	given  []im.EventType
}

// elsewhere is the device on which bob acts, so that his listening device receives the events.
var elsewhere = ear{"bob", "watch"}

func waysToLose() map[string]losing {
	do := func(e ear, method, path, body string) func(*scene) {
		return func(s *scene) {
			s.t.Helper()
			names := strings.NewReplacer(
				"{space}", "spaces/"+s.space, "{role}", s.role, "{lobby}", "conversations/"+s.lobby, "{den}", "conversations/"+s.den,
				"{staff}", "conversations/"+s.staff, "{room}", "conversations/"+s.room, "{group}", "conversations/"+s.group,
				"{talk}", "conversations/"+s.talk, "{thread}", "conversations/"+s.thread,
			)
			s.act(e, method, names.Replace(path), names.Replace(body))
		}
	}
	all := func(steps ...func(*scene)) func(*scene) {
		return func(s *scene) {
			for _, step := range steps {
				step(s)
			}
		}
	}
	var (
		lobby  = func(s *scene) string { return s.lobby }
		den    = func(s *scene) string { return s.den }
		staff  = func(s *scene) string { return s.staff }
		room   = func(s *scene) string { return s.room }
		group  = func(s *scene) string { return s.group }
		talk   = func(s *scene) string { return s.talk }
		thread = func(s *scene) string { return s.thread }

		seesStaff = `{"permissions":{"view":"allow"}}`
		put       = http.MethodPut
		post      = http.MethodPost
		patch     = http.MethodPatch
		remove    = http.MethodDelete

		members = `{"members":["bob"]}`
		// The threads that he had joined come first, then their parent.
		leftSpace = []im.EventType{im.MemberRemoved, im.MemberRemoved, im.MemberRemoved, im.MemberRemoved}
		leftGroup = []im.EventType{im.MemberRemoved, im.MemberRemoved, im.MemberRemoved}
	)
	type types = []im.EventType
	return map[string]losing{
		"put on the deny list": {
			conversation: lobby,
			take:         do(acting, put, "{lobby}/lists/deny/bob", ""), taken: types{im.ChannelClosed},
			give: do(acting, remove, "{lobby}/lists/deny/bob", ""), given: types{im.ChannelOpened},
		},
		"taken off the allow list": {
			conversation: den,
			take:         do(acting, remove, "{den}/lists/allow/bob", ""), taken: types{im.ChannelClosed},
			give: do(acting, put, "{den}/lists/allow/bob", ""), given: types{im.ChannelOpened},
		},
		"the override of his role is deleted": {
			conversation: staff,
			take:         do(acting, remove, "{staff}/overrides/{role}", ""), taken: types{im.ChannelUpdated},
			give: do(acting, put, "{staff}/overrides/{role}", seesStaff), given: types{im.ChannelUpdated},
		},
		"an override of everyone denies view": {
			conversation: lobby,
			take:         do(acting, put, "{lobby}/overrides/everyone", `{"permissions":{"view":"deny"}}`), taken: types{im.ChannelUpdated},
			give: do(acting, remove, "{lobby}/overrides/everyone", ""), given: types{im.ChannelUpdated},
		},
		"his role denies view": {
			conversation: lobby,
			take:         do(acting, patch, "{space}/roles/{role}", `{"permissions":{"view":"deny"}}`), taken: types{im.RoleUpdated},
			give: do(acting, patch, "{space}/roles/{role}", `{"permissions":{"view":"inherit"}}`), given: types{im.RoleUpdated},
		},
		"the role everyone denies view": {
			conversation: lobby,
			take:         do(acting, patch, "{space}/roles/everyone", `{"permissions":{"view":"deny"}}`), taken: types{im.RoleUpdated},
			give: do(acting, patch, "{space}/roles/everyone", `{"permissions":{"view":"allow"}}`), given: types{im.RoleUpdated},
		},
		"his roles are replaced": {
			conversation: lobby,
			before: func(s *scene) {
				do(acting, patch, "{space}/roles/{role}", `{"permissions":{"view":"allow"}}`)(s)
				lower := s.act(acting, post, "spaces/"+s.space+"/roles", `{"name":"lower","permissions":{"view":"deny"}}`)["id"].(string)
				s.act(acting, put, "spaces/"+s.space+"/roles/"+lower+"/members/bob", "")
			},
			take: do(acting, patch, "{space}/roles/{role}", `{"position":2}`), taken: types{im.RoleUpdated},
			give: do(acting, patch, "{space}/roles/{role}", `{"position":1}`), given: types{im.RoleUpdated},
		},
		"his role is deleted": {
			conversation: staff,
			take:         do(acting, remove, "{space}/roles/{role}", ""), taken: types{im.RoleDeleted},
			give: func(s *scene) {
				s.role = s.act(acting, post, "spaces/"+s.space+"/roles", `{"name":"anew","permissions":{}}`)["id"].(string)
				do(acting, put, "{staff}/overrides/{role}", seesStaff)(s)
				do(acting, put, "{space}/roles/{role}/members/bob", "")(s)
			}, given: types{im.RoleCreated, im.MemberUpdated},
		},
		"his role is taken": {
			conversation: staff,
			take:         do(acting, remove, "{space}/roles/{role}/members/bob", ""), taken: types{im.MemberUpdated},
			give: do(acting, put, "{space}/roles/{role}/members/bob", ""), given: types{im.MemberUpdated},
		},
		"he gets a role that denies view": {
			conversation: lobby,
			before: all(do(acting, remove, "{space}/roles/{role}/members/bob", ""),
				do(acting, patch, "{space}/roles/{role}", `{"permissions":{"view":"deny"}}`)),
			take: do(acting, patch, "{space}/members/bob", `{"roles":["{role}"]}`), taken: types{im.MemberUpdated},
			give: do(acting, patch, "{space}/members/bob", `{"roles":[]}`), given: types{im.MemberUpdated},
		},
		"the channel becomes private": {
			conversation: lobby,
			take:         do(acting, patch, "{lobby}", `{"visibility":"private"}`), taken: types{im.ChannelUpdated},
			give: do(acting, patch, "{lobby}", `{"visibility":"public"}`), given: types{im.ChannelUpdated},
		},
		"the channel becomes public, and he is on its deny list": {
			conversation: den,
			before:       all(do(acting, put, "{den}/lists/deny/bob", "")),
			take:         do(acting, patch, "{den}", `{"visibility":"public"}`), taken: types{im.ChannelUpdated},
			give: do(acting, patch, "{den}", `{"visibility":"private"}`), given: types{im.ChannelUpdated},
		},
		"removed from the space": {
			conversation: lobby,
			take:         do(acting, remove, "{space}/members/bob", ""), taken: leftSpace,
			give: do(acting, post, "{space}/members", members), given: types{im.MemberAdded},
		},
		"he leaves the space": {
			conversation: lobby,
			take:         do(elsewhere, post, "{space}/leave", ""), taken: leftSpace,
			give:  all(do(acting, post, "{space}/invitations", `{"users":["bob"]}`), do(elsewhere, post, "{space}/join", "")),
			given: types{im.SpaceInvited, im.MemberAdded},
		},
		"removed from a room": {
			conversation: room, alone: true,
			take: do(acting, remove, "{room}/members/bob", ""), taken: types{im.MemberRemoved},
			give: do(acting, post, "{room}/members", members), given: types{im.MemberAdded},
		},
		"put on the deny list of a room": {
			conversation: room, alone: true,
			take: do(acting, put, "{room}/lists/deny/bob", ""), taken: types{im.MemberRemoved},
			give: all(do(acting, remove, "{room}/lists/deny/bob", ""), do(elsewhere, post, "{room}/join", "")), given: types{im.MemberAdded},
		},
		"removed from a group": {
			conversation: group,
			take:         do(acting, remove, "{group}/members/bob", ""), taken: leftGroup,
			give: do(acting, post, "{group}/members", members), given: types{im.MemberAdded},
		},
		"removed from a thread": {
			conversation: thread, alone: true, reads: true,
			take: do(acting, remove, "{thread}/members/bob", ""), taken: types{im.MemberRemoved, im.ThreadUpdated, im.ThreadUpdated, im.ThreadUpdated},
			give: do(elsewhere, post, "{thread}/join", ""), given: types{im.MemberAdded},
		},
		"he leaves a thread of a channel": {
			conversation: talk, alone: true, reads: true,
			take: do(elsewhere, post, "{talk}/leave", ""), taken: types{im.MemberRemoved, im.ThreadUpdated, im.ThreadUpdated, im.ThreadUpdated},
			give: do(elsewhere, post, "{talk}/join", ""), given: types{im.MemberAdded},
		},
	}
}

// After the event that ends a user's access nothing more is delivered to them, and
// everything from the event on that restores it: on an open stream, on one that keeps falling
// behind, and on replay.
func TestLosingAccess(t *testing.T) {
	// With these options recipients are looked up for each event, and the queue holds one
	// event.
	behind := func(_ *handlers.Options, eo *events.Options, _ *im.Policy) {
		eo.QueueSize, eo.MaxConversations = 1, 1
	}
	// A short run tries each way once, every other one while the stream is behind.
	step := testsize.Pick(1, 2)
	ways := waysToLose()
	for i, name := range slices.Sorted(maps.Keys(ways)) {
		for j, options := range [][]option{nil, {behind}} {
			if (i+j)%step != 0 {
				continue
			}
			t.Run(name+[]string{"", " while behind"}[j], func(t *testing.T) {
				t.Parallel()
				ways[name].run(t, newWorld(t, options...))
			})
		}
	}
}

func (tt losing) run(t *testing.T, w *world) {
	s := newSceneIn(w, (*scene).build)
	if tt.before != nil {
		tt.before(s)
	}
	conversations := []string{tt.conversation(s)}
	if !tt.alone {
		root := s.say("alice", conversations[0], "root")["id"].(string)
		conversations = append(conversations, s.act(bob, http.MethodPost, "messages/"+root+"/thread", `{"name":"t"}`)["id"].(string))
		s.act(acting, http.MethodPost, "conversations/"+conversations[1]+"/join", "")
	}
	saidIn := func(text string) (ids []string) {
		for _, conversation := range conversations {
			ids = append(ids, s.say("alice", conversation, text)["id"].(string))
		}
		return ids
	}
	begin := s.page(bob, "")["cursor"].(string)
	open := s.listen(bob.user, nil, "X-Device-Id", bob.device, "Last-Event-ID", begin)
	open.expect("ready")

	before := saidIn("before")
	tt.take(s)
	mid := s.page(bob, begin)
	if items := fmt.Sprint(mid["items"]); strings.Contains(items, "text:before") && !tt.reads {
		t.Errorf("messages replayed to a user who lost access: %s", items)
	}
	resumed := s.listen(bob.user, nil, "X-Device-Id", bob.device, "Last-Event-ID", mid["cursor"].(string))
	resumed.expect("ready")

	unheard := saidIn("unheard")
	for _, id := range append(before, unheard[0]) {
		s.act(acting, http.MethodPost, "messages/"+id+"/revoke", "")
	}
	tt.give(s)
	if !tt.alone && s.do(bob.user, http.MethodGet, "/v1/conversations/"+conversations[1], "").json(t)["role"] == nil {
		s.act(bob, http.MethodPost, "conversations/"+conversations[1]+"/join", "")
	}
	after := saidIn("after")
	barrier := s.say("zoe", s.barrier, "so far")["id"].(string)

	var want []string
	heard := func(ids []string) {
		for i, id := range ids {
			want = append(want, "message.created "+id)
			if i > 0 || tt.reads {
				want = append(want, "thread.updated ")
			}
		}
	}
	heard(before)
	lost := len(want)
	for _, typ := range append(slices.Clone(tt.taken), tt.given...) {
		want = append(want, string(typ)+" ")
	}
	heard(after)
	received := open.until(barrier)
	if got := typesAndMessages(received); !slices.Equal(got, want) {
		t.Errorf("received\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, v := range received[min(lost, len(received)):] {
		if text := fmt.Sprint(v); strings.Contains(text, "text:before") || strings.Contains(text, "text:unheard") {
			t.Errorf("received a message sent while access was lost: %s", text)
		}
	}
	// A user who was offline for a moment receives the rest.
	rest := resumed.until(barrier)
	mids := len(typesAndMessages(asMaps(mid["items"])))
	if got := typesAndMessages(rest); mids > len(want) || !slices.Equal(got, want[mids:]) {
		t.Errorf("after the loss received\n%s\nafter %d of\n%s", strings.Join(got, "\n"), mids, strings.Join(want, "\n"))
	}
	late := s.listen(bob.user, nil, "X-Device-Id", bob.device, "Last-Event-ID", begin)
	late.expect("ready")
	paged := asMaps(s.page(bob, begin)["items"])
	for how, again := range map[string][]map[string]any{"as a stream": late.until(barrier), "as a page": paged[:len(paged)-1]} {
		if got := typesAndMessages(again); !slices.Equal(got, want) {
			t.Errorf("%s replayed\n%s\nreceived\n%s", how, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// typesAndMessages describes events briefly.
func typesAndMessages(list []map[string]any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		message, _ := v["message_id"].(string)
		out[i] = v["type"].(string) + " " + message
	}
	return out
}

func asMaps(items any) []map[string]any {
	list := items.([]any)
	out := make([]map[string]any, len(list))
	for i, item := range list {
		out[i] = item.(map[string]any)
	}
	return out
}

// While others send and change access concurrently, an open stream receives the same events as a
// replay, and nothing while access is lost.
func TestLosingAccessWhileOthersSend(t *testing.T) {
	ways := waysToLose()
	for name, with := range map[string]option{
		"with room in the queue":     func(*handlers.Options, *events.Options, *im.Policy) {},
		"while the stream is behind": func(_ *handlers.Options, eo *events.Options, _ *im.Policy) { eo.QueueSize, eo.MaxConversations = 1, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSceneIn(newWorld(t, with), (*scene).build)
			begin := s.page(bob, "")["cursor"].(string)
			open := s.listen(bob.user, nil, "X-Device-Id", bob.device, "Last-Event-ID", begin)
			open.expect("ready")

			var speaking sync.WaitGroup
			done := make(chan struct{})
			for _, conversation := range []string{s.lobby, s.talk} {
				speaking.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						a := s.do("alice", http.MethodPost, "/v1/conversations/"+conversation+"/messages", `{"type":"text","body":{"text":"x"}}`)
						if a.status != http.StatusCreated {
							t.Errorf("%d %s", a.status, a.body)
							return
						}
					}
				})
			}
			for range 3 {
				for _, way := range []string{"put on the deny list", "an override of everyone denies view", "his role denies view", "the role everyone denies view", "the channel becomes private"} {
					ways[way].take(s)
					ways[way].give(s)
				}
			}
			close(done)
			speaking.Wait()
			barrier := s.say("zoe", s.barrier, "so far")["id"].(string)

			received := open.until(barrier)
			lost, changes, heard := false, 0, 0
			for _, v := range received {
				switch typ := im.EventType(v["type"].(string)); typ {
				case im.MessageCreated, im.ThreadUpdated:
					if heard++; lost {
						t.Errorf("received %v while access was lost", v)
					}
				default:
					lost = !lost
					changes++
				}
			}
			if lost || changes != 2*3*5 || heard == 0 {
				t.Errorf("received %d changes and %d messages, lost=%t", changes, heard, lost)
			}
			var again []string
			for cursor := begin; ; {
				page := s.page(bob, cursor)
				again = append(again, typesAndMessages(asMaps(page["items"]))...)
				if page["next_page_token"] == nil {
					break
				}
				cursor = page["cursor"].(string)
			}
			if got := typesAndMessages(received); !slices.Equal(again[:len(again)-1], got) {
				t.Errorf("replayed\n%s\nreceived\n%s", strings.Join(again, "\n"), strings.Join(got, "\n"))
			}
		})
	}
}
