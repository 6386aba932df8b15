package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// sealedColumns are all columns with sealed content, each with that of its slot. Their rows
// are known by the rowid.
var sealedColumns = []struct{ table, slot, sealed string }{
	{"messages", "slot", "sealed"},
	{"messages", "note_slot", "note"},
	{"conversations", "name_slot", "name"},
	{"conversations", "announcement_slot", "announcement"},
	{"conversations", "avatar_slot", "avatar"},
	{"role_names", "slot", "name"},
}

// TestSealedColumns: every column that may hold content is known as one that is sealed,
// with the column of its slot, also to who reads docs/erasure.md; every other one with
// text holds what is no content.
func TestSealedColumns(t *testing.T) {
	s := openNew(t, Options{})
	const (
		userID = "the id of a user" // whoever the application's tokens name
		ids    = "numbers and ids"
		client = "what a client calls it"
	)
	plain := map[string]string{
		"meta.key": "ours", "meta.value": "ours",
		"users.name": userID, "blocks.name": userID, "list_stays.name": userID, "invitations.name": userID,
		"space_roles.roles": ids, "channel_access.access": ids, "events.data": ids,
		"messages.sender_device": client, "messages.client_id": client, "events.actor_device": client, "remembered_messages.client_id": client,
		"events.type": "the name of a type",
	}
	columns := map[string]string{}
	err := s.View(t.Context(), func(r im.Reader) error {
		return r.(*reader).session.query(`SELECT m.name || '.' || c.name, upper(c.type) FROM sqlite_schema m
			CROSS JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT GLOB 'search*' AND m.name NOT GLOB 'sqlite_*'`,
			nil, func(rows *sql.Rows) (bool, error) {
				var name, is string
				err := rows.Scan(&name, &is)
				columns[name] = is
				return true, err
			})
	})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/erasure.md")
	if err != nil {
		t.Fatal(err)
	}
	sealed := map[string]bool{}
	for _, c := range sealedColumns {
		if row := fmt.Sprintf("| `%s.%s` | `%[1]s.%[3]s` |", c.table, c.sealed, c.slot); !bytes.Contains(doc, []byte(row)) {
			t.Errorf("docs/erasure.md does not have %s", row)
		}
		sealed[c.table+"."+c.sealed] = true
		if is := columns[c.table+"."+c.slot]; is != "INTEGER" {
			t.Errorf("%s.%s is %q", c.table, c.slot, is)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		switch is := columns[name]; {
		case is == "INTEGER":
		case is == "BLOB" && sealed[name]:
			delete(sealed, name)
		case plain[name] == "":
			t.Errorf("%s, which is %s, is not known to be without content, and is not sealed", name, is)
		}
	}
	if len(sealed) > 0 {
		t.Errorf("there are no columns %v", sealed)
	}
}

// allSealed is what sealedColumns have, by table, column and row.
func allSealed(tb testing.TB, s *Store) map[string]sealedRow {
	tb.Helper()
	all := map[string]sealedRow{}
	for _, c := range sealedColumns {
		query := fmt.Sprintf("SELECT rowid, %s, %s FROM %s WHERE %[2]s IS NOT NULL", c.slot, c.sealed, c.table)
		err := s.View(context.Background(), func(r im.Reader) error {
			return r.(*reader).session.query(query, nil, func(rows *sql.Rows) (bool, error) {
				var id im.ID
				var row sealedRow
				err := rows.Scan(&id, &row.slot, &row.sealed)
				all[fmt.Sprintf("%s.%s of %v", c.table, c.sealed, id)] = row
				return true, err
			})
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

// TestSealedGoesThroughAll: what is brought in line with the keys and verified is all that
// is sealed, in whichever column.
func TestSealedGoesThroughAll(t *testing.T) {
	h := newHall(t, t.TempDir())
	h.write(func(tx im.Tx) error {
		for id := firstID; id < firstID+3; id++ {
			content := marked(h.marked(40), 100)
			if _, err := tx.InsertMessage(im.Message{ID: id, Conversation: hallGroup, Sender: "alice", Type: im.Text, State: im.Active, Content: content}); err != nil {
				return err
			}
		}
		_, err := tx.Erase(firstID, im.Erasure{State: im.Revoked, By: "alice", Postscript: h.marked(40)}, fromMillis(1))
		return err
	})
	found := map[int64]bool{}
	for next := (&im.SealedKey{ID: math.MinInt64}); next != nil; {
		err := h.View(t.Context(), func(r im.Reader) error {
			page, err := r.Sealed(*next, 2, im.SealedContent)
			for _, s := range page.Items {
				found[int64(s.Slot)] = true
			}
			next = page.Next
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	columns := map[string]bool{}
	for of, row := range allSealed(t, h.Store) {
		if !found[row.slot] {
			t.Errorf("%s is passed over", of)
		}
		column, _, _ := strings.Cut(of, " ")
		columns[column] = true
	}
	if len(columns) != len(sealedColumns) {
		t.Errorf("there is something in %v alone", slices.Sorted(maps.Keys(columns)))
	}
}

// hall is a store with a conversation of each kind with all texts that there are, each of
// which has a marker.
type hall struct {
	testing.TB
	*Store
	random *rand.Rand
	dir    string
	traces *traces
	at     im.Position
	// texts are what is called how, by table, column and row, as allSealed.
	texts map[string]string
}

// Ids in it: the kinds are those of conversations, and thread is in the group.
const (
	hallSpace, hallChannel, hallGroup, hallRoom, hallThread im.ID = 101, 102, 103, 104, 105
	hallThreadBelow                                         im.ID = 106
	hallRole, hallOtherRole                                 im.ID = 201, 202
)

func newHall(tb testing.TB, dir string) *hall {
	h := &hall{
		TB: tb, Store: openAt(tb, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal", ReadLimit: time.Minute}),
		random: rand.New(rand.NewPCG(51, 52)), dir: dir, traces: newTraces(), texts: map[string]string{},
	}
	for _, c := range []im.Conversation{
		{ID: hallSpace, Kind: im.Space},
		{ID: hallChannel, Kind: im.Channel, Space: hallSpace},
		{ID: hallThreadBelow, Kind: im.Thread, Space: hallSpace, Parent: hallChannel, Root: 1},
		{ID: hallGroup, Kind: im.Group},
		{ID: hallRoom, Kind: im.Room},
		{ID: hallThread, Kind: im.Thread, Parent: hallGroup, Root: 2},
	} {
		h.retext(&c)
		h.write(func(tx im.Tx) error { return tx.CreateConversation(c) })
	}
	for _, role := range []im.ID{hallRole, hallOtherRole} {
		h.rename(role)
	}
	return h
}

func (h *hall) write(fn func(im.Tx) error) {
	h.Helper()
	if err := h.Write(context.Background(), fn); err != nil {
		h.Fatal(err)
	}
}

// marked is a text with a marker of its own, from its beginning to its end.
func (h *hall) marked(most int) string {
	marker := newMarker(h.random)
	h.traces.add(marker)
	text := strings.Repeat(marker+" ", 1+most/len(marker))
	return text[:most/len(marker)*len(marker)]
}

// retext gives a conversation other texts.
func (h *hall) retext(c *im.Conversation) {
	c.Name, c.Announcement, c.Avatar = h.marked(im.MaxName), h.marked(im.MaxAnnouncement), h.marked(im.MaxAvatar)
	h.texts[fmt.Sprintf("conversations.name of %v", c.ID)] = c.Name
	h.texts[fmt.Sprintf("conversations.announcement of %v", c.ID)] = c.Announcement
	h.texts[fmt.Sprintf("conversations.avatar of %v", c.ID)] = c.Avatar
}

// update gives a conversation that is there other texts.
func (h *hall) update(id im.ID) {
	h.Helper()
	h.write(func(tx im.Tx) error {
		c, err := tx.Conversation(id)
		if err != nil {
			return err
		}
		h.retext(&c)
		return tx.UpdateConversation(c)
	})
}

// rename gives a role another name, with a new version of the roles, as a use case does.
func (h *hall) rename(role im.ID) {
	h.Helper()
	name := h.marked(im.MaxRoleName)
	h.texts[fmt.Sprintf("role_names.name of %v", role)] = name
	h.write(func(tx im.Tx) (err error) {
		h.at, err = tx.Append(im.Event{Type: im.RoleUpdated, At: fromMillis(1), Conversation: hallSpace, Space: hallSpace, RoleID: role, Actor: "alice"})
		if err != nil {
			return err
		}
		if err := tx.PutRoles(hallSpace, im.SpaceRoles{Roles: im.RoleSet{{ID: hallRole}, {ID: hallOtherRole}, {ID: im.Everyone}}}, h.at); err != nil {
			return err
		}
		return tx.PutRoleName(hallSpace, role, name)
	})
}

// delete deletes a conversation with what is below it.
func (h *hall) delete(ids ...im.ID) {
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
			if strings.HasPrefix(of, "conversations.") && strings.HasSuffix(of, fmt.Sprintf(" of %v", id)) || id == hallSpace && strings.HasPrefix(of, "role_names.") {
				delete(h.texts, of)
			}
		}
	}
}

// hold holds what is stored against what was said, and shows of what was stored before
// and is not any more that it cannot be unsealed.
func (h *hall) hold(what string, before map[string]sealedRow) map[string]sealedRow {
	h.Helper()
	h.traces.nowhere(h, h.dir)
	is := allSealed(h, h.Store)
	if got, want := slices.Sorted(maps.Keys(is)), slices.Sorted(maps.Keys(h.texts)); !slices.Equal(got, want) {
		h.Fatalf("%s: there are\n%q, not\n%q", what, got, want)
	}
	for of, row := range is {
		if text, err := (&reader{sealer: h.sealer}).unseal(row.slot, row.sealed); err != nil || string(text) != h.texts[of] {
			h.Fatalf("%s: %s is %q, %v", what, of, text, err)
		}
	}
	shredded(h, h.Store)
	for of, row := range before {
		text, err := (&reader{sealer: h.sealer}).unseal(row.slot, row.sealed)
		if row.slot == is[of].slot {
			continue
		}
		if gone := (*im.ShreddedError)(nil); !errors.As(err, &gone) || gone.Code != im.ShredRemoved {
			h.Fatalf("%s: %s of before is unsealed: %q, %v", what, of, text, err)
		}
	}
	return is
}

// TestTextsAreSealed: names, announcements and avatars of conversations of every kind, and
// names of roles, are in no file at any time. What one was before it was changed, or its
// conversation deleted, cannot be unsealed any more, and all others can.
func TestTextsAreSealed(t *testing.T) {
	h := newHall(t, t.TempDir())
	first := h.hold("given", nil)
	if len(first) != 6*3+2 {
		t.Fatalf("%d texts were given", len(first))
	}
	// Something else changes: nothing is sealed anew.
	h.write(func(tx im.Tx) error {
		c, err := tx.Conversation(hallGroup)
		if err != nil {
			return err
		}
		c.MuteAll, c.EditedAt = true, fromMillis(5)
		return errors.Join(tx.UpdateConversation(c), tx.PutRoleName(hallSpace, hallRole, h.texts[fmt.Sprintf("role_names.name of %v", hallRole)]))
	})
	for of, row := range h.hold("something else", first) {
		if row.slot != first[of].slot {
			t.Errorf("%s was sealed anew", of)
		}
	}
	// One of three changes: the others stay as they are.
	h.write(func(tx im.Tx) error {
		c, err := tx.Conversation(hallRoom)
		if err != nil {
			return err
		}
		c.Announcement = h.marked(100)
		h.texts[fmt.Sprintf("conversations.announcement of %v", hallRoom)] = c.Announcement
		return tx.UpdateConversation(c)
	})
	for of, row := range h.hold("one of three", first) {
		if same := row.slot == first[of].slot; same == (of == fmt.Sprintf("conversations.announcement of %v", hallRoom)) {
			t.Errorf("%s is where it was: %v", of, same)
		}
	}
	for _, id := range []im.ID{hallSpace, hallChannel, hallGroup, hallRoom, hallThread, hallThreadBelow} {
		h.update(id)
	}
	for range 3 {
		h.rename(hallRole)
	}
	second := h.hold("changed", first)
	h.write(func(tx im.Tx) error {
		delete(h.texts, fmt.Sprintf("role_names.name of %v", hallOtherRole))
		return tx.PutRoleName(hallSpace, hallOtherRole, "")
	})
	h.hold("a role was deleted", second)
	h.delete(hallChannel, hallThreadBelow)
	h.hold("a channel was deleted", second)
	h.delete(hallSpace)
	h.delete(hallGroup, hallThread)
	h.delete(hallRoom)
	if len(h.texts) != 0 {
		t.Errorf("what is left: %v", slices.Sorted(maps.Keys(h.texts)))
	}
	h.hold("all was deleted", second)
	h.hold("of the first", first)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h.traces.nowhere(t, h.dir)
}

// TestReadOfAnOldName: a read whose snapshot is from before a renaming, and that comes to
// the name after its key was shredded, is run again and sees the new one.
func TestReadOfAnOldName(t *testing.T) {
	h := newHall(t, t.TempDir())
	for _, list := range []bool{false, true} {
		runs := 0
		var got im.Conversation
		var names map[im.ID]string
		err := h.View(t.Context(), func(r im.Reader) (err error) {
			runs++
			if _, err := r.Conversation(hallGroup); err != nil { // the snapshot begins
				return err
			}
			if runs == 1 {
				h.update(hallSpace)
				h.update(hallChannel)
				h.rename(hallRole)
				for began := time.Now(); ; time.Sleep(time.Millisecond) {
					if n, _ := h.Unshredded(); n == 0 {
						break
					} else if time.Since(began) > patience {
						return errors.New("they are not shredded")
					}
				}
			}
			if list {
				var all []im.Conversation
				if all, err = r.Channels(hallSpace, 0, 9); err == nil {
					got = all[0]
				}
			} else if names, err = r.RoleNames(hallSpace); err == nil {
				got, err = r.Conversation(hallChannel)
			}
			return err
		})
		if err != nil || runs != 2 || got.Name != h.texts[fmt.Sprintf("conversations.name of %v", hallChannel)] {
			t.Errorf("list %v: %d runs, %q, %v", list, runs, got.Name, err)
		}
		if !list && names[hallRole] != h.texts[fmt.Sprintf("role_names.name of %v", hallRole)] {
			t.Errorf("%d runs, the role is %q", runs, names[hallRole])
		}
	}
}

// TestLostTexts: where the key of a text was lost, or the text is damaged, it is empty,
// and what it is the text of can still be used, and named again.
func TestLostTexts(t *testing.T) {
	h := newHall(t, t.TempDir())
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
	look := func(what string, name, avatar, role string) {
		t.Helper()
		err := h.View(t.Context(), func(r im.Reader) error {
			c, err := r.Conversation(hallGroup)
			if err != nil || c.Name != name || c.Avatar != avatar || c.Announcement == "" {
				t.Errorf("%s: %q, %q, %v", what, c.Name, c.Avatar, err)
			}
			names, err := r.RoleNames(hallSpace)
			if err != nil || names[hallRole] != role || names[hallOtherRole] == "" {
				t.Errorf("%s: %q, %v", what, names, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	look("lost", "", "", "")
	h.write(func(tx im.Tx) error {
		c, err := tx.Conversation(hallGroup)
		if err != nil {
			return err
		}
		c.Name = "a name"
		return errors.Join(tx.UpdateConversation(c), tx.PutRoleName(hallSpace, hallRole, "a role"))
	})
	look("named again", "a name", "", "a role")
	shredded(t, h.Store)
	for of, row := range allSealed(t, h.Store) {
		if _, err := (&reader{sealer: h.sealer}).unseal(row.slot, row.sealed); err != nil {
			t.Errorf("%s cannot be unsealed: %v", of, err)
		}
	}
}

// TestRenamedIsGoneAfterCrash: a process is killed right after it has answered that
// something has another name. Once the store is open again, before anyone is served, the
// keys of all old names that it has answered for are shredded, and the new ones are there.
func TestRenamedIsGoneAfterCrash(t *testing.T) {
	for _, most := range []int{1, 40} {
		dir := t.TempDir()
		traces := newTraces()
		var olds []im.Slot
		for _, line := range killAfter(t, "TestRenameCrashHelper", "IMAPI_TEST_RENAME_CRASH="+dir, most) {
			marker, slots, _ := strings.Cut(line, " ")
			traces.add(marker)
			for slot := range strings.FieldsSeq(slots) {
				number, err := strconv.ParseUint(slot, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				olds = append(olds, im.Slot(number))
			}
		}
		traces.nowhere(t, dir)
		s := openAt(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal"})
		if n := rowsOf(t, s, "doomed"); n != 0 || len(olds) < 3*most {
			t.Errorf("%d keys are noted as to be shredded, of %d", n, len(olds))
		}
		for _, old := range olds {
			if _, err := s.sealer.keys.Key(old); !errors.As(err, new(*im.ShreddedError)) {
				t.Errorf("slot %d has a key: %v", old, err)
			}
		}
		for of, row := range allSealed(t, s) {
			if _, err := (&reader{sealer: s.sealer}).unseal(row.slot, row.sealed); err != nil {
				t.Errorf("%s cannot be unsealed: %v", of, err)
			}
		}
		traces.nowhere(t, dir)
	}
}

// TestRenameCrashHelper is the process that crashes, not a test of its own. It says a line
// for each time that something was named anew, with the marker of the new name and the
// slots of the old texts.
func TestRenameCrashHelper(t *testing.T) {
	dir := os.Getenv("IMAPI_TEST_RENAME_CRASH")
	if dir == "" {
		return
	}
	h := newHall(t, dir)
	for {
		var old texts
		var role sealedText
		h.write(func(w im.Tx) error {
			s := w.(*tx).session
			_, err := s.row(selectTexts, []any{int64(hallGroup)}, old.dest()...)
			if err == nil {
				_, err = s.row(selectRoleName, []any{int64(hallRole)}, &role.slot, &role.sealed)
			}
			return err
		})
		h.rename(hallRole)
		h.update(hallGroup)
		marker, _, _ := strings.Cut(h.texts[fmt.Sprintf("conversations.name of %v", hallGroup)], " ")
		fmt.Println(marker, role.slot.Int64, old.name.slot.Int64, old.announcement.slot.Int64, old.avatar.slot.Int64)
	}
}
