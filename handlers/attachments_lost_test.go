package handlers_test

import (
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imapi/imapi/blobs"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/sniff"
)

// TestLostFiles: the file of an attachment is missing or damaged, as after the loss of a disk. Its
// download gets 410 and a line in the log, and never returns bytes other than those that were
// uploaded.
func TestLostFiles(t *testing.T) {
	const (
		chunk     = 64 << 10 // of a sealed file
		lost      = "410 attachment_lost"
		cutOff    = "200, cut off"
		whole     = "200"
		firstPart = "206"
	)
	content := strings.Repeat("0123456789", 20_000)
	changeAt := func(at int) func(string) error {
		return func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b[at] ^= 1
			return os.WriteFile(path, b, 0o600)
		}
	}
	for name, test := range map[string]struct {
		damage           func(path string) error
		get, begin, head string
		lost             int64
	}{
		"missing":                    {os.Remove, lost, lost, "410", 3},
		"cut off":                    {func(path string) error { return os.Truncate(path, chunk) }, lost, lost, "410", 3},
		"changed at the beginning":   {changeAt(100), lost, lost, whole, 2},
		"changed in the second part": {changeAt(chunk + 500), cutOff, firstPart, whole, 1},
		"as it was":                  {func(string) error { return nil }, whole, firstPart, whole, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var counted atomic.Int64
			book := &logBook{wrote: make(chan struct{}, 1)}
			w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
				o.Logger, o.LostFile = book.logger(), func() { counted.Add(1) }
			})
			dir := t.TempDir()
			files, err := blobs.OpenDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			w.service.UseBlobs(blobs.NewFiles(files, w.store.Instance().Store), im.FileTypes{
				Sniff:   func() im.TypeSniffer { return new(sniff.Sniffer) },
				Measure: func(io.ReadSeeker) (int, int) { return 0, 0 },
			})
			id, _ := w.upload("alice", content)["id"].(string)
			err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				return test.damage(path)
			})
			if err != nil {
				t.Fatal(err)
			}
			book.take()
			for _, check := range []struct{ what, got, want string }{
				{"all of it", w.tryToGet(id, content, http.MethodGet), test.get},
				{"its beginning", w.tryToGet(id, content, http.MethodGet, "Range", "bytes=0-99"), test.begin},
				{"its headers", w.tryToGet(id, content, http.MethodHead), test.head},
			} {
				if check.got != check.want {
					t.Errorf("%s: %s, want %s", check.what, check.got, check.want)
				}
			}
			log := book.take()
			named := strings.Count(log, `"level":"`+slog.LevelError.String()+`"`)
			if counted.Load() != test.lost || named != int(test.lost) || test.lost > 0 && !strings.Contains(log, "attachment "+id) {
				t.Errorf("%d downloads were counted and %d logged, want %d: %s", counted.Load(), named, test.lost, log)
			}
		})
	}
}

// tryToGet requests an attachment as alice, or a range of it. It returns the status, the code of a
// refusal, and how the body differs from the content that was uploaded.
func (w *world) tryToGet(id, content, method string, header ...string) string {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+"/v1/attachments/"+id, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tokenOf(w.t, "alice"))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	status := res.Status[:3]
	switch {
	case res.StatusCode >= 400:
		if etag := res.Header.Get("ETag"); etag != "" {
			w.t.Errorf("a refusal has the ETag %s", etag)
		}
		if method == http.MethodHead {
			return status
		}
		w.conforms(req, res, b)
		return status + " " + answer{body: b}.code(w.t)
	case !strings.HasPrefix(content, string(b)):
		return status + ", with other bytes"
	case err != nil:
		return status + ", cut off"
	default:
		return status
	}
}
