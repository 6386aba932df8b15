package handlers_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/imapi/imapi/blobs"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/sniff"
)

// fullDisk is a directory of blobs whose disk is full from some call on.
type fullDisk struct {
	*blobs.Dir
	at atomic.Pointer[string]
}

func (d *fullDisk) fails(at string) error {
	if p := d.at.Load(); p != nil && *p == at {
		return fmt.Errorf("%s: %w", at, syscall.ENOSPC)
	}
	return nil
}

// Create fails, or returns a writer that may fail.
func (d *fullDisk) Create(ctx context.Context, name string) (blobs.Writer, error) {
	if err := d.fails("create"); err != nil {
		return nil, err
	}
	w, err := d.Dir.Create(ctx, name)
	return &fullWriter{Writer: w, disk: d}, err
}

type fullWriter struct {
	blobs.Writer
	disk    *fullDisk
	written int
}

// Write fails at the beginning, or in the middle of the file.
func (w *fullWriter) Write(b []byte) (int, error) {
	at := "beginning"
	if w.written > 100_000 {
		at = "middle"
	}
	if err := w.disk.fails(at); err != nil {
		return 0, err
	}
	w.written += len(b)
	return w.Writer.Write(b)
}

// Commit fails before or after the file gets its name.
func (w *fullWriter) Commit() error {
	if err := w.disk.fails("sync"); err != nil {
		_ = w.Abort()
		return err
	}
	if err := w.Writer.Commit(); err != nil {
		return err
	}
	return w.disk.fails("directory")
}

// TestUploadsToAFullDisk checks that an upload gets 507 while the disk of the files, the database
// or the keys is full, that nothing of it is kept, and that uploads succeed afterwards.
func TestUploadsToAFullDisk(t *testing.T) {
	w, disk := newFailingWorld(t)
	dir, err := blobs.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	full := &fullDisk{Dir: dir}
	files := blobs.NewFiles(full, w.store.Instance().Store)
	w.service.UseBlobs(files, im.FileTypes{
		Sniff:   func() im.TypeSniffer { return new(sniff.Sniffer) },
		Measure: func(io.ReadSeeker) (int, int) { return 0, 0 },
	})
	content := strings.Repeat("x", 300_000)
	kept, bytes := 0, 0
	upload := func() answer {
		a := w.do("alice", http.MethodPost, "/v1/attachments", content)
		if a.status == http.StatusCreated {
			kept++
			bytes += len(content)
		}
		return a
	}
	for _, at := range []string{"create", "beginning", "middle", "sync", "directory", "imapi.db", "keys"} {
		t.Run(at, func(t *testing.T) {
			w := w.in(t)
			if at == "imapi.db" || at == "keys" {
				failing(disk, at, syscall.ENOSPC)
				content = "x" // small, because many are stored before the write that fails
			} else {
				full.at.Store(&at)
			}
			refused := upload()
			for refused.status == http.StatusCreated && kept < 5000 { // because keys are made ahead of use
				refused = upload()
			}
			if refused.status != http.StatusInsufficientStorage || refused.code(t) != "storage_full" {
				t.Errorf("%d %s", refused.status, refused.body)
			}
			disk.Fail(nil)
			full.at.Store(nil)
			// A file whose row was not stored is swept.
			if _, err := w.service.SweepBlobs(t.Context()); err != nil {
				t.Error(err)
			}
			n := 0
			if err := files.List(t.Context(), func(im.BlobFile) error { n++; return nil }); err != nil || n != kept {
				t.Errorf("%d files for %d attachments, %v", n, kept, err)
			}
			use, err := w.service.AttachmentUse(t.Context())
			if err != nil || use.Files != int64(kept) || use.Bytes != int64(bytes) {
				t.Errorf("%+v is used by %d attachments, %v", use, kept, err)
			}
			await.Until(t, "uploading is possible again", func() bool { return upload().status == http.StatusCreated })
		})
	}
	w.left(kept)
}
