package main

import (
	"database/sql"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
)

// TestDamagedMessage damages the sealed content of a message in the database. Readers see it as a
// tombstone, and can read the other messages on its page. The log and verify name it. After an
// admin has revoked it by its id, verify finds nothing.
func TestDamagedMessage(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	alice := s.client("alice", "")
	group := s.group(alice)
	first, err := say(t.Context(), alice, group, "", "first")
	if err != nil {
		t.Fatal(err)
	}
	m, err := say(t.Context(), alice, group, "", "damaged")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.data, "imapi.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("UPDATE messages SET sealed = zeroblob(length(sealed)) WHERE seq = (SELECT max(seq) FROM messages)")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s.start()
	page := func() (int, []client.Message) {
		res, err := alice.ListMessagesWithResponse(t.Context(), group, &client.ListMessagesParams{})
		if problem, ok := errors.AsType[*client.Problem](err); ok {
			return problem.Status, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		return http.StatusOK, res.JSON200.Items
	}
	code, items := page()
	if code != http.StatusOK || len(items) != 2 || items[0].State != client.MessageStateExpired || string(items[0].Body) != "null" || string(items[1].Body) == "null" {
		t.Errorf("the page with a damaged message: %d, %+v", code, items)
	}
	await.Until(t, "the log names it", func() bool {
		log := s.log.String()
		return strings.Contains(log, "content of a message cannot be read") && strings.Contains(log, m.ID)
	})
	if code, out, _ := s.command("", "verify"); code != 1 || !strings.Contains(out, "message\t"+m.ID+"\tcannot be unsealed") {
		t.Errorf("verify: exit %d\n%s", code, out)
	}
	if _, err := s.admin().RevokeMessageWithResponse(t.Context(), m.ID, nil, client.RevokeMessageJSONRequestBody{}); err != nil {
		t.Errorf("an admin revokes it: %v", err)
	}
	if code, items = page(); code != http.StatusOK || len(items) != 2 || items[0].State != client.MessageStateRevoked || items[1].ID != first.ID {
		t.Errorf("the page after that: %d, %+v", code, items)
	}
	if out, _ := s.mustCommand("", "verify"); !strings.Contains(out, "0 problems") {
		t.Errorf("verify after that: %s", out)
	}
}
