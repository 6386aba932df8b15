package main

import (
	"bytes"
	endian "encoding/binary"
	"fmt"
	"image/png"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
)

// fileScene is a server and the files of alice and bob on it.
type fileScene struct{ *scene }

func newFileScene(t *testing.T, args ...string) fileScene {
	s := startServer(t, args...)
	sc := &scene{crawler: &crawler{t: t, server: s, tokens: map[string]string{}, ids: map[string][]string{}}}
	secret := readSecret(t, s.data)
	for _, user := range []string{"alice", "bob"} {
		sc.tokens[user] = mintFor(t, secret, user)
	}
	return fileScene{sc}
}

// waitFor waits until the server has deleted all files but these. A server looks for files to
// delete when it starts and then once a minute, so this one starts again, and not only once: the
// keys of the files may be shredded after it has looked.
func (sc fileScene) waitFor(what string, files map[string]sealedFile) {
	sc.t.Helper()
	looked := time.Now()
	await.Until(sc.t, what, func() bool {
		if slices.Equal(names(sc.blobs()), names(files)) {
			return true
		}
		if time.Since(looked) > 2*time.Second {
			if err := sc.server.stop(); err != nil {
				sc.t.Fatal(err)
			}
			sc.server.start()
			looked = time.Now()
		}
		return false
	})
}

// picture is an attachment of alice that bob can read.
type picture struct {
	attachment, message string
	content, thumbnail  []byte
}

// send sends a picture to bob.
func (sc fileScene) send() (p picture) {
	sc.t.Helper()
	var file bytes.Buffer
	if err := png.Encode(&file, noise()); err != nil {
		sc.t.Fatal(err)
	}
	p.content = file.Bytes()
	p.attachment = sc.upload("alice", "a.png", p.content)
	var res *http.Response
	if res, p.thumbnail = sc.thumbnail("alice", p.attachment); res.StatusCode != http.StatusOK {
		sc.t.Fatalf("thumbnail: %d %s", res.StatusCode, p.thumbnail)
	}
	p.message, _ = sc.post("alice", "/v1/conversations/@bob/messages",
		fmt.Sprintf(`{"type":"image","body":{"attachment_id":%q}}`, p.attachment))["id"].(string)
	return p
}

// sealedFile is a file in a directory of blobs.
type sealedFile struct {
	path string
	slot int64
}

// slotOf returns the slot in the header of a file.
func slotOf(b []byte) int64 { return int64(endian.BigEndian.Uint64(b[32:])) }

// files returns the finished files in a directory of blobs by their names.
func (sc fileScene) files(dir string) map[string]sealedFile {
	sc.t.Helper()
	list := map[string]sealedFile{}
	err := copyFiles(dir, sc.t.TempDir(), []string{"unfinished"}, func(name string, b []byte) {
		if len(b) < 64 {
			sc.t.Errorf("%s has no header", name)
			return
		}
		list[name] = sealedFile{filepath.Join(dir, name[len(name)-2:], name), slotOf(b)}
	})
	if err != nil {
		sc.t.Fatal(err)
	}
	return list
}

// blobs returns the files of the server.
func (sc fileScene) blobs() map[string]sealedFile {
	return sc.files(filepath.Join(sc.server.data, "blobs"))
}

// backup makes a backup and returns its path.
func (sc fileScene) backup(dir string) string {
	sc.t.Helper()
	out, _ := sc.server.mustCommand("", "backup", dir)
	return strings.TrimSpace(out)
}

// there checks that bob can read a picture and its thumbnail, or neither of them.
func (sc fileScene) there(what string, p picture, want bool) {
	sc.t.Helper()
	for path, content := range map[string][]byte{"": p.content, "/thumbnail": p.thumbnail} {
		for _, user := range []string{"alice", "bob"} {
			res, b := sc.request(http.MethodGet, user, "/v1/attachments/"+p.attachment+path, nil)
			switch {
			case want && (res.StatusCode != http.StatusOK || !bytes.Equal(b, content)):
				sc.t.Errorf("%s%s as %s: %d, %d bytes", what, path, user, res.StatusCode, len(b))
			case !want && res.StatusCode != http.StatusNotFound:
				sc.t.Errorf("%s%s as %s: %d, want 404", what, path, user, res.StatusCode)
			}
		}
	}
}

