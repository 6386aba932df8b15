package handlers_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

// losing is a way in which bob, who listens, loses a place, and gets it back. What
// is done is done by others, or by him on another device.
type losing struct {
	place func(*scene) string
	// alone is set of a place in which no thread hangs.
	alone bool
	// reads is set of a thread, which he can read all the same: its parent tells
	// that something was said.
	reads bool
	// before is what has to be done first, nil for nothing.
	before func(*scene)
	take   func(*scene)
	taken  []im.EventType
	give   func(*scene)
	given  []im.EventType
}

// elsewhere is the device on which bob does what he is to be told of.
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
		// Of all threads of the place that he joined, and then of the place.
		leftSpace = []im.EventType{im.MemberRemoved, im.MemberRemoved, im.MemberRemoved, im.MemberRemoved}
		leftGroup = []im.EventType{im.MemberRemoved, im.MemberRemoved, im.MemberRemoved}
	)
	type types = []im.EventType
	return map[string]losing{
		"put on the deny list": {
			place: lobby,
			take:  do(acting, put, "{lobby}/lists/deny/bob", ""), taken: types{im.ChannelClosed},
			give: do(acting, remove, "{lobby}/lists/deny/bob", ""), given: types{im.ChannelOpened},
		},
		"taken from the allow list": {
			place: den,
			take:  do(acting, remove, "{den}/lists/allow/bob", ""), taken: types{im.ChannelClosed},
			give: do(acting, put, "{den}/lists/allow/bob", ""), given: types{im.ChannelOpened},
		},
		"his role's override is taken": {
			place: staff,
			take:  do(acting, remove, "{staff}/overrides/{role}", ""), taken: types{im.ChannelUpdated},
			give: do(acting, put, "{staff}/overrides/{role}", seesStaff), given: types{im.ChannelUpdated},
		},
		"everyone's override": {
			place: lobby,
			take:  do(acting, put, "{lobby}/overrides/everyone", `{"permissions":{"view":"deny"}}`), taken: types{im.ChannelUpdated},
			give: do(acting, remove, "{lobby}/overrides/everyone", ""), given: types{im.ChannelUpdated},
		},
		"his role denies it": {
			place: lobby,
			take:  do(acting, patch, "{space}/roles/{role}", `{"permissions":{"view":"deny"}}`), taken: types{im.RoleUpdated},
			give: do(acting, patch, "{space}/roles/{role}", `{"permissions":{"view":"inherit"}}`), given: types{im.RoleUpdated},
		},
		"everyone's role denies it": {
			place: lobby,
			take:  do(acting, patch, "{space}/roles/everyone", `{"permissions":{"view":"deny"}}`), taken: types{im.RoleUpdated},
			give: do(acting, patch, "{space}/roles/everyone", `{"permissions":{"view":"allow"}}`), given: types{im.RoleUpdated},
		},
		"his roles change places": {
			place: lobby,
			before: func(s *scene) {
				do(acting, patch, "{space}/roles/{role}", `{"permissions":{"view":"allow"}}`)(s)
				lower := s.act(acting, post, "spaces/"+s.space+"/roles", `{"name":"lower","permissions":{"view":"deny"}}`)["id"].(string)
				s.act(acting, put, "spaces/"+s.space+"/roles/"+lower+"/members/bob", "")
			},
			take: do(acting, patch, "{space}/roles/{role}", `{"position":2}`), taken: types{im.RoleUpdated},
			give: do(acting, patch, "{space}/roles/{role}", `{"position":1}`), given: types{im.RoleUpdated},
		},
		"his role is deleted": {
			place: staff,
			take:  do(acting, remove, "{space}/roles/{role}", ""), taken: types{im.RoleDeleted},
			give: func(s *scene) {
				s.role = s.act(acting, post, "spaces/"+s.space+"/roles", `{"name":"anew","permissions":{}}`)["id"].(string)
				do(acting, put, "{staff}/overrides/{role}", seesStaff)(s)
				do(acting, put, "{space}/roles/{role}/members/bob", "")(s)
			}, given: types{im.RoleCreated, im.MemberUpdated},
		},
		"his role is taken": {
			place: staff,
			take:  do(acting, remove, "{space}/roles/{role}/members/bob", ""), taken: types{im.MemberUpdated},
			give: do(acting, put, "{space}/roles/{role}/members/bob", ""), given: types{im.MemberUpdated},
		},
		"he gets a role that denies it": {
			place: lobby,
			before: all(do(acting, remove, "{space}/roles/{role}/members/bob", ""),
				do(acting, patch, "{space}/roles/{role}", `{"permissions":{"view":"deny"}}`)),
			take: do(acting, patch, "{space}/members/bob", `{"roles":["{role}"]}`), taken: types{im.MemberUpdated},
			give: do(acting, patch, "{space}/members/bob", `{"roles":[]}`), given: types{im.MemberUpdated},
		},
		"it becomes private": {
			place: lobby,
			take:  do(acting, patch, "{lobby}", `{"visibility":"private"}`), taken: types{im.ChannelUpdated},
			give: do(acting, patch, "{lobby}", `{"visibility":"public"}`), given: types{im.ChannelUpdated},
		},
		"it becomes public, where he is denied": {
			place:  den,
			before: all(do(acting, put, "{den}/lists/deny/bob", "")),
			take:   do(acting, patch, "{den}", `{"visibility":"public"}`), taken: types{im.ChannelUpdated},
			give: do(acting, patch, "{den}", `{"visibility":"private"}`), given: types{im.ChannelUpdated},
		},
		"put out of the space": {
			place: lobby,
			take:  do(acting, remove, "{space}/members/bob", ""), taken: leftSpace,
			give: do(acting, post, "{space}/members", members), given: types{im.MemberAdded},
		},
		"he leaves the space": {
			place: lobby,
			take:  do(elsewhere, post, "{space}/leave", ""), taken: leftSpace,
			give:  all(do(acting, post, "{space}/invitations", `{"users":["bob"]}`), do(elsewhere, post, "{space}/join", "")),
			given: types{im.SpaceInvited, im.MemberAdded},
		},
		"put out of a room": {
			place: room, alone: true,
			take: do(acting, remove, "{room}/members/bob", ""), taken: types{im.MemberRemoved},
			give: do(acting, post, "{room}/members", members), given: types{im.MemberAdded},
		},
		"denied a room": {
			place: room, alone: true,
			take: do(acting, put, "{room}/lists/deny/bob", ""), taken: types{im.MemberRemoved},
			give: all(do(acting, remove, "{room}/lists/deny/bob", ""), do(elsewhere, post, "{room}/join", "")), given: types{im.MemberAdded},
		},
		"put out of a group": {
			place: group,
			take:  do(acting, remove, "{group}/members/bob", ""), taken: leftGroup,
			give: do(acting, post, "{group}/members", members), given: types{im.MemberAdded},
		},
		"put out of a thread": {
			place: thread, alone: true, reads: true,
			take: do(acting, remove, "{thread}/members/bob", ""), taken: types{im.MemberRemoved, im.ThreadUpdated, im.ThreadUpdated, im.ThreadUpdated},
			give: do(elsewhere, post, "{thread}/join", ""), given: types{im.MemberAdded},
		},
		"he leaves a thread of a channel": {
			place: talk, alone: true, reads: true,
			take: do(elsewhere, post, "{talk}/leave", ""), taken: types{im.MemberRemoved, im.ThreadUpdated, im.ThreadUpdated, im.ThreadUpdated},
			give: do(elsewhere, post, "{talk}/join", ""), given: types{im.MemberAdded},
		},
	}
}

