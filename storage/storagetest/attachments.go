package storagetest

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

// upload stores an attachment of a user.
func (w *world) upload(user im.UserID, size int64) im.Attachment {
	w.Helper()
	slot, _, err := w.store.NextBlobKey()
	if err != nil {
		w.Fatal(err)
	}
	at := w.tick()
	a := im.Attachment{
		ID: w.ids.Next(at), Uploader: user, Slot: slot, Size: size, CreatedAt: at,
		Info: im.AttachmentInfo{Name: "naïve ☃.png", Type: "image/png", SHA256: [32]byte{1, 31: 2}, Width: 3, Height: 4},
	}
	w.write(func(tx im.Tx) error { return tx.InsertAttachment(a) })
	return a
}

func (w *world) attachment(id im.ID) (im.Attachment, bool) {
	w.Helper()
	var a im.Attachment
	found := true
	w.view(func(r im.Reader) (err error) {
		if a, err = r.Attachment(id); err == im.ErrNotFound { //nolint:errorlint // engines return it unchanged
			found, err = false, nil
		}
		return err
	})
	return a, found
}

func (w *world) use(user im.UserID) im.AttachmentUse {
	w.Helper()
	return read(w, func(r im.Reader) (im.AttachmentUse, error) { return r.AttachmentUse(user) })
}

// withAttachments sends a message with attachments.
func (w *world) withAttachments(conversation im.ID, sender im.UserID, list ...im.Attachment) im.Message {
	w.Helper()
	m := w.text(conversation, sender, "with attachments")
	m.Type = im.File
	for _, a := range list {
		m.Attachments = append(m.Attachments, a.ID)
	}
	return w.send(m)
}

// erased checks that an attachment is erased: it has no row, its key is shredded in time, and
// then its blob is dead.
func (w *world) erased(what string, a im.Attachment) {
	w.Helper()
	if _, found := w.attachment(a.ID); found {
		w.Errorf("%s: the attachment still exists", what)
	}
	w.deadBlob(what, a)
}

