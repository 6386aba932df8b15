package sqlite

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/imapi/imapi/im"
)

// rowsOf counts those of a table.
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

// TestStandingGoesWithTheLog: what ended before the log begins is removed, in
// bounded steps, and what lasts stays until its place is deleted.
func TestStandingGoesWithTheLog(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
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
			if err := tx.PutRoles(space, im.RoleSet{{Name: fmt.Sprint(i)}}, pos); err != nil {
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
			return tx.EndStanding(space, "alice", pos)
		})
	}
	tables := []string{"space_roles", "channel_access", "role_stays", "list_stays"}
	hold := func(what string, want int) {
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
	hold("all", changes)
	trim(2) // the event of the first change, and of the end of its stays
	for _, table := range tables[2:] {
		if n := rowsOf(t, s, table); n != changes-1 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}
	for trim(7) > 0 {
	}
	hold("what lasts", 1)

	write(func(tx im.Tx) error {
		pos, err := event(tx)
		if err != nil {
			return err
		}
		return tx.DeleteConversation(space, at, pos)
	})
	hold("after the deletion", 1)
	trim(7)
	hold("after the log was cut", 0)
}

// TestPlacesAfterUpgrade: conversations from before there were others read back as
// what they were, and stand in the list of their members.
func TestPlacesAfterUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	if err := createFile(path); err != nil {
		t.Fatal(err)
	}
	known, err := loadMigrations(migrations)
	if err != nil {
		t.Fatal(err)
	}
	before := fstest.MapFS{}
	for _, m := range known[:5] {
		before["migrations/"+m.name] = &fstest.MapFile{Data: []byte(m.script)}
	}
	session, err := openSession(path, Options{Synchronous: "NORMAL"}, setup)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate(session, before); err != nil {
		t.Fatal(err)
	}
	_, err = session.conn.ExecContext(t.Context(), `
		INSERT INTO users (id, name) VALUES (1, 'alice'), (2, 'bob');
		INSERT INTO conversations (id, kind, name, history, peer_low, peer_high, member_count, created_at, updated_at)
			VALUES (7, 1, '', 2, 1, 2, 2, 5, 5), (8, 2, 'a group', 2, NULL, NULL, 1, 6, 6);
		INSERT INTO members (conversation_id, user_id, role, joined_at) VALUES (7, 1, 1, 5), (7, 2, 1, 5), (8, 1, 3, 6);
		INSERT INTO intervals (conversation_id, user_id, from_event, from_seq) VALUES (7, 1, 1, 1), (7, 2, 1, 1), (8, 1, 2, 1)`)
	if err := session.close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path, Options{})
	err = s.View(t.Context(), func(r im.Reader) error {
		list, err := r.Conversations(im.ConversationQuery{User: "alice", AsOf: time.UnixMilli(9), Limit: 9})
		if err != nil {
			return err
		}
		if len(list) != 2 || list[0].ID != 8 || list[1].ID != 7 {
			t.Errorf("listed: %+v", list)
		}
		for _, c := range list {
			if c.Join != im.JoinClosed || c.Invite != im.InviteByAdmins || c.Creator != "" || c.Private || c.MuteAll || c.RevokeOthersWindow != nil {
				t.Errorf("%+v", c)
			}
		}
		spaces, err := r.Spaces("alice", 0, 9)
		if len(spaces) != 0 {
			t.Errorf("spaces: %+v", spaces)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for kind, want := range map[im.Kind]int{im.Direct: 2, im.Group: 1} {
		if n := rowsOf(t, s, fmt.Sprint("members WHERE kind = ", int(kind))); n != want {
			t.Errorf("%d members of a %s", n, kind)
		}
	}
}
