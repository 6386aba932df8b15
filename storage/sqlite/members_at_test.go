package sqlite

import (
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/steps"
)

// rowsOf counts the rows of a table.
func rowsOf(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	err := s.View(t.Context(), func(r im.Reader) error {
		_, err := r.(*reader).session.row("SELECT count(*) FROM "+table, nil, &n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTrimmingTheLogDeletesEndedIntervals checks that versions and intervals that ended before the
// start of the log are deleted, in bounded steps, and that present ones stay until their
// conversation is deleted.
func TestTrimmingTheLogDeletesEndedIntervals(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	step := steps.Begin(t)
	step("change roles and access")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const space, channel, changes = im.ID(1), im.ID(2), 20
	write := func(fn func(im.Tx) error) {
		t.Helper()
		if err := s.Write(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	event := func(tx im.Tx) (im.Position, error) {
		at = at.Add(time.Second)
		return tx.Append(im.Event{Type: im.SpaceUpdated, At: at, Conversation: space, Space: space})
	}
	write(func(tx im.Tx) error {
		if err := tx.CreateConversation(im.Conversation{ID: space, Kind: im.Space, CreatedAt: at, UpdatedAt: at, EditedAt: at}); err != nil {
			return err
		}
		return tx.CreateConversation(im.Conversation{ID: channel, Kind: im.Channel, Space: space, CreatedAt: at, UpdatedAt: at, EditedAt: at})
	})
	for i := range changes {
		write(func(tx im.Tx) error {
			pos, err := event(tx)
			if err != nil {
				return err
			}
			if err := tx.PutRoles(space, im.SpaceRoles{Roles: im.RoleSet{{ID: im.ID(i)}}}, pos); err != nil {
				return err
			}
			if err := tx.PutAccess(channel, im.ChannelAccess{Private: i%2 == 0}, pos); err != nil {
				return err
			}
			if err := tx.GrantRole(space, "alice", 7, pos); err != nil {
				return err
			}
			if err := tx.PutListed(channel, im.AllowList, "alice", at, pos); err != nil {
				return err
			}
			if pos, err = event(tx); err != nil || i == changes-1 {
				return err
			}
			return tx.EndSpaceAccess(space, "alice", pos)
		})
	}
	tables := []string{"space_roles", "channel_access", "role_stays", "list_stays"}
	checkRows := func(what string, want int) {
		t.Helper()
		for _, table := range tables {
			if n := rowsOf(t, s, table); n != want {
				t.Errorf("%s: %d rows of %s, want %d", what, n, table, want)
			}
		}
	}
	trim := func(limit int) (n int) {
		t.Helper()
		write(func(tx im.Tx) (err error) {
			n, err = tx.TrimLog(at.Add(time.Hour), limit)
			return err
		})
		return n
	}
	step("trim the log")
	checkRows("at first", changes)
	trim(2) // the events of the first change and of the end of its stays
	for _, table := range tables[2:] {
		if n := rowsOf(t, s, table); n != changes-1 {
			t.Errorf("%d rows of %s remain", n, table)
		}
	}
	for trim(7) > 0 {
	}
	checkRows("after trimming the log", 1)

	step("delete the space, and trim")
	write(func(tx im.Tx) error {
		pos, err := event(tx)
		if err != nil {
			return err
		}
		return tx.DeleteConversation(space, at, pos)
	})
	checkRows("after the deletion", 1)
	trim(7)
	checkRows("after trimming the deletion", 0)
}
