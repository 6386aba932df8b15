package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/im"
)

// defaultServer is the URL of a server without flags.
const defaultServer = "http://127.0.0.1:8080"

// connection has the flags of commands that call a server as a user.
type connection struct {
	server, token, as, data string
	issuer, audience        string
}

func (c *connection) add(f flags) {
	f.StringVar(&c.server, "server", "", "the `URL` of the server; by default that of the server that runs on --data, or else "+defaultServer)
	f.StringVar(&c.token, "token", "", "the `token` to call with; set it in the environment, because other users of the machine can see command lines")
	f.StringVar(&c.as, "as", "", "the `user` to call as, instead of --token: the command signs a token with the secret in --data")
	f.StringVar(&c.data, "data", "./data", "the `directory` of the data of a server on this machine")
	f.StringVar(&c.issuer, "auth-issuer", "", "with --as, the `issuer` (iss) that the server requires")
	f.StringVar(&c.audience, "auth-audience", "", "with --as, the `audience` (aud) that the server requires")
}

// locate sets the URL of the server if no flag does, and otherwise checks it.
func (c *connection) locate() error {
	if c.server == "" {
		c.server = defaultServer
		if running, ok := readControl(c.data); ok && running.Serves != "" {
			c.server = running.Serves
		}
		return nil
	}
	return checkURL(c.server)
}

// checkURL checks the value of --server.
func checkURL(server string) error {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return misuse("--server: must be a URL such as https://im.example.com")
	}
	return nil
}

// credential returns the source of tokens that the flags ask for.
func (c *connection) credential(f flags) (client.TokenSource, error) {
	as, token := c.as, strings.TrimSpace(c.token)
	if as != "" && token != "" {
		// A flag takes precedence over the environment, including the variable of the other flag.
		switch {
		case f.given["as"] && !f.given["token"]:
			token = ""
		case f.given["token"] && !f.given["as"]:
			as = ""
		default:
			return nil, misuse("--as and --token exclude each other")
		}
	}
	switch {
	case as != "":
		return c.sign(as)
	case token != "":
		return client.StaticToken(token), nil
	default:
		return nil, misuse("no token: set IMAPI_TOKEN to one, or, on the machine of the server, name a user with --as")
	}
}

// signedFor is the lifetime of a token that a command signs for itself.
const signedFor = time.Hour

// sign returns a source of tokens for a user, signed with the secret in the data directory.
func (c *connection) sign(user string) (client.TokenSource, error) {
	if !im.UserID(user).Valid() {
		return nil, misuse("--as: must be %s", im.UserIDRule)
	}
	secret, err := auth.LoadSecret(filepath.Join(c.data, secretFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--as: there is no %s in %s; name the server's directory with --data, or give a token in IMAPI_TOKEN", secretFile, c.data)
	}
	if err != nil {
		return nil, fmt.Errorf("--as: %w", err)
	}
	var (
		mu    sync.Mutex
		token string
		until time.Time
	)
	return func(context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		// Return the same token until a quarter of its lifetime is left. The client gives up when
		// it gets the refused token again; with a new token for each request it would retry
		// forever.
		now := time.Now()
		if until.Sub(now) > signedFor/4 {
			return token, nil
		}
		var err error
		token, err = auth.Mint(secret, auth.Grant{User: im.UserID(user), TTL: signedFor, Issuer: c.issuer, Audience: c.audience}, now)
		until = now.Add(signedFor)
		return token, err
	}, nil
}

// open returns a client of the server.
func (c *connection) open(f flags) (*client.Client, error) {
	if err := c.locate(); err != nil {
		return nil, err
	}
	token, err := c.credential(f)
	if err != nil {
		return nil, err
	}
	return client.New(c.server, client.Options{Token: token, SendTimeout: sendTimeout})
}

// sendTimeout is the time that each of the two attempts to send a message waits for an answer. It
// is short because a person is waiting.
const sendTimeout = 5 * time.Second

// explain adds to an error of the client a line about what to do next, if there is anything to say.
// It returns an unreachableError if there was no answer from the server.
func (c *connection) explain(err error) error {
	var (
		problem   *client.Problem
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		network   *url.Error
		sending   *client.SendError
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &problem):
		if next := c.afterRefusal(problem); next != "" {
			return fmt.Errorf("%w\n  %s", err, next)
		}
		if problem.Status >= 502 && problem.Status <= 504 {
			return &unreachableError{err}
		}
		return err
	case errors.As(err, &authority), errors.As(err, &host), errors.As(err, &invalid):
		return &unreachableError{fmt.Errorf("%w\n  the server's certificate must be valid for --server, and its issuer trusted by this machine", err)}
	case errors.As(err, &record):
		return &unreachableError{fmt.Errorf("%w\n  the server at %s does not speak TLS: use http://", err, c.server)}
	case errors.As(err, &sending) && errors.Is(err, client.ErrConnectionLost):
		return &unreachableError{err}
	case errors.As(err, &network):
		return &unreachableError{fmt.Errorf("no server answers at %s: %w\n  start one with imapi serve, or name another with --server or IMAPI_SERVER", c.server, network.Err)}
	default:
		return err
	}
}

// afterRefusal returns what to do about a refusal, or "".
func (c *connection) afterRefusal(p *client.Problem) string {
	switch {
	case p.Code == "token_expired":
		return "get a new token; imapi doctor says more about this one"
	case p.Status == 401 && c.as != "":
		return "does the server at " + c.server + " use the data in " + c.data + "? Name its directory with --data, and --auth-issuer and --auth-audience if it has them"
	case p.Status == 401:
		return "imapi doctor says more about the token"
	case p.Code == "conversation_not_found":
		return "there is no such conversation, or this user is not in it; name a user with --to"
	case p.Code == "" && p.Status == 404:
		return "this is not an imapi server, or --server lacks a path"
	case p.Code == "rate_limited":
		return "wait a moment, and try again"
	default:
		return ""
	}
}

// target has the flags that name a conversation.
type target struct{ to, conversation string }

func (t *target) add(f flags) {
	f.StringVar(&t.to, "to", "", "the `user` at the other end of a direct conversation")
	f.StringVar(&t.conversation, "conversation", "", "the `id` of the conversation, instead of --to")
}

// path returns the conversation as it appears in the paths of requests.
func (t *target) path() (string, error) {
	switch user := strings.TrimPrefix(t.to, "@"); {
	case (t.to == "") == (t.conversation == ""):
		return "", misuse("name a user with --to or a conversation with --conversation")
	case t.conversation != "":
		return t.conversation, nil
	case !im.UserID(user).Valid():
		return "", misuse("--to: must be %s", im.UserIDRule)
	default:
		return "@" + user, nil
	}
}
