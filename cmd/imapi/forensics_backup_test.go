package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/storage"
)

// hours is a server with a clock of its own that is backed up every hour.
type hours struct {
	*testing.T
	*im.Service
	store      im.Store
	passed     atomic.Int64 // time that the clock has advanced
	alice, bob im.Actor
	group      im.ConversationRef
	run        marker
	made       int
}

func (h *hours) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// text returns a new random text.
func (h *hours) text() string {
	h.made++
	return fmt.Sprintf("%sn%05dn", h.run.text, h.made)
}

func (h *hours) newGroup(name string) im.ConversationRef {
	h.Helper()
	c, err := h.CreateGroup(h.Context(), h.alice, im.GroupDraft{Name: name, Members: []im.UserID{"bob"}})
	h.must(err)
	return im.ConversationRef{ID: c.ID}
}

// send sends a text in every part of the content.
func (h *hours) send(to im.ConversationRef, text string, more func(*im.Draft)) im.ID {
	h.Helper()
	body, err := json.Marshal(map[string]string{"text": text})
	h.must(err)
	d := im.Draft{Type: im.Text, Body: body, Ext: body, Push: body}
	if more != nil {
		more(&d)
	}
	sent, err := h.Send(h.Context(), h.alice, to, d)
	h.must(err)
	return sent.Message.ID
}

// speak sends one message for each way of erasing, and returns functions that erase them.
func (h *hours) speak() (takeBack map[string]func()) {
	h.Helper()
	ctx := h.Context()
	takeBack = map[string]func(){}
	text := h.text()
	revoked := h.send(h.group, text, nil)
	takeBack[text] = func() {
		_, err := h.Revoke(ctx, h.alice, revoked, im.RevokeNote{})
		h.must(err)
	}
	text = h.text()
	burned := h.send(im.ConversationRef{Peer: "bob"}, text, func(d *im.Draft) { d.Burn = &im.Burn{After: time.Minute, UnreadTTL: 700 * time.Hour} })
	takeBack[text] = func() {
		_, err := h.Burn(ctx, h.bob, burned)
		h.must(err)
	}
	named, said := h.text(), h.text()
	deleted := h.newGroup(named)
	h.send(deleted, said, nil)
	takeBack[named] = func() {}
	takeBack[said] = func() {
		h.must(h.DeleteConversation(ctx, h.alice, deleted))
		h.must(h.Purge(ctx))
	}
	name, avatar := h.text(), h.text()
	renamed := h.newGroup(name)
	_, err := h.UpdateConversation(ctx, h.alice, renamed, im.ConversationPatch{Avatar: &avatar})
	h.must(err)
	takeBack[name] = func() {
		other := "another"
		_, err := h.UpdateConversation(ctx, h.alice, renamed, im.ConversationPatch{Name: &other, Avatar: &other})
		h.must(err)
	}
	takeBack[avatar] = func() {}
	return takeBack
}

// hoursKept is the retention of the store.
const hoursKept = 36 * time.Hour

// newHours opens a store whose clock is at the first hour.
func newHours(t *testing.T, data string) *hours {
	t.Helper()
	h := &hours{
		T: t, run: newMarker(),
		alice: im.Actor{User: "alice"}, bob: im.Actor{User: "bob"},
	}
	var err error
	h.store, err = storage.Open(t.Context(), "", storage.Options{
		DataDir: data, Synchronous: "normal", ReadLimit: time.Minute, Now: h.clock, Logger: slog.New(slog.DiscardHandler),
	})
	h.must(err)
	t.Cleanup(func() { h.must(h.store.Close()) })
	policy := im.DefaultPolicy()
	policy.RevokeWindow, policy.Retention, policy.ClockGuard = 0, hoursKept, 0
	h.Service = im.NewService(h.store, policy, h.clock)
	h.group = h.newGroup("group")
	return h
}

// clock returns the time of the hours that have passed.
func (h *hours) clock() time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(h.passed.Load()))
}

