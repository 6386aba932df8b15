package auth_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imapi/imapi/auth"
)

func TestSecretIsCreatedOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	first, err := auth.LoadOrCreateSecret(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := auth.LoadOrCreateSecret(path)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("got %q, then %q, %v", first, second, err)
	}
	if len(first) < auth.MinSecret {
		t.Errorf("only %d bytes", len(first))
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != string(first)+"\n" {
		t.Errorf("the file holds %q, the secret is %q", text, first)
	}
	onlyFile(t, dir, "secret")

	elsewhere, err := auth.LoadOrCreateSecret(filepath.Join(t.TempDir(), "secret"))
	if err != nil || bytes.Equal(first, elsewhere) {
		t.Errorf("two secrets are the same: %q, %v", elsewhere, err)
	}
}

func TestConcurrentCreationYieldsOneSecret(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		path := filepath.Join(dir, "secret")
		var secrets [16][]byte
		var group sync.WaitGroup
		begin := make(chan struct{})
		for i := range secrets {
			group.Go(func() {
				<-begin
				var err error
				if secrets[i], err = auth.LoadOrCreateSecret(path); err != nil {
					t.Error(err)
				}
			})
		}
		close(begin)
		group.Wait()
		for _, s := range secrets {
			if !bytes.Equal(s, secrets[0]) {
				t.Fatalf("got %q and %q", secrets[0], s)
			}
		}
		onlyFile(t, dir, "secret")
	}
}

func TestSecretGivenByTheOperator(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	given := "the application's own secret, with spaces"
	if err := os.WriteFile(path, []byte("\n "+given+"\r\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	got, err := auth.LoadOrCreateSecret(path)
	if err != nil || string(got) != given {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSecretRefused(t *testing.T) {
	good := strings.Repeat("s", 43)
	tests := map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"open to the group":   {good, 0o640, "0640"},
		"open to all":         {good, 0o604, "0604"},
		"writable by all":     {good, 0o602, "0602"},
		"empty":               {"", 0o600, "32 bytes"},
		"short":               {strings.Repeat("s", 31), 0o600, "32 bytes"},
		"short but for space": {strings.Repeat("s", 31) + "\n\n", 0o600, "32 bytes"},
		"far too long":        {strings.Repeat("s", 5000), 0o600, "4096"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil { // not subject to the umask
				t.Fatal(err)
			}
			got, err := auth.LoadOrCreateSecret(path)
			if got != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, %v, want one about %q", got, err, tt.want)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != tt.content {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
	t.Run("a directory", func(t *testing.T) {
		if _, err := auth.LoadOrCreateSecret(t.TempDir()); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("no directory", func(t *testing.T) {
		if _, err := auth.LoadOrCreateSecret(filepath.Join(t.TempDir(), "none", "secret")); err == nil {
			t.Error("accepted")
		}
	})
}

// onlyFile checks that a directory contains nothing but one file.
func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
