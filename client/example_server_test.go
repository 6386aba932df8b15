package client_test

import (
	"context"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/blobs"
	"github.com/imapi/imapi/blobs/thumbnail"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/datastreams"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/sniff"
	"github.com/imapi/imapi/storage"
)

// exampleServer is a server in this process, on a directory of its own.
type exampleServer struct {
	*httptest.Server
	secret []byte
	close  func()
}

// startServer starts a server for an example, which has no testing.T.
func startServer() *exampleServer {
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "imapi-example-")
	check(err)
	store, err := storage.Open(ctx, "", storage.Options{DataDir: dir, Synchronous: "normal", ReadLimit: time.Minute})
	check(err)
	policy := im.DefaultPolicy()
	policy.ReadWait = time.Minute // a busy machine must not fail an example
	service := im.NewService(store, policy, nil)
	files, err := blobs.OpenDir(filepath.Join(dir, "blobs"))
	check(err)
	service.UseBlobs(blobs.NewFiles(files, store.Instance().Store), im.FileTypes{
		Sniff: func() im.TypeSniffer { return new(sniff.Sniffer) }, Measure: thumbnail.Size,
	})
	s := &exampleServer{secret: []byte(strings.Repeat("s", auth.MinSecret))}
	verifier, err := auth.New(ctx, auth.Config{Secret: s.secret, TicketKey: store.Instance().TicketKey})
	check(err)
	hub, err := events.NewHub(ctx, events.Options{
		Log: service, Head: store.Head, LogID: store.Instance().Log, Encode: handlers.AppendEvent,
	})
	check(err)
	streams := datastreams.NewHub(datastreams.Options{Domain: service})
	store.OnCommit(func(c im.Commit) {
		hub.Publish(c)
		streams.Committed(c)
	})
	_, routes, err := handlers.New(handlers.Options{
		Service: service, Verifier: verifier, Hub: hub, Streams: streams, TokenKey: store.Instance().TicketKey,
	})
	check(err)
	s.Server = httptest.NewServer(routes)
	s.close = func() {
		hub.Close()
		streams.Close()
		s.Close()
		check(store.Close())
		check(os.RemoveAll(dir))
	}
	return s
}

// token returns a source with a token of a user.
func (s *exampleServer) token(user im.UserID) client.TokenSource {
	token, err := auth.Mint(s.secret, auth.Grant{User: user, TTL: time.Hour}, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	return client.StaticToken(token)
}

// client returns a client of a user.
func (s *exampleServer) client(user im.UserID) *client.Client {
	c, err := client.New(s.URL, client.Options{Token: s.token(user)})
	if err != nil {
		log.Fatal(err)
	}
	return c
}
