package im

import (
	"context"
	"errors"
)

// Problem is a sealed content with a finding other than [Fine].
type Problem struct {
	Sealed
	Finding Finding
}

// Verified counts the contents that [Verify] has checked.
type Verified struct {
	// Active contents can be unsealed, Erased ones cannot, and Waiting ones are erased with
	// keys that are about to be shredded.
	Active, Erased, Waiting int64
	Problems                int64
}

// Verify checks that each content that was not erased can be unsealed and that each erased
// one cannot, and calls problem with the others. It reads the files of attachments and
// thumbnails. It changes nothing. Contents that are erased in the meantime are not reported. Both
// functions may be nil. It returns an error of the store, of blobs or of problem, or the context's
// cause.
func Verify(ctx context.Context, store Store, blobs Blobs, progress func(Progress), problem func(Problem) error) (Verified, error) {
	ctx = WithCaller(AtStart(ctx), Caller{Job: "verify"})
	v := verifier{store: store, blobs: blobs, problem: problem}
	var total int64
	err := store.View(ctx, func(r Reader) (err error) {
		total, err = r.CountMessages()
		return err
	})
	if err != nil {
		return v.Verified, err
	}
	seen := int64(0)
	err = eachSealed(ctx, func(page func(Reader) error) error { return store.View(ctx, page) }, SealedContent, func(s Sealed) error {
		if seen++; progress != nil && seen%sealedPage == 0 {
			progress(Progress{Done: min(seen, total), Total: total})
		}
		return v.look(ctx, s)
	})
	if err == nil && progress != nil {
		progress(Progress{Done: total, Total: total})
	}
	return v.Verified, err
}

type verifier struct {
	Verified
	store   Store
	blobs   Blobs
	problem func(Problem) error
}

// look counts one content. If it was erased while its page was read, its key is shredded
// and the page does not say that it is erased, so a finding is checked again.
func (v *verifier) look(ctx context.Context, s Sealed) error {
	found := s.Find()
	if found != Fine {
		there, err := v.again(ctx, &s)
		if err != nil || !there {
			return err
		}
		found = s.Find()
	}
	if found == Fine && s.Erased == 0 && (s.Kind == SealedAttachment || s.Kind == SealedThumbnail) {
		var there bool
		var err error
		if found, there, err = v.file(ctx, s); err != nil || !there {
			return err
		}
	}
	switch {
	case found != Fine:
		v.Problems++
		if v.problem != nil {
			return v.problem(Problem{s, found})
		}
	case s.Erased == 0:
		v.Active++
	case s.Err == nil:
		v.Waiting++
	default:
		v.Erased++
	}
	return nil
}

// file reads the file of an attachment or thumbnail; false if that was erased or replaced in the
// meantime.
func (v *verifier) file(ctx context.Context, s Sealed) (found Finding, there bool, err error) {
	load := func() (b Blob, size int64, there bool, err error) {
		err = v.store.View(ctx, func(r Reader) (err error) {
			b, size, there, err = blobOf(r, s)
			return err
		})
		return b, size, there, err
	}
	b, size, there, err := load()
	if err != nil || !there {
		return Fine, there, err
	}
	b.Key, err = v.store.BlobKey(b.Slot)
	if err == nil {
		err = v.blobs.Check(ctx, b, size)
	}
	if err == nil || ctx.Err() != nil {
		return Fine, true, err
	}
	// A thumbnail that was made again has another file.
	if now, _, there, failed := load(); failed != nil || !there || now.ID != b.ID {
		return Fine, false, failed
	}
	if errors.Is(err, ErrNotFound) {
		return FoundNoFile, true, nil
	}
	if refusal, ok := AsError(err); ok {
		return Fine, true, refusal
	}
	return FoundDamaged, true, nil
}

// blobOf returns the blob of an attachment or thumbnail, without its key, and the size of its
// content in bytes; false if there is no blob.
func blobOf(r Reader, s Sealed) (b Blob, size int64, there bool, err error) {
	if s.Kind == SealedThumbnail {
		t, found, err := maybe(r.Thumbnail(s.ID))
		return Blob{ID: t.ID, Slot: t.Slot}, t.Size, found && t.ID != 0, err
	}
	a, found, err := maybe(r.Attachment(s.ID))
	return Blob{ID: a.ID, Slot: a.Slot}, a.Size, found, err
}

// again reads the content in a new snapshot; false if it is no longer there.
func (v *verifier) again(ctx context.Context, s *Sealed) (there bool, err error) {
	before := *s
	err = v.store.View(ctx, func(r Reader) error {
		there = false
		page, err := r.Sealed(before.before(), 1, SealedContent)
		for _, now := range page.Items {
			if now.Kind == before.Kind && now.ID == before.ID && now.Slot == before.Slot {
				*s, there = now, true
			}
		}
		return err
	})
	return there, err
}

// String describes the problem for the operator.
func (p Problem) String() string {
	switch p.Finding {
	case FoundErased:
		if shredded, ok := errors.AsType[*ShreddedError](p.Err); ok {
			return "is not erased, but its key is shredded: " + shredded.Code.String()
		}
		return "is not erased, but its key is shredded"
	case FoundLost:
		return "is not erased, but there is no key for it"
	case FoundDamaged:
		return "cannot be unsealed: it or its key is damaged"
	case FoundNoFile:
		return "is not erased, but its file is missing: put it back, from the blobs beside a backup"
	case FoundKey:
		return "is erased, but could still be unsealed in a copy of the data"
	default:
		return "is fine"
	}
}
