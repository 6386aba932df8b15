package handlers_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/keyring"
	"github.com/imapi/imapi/metrics"
	"github.com/imapi/imapi/storage/sqlite"
	"github.com/imapi/imapi/storage/sqlite/disktest"
)

// newFailingWorld returns a world on a disk that tests can make fail.
func newFailingWorld(t *testing.T) (*world, *disktest.Disk) {
	dir := t.TempDir()
	disk := disktest.New(t, dir)
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "imapi.db"), sqlite.Options{
		ReadLimit: await.Limit, Logger: slog.New(slog.DiscardHandler),
		Keys: func(store im.StoreID, fresh bool) (im.Keys, error) {
			if fresh {
				if err := keyring.Create(filepath.Join(dir, "keys"), store); err != nil && !errors.Is(err, fs.ErrExist) {
					return nil, err
				}
			}
			f, err := disk.OpenFile("keys")
			if err != nil {
				return nil, err
			}
			return keyring.OpenOn(f, store)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newWorldOn(t, store), disk
}

// failing makes writes fail to all files whose names have this prefix.
func failing(disk *disktest.Disk, name string, err error) {
	disk.Fail(func(op disktest.Op) error {
		if strings.HasPrefix(op.Name, name) {
			return err
		}
		return nil
	})
}

// TestFailingDisk checks that sends get 507 or 503 while the disk of the database or of the
// keys is full or broken, and that no answered message is lost once it works again.
func TestFailingDisk(t *testing.T) {
	for _, file := range []string{"imapi.db", "keys"} {
		for failure, want := range map[error]struct {
			status int
			code   string
		}{
			syscall.ENOSPC: {http.StatusInsufficientStorage, "storage_full"},
			syscall.EIO:    {http.StatusServiceUnavailable, "storage_unavailable"},
		} {
			t.Run(fmt.Sprintf("%s: %v", file, failure), func(t *testing.T) {
				w, disk := newFailingWorld(t)
				send := func(n int) answer {
					return w.do("alice", http.MethodPost, "/v1/conversations/@bob/messages",
						fmt.Sprintf(`{"client_id":"c%d","type":"text","body":{"text":"text %d"}}`, n, n))
				}
				var sent []string
				for n := range 5 {
					sent = append(sent, send(n).json(t)["id"].(string))
				}
				failing(disk, file, failure)
				refused := answer{}
				// Keys are made ahead of use, so it takes some sends to use them up.
				for len(sent) < 5000 {
					if refused = send(len(sent)); refused.status != http.StatusCreated {
						break
					}
					sent = append(sent, refused.json(t)["id"].(string))
				}
				if refused.status != want.status || refused.json(t)["code"] != want.code ||
					refused.header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("sending to a disk that fails: %d %s", refused.status, refused.body)
				}
				disk.Fail(nil)
				await.Until(t, "sending is possible again", func() bool {
					again := send(len(sent))
					if again.status == http.StatusCreated || again.status == http.StatusOK {
						sent = append(sent, again.json(t)["id"].(string))
						return true
					}
					return false
				})
				for n, id := range sent {
					got := w.do("alice", http.MethodGet, "/v1/messages/"+id, "")
					if got.status != http.StatusOK || got.json(t)["body"].(map[string]any)["text"] != fmt.Sprintf("text %d", n) {
						t.Fatalf("message %d: %d %s", n, got.status, got.body)
					}
				}
			})
		}
	}
}

// TestShreddingWaits checks that a message revoked while the key file cannot be written is
// a tombstone at once, and that /readyz and a metric report its key until it is shredded.
func TestShreddingWaits(t *testing.T) {
	for _, failure := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(failure.Error(), func(t *testing.T) {
			w, disk := newFailingWorld(t)
			id := w.do("alice", http.MethodPost, "/v1/conversations/@bob/messages", `{"type":"text","body":{"text":"secret"}}`).json(t)["id"].(string)
			failing(disk, "keys", failure)
			revoked := w.do("alice", http.MethodPost, "/v1/messages/"+id+"/revoke", "")
			if revoked.status != http.StatusOK || revoked.json(t)["state"] != "revoked" {
				t.Fatalf("revoking: %d %s", revoked.status, revoked.body)
			}
			details := func() map[string]any {
				ready := w.do("", http.MethodGet, "/readyz", "")
				if ready.status != http.StatusOK {
					t.Fatalf("/readyz: %d %s", ready.status, ready.body)
				}
				d, _ := ready.json(t)["details"].(map[string]any)
				return d
			}
			await.Until(t, "/readyz says that a key waits", func() bool { return details()["shredding_waiting"] == 1.0 })
			m := metrics.New("test")
			m.Unshredded(w.service.Unshredded)
			measured := func() string {
				res := httptest.NewRecorder()
				m.Handler().ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				_, waiting, _ := strings.Cut(res.Body.String(), "\nimapi_shredding_waiting ")
				waiting, _, _ = strings.Cut(waiting, "\n")
				return waiting
			}
			if got := measured(); got != "1" {
				t.Errorf("%s keys wait by the metric", got)
			}
			disk.Fail(nil)
			await.Until(t, "no key waits", func() bool { return details() == nil && measured() == "0" })
		})
	}
}
