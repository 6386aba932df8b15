package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const easemobHead = `{"msg_id":"5I02","timestamp":1403099033211,"from":"zw123","to":"1402541206787","chat_type":"groupchat","payload":`

// TestImportOfEasemob imports an Easemob export with the command.
func TestImportOfEasemob(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	group := s.group(s.client("zw123", ""), "bob")
	dir := t.TempDir()
	groups, chats := filepath.Join(dir, "groups.txt"), filepath.Join(dir, "chats.json")
	lines := []string{
		easemobHead + `{"bodies":[{"msg":"hi","type":"txt"},{"msg":"ho","type":"txt"}]}}`, "", "{",
		strings.Replace(easemobHead, "5I02", "5I03", 1) + `{"bodies":[{"type":"cmd","action":"x"}]}}`,
		strings.Replace(easemobHead, "5I02", "5I04", 1) + `{"bodies":[{"type":"txt","msg":""}]}}`,
		strings.Replace(strings.Replace(easemobHead, "5I02", "5I05", 1), "groupchat", "chat", 1) + `{"bodies":[{"type":"txt","msg":"to you"}]}}`,
	}
	for name, text := range map[string]string{groups: "1402541206787\t" + group + "\n", chats: strings.Join(lines, "\n")} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"3 stored, 0 already there, 2 failed, 1 skipped", "0 stored, 3 already there, 2 failed, 1 skipped"} {
		status, _, diag := s.command("", "import", "--format", "easemob", chats, "--conversations", groups)
		if status != 1 || !strings.Contains(diag, want) {
			t.Errorf("exit %d: %s", status, diag)
		}
		for _, line := range []string{"line 3: is not a message", "line 4: skipped", "line 5: 400 invalid_request: body/text"} {
			if !strings.Contains(diag, line) {
				t.Errorf("no %q in %s", line, diag)
			}
		}
	}
	if got := history(t, s.client("bob", ""), group); len(got) != 2 {
		t.Errorf("bob sees %d messages", len(got))
	}

	// A conversation deleted for everyone stays deleted after restarts and imports.
	s.device("zw123", "").must(http.MethodDelete, "/v1/conversations/@1402541206787?scope=everyone", "", nil)
	for _, restart := range []func(){func() {}, s.kill, func() { _ = s.stop() }} {
		if restart(); s.process == nil {
			s.start()
		}
		status, _, diag := s.command("", "import", "--format", "easemob", chats, "--conversations", groups)
		want := "0 stored, 2 already there, 2 failed, 1 skipped, 1 deleted since they were imported"
		if status != 1 || !strings.Contains(diag, want) {
			t.Errorf("after the deletion: exit %d: %s", status, diag)
		}
		if status, answer := s.device("zw123", "").ask(http.MethodGet, "/v1/conversations/@1402541206787", ""); status != http.StatusNotFound {
			t.Errorf("a conversation came back: %d %s", status, answer)
		}
	}
}
