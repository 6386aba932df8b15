package im_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/blobs"
	"github.com/imapi/imapi/blobs/thumbnail"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/sniff"
)

// maker makes thumbnails in this process, after a hook.
type maker struct {
	mu     sync.Mutex
	before func() error
	made   int
}

func (m *maker) Thumbnail(ctx context.Context, file io.Reader, size int64) (im.MadeThumbnail, error) {
	b, err := io.ReadAll(io.LimitReader(file, size))
	if err != nil {
		return im.MadeThumbnail{}, err
	}
	m.mu.Lock()
	before := m.before
	m.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return im.MadeThumbnail{}, err
		}
	}
	t, err := thumbnail.Make(ctx, b)
	if errors.Is(err, thumbnail.ErrFormat) || errors.Is(err, thumbnail.ErrTooLarge) {
		err = errors.Join(im.ErrNoThumbnail, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made++
	return im.MadeThumbnail(t), err
}

// gallery is a world with uploads and thumbnails.
type gallery struct {
	*world
	maker *maker
	dir   string
	files *blobs.Files
}

func newGallery(t *testing.T) *gallery {
	g := &gallery{world: newWorld(t), maker: &maker{}, dir: t.TempDir()}
	g.use(g.Service)
	return g
}

// use sets the files and the maker of the gallery for a service.
func (g *gallery) use(s *im.Service) {
	dir, err := blobs.OpenDir(g.dir)
	g.must(err)
	g.files = blobs.NewFiles(dir, g.store.Instance().Store)
	s.UseBlobs(g.files, im.FileTypes{Sniff: func() im.TypeSniffer { return new(sniff.Sniffer) }, Measure: thumbnail.Size})
	s.UseThumbnails(g.maker)
}

func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (g *gallery) upload(user im.UserID, file []byte) im.Attachment {
	g.Helper()
	a, err := g.Upload(g.ctx, as(user), im.Upload{Size: int64(len(file)), Body: bytes.NewReader(file)})
	g.must(err)
	return a
}

// make makes the waiting thumbnails and returns their states.
func (g *gallery) make() (states []im.ThumbnailState) {
	g.Helper()
	g.must(g.MakeThumbnails(g.ctx, func(s im.ThumbnailState, _ time.Duration) { states = append(states, s) }))
	return states
}

func (g *gallery) want(user im.UserID, a im.Attachment, want string) {
	g.Helper()
	t, err := g.Thumbnail(g.ctx, as(user), a.ID)
	if got := answer(err); got != want {
		g.Errorf("the thumbnail for %s: %s, want %s", user, got, want)
	}
	if (err == nil) != (len(t.Bytes) > 0) {
		g.Errorf("%d bytes with %v", len(t.Bytes), err)
	}
}

func (g *gallery) fails(err error) {
	g.maker.mu.Lock()
	defer g.maker.mu.Unlock()
	g.maker.before = nil
	if err != nil {
		g.maker.before = func() error { return err }
	}
}

const (
	pending     = "404 thumbnail_pending"
	none        = "404 no_thumbnail"
	unknownFile = "404 attachment_not_found"
)

func TestThumbnail(t *testing.T) {
	g := newGallery(t)
	a := g.upload("alice", picture(t, 640, 480))
	notes := g.upload("alice", []byte("no picture"))
	damaged := g.upload("alice", picture(t, 640, 480)[:60])
	g.want("alice", a, pending)
	g.want("bob", a, unknownFile)
	g.want("alice", notes, none)
	n, err := g.WaitingThumbnails(g.ctx, 10)
	g.must(err)
	g.equal("waiting", n, 2)

	g.equal("made", g.make(), []im.ThumbnailState{im.ThumbnailMade, im.ThumbnailFailed})
	made, err := g.Thumbnail(g.ctx, as("alice"), a.ID)
	g.must(err)
	if made.Info.Type != "image/jpeg" || made.Info.Width != 320 || made.Info.Height != 240 || sniff.Type(made.Bytes) != sniff.JPEG {
		t.Errorf("the thumbnail is a %s of %d × %d", made.Info.Type, made.Info.Width, made.Info.Height)
	}
	g.want("bob", a, unknownFile)
	g.want("alice", damaged, none)
	g.equal("a second run", len(g.make()), 0)

	// Users who can read a message with the attachment can see its thumbnail, until it is erased.
	sent, err := g.Send(g.ctx, as("alice"), direct("bob"), im.Draft{Type: im.Image, Body: []byte(`{"attachment_id":"` + a.ID.String() + `"}`)})
	g.must(err)
	g.want("bob", a, "ok")
	g.want("mallory", a, unknownFile)
	_, err = g.Revoke(g.ctx, as("alice"), sent.Message.ID, im.RevokeNote{})
	g.must(err)
	g.want("alice", a, unknownFile)
	g.want("bob", a, unknownFile)
}

// Waiting thumbnails are made after a restart.
func TestThumbnailsSurviveARestart(t *testing.T) {
	g := newGallery(t)
	a := g.upload("alice", picture(t, 640, 480))
	again := im.NewService(g.store, im.DefaultPolicy(), g.clock)
	g.use(again)
	g.must(again.MakeThumbnails(g.ctx, func(im.ThumbnailState, time.Duration) {}))
	g.want("alice", a, "ok")
}

// A picture that kills the maker is tried only three times, even across restarts.
func TestThumbnailAttemptsAreLimited(t *testing.T) {
	g := newGallery(t)
	a := g.upload("alice", picture(t, 64, 48))
	b := g.upload("bob", picture(t, 64, 48))
	tries := 0
	g.maker.before = func() error { tries++; return im.ErrThumbnailLost }
	g.make()
	g.equal("tries of two pictures", tries, 6)
	g.want("alice", a, none)
	g.want("bob", b, none)
	g.equal("a second run", len(g.make()), 0)
}

// When no thumbnails can be made at all, or the server is stopped, the attempt does not
// count.
func TestThumbnailWaitsForTheMaker(t *testing.T) {
	g := newGallery(t)
	a := g.upload("alice", picture(t, 64, 48))
	g.fails(im.ErrThumbnailUnavailable)
	for range 5 {
		err := g.MakeThumbnails(g.ctx, func(im.ThumbnailState, time.Duration) { t.Error("done") })
		if !errors.Is(err, im.ErrThumbnailUnavailable) {
			t.Errorf("error %v", err)
		}
		ctx, cancel := context.WithCancel(g.ctx)
		g.maker.before = func() error { cancel(); return ctx.Err() }
		if err := g.MakeThumbnails(ctx, func(im.ThumbnailState, time.Duration) { t.Error("done") }); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
		g.fails(im.ErrThumbnailUnavailable)
	}
	g.want("alice", a, pending)
	g.fails(nil)
	g.equal("when it works again", g.make(), []im.ThumbnailState{im.ThumbnailMade})
	g.want("alice", a, "ok")
}

// An attachment that is erased while its thumbnail is being made leaves no thumbnail behind.
func TestThumbnailOfWhatIsErasedMeanwhile(t *testing.T) {
	g := newGallery(t)
	a := g.upload("alice", picture(t, 64, 48))
	g.maker.before = func() error {
		return g.store.Write(g.ctx, func(tx im.Tx) error { return tx.EraseAttachment(a.ID) })
	}
	g.make()
	g.want("alice", a, unknownFile)
	left := 0
	g.must(g.files.List(g.ctx, func(f im.BlobFile) error {
		if f.ID != a.ID {
			left++
		}
		return nil
	}))
	g.equal("files of thumbnails", left, 0)
}

// A thumbnail whose file is damaged, or lost, as after a restore, is made again.
func TestLostThumbnailIsMadeAgain(t *testing.T) {
	g := newGallery(t)
	a := g.upload("alice", picture(t, 640, 480))
	g.make()
	var id im.ID
	g.must(g.store.View(g.ctx, func(r im.Reader) error {
		t, err := r.Thumbnail(a.ID)
		id = t.ID
		return err
	}))
	g.must(g.files.Delete(g.ctx, id))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { g.want("alice", a, pending) })
	}
	wg.Wait()
	g.equal("made again", g.make(), []im.ThumbnailState{im.ThumbnailMade})
	g.want("alice", a, "ok")
}

// One user's many pictures do not keep others waiting.
func TestUploadersTakeTurns(t *testing.T) {
	g := newGallery(t)
	file := picture(t, 8, 8)
	for range 20 {
		g.upload("alice", file)
	}
	b := g.upload("bob", file)
	seen := 0
	err := g.MakeThumbnails(g.ctx, func(im.ThumbnailState, time.Duration) {
		if seen++; seen == 2 {
			g.want("bob", b, "ok")
		}
	})
	g.must(err)
	g.equal("thumbnails", seen, 21)
}

// Sweeping does not delete a thumbnail that is being written, or one that is stored.
func TestSweepLeavesThumbnails(t *testing.T) {
	g := newGallery(t)
	a := g.upload("alice", picture(t, 64, 48))
	g.make()
	n, err := g.SweepBlobs(g.ctx)
	g.must(err)
	g.equal("swept", n, 0)
	g.want("alice", a, "ok")
}

// Only pictures that are not too large wait for a thumbnail.
func TestLargeFilesHaveNoThumbnail(t *testing.T) {
	g := newGallery(t)
	a := g.upload("alice", []byte(strings.Repeat("text ", 100)))
	g.want("alice", a, none)
	g.equal("made", len(g.make()), 0)
}
