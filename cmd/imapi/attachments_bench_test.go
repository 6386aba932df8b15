package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// benchFileBytes is the size of the files of BenchmarkAttachments: the default maximum.
const benchFileBytes = 10 << 20

// BenchmarkAttachments uploads and downloads files of 10 MiB over one connection: to a node,
// and, alternating with it, to "bare" handlers that copy the body into a new file, with and
// without an fsync, and copy a file into the answer, by sendfile and through a buffer. "of-bare"
// is the rate relative to them.
func BenchmarkAttachments(b *testing.B) {
	n := startNode(b, "--attachment-quota", "0")
	defer n.stop()
	token := mintFor(b, n.secret, "alice")
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, benchFileBytes)
	_, _ = random.Read(content)
	srv := httptest.NewServer(bareFiles(b, content))
	defer srv.Close()
	node, bare := dial(b, n.addr), dial(b, srv.Listener.Addr().String())
	defer func() { _, _ = node.Close(), bare.Close() }()
	upload := func(path string) []byte {
		return append(append(request(http.MethodPost, path, token, "Content-Type", "application/octet-stream",
			"Content-Length", strconv.Itoa(len(content))), "\r\n"...), content...)
	}
	var id string
	b.Run("upload", func(b *testing.B) {
		ours, synced, unsynced := upload("/v1/attachments"), upload("/upload?sync=1"), upload("/upload")
		var took, syncedTook, unsyncedTook []time.Duration
		for b.Loop() {
			took = append(took, timed(func() { id = idOf(b, node, ours) }))
			b.StopTimer()
			syncedTook = append(syncedTook, timed(func() { must(b, bare.expect(http.StatusCreated, synced)) }))
			unsyncedTook = append(unsyncedTook, timed(func() { must(b, bare.expect(http.StatusCreated, unsynced)) }))
			b.StartTimer()
		}
		b.ReportMetric(benchFileBytes/1e6/percentile(took, 50).Seconds(), "MB/s")
		b.ReportMetric(ofMedian(syncedTook, took), "of-bare-synced")
		b.ReportMetric(ofMedian(unsyncedTook, took), "of-bare-unsynced")
	})
	b.Run("download", func(b *testing.B) {
		if id == "" {
			id = idOf(b, node, upload("/v1/attachments"))
		}
		ours := append(request(http.MethodGet, "/v1/attachments/"+id, token), "\r\n"...)
		theirs := append(request(http.MethodGet, "/download", token), "\r\n"...)
		buffered := append(request(http.MethodGet, "/download?buffer=1", token), "\r\n"...)
		var took, bareTook, bufferedTook []time.Duration
		for b.Loop() {
			took = append(took, timed(func() { must(b, node.expect(http.StatusOK, ours)) }))
			b.StopTimer()
			bareTook = append(bareTook, timed(func() { must(b, bare.expect(http.StatusOK, theirs)) }))
			bufferedTook = append(bufferedTook, timed(func() { must(b, bare.expect(http.StatusOK, buffered)) }))
			b.StartTimer()
		}
		b.ReportMetric(benchFileBytes/1e6/percentile(took, 50).Seconds(), "MB/s")
		b.ReportMetric(ofMedian(bareTook, took), "of-bare-sendfile")
		b.ReportMetric(ofMedian(bufferedTook, took), "of-bare-buffered")
	})
}

// ofMedian returns the ratio of the medians of two handlers' times. Means would be dominated by a
// few long waits for other processes.
func ofMedian(bare, ours []time.Duration) float64 {
	return percentile(bare, 50).Seconds() / percentile(ours, 50).Seconds()
}

func timed(fn func()) time.Duration {
	began := time.Now()
	fn()
	return time.Since(began)
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// idOf uploads a file and returns its id.
func idOf(b testing.TB, c *benchConn, upload []byte) string {
	b.Helper()
	res, err := c.roundTrip(upload)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusCreated {
		b.Fatalf("status %d: %s, %v", res.StatusCode, answer, err)
	}
	_, after, _ := bytes.Cut(answer, []byte(`"id":"`))
	id, _, _ := bytes.Cut(after, []byte(`"`))
	return string(id)
}

// bareFiles only copies bodies into files and a file into answers.
func bareFiles(b *testing.B, content []byte) http.Handler {
	b.Helper()
	dir := b.TempDir()
	kept := filepath.Join(dir, "kept")
	must(b, os.WriteFile(kept, content, 0o600))
	var files atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(files.Add(1))))
		if err == nil {
			_, err = io.Copy(f, r.Body)
		}
		if err == nil && r.URL.RawQuery != "" {
			err = f.Sync()
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("GET /download", func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(kept)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer func() { _ = f.Close() }()
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		if r.URL.RawQuery != "" {
			_, _ = io.Copy(struct{ io.Writer }{w}, f) // keeps io.Copy from using sendfile
			return
		}
		_, _ = io.Copy(w, f)
	})
	return mux
}

