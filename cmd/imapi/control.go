package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage"
)

// controlName is the file in the data directory with the address and key by which
// commands reach the running server. Whoever can read the file has the rights of an admin.
const controlName = "control.json"

// control is a listener for commands on the same machine. It is separate, so that commands
// work with any configuration of tokens and certificates.
type control struct {
	// URL is its address, and Key the credential of commands.
	URL string `json:"url"`
	Key string `json:"key"`
	// Serves is the URL at which clients on the same machine reach the server, and Version the
	// version of its program.
	Serves  string `json:"serves,omitempty"`
	Version string `json:"version,omitempty"`

	listener net.Listener
	path     string // of the file, "" if there is none
}

// newControl listens on a free port of the loopback address, with a new key.
func newControl(ctx context.Context) (*control, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // crypto/rand never fails
	return &control{URL: "http://" + l.Addr().String(), Key: hex.EncodeToString(key[:]), listener: l}, nil
}

// listenControl opens the server's listener for commands and writes its file.
func (n *node) listenControl(ctx context.Context) (err error) {
	if n.control, err = newControl(ctx); err != nil {
		return err
	}
	n.control.Serves, n.control.Version = n.scheme()+"://"+reachable(n.listener.Addr()), version
	return n.control.publish(n.config.data)
}

// publish writes the file atomically.
func (c *control) publish(data string) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(data, controlName+".*") // with mode 0600
	if err != nil {
		return err
	}
	path := filepath.Join(data, controlName)
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	c.path = path
	return nil
}

// close closes the listener and deletes the file.
func (c *control) close() {
	_ = c.listener.Close() // usually closed by its server already
	if c.path != "" {
		_ = os.Remove(c.path) // a stale one does no harm
	}
}

// admin is a connection of a command to a server: the running one, or one in this process.
type admin struct {
	control
	// local is the server in this process, nil if another process runs the server.
	local *node
	http  *http.Server
	// began means that there was no database, and the command created it.
	began bool
}

// serverWait is the time that a command waits for a server that is starting or stopping.
const serverWait = 5 * time.Second

// adminFlags are the flags of commands that need a server.
type adminFlags struct {
	data, database, keys string
	blobs                string
	policy               im.Policy
	// begins allows the command to create the database.
	begins bool
	// wait is the time to wait for a server that is starting or stopping. Opening the data itself may
	// take longer.
	wait time.Duration
}

// add adds the flags for the location of the data.
func (a *adminFlags) add(f flags) {
	a.policy, a.wait = im.DefaultPolicy(), serverWait
	f.StringVar(&a.data, "data", "./data", "the `directory` of the server's data")
	f.StringVar(&a.database, "database", "", "the `URL` of the database, as for serve; give it even while a server runs")
	f.StringVar(&a.blobs, "blobs", "", "the `directory` of attachments, as for serve; ignored while a server runs")
	f.StringVar(&a.keys, "keys", "", "the `file` of the keys, as for serve; ignored while a server runs")
}

// addPolicy adds the flags for limits of messages, for commands that check them.
func (a *adminFlags) addPolicy(f flags) {
	f.IntVar(&a.policy.MaxMessageBytes, "max-message-bytes", a.policy.MaxMessageBytes, "the maximum `number` of bytes of a message's body and ext together, as for serve; ignored while a server runs")
	f.retention(&a.policy)
}

func (a *adminFlags) check() error {
	if a.policy.MaxMessageBytes < im.MinMessageBytes || a.policy.MaxMessageBytes > maxMessageBytes {
		return misuse("--max-message-bytes: must be %d to %d", im.MinMessageBytes, maxMessageBytes)
	}
	return checkRetention(a.policy)
}

// open finds the server that runs on the data, or opens the data itself.
func (a *adminFlags) open(ctx context.Context) (*admin, error) {
	waiting, cancel := awake.WithTimeout(ctx, a.wait)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		// Trust the file only if the data is in use: it may be a copy, or left over from a crash.
		local, err := a.openHere(ctx)
		if !errors.Is(err, storage.ErrInUse) {
			return local, err
		}
		if c, ok := runningServer(waiting, a.data); ok {
			return &admin{control: c}, nil
		}
		select {
		case <-again.C:
		case <-waiting.Done():
			if ctx.Err() != nil {
				return nil, errInterrupted
			}
			return nil, fmt.Errorf("%w, which does not answer at the address in %s", err, filepath.Join(a.data, controlName))
		}
	}
}

