package blobs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNamesOutsideTheDirectoryAreRefused(t *testing.T) {
	_, d := newFiles(t)
	secret := filepath.Join(filepath.Dir(d.path), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "a", "../secret", "../../secret", "et/../../secret", "secret\x00", "SECRET", strings.Repeat("a", 65)} {
		if _, err := d.Create(t.Context(), name); err == nil {
			t.Errorf("created %q", name)
		}
		if _, _, err := d.Open(t.Context(), name, 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("open %q: %v", name, err)
		}
		if err := d.Delete(t.Context(), name); err != nil {
			t.Errorf("delete %q: %v", name, err)
		}
	}
	if got, err := os.ReadFile(secret); err != nil || string(got) != "secret" {
		t.Errorf("the file outside is %q, %v", got, err)
	}
}
