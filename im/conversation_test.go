package im_test

import (
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

func TestParseConversationRef(t *testing.T) {
	id := im.ID(1 << 50)
	long := strings.Repeat("x", 128)
	for _, test := range []struct {
		text string
		want im.ConversationRef
		ok   bool
	}{
		{id.String(), im.ConversationRef{ID: id}, true},
		{"@bob", im.ConversationRef{Peer: "bob"}, true},
		{"@@bob", im.ConversationRef{Peer: "@bob"}, true},
		{"@" + id.String(), im.ConversationRef{Peer: im.UserID(id.String())}, true},
		{"@a b/c", im.ConversationRef{Peer: "a b/c"}, true},
		{"@" + long, im.ConversationRef{Peer: im.UserID(long)}, true},
		{"@" + long + "x", im.ConversationRef{}, false},
		{"", im.ConversationRef{}, false},
		{"@", im.ConversationRef{}, false},
		{"@\x00", im.ConversationRef{}, false},
		{"@bób", im.ConversationRef{Peer: "bób"}, true},
		{"@bo\u0301b", im.ConversationRef{}, false},
		{"@..", im.ConversationRef{}, false},
		{"bob", im.ConversationRef{}, false},
		{" @bob", im.ConversationRef{}, false},
		{"0000000000000", im.ConversationRef{}, false},
		{strings.ToUpper(im.ID(31).String()), im.ConversationRef{}, false},
	} {
		got, err := im.ParseConversationRef(test.text)
		want := "ok"
		if !test.ok {
			want = "404 conversation_not_found"
		}
		if answer(err) != want || test.ok && got != test.want {
			t.Errorf("%q names %+v, %s, want %+v, %s", test.text, got, answer(err), test.want, want)
		}
	}
}

// TestRequestedIDs checks that a text that is no id is refused like an id that nothing has.
func TestRequestedIDs(t *testing.T) {
	for code, parse := range map[string]func(string) (im.ID, error){
		"conversation_not_found": im.ParseConversationID,
		"space_not_found":        im.ParseSpaceID,
		"role_not_found":         im.ParseRoleID,
		"message_not_found":      im.ParseMessageID,
		"attachment_not_found":   im.ParseAttachmentID,
		"webhook_not_found":      im.ParseWebhookID,
	} {
		id := im.ID(1<<50 | 31)
		if got, err := parse(id.String()); err != nil || got != id {
			t.Errorf("%s is read as %s, %v", id, got, err)
		}
		for _, text := range []string{"", "x", "@bob", strings.ToUpper(id.String()), id.String() + "0", "0000000000000"} {
			if _, err := parse(text); answer(err) != "404 "+code {
				t.Errorf("%q is answered %s, want 404 %s", text, answer(err), code)
			}
		}
	}
}

func FuzzParseConversationRef(f *testing.F) {
	for _, s := range []string{"", "@", "@bob", "@@", "0000000000001", "7vvvvvvvvvvvv", "@\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := im.ParseConversationRef(s)
		if err != nil {
			return
		}
		back := "@" + string(ref.Peer)
		if ref.Peer == "" {
			back = ref.ID.String()
		}
		if (ref.ID == 0) == (ref.Peer == "") {
			t.Errorf("%q names both or neither: %+v", s, ref)
		}
		if back != s {
			t.Errorf("%q names %+v, which is written %q", s, ref, back)
		}
		if ref.Peer != "" && !ref.Peer.Valid() {
			t.Errorf("%q names the peer %q, which is not a user id", s, ref.Peer)
		}
	})
}

func TestPeers(t *testing.T) {
	for _, test := range []struct {
		a, b im.UserID
		want [2]im.UserID
	}{
		{"alice", "bob", [2]im.UserID{"alice", "bob"}},
		{"bob", "alice", [2]im.UserID{"alice", "bob"}},
		{"Bob", "alice", [2]im.UserID{"Bob", "alice"}},
		{"a", "aa", [2]im.UserID{"a", "aa"}},
		{"9", "10", [2]im.UserID{"10", "9"}},
	} {
		if got := im.PeersOf(test.a, test.b); got != test.want {
			t.Errorf("the peers of %s and %s: %v, want %v", test.a, test.b, got, test.want)
		}
		direct := im.Conversation{Kind: im.Direct, Peers: test.want}
		if got := direct.Peer(test.a); got != test.b {
			t.Errorf("the peer of %s in %v is %q, want %q", test.a, test.want, got, test.b)
		}
		if got := direct.Peer(test.b); got != test.a {
			t.Errorf("the peer of %s in %v is %q, want %q", test.b, test.want, got, test.a)
		}
	}
	if got := (im.Conversation{Kind: im.Group}).Peer("alice"); got != "" {
		t.Errorf("a group has the peer %q", got)
	}
}

// TestStoredNumbersAndNames pins the numbers in the database and the names in the contract,
// which must not change.
func TestStoredNumbersAndNames(t *testing.T) {
	holdName(t, im.Direct, 1, "direct", im.ParseKind)
	holdName(t, im.Group, 2, "group", im.ParseKind)
	holdName(t, im.Member, 1, "member", im.ParseRole)
	holdName(t, im.Admin, 2, "admin", im.ParseRole)
	holdName(t, im.Owner, 3, "owner", im.ParseRole)
	holdName(t, im.HistoryJoined, 1, "joined", im.ParseHistory)
	holdName(t, im.HistoryAll, 2, "all", im.ParseHistory)
	holdName(t, im.Text, 1, "text", im.ParseMessageType)
	holdName(t, im.Location, 7, "location", im.ParseMessageType)
	holdName(t, im.Custom, 9, "custom", im.ParseMessageType)
	if im.Active != 1 || im.Active.String() != "active" {
		t.Errorf("active is %d %q", im.Active, im.Active)
	}
}

func holdName[T interface {
	~uint8
	String() string
}](t *testing.T, v T, number uint8, name string, parse func(string) (T, bool),
) {
	t.Helper()
	if uint8(v) != number || v.String() != name {
		t.Errorf("%s is stored as %d under the name %q, want %d", name, uint8(v), v.String(), number)
	}
	if got, ok := parse(name); !ok || got != v {
		t.Errorf("%q reads as %d, %t", name, uint8(got), ok)
	}
	for _, wrong := range []string{"", strings.ToUpper(name), name + " ", "@" + name} {
		if got, ok := parse(wrong); ok || got != 0 {
			t.Errorf("%q reads as %d, %t", wrong, uint8(got), ok)
		}
	}
}
