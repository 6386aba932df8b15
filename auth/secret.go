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

// maxSecretFile is the largest file that is taken for a secret, in bytes.
const maxSecretFile = 4 << 10

// LoadOrCreateSecret returns the secret in the file at path, and makes one of
// 32 random bytes if there is no file. The secret is the text of the file, as
// it stands, without the space around it: what an application's own JWT
// library is given, no decoding in between.
//
// A file that others than its owner may read is refused. Of several processes
// that make one at once all end with the same; a crash leaves the whole of it
// or nothing.
func LoadOrCreateSecret(path string) ([]byte, error) {
	secret, err := LoadSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if err := createSecret(path); err != nil {
		return nil, fmt.Errorf("auth: the secret cannot be made: %w", err)
	}
	// Another process may have been first: what lies there is the secret.
	return LoadSecret(path)
}

// LoadSecret returns the secret in the file at path, as [LoadOrCreateSecret] does. If
// there is no file, [fs.ErrNotExist] is in the chain of its error.
func LoadSecret(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("auth: the secret cannot be read: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("auth: the secret cannot be read: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("auth: the secret %s is not a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("auth: the secret %s is open to others than its owner (mode %#o): "+
			"make it 0600, and a new one if others may have read it", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err != nil {
		return nil, fmt.Errorf("auth: the secret cannot be read: %w", err)
	}
	secret := bytes.TrimSpace(data)
	if len(data) > maxSecretFile || len(secret) < MinSecret {
		return nil, fmt.Errorf("auth: the secret %s must have from %d bytes to %d", path, MinSecret, maxSecretFile)
	}
	return secret, nil
}

// createSecret makes a file with a new secret, and leaves one alone that is
// there already.
func createSecret(path string) error {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails, says crypto/rand
	text := base64.RawURLEncoding.EncodeToString(random[:]) + "\n"

	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".secret-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if err := writeSynced(file, text); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces what another process has made.
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// The name has to be as durable as the content before anyone signs with
	// it, whoever made it.
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
