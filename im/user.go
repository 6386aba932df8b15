package im

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// UserID is the subject of the application's tokens. imapi keeps no accounts: every subject
// of a valid token is a user.
type UserID string

// MaxUserID is the maximum length of a user id, in bytes.
const MaxUserID = 128

// UserIDRule describes what [UserID.Valid] accepts.
const UserIDRule = "1 to 128 bytes of printable UTF-8 in Unicode's normal form C that do not begin with a combining mark, and not . or .."

// Valid reports whether the id is valid: 1 to 128 bytes of printable UTF-8 in normal form C that
// do not begin with a combining mark. Without the normal form, or with invisible characters, two
// ids could look the same. "." and ".." are invalid because browsers resolve them in paths.
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
		case r == utf8.RuneError: // invalid UTF-8, or a decoder's replacement for it
			return false
		case i == 0 && unicode.Is(unicode.M, r): // it would combine with the @ of a reference such as @user
			return false
		}
	}
	return true
}

// MaxDeviceID is the maximum length of a device id, in bytes.
const MaxDeviceID = 128

// ValidDevice reports whether a device id is 1 to 128 printable ASCII characters.
func ValidDevice(device string) bool {
	return printable(device, MaxDeviceID)
}

// printable reports whether s is 1 to most characters from ' ' to '~'.
func printable(s string, most int) bool { //nolint:unparam // both limits happen to be equal
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

// Actor is the user who makes a request, with their device if the token or the request names
// it. Admin is set for tokens with the scope admin.
type Actor struct {
	User   UserID
	Device string
	Admin  bool
}

// ActedHere reports whether this device caused an event. It does not receive the event, because it
// knows the result from the answer.
func (a Actor) ActedHere(actor UserID, device string) bool {
	return a.Device != "" && a.Device == device && a.User == actor
}
