package transfer

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

var created = time.Date(2025, 1, 2, 3, 4, 5, 678e6, time.UTC)

func encode(t testing.TB, l im.ExportLine) string {
	t.Helper()
	var b strings.Builder
	if err := NewEncoder(&b).Encode(l); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parse(t testing.TB, line string) Line {
	t.Helper()
	l, err := ParseLine([]byte(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return l
}

func TestMessageSurvivesExportAndImport(t *testing.T) {
	const id, conversation, quoted = im.ID(1 << 40), im.ID(2 << 40), im.ID(3 << 40)
	stored := func(change func(*im.Message)) im.Message {
		m := im.Message{
			ID: id, Conversation: conversation, Seq: 7, Sender: "alice", Type: im.Text, CreatedAt: created,
			Content: &im.Content{Body: json.RawMessage(`{"text":"<b> & \u2028"}`), Ext: json.RawMessage(`{}`)},
		}
		change(&m)
		return m
	}
	want := func(change func(*im.ImportMessage)) *im.ImportMessage {
		m := im.ImportMessage{
			ID: id.String(), Conversation: conversation.String(), Seq: 7, Sender: "alice", Type: im.Text,
			CreatedAt: created, Body: json.RawMessage(`{"text":"<b> & \u2028"}`),
		}
		change(&m)
		return &m
	}
	for name, c := range map[string]struct {
		stored im.Message
		want   *im.ImportMessage
	}{
		"text": {stored(func(*im.Message) {}), want(func(*im.ImportMessage) {})},
		"all members": {
			stored(func(m *im.Message) {
				m.SenderDevice, m.ClientID, m.Receipt, m.ReplyTo, m.VisibleTo = "phone", "c-1", true, quoted, "bob"
				m.ExpiresAt = created.Add(time.Hour)
				m.Burn = &im.Burn{After: 5 * time.Second, UnreadTTL: time.Hour, At: created.Add(time.Minute)}
				m.Content.Ext, m.Content.Mentions, m.Content.MentionAll = json.RawMessage(`{"a":[1,2.5]}`), []im.UserID{"bob"}, true
			}),
			want(func(m *im.ImportMessage) {
				m.SenderDevice, m.ClientID, m.Receipt, m.ReplyTo, m.VisibleTo = "phone", "c-1", true, quoted.String(), "bob"
				m.ExpiresAt = created.Add(time.Hour)
				m.Burn = &im.Burn{After: 5 * time.Second, UnreadTTL: time.Hour, At: created.Add(time.Minute)}
				m.Ext, m.Mentions, m.MentionAll = json.RawMessage(`{"a":[1,2.5]}`), []im.UserID{"bob"}, true
			}),
		},
		"revoked": {
			stored(func(m *im.Message) {
				m.Content = nil
				m.Erased = &im.Erasure{State: im.Revoked, At: created.Add(time.Hour), By: "bob", Postscript: "sorry", Extension: json.RawMessage(`{"x":1}`)}
			}),
			want(func(m *im.ImportMessage) {
				m.Body = nil
				m.Erased = &im.Erasure{State: im.Revoked, At: created.Add(time.Hour), By: "bob", Postscript: "sorry", Extension: json.RawMessage(`{"x":1}`)}
			}),
		},
		"expired": {
			stored(func(m *im.Message) {
				m.Content, m.Erased = nil, &im.Erasure{State: im.Expired, At: created.Add(time.Hour)}
			}),
			want(func(m *im.ImportMessage) {
				m.Body, m.Erased = nil, &im.Erasure{State: im.Expired, At: created.Add(time.Hour)}
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			line := encode(t, im.ExportLine{Message: &c.stored})
			if diff := cmp.Diff(Line{Message: c.want}, parse(t, line)); diff != "" {
				t.Errorf("%s is read as (-want +got):\n%s", line, diff)
			}
		})
	}
}

func TestConversationSurvivesExportAndImport(t *testing.T) {
	const id = im.ID(1 << 40)
	week, none := new(7*day), new(time.Duration)
	for name, c := range map[string]struct {
		stored  im.Conversation
		members []im.Membership
		want    im.ImportConversation
	}{
		"direct": {
			stored: im.Conversation{ID: id, Kind: im.Direct, History: im.HistoryAll, CreatedAt: created},
			members: []im.Membership{
				{User: "alice", Role: im.Member, JoinedAt: created, Intervals: im.Stays{{FromEvent: 1, FromSeq: 1}}},
			},
			want: im.ImportConversation{
				ID: id.String(), Kind: im.Direct, CreatedAt: created,
				Settings: im.ConversationPatch{History: new(im.HistoryAll)},
				Members:  []im.ImportMember{{User: "alice", Role: im.Member, JoinedAt: created, Stays: []im.SeqRange{{From: 1, To: im.Lasts}}}},
			},
		},
		"direct with settings that only other kinds have": {
			stored: im.Conversation{
				ID: id, Kind: im.Direct, History: im.HistoryAll, CreatedAt: created, ExpireAfter: time.Hour, Retention: week,
				RevokeWindow: none, SlowMode: time.Minute, Announcement: "news", Avatar: "https://a/b", Join: im.JoinOpen, MuteAll: true,
			},
			want: im.ImportConversation{
				ID: id.String(), Kind: im.Direct, CreatedAt: created, Members: []im.ImportMember{},
				Settings: im.ConversationPatch{History: new(im.HistoryAll), ExpireAfter: new(time.Hour), Retention: &week},
			},
		},
		"group with settings and a former member": {
			stored: im.Conversation{
				ID: id, Kind: im.Group, Name: "Team", History: im.HistoryJoined, CreatedAt: created,
				RevokeWindow: none, RevokeOthersWindow: week, ExpireAfter: time.Hour, Retention: week, SlowMode: time.Minute,
				Announcement: "news", Avatar: "https://a/b", Join: im.JoinOpen, Invite: im.InviteByMembers, MuteAll: true,
			},
			members: []im.Membership{{
				User: "bob", Role: im.Member, JoinedAt: created,
				Intervals: im.Stays{{FromEvent: 1, ToEvent: 5, FromSeq: 1, ToSeq: 3}, {FromEvent: 9, ToEvent: 11, FromSeq: 6, ToSeq: 5, Left: true}},
			}},
			want: im.ImportConversation{
				ID: id.String(), Kind: im.Group, Name: "Team", CreatedAt: created,
				Settings: im.ConversationPatch{
					History: new(im.HistoryJoined), RevokeWindow: &none, RevokeOthersWindow: &week, ExpireAfter: new(time.Hour), Retention: &week,
					SlowMode: new(time.Minute), Announcement: new("news"), Avatar: new("https://a/b"), Join: new(im.JoinOpen),
					Invite: new(im.InviteByMembers), MuteAll: new(true),
				},
				Members: []im.ImportMember{{User: "bob", Left: true, Stays: []im.SeqRange{{From: 1, To: 3}, {From: 6, To: 5}}}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			line := encode(t, im.ExportLine{Conversation: &c.stored, Members: c.members})
			if diff := cmp.Diff(Line{Conversation: &c.want}, parse(t, line)); diff != "" {
				t.Errorf("%s is read as (-want +got):\n%s", line, diff)
			}
		})
	}
}

// A refusal names the member at fault. The tables in package handlers have further refusals.
func TestParseLineRefusals(t *testing.T) {
	for name, c := range map[string]struct{ line, code, field string }{
		"empty":                    {"", "malformed_json", ""},
		"two members of one name":  {`{"id":"a","id":"a"}`, "malformed_json", ""},
		"an array":                 {"[]", "invalid_request", "body"},
		"no time":                  {`{"conversation_id":"@bob","sender":"a","type":"text"}`, "invalid_request", "created_at"},
		"a time with a comma":      {`{"created_at":"2025-01-02T03:04:05,678Z"}`, "invalid_request", "created_at"},
		"a long unknown name":      {`{"` + strings.Repeat("x", 200) + `":1}`, "invalid_request", strings.Repeat("x", 128)},
		"a stay without a start":   {`{"conversation":{"members":[{"user":"a"},{"user":"b","stays":[{"to_seq":1}]}]}}`, "invalid_request", "conversation/members/1/stays/0/from_seq"},
		"a member of another line": {`{"conversation":{},"sender":"a"}`, "invalid_request", "sender"},
		"a conversation as second": {`{"sender":"a","conversation":{}}`, "invalid_request", "conversation"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseLine([]byte(c.line))
			refusal, ok := im.AsError(err)
			if !ok || refusal.Code != c.code || refusal.Field != c.field {
				t.Errorf("got %v of %q, want %s of %q", err, refusal.Field, c.code, c.field)
			}
		})
	}
}

// sameJSON compares JSON, ignoring white space.
var sameJSON = cmp.Transformer("compact", func(v json.RawMessage) string {
	var b bytes.Buffer
	_ = json.Compact(&b, v)
	return b.String()
})

// FuzzParseLine checks that every line is parsed or refused, and that the result does not depend on
// white space.
func FuzzParseLine(f *testing.F) {
	const head = `{"conversation_id":"@bob","sender":"alice","type":"text","body":{"text":"hi"},"created_at":"2025-01-02T03:04:05Z"`
	for _, line := range []string{
		head + `}`, head + `,"burn":{"after_seconds":5,"burn_at":null},"mentions":["bob"],"ext":{"a":[1,2.5]}}`,
		head + `,"state":"revoked","erased":{"at":"2025-01-02T04:00:00Z","postscript":"p","extension":null}}`,
		`{"conversation":{"id":"a","kind":"group","settings":{"retention_days":3,"join":"open"},"members":[{"user":"a","role":null,"stays":[{"from_seq":1}]}],"created_at":"2025-01-02T03:04:05Z"}}`,
		`{"`, `[]`, `{"seq":1e400}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		got, err := ParseLine(line)
		if err != nil {
			if refusal, ok := im.AsError(err); !ok || refusal.Kind != im.Invalid {
				t.Errorf("%v is not a refusal of kind Invalid", err)
			}
			return
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, line); err != nil {
			t.Fatalf("%q was parsed and is not JSON: %v", line, err)
		}
		again, err := ParseLine(compact.Bytes())
		if err != nil {
			t.Fatalf("%q is refused without white space: %v", line, err)
		}
		if diff := cmp.Diff(got, again, sameJSON); diff != "" {
			t.Errorf("%q is parsed differently without white space:\n%s", line, diff)
		}
	})
}
