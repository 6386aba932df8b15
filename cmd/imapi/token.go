package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

// secretFile holds the HS256 secret, in the data directory.
const secretFile = "token.secret"

// token prints a token that a server with the same data directory takes. It
// works before the server's first start, too: whoever comes first makes the
// secret.
func token(_ context.Context, args []string, out, diag io.Writer) error {
	f := newFlags("token", "Print a token for a user, signed with the secret in the data directory.\nAn application signs its own with that secret, or with a key of its own.", diag)
	var (
		data     = f.String("data", "./data", "`directory` of the server's data")
		user     = f.String("user", "", "`id` of the user, 1 to 128 printable ASCII characters")
		device   = f.String("device", "", "`id` of the device that the token is for; without it a client may name one")
		admin    = f.Bool("admin", false, "let the token do what admins do")
		ttl      = f.Duration("ttl", 24*time.Hour, "`time` until it ends")
		issuer   = f.String("auth-issuer", "", "the `iss` that the server demands")
		audience = f.String("auth-audience", "", "the `aud` that the server demands")
	)
	if err := f.parse(args); err != nil {
		return err
	}
	switch {
	case *user == "":
		return misuse("--user is missing")
	case !im.UserID(*user).Valid():
		return misuse("--user: must be 1 to %d printable ASCII characters", im.MaxUserID)
	case *device != "" && !im.ValidDevice(*device):
		return misuse("--device: must be 1 to %d printable ASCII characters", im.MaxDeviceID)
	case *ttl < time.Second:
		return misuse("--ttl: must be at least 1s")
	}
	secret, err := loadSecret(*data)
	if err != nil {
		return err
	}
	jwt, err := auth.Mint(secret, auth.Grant{
		User: im.UserID(*user), Device: *device, Admin: *admin, TTL: *ttl, Issuer: *issuer, Audience: *audience,
	}, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, jwt)
	return err
}

// loadSecret returns the secret of a data directory, and makes both if they
// are not there.
func loadSecret(data string) ([]byte, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	return auth.LoadOrCreateSecret(filepath.Join(data, secretFile))
}