// Nothing is told to somebody after the event that takes a place from them, and all
// from the next one on once they have it back: to a stream that is open, to one that
// falls behind all the time, and to who comes later.
func TestLosingAPlace(t *testing.T) {
	for name, tt := range waysToLose() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, newWorld(t))
		})
		t.Run(name+" while behind", func(t *testing.T) {
			t.Parallel()
			// Whom a place is told is looked up for each event, and two at a time do
			// not fit into a queue.
			tt.run(t, newWorld(t, func(_ *handlers.Options, eo *events.Options, _ *im.Policy) {
				eo.QueueSize, eo.MaxConversations = 1, 1
			}))
		})
	}
}

func (tt losing) run(t *testing.T, w *world) {
	s := newSceneIn(w, (*scene).build)
	if tt.before != nil {
		tt.before(s)
	}
	places := []string{tt.place(s)}
	if !tt.alone {
		root := s.say("alice", places[0], "root")["id"].(string)
		places = append(places, s.act(bob, http.MethodPost, "messages/"+root+"/thread", `{"name":"t"}`)["id"].(string))
		s.act(acting, http.MethodPost, "conversations/"+places[1]+"/join", "")
	}
	saidIn := func(text string) (ids []string) {
		for _, place := range places {
			ids = append(ids, s.say("alice", place, text)["id"].(string))
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
		t.Errorf("who has lost the place is replayed what was said there: %s", items)
	}
	resumed := s.listen(bob.user, nil, "X-Device-Id", bob.device, "Last-Event-ID", mid["cursor"].(string))
	resumed.expect("ready")

	unheard := saidIn("unheard")
	for _, id := range append(before, unheard[0]) {
		s.act(acting, http.MethodPost, "messages/"+id+"/revoke", "")
	}
	tt.give(s)
	if !tt.alone && s.do(bob.user, http.MethodGet, "/v1/conversations/"+places[1], "").json(t)["role"] == nil {
		s.act(bob, http.MethodPost, "conversations/"+places[1]+"/join", "")
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
	told := open.until(barrier)
	if got := typesAndMessages(told); !slices.Equal(got, want) {
		t.Errorf("was told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, v := range told[min(lost, len(told)):] {
		if text := fmt.Sprint(v); strings.Contains(text, "text:before") || strings.Contains(text, "text:unheard") {
			t.Errorf("was told what was said while the place was lost: %s", text)
		}
	}
	// Who was away for a moment is told the rest.
	rest := resumed.until(barrier)
	mids := len(typesAndMessages(asMaps(mid["items"])))
	if got := typesAndMessages(rest); mids > len(want) || !slices.Equal(got, want[mids:]) {
		t.Errorf("after the loss was told\n%s\nafter %d of\n%s", strings.Join(got, "\n"), mids, strings.Join(want, "\n"))
	}
	late := s.listen(bob.user, nil, "X-Device-Id", bob.device, "Last-Event-ID", begin)
	late.expect("ready")
	paged := asMaps(s.page(bob, begin)["items"])
	for how, again := range map[string][]map[string]any{"as a stream": late.until(barrier), "as a page": paged[:len(paged)-1]} {
		if got := typesAndMessages(again); !slices.Equal(got, want) {
			t.Errorf("%s is replayed\n%s\nwas told\n%s", how, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// typesAndMessages is what events are, in short.
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

// While others speak and change who sees the place, both at once, an open stream is
// told the same as who comes later, and nothing while the place is lost.
func TestLosingAPlaceWhileItIsSpokenIn(t *testing.T) {
	ways := waysToLose()
	for name, with := range map[string]option{
		"with room":    func(*handlers.Options, *events.Options, *im.Policy) {},
		"while behind": func(_ *handlers.Options, eo *events.Options, _ *im.Policy) { eo.QueueSize, eo.MaxConversations = 1, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSceneIn(newWorld(t, with), (*scene).build)
			begin := s.page(bob, "")["cursor"].(string)
			open := s.listen(bob.user, nil, "X-Device-Id", bob.device, "Last-Event-ID", begin)
			open.expect("ready")

			var speaking sync.WaitGroup
			done := make(chan struct{})
			for _, place := range []string{s.lobby, s.talk} {
				speaking.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						a := s.do("alice", http.MethodPost, "/v1/conversations/"+place+"/messages", `{"type":"text","body":{"text":"x"}}`)
						if a.status != http.StatusCreated {
							t.Errorf("%d %s", a.status, a.body)
							return
						}
					}
				})
			}
			for range 3 {
				for _, way := range []string{"put on the deny list", "everyone's override", "his role denies it", "everyone's role denies it", "it becomes private"} {
					ways[way].take(s)
					ways[way].give(s)
				}
			}
			close(done)
			speaking.Wait()
			barrier := s.say("zoe", s.barrier, "so far")["id"].(string)

			told := open.until(barrier)
			lost, changes, heard := false, 0, 0
			for _, v := range told {
				switch typ := im.EventType(v["type"].(string)); typ {
				case im.MessageCreated, im.ThreadUpdated:
					if heard++; lost {
						t.Errorf("was told %v while the place was lost", v)
					}
				default:
					lost = !lost
					changes++
				}
			}
			if lost || changes != 2*3*5 || heard == 0 {
				t.Errorf("was told of %d changes and %d messages, lost=%t", changes, heard, lost)
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
			if got := typesAndMessages(told); !slices.Equal(again[:len(again)-1], got) {
				t.Errorf("is replayed\n%s\nwas told\n%s", strings.Join(again, "\n"), strings.Join(got, "\n"))
			}
		})
	}
}
