package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/imapi/imapi/blobs"
	"github.com/imapi/imapi/blobs/thumbnail"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/sniff"
)

// blobsName is the directory of attachments in the data directory.
const blobsName = "blobs"

// sweepInterval is the time between two searches for files that a crash has left behind.
const sweepInterval = time.Hour

// blobsIn returns the directory of attachments, which a flag may name.
func blobsIn(named, data string) string { return cmp.Or(named, filepath.Join(data, blobsName)) }

// openBlobs opens the directory of attachments.
func (n *node) openBlobs(path string) error {
	dir, err := blobs.OpenDir(path)
	if err != nil {
		return err
	}
	n.blobDir = dir
	n.blobs = blobs.NewFiles(dir, n.store.Instance().Store)
	n.service.UseBlobs(n.blobs, fileTypes())
	return nil
}

// fileTypes detects the types of files.
func fileTypes() im.FileTypes {
	return im.FileTypes{Sniff: func() im.TypeSniffer { return new(sniff.Sniffer) }, Measure: thumbnail.Size}
}

// observeUpload counts an upload.
func (n *node) observeUpload(size int64, err error) {
	result := "stored"
	if refusal, ok := im.AsError(err); ok {
		result = refusal.Code
	} else if err != nil {
		result = "failed"
	}
	n.metrics.Uploaded(result, size)
}

// attachmentUse returns the attachments of all users, for the metrics.
func (n *node) attachmentUse() (files, bytes int64) {
	use, err := n.service.AttachmentUse(context.Background())
	if err != nil {
		return 0, 0
	}
	return use.Files, use.Bytes
}

// backUpBlobs copies the sealed files of attachments that are missing or truncated in a backup
// directory, and deletes files there that are unfinished or whose keys are shredded.
func (n *node) backUpBlobs(ctx context.Context, dir string) (blobs.Copied, error) {
	to, err := blobs.OpenDir(filepath.Join(dir, blobsName))
	if err != nil {
		return blobs.Copied{}, err
	}
	if to.Is(n.blobDir) {
		return blobs.Copied{}, errors.New("the files of attachments are in this directory: use another one for backups")
	}
	store := n.store.Instance().Store
	done, err := blobs.Copy(ctx, n.blobDir, to, store, keyIsGone(n.store), nil)
	if err != nil {
		return done, fmt.Errorf("copy the files of attachments: %w", err)
	}
	there := blobs.NewFiles(to, store)
	err = there.List(ctx, func(f im.BlobFile) error {
		if _, err := n.store.BlobKey(f.Slot); !f.Unfinished && !errors.As(err, new(*im.ShreddedError)) {
			return nil
		}
		return there.Delete(ctx, f.ID)
	})
	return done, err
}

// keyIsGone returns a function that reports whether the key in a slot is shredded or lost.
func keyIsGone(store im.Store) func(im.Slot) bool {
	return func(slot im.Slot) bool {
		_, err := store.BlobKey(slot)
		return errors.As(err, new(*im.ShreddedError)) || errors.Is(err, im.ErrNoKey)
	}
}

// restoreBlobs copies the sealed files of attachments beside a backup that are missing or truncated
// in a directory, except files whose keys are shredded or lost, such as those erased since the
// backup. The next start sweeps files that no row of the database names. The store must have been
// reconciled with its keys.
func restoreBlobs(ctx context.Context, store im.Store, backup, dir string) (blobs.Copied, error) {
	beside := filepath.Join(filepath.Dir(backup), blobsName)
	if _, err := os.Stat(beside); errors.Is(err, fs.ErrNotExist) {
		return blobs.Copied{}, nil
	}
	to, err := blobs.OpenDir(dir)
	if err != nil {
		return blobs.Copied{}, err
	}
	return blobs.Copy(ctx, blobs.ReadDir(beside), to, store.Instance().Store, keyIsGone(store), nil)
}
