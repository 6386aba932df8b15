package sqlite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
)

// textFixture is a store with a conversation of each kind and all texts, each with a
// marker.
type textFixture struct {
	testing.TB
	*Store
	random *rand.Rand
	dir    string
	traces *traces
	at     im.Position
	// texts are the present texts by table, column and row, like allSealed.
	texts map[string]string
}

// Ids in the fixture. fixtureThread is in the group, fixtureChannelThread in the channel.
const (
	fixtureSpace, fixtureChannel, fixtureGroup, fixtureRoom, fixtureThread im.ID = 101, 102, 103, 104, 105
	fixtureChannelThread                                                   im.ID = 106
	fixtureRole, fixtureOtherRole                                          im.ID = 201, 202
)

func newTextFixture(tb testing.TB, dir string) *textFixture {
	h := &textFixture{
		TB: tb, Store: openAt(tb, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal", ReadLimit: time.Minute}),
		random: rand.New(rand.NewPCG(51, 52)), dir: dir, traces: newTraces(), texts: map[string]string{},
	}
	for _, c := range []im.Conversation{
		{ID: fixtureSpace, Kind: im.Space},
		{ID: fixtureChannel, Kind: im.Channel, Space: fixtureSpace},
		{ID: fixtureChannelThread, Kind: im.Thread, Space: fixtureSpace, Parent: fixtureChannel, Root: 1},
		{ID: fixtureGroup, Kind: im.Group},
		{ID: fixtureRoom, Kind: im.Room},
		{ID: fixtureThread, Kind: im.Thread, Parent: fixtureGroup, Root: 2},
	} {
		h.setTexts(&c)
		h.write(func(tx im.Tx) error { return tx.CreateConversation(c) })
	}
	for _, role := range []im.ID{fixtureRole, fixtureOtherRole} {
		h.renameRole(role)
	}
	return h
}

func (h *textFixture) write(fn func(im.Tx) error) {
	h.Helper()
	if err := h.Write(context.Background(), fn); err != nil {
		h.Fatal(err)
	}
}

// newText returns a text that consists of a new marker, repeated.
func (h *textFixture) newText(count int) string {
	marker := newMarker(h.random)
	h.traces.add(marker)
	text := strings.Repeat(marker+" ", 1+count/len(marker))
	return text[:count/len(marker)*len(marker)]
}

// setTexts sets new texts for a conversation in the fixture.
func (h *textFixture) setTexts(c *im.Conversation) {
	c.Name, c.Announcement, c.Avatar = h.newText(im.MaxName), h.newText(im.MaxAnnouncement), h.newText(im.MaxAvatar)
	h.texts[fmt.Sprintf("conversations.name of %v", c.ID)] = c.Name
	h.texts[fmt.Sprintf("conversations.announcement of %v", c.ID)] = c.Announcement
	h.texts[fmt.Sprintf("conversations.avatar of %v", c.ID)] = c.Avatar
}

// update sets new texts for an existing conversation.
func (h *textFixture) update(id im.ID) {
	h.Helper()
	h.write(func(tx im.Tx) error {
		c, err := tx.Conversation(id)
		if err != nil {
			return err
		}
		h.setTexts(&c)
		return tx.UpdateConversation(c)
	})
}

// renameRole renames a role and stores a new version of the roles, as the use case does.
func (h *textFixture) renameRole(role im.ID) {
	h.Helper()
	name := h.newText(im.MaxRoleName)
	h.texts[fmt.Sprintf("role_names.name of %v", role)] = name
	h.write(func(tx im.Tx) (err error) {
		h.at, err = tx.Append(im.Event{Type: im.RoleUpdated, At: fromMillis(1), Conversation: fixtureSpace, Space: fixtureSpace, RoleID: role, Actor: "alice"})
		if err != nil {
			return err
		}
		if err := tx.PutRoles(fixtureSpace, im.SpaceRoles{Roles: im.RoleSet{{ID: fixtureRole}, {ID: fixtureOtherRole}, {ID: im.Everyone}}}, h.at); err != nil {
			return err
		}
		return tx.PutRoleName(fixtureSpace, role, name)
	})
}

// delete deletes a conversation with its children.
func (h *textFixture) delete(ids ...im.ID) {
	h.Helper()
	h.write(func(tx im.Tx) error {
		at, err := tx.Append(im.Event{Type: im.ConversationDeleted, At: fromMillis(1), Conversation: ids[0], Actor: "alice"})
		if err != nil {
			return err
		}
		return tx.DeleteConversation(ids[0], fromMillis(1), at)
	})
	for of := range h.texts {
		for _, id := range ids {
			if strings.HasPrefix(of, "conversations.") && strings.HasSuffix(of, fmt.Sprintf(" of %v", id)) || id == fixtureSpace && strings.HasPrefix(of, "role_names.") {
				delete(h.texts, of)
			}
		}
	}
}

// check compares the stored texts with those of the fixture, and checks that replaced values cannot
// be unsealed.
func (h *textFixture) check(what string, before map[string]sealedRow) map[string]sealedRow {
	h.Helper()
	h.traces.checkAbsent(h, h.dir)
	stored := allSealed(h, h.Store)
	if got, want := slices.Sorted(maps.Keys(stored)), slices.Sorted(maps.Keys(h.texts)); !slices.Equal(got, want) {
		h.Fatalf("%s: stored\n%q, want\n%q", what, got, want)
	}
	for of, row := range stored {
		if text, err := (&reader{sealer: h.sealer}).unseal(row.slot, row.sealed); err != nil || string(text) != h.texts[of] {
			h.Fatalf("%s: %s = %q, %v", what, of, text, err)
		}
	}
	waitShredded(h, h.Store)
	for of, row := range before {
		text, err := (&reader{sealer: h.sealer}).unseal(row.slot, row.sealed)
		if row.slot == stored[of].slot {
			continue
		}
		if shredded := (*im.ShreddedError)(nil); !errors.As(err, &shredded) || shredded.Code != im.ShredRemoved {
			h.Fatalf("%s: the old %s can be unsealed: %q, %v", what, of, text, err)
		}
	}
	return stored
}

// TestTextsAreSealed checks that texts of all conversations and names of roles are in no
// file, and that a text can no longer be unsealed after it was changed or its conversation
// deleted.
func TestTextsAreSealed(t *testing.T) {
	h := newTextFixture(t, t.TempDir())
	step := steps.Begin(t)
	step("all texts are sealed")
	first := h.check("at first", nil)
	if len(first) != 6*3+2 {
		t.Fatalf("the fixture has %d texts, want 20", len(first))
	}
	step("a change of another field seals nothing again")
	h.write(func(tx im.Tx) error {
		c, err := tx.Conversation(fixtureGroup)
		if err != nil {
			return err
		}
		c.MuteAll, c.EditedAt = true, fromMillis(5)
		return errors.Join(tx.UpdateConversation(c), tx.PutRoleName(fixtureSpace, fixtureRole, h.texts[fmt.Sprintf("role_names.name of %v", fixtureRole)]))
	})
	for of, row := range h.check("another change", first) {
		if row.slot != first[of].slot {
			t.Errorf("%s was sealed again", of)
		}
	}
	step("a change of one text does not seal the others again")
	h.write(func(tx im.Tx) error {
		c, err := tx.Conversation(fixtureRoom)
		if err != nil {
			return err
		}
		c.Announcement = h.newText(100)
		h.texts[fmt.Sprintf("conversations.announcement of %v", fixtureRoom)] = c.Announcement
		return tx.UpdateConversation(c)
	})
	for of, row := range h.check("one text changed", first) {
		if same := row.slot == first[of].slot; same == (of == fmt.Sprintf("conversations.announcement of %v", fixtureRoom)) {
			t.Errorf("%s is in the same slot: %v", of, same)
		}
	}
	step("all are changed")
	for _, id := range []im.ID{fixtureSpace, fixtureChannel, fixtureGroup, fixtureRoom, fixtureThread, fixtureChannelThread} {
		h.update(id)
	}
	for range 3 {
		h.renameRole(fixtureRole)
	}
	second := h.check("all changed", first)
	step("a role is deleted")
	h.write(func(tx im.Tx) error {
		delete(h.texts, fmt.Sprintf("role_names.name of %v", fixtureOtherRole))
		return tx.PutRoleName(fixtureSpace, fixtureOtherRole, "")
	})
	h.check("a role was deleted", second)
	step("conversations are deleted")
	h.delete(fixtureChannel, fixtureChannelThread)
	h.check("a channel was deleted", second)
	h.delete(fixtureSpace)
	h.delete(fixtureGroup, fixtureThread)
	h.delete(fixtureRoom)
	if len(h.texts) != 0 {
		t.Errorf("remaining texts: %v", slices.Sorted(maps.Keys(h.texts)))
	}
	h.check("all deleted", second)
	h.check("all deleted, first texts", first)
	step("no file has a trace of them")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h.traces.checkAbsent(t, h.dir)
}

// TestReadOfAnOldName checks that a read with an old snapshot is repeated, and returns the new
// text, if the key of the old text was shredded in the meantime.
func TestReadOfAnOldName(t *testing.T) {
	h := newTextFixture(t, t.TempDir())
	for _, list := range []bool{false, true} {
		runs := 0
		var got im.Conversation
		var names map[im.ID]string
		err := h.View(t.Context(), func(r im.Reader) (err error) {
			runs++
			if _, err := r.Conversation(fixtureGroup); err != nil { // begins the snapshot
				return err
			}
			if runs == 1 {
				h.update(fixtureSpace)
				h.update(fixtureChannel)
				h.renameRole(fixtureRole)
				await.Until(t, "the keys of the old texts are shredded", func() bool { n, _ := h.Unshredded(); return n == 0 })
			}
			if list {
				var all []im.Conversation
				if all, err = r.Channels(fixtureSpace, 0, 9); err == nil {
					got = all[0]
				}
			} else if names, err = r.RoleNames(fixtureSpace); err == nil {
				got, err = r.Conversation(fixtureChannel)
			}
			return err
		})
		if err != nil || runs != 2 || got.Name != h.texts[fmt.Sprintf("conversations.name of %v", fixtureChannel)] {
			t.Errorf("list %v: %d runs, %q, %v", list, runs, got.Name, err)
		}
		if !list && names[fixtureRole] != h.texts[fmt.Sprintf("role_names.name of %v", fixtureRole)] {
			t.Errorf("after %d runs the role is called %q", runs, names[fixtureRole])
		}
	}
}

// TestLostTexts checks that a damaged text, or one without its key, reads as empty and can
// be set again.
func TestLostTexts(t *testing.T) {
	h := newTextFixture(t, t.TempDir())
	h.write(func(w im.Tx) error {
		t := w.(*tx)
		for _, query := range []string{
			"UPDATE conversations SET name_slot = 1 << 40, avatar = zeroblob(40) WHERE id = 103",
			"UPDATE role_names SET slot = 1 << 40 WHERE role_id = 201",
		} {
			if err := t.must(query); err != nil {
				return err
			}
		}
		return nil
	})
	checkTexts := func(what string, name, avatar, role string) {
		t.Helper()
		err := h.View(t.Context(), func(r im.Reader) error {
			c, err := r.Conversation(fixtureGroup)
			if err != nil || c.Name != name || c.Avatar != avatar || c.Announcement == "" {
				t.Errorf("%s: %q, %q, %v", what, c.Name, c.Avatar, err)
			}
			names, err := r.RoleNames(fixtureSpace)
			if err != nil || names[fixtureRole] != role || names[fixtureOtherRole] == "" {
				t.Errorf("%s: %q, %v", what, names, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	checkTexts("damaged", "", "", "")
	h.write(func(tx im.Tx) error {
		c, err := tx.Conversation(fixtureGroup)
		if err != nil {
			return err
		}
		c.Name = "a name"
		return errors.Join(tx.UpdateConversation(c), tx.PutRoleName(fixtureSpace, fixtureRole, "a role"))
	})
	checkTexts("set again", "a name", "", "a role")
	waitShredded(t, h.Store)
	for of, row := range allSealed(t, h.Store) {
		if _, err := (&reader{sealer: h.sealer}).unseal(row.slot, row.sealed); err != nil {
			t.Errorf("%s cannot be unsealed: %v", of, err)
		}
	}
}

// TestRenamedAfterCrash kills a process right after it has acknowledged renames. When the
// store is open again, the keys of the old names must be shredded, and the new names must
// be readable.
func TestRenamedAfterCrash(t *testing.T) {
	for _, count := range []int{1, 40} {
		dir := t.TempDir()
		traces := newTraces()
		var oldSlots []im.Slot
		for _, line := range killAfter(t, "TestRenameCrashHelper", "IMAPI_TEST_RENAME_CRASH="+dir, count) {
			marker, slots, _ := strings.Cut(line, " ")
			traces.add(marker)
			for slot := range strings.FieldsSeq(slots) {
				number, err := strconv.ParseUint(slot, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				oldSlots = append(oldSlots, im.Slot(number))
			}
		}
		traces.checkAbsent(t, dir)
		s := openAt(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal"})
		if n := rowsOf(t, s, "doomed"); n != 0 || len(oldSlots) < 3*count {
			t.Errorf("%d keys remain to be shredded, %d old texts", n, len(oldSlots))
		}
		for _, old := range oldSlots {
			if _, err := s.sealer.keys.Key(old); !errors.As(err, new(*im.ShreddedError)) {
				t.Errorf("slot %d has a key: %v", old, err)
			}
		}
		for of, row := range allSealed(t, s) {
			if _, err := (&reader{sealer: s.sealer}).unseal(row.slot, row.sealed); err != nil {
				t.Errorf("%s cannot be unsealed: %v", of, err)
			}
		}
		traces.checkAbsent(t, dir)
	}
}

// TestRenameCrashHelper is the process that is killed. It prints a line for each rename
// with the marker of the new name and the slots of the old texts.
func TestRenameCrashHelper(t *testing.T) {
	dir := os.Getenv("IMAPI_TEST_RENAME_CRASH")
	if dir == "" {
		return
	}
	h := newTextFixture(t, dir)
	for {
		var old texts
		var role sealedText
		h.write(func(w im.Tx) error {
			s := w.(*tx).session
			_, err := s.row(selectTexts, []any{int64(fixtureGroup)}, old.dest()...)
			if err == nil {
				_, err = s.row(selectRoleName, []any{int64(fixtureRole)}, &role.slot, &role.sealed)
			}
			return err
		})
		h.renameRole(fixtureRole)
		h.update(fixtureGroup)
		marker, _, _ := strings.Cut(h.texts[fmt.Sprintf("conversations.name of %v", fixtureGroup)], " ")
		fmt.Println(marker, role.slot.Int64, old.name.slot.Int64, old.announcement.slot.Int64, old.avatar.slot.Int64)
	}
}
