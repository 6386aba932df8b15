package im_test

import (
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

func TestUserAndDeviceIDs(t *testing.T) {
	for _, test := range []struct {
		id   string
		want bool
	}{
		{"", false},
		{"a", true},
		{" ", true},
		{"~", true},
		{"alice@example.org", true},
		{"@bob", true},
		{"a/b?c#d%2F", true},
		{strings.Repeat("x", 128), true},
		{strings.Repeat("x", 129), false},
		{"\x1f", false},
		{"\x7f", false},
		{"a\x00b", false},
		{"a\n", false},
		{"\tb", false},
		{"é", false},
		{"王", false},
		{"\xff", false},
		{"a\u200b", false},
	} {
		if got := im.UserID(test.id).Valid(); got != test.want {
			t.Errorf("the user id %q: valid %t, want %t", test.id, got, test.want)
		}
		if got := im.ValidDevice(test.id); got != test.want {
			t.Errorf("the device %q: valid %t, want %t", test.id, got, test.want)
		}
	}
}

// Every byte alone: printable ASCII and nothing else.
func TestUserIDCharacters(t *testing.T) {
	for b := range 256 {
		want := b >= 0x20 && b <= 0x7e
		if got := im.UserID([]byte{byte(b)}).Valid(); got != want {
			t.Errorf("byte %#x: valid %t, want %t", b, got, want)
		}
	}
}

func TestActedHere(t *testing.T) {
	for _, test := range []struct {
		me     im.Actor
		actor  im.UserID
		device string
		want   bool
	}{
		{im.Actor{User: "alice", Device: "phone"}, "alice", "phone", true},
		{im.Actor{User: "alice", Device: "phone"}, "alice", "laptop", false},
		{im.Actor{User: "alice", Device: "phone"}, "alice", "", false},
		{im.Actor{User: "alice"}, "alice", "phone", false},
		{im.Actor{User: "alice"}, "alice", "", false},
		{im.Actor{User: "bob", Device: "phone"}, "alice", "phone", false},
	} {
		if got := test.me.ActedHere(test.actor, test.device); got != test.want {
			t.Errorf("%+v told of %s on %q: acted here %t, want %t", test.me, test.actor, test.device, got, test.want)
		}
	}
}
