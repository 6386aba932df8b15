package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

// secretFile is the file of the HS256 secret in the data directory.
const secretFile = "token.secret"

// token prints a token for the server of a data directory. It does not create a missing secret: the
// token for a misspelt directory would be valid nowhere.
func token(_ context.Context, args []string, out, diag io.Writer) error {
	f := newFlags("token", "Print a token for a user, signed with the secret in the data directory, which the\nserver creates at its first start.\nAn application signs its tokens itself, with that secret or another key.", diag)
	var (
		data     = f.String("data", "./data", "the `directory` of the server's data")
		user     = f.String("user", "", "the `id` of the user, 1 to 128 bytes of printable characters")
		device   = f.String("device", "", "the `id` of the device that the token is for; without it a client may name one")
		admin    = f.Bool("admin", false, "give the token the scope admin")
		ttl      = f.Duration("ttl", 24*time.Hour, "the `duration` until it expires")
		issuer   = f.String("auth-issuer", "", "the `issuer` (iss) that the server requires")
		audience = f.String("auth-audience", "", "the `audience` (aud) that the server requires")
	)
	if err := f.parse(args); err != nil {
		return err
	}
	switch {
	case *user == "":
		return misuse("name the user with --user")
	case !im.UserID(*user).Valid():
		return misuse("--user: must be %s", im.UserIDRule)
	case *device != "" && !im.ValidDevice(*device):
		return misuse("--device: must be 1 to %d printable ASCII characters", im.MaxDeviceID)
	case *ttl < time.Second:
		return misuse("--ttl: must be at least 1s")
	}
	secret, err := auth.LoadSecret(filepath.Join(*data, secretFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s in %s: name the server's directory with --data, or start imapi serve, which creates the secret of %s at its first start", secretFile, *data, auth.HS256)
	}
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