// TestForensicsBackups makes a backup every hour for two days and keeps all of them. In all of them
// together, all content that was not erased can be unsealed, and no erased content, neither with
// the keys at the end nor with the copy of them beside the last backup.
func TestForensicsBackups(t *testing.T) {
	t.Parallel()
	data, backups := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "backups")
	step := steps.Begin(t)
	step("open the store")
	h := newHours(t, data)

	queries := sealedColumns(t)
	erased, kept := map[string]bool{}, map[string]time.Time{}
	pending := map[int][]map[string]func(){}
	seen := map[string]bool{} // unsealed from a backup with the keys at that time
	var files []string
	step("send, erase and back up each hour")
	for hour := range 48 {
		h.passed.Add(int64(time.Hour))
		// Messages are erased 1 to 7 hours later: before the next backup, or after several.
		pending[hour+1+hour%7] = append(pending[hour+1+hour%7], h.speak())
		text := h.text()
		h.send(h.group, text, nil)
		kept[text] = h.clock()
		text = h.text()
		h.send(h.group, text, func(d *im.Draft) { d.ExpireAfter = time.Duration(1+hour%5) * time.Hour })
		pending[hour+1+hour%5] = append(pending[hour+1+hour%5], map[string]func(){text: func() {}})
		for _, takeBack := range pending[hour] {
			for text, do := range takeBack {
				do()
				erased[text] = true
			}
		}
		_, _, err := h.EraseDue(t.Context())
		h.must(err)
		h.must(h.Trim(t.Context(), time.Time{}, nil))
		await.Until(t, "all keys are shredded", func() bool { n, _ := h.store.Unshredded(); return n == 0 })
		backup, err := h.store.(im.Backuper).Backup(context.Background(), backups, nil, nil)
		h.must(err)
		files = append(files, backup.Path)
		for text := range h.unsealed(backup.Path, filepath.Join(backups, "keys"), queries) {
			if erased[text] {
				t.Errorf("what was erased before a backup is in it")
			}
			seen[text] = true
		}
	}
	step("all backups are there")
	entries, err := os.ReadDir(backups)
	h.must(err)
	if len(files) != 48 || len(entries) != 49 {
		t.Errorf("%d backups are %v", len(files), entries)
	}
	for text, at := range kept {
		if h.clock().Sub(at) > hoursKept {
			delete(kept, text)
			erased[text] = true
		}
	}
	step("unseal all backups with the last keys")
	for name, keys := range map[string]string{"in use": filepath.Join(data, "keys"), "beside the backups": filepath.Join(backups, "keys")} {
		found := h.unsealedIn(files, keys, queries)
		for text := range erased {
			if found[text] || !seen[text] {
				t.Errorf("keys %s: %s was erased, can be read: %t, could be read before: %t", name, text, found[text], seen[text])
			}
		}
		for text := range kept {
			if !found[text] {
				t.Errorf("keys %s: %s was kept and cannot be read", name, text)
			}
		}
		t.Logf("keys %s: of %d backups %d contents can be unsealed; %d were erased, %d kept", name, len(files), len(found), len(erased), len(kept))
	}
	step("no backup has content in the clear")
	c := &crawler{t: t, server: &server{data: backups}}
	c.inNoFile(h.run)
}

// unsealed returns the content that can be read in a backup.
func (h *hours) unsealed(file, keysPath string, queries map[string]string) map[string]bool {
	h.Helper()
	keys, err := readKeyFile(keysPath)
	h.must(err)
	texts := map[string]bool{}
	h.must(readSealed(file, queries, func(c sealedContent) {
		content, ok := keys.unseal(c)
		for _, part := range strings.Split(string(content), h.run.text)[min(1, len(content)):] {
			if ok && len(part) >= 7 {
				texts[h.run.text+part[:7]] = true
			}
		}
	}))
	return texts
}

// unsealedIn returns the content that can be read in any of the backups.
func (h *hours) unsealedIn(files []string, keysPath string, queries map[string]string) map[string]bool {
	h.Helper()
	found := map[string]bool{}
	for _, file := range files {
		maps.Copy(found, h.unsealed(file, keysPath, queries))
	}
	return found
}
