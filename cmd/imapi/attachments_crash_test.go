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
	"github.com/imapi/imapi/internal/steps"
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
	step := steps.Begin(t)
	kept := sc.upload("alice", "kept", content)

	step("three uploads are cut off in the middle")
	for range 3 {
		sc.beginUpload(m.text, size, content[:size/2])
	}
	await.Until(t, "half of each upload is written", func() bool {
		list := sc.unfinished()
		for _, path := range list {
			if info, err := os.Stat(path); err != nil || info.Size() < size/4 {
				return false
			}
		}
		return len(list) == 3
	})
	s.kill()
	sc.notInTheClear("after the kill", m)
	cut := map[string]sealedFile{}
	for _, path := range sc.unfinished() {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cut[filepath.Base(path)] = sealedFile{path, slotOf(b)}
	}
	sc.keysThere("after the kill", cut, true) // shows that the test would notice
	step("the next server deletes their files and shreds their keys")
	s.start()
	await.Until(t, "the files are swept", func() bool { return len(sc.unfinished()) == 0 })
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
	step("nothing of them is visible, or counts against the quota")
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
	sc.notInTheClear("at the end", m)
	sc.mustVerify("at the end")
}

// beginUpload sends the beginning of a file of alice, and leaves the connection open until the test
// ends.
func (sc fileScene) beginUpload(name string, size int, beginning []byte) {
	sc.t.Helper()
	c, err := net.Dial("tcp", sc.server.addr)
	if err != nil {
		sc.t.Fatal(err)
	}
	sc.t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "POST /v1/attachments?name=%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		name, sc.tokens["alice"], size, beginning)
	if err != nil {
		sc.t.Fatal(err)
	}
}

// unfinished returns the paths of the files of uploads that have not ended.
func (sc fileScene) unfinished() (list []string) {
	sc.t.Helper()
	err := filepath.WalkDir(filepath.Join(sc.server.data, "blobs", "unfinished"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		sc.t.Fatal(err)
	}
	return list
}

// notInTheClear checks that no file of the server has the marker.
func (sc fileScene) notInTheClear(when string, m marker) {
	sc.t.Helper()
	err := copyFiles(sc.server.data, sc.t.TempDir(), nil, func(name string, b []byte) {
		if form := m.in(b); form != "" {
			sc.t.Errorf("%s: %s has it in the clear, as %s", when, name, form)
		}
	})
	if err != nil {
		sc.t.Fatal(err)
	}
}