// readControl reads the file in a data directory.
func readControl(data string) (c control, ok bool) {
	b, err := os.ReadFile(filepath.Join(data, controlName))
	return c, err == nil && json.Unmarshal(b, &c) == nil
}

// runningServer reads the file in a data directory and checks that the server it names answers.
func runningServer(ctx context.Context, data string) (c control, ok bool) {
	c, ok = readControl(data)
	if !ok {
		return c, false
	}
	res, err := (&admin{control: c}).do(ctx, http.MethodGet, "/v1/admin/erasures?limit=1", "", nil)
	if err != nil {
		return c, false
	}
	_ = res.Body.Close()
	return c, true
}

// where names the flag with the location of the data. It does not quote a URL, which may contain a
// password.
func (a *adminFlags) where() string {
	if a.database != "" {
		return "--database"
	}
	return "--data " + a.data
}

// openHere opens the data and serves only this command. Unless the command is an import, the
// database must exist, so that a misspelt directory does not become an empty server.
func (a *adminFlags) openHere(ctx context.Context) (*admin, error) {
	there, err := storage.Exists(a.database, a.data)
	if err != nil {
		return nil, err
	}
	if !there && !a.begins {
		err := fmt.Errorf("%s: there is no database; a server creates it at its first start", a.where())
		if a.database == "" {
			err = fmt.Errorf("%w; if it is elsewhere, name it with --database, as for serve", err)
		}
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	n := &node{log: log, stopJobs: func() {}}
	n.store, err = storage.Open(ctx, a.database, storage.Options{DataDir: a.data, Keys: a.keys, Logger: log, ReadLimit: time.Minute})
	if err != nil {
		return nil, err
	}
	n.service = im.NewService(n.store, a.policy, nil)
	if err := n.openBlobs(blobsIn(a.blobs, a.data)); err != nil {
		n.close()
		return nil, err
	}
	n.server, n.routes, err = handlers.New(handlers.Options{Service: n.service, Logger: log})
	if err == nil {
		n.control, err = newControl(ctx)
	}
	if err != nil {
		n.close()
		return nil, err
	}
	here := &admin{control: *n.control, local: n, began: !there}
	here.http = n.httpServer(handlers.Control(n.control.Key, n.routes, n.jobRoutes()))
	go func() { _ = here.http.Serve(n.control.listener) }() // until close
	return here, nil
}

// close stops the server in this process.
func (a *admin) close() {
	if a.local == nil {
		return
	}
	a.local.server.Drain()
	ctx, cancel := awake.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if a.http.Shutdown(ctx) != nil {
		_ = a.http.Close()
	}
	a.local.close()
}

// do makes a request. Any status but 200 is an error: the code, field and detail of the answer, or
// the status if the answer has no code.
func (a *admin) do(ctx context.Context, method, path, mediaType string, body io.Reader) (*http.Response, error) {
	return a.doBy(ctx, controlClient, method, path, mediaType, body)
}

// doBy is do with another client.
func (a *admin) doBy(ctx context.Context, by *http.Client, method, path, mediaType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.URL+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.Key)
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	res, err := by.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	var p struct{ Code, Detail, Field string }
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil || p.Code == "" {
		return nil, fmt.Errorf("the server answers %s", res.Status)
	}
	return nil, fmt.Errorf("%s: %s", p.Code, joinField(p.Field, p.Detail))
}

// controlClient connects to the loopback address directly: no proxy may see the key.
var controlClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// clientUntil returns a client like controlClient for one request. It calls ended when the
// connection ends, so that the caller can end the body of the request: a request whose body is
// still open does not return, even if the connection has broken before the response.
func clientUntil(ended func()) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return endingConn{c, ended}, nil
		},
	}}
}

// endingConn is a connection that calls ended when it can read no more.
type endingConn struct {
	net.Conn
	ended func()
}

// Read implements net.Conn.
func (c endingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.ended()
	}
	return n, err
}

// joinField puts a field in front of the detail about it.
func joinField(field, detail string) string {
	if field == "" {
		return detail
	}
	return field + " " + detail
}

// eachLine decodes each line of a response as it arrives, and calls fn with it.
func eachLine[T any](body io.Reader, fn func(T) error) error {
	for lines := json.NewDecoder(body); ; {
		var line T
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := fn(line); err != nil {
			return err
		}
	}
}
