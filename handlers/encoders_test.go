package handlers

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

var (
	at          = time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600))
	fullMessage = im.Message{
		ID: 1 << 40, Conversation: 2 << 40, Seq: 42, Sender: `a"\<é>`, SenderDevice: "phone", ClientID: "c-1", Type: im.Custom,
		State: im.Active, ReplyTo: 3 << 40, Receipt: true, CreatedAt: at, ExpiresAt: at.Add(time.Hour),
		Burn: &im.Burn{After: 5 * time.Second, UnreadTTL: time.Minute, At: at},
		Content: &im.Content{
			Body: []byte(`{"data":[1E+2,null],"name":"<&>\u2028"}`), Ext: []byte(`{"a":{}}`),
			Mentions: []im.UserID{"bob", "語"}, MentionAll: true,
		},
	}
	tombstone = fullMessage.Tombstone(im.Erasure{
		State: im.Revoked, At: at, By: "root", Postscript: "line\nline\x01", Extension: []byte(`[{"b":null}]`),
	})
)

const (
	fullMessageJSON = `{"id":"0000100000000","conversation_id":"0000200000000","seq":42,"sender":"a\"\\<é>","sender_device":"phone",` +
		`"client_id":"c-1","type":"custom","body":{"data":[1E+2,null],"name":"<&>\u2028"},"ext":{"a":{}},"mentions":["bob","語"],` +
		`"mention_all":true,"reply_to":"0000300000000","receipt":true,"state":"active","created_at":"2026-01-02T02:04:05.678Z",` +
		`"expires_at":"2026-01-02T03:04:05.678Z","burn":{"after_seconds":5,"unread_ttl_seconds":60,"burn_at":"2026-01-02T02:04:05.678Z"},` +
		`"erased":null}`
	tombstoneJSON = `{"id":"0000100000000","conversation_id":"0000200000000","seq":42,"sender":"a\"\\<é>","sender_device":"phone",` +
		`"client_id":"c-1","type":"custom","body":null,"ext":null,"mentions":null,` +
		`"reply_to":"0000300000000","receipt":true,"state":"revoked","created_at":"2026-01-02T02:04:05.678Z",` +
		`"expires_at":"2026-01-02T03:04:05.678Z","burn":{"after_seconds":5,"unread_ttl_seconds":60,"burn_at":"2026-01-02T02:04:05.678Z"},` +
		`"erased":{"at":"2026-01-02T02:04:05.678Z","by":"root","postscript":"line\nline\u0001","extension":[{"b":null}]}}`
)

