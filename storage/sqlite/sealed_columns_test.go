package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

// sealedColumns are all columns with sealed content, with the column of its slot. Rows are
// identified by rowid.
var sealedColumns = []struct{ table, slot, sealed string }{
	{"messages", "slot", "sealed"},
	{"messages", "note_slot", "note"},
	{"conversations", "name_slot", "name"},
	{"conversations", "announcement_slot", "announcement"},
	{"conversations", "avatar_slot", "avatar"},
	{"role_names", "slot", "name"},
	{"attachments", "slot", "info"},
	{"thumbnails", "slot", "info"},
	{"webhooks", "slot", "sealed"},
}

// TestSealedColumns checks that each column that could hold content is sealed, has a slot,
// and is listed in docs/erasure.md. Other text columns are listed here with what they contain.
func TestSealedColumns(t *testing.T) {
	s := openNew(t, Options{})
	const (
		userID = "the id of a user" // from the application's tokens
		ids    = "numbers and ids"
		client = "an id chosen by a client"
	)
	plain := map[string]string{
		"meta.key": "constants and random values", "meta.value": "constants and random values",
		"users.name": userID, "blocks.name": userID, "list_stays.name": userID, "invitations.name": userID,
		"space_roles.roles": ids, "channel_access.access": ids, "events.data": ids,
		"messages.sender_device": client, "messages.client_id": client, "events.actor_device": client, "remembered_messages.client_id": client,
		"creations.client_id": client, "creations.members": "a digest of ids of users",
		"events.type": "the name of an event type", "webhook_deliveries.type": "the name of an event type",
		"webhooks.url": "set by an admin", "webhooks.events": "names of event types", "webhooks.kinds": ids,
	}
	columns := map[string]string{}
	err := s.View(t.Context(), func(r im.Reader) error {
		return r.(*reader).session.query(`SELECT m.name || '.' || c.name, upper(c.type) FROM sqlite_schema m
			CROSS JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT GLOB 'search*' AND m.name NOT GLOB 'sqlite_*'`,
			nil, func(rows row) (bool, error) {
				var name, typ string
				err := rows.Scan(&name, &typ)
				columns[name] = typ
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
		if typ := columns[c.table+"."+c.slot]; typ != "INTEGER" {
			t.Errorf("%s.%s is %q", c.table, c.slot, typ)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		switch typ := columns[name]; {
		case typ == "INTEGER":
		case typ == "BLOB" && sealed[name]:
			delete(sealed, name)
		case plain[name] == "":
			t.Errorf("%s of type %s is neither sealed nor known to be free of content", name, typ)
		}
	}
	if len(sealed) > 0 {
		t.Errorf("missing columns: %v", sealed)
	}
}

// allSealed returns the sealed values of sealedColumns, by table, column and row.
func allSealed(tb testing.TB, s *Store) map[string]sealedRow {
	tb.Helper()
	all := map[string]sealedRow{}
	for _, c := range sealedColumns {
		query := fmt.Sprintf("SELECT rowid, %s, %s FROM %s WHERE %[2]s IS NOT NULL", c.slot, c.sealed, c.table)
		err := s.View(context.Background(), func(r im.Reader) error {
			return r.(*reader).session.query(query, nil, func(rows row) (bool, error) {
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

// TestSealedListsAll checks that Sealed lists the values of all sealed columns.
func TestSealedListsAll(t *testing.T) {
	h := newTextFixture(t, t.TempDir())
	h.write(func(tx im.Tx) error {
		for id := firstID; id < firstID+3; id++ {
			content := marked(h.newText(40), 100)
			if _, err := tx.InsertMessage(im.Message{ID: id, Conversation: fixtureGroup, Sender: "alice", Type: im.Text, State: im.Active, Content: content}); err != nil {
				return err
			}
		}
		if err := tx.PutWebhook(im.Webhook{ID: 1, State: im.WebhookActive}); err != nil {
			return err
		}
		if err := tx.PutWebhookSecrets(1, im.WebhookSecrets{Current: h.newText(40)}); err != nil {
			return err
		}
		slot, _, err := h.NextBlobKey()
		if err != nil {
			return err
		}
		a := im.Attachment{ID: firstID, Uploader: "alice", Slot: slot, Size: 1, Info: im.AttachmentInfo{Name: h.newText(40)}}
		if err := tx.InsertAttachment(a); err != nil {
			return err
		}
		if slot, _, err = h.NextBlobKey(); err != nil {
			return err
		}
		if err := tx.InsertThumbnail(im.Thumbnail{Attachment: a.ID, State: im.ThumbnailWaiting}); err != nil {
			return err
		}
		made := im.Thumbnail{Attachment: a.ID, State: im.ThumbnailMade, ID: firstID + 9, Slot: slot, Info: im.AttachmentInfo{Type: h.newText(40)}}
		if err := tx.UpdateThumbnail(made); err != nil {
			return err
		}
		_, err = tx.Erase(firstID, im.Erasure{State: im.Revoked, By: "alice", Postscript: h.newText(40)}, fromMillis(1))
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
			t.Errorf("Sealed does not list %s", of)
		}
		column, _, _ := strings.Cut(of, " ")
		columns[column] = true
	}
	if len(columns) != len(sealedColumns) {
		t.Errorf("the fixture only has values in %v", slices.Sorted(maps.Keys(columns)))
	}
}
