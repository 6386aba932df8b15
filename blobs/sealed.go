package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/imapi/imapi/im"
)

// Files keeps the sealed blobs of one store of messages. It implements [im.Blobs].
type Files struct {
	store Store
	id    im.StoreID
}

var _ im.Blobs = (*Files)(nil)

// NewFiles returns the blobs that an engine has for a store.
func NewFiles(engine Store, store im.StoreID) *Files { return &Files{store: engine, id: store} }

// Check reads a whole blob and returns why it cannot be read: [im.ErrNotFound], [ErrDamaged], or
// an error of opening or reading its file.
func (f *Files) Check(ctx context.Context, b im.Blob, size int64) error {
	if err := f.checkHeader(ctx, b); err != nil {
		return err
	}
	r, err := f.Open(ctx, b, size)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	if err == nil && size == 0 { // nothing was read, but there is a chunk
		in := r.(*reader) //nolint:forcetypeassert // Open returns nothing else
		in.have, err = in.load(0, 1, in.take())
	}
	return errors.Join(err, r.Close())
}

func (f *Files) checkHeader(ctx context.Context, b im.Blob) error {
	in, _, err := f.store.Open(ctx, b.ID.String(), 0)
	if errors.Is(err, ErrNotFound) {
		return im.ErrNotFound
	}
	if err != nil {
		return refusal(err)
	}
	h, err := readHeader(in)
	if err == nil && !newSeal(f.id, b).fits(h) {
		err = ErrDamaged
	}
	return err
}

// readHeader reads the header of a file and closes the file.
func readHeader(in io.ReadCloser) ([]byte, error) {
	h := make([]byte, headerSize)
	_, err := io.ReadFull(in, h)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrDamaged
	}
	return h, errors.Join(err, in.Close())
}

// Delete deletes a blob. It does nothing if there is none.
func (f *Files) Delete(ctx context.Context, id im.ID) error { return f.store.Delete(ctx, id.String()) }

// List calls fn with each blob of this store, in any order. It leaves out blobs of other
// stores, and files that are not blobs. Unfinished files that are too short for a header may
// belong to any store, so they are included. It returns an error of fn unchanged.
func (f *Files) List(ctx context.Context, fn func(im.BlobFile) error) error {
	return f.store.List(ctx, func(e Entry) error {
		file, ours, err := f.describe(ctx, e)
		if err != nil || !ours {
			return err
		}
		return fn(file)
	})
}

// describe reads the header of a file. It returns false if the file is gone, is not a blob, or
// belongs to another store or blob. If the header is cut off, it returns true for an unfinished
// file and false for a finished one.
func (f *Files) describe(ctx context.Context, e Entry) (file im.BlobFile, ours bool, err error) {
	id, ok := im.ParseID(e.Name)
	if !ok {
		return file, false, nil
	}
	file = im.BlobFile{ID: id, Changed: e.Changed, Unfinished: e.Unfinished}
	header, err := f.headerOf(ctx, e)
	switch o, is := readOwner(header); {
	case errors.Is(err, ErrNotFound): // deleted or finished in the meantime
		return file, false, nil
	case errors.Is(err, ErrDamaged): // truncated; an unfinished file may be empty
		return file, e.Unfinished, nil
	case err != nil:
		return file, false, refusal(err)
	default:
		file.Slot = o.slot
		return file, is && o.store == f.id && o.id == id, nil
	}
}

func (f *Files) headerOf(ctx context.Context, e Entry) ([]byte, error) {
	in, err := f.store.OpenEntry(ctx, e)
	if err != nil {
		return nil, err
	}
	return readHeader(in)
}

// Wrote reports whether a blob was begun under this key. The slot of a [im.BlobFile] is only
// what its header says; a key must not be shredded because a file claims it.
func (f *Files) Wrote(ctx context.Context, file im.BlobFile, key im.Key) (bool, error) {
	header, err := f.headerOf(ctx, Entry{Name: file.ID.String(), Unfinished: file.Unfinished})
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
		return false, nil
	}
	if err != nil {
		return false, refusal(err)
	}
	return newSeal(f.id, im.Blob{ID: file.ID, Slot: file.Slot, Key: key}).fits(header), nil
}

// refusal converts an error of the engine: a full disk becomes [im.Full], and any other error
// [im.Unavailable]. An [im.Error] is returned unchanged.
func refusal(err error) error {
	if _, ok := im.AsError(err); ok {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &im.Error{Kind: im.Full, Code: "storage_full", Message: "the storage is full", Cause: err}
	}
	return &im.Error{
		Kind: im.Unavailable, Code: "storage_unavailable", Message: "the storage of attachments is not available",
		Cause: fmt.Errorf("blobs: %w", err),
	}
}