// TestEncoders compares the JSON that is written member by member with the expected JSON, and with
// the type that is generated from the OpenAPI document: decoded into that type and encoded again,
// the JSON is equivalent.
func TestEncoders(t *testing.T) {
	for _, test := range []struct {
		name string
		got  []byte
		into any
		want string
	}{
		{"message", appendMessage(nil, fullMessage), new(api.Message), fullMessageJSON},
		{"tombstone", appendMessage(nil, tombstone), new(api.Message), tombstoneJSON},
		{
			"plain message",
			appendMessage(nil, im.Message{
				ID: 1, Conversation: 1, Seq: 1, Sender: "a", Type: im.Text, State: im.Active, CreatedAt: at,
				Content: &im.Content{Body: []byte(`{"text":"hi"}`), Ext: []byte(`{}`)},
			}),
			new(api.Message),
			`{"id":"0000000000001","conversation_id":"0000000000001","seq":1,"sender":"a","sender_device":null,"client_id":null,` +
				`"type":"text","body":{"text":"hi"},"ext":{},"mentions":[],"reply_to":null,"receipt":false,"state":"active",` +
				`"created_at":"2026-01-02T02:04:05.678Z","expires_at":null,"burn":null,"erased":null}`,
		},
		{
			"hit",
			appendHit(nil, im.SearchHit{Message: tombstone, Snippet: []im.SnippetPart{{Text: "a"}, {Text: "b", Match: true}}}),
			new(api.Message),
			tombstoneJSON[:len(tombstoneJSON)-1] + `,"snippet":[{"text":"a","match":false},{"text":"b","match":true}]}`,
		},
		{
			"event with a message",
			AppendEvent(nil, &im.Event{
				Type: im.MessageCreated, At: at, Conversation: 2 << 40, MessageID: 1 << 40, Seq: 42, Actor: "a", ActorDevice: "d", Message: &fullMessage,
			}, "cur"),
			new(api.Event),
			`{"id":"cur","type":"message.created","at":"2026-01-02T02:04:05.678Z","conversation_id":"0000200000000","actor":"a","actor_device":"d",` +
				`"message_id":"0000100000000","seq":42,"sender":"a\"\\<é>","mentions":["bob","語"],"mention_all":true,"message":` + fullMessageJSON + `}`,
		},
		{
			"event with a tombstone",
			AppendEvent(nil, &im.Event{
				Type: im.MessageRevoked, At: at, Conversation: 2 << 40, Space: 5, MessageID: 1 << 40, Seq: 42, Actor: "root", Message: &tombstone,
				Mentioned: []im.UserID{"x"}, MentionedAll: true, Push: im.Push{Content: "p", Payload: []byte(`{"a":1}`)},
			}, "cur"),
			new(api.Event),
			`{"id":"cur","type":"message.revoked","at":"2026-01-02T02:04:05.678Z","conversation_id":"0000200000000","space_id":"0000000000005",` +
				`"actor":"root","message_id":"0000100000000","seq":42,"sender":"a\"\\<é>","mentions":["x"],"mention_all":true,"message":` + tombstoneJSON +
				`,"push_content":"p","push_payload":{"a":1}}`,
		},
		{
			"event with all the rest",
			AppendEvent(nil, &im.Event{
				Type: im.RoleUpdated, At: at, Conversation: 7, Space: 5, Thread: 6, Root: 8, RoleID: im.Everyone, Role: im.Admin, User: "u",
				MessageIDs: []im.ID{1, 2}, UpTo: 3, UpToSeq: 4, FirstSeq: 5, Before: at, BurnAt: at, MutedUntil: at,
				Activity: &im.Activity{At: at}, Unread: &im.UnreadCount{Messages: 1, Mentions: 2, More: true}, Own: &im.OwnSettings{Muted: true},
			}, "cur"),
			new(api.Event),
			`{"id":"cur","type":"role.updated","at":"2026-01-02T02:04:05.678Z","conversation_id":"0000000000007","space_id":"0000000000005",` +
				`"thread_id":"0000000000006","root_id":"0000000000008","user":"u","role":"admin","role_id":"everyone",` +
				`"message_ids":["0000000000001","0000000000002"],"up_to":"0000000000003","up_to_seq":4,"first_seq":5,` +
				`"before":"2026-01-02T02:04:05.678Z","burn_at":"2026-01-02T02:04:05.678Z","message_count":0,"last_activity_at":"2026-01-02T02:04:05.678Z",` +
				`"unread":1,"unread_more":true,"unread_mentions":2,"pinned":false,"muted":true,"muted_until":"2026-01-02T02:04:05.678Z"}`,
		},
		{
			"event of a space", AppendEvent(nil, &im.Event{Type: "reset", At: at, Conversation: 5, Space: 5}, "c"), new(api.Event),
			`{"id":"c","type":"reset","at":"2026-01-02T02:04:05.678Z","space_id":"0000000000005"}`,
		},
		{
			"thread",
			appendConversation(nil, im.ConversationView{
				Conversation: im.Conversation{
					ID: 1, Kind: im.Thread, Name: "t", Space: 2, Parent: 3, Root: 4, Creator: "c", MemberCount: 5, History: im.HistoryAll,
					FirstSeq: 6, CreatedAt: at, UpdatedAt: at, ActiveAt: at, Messages: 7, Join: im.JoinOpen, Invite: im.InviteByAdmins, MuteAll: true,
					RevokeWindow: new(time.Minute), RevokeOthersWindow: new(time.Duration), ExpireAfter: time.Hour, Retention: new(3 * day),
					Announcement: "<a>", Avatar: "b", SlowMode: time.Second,
				},
				LastMessage: &tombstone, Hidden: true, Unread: im.UnreadCount{Messages: 8, Mentions: 9, More: true},
			}),
			new(api.Conversation),
			`{"id":"0000000000001","kind":"thread","name":"t","space_id":"0000000000002","parent_id":"0000000000003","root_id":"0000000000004",` +
				`"visibility":null,"creator":"c","member_count":5,"role":null,"muted_until":null,"pinned":false,"muted":false,"hidden":true,` +
				`"unread":8,"unread_more":true,"unread_mentions":9,"first_seq":6,"last_activity_at":"2026-01-02T02:04:05.678Z","message_count":7,` +
				`"last_message":` + tombstoneJSON + `,"settings":{"history":"all","revoke_window_seconds":60,"revoke_others_window_seconds":0,` +
				`"expire_after_seconds":3600,"retention_days":3,"announcement":"<a>","avatar":"b","join":"open","invite":"admins","mute_all":true,` +
				`"slow_mode_seconds":1},"created_at":"2026-01-02T02:04:05.678Z","updated_at":"2026-01-02T02:04:05.678Z"}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if string(test.got) != test.want {
				t.Errorf("written as\n%s, want\n%s", test.got, test.want)
			}
			d := json.NewDecoder(bytes.NewReader(test.got))
			d.DisallowUnknownFields()
			if err := d.Decode(test.into); err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(test.into)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := decodedJSON(t, test.got), decodedJSON(t, again); !reflect.DeepEqual(got, want) {
				t.Errorf("written\n%s, the generated type has\n%s", test.got, again)
			}
		})
	}
}

func decodedJSON(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}
