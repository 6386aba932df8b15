package main

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/web"
)

// demoTokenTTL is the lifetime of tokens that the demo signs.
const demoTokenTTL = 12 * time.Hour

// provable is the time after an erasure within which the demo can prove it.
const provable = time.Hour

// pages returns the demo, nil with --demo=false, and the reference, nil with --docs=false.
func (n *node) pages(secret []byte) (demo, reference http.Handler) {
	signIn := n.signIn(secret)
	if n.config.demo {
		demo = web.Handler(signIn)
	}
	if n.config.docs {
		reference = web.Reference(signIn)
	}
	return demo, reference
}

// signIn returns the functions that sign visitors in and prove erasures; nil if the demo must not
// sign anybody in.
func (n *node) signIn(secret []byte) *web.SignIn {
	if !n.config.demo || !n.inDevelopment() {
		return nil
	}
	return &web.SignIn{
		Mint: func(user string) (string, time.Time, error) {
			now := time.Now()
			token, err := auth.Mint(secret, auth.Grant{
				User: im.UserID(user), TTL: demoTokenTTL, Issuer: n.config.issuer, Audience: n.config.audience,
			}, now)
			return token, now.Add(demoTokenTTL), err
		},
		Prove: n.prove,
	}
}

// inDevelopment reports whether the demo may sign people in: the server signs its own tokens,
// can be reached only from this machine, and is not configured for browsers or proxies elsewhere.
func (n *node) inDevelopment() bool {
	addr, err := netip.ParseAddrPort(n.listener.Addr().String())
	return err == nil && addr.Addr().Unmap().IsLoopback() &&
		n.config.algorithm == auth.HS256 && len(n.config.origins) == 0 && len(n.config.trustedProxies) == 0
}

// prove searches all files of the data directory for the text of a message that was erased within
// the last hour.
func (n *node) prove(ctx context.Context, message, text string) (web.Proof, error) {
	id, ok := im.ParseID(message)
	if !ok {
		return web.Proof{}, im.ErrNotFound
	}
	erased, err := n.erasure(ctx, id)
	if err != nil {
		return web.Proof{}, err
	}
	p := web.Proof{Control: string(erased.Sender), State: erased.State.String(), ErasedAt: erased.Erased.At}
	if !erased.Shredded.IsZero() {
		p.ShreddedAt = &erased.Shredded
	}
	p.Files, p.Complete, err = web.SearchFiles(ctx, n.config.data, text, p.Control)
	return p, err
}

// erasure returns the tombstone of a message that was erased within the last hour.
func (n *node) erasure(ctx context.Context, id im.ID) (im.ErasedMessage, error) {
	q := im.ErasureQuery{Since: time.Now().Add(-provable), Limit: 200}
	for {
		page, err := n.service.Erasures(ctx, im.Actor{Admin: true}, q)
		if err != nil {
			return im.ErasedMessage{}, err
		}
		for _, e := range page.Items {
			if e.ID == id {
				return e, nil
			}
		}
		if page.Next == nil {
			return im.ErasedMessage{}, im.ErrNotFound
		}
		q.Past, q.AsOf = page.Next, page.AsOf
	}
}
