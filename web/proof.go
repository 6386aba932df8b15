package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
	"unicode/utf16"

	"github.com/imapi/imapi/awake"
)

// MinProof is the minimum length of a text to search for, in bytes. A shorter text occurs in large
// files of random bytes by chance.
const MinProof = 6

// Proof is the result of searching the files of a directory for the text of an erased message.
type Proof struct {
	// Files are the files that were searched, with their sizes in bytes.
	Files []ProofFile `json:"files"`
	// Complete is false if the time was too short to search everything.
	Complete bool `json:"complete"`
	// Control is a text that must be found, because the tombstone keeps it. It shows that the
	// search would find the text if it existed.
	Control string `json:"control"`
	// State is that of the message, and ErasedAt the time of its erasure.
	State    string    `json:"state"`
	ErasedAt time.Time `json:"erased_at"`
	// ShreddedAt is when its key was shredded; null if that has not happened yet.
	ShreddedAt *time.Time `json:"shredded_at"`
}

// ProofFile is one file of a [Proof].
type ProofFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	// Text and Control report whether the file contains them.
	Text    bool `json:"text"`
	Control bool `json:"control"`
}

// proofTime bounds a search.
const proofTime = 10 * time.Second

// SearchFiles searches all files below a directory for a text and a control, in the forms in which
// a program would write them: UTF-8, UTF-16, and as a JSON string. After 10 seconds it
// gives up: files are then those searched so far, and complete is false.
func SearchFiles(ctx context.Context, dir, text, control string) (files []ProofFile, complete bool, err error) {
	ctx, cancel := awake.WithTimeout(ctx, proofTime)
	defer cancel()
	forms, controls := formsOf(text), formsOf(control)
	root := os.DirFS(dir)
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted in the meantime
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f := ProofFile{Name: name}
		err = f.search(ctx, root, forms, controls)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			files = append(files, f)
		}
		return err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return files, false, nil
	}
	return files, err == nil, err
}

// search reads a file in pieces that overlap by the longest form.
func (f *ProofFile) search(ctx context.Context, root fs.FS, text, control [][]byte) error {
	file, err := root.Open(f.Name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	overlap := 0
	for _, form := range append(slices.Clip(text), control...) {
		overlap = max(overlap, len(form)-1)
	}
	buffer := make([]byte, overlap+1<<20)
	kept := 0
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.ReadFull(file, buffer[kept:])
		f.Size += int64(n)
		piece := buffer[:kept+n]
		f.Text = f.Text || hasAny(piece, text)
		f.Control = f.Control || hasAny(piece, control)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		kept = copy(buffer, piece[len(piece)-overlap:])
	}
}

func hasAny(b []byte, forms [][]byte) bool {
	for _, form := range forms {
		if bytes.Contains(b, form) {
			return true
		}
	}
	return false
}

// formsOf returns the ways in which a text may be written.
func formsOf(text string) [][]byte {
	forms := [][]byte{[]byte(text)}
	var little, big []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		little = append(little, byte(unit), byte(unit>>8))
		big = append(big, byte(unit>>8), byte(unit))
	}
	forms = append(forms, little, big)
	for _, escape := range []bool{false, true} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(escape)
		if e.Encode(text) == nil {
			forms = append(forms, bytes.Trim(bytes.TrimSpace(b.Bytes()), `"`))
		}
	}
	return forms
}
