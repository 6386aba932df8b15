package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/testsize"
)

// destroy deletes a conversation for everyone.
func (sc *scene) destroy(conversations ...string) {
	sc.t.Helper()
	for _, conversation := range conversations {
		sc.call(http.MethodDelete, "alice", "/v1/conversations/"+conversation+"?scope=everyone", "")
	}
}

// ways are the ways in which a message is erased, trimmed or purged.
var ways = map[string]func(sc *scene, m marker){
	"revoked": func(sc *scene, m marker) {
		id := sc.send(sc.direct, m, "")
		sc.post("alice", "/v1/messages/"+id+"/revoke", `{"postscript":"sorry"}`)
	},
	"revoked without a body in a group by its owner": func(sc *scene, m marker) {
		id := sc.send(sc.group, m, "")
		sc.post("alice", "/v1/messages/"+id+"/revoke", "")
	},
	"revoked with others": func(sc *scene, m marker) {
		ids, err := json.Marshal([]string{sc.send(sc.group, m, ""), sc.send(sc.direct, m, "")})
		if err != nil {
			sc.t.Fatal(err)
		}
		sc.post("root", "/v1/messages/revoke", `{"ids":`+string(ids)+`}`)
	},
	"burned by request": func(sc *scene, m marker) {
		id := sc.send(sc.direct, m, `,"burn":{"after_seconds":60}`)
		sc.post("bob", "/v1/messages/"+id+"/burn", "")
	},
	"burned by reading": func(sc *scene, m marker) {
		id := sc.send(sc.direct, m, `,"burn":{"after_seconds":0}`)
		sc.post("bob", "/v1/conversations/"+sc.direct+"/receipts", `{"kind":"read","up_to":"`+id+`"}`)
	},
	"burned by the clock": func(sc *scene, m marker) {
		id := sc.send(sc.direct, m, `,"burn":{"after_seconds":1}`)
		sc.post("bob", "/v1/conversations/"+sc.direct+"/receipts", `{"kind":"read","message_ids":["`+id+`"]}`)
		sc.waitState(id, "burned")
	},
	"burned unread": func(sc *scene, m marker) {
		sc.waitState(sc.send(sc.direct, m, `,"burn":{"after_seconds":9,"unread_ttl_seconds":1}`), "burned")
	},
	"deleted with its conversation": func(sc *scene, m marker) {
		sc.send(sc.direct, m, "")
		sc.call(http.MethodDelete, "bob", "/v1/conversations/@alice?scope=everyone", "")
		// A new conversation is created then, and requests for the old one get 404.
		sc.post("bob", "/v1/conversations/@alice/messages", `{"type":"text","body":{"text":"anew"}}`)
	},
	"past retention": func(sc *scene, m marker) {
		sc.insert(m, sc.group, "", time.Now().Add(-48*time.Hour))
		sc.call(http.MethodPatch, "alice", "/v1/conversations/"+sc.group, `{"settings":{"retention_days":1}}`)
	},
	"a notice for one, revoked": func(sc *scene, m marker) {
		id := sc.insert(m, sc.group, `,"visible_to":"bob"`, time.Now().Add(-time.Hour))
		sc.post("root", "/v1/messages/"+id+"/revoke", "")
	},
	"a command, and revoked after an admin sent it": func(sc *scene, m marker) {
		for _, conversation := range append(sc.conversations(), sc.direct, sc.group) {
			sc.post("alice", "/v1/conversations/"+conversation+"/messages",
				fmt.Sprintf(`{"type":"command","client_id":"%[1]s","body":{"action":"%[1]s","params":{"%[1]s":["%[1]s"]}}}`, m.text))
		}
		sc.inNoFile(m)
		sent := sc.post("root", "/v1/admin/messages", fmt.Sprintf(`{"as":"carol","to":["@alice",%q],"message":`+
			`{"type":"text","body":{"text":"%[2]s"},"ext":{"%[2]s":["%[2]s"]},"push":{"title":"%[2]s"}}}`, sc.group, m.text))
		sc.inNoFile(m)
		for _, item := range sent["items"].([]any) {
			id := item.(map[string]any)["message"].(map[string]any)["id"].(string)
			sc.ids["message"] = append(sc.ids["message"], id)
			sc.post("root", "/v1/messages/"+id+"/revoke", "")
		}
	},
	"expired": func(sc *scene, m marker) {
		sc.waitState(sc.send(sc.group, m, `,"expire_after_seconds":1`), "expired")
	},
	"revoked and deleted in every conversation": func(sc *scene, m marker) {
		for _, id := range sc.sendAll(m, "") {
			sc.post("alice", "/v1/messages/"+id+"/revoke", `{"postscript":"sorry"}`)
		}
		for _, id := range sc.sendAll(m, `,"mention_all":true`) {
			sc.call(http.MethodDelete, "alice", "/v1/messages/"+id, "")
		}
		for _, conversation := range sc.conversations() {
			id := sc.insert(m, conversation, `,"visible_to":"bob"`, time.Now().Add(-time.Hour))
			sc.call(http.MethodDelete, "root", "/v1/messages/"+id, "")
		}
		// The thread under a message outlives the message.
		for _, conversation := range []string{sc.group, sc.channel, sc.den} {
			id := sc.send(conversation, m, "")
			thread := sc.post("alice", "/v1/messages/"+id+"/thread", `{"name":"below"}`)["id"].(string)
			sc.ids["conversation"] = append(sc.ids["conversation"], thread)
			sc.post("alice", "/v1/messages/"+id+"/revoke", "")
		}
	},
	"expired in every conversation": func(sc *scene, m marker) {
		for _, id := range sc.sendAll(m, `,"expire_after_seconds":1`) {
			sc.waitState(id, "expired")
		}
	},
	"past retention in every conversation": func(sc *scene, m marker) {
		sc.age(m, []string{sc.room, sc.thread}, sc.room, sc.group)
		sc.age(m, []string{sc.channel, sc.den, sc.nested}, sc.channel, sc.den)
	},
	"a picture, revoked": func(sc *scene, m marker) {
		sc.post("alice", "/v1/messages/"+sc.sendPicture(sc.direct, &m)+"/revoke", "")
	},
	"a picture, deleted with its conversation": func(sc *scene, m marker) {
		sc.sendPicture(sc.room, &m)
		sc.destroy(sc.room)
	},
	"deleted with their parent": func(sc *scene, m marker) {
		send := func(conversations ...string) {
			for _, conversation := range conversations {
				sc.send(conversation, m, "")
			}
		}
		send(sc.thread, sc.nested)
		sc.destroy(sc.thread, sc.nested)
		// New conversations are created after each, and requests for the old ones get 404.
		sc.build()
		send(sc.room, sc.thread, sc.channel, sc.den, sc.nested)
		sc.destroy(sc.room, sc.group)
		sc.destroy(sc.channel, sc.den)
		sc.found()
		sc.build()
		space := sc.space
		send(sc.channel, sc.den, sc.nested)
		sc.build()
		sc.call(http.MethodDelete, "alice", "/v1/spaces/"+space, "")
	},
}

