package tty

import (
	"bytes"
	"os"
	"testing"
)

func TestIs(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if Is(&bytes.Buffer{}) || Is(file) || Is(null) {
		t.Error("a buffer, a file or nothing is taken for a terminal")
	}
}
