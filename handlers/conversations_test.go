package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

// TestNullResetsASetting checks the effects of null, of a missing member and of a value on each
// setting that can be reset.
func TestNullResetsASetting(t *testing.T) {
	w := newWorld(t)
	room := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations", `{"kind":"room","name":"r"}`)["id"].(string)
	space, _ := w.newSpace("alice")
	targets := map[string]map[string]any{
		"/v1/conversations/" + room: {
			"announcement": "Welcome", "avatar": "https://example.com/a.png", "slow_mode_seconds": 60.0, "expire_after_seconds": 60.0,
			"revoke_window_seconds": 0.0, "revoke_others_window_seconds": 5.0, "retention_days": 7.0,
		},
		"/v1/spaces/" + space: {
			"announcement": "Welcome", "avatar": "a", "revoke_window_seconds": 5.0, "revoke_others_window_seconds": 0.0,
		},
	}
	for path, settings := range targets {
		for name, set := range settings {
			value, _ := json.Marshal(set)
			for _, step := range []struct {
				patch string
				want  any
			}{
				{fmt.Sprintf(`{"settings":{%q:%s}}`, name, value), set},
				{`{"settings":{}}`, set},
				{fmt.Sprintf(`{"settings":{%q:null}}`, name), nil},
			} {
				got := w.must(http.StatusOK, "alice", http.MethodPatch, path, step.patch)["settings"].(map[string]any)
				if value, there := got[name]; !there || value != step.want {
					t.Errorf("%s after %s: %s is %v, want %v", path, step.patch, name, value, step.want)
				}
			}
		}
	}
}

// TestMembersByKind checks which members of a conversation have a value for which kind.
func TestMembersByKind(t *testing.T) {
	w := newWorld(t)
	group := w.group("alice", "bob")
	space, public := w.newSpace("alice", "bob")
	private := w.newChannel("alice", space, "private")
	inGroup := w.say("alice", group, "root")["id"].(string)
	inChannel := w.say("alice", public, "root")["id"].(string)
	w.say("alice", "@bob", "hi")
	room := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations", `{"kind":"room","name":"r"}`)["id"].(string)
	w.must(http.StatusOK, "bob", http.MethodPost, "/v1/conversations/"+room+"/join", "")
	under, deep := w.newThread("alice", inGroup), w.newThread("alice", inChannel)
	for name, c := range map[string]struct {
		user, id string
		want     map[string]any
	}{
		"direct":                {"bob", "@alice", map[string]any{"kind": "direct", "role": "member", "creator": "alice"}},
		"group":                 {"bob", group, map[string]any{"kind": "group", "role": "member", "creator": "alice"}},
		"room":                  {"bob", room, map[string]any{"kind": "room", "role": "member", "creator": "alice"}},
		"thread to its creator": {"alice", under, map[string]any{"kind": "thread", "role": "member", "creator": "alice", "parent_id": group, "root_id": inGroup, "message_count": 0.0}},
		"thread to others":      {"bob", under, map[string]any{"kind": "thread", "creator": "alice", "parent_id": group, "root_id": inGroup, "message_count": 0.0}},
		"thread in a channel":   {"bob", deep, map[string]any{"kind": "thread", "creator": "alice", "parent_id": public, "root_id": inChannel, "space_id": space, "message_count": 0.0}},
		"public channel":        {"bob", public, map[string]any{"kind": "channel", "role": "member", "creator": "alice", "space_id": space, "visibility": "public"}},
		"private channel":       {"alice", private, map[string]any{"kind": "channel", "role": "owner", "creator": "alice", "space_id": space, "visibility": "private"}},
	} {
		got := w.must(http.StatusOK, c.user, http.MethodGet, "/v1/conversations/"+c.id, "")
		for _, field := range []string{"kind", "role", "creator", "parent_id", "root_id", "space_id", "visibility", "message_count", "muted_until"} {
			if value, there := got[field]; !there || value != c.want[field] {
				t.Errorf("%s: %s is %v, want %v", name, field, value, c.want[field])
			}
		}
		if (got["last_activity_at"] != nil) != (c.want["kind"] == "thread") {
			t.Errorf("%s: last active %v", name, got["last_activity_at"])
		}
	}
	if a := w.do("bob", http.MethodGet, "/v1/conversations/"+private, ""); a.status != http.StatusNotFound {
		t.Errorf("a private channel is %d to others", a.status)
	}
	var kinds []any
	for _, item := range w.must(http.StatusOK, "alice", http.MethodGet, "/v1/conversations", "")["items"].([]any) {
		kinds = append(kinds, item.(map[string]any)["kind"])
	}
	if len(kinds) != 3 {
		t.Errorf("the list of conversations has %v", kinds)
	}
}