// keysThere checks whether the keys of files can be read.
func (sc fileScene) keysThere(what string, files map[string]sealedFile, want bool) {
	sc.t.Helper()
	keys, err := readKeyFile(filepath.Join(sc.server.data, "keys"))
	if err != nil {
		sc.t.Fatal(err)
	}
	for name, f := range files {
		if _, there := keys.key(f.slot); there != want {
			sc.t.Errorf("%s: the key of %s is there: %v", what, name, there)
		}
	}
}

// contents returns the sealed bytes of files by their paths below the directory of blobs.
func (sc fileScene) contents(files map[string]sealedFile) map[string][]byte {
	sc.t.Helper()
	all := map[string][]byte{}
	for name, f := range files {
		b, err := os.ReadFile(f.path)
		if err != nil {
			sc.t.Fatal(err)
		}
		all[filepath.Join(filepath.Base(filepath.Dir(f.path)), name)] = b
	}
	return all
}

// put writes sealed files into a directory of blobs.
func (sc fileScene) put(contents map[string][]byte, dir string) {
	sc.t.Helper()
	for name, b := range contents {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			sc.t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			sc.t.Fatal(err)
		}
	}
}

// without returns the files of a that are not in b.
func without(a, b map[string]sealedFile) map[string]sealedFile {
	a = maps.Clone(a)
	maps.DeleteFunc(a, func(name string, _ sealedFile) bool { _, in := b[name]; return in })
	return a
}

// names returns the names of files in order.
func names(files map[string]sealedFile) []string { return slices.Sorted(maps.Keys(files)) }

func (sc fileScene) mustVerify(when string) {
	sc.t.Helper()
	if status, out, diag := sc.server.command("", "verify"); status != 0 || !strings.Contains(out, "0 problems") {
		sc.t.Errorf("verify %s: exit %d\n%s%s", when, status, out, diag)
	}
}

// TestBackupsOfAttachments restores backups without and with the files that the server had.
// What was erased since then stays erased, everything else is as it was at the backup, and the keys
// of newer files stay, so that a newer backup can be restored after an older one.
func TestBackupsOfAttachments(t *testing.T) {
	t.Parallel()
	sc := newFileScene(t)
	s := sc.server
	dir := filepath.Join(t.TempDir(), "backups")
	beside := filepath.Join(dir, "blobs")

	step := steps.Begin(t)
	step("back up two pictures")
	live := sc.send()
	ofLive := sc.blobs()
	erased := sc.send()
	all := sc.blobs()
	ofErased := without(all, ofLive)
	if len(ofLive) != 2 || len(ofErased) != 2 {
		t.Fatalf("there are the files %v, then %v", names(ofLive), names(all))
	}
	first := sc.backup(dir)
	if got := sc.files(beside); !slices.Equal(names(got), names(all)) {
		t.Errorf("beside the backup are %v, want %v", names(got), names(all))
	}
	kept := sc.contents(all)
	step("erase one of them")
	sc.call(http.MethodPost, "alice", "/v1/messages/"+erased.message+"/revoke", "")
	sc.waitFor("the files of the erased picture are deleted", ofLive)
	sc.keysThere("after the erasure", ofErased, false)
	sc.there("erased", erased, false)

	step("back up again, with another picture")
	newer := sc.send()
	ofNewer := without(sc.blobs(), ofLive)
	second := sc.backup(dir)
	// The files that can still be read are kept for the first backup, and no others.
	want := maps.Clone(ofLive)
	maps.Copy(want, ofNewer)
	if got := sc.files(beside); !slices.Equal(names(got), names(want)) {
		t.Errorf("after the second backup there are %v, want %v", names(got), names(want))
	}

	restore := func(file string, there map[string]sealedFile) {
		t.Helper()
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		s.mustCommand("", "restore", file)
		if got := sc.blobs(); there != nil && !slices.Equal(names(got), names(there)) {
			t.Errorf("the restore has put the files %v there, want %v", names(got), names(there))
		}
		sc.mustVerify("without a server")
		s.start()
	}
	data := filepath.Join(s.data, "blobs")
	for _, test := range []struct {
		way string
		put []string
		// the files after the restore, before the server has swept any
		there map[string]sealedFile
	}{
		{"the files were lost", nil, want},
		{"the erased files were put beside the backup", []string{beside}, want},
		{"the erased files were put back", []string{beside, data}, nil},
	} {
		way := test.way
		step("restore the first backup: " + way)
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		for _, to := range test.put {
			sc.put(kept, to)
		}
		restore(first, test.there)
		sc.there(way+": live", live, true)
		sc.there(way+": erased", erased, false)
		sc.there(way+": newer", newer, false)
		m := sc.call(http.MethodGet, "bob", "/v1/messages/"+erased.message, "")
		if m["state"] != "revoked" {
			t.Errorf("%s: the erased message is %v", way, m["state"])
		}
		sc.keysThere(way+": live", ofLive, true)
		sc.keysThere(way+": erased", ofErased, false)
		sc.keysThere(way+": newer", ofNewer, true)
		sc.waitFor("files without rows are swept", ofLive)
		sc.mustVerify(way)
	}
	step("restore the second backup")
	restore(second, nil)
	sc.there("the second backup: live", live, true)
	sc.there("the second backup: erased", erased, false)
	sc.there("the second backup: newer", newer, true)
}

