package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

// TestBackupWhileBusy makes backups while messages are sent and revoked. Each must open with
// the keys copied with it and with the last ones.
func TestBackupWhileBusy(t *testing.T) {
	s := newSite(t)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			var sent im.Sent
			sent, err = s.Send(context.Background(), alice, s.conversation, im.Draft{Type: im.Text, Body: json.RawMessage(fmt.Sprintf(`{"text":"busy %d"}`, i))})
			if err == nil && i%3 == 0 {
				_, err = s.Revoke(context.Background(), alice, sent.Message.ID, im.RevokeNote{Postscript: "x"})
			}
		}
		done <- err
	}()
	type made struct{ file, keys string }
	var list []made
	for i := range 5 {
		b, err := s.store.(im.Backuper).Backup(context.Background(), filepath.Join(s.backups, fmt.Sprint(i)), nil, nil)
		s.must(err)
		list = append(list, made{b.Path, filepath.Join(filepath.Dir(b.Path), "keys")})
	}
	close(stop)
	s.must(<-done)
	s.waitShredded()
	s.close()
	last := filepath.Join(s.data, "keys")
	for _, b := range list {
		for _, keys := range []string{b.keys, last} {
			s.data = filepath.Join(t.TempDir(), "new")
			s.options.DataDir = s.data
			s.restore(b.file, keys)
			s.must(s.store.View(t.Context(), func(r im.Reader) error {
				page, err := r.Sealed(im.SealedKey{}, 100_000, im.SealedContent)
				for _, x := range page.Items {
					if f := x.Find(); f != im.Fine {
						t.Errorf("%s under %s: %v of %v: finding %v: %v", b.file, keys, x.Kind, x.ID, f, x.Err)
					}
				}
				return err
			}))
			s.close()
		}
	}
}

// TestBackupDirectory checks that a directory of backups has several backups, one copy of the
// keys and nothing else, all readable by this user only.
func TestBackupDirectory(t *testing.T) {
	s := newSite(t)
	s.send("one")
	writeDir(t, s.backups)
	writeFile(t, filepath.Join(s.backups, ".imapi-backup-db"), []byte("left by a crash"))
	s.backup()
	s.backup()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.store.(im.Backuper).Backup(ctx, s.backups, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted backup: %v, want context.Canceled", err)
	}
	entries, err := os.ReadDir(s.backups)
	s.must(err)
	dbs := 0
	for _, entry := range entries {
		info, err := entry.Info()
		s.must(err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", entry.Name(), info.Mode())
		}
		if strings.HasPrefix(entry.Name(), im.BackupPrefix) && strings.HasSuffix(entry.Name(), im.BackupSuffix) {
			dbs++
		} else if entry.Name() != "keys" {
			t.Errorf("unexpected file %s", entry.Name())
		}
	}
	if dbs != 2 || len(entries) != 3 {
		t.Errorf("the directory has %d files and %d backups, want 3 and 2", len(entries), dbs)
	}
	if _, err := s.store.(im.Backuper).Backup(t.Context(), s.data, nil, nil); err == nil {
		t.Error("a backup into the data directory has replaced the keys")
	}
	s.close()
	s.options.Keys = filepath.Join(t.TempDir(), "elsewhere")
	s.must(os.Rename(filepath.Join(s.data, "keys"), s.options.Keys))
	s.open()
	if _, err := s.store.(im.Backuper).Backup(t.Context(), s.data, nil, nil); err == nil {
		t.Error("a backup into the data directory has put keys there")
	}
	s.checkState(s.send("two"), im.Active)
}
