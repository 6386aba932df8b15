package client_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/client"
)

// Whatever is created is tried once more after a lost answer, with the same client_id.
func TestCreate(t *testing.T) {
	own := "mine"
	for name, tt := range map[string]struct {
		create func(ctx context.Context, c *client.Client, id *string) (string, error)
		path   string
	}{
		"a conversation": {func(ctx context.Context, c *client.Client, id *string) (string, error) {
			v, err := c.NewConversation(ctx, client.CreateConversation{Kind: client.CreateConversationKindGroup, Name: "g", ClientID: id})
			return v.ID, err
		}, "/base/v1/conversations"},
		"a thread": {func(ctx context.Context, c *client.Client, id *string) (string, error) {
			v, err := c.NewThread(ctx, "m1", client.CreateThread{Name: "t", ClientID: id})
			return v.ID, err
		}, "/base/v1/messages/m1/thread"},
		"a space": {func(ctx context.Context, c *client.Client, id *string) (string, error) {
			v, err := c.NewSpace(ctx, client.CreateSpace{Name: "s", ClientID: id})
			return v.ID, err
		}, "/base/v1/spaces"},
		"a channel": {func(ctx context.Context, c *client.Client, id *string) (string, error) {
			v, err := c.NewChannel(ctx, "s1", client.CreateChannel{Name: "c", ClientID: id})
			return v.ID, err
		}, "/base/v1/spaces/s1/channels"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				again := reply(http.StatusOK, "application/json", `{"id":"x1"}`)
				f := newFake(t, lost, again, lost, lost, refuse(410, "conversation_gone"))
				c := f.client(client.Options{Device: "phone"})
				if id, err := tt.create(t.Context(), c, nil); err != nil || id != "x1" {
					t.Errorf("got %q, %v", id, err)
				}
				clientIDs(t, f.asked())
				_, err := tt.create(t.Context(), c, &own)
				var undecided *client.SendError
				if !errors.Is(err, client.ErrConnectionLost) || !errors.As(err, &undecided) || undecided.ClientID != own {
					t.Errorf("got %v", err)
				}
				begun := time.Now()
				if _, err := tt.create(t.Context(), c, &own); problemOf(t, err).Status != http.StatusGone || time.Since(begun) != 0 {
					t.Errorf("got %v", err)
				}
				asked := f.asked()
				for _, r := range asked {
					if r.Method != http.MethodPost || r.URL.Path != tt.path || r.Header.Get("X-Device-Id") != "phone" {
						t.Errorf("%s %s", r.Method, r.URL)
					}
				}
				if ids := clientIDs(t, asked[2:]); ids[0] != own || own != "mine" {
					t.Errorf("sent the client_id %q", ids[0])
				}
			})
		})
	}
}