// TestRestoreAttachmentsElsewhere restores on a new machine with the copy of the keys.
func TestRestoreAttachmentsElsewhere(t *testing.T) {
	t.Parallel()
	sc := newFileScene(t)
	s := sc.server
	dir := filepath.Join(t.TempDir(), "backups")
	live, erased := sc.send(), sc.send()
	file := sc.backup(dir)
	sc.call(http.MethodPost, "alice", "/v1/messages/"+erased.message+"/revoke", "")
	sc.backup(dir)
	secret, err := os.ReadFile(filepath.Join(s.data, secretFile))
	if err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.data = filepath.Join(t.TempDir(), "elsewhere")
	s.mustCommand("", "restore", file, "--keys-from", filepath.Join(dir, "keys"))
	if err := os.WriteFile(filepath.Join(s.data, secretFile), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	sc.there("live", live, true)
	sc.there("erased", erased, false)
	sc.mustVerify("elsewhere")
	// New files do not get the keys of old ones.
	sc.there("new", sc.send(), true)
	sc.there("live, after an upload", live, true)
}

// TestVerifyFindsDamagedFiles checks that every unreadable file of an attachment or thumbnail is
// named, and that a restore replaces a truncated file by the one in the backup.
func TestVerifyFindsDamagedFiles(t *testing.T) {
	t.Parallel()
	sc := newFileScene(t)
	const missing, damaged = "its file is missing", "is damaged"
	truncate := func(path string) error { return os.Truncate(path, 100) }
	change := func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		return os.WriteFile(path, b, 0o600)
	}
	dir := filepath.Join(t.TempDir(), "backups")
	step := steps.Begin(t)
	var want []string
	for _, damage := range []struct {
		kind, text string
		do         func(path string) error
	}{
		{"attachment", missing, os.Remove},
		{"attachment", damaged, truncate},
		{"attachment", damaged, change},
		{"thumbnail", missing, os.Remove},
		{"thumbnail", damaged, truncate},
		{"thumbnail", damaged, change},
	} {
		step("back up and damage: the " + damage.kind + " " + damage.text)
		before := sc.blobs()
		p := sc.send()
		for name, f := range without(sc.blobs(), before) {
			if (name == p.attachment) != (damage.kind == "attachment") {
				continue
			}
			// Write a new file, because the file in the backup may be a link to the old one.
			b, err := os.ReadFile(f.path)
			if err != nil {
				t.Fatal(err)
			}
			sc.backup(dir)
			if err := os.Remove(f.path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := damage.do(f.path); err != nil {
				t.Fatal(err)
			}
			want = append(want, damage.kind+"\t"+p.attachment+"\t"+damage.text)
		}
	}
	step("verify names each of them")
	fine := sc.send()
	backup := sc.backup(dir)
	status, out, diag := sc.server.command("", "verify")
	if status != 1 || strings.Count(out, "\n") != len(want)+1 || !strings.Contains(diag, fmt.Sprint(len(want), " problems")) {
		t.Errorf("verify: exit %d\n%s%s", status, out, diag)
	}
	for _, line := range want {
		kind, text, _ := strings.Cut(line, "\t")
		id, text, _ := strings.Cut(text, "\t")
		if _, after, ok := strings.Cut(out, kind+"\t"+id+"\t"); !ok || !strings.Contains(strings.SplitN(after, "\n", 2)[0], text) {
			t.Errorf("verify does not say: %s\n%s", line, out)
		}
	}
	if strings.Contains(out, fine.attachment) {
		t.Errorf("verify names a file that is fine:\n%s", out)
	}
	step("a restore replaces missing and truncated files")
	if err := sc.server.stop(); err != nil {
		t.Fatal(err)
	}
	sc.server.mustCommand("", "restore", backup)
	if _, out, _ := sc.server.command("", "verify"); !strings.Contains(out, " 2 problems") {
		t.Errorf("after a restore:\n%s", out)
	}
	step("a restore brings back all files")
	for _, f := range sc.blobs() {
		if err := os.Remove(f.path); err != nil {
			t.Fatal(err)
		}
	}
	sc.server.mustCommand("", "restore", backup)
	sc.mustVerify("after a restore of all files")
}

// TestAttachmentsWithOlderKeys starts a server with keys that are older than its data, as after
// the loss of a disk. The start is refused. Accepting the loss erases the files whose keys are
// lost; no request fails because of that, and verify finds nothing wrong afterwards.
func TestAttachmentsWithOlderKeys(t *testing.T) {
	t.Parallel()
	sc := newFileScene(t)
	s := sc.server
	older := sc.send()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.data, "keys")
	keys, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ofOlder := sc.blobs()
	s.start() // begins a new extent of keys
	newer := sc.send()
	unsent := sc.upload("alice", "b.png", newer.content)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, keys, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, diag := s.command("", "verify"); status != 1 || !strings.Contains(diag, "keys are older than the data") || !strings.Contains(diag, "--accept-lost-keys") {
		t.Errorf("verify with older keys: exit %d %s", status, diag)
	}
	s.args = append(s.args, "--accept-lost-keys")
	s.start()
	sc.there("with keys", older, true)
	sc.there("without keys", newer, false)
	for _, path := range []string{unsent, unsent + "/thumbnail"} {
		if res, b := sc.request(http.MethodGet, "alice", "/v1/attachments/"+path, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("a file that was not sent, %s: %d %s", path, res.StatusCode, b)
		}
	}
	if m := sc.call(http.MethodGet, "bob", "/v1/messages/"+newer.message, ""); m["state"] != "expired" || m["body"] != nil {
		t.Errorf("the message without a key is %v", m)
	}
	sc.call(http.MethodGet, "bob", "/v1/conversations/@alice/messages", "")
	for _, file := range []string{newer.attachment, unsent} {
		_, err := s.client("alice", "").SendMessageWithBodyWithResponse(t.Context(), "@bob", nil, "application/json",
			strings.NewReader(fmt.Sprintf(`{"type":"image","body":{"attachment_id":%q}}`, file)))
		if err == nil || !strings.HasPrefix(err.Error(), "422 attachment_unusable") {
			t.Errorf("sending a file whose key is lost: %v", err)
		}
	}
	sc.waitFor("the files without keys are deleted", ofOlder)
	sc.mustVerify("after the loss")
	sc.there("new", sc.send(), true)
}
