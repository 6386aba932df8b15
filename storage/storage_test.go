package storage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imapi/imapi/storage"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for url, file := range map[string]string{
		"":                                   "data/imapi.db",
		"sqlite://" + dir + "/abs/of%20x.db": "abs/of x.db",
		"sqlite:rel/x.db":                    "rel/x.db",
		"sqlite://rel2/x.db":                 "rel2/x.db",
	} {
		data := filepath.Join(dir, "data")
		if exists, err := storage.Exists(url, data); err != nil || exists {
			t.Errorf("Exists(%q) before Open = %v, %v", url, exists, err)
		}
		s, err := storage.Open(t.Context(), url, storage.Options{DataDir: data})
		if err != nil {
			t.Fatalf("%q: %v", url, err)
		}
		if exists, err := storage.Exists(url, data); err != nil || !exists {
			t.Errorf("Exists(%q) after Open = %v, %v", url, exists, err)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"":                                  "neither",
		"postgres://u:secret@host/db":       "not supported by this build",
		"mysql://u:secret@host/db":          "unknown scheme",
		"sqlite:":                           "sqlite:///path",
		"sqlite:///x.db?mode=memory&secret": "only a path",
		"://secret":                         "is invalid",
	} {
		_, err := storage.Open(t.Context(), url, storage.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error quotes the URL: %v", err)
		}
	}
}
