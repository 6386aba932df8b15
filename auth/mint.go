package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/im"
)

// Grant says what a token that is minted stands for.
type Grant struct {
	User im.UserID
	// Device binds the token to a device; "" leaves it to the client.
	Device string
	// Admin gives the rights of administration.
	Admin bool
	// TTL is how long the token is good for: a second or more.
	TTL time.Duration
	// Issuer and Audience are those that the server demands; "" if none.
	Issuer   string
	Audience string
}

// Mint signs a token with the secret of a server whose algorithm is HS256. It
// is issued at the whole second of now.
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
		return "", errors.New("auth: a token must be good for a second at least")
	case issued.Add(g.TTL).Unix() > latest:
		return "", errors.New("auth: a token cannot be good for that long")
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
