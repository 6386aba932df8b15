package im

// UserID names a user as the application's tokens do. imapi keeps no accounts:
// whoever a valid token names is a user.
type UserID string

// MaxUserID is the longest user id, in bytes.
const MaxUserID = 128

// Valid reports whether the id is 1 to 128 printable ASCII characters.
func (u UserID) Valid() bool {
	return printable(string(u), MaxUserID)
}

// MaxDeviceID is the longest device id, in bytes.
const MaxDeviceID = 128

// ValidDevice reports whether a device id is 1 to 128 printable ASCII
// characters.
func ValidDevice(device string) bool {
	return printable(device, MaxDeviceID)
}

// printable reports whether s is 1 to max characters from ' ' to '~'.
func printable(s string, max int) bool {
	if s == "" || len(s) > max {
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