// TestNothingLeaks erases, trims or purges a message in each way and then searches for it
// everywhere: in every GET of the OpenAPI document as every member, as a stranger, as an admin and
// without a token, in the whole log as pages and as a stream, in the server's output and in its
// files.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	// A short run skips these, because other ways do the same in every conversation, or with the
	// same code.
	long := []string{"revoked", "revoked with others", "burned by request", "burned by the clock", "past retention", "expired"}
	for way, takeBack := range ways {
		t.Run(way, func(t *testing.T) {
			if testing.Short() && slices.Contains(long, way) {
				t.Skip("make test-all runs it")
			}
			t.Parallel()
			sc := newScene(t)
			m := newMarker()
			takeBack(sc, m)
			if found := sc.leaks(m); len(found) > 0 {
				t.Errorf("found in:\n%s", strings.Join(found, "\n"))
			}
		})
	}
}

// TestNothingLeaksAfterACrash kills the server right after the answer.
func TestNothingLeaksAfterACrash(t *testing.T) {
	t.Parallel()
	all := []string{
		"revoked", "deleted with their parent", "burned by request", "burned by reading", "revoked and deleted in every conversation",
	}
	for _, way := range all[:testsize.Pick(len(all), 2)] {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			sc := newScene(t)
			m := newMarker()
			ways[way](sc, m)
			sc.server.kill()
			sc.inNoFile(m)
			sc.server.start()
			if found := sc.leaks(m); len(found) > 0 {
				t.Errorf("found in:\n%s", strings.Join(found, "\n"))
			}
		})
	}
}