// deadBlob checks that the key of a blob is shredded in time, and that the blob is then dead.
func (w *world) deadBlob(what string, a im.Attachment) {
	w.Helper()
	w.shredded()
	if _, err := w.store.BlobKey(a.Slot); err == nil {
		w.Errorf("%s: its key is not shredded", what)
	}
	for range 12_000 { // the store records later that the key is shredded
		dead := read(w, func(r im.Reader) ([]im.ID, error) { return r.DeadBlobs(1000) })
		if slices.Contains(dead, a.ID) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.Errorf("%s: the blob is not dead", what)
}

// shredded waits until no keys are waiting to be shredded.
func (w *world) shredded() {
	for range 12_000 {
		if n, _ := w.store.Unshredded(); n == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.Error("keys are not shredded")
}

func (w *world) alive(what string, a im.Attachment, references int) {
	w.Helper()
	got, found := w.attachment(a.ID)
	a.References = references
	if d := cmp.Diff(a, got); d != "" || !found {
		w.Errorf("%s: found %v (-want +got)\n%s", what, found, d)
	}
	if _, err := w.store.BlobKey(a.Slot); err != nil {
		w.Errorf("%s: %v", what, err)
	}
}

func testAttachments(w *world) {
	w.equal("use of nobody", w.use("alice"), im.AttachmentUse{})
	a, b, c := w.upload("alice", 0), w.upload("alice", 100), w.upload("bob", 1<<40)
	for _, x := range []im.Attachment{a, b, c} {
		w.alive("uploaded", x, 0)
	}
	if _, found := w.attachment(1); found {
		w.Error("found an unknown attachment")
	}
	w.equal("use of alice", w.use("alice"), im.AttachmentUse{Files: 2, Bytes: 100})
	w.equal("use of all", w.use(""), im.AttachmentUse{Files: 3, Bytes: 100 + 1<<40})
	w.equal("use of a stranger", w.use("never seen"), im.AttachmentUse{})
	w.write(func(tx im.Tx) error { return tx.EraseAttachment(b.ID) })
	w.erased("erased by itself", b)
	w.write(func(tx im.Tx) error { return tx.EraseAttachment(b.ID) }) // again
	w.equal("use of alice after that", w.use("alice"), im.AttachmentUse{Files: 1})
	w.equal("use of all after that", w.use(""), im.AttachmentUse{Files: 2, Bytes: 1 << 40})

	named := read(w, func(r im.Reader) ([]im.ID, error) { return r.NamedBlobs([]im.ID{a.ID, 5, b.ID, c.ID}) })
	slices.Sort(named)
	w.equal("named", named, []im.ID{a.ID, b.ID, c.ID})
	w.write(func(tx im.Tx) error { return tx.ForgetBlobs([]im.ID{b.ID, a.ID}) })
	named = read(w, func(r im.Reader) ([]im.ID, error) { return r.NamedBlobs([]im.ID{a.ID, b.ID}) })
	w.equal("named after the blob was forgotten", named, []im.ID{a.ID})

	slot, _, err := w.store.NextBlobKey()
	if err != nil {
		w.Fatal(err)
	}
	w.write(func(tx im.Tx) error { return tx.DoomSlot(slot) })
	w.shredded()
	if _, err := w.store.BlobKey(slot); err == nil {
		w.Error("a doomed key is not shredded")
	}
}

// testReferences checks that an attachment is erased with the last message that refers to it,
// whether that is erased, trimmed or purged.
func testReferences(w *world) {
	group := w.group(im.HistoryAll, "alice", "bob")
	other := w.group(im.HistoryAll, "alice", "carol")
	shared, single, another := w.upload("alice", 10), w.upload("alice", 20), w.upload("alice", 30)
	first := w.withAttachments(group, "alice", shared)
	second := w.withAttachments(other, "alice", shared)
	w.withAttachments(group, "bob", single, another)
	w.alive("two messages", shared, 2)
	w.alive("one message", another, 1)

	with := func(a im.Attachment, user im.UserID, past im.ID) (ids []im.ID) {
		for _, m := range read(w, func(r im.Reader) ([]im.Message, error) { return r.MessagesWith(a.ID, user, past, 10) }) {
			if m.Content != nil {
				w.Error("a message has content")
			}
			ids = append(ids, m.ID)
		}
		return ids
	}
	w.equal("messages for alice", with(shared, "alice", 0), []im.ID{second.ID, first.ID})
	w.equal("older messages for alice", with(shared, "alice", second.ID), []im.ID{first.ID})
	w.equal("messages for bob", with(shared, "bob", 0), []im.ID{first.ID})
	w.equal("messages for a stranger", with(shared, "mallory", 0), []im.ID(nil))

	w.erase(first.ID, im.Erasure{State: im.Revoked, At: w.now, By: "alice"})
	w.alive("one of two erased", shared, 1)
	w.equal("messages for bob after that", with(shared, "bob", 0), []im.ID(nil))
	w.erase(second.ID, im.Erasure{State: im.Expired, At: w.now})
	w.erased("both erased", shared)

	// Trimming deletes tombstones and messages that were not erased.
	w.write(func(tx im.Tx) error {
		_, err := tx.Trim(group, w.now.Add(time.Hour), 1000, w.now)
		return err
	})
	w.erased("trimmed", single)
	w.erased("trimmed", another)

	purged := w.upload("alice", 40)
	w.withAttachments(other, "alice", purged)
	w.withAttachments(other, "alice", purged)
	w.alive("in one conversation twice", purged, 2)
	w.write(func(tx im.Tx) error {
		at, err := tx.Append(im.Event{Type: im.ConversationDeleted, At: w.now, Conversation: other, Gone: []im.ID{other}})
		if err != nil {
			return err
		}
		return tx.DeleteConversation(other, w.now, at)
	})
	for done := false; !done; {
		w.write(func(tx im.Tx) (err error) {
			done, err = tx.Purge(other, 1000, w.now)
			return err
		})
	}
	w.erased("purged", purged)
	w.equal("use of all", w.use(""), im.AttachmentUse{})

	// Erasing the attachment itself leaves the message.
	rest := w.upload("alice", 50)
	m := w.withAttachments(group, "alice", rest)
	w.write(func(tx im.Tx) error { return tx.EraseAttachment(rest.ID) })
	w.erased("erased while a message has it", rest)
	w.equal("the message", w.message(m.ID).State, im.Active)
	w.erase(m.ID, im.Erasure{State: im.Revoked, At: w.now, By: "alice"})
}

func testOrphans(w *world) {
	group := w.group(im.HistoryAll, "alice", "bob")
	first, sent, last := w.upload("alice", 1), w.upload("alice", 2), w.upload("bob", 3)
	w.withAttachments(group, "alice", sent)
	orphans := func(before time.Time, limit int) []im.ID {
		return read(w, func(r im.Reader) ([]im.ID, error) { return r.Orphans(before, limit) })
	}
	w.equal("none that old", orphans(first.CreatedAt, 9), []im.ID(nil))
	w.equal("before the last", orphans(last.CreatedAt, 9), []im.ID{first.ID})
	w.equal("all", orphans(w.now.Add(time.Hour), 9), []im.ID{first.ID, last.ID})
	w.equal("one", orphans(w.now.Add(time.Hour), 1), []im.ID{first.ID})
}

// testSealedAttachments checks that reconciling and verifying find attachments and dead
// blobs.
func testSealedAttachments(w *world) {
	live, dead := w.upload("alice", 1), w.upload("alice", 2)
	w.write(func(tx im.Tx) error { return tx.EraseAttachment(dead.ID) })
	w.shredded()
	for _, look := range []im.SealedLook{im.SealedKeys, im.SealedContent} {
		found := map[im.ID]im.Sealed{}
		for _, s := range w.sealed(look) {
			if s.Kind == im.SealedAttachment {
				found[s.ID] = s
			}
		}
		if s := found[live.ID]; s.Slot != live.Slot || s.Erased != 0 || s.Err != nil {
			w.Errorf("the attachment: %+v", s)
		}
		if s := found[dead.ID]; s.Slot != dead.Slot || s.Erased == 0 || s.Err == nil || s.Find() != im.Fine {
			w.Errorf("the dead blob: %+v", s)
		}
		w.equal("number", len(found), 2)
	}
}
