package handlers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// ear is a device on which a user listens.
type ear struct{ user, device string }

func (e ear) String() string { return e.user + "/" + e.device }

// The listeners of a scene. Alice acts, on her phone.
var (
	acting = ear{"alice", "phone"}
	tablet = ear{"alice", "tablet"}
	bob    = ear{"bob", "laptop"}
	hider  = ear{"carol", "phone"} // a member who has hidden the message
	former = ear{"dave", "phone"}  // was a member
	nobody = ear{"eve", "phone"}   // never a member

	ears = []ear{acting, tablet, bob, hider, former, nobody}
)

// scene is a group and a direct conversation, before an action.
type scene struct {
	*world
	group   string
	message string // alice's, in the group
	direct  string // of alice and bob
	burning string // bob's to alice, which burns
	barrier string // a group with all users; a message in it ends the observation
	town           // empty unless it was built
	live    map[ear]*reader
	cursors map[ear]string // the positions at which the streams begin
}

func newScene(t *testing.T, also ...func(*scene)) *scene {
	t.Helper()
	return newSceneIn(newWorld(t), also...)
}

// newSceneIn is newScene in a given world; also adds to it before anybody listens.
func newSceneIn(w *world, also ...func(*scene)) *scene {
	w.t.Helper()
	s := &scene{world: w, live: make(map[ear]*reader), cursors: make(map[ear]string)}
	s.group = s.world.group("alice", "bob", "carol", "dave")
	s.message = s.act(acting, http.MethodPost, "conversations/"+s.group+"/messages", `{"type":"text","body":{"text":"mine"},"mentions":["bob"]}`)["id"].(string)
	s.say("bob", s.group, "unread")
	s.act(hider, http.MethodPost, "conversations/"+s.group+"/hide", fmt.Sprintf(`{"message_ids":[%q]}`, s.message))
	s.act(former, http.MethodPost, "conversations/"+s.group+"/leave", "")
	b := s.act(bob, http.MethodPost, "conversations/@alice/messages", `{"type":"text","body":{"text":"hot"},"burn":{"after_seconds":3600}}`)
	s.burning, s.direct = b["id"].(string), b["conversation_id"].(string)
	s.barrier = s.world.group("zoe", "alice", "bob", "carol", "dave", "eve")
	for _, add := range also {
		add(s)
	}
	for _, e := range ears {
		s.cursors[e] = s.page(e, "")["cursor"].(string)
		s.live[e] = s.listen(e.user, nil, "X-Device-Id", e.device, "Last-Event-ID", s.cursors[e])
		s.live[e].expect("ready")
	}
	return s
}

