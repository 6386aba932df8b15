package im

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// UserID names a user as the application's tokens do. imapi keeps no accounts:
// whoever a valid token names is a user.
type UserID string

// MaxUserID is the longest user id, in bytes.
const MaxUserID = 128

// UserIDRule says in words what [UserID.Valid] demands.
const UserIDRule = "1 to 128 bytes of printable characters in UTF-8 and Unicode's normal form C, and not . or .."

// Valid reports whether this can be a user id: 1 to 128 bytes of UTF-8 in normal form
// C, of characters that print. Two ids that look the same because one is composed and
// the other is not would be two users, and so would those that differ in what nobody
// sees; "." and ".." are taken out of paths by browsers before they ask.
func (u UserID) Valid() bool {
	if u == "." || u == ".." {
		return false
	}
	if printable(string(u), MaxUserID) {
		return true
	}
	if u == "" || len(u) > MaxUserID || !norm.NFC.IsNormalString(string(u)) {
		return false
	}
	for i, r := range string(u) {
		switch {
		case !unicode.IsPrint(r):
			return false
		case r == utf8.RuneError: // of bytes that are no UTF-8, or what a decoder made of them
			return false
		case i == 0 && unicode.Is(unicode.M, r): // it would stand on the @ before it
			return false
		}
	}
	return true
}

// MaxDeviceID is the longest device id, in bytes.
const MaxDeviceID = 128

// ValidDevice reports whether a device id is 1 to 128 printable ASCII
// characters.
func ValidDevice(device string) bool {
	return printable(device, MaxDeviceID)
}

// printable reports whether s is 1 to most characters from ' ' to '~'.
func printable(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Actor is who asks: a user, by a device if it named itself, perhaps with the
// rights of the application's own administration.
type Actor struct {
	User   UserID
	Device string
	Admin  bool
}

// ActedHere reports whether an event with this actor and device was caused by
// the very device a, which knows of it from the answer and is not told again.
func (a Actor) ActedHere(actor UserID, device string) bool {
	return a.Device != "" && a.Device == device && a.User == actor
}
