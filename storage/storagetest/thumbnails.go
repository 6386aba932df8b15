package storagetest

import (
	"errors"
	"time"

	"github.com/imapi/imapi/im"
)

// waiting stores a waiting thumbnail of an attachment.
func (w *world) waiting(a im.Attachment) im.Thumbnail {
	w.Helper()
	t := im.Thumbnail{Attachment: a.ID, Uploader: a.Uploader, State: im.ThumbnailWaiting}
	w.write(func(tx im.Tx) error { return tx.InsertThumbnail(t) })
	return t
}

// makeThumbnail stores that a thumbnail was made, with the name of a blob.
func (w *world) makeThumbnail(t im.Thumbnail) im.Thumbnail {
	w.Helper()
	slot, _, err := w.store.NextBlobKey()
	if err != nil {
		w.Fatal(err)
	}
	t.State, t.ID, t.Slot, t.Size = im.ThumbnailMade, w.ids.Next(w.tick()), slot, 1234
	t.Info = im.AttachmentInfo{Type: "image/jpeg", SHA256: [32]byte{3, 31: 4}, Width: 320, Height: 200}
	w.write(func(tx im.Tx) error { return tx.UpdateThumbnail(t) })
	return t
}

// blob returns the blob of a thumbnail in the form of an attachment's blob.
func blob(t im.Thumbnail) im.Attachment { return im.Attachment{ID: t.ID, Slot: t.Slot} }

func (w *world) thumbnail(a im.Attachment) (im.Thumbnail, error) {
	w.Helper()
	var t im.Thumbnail
	var missing error
	w.view(func(r im.Reader) (err error) {
		if t, err = r.Thumbnail(a.ID); errors.Is(err, im.ErrNotFound) {
			missing, err = err, nil
		}
		return err
	})
	return t, missing
}

func (w *world) wantThumbnail(what string, a im.Attachment, want im.Thumbnail) {
	w.Helper()
	got, err := w.thumbnail(a)
	if err != nil {
		w.Errorf("%s: %v", what, err)
	}
	w.equal(what, got, want)
}

// next returns the attachment whose thumbnail comes next, 0 if none is waiting.
func (w *world) next(past im.UserID) im.ID {
	w.Helper()
	var t im.Thumbnail
	w.view(func(r im.Reader) (err error) {
		if t, err = r.NextThumbnail(past); errors.Is(err, im.ErrNotFound) {
			err = nil
		}
		return err
	})
	return t.Attachment
}

func testThumbnails(w *world) {
	a, b := w.upload("alice", 1), w.upload("alice", 2)
	if _, err := w.thumbnail(a); err == nil {
		w.Error("found a thumbnail of an attachment without one")
	}
	want := w.waiting(a)
	w.wantThumbnail("waiting", a, want)
	want.Tries = 2
	w.write(func(tx im.Tx) error { return tx.UpdateThumbnail(want) })
	w.wantThumbnail("begun", a, want)
	made := w.makeThumbnail(want)
	w.wantThumbnail("made", a, made)
	named := read(w, func(r im.Reader) ([]im.ID, error) { return r.NamedBlobs([]im.ID{made.ID, 5}) })
	w.equal("named", named, []im.ID{made.ID})
	w.makeThumbnail(w.waiting(b))

	// A thumbnail that is made again has another blob.
	again := w.makeThumbnail(made)
	w.wantThumbnail("made again", a, again)
	w.deadBlob("made again", blob(made))
	w.write(func(tx im.Tx) error { return tx.UpdateThumbnail(again) })
	if _, err := w.store.BlobKey(again.Slot); err != nil {
		w.Errorf("after an update with the same blob: %v", err)
	}

	// Without its blob it is waiting again.
	want = im.Thumbnail{Attachment: a.ID, Uploader: "alice", State: im.ThumbnailWaiting}
	w.write(func(tx im.Tx) error { return tx.UpdateThumbnail(want) })
	w.wantThumbnail("waiting again", a, want)
	w.deadBlob("waiting again", blob(again))
	want.State = im.ThumbnailFailed
	w.write(func(tx im.Tx) error { return tx.UpdateThumbnail(want) })
	w.wantThumbnail("failed", a, want)

	w.write(func(tx im.Tx) error { return tx.EraseAttachment(a.ID) })
	if _, err := w.thumbnail(a); err == nil {
		w.Error("found the thumbnail of an erased attachment")
	}
	for what, change := range map[string]func(im.Tx) error{
		"update": func(tx im.Tx) error { return tx.UpdateThumbnail(want) },
		"insert": func(tx im.Tx) error { return tx.InsertThumbnail(want) },
	} {
		if err := w.store.Write(w.Context(), change); !errors.Is(err, im.ErrNotFound) {
			w.Errorf("%s of the thumbnail of an erased attachment: %v", what, err)
		}
	}
}

