package storagetest

import (
	"errors"
	"slices"

	"github.com/imapi/imapi/im"
)

// sealed returns everything that is sealed, in small pages.
func (w *world) sealed(look im.SealedLook) (list []im.Sealed) {
	w.Helper()
	for after := (&im.SealedKey{}); after != nil; {
		var page im.SealedPage
		w.view(func(r im.Reader) (err error) {
			page, err = r.Sealed(*after, 3, look)
			return err
		})
		list, after = append(list, page.Items...), page.Next
	}
	return list
}

// testSealed checks that everything sealed is listed, with whether it can be unsealed.
func testSealed(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	var all []im.Message
	for range 8 {
		all = append(all, w.send(w.text(id, "alice", "said")))
	}
	w.erase(all[2].ID, im.Erasure{State: im.Revoked, At: w.now, By: "alice", Postscript: "sorry"})
	w.erase(all[5].ID, im.Erasure{State: im.Expired, At: w.now})
	w.shredded()
	var n int64
	var shell im.Message
	w.view(func(r im.Reader) (err error) {
		if n, err = r.CountMessages(); err == nil {
			shell, err = r.MessageShell(all[0].ID)
		}
		return err
	})
	if n != 8 || shell.ID != all[0].ID || shell.Seq != all[0].Seq || shell.Content != nil {
		w.Errorf("CountMessages = %d, MessageShell = %+v", n, shell)
	}
	for _, look := range []im.SealedLook{im.SealedKeys, im.SealedContent} {
		slots := map[im.Slot]bool{}
		messages, notes := 0, 0
		for _, s := range w.sealed(look) {
			if slots[s.Slot] || s.Slot == 0 {
				w.Errorf("slot %d is listed twice", s.Slot)
			}
			slots[s.Slot] = true
			if s.Conversation != id && s.Kind != im.SealedName {
				w.Errorf("%v %v belongs to %v", s.Kind, s.ID, s.Conversation)
			}
			if f := s.Find(); f != im.Fine {
				w.Errorf("%v %v: finding %v, %v", s.Kind, s.ID, f, s.Err)
			}
			switch s.Kind {
			case im.SealedMessage:
				at := slices.IndexFunc(all, func(m im.Message) bool { return m.ID == s.ID })
				want := map[int]im.State{2: im.Revoked, 5: im.Expired}[at]
				if at < 0 || s.Erased != want || (s.Err == nil) != (want == 0) {
					w.Errorf("message %d: erased as %v, error %v", at, s.Erased, s.Err)
				}
				messages++
			case im.SealedNote:
				if s.ID != all[2].ID || s.Err != nil {
					w.Errorf("note of %v: %v", s.ID, s.Err)
				}
				notes++
			case im.SealedName: // the name of the group
			default:
				w.Errorf("unexpected kind %v of %v", s.Kind, s.ID)
			}
		}
		if messages != 8 || notes != 1 {
			w.Errorf("listed %d messages and %d notes, want 8 and 1", messages, notes)
		}
	}
	// Empty deletes a note that cannot be unsealed and keeps its tombstone.
	for _, s := range w.sealed(im.SealedKeys) {
		if s.Kind == im.SealedNote {
			w.write(func(tx im.Tx) error { return tx.Empty(s) })
		}
	}
	if m := w.message(all[2].ID); m.State != im.Revoked || m.Erased.Postscript != "" {
		w.Errorf("the tombstone is %+v", m)
	}
}

// testRemove deletes messages from the middle and the beginning, and checks what remains
// and what is remembered about the deleted ones.
func testRemove(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	var all []im.Message
	for i := range 6 {
		m := w.text(id, "alice", "said")
		m.ClientID = string(rune('a' + i))
		all = append(all, w.send(m))
	}
	var active int
	w.write(func(tx im.Tx) (err error) {
		active, err = tx.Remove(id, []im.ID{all[0].ID, all[1].ID, all[3].ID}, w.tick())
		return err
	})
	if active != 3 {
		w.Errorf("Remove = %d active messages, want 3", active)
	}
	w.view(func(r im.Reader) error {
		for i, m := range all {
			_, err := r.Message(m.ID)
			deleted := i == 0 || i == 1 || i == 3
			if deleted != errors.Is(err, im.ErrNotFound) {
				w.Errorf("message %d: %v", i, err)
			}
			keys, err := r.GoneAs([]im.ClientKey{{Sender: "alice", ClientID: m.ClientID}})
			if err != nil || (len(keys) == 1) != deleted {
				w.Errorf("message %d: GoneAs = %v, %v", i, keys, err)
			}
		}
		c, err := r.Conversation(id)
		if err != nil || c.TrimBefore.IsZero() || c.TrimBefore.After(all[2].CreatedAt) {
			w.Errorf("TrimBefore = %v, the oldest message is from %v: %v", c.TrimBefore, all[2].CreatedAt, err)
		}
		return nil
	})
	// The trim that Remove schedules deletes no other message.
	c := w.conversation(id)
	if n := w.trimAll(id, c.TrimBefore, 10); n != 0 {
		w.Errorf("the trim deleted %d more messages", n)
	}
	if c := w.conversation(id); !c.TrimBefore.IsZero() {
		w.Errorf("TrimBefore = %v after the trim, want none", c.TrimBefore)
	}
}
