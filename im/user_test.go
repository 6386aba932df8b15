package im_test

import (
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

func TestUserAndDeviceIDs(t *testing.T) {
	for _, test := range []struct {
		id           string
		user, device bool
	}{
		{"", false, false},
		{"a", true, true},
		{" ", true, true},
		{"~", true, true},
		{"alice@example.org", true, true},
		{"@bob", true, true},
		{"a/b?c#d%2F", true, true},
		{strings.Repeat("x", 128), true, true},
		{strings.Repeat("x", 129), false, false},
		{".", false, true},
		{"..", false, true},
		{"...", true, true},
		{"\x1f", false, false},
		{"\x7f", false, false},
		{"a\x00b", false, false},
		{"a\n", false, false},
		{"\tb", false, false},
		{"é", true, false},
		{"e\u0301", false, false}, // decomposed
		{"王", true, false},
		{"\uf900", false, false}, // a compatibility ideograph, which normal form C replaces by another
		{"가", true, false},
		{"\u1100\u1161", false, false}, // its parts
		{"ن\u064e", true, false},       // a mark after its letter
		{"\u0301e", false, false},      // a mark without a letter
		{"😀", true, false},
		{strings.Repeat("王", 42), true, false},
		{strings.Repeat("王", 43), false, false}, // 129 bytes
		{"\xff", false, false},
		{"\xed\xa0\x80", false, false}, // half a surrogate pair
		{"\ufffd", false, false},
		{"a\u200b", false, false}, // invisible
		{"a\u200e", false, false},
		{"a\u202eb", false, false}, // reverses what follows
		{"a\u00a0b", false, false},
		{"a\u3000b", false, false},
		{"\ufeffa", false, false},
		{"\u2028", false, false},
		{"\u0085", false, false},
		{"\ue000", false, false},     // private use
		{"\U000e0041", false, false}, // a tag
		{"\u0378", false, false},     // not assigned
	} {
		if got := im.UserID(test.id).Valid(); got != test.user {
			t.Errorf("the user id %q: valid %t, want %t", test.id, got, test.user)
		}
		if got := im.ValidDevice(test.id); got != test.device {
			t.Errorf("the device %q: valid %t, want %t", test.id, got, test.device)
		}
	}
}

// TestUserIDCharacters checks every single byte: printable ASCII without the dot is valid.
func TestUserIDCharacters(t *testing.T) {
	for b := range 256 {
		want := b >= 0x20 && b <= 0x7e && b != '.'
		if got := im.UserID([]byte{byte(b)}).Valid(); got != want {
			t.Errorf("byte %#x: valid %t, want %t", b, got, want)
		}
	}
}

func TestActedHere(t *testing.T) {
	for name, test := range map[string]struct {
		me     im.Actor
		actor  im.UserID
		device string
		want   bool
	}{
		"same device":                       {im.Actor{User: "alice", Device: "phone"}, "alice", "phone", true},
		"another device":                    {im.Actor{User: "alice", Device: "phone"}, "alice", "laptop", false},
		"no device acted":                   {im.Actor{User: "alice", Device: "phone"}, "alice", "", false},
		"on no device":                      {im.Actor{User: "alice"}, "alice", "phone", false},
		"neither has a device":              {im.Actor{User: "alice"}, "alice", "", false},
		"another user, same name of device": {im.Actor{User: "bob", Device: "phone"}, "alice", "phone", false},
	} {
		if got := test.me.ActedHere(test.actor, test.device); got != test.want {
			t.Errorf("%s: acted here %t, want %t", name, got, test.want)
		}
	}
}