// testThumbnailTurns checks that uploaders take turns, each with their oldest attachment.
func testThumbnailTurns(w *world) {
	w.equal("none", w.next(""), im.ID(0))
	var alice, bob []im.Attachment
	for range 3 {
		alice = append(alice, w.upload("alice", 1))
	}
	for range 2 {
		bob = append(bob, w.upload("bob", 1))
	}
	w.upload("carol", 1) // not a picture
	for _, a := range append(alice, bob...) {
		w.waiting(a)
	}
	count := func(limit int) int {
		return read(w, func(r im.Reader) (int, error) { return r.WaitingThumbnails(limit) })
	}
	w.equal("waiting", count(100), 5)
	w.equal("waiting, of two counted", count(2), 2)
	var served []im.ID
	for past := im.UserID(""); len(served) < 9; {
		id := w.next(past)
		if id == 0 {
			break
		}
		served = append(served, id)
		t := read(w, func(r im.Reader) (im.Thumbnail, error) { return r.Thumbnail(id) })
		past = t.Uploader
		if len(served)%2 == 0 {
			t.State = im.ThumbnailFailed
			w.write(func(tx im.Tx) error { return tx.UpdateThumbnail(t) })
		} else {
			w.makeThumbnail(t)
		}
	}
	want := []im.ID{alice[0].ID, bob[0].ID, alice[1].ID, bob[1].ID, alice[2].ID}
	if len(served) > 0 && served[0] == bob[0].ID {
		want = []im.ID{bob[0].ID, alice[0].ID, bob[1].ID, alice[1].ID, alice[2].ID}
	}
	w.equal("in turns", served, want)
	w.equal("waiting at the end", count(100), 0)
	w.equal("after a stranger", w.next("mallory"), im.ID(0))
}

// testThumbnailsErased checks that a thumbnail is erased with its attachment: by itself, or
// with its last message, whether that is erased or trimmed.
func testThumbnailsErased(w *world) {
	group := w.group(im.HistoryAll, "alice", "bob")
	var made []im.Thumbnail
	upload := func() im.Attachment {
		a := w.upload("alice", 1)
		made = append(made, w.makeThumbnail(w.waiting(a)))
		return a
	}
	alone := upload()
	w.write(func(tx im.Tx) error { return tx.EraseAttachment(alone.ID) })
	shared := upload()
	first, second := w.withAttachments(group, "alice", shared), w.withAttachments(group, "bob", shared)
	w.erase(first.ID, im.Erasure{State: im.Revoked, At: w.now, By: "alice"})
	w.wantThumbnail("one of two messages erased", shared, made[1])
	w.erase(second.ID, im.Erasure{State: im.Expired, At: w.now})
	w.withAttachments(group, "alice", upload())
	w.write(func(tx im.Tx) error {
		_, err := tx.Trim(group, w.now.Add(time.Hour), 1000, w.now)
		return err
	})
	for _, t := range made {
		if _, err := w.thumbnail(im.Attachment{ID: t.Attachment}); err == nil {
			w.Errorf("the thumbnail of %v still exists", t.Attachment)
		}
		w.deadBlob("erased", blob(t))
	}
}

// testSealedThumbnails checks that reconciling and verifying find thumbnails.
func testSealedThumbnails(w *world) {
	a, b := w.upload("alice", 1), w.upload("alice", 2)
	made := w.makeThumbnail(w.waiting(a))
	w.waiting(b)
	for _, look := range []im.SealedLook{im.SealedKeys, im.SealedContent} {
		var found []im.Sealed
		for _, s := range w.sealed(look) {
			if s.Kind == im.SealedThumbnail {
				found = append(found, s)
			}
		}
		if len(found) != 1 || found[0].ID != a.ID || found[0].Slot != made.Slot || found[0].Err != nil || found[0].Erased != 0 {
			w.Errorf("sealed thumbnails: %+v", found)
		}
	}
}
