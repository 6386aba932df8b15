package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imapi/imapi/internal/await"
)

// TestKilledInAnUpload kills the server in the middle of uploads. After the start nothing of them
// is visible, they do not count against the quota, their files are deleted and their keys shredded.
// No file has their content in the clear, neither before nor after.
func TestKilledInAnUpload(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	sc := newFileScene(t, "--attachment-quota", fmt.Sprint(4*(size+4096)))
	s := sc.server
	m := newMarker()
	content := []byte(strings.Repeat(m.text+" ", size/(len(m.text)+1)+1)[:size])
	kept := sc.upload("alice", "kept", content)

	unfinished := func() (list []string) {
		err := filepath.WalkDir(filepath.Join(s.data, "blobs", "unfinished"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				list = append(list, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for range 3 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, err = fmt.Fprintf(c, "POST /v1/attachments?name=%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
			m.text, sc.tokens["alice"], size, content[:size/2])
		if err != nil {
			t.Fatal(err)
		}
	}
	await.Until(t, "half of each upload is written", func() bool {
		list := unfinished()
		for _, path := range list {
			if info, err := os.Stat(path); err != nil || info.Size() < size/4 {
				return false
			}
		}
		return len(list) == 3
	})
	sealed := func(when string) {
		t.Helper()
		err := copyFiles(s.data, t.TempDir(), nil, func(name string, b []byte) {
			if form := m.in(b); form != "" {
				t.Errorf("%s: %s has it in the clear, as %s", when, name, form)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.kill()
	sealed("after the kill")
	cut := map[string]sealedFile{}
	for _, path := range unfinished() {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cut[filepath.Base(path)] = sealedFile{path, slotOf(b)}
	}
	sc.keysThere("after the kill", cut, true) // shows that the test would notice
	s.start()
	await.Until(t, "the files are swept", func() bool { return len(unfinished()) == 0 })
	await.Until(t, "the keys are shredded", func() bool {
		keys, err := readKeyFile(filepath.Join(s.data, "keys"))
		if err != nil {
			return false
		}
		for _, f := range cut {
			if _, there := keys.key(f.slot); there {
				return false
			}
		}
		return true
	})
	for id := range cut {
		for _, user := range []string{"alice", "bob"} {
			if res, _ := sc.request(http.MethodGet, user, "/v1/attachments/"+id, nil); res.StatusCode != http.StatusNotFound {
				t.Errorf("%s gets %d for what was not uploaded", user, res.StatusCode)
			}
		}
	}
	if res, b := sc.request(http.MethodGet, "alice", "/v1/attachments/"+kept, nil); res.StatusCode != http.StatusOK || !bytes.Equal(b, content) {
		t.Errorf("the file that was there: %d, %d bytes", res.StatusCode, len(b))
	}
	for range 3 { // there is room for as many files as were cut off
		sc.upload("alice", "again", content)
	}
	if res, b := sc.request(http.MethodPost, "alice", "/v1/attachments", []byte("one more")); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("over the quota: %d %s", res.StatusCode, b)
	}
	sealed("at the end")
	sc.mustVerify("at the end")
}