// benchPhoto is a JPEG of 12 megapixels with details everywhere, like a camera's.
func benchPhoto(b *testing.B) []byte {
	b.Helper()
	img := image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range img.Y {
		img.Y[i] = byte(i/4000/12 + random.IntN(24))
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = byte(100+i/2000/30), byte(140-i%2000/40)
	}
	var photo bytes.Buffer
	must(b, jpeg.Encode(&photo, img, &jpeg.Options{Quality: 85}))
	return photo.Bytes()
}

// BenchmarkThumbnails makes 100 thumbnails of photos of 12 megapixels while 64 users send: as
// fast as they are answered ("full"), or each every 160 ms, 400 a second in all ("paced"). Making
// and not making them alternate every two seconds until all are made. "send" is the latency of
// the sends while they are made, "send-without" in between; "p99-of-without" is their ratio.
func BenchmarkThumbnails(b *testing.B) {
	b.Run("full", func(b *testing.B) { benchThumbnails(b, 0) })
	b.Run("paced", func(b *testing.B) { benchThumbnails(b, 160*time.Millisecond) })
}

func benchThumbnails(b *testing.B, pace time.Duration) {
	const (
		count = 100
		turn  = 2 * time.Second
	)
	photo := benchPhoto(b)
	g := &gate{}
	n := startPreparedNode(b, func(n *node) {
		g.ThumbnailMaker = n.thumbnails
		n.service.UseThumbnails(g)
	})
	defer n.stop()
	p := newPairs(b, n, benchUsers(sendConns))
	defer p.close()
	p.send(1, "") // creates the conversations
	token := mintFor(b, n.secret, "alice")
	c := dial(b, n.addr)
	defer func() { _ = c.Close() }()
	upload := append(append(request(http.MethodPost, "/v1/attachments", token, "Content-Type", "application/octet-stream",
		"Content-Length", strconv.Itoa(len(photo))), "\r\n"...), photo...)
	var without, while []time.Duration
	var took time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		b.StopTimer()
		g.Lock()
		for range count {
			idOf(b, c, upload)
		}
		b.StartTimer()
		done := make(chan struct{})
		var sent [][]span
		var sending sync.WaitGroup
		sending.Go(func() { sent = p.sendUntil(done, pace) })
		var idle, busy []span
		for n.waitingThumbnails() > 0 {
			began := time.Now()
			time.Sleep(turn)
			idle = append(idle, span{began, time.Now()})
			g.Unlock()
			began = time.Now()
			for time.Since(began) < turn && n.waitingThumbnails() > 0 {
				time.Sleep(10 * time.Millisecond)
			}
			g.Lock() // once the last thumbnail is made
			busy = append(busy, span{began, time.Now()})
		}
		g.Unlock()
		close(done)
		sending.Wait()
		all := slices.Concat(sent...)
		without, while = append(without, within(all, idle)...), append(while, within(all, busy)...)
		for _, s := range busy {
			took += s.end.Sub(s.begin)
		}
	}
	b.ReportMetric(float64(rounds*count)/took.Seconds(), "thumbnails/s")
	b.ReportMetric(millis(percentile(without, 50)), "send-without-p50-ms")
	b.ReportMetric(millis(percentile(while, 50)), "send-p50-ms")
	b.ReportMetric(millis(percentile(without, 99)), "send-without-p99-ms")
	b.ReportMetric(millis(percentile(while, 99)), "send-p99-ms")
	b.ReportMetric(millis(percentile(while, 99))/millis(percentile(without, 99)), "p99-of-without")
}

// within returns the durations of the spans that began and ended within one of the periods.
func within(spans, times []span) (took []time.Duration) {
	for _, s := range spans {
		if slices.ContainsFunc(times, func(t span) bool { return !s.begin.Before(t.begin) && !s.end.After(t.end) }) {
			took = append(took, s.end.Sub(s.begin))
		}
	}
	return took
}

// gate is a maker of thumbnails that waits while it is locked.
type gate struct {
	im.ThumbnailMaker
	sync.Mutex
}

// Thumbnail makes a thumbnail.
func (g *gate) Thumbnail(ctx context.Context, file io.Reader, size int64) (im.MadeThumbnail, error) {
	g.Lock()
	defer g.Unlock()
	return g.ThumbnailMaker.Thumbnail(ctx, file, size)
}
