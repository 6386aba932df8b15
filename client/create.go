package client

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
)

// NewConversation creates a group or room. Without a client_id it gets one. It is tried twice, with
// the errors of [Client.Send], and created only once.
func (c *Client) NewConversation(ctx context.Context, d CreateConversation) (Conversation, error) {
	return idempotent[Conversation]{c, identified(&d.ClientID, rand.Text()), func(body io.Reader) (*http.Request, error) {
		return NewCreateConversationRequestWithBody(c.server, nil, "application/json", body)
	}}.do(ctx, &d)
}

// NewThread is NewConversation for a thread under a message.
func (c *Client) NewThread(ctx context.Context, message string, d CreateThread) (Conversation, error) {
	return idempotent[Conversation]{c, identified(&d.ClientID, rand.Text()), func(body io.Reader) (*http.Request, error) {
		return NewCreateThreadRequestWithBody(c.server, message, nil, "application/json", body)
	}}.do(ctx, &d)
}

// NewSpace is NewConversation for a space.
func (c *Client) NewSpace(ctx context.Context, d CreateSpace) (Space, error) {
	return idempotent[Space]{c, identified(&d.ClientID, rand.Text()), func(body io.Reader) (*http.Request, error) {
		return NewCreateSpaceRequestWithBody(c.server, nil, "application/json", body)
	}}.do(ctx, &d)
}

// NewChannel is NewConversation for a channel of a space.
func (c *Client) NewChannel(ctx context.Context, space string, d CreateChannel) (Conversation, error) {
	return idempotent[Conversation]{c, identified(&d.ClientID, rand.Text()), func(body io.Reader) (*http.Request, error) {
		return NewCreateChannelRequestWithBody(c.server, space, nil, "application/json", body)
	}}.do(ctx, &d)
}
