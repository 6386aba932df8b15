package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSecretFile is the maximum size of a secret file, in bytes.
const maxSecretFile = 4 << 10

// LoadOrCreateSecret returns the secret in the file at path. If there is no file, it creates
// one with a secret of 32 random bytes in base64url. The secret is the text of the file
// without the white space around it. It is not decoded, so an application can pass the same
// text to its own JWT library.
//
// It refuses a file that other users of the system have access to, and one that is not a regular
// file, is too large or has a secret shorter than [MinSecret]. If several processes create the
// file at once, all get the same secret. A crash leaves a complete file or none.
func LoadOrCreateSecret(path string) ([]byte, error) {
	secret, err := LoadSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if err := createSecret(path); err != nil {
		return nil, fmt.Errorf("auth: create the secret: %w", err)
	}
	// Another process may have created the file first, so use what is in it.
	return LoadSecret(path)
}

// LoadSecret returns the secret in the file at path, as [LoadOrCreateSecret] does. The
// error wraps [fs.ErrNotExist] if there is no file.
func LoadSecret(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("auth: read the secret: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("auth: read the secret: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("auth: the secret %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("auth: the secret %s is accessible to other users (mode %#o): "+
			"set its mode to 0600, and replace it if they may have read it", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err != nil {
		return nil, fmt.Errorf("auth: read the secret: %w", err)
	}
	secret := bytes.TrimSpace(data)
	if len(data) > maxSecretFile || len(secret) < MinSecret {
		return nil, fmt.Errorf("auth: the secret %s must have at least %d bytes and at most %d", path, MinSecret, maxSecretFile)
	}
	return secret, nil
}

// createSecret creates a file with a new secret. It keeps an existing file.
func createSecret(path string) error {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	text := base64.RawURLEncoding.EncodeToString(random[:]) + "\n"

	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".secret-*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	if err := writeSynced(file, text); err != nil {
		return err
	}
	// Unlike a rename, a link never replaces the file of another process.
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// The name must be durable before anyone signs with the secret, whichever process
	// created it.
	return syncDir(dir)
}

// writeSynced writes the text, makes it durable and closes the file.
func writeSynced(file *os.File, text string) error {
	_, err := file.WriteString(text)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