// act makes a request on a device, which must succeed.
func (s *scene) act(e ear, method, path, body string) map[string]any {
	s.t.Helper()
	a := s.do(e.user, method, "/v1/"+path, body, "X-Device-Id", e.device)
	if a.status >= 300 {
		s.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if len(a.body) == 0 {
		return nil
	}
	return a.json(s.t)
}

// page is the log after a cursor.
func (s *scene) page(e ear, cursor string) map[string]any {
	s.t.Helper()
	query := url.Values{"limit": {"1000"}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	return s.must(http.StatusOK, e.user, http.MethodGet, "/v1/events?"+query.Encode(), "",
		"Accept", "application/json", "X-Device-Id", e.device)
}

// received returns the events that a listener has received up to the last act.
func (s *scene) received(e ear, barrier string) []map[string]any {
	s.t.Helper()
	return s.live[e].until(barrier)
}

// until returns all events before that of a message.
func (r *reader) until(message string) []map[string]any {
	r.t.Helper()
	var received []map[string]any
	for {
		_, v := r.event()
		if v["message_id"] == message {
			return received
		}
		received = append(received, v)
	}
}

// comparableOf returns an event without the members that only open streams receive.
func comparableOf(v map[string]any) string {
	v = maps.Clone(v)
	for _, key := range []string{"mentions", "push_content", "push_payload"} {
		delete(v, key)
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// later returns the use cases of the scene at a later time.
func (s *scene) later(d time.Duration) *im.Service {
	return im.NewService(s.store, im.DefaultPolicy(), func() time.Time { return time.Now().Add(d) })
}

// want has the listeners of each event, once for each time that they receive it.
type want map[im.EventType][]ear

// delivery is an action, and the recipients of its events.
type delivery struct {
	act  func(*scene)
	want want
}

// Every event is delivered to the same listeners and devices live and on replay. A short run covers
// every type of event, but only every other further delivery of a type.
func TestRecipientsOfEvents(t *testing.T) {
	seen := make(map[im.EventType]bool)
	runDeliveries(t, deliveriesOfConversations(), seen)
	runDeliveries(t, deliveriesOfTown(), seen, (*scene).build)
	for _, typ := range im.EventTypes {
		if !seen[typ] {
			t.Errorf("no delivery here has the event %s", typ)
		}
	}
}

// runDeliveries performs each action in a scene of its own, and records the types of events.
func runDeliveries(t *testing.T, deliveries map[string]delivery, seen map[im.EventType]bool, also ...func(*scene)) {
	step := testsize.Pick(1, 2)
	for i, name := range slices.Sorted(maps.Keys(deliveries)) {
		tt := deliveries[name]
		first := false
		for typ := range tt.want {
			first = first || !seen[typ]
			seen[typ] = true
		}
		if i%step != 0 && !first {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, also...)
			tt.act(s)
			s.check(tt.want)
		})
	}
}

// deliveriesOfConversations are the actions in conversations without a parent.
func deliveriesOfConversations() map[string]delivery {
	members := []ear{tablet, bob, hider}
	group := func(s *scene, method, path, body string) {
		s.t.Helper()
		s.act(acting, method, "conversations/"+s.group+path, body)
	}
	return map[string]delivery{
		"a message is sent": {func(s *scene) {
			group(s, http.MethodPost, "/messages", `{"type":"text","body":{"text":"news"},"mentions":["bob"]}`)
		}, want{im.MessageCreated: members}},
		"a message is revoked": {func(s *scene) {
			s.act(acting, http.MethodPost, "messages/"+s.message+"/revoke", `{"postscript":"sorry","push_content":"gone"}`)
		}, want{im.MessageRevoked: {tablet, bob}}},
		"a message is read and begins to burn": {func(s *scene) {
			s.act(acting, http.MethodPost, "conversations/@bob/receipts", fmt.Sprintf(`{"kind":"read","message_ids":[%q]}`, s.burning))
		}, want{im.ReceiptRead: {tablet, bob}, im.MessageBurnStarted: {tablet, bob}, im.UnreadChanged: {tablet}}},
		"a message that its sender has hidden begins to burn": {func(s *scene) {
			s.act(bob, http.MethodPost, "conversations/@alice/hide", `{"all":true}`)
			s.act(acting, http.MethodPost, "conversations/@bob/receipts", fmt.Sprintf(`{"kind":"read","up_to":%q}`, s.burning))
		}, want{im.ReceiptRead: {tablet, bob}, im.MessageBurnStarted: {tablet}, im.UnreadChanged: {tablet}}},
		"a message is burned": {func(s *scene) {
			s.act(acting, http.MethodPost, "messages/"+s.burning+"/burn", "")
		}, want{im.MessageBurned: {tablet, bob}}},
		"a message that its sender has hidden burns unread": {func(s *scene) {
			s.act(bob, http.MethodPost, "conversations/@alice/hide", fmt.Sprintf(`{"message_ids":[%q]}`, s.burning))
			s.erase(8 * 24 * time.Hour)
		}, want{im.MessageBurned: {acting, tablet}}},
		"a message expires": {func(s *scene) {
			group(s, http.MethodPost, "/messages", `{"type":"text","body":{"text":"short"},"expire_after_seconds":3600}`)
			s.erase(2 * time.Hour)
		}, want{im.MessageCreated: members, im.MessageExpired: {acting, tablet, bob, hider}}},
		"a message is hidden": {func(s *scene) {
			group(s, http.MethodPost, "/hide", fmt.Sprintf(`{"message_ids":[%q]}`, s.message))
		}, want{im.MessageHidden: {tablet}}},
		"all messages are hidden, unread ones too": {func(s *scene) {
			group(s, http.MethodPost, "/hide", `{"all":true}`)
		}, want{im.MessageHidden: {tablet}, im.UnreadChanged: {tablet}}},
		"a message is delivered": {func(s *scene) {
			s.act(acting, http.MethodPost, "conversations/@bob/receipts", fmt.Sprintf(`{"kind":"delivered","message_ids":[%q]}`, s.burning))
		}, want{im.ReceiptDelivered: {bob}}},
		"the unread count of a group is cleared": {func(s *scene) { group(s, http.MethodPost, "/unread/clear", "") }, want{im.UnreadChanged: {tablet}}},
		"all unread counts are cleared": {func(s *scene) {
			s.act(acting, http.MethodPost, "unread/clear", "")
		}, want{im.UnreadChanged: {tablet, tablet}}}, // one per conversation
		"a group is created": {func(s *scene) {
			s.act(acting, http.MethodPost, "conversations", `{"kind":"group","name":"new","members":["bob"]}`)
		}, want{im.ConversationCreated: {tablet, bob}}},
		"a group is renamed": {func(s *scene) { group(s, http.MethodPatch, "", `{"name":"other"}`) }, want{im.ConversationUpdated: members}},
		"a group is pinned and muted": {func(s *scene) {
			group(s, http.MethodPatch, "", `{"pinned":true,"muted":true}`)
		}, want{im.ConversationUpdated: {tablet}}},
		"a group is hidden": {func(s *scene) { group(s, http.MethodDelete, "", "") }, want{im.ConversationHidden: {tablet}}},
		"a group is deleted": {func(s *scene) {
			group(s, http.MethodDelete, "?scope=everyone", "")
		}, want{im.ConversationDeleted: members}},
		"a group is trimmed": {func(s *scene) {
			group(s, http.MethodPatch, "", `{"settings":{"retention_days":1}}`)
			if err := s.later(25*time.Hour).Trim(s.t.Context(), time.Time{}, nil); err != nil {
				s.t.Fatal(err)
			}
		}, want{im.ConversationUpdated: members, im.ConversationTrimmed: {acting, tablet, bob, hider}}},
		"somebody is added to a group": {func(s *scene) {
			group(s, http.MethodPost, "/members", `{"members":["eve"]}`)
		}, want{im.MemberAdded: {tablet, bob, hider, nobody}}},
		"somebody rejoins a group": {func(s *scene) {
			group(s, http.MethodPost, "/invitations", `{"users":["dave"]}`)
			s.act(former, http.MethodPost, "conversations/"+s.group+"/join", "")
		}, want{im.ConversationInvited: {former}, im.MemberAdded: {acting, tablet, bob, hider}}},
		"somebody is removed from a group": {func(s *scene) { group(s, http.MethodDelete, "/members/bob", "") }, want{im.MemberRemoved: members}},
		"somebody is blocked, twice": {func(s *scene) {
			s.act(acting, http.MethodPut, "blocks/bob", "")
			s.act(acting, http.MethodPut, "blocks/bob", "")
		}, want{im.BlockCreated: {tablet}}},
		"somebody is unblocked, twice": {func(s *scene) {
			s.act(tablet, http.MethodPut, "blocks/eve", "")
			s.act(acting, http.MethodDelete, "blocks/eve", "")
			s.act(acting, http.MethodDelete, "blocks/eve", "")
		}, want{im.BlockCreated: {acting}, im.BlockDeleted: {tablet}}},
		"somebody who was never blocked is unblocked": {func(s *scene) {
			s.act(acting, http.MethodDelete, "blocks/bob", "")
		}, want{}},
		"somebody gets a role in a group": {func(s *scene) {
			group(s, http.MethodPatch, "/members/bob", `{"role":"admin"}`)
		}, want{im.MemberUpdated: members}},
	}
}

// erase does what the timers do once some time has passed.
func (s *scene) erase(after time.Duration) {
	s.t.Helper()
	if _, _, err := s.later(after).EraseDue(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// check compares the received events with the wanted ones, and with the log.
func (s *scene) check(want map[im.EventType][]ear) {
	s.t.Helper()
	barrier := s.say("zoe", s.barrier, "so far")["id"].(string)
	for _, e := range ears {
		live := s.received(e, barrier)
		var types, wanted []string
		for _, v := range live {
			types = append(types, v["type"].(string))
		}
		for typ, listeners := range want {
			for _, listener := range listeners {
				if listener == e {
					wanted = append(wanted, string(typ))
				}
			}
		}
		slices.Sort(types)
		slices.Sort(wanted)
		if !slices.Equal(types, wanted) {
			s.t.Errorf("%v received %v, want %v", e, types, wanted)
		}
		items := s.page(e, s.cursors[e])["items"].([]any)
		replayed := items[:len(items)-1] // without the barrier
		var again []map[string]any
		for _, item := range replayed {
			again = append(again, item.(map[string]any))
		}
		s.compare(e, live, again)
	}
}

// compare compares the events received live with those in the log now: they are the same, except
// that messages are in their current state.
func (s *scene) compare(e ear, live, again []map[string]any) {
	s.t.Helper()
	gone := make(map[any]any) // tombstones, and nil for events that the log no longer delivers
	for _, v := range live {
		if m, ok := v["message"].(map[string]any); ok {
			gone[v["message_id"]] = m
		}
	}
	var want, got []string
	for _, v := range live {
		v = maps.Clone(v)
		if _, ok := v["message"]; ok {
			v["message"] = gone[v["message_id"]]
		}
		want = append(want, comparableOf(v))
	}
	for _, v := range again {
		got = append(got, comparableOf(v))
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("%v replayed\n%s\nreceived\n%s", e, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// For a deleted conversation the log still delivers its creation and deletion, and nothing
// about its messages; to a user who left, nothing after that.
func TestReplayOfADeletedConversation(t *testing.T) {
	s := newScene(t)
	s.act(acting, http.MethodPost, "messages/"+s.message+"/revoke", "")
	s.act(acting, http.MethodDelete, "conversations/"+s.group+"?scope=everyone", "")
	for e, want := range map[ear][]string{
		tablet: {"conversation.created", "member.removed", "conversation.deleted"},
		bob:    {"conversation.created", "member.removed", "conversation.deleted"},
		hider:  {"conversation.created", "member.removed", "conversation.deleted"},
		former: {"conversation.created"},
		nobody: nil,
	} {
		for _, purged := range []bool{false, true} {
			if purged {
				if err := s.later(0).Purge(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, item := range s.page(e, "")["items"].([]any) {
				if v := item.(map[string]any); v["conversation_id"] == s.group {
					got = append(got, v["type"].(string))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, purged=%t: replayed %v, want %v", e, purged, got, want)
			}
		}
	}
}

// On replay, an event about a hidden message, or one in a conversation that the user left,
// only says that it happened.
func TestReplayLeavesOutHiddenMessages(t *testing.T) {
	s := newScene(t)
	s.act(acting, http.MethodPost, "messages/"+s.message+"/revoke", "")
	s.act(hider, http.MethodPost, "conversations/"+s.group+"/leave", "")
	var got []string
	for _, item := range s.page(ear{"carol", "other"}, "")["items"].([]any) {
		v := item.(map[string]any)
		if v["conversation_id"] == s.group {
			got = append(got, fmt.Sprint(v["type"], " ", v["message"] != nil, " ", v["message_id"] == s.message))
		}
	}
	want := []string{
		"conversation.created false false", "message.created false true", "message.created false false",
		"message.hidden false false", "unread.changed false false", "member.removed false false", "member.removed false false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("replayed %v, want %v", got, want)
	}
}
