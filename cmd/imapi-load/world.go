package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/im"
)

// user is a user that the load acts as.
type user struct {
	name, token string
}

// conversation is a conversation of the run.
type conversation struct {
	id      string
	members []*user // the first one is the owner
	// newest is the seq of the newest message that was answered, and newestID its id.
	newest   atomic.Int64
	newestID atomic.Pointer[string]
}

// answered records a message that the server has answered.
func (c *conversation) answered(id string, seq int64) {
	for newest := c.newest.Load(); seq > newest; newest = c.newest.Load() {
		if c.newest.CompareAndSwap(newest, seq) {
			c.newestID.Store(&id)
			return
		}
	}
}

// world is the users and conversations that the run created.
type world struct {
	run           string // part of all names, so that two runs never share one
	users         []*user
	conversations []*conversation
	// of has the conversations of each user.
	of map[*user][]*conversation
	// start is a cursor from before the first message.
	start string
}

// secretFile is the file in a server's data directory that holds the secret of its tokens.
const secretFile = "token.secret"

// newWorld creates the users. If the configuration has a token, the only user is the token's.
// Otherwise there are as many as the configuration says, with tokens signed with the server's
// secret.
func newWorld(c config) (*world, error) {
	w := &world{run: strings.ToLower(rand.Text()[:8]), of: make(map[*user][]*conversation)}
	if c.token != "" {
		name, err := subject(c.token)
		if err != nil {
			return nil, err
		}
		w.users = []*user{{name, c.token}}
		return w, nil
	}
	secret, err := auth.LoadSecret(filepath.Join(c.data, secretFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, misuse("--data: there is no %s in %s; name the data directory of the server, or give a --token", secretFile, c.data)
	case err != nil:
		return nil, err
	}
	for i := range c.users {
		g := auth.Grant{
			User: im.UserID(fmt.Sprintf("load-%s-%d", w.run, i)), Admin: c.unlimited,
			TTL: c.duration + 24*time.Hour, Issuer: c.issuer, Audience: c.audience,
		}
		token, err := auth.Mint(secret, g, time.Now())
		if err != nil {
			return nil, err
		}
		w.users = append(w.users, &user{string(g.User), token})
	}
	return w, nil
}

// subject returns the user of a token, which it does not verify: the server does.
func subject(token string) (string, error) {
	parts := strings.Split(token, ".")
	var claims struct {
		Subject string `json:"sub"`
	}
	if len(parts) == 3 {
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			_ = json.Unmarshal(b, &claims) // an error leaves no subject, which is refused below
		}
	}
	if claims.Subject == "" {
		return "", misuse("--token: must be a token with a subject")
	}
	return claims.Subject, nil
}

// setupWorkers is the number of concurrent requests that create the world.
const setupWorkers = 8

// each calls fn for every number below n, a few at once, until a call fails or ctx ends.
func each(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(setupWorkers, n) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := fn(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// setUp sets start and makes the conversations.
func (w *world) setUp(ctx context.Context, c config, step func(what string, done, all int)) error {
	s, err := openStream(ctx, c.endpoint(), w.users[0].token, device, "", 4<<10)
	if err != nil {
		return err
	}
	for w.start == "" {
		if _, err := s.next(); err != nil {
			return fmt.Errorf("the stream ended: %w", err)
		}
		w.start = s.cursor
	}
	s.close()

	w.conversations = make([]*conversation, c.conversations)
	var made atomic.Int64
	err = each(ctx, c.conversations, func(ctx context.Context, i int) error {
		conversation, err := w.converse(ctx, c, i)
		if err != nil {
			return err
		}
		w.conversations[i] = conversation
		step("conversations", int(made.Add(1)), c.conversations)
		return nil
	})
	if err != nil {
		return err
	}
	for _, conversation := range w.conversations {
		for _, u := range conversation.members {
			w.of[u] = append(w.of[u], conversation)
		}
	}
	return nil
}

// mostAtOnce is the maximum number of members that a request may add.
const mostAtOnce = 2000

// converse creates a conversation.
func (w *world) converse(ctx context.Context, c config, i int) (*conversation, error) {
	made := &conversation{}
	// Each conversation begins at a later user than the previous one, so that all users are in
	// about the same number of conversations.
	begin := i * len(w.users) / c.conversations
	for j := range min(c.members, len(w.users)) {
		made.members = append(made.members, w.users[(begin+j)%len(w.users)])
	}
	owner := made.members[0]
	api, err := client.New(c.server.String(), client.Options{Token: client.StaticToken(owner.token), Device: device})
	if err != nil {
		return nil, err
	}
	if c.kind == "direct" {
		peer := fmt.Sprintf("load-%s-peer-%d", w.run, i) // the one user's peer
		if len(made.members) > 1 {
			peer = made.members[1].name
		}
		first, err := api.Send(ctx, "@"+peer, client.SendText{Body: client.TextBody{Text: "first"}})
		if err != nil {
			return nil, fmt.Errorf("begin a direct conversation: %w", err)
		}
		made.id = first.ConversationID
		made.answered(first.ID, first.Seq)
		return made, nil
	}
	var others []string
	for _, u := range made.members[1:] {
		others = append(others, u.name)
	}
	now := min(len(others), mostAtOnce)
	err = patiently(ctx, func() error {
		answer, err := api.CreateConversationWithResponse(ctx, nil, client.CreateConversation{
			Kind: client.CreateConversationKind(c.kind), Name: "load " + w.run, Members: others[:now],
		})
		if err == nil {
			made.id = answer.JSON201.ID
		}
		return err
	})
	for err == nil && now < len(others) {
		some := others[now:min(now+mostAtOnce, len(others))]
		now += len(some)
		err = patiently(ctx, func() error {
			_, err := api.AddMembersWithResponse(ctx, made.id, nil, client.AddMembers{Members: some})
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("make a %s of %d: %w", c.kind, len(made.members), err)
	}
	return made, nil
}

// patiently repeats fn for as long as the server asks to wait.
func patiently(ctx context.Context, fn func() error) error {
	for {
		err := fn()
		var refusal *client.Problem
		if !errors.As(err, &refusal) || refusal.Status != http.StatusTooManyRequests && refusal.Status != http.StatusServiceUnavailable {
			return err
		}
		pause(ctx, time.Second)
		if ctx.Err() != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
	}
}

// tearDown deletes the conversations for everyone, and with them their messages.
func (w *world) tearDown(ctx context.Context, c config, step func(what string, done, all int)) error {
	var done atomic.Int64
	return each(ctx, len(w.conversations), func(ctx context.Context, i int) error {
		made := w.conversations[i]
		if made == nil {
			return nil
		}
		api, err := client.New(c.server.String(), client.Options{Token: client.StaticToken(made.members[0].token), Device: device})
		if err != nil {
			return err
		}
		err = patiently(ctx, func() error {
			everyone := client.DeleteConversationParamsScopeEveryone
			_, err := api.DeleteConversationWithResponse(ctx, made.id, &client.DeleteConversationParams{Scope: &everyone})
			return err
		})
		step("conversations deleted", int(done.Add(1)), len(w.conversations))
		return err
	})
}