// TestSlowModeSaysHowLong checks that a user who sends too soon gets a Retry-After, and can send
// after that time.
func TestSlowModeSaysHowLong(t *testing.T) {
	w := newWorld(t)
	group := w.group("alice", "bob")
	w.must(http.StatusOK, "alice", http.MethodPatch, "/v1/conversations/"+group, `{"settings":{"slow_mode_seconds":3600}}`)
	sent := time.Now()
	w.say("bob", group, "one")
	a := w.do("bob", http.MethodPost, "/v1/conversations/"+group+"/messages", `{"type":"text","body":{"text":"two"}}`)
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != http.StatusTooManyRequests || a.code(t) != "slow_mode" || err != nil {
		t.Fatalf("got %d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
	}
	if again := time.Now().Add(time.Duration(wait) * time.Second); again.Before(sent.Add(time.Hour)) || wait > 3600 {
		t.Errorf("asked to wait for %d seconds", wait)
	}
}

// TestMutedUntil checks how mutes are shown, with and without an end.
func TestMutedUntil(t *testing.T) {
	w := newWorld(t)
	group := w.group("alice", "bob")
	space, channel := w.newSpace("alice", "bob")
	for name, c := range map[string]struct{ path, seen string }{
		"group":   {"/v1/conversations/" + group, "/v1/conversations/" + group},
		"channel": {"/v1/conversations/" + channel, ""},
		"space":   {"/v1/spaces/" + space, "/v1/spaces/" + space},
	} {
		mute := c.path + "/members/bob/mute"
		until := func(body string) any {
			got := w.must(http.StatusOK, "alice", http.MethodPut, mute, body)
			if got["user"] != "bob" {
				t.Errorf("%s: %v was muted", name, got["user"])
			}
			if c.seen != "" {
				if seen := w.must(http.StatusOK, "bob", http.MethodGet, c.seen, "")["muted_until"]; seen != got["muted_until"] {
					t.Errorf("%s: muted until %v, seen by them as %v", name, got["muted_until"], seen)
				}
			}
			return got["muted_until"]
		}
		forGood := im.MutedForGood.Format("2006-01-02T15:04:05.000Z07:00")
		if got := until(""); got != forGood {
			t.Errorf("%s: without a body until %v, want %s", name, got, forGood)
		}
		if got := until(`{}`); got != forGood {
			t.Errorf("%s: without seconds until %v, want %s", name, got, forGood)
		}
		at, err := time.Parse(time.RFC3339, until(`{"seconds":3600}`).(string))
		if ahead := time.Until(at); err != nil || ahead > time.Hour || ahead < time.Minute {
			t.Errorf("%s: for an hour is until %v", name, at)
		}
		w.must(http.StatusNoContent, "alice", http.MethodDelete, mute, "")
		if c.seen != "" {
			if seen := w.must(http.StatusOK, "bob", http.MethodGet, c.seen, "")["muted_until"]; seen != nil {
				t.Errorf("%s: unmuted, muted until %v", name, seen)
			}
		}
	}
}

// TestEndedMuteIsShownNowhere stores a mute that has ended, which no answer may show.
func TestEndedMuteIsShownNowhere(t *testing.T) {
	w := newWorld(t)
	group := w.group("alice", "bob")
	id, _ := im.ParseID(group)
	err := w.store.Write(t.Context(), func(tx im.Tx) error { return tx.PutMute(id, "bob", time.Now().Add(-time.Minute)) })
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/conversations/" + group
	for name, got := range map[string]map[string]any{
		"conversation":          w.must(http.StatusOK, "bob", http.MethodGet, path, ""),
		"list of conversations": w.must(http.StatusOK, "bob", http.MethodGet, "/v1/conversations", "")["items"].([]any)[0].(map[string]any),
		"member":                w.must(http.StatusOK, "alice", http.MethodGet, path+"/members/bob", ""),
		"changed role":          w.must(http.StatusOK, "alice", http.MethodPatch, path+"/members/bob", `{"role":"admin"}`),
	} {
		until, there := got["muted_until"]
		if !there || until != nil {
			t.Errorf("%s: muted_until is %v", name, until)
		}
	}
}

// TestRolesAsShown checks the shape of roles, grants and overrides.
func TestRolesAsShown(t *testing.T) {
	w := newWorld(t)
	space, channel := w.newSpace("alice", "bob")
	roles := "/v1/spaces/" + space + "/roles"
	low := w.newRole("alice", space, `{"kick":"allow","send":"deny","view":"inherit"}`)
	high := w.must(http.StatusCreated, "alice", http.MethodPost, roles, `{"name":"high","permissions":{},"position":1}`)
	if high["position"] != 1.0 {
		t.Errorf("the highest role is at %v", high["position"])
	}
	var got []string
	for _, item := range w.must(http.StatusOK, "bob", http.MethodGet, roles, "")["items"].([]any) {
		r := item.(map[string]any)
		got = append(got, fmt.Sprint(r["id"], r["position"], r["permissions"]))
	}
	want := []string{
		fmt.Sprint(high["id"], 1, map[string]any{}),
		fmt.Sprint(low, 2, map[string]any{"kick": "allow", "send": "deny"}),
		fmt.Sprint("everyone", 3, map[string]any{"view": "allow", "send": "allow", "create_thread": "allow", "revoke_own": "allow"}),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the roles are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	changed := w.must(http.StatusOK, "alice", http.MethodPatch, roles+"/"+low, `{"permissions":{"send":"inherit","mute":"allow"},"position":1}`)
	if !reflect.DeepEqual(changed["permissions"], map[string]any{"kick": "allow", "mute": "allow"}) || changed["position"] != 1.0 {
		t.Errorf("the change made %v", changed)
	}
	w.must(http.StatusOK, "alice", http.MethodPatch, "/v1/spaces/"+space+"/members/bob", `{"roles":["`+low+`"]}`)
	may := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/spaces/"+space+"/permissions", "")
	if want := []any{"view", "send", "create_thread", "revoke_own", "kick", "mute"}; !reflect.DeepEqual(may["permissions"], want) || may["role"] != "member" {
		t.Errorf("bob may %v", may)
	}
	overrides := "/v1/conversations/" + channel + "/overrides"
	for _, role := range []string{low, "everyone"} {
		o := w.must(http.StatusOK, "alice", http.MethodPut, overrides+"/"+role, `{"permissions":{"send":"deny","kick":"inherit"}}`)
		if o["role_id"] != role || !reflect.DeepEqual(o["permissions"], map[string]any{"send": "deny"}) {
			t.Errorf("the override of %s is %v", role, o)
		}
	}
	w.must(http.StatusNoContent, "alice", http.MethodDelete, overrides+"/"+low, "")
	if items := w.must(http.StatusOK, "alice", http.MethodGet, overrides, "")["items"].([]any); len(items) != 1 {
		t.Errorf("the overrides are %v", items)
	}
	for _, path := range []string{roles, "/v1/conversations/" + channel + "/overrides/everyone"} {
		method, body := http.MethodPost, `{"name":"x","permissions":{"delete":"allow"}}`
		if path != roles {
			method, body = http.MethodPut, `{"permissions":{"manage_retention":"deny"}}`
		}
		if a := w.do("alice", method, path, body); a.status != http.StatusUnprocessableEntity || a.code(t) != "permission_not_grantable" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := w.do("alice", http.MethodDelete, roles+"/everyone", ""); a.status != http.StatusUnprocessableEntity || a.code(t) != "everyone_role" {
		t.Errorf("everyone's role: %d %s", a.status, a.body)
	}
}

// TestPagesOfLists checks that the pages of each list continue to its end, and that a page
// token of another list is refused.
func TestPagesOfLists(t *testing.T) {
	w := newWorld(t)
	group := w.group("alice", "bob")
	space, first := w.newSpace("alice", "bob", "carol")
	other, _ := w.newSpace("alice")
	channels := []string{first, w.newChannel("alice", space, "public"), w.newChannel("alice", space, "private")}
	var threads []string
	for range 3 {
		threads = append([]string{w.newThread("alice", w.say("alice", group, "root")["id"].(string))}, threads...)
	}
	w.must(http.StatusOK, "alice", http.MethodPost, "/v1/spaces/"+space+"/invitations", `{"users":["eve","dave"]}`)
	w.must(http.StatusOK, "alice", http.MethodPost, "/v1/spaces/"+other+"/invitations", `{"users":["eve"]}`)
	for _, user := range []string{"mallory", "eve"} {
		w.must(http.StatusNoContent, "alice", http.MethodPut, "/v1/conversations/"+group+"/lists/deny/"+user, "")
	}
	tokens := make(map[string]string)
	lists := []struct {
		user, path, key string
		want            []string
		ordered         bool // as they are wanted
	}{
		{"alice", "/v1/threads", "id", threads, true},
		{"bob", "/v1/conversations/" + group + "/threads", "id", threads, true},
		// Ids of spaces do not increase.
		{"alice", "/v1/spaces", "id", slices.Sorted(slices.Values([]string{space, other})), false},
		{"alice", "/v1/spaces/" + space + "/channels", "id", channels, true},
		{"alice", "/v1/spaces/" + space + "/members", "user", []string{"alice", "bob", "carol"}, false},
		{"alice", "/v1/spaces/" + space + "/invitations", "user", []string{"dave", "eve"}, false},
		{"eve", "/v1/invitations", "space_id", slices.Sorted(slices.Values([]string{space, other})), false},
		{"alice", "/v1/conversations/" + group + "/lists/deny", "user", []string{"eve", "mallory"}, false},
		{"alice", "/v1/conversations/" + first + "/members", "user", []string{"alice", "bob", "carol"}, false},
	}
	for _, l := range lists {
		var got []string
		token := ""
		for range 10 {
			page := w.must(http.StatusOK, l.user, http.MethodGet, l.path+"?limit=1"+token, "")
			items := page["items"].([]any)
			if len(items) > 1 {
				t.Errorf("%s: %d items in a page of one", l.path, len(items))
			}
			for _, item := range items {
				got = append(got, item.(map[string]any)[l.key].(string))
			}
			next, more := page["next_page_token"].(string)
			if !more {
				break
			}
			token = "&page_token=" + next
			tokens[l.path] = next
		}
		if !l.ordered {
			slices.Sort(got)
		}
		if !reflect.DeepEqual(got, l.want) {
			t.Errorf("%s has %v, want %v", l.path, got, l.want)
		}
	}
	for _, l := range lists {
		for path, token := range tokens {
			if path == l.path {
				continue
			}
			if a := w.do(l.user, http.MethodGet, l.path+"?limit=1&page_token="+token, ""); a.status != http.StatusBadRequest || a.code(t) != "invalid_page_token" {
				t.Errorf("%s takes a token of %s: %d", l.path, path, a.status)
			}
		}
	}
}

// TestMentionAllIsShown checks that a message says that it mentions everyone only if it
// does.
func TestMentionAllIsShown(t *testing.T) {
	w := newWorld(t)
	group := w.group("alice", "bob")
	for body, want := range map[string]any{
		`{"type":"text","body":{"text":"x"},"mention_all":true}`:                                        true,
		`{"type":"location","body":{"latitude":1,"longitude":2},"mention_all":true,"mentions":["bob"]}`: true,
		`{"type":"custom","body":{"name":"x"},"mention_all":false}`:                                     nil,
		`{"type":"text","body":{"text":"x"}}`:                                                           nil,
	} {
		sent := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations/"+group+"/messages", body)
		read := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/messages/"+sent["id"].(string), "")
		if sent["mention_all"] != want || read["mention_all"] != want {
			t.Errorf("%s: sent %v, read %v, want %v", body, sent["mention_all"], read["mention_all"], want)
		}
	}
}

// TestEventsOfConversations checks which members events of conversations and spaces have.
func TestEventsOfConversations(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const conversation, space, thread, root, role im.ID = 1 << 40, 2 << 40, 3 << 40, 4 << 40, 5 << 40
	for name, c := range map[string]struct {
		event im.Event
		want  map[string]any
	}{
		"of a space": {
			im.Event{Type: im.SpaceUpdated, Conversation: space, Space: space, Actor: "alice"},
			map[string]any{"type": "space.updated", "space_id": space.String(), "actor": "alice"},
		},
		"of a member of a space": {
			im.Event{Type: im.MemberUpdated, Conversation: space, Space: space, User: "bob", Role: im.Member, MutedUntil: at, To: "bob"},
			map[string]any{"type": "member.updated", "space_id": space.String(), "user": "bob", "role": "member", "muted_until": "2026-01-02T03:04:05.000Z"},
		},
		"of a channel": {
			im.Event{Type: im.ChannelOpened, Conversation: conversation, Space: space, User: "bob", To: "bob"},
			map[string]any{"type": "channel.opened", "conversation_id": conversation.String(), "space_id": space.String(), "user": "bob"},
		},
		"of a thread": {
			im.Event{Type: im.ThreadUpdated, Conversation: conversation, Thread: thread, Root: root, Activity: &im.Activity{At: at}},
			map[string]any{
				"type": "thread.updated", "conversation_id": conversation.String(), "thread_id": thread.String(), "root_id": root.String(),
				"message_count": 0.0, "last_activity_at": "2026-01-02T03:04:05.000Z",
			},
		},
		"of a deleted thread": {
			im.Event{Type: im.ThreadDeleted, Conversation: conversation, Thread: thread, Root: root},
			map[string]any{"type": "thread.deleted", "conversation_id": conversation.String(), "thread_id": thread.String(), "root_id": root.String()},
		},
		"of a role": {
			im.Event{Type: im.RoleCreated, Conversation: space, Space: space, RoleID: role},
			map[string]any{"type": "role.created", "space_id": space.String(), "role_id": role.String()},
		},
		"of everyone's role": {
			im.Event{Type: im.RoleUpdated, Conversation: space, Space: space, RoleID: im.Everyone},
			map[string]any{"type": "role.updated", "space_id": space.String(), "role_id": "everyone"},
		},
		"of a message to all": {
			im.Event{Type: im.MessageRevoked, Conversation: conversation, MessageID: root, Seq: 7, MentionedAll: true},
			map[string]any{
				"type": "message.revoked", "conversation_id": conversation.String(), "message_id": root.String(), "seq": 7.0, "mention_all": true,
			},
		},
		"of a block": {
			im.Event{Type: im.BlockCreated, To: "alice", Actor: "alice", ActorDevice: "phone", User: "bob"},
			map[string]any{"type": "block.created", "actor": "alice", "actor_device": "phone", "user": "bob"},
		},
		"of a group": {
			im.Event{Type: im.ConversationUpdated, Conversation: conversation},
			map[string]any{"type": "conversation.updated", "conversation_id": conversation.String()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.event.At = at
			c.want["id"], c.want["at"] = "cursor", "2026-01-02T03:04:05.000Z"
			var got map[string]any
			if err := json.Unmarshal(handlers.AppendEvent(nil, &c.event, "cursor"), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("unexpected event (-want +got):\n%s", diff)
			}
			spec := contract()
			if err := spec.Components.Schemas["Event"].Value.VisitJSON(got); err != nil {
				t.Errorf("it does not fit the document: %v", err)
			}
		})
	}
}
