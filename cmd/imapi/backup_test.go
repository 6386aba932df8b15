package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/steps"
)

// eventsFrom returns the first page of events after a cursor, and the cursor after it.
func eventsFrom(t *testing.T, c *client.Client, cursor *string) ([]client.Event, string) {
	t.Helper()
	res, err := c.GetEventsWithResponse(context.Background(), &client.GetEventsParams{Cursor: cursor}, acceptJSON)
	if err != nil {
		t.Fatal(err)
	}
	return res.JSON200.Items, res.JSON200.Cursor
}

// TestBackupAndRestore makes a backup of a running server, erases a message and restores the
// backup, as an operator would, and then checks what clients receive.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	step := steps.Begin(t)
	step("send, and back up")
	alice, bob := s.client("alice", ""), s.client("bob", "")
	group := s.group(alice, "bob")
	ctx := t.Context()
	kept, err := say(ctx, alice, group, "kept", "this stays")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := say(ctx, alice, group, "secret", "Quellwolke")
	if err != nil {
		t.Fatal(err)
	}
	_, before := eventsFrom(t, bob, nil)
	dir := filepath.Join(t.TempDir(), "backups")
	out, diag := s.mustCommand("", "backup", dir)
	file := strings.TrimSpace(out)
	if filepath.Dir(file) != dir || !strings.HasPrefix(filepath.Base(file), "imapi-") || !strings.Contains(diag, "MB; the backup took") {
		t.Errorf("backup has printed %q and %q", out, diag)
	}
	for name := range map[string]bool{file: true, filepath.Join(dir, "keys"): true} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("Quellwolke")) {
			t.Errorf("%s says what was said", name)
		}
	}
	step("revoke a message and send another")
	if _, err := alice.RevokeMessageWithResponse(ctx, secret.ID, nil, client.RevokeMessageJSONRequestBody{}); err != nil {
		t.Fatal(err)
	}
	later, err := say(ctx, alice, group, "later", "after the backup")
	if err != nil {
		t.Fatal(err)
	}
	_, after := eventsFrom(t, bob, nil)

	step("verify; a restore while the server runs is refused")
	if out, _ := s.mustCommand("", "verify"); !strings.Contains(out, "0 problems") {
		t.Errorf("verify: %s", out)
	}
	if status, _, diag := s.command("", "restore", file); status != 1 || !strings.Contains(diag, "stop the server first") {
		t.Errorf("restore while the server runs: exit %d, %s", status, diag)
	}
	step("restore while the server is stopped")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	out, diag = s.mustCommand("", "restore", file)
	if !strings.Contains(out, "1 messages erased since, 0 removed") || !strings.Contains(diag, ".replaced-") {
		t.Errorf("restore has printed %q and %q", out, diag)
	}
	if out, _ := s.mustCommand("", "verify"); !strings.Contains(out, "0 problems") {
		t.Errorf("verify without a server: %s", out)
	}
	s.start()

	step("the messages are those of the backup, without the erased one")
	for id, want := range map[string]client.MessageState{kept.ID: client.MessageStateActive, secret.ID: client.MessageStateRevoked} {
		res, err := bob.GetMessageWithResponse(ctx, id, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.JSON200.State != want {
			t.Errorf("message %s is %s, want %s", id, res.JSON200.State, want)
		}
	}
	if _, err := bob.GetMessageWithResponse(ctx, later.ID, nil); err == nil {
		t.Error("a message sent after the backup is there")
	}
	for word, want := range map[string]int{"stays": 1, "Quellwolke": 0} {
		res, err := bob.SearchMessagesWithResponse(ctx, &client.SearchMessagesParams{Q: word})
		if err != nil || len(res.JSON200.Items) != want {
			t.Errorf("a search for %s does not find %d: %v", word, want, err)
		}
	}
	step("cursors from before and after the backup")
	// A cursor from before the backup resumes and leads to the erasure. A later one gets
	// reset.
	types := func(cursor string) (list []string) {
		items, _ := eventsFrom(t, bob, &cursor)
		for _, e := range items {
			list = append(list, string(e.Type))
		}
		return list
	}
	if got := types(before); len(got) != 1 || got[0] != "message.revoked" {
		t.Errorf("after the cursor from before the backup come %v", got)
	}
	if got := types(after); len(got) == 0 || got[0] != "reset" {
		t.Errorf("after the cursor from after the backup come %v", got)
	}
	step("a cursor from after the backup, once the log is as long")
	for i := range 10 {
		if _, err := say(ctx, alice, group, "", fmt.Sprint("more ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := types(after); len(got) == 0 || got[0] != "reset" {
		t.Errorf("after the same cursor come %v, now that the log is as long", got)
	}
	step("a retry of the erased message")
	if res, err := alice.SendMessageWithResponse(ctx, group, nil, textDraft("secret", "Quellwolke")); err != nil || res.JSON200 == nil || res.JSON200.State != client.MessageStateRevoked {
		t.Errorf("a retry has answered %v, %v", res.StatusCode(), err)
	}
}

// TestRestoreElsewhere restores on a new machine that has only the backups and their copy
// of the keys.
func TestRestoreElsewhere(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	alice := s.client("alice", "")
	group := s.group(alice)
	m, err := say(t.Context(), alice, group, "", "moves")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backups")
	out, _ := s.mustCommand("", "backup", dir)
	file := strings.TrimSpace(out)
	s.kill()
	secret, err := os.ReadFile(filepath.Join(s.data, secretFile))
	if err != nil {
		t.Fatal(err)
	}
	s.data = filepath.Join(t.TempDir(), "elsewhere")
	if status, _, diag := s.command("", "restore", file); status != 1 || !strings.Contains(diag, "--keys-from") {
		t.Errorf("without keys: exit %d, %s", status, diag)
	}
	s.mustCommand("", "restore", file, "--keys-from", filepath.Join(dir, "keys"))
	if err := os.WriteFile(filepath.Join(s.data, secretFile), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	res, err := s.client("alice", "").GetMessageWithResponse(t.Context(), m.ID, nil)
	if err != nil || res.JSON200.Body == nil {
		t.Errorf("the message cannot be read: %v", err)
	}
}

// TestVerifyFindsDamage checks that a missing key and a wrong key are found and named, and
// that the exit status is 1. Lost keys stop a server until the operator accepts the loss.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	alice := s.client("alice", "")
	group := s.group(alice)
	m, err := say(t.Context(), alice, group, "", "damaged")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.data, "keys")
	keys, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(keys)
	for at := 4096; at < len(damaged); at += 16 {
		if !bytes.Equal(damaged[at:at+15], make([]byte, 15)) {
			damaged[at] ^= 1
		}
	}
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, diag := s.command("", "verify")
	if status != 1 || !strings.Contains(out, "message\t"+m.ID+"\tcannot be unsealed") || !strings.Contains(diag, "problems were found") {
		t.Errorf("damaged keys: exit %d\n%s%s", status, out, diag)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if status, _, diag := s.command("", "verify"); status != 1 || !strings.Contains(diag, "--accept-lost-keys") {
		t.Errorf("no keys: exit %d %s", status, diag)
	}
	s.args = append(s.args, "--accept-lost-keys")
	s.start()
	res, err := s.client("alice", "").GetMessageWithResponse(t.Context(), m.ID, nil)
	if err != nil || res.JSON200.State != client.MessageStateExpired {
		t.Errorf("the message whose key was lost: %v", err)
	}
	if out, _ := s.mustCommand("", "verify"); !strings.Contains(out, "0 problems") {
		t.Errorf("after that: %s", out)
	}
}

// TestReindex rebuilds the search index with and without a running server; afterwards searches find
// messages again.
func TestReindex(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	alice := s.client("alice", "")
	group := s.group(alice)
	if _, err := say(t.Context(), alice, group, "", "a heron at the pond"); err != nil {
		t.Fatal(err)
	}
	finds := func(when string) {
		t.Helper()
		res, err := alice.SearchMessagesWithResponse(t.Context(), &client.SearchMessagesParams{Q: "heron"})
		if err != nil || len(res.JSON200.Items) != 1 {
			t.Errorf("%s: %v", when, err)
		}
	}
	_, diag := s.mustCommand("", "reindex")
	if !strings.Contains(diag, " messages in ") {
		t.Errorf("reindex has printed %q", diag)
	}
	finds("while the server runs")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.data, "search.db"), []byte("this is no index"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustCommand("", "reindex")
	s.start()
	finds("without one")
}

// TestJobsAreOnlyForCommands checks that jobs that write files cannot be requested over
// the network, not even by an admin, and that misuse is reported.
func TestJobsAreOnlyForCommands(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	dir := filepath.Join(t.TempDir(), "backups")
	for _, url := range []string{"/control/backup", "/v1/control/backup", "/v1/admin/backup"} {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+url, strings.NewReader(fmt.Sprintf(`{"dir":%q}`, dir)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token("root", "--admin"))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", url, res.StatusCode)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("there is a backup: %v", err)
	}
	for _, args := range [][]string{{"backup"}, {"backup", "a", "b"}, {"restore"}, {"restore", "a", "b"}, {"verify", "a"}, {"reindex", "a"}, {"backup", "--nothing"}} {
		if status, _, diag := s.command("", args...); status != 2 || !strings.Contains(diag, "imapi "+args[0]) {
			t.Errorf("%v: exit %d %s", args, status, diag)
		}
	}
	if status, _, diag := s.command("", "backup", s.data); status != 1 || !strings.Contains(diag, "this is the data directory") {
		t.Errorf("a backup into the data: exit %d %s", status, diag)
	}
}

// TestBackupIsInterrupted: an interrupted backup leaves nothing behind.
func TestBackupIsInterrupted(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	alice := s.client("alice", "")
	group := s.group(alice)
	s.mustCommand(strings.ReplaceAll(importLines(3000, ""), `"@bob"`, `"`+group+`"`), "import", "-")
	dir := filepath.Join(t.TempDir(), "backups")
	cmd := exec.Command(s.bin, "backup", dir, "--data", s.data)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // fails unless the command has finished
	out, _ := s.mustCommand("", "backup", dir)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 3 {
		t.Errorf("after %s there are %v, %v", out, entries, err)
	}
}
