package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/im"
)

// Grant is the content of a token to mint.
type Grant struct {
	User im.UserID
	// Device binds the token to a device; "" lets the client choose.
	Device string
	// Admin makes the user a server admin.
	Admin bool
	// TTL is the lifetime of the token, at least a second.
	TTL time.Duration
	// Issuer and Audience must be those that the server requires; "" if it requires
	// none.
	Issuer   string
	Audience string
}

// Mint returns a token signed by HS256 with the secret. Its iat is now, truncated to a
// second.
func Mint(secret []byte, g Grant, now time.Time) (string, error) {
	issued := now.Truncate(time.Second)
	switch {
	case len(secret) < MinSecret:
		return "", fmt.Errorf("auth: the secret must have at least %d bytes", MinSecret)
	case !g.User.Valid():
		return "", fmt.Errorf("auth: a user id is %s", im.UserIDRule)
	case g.Device != "" && !im.ValidDevice(g.Device):
		return "", fmt.Errorf("auth: a device id is 1 to %d printable ASCII characters", im.MaxDeviceID)
	case g.TTL < time.Second:
		return "", errors.New("auth: the lifetime of a token must be at least a second")
	case issued.Add(g.TTL).Unix() > latest:
		return "", errors.New("auth: the lifetime of the token is too long")
	}
	claims := jwt.MapClaims{
		"sub": string(g.User),
		"iat": issued.Unix(),
		"exp": issued.Add(g.TTL).Unix(),
	}
	if g.Device != "" {
		claims["device"] = g.Device
	}
	if g.Admin {
		claims["scope"] = scopeAdmin
	}
	if g.Issuer != "" {
		claims["iss"] = g.Issuer
	}
	if g.Audience != "" {
		claims["aud"] = g.Audience
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("auth: the token could not be signed: %w", err)
	}
	return token, nil
}
