package im_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// creator creates one kind of conversation under a client_id.
type creator struct {
	*world
	kind im.Kind
	// space and root are what channels and threads are created in.
	space, root im.ID
	inGroup     im.ID
}

func newCreator(t *testing.T, kind im.Kind) *creator {
	policy := im.DefaultPolicy()
	policy.MaxChannels = 3
	c := &creator{world: newWorldWith(t, policy), kind: kind}
	switch kind {
	case im.Channel:
		v, err := c.CreateSpace(c.ctx, as("alice"), im.SpaceDraft{Name: "a space", Settings: im.ConversationPatch{Join: new(im.JoinOpen)}})
		c.must(err)
		c.space = v.ID
	case im.Thread:
		c.inGroup = c.group(im.HistoryAll, "alice", "bob")
		c.root = c.say("bob", byID(c.inGroup), "root").ID
	default: // in nothing
	}
	return c
}

// create creates one named name and returns its id, and "created", "again" or the refusal.
func (c *creator) create(user im.UserID, clientID, name string, members ...im.UserID) (im.ID, string) {
	var id im.ID
	var again bool
	var err error
	switch c.kind {
	case im.Space:
		var v im.CreatedSpace
		v, err = c.CreateSpace(c.ctx, as(user), im.SpaceDraft{ClientID: clientID, Name: name})
		id, again = v.ID, v.Again
	default:
		var v im.Created
		switch c.kind {
		case im.Channel:
			v, err = c.CreateChannel(c.ctx, as(user), c.space, im.ChannelDraft{ClientID: clientID, Name: name})
		case im.Thread:
			v, err = c.CreateThread(c.ctx, as(user), c.root, im.ThreadDraft{ClientID: clientID, Name: name})
		default:
			v, err = c.CreateGroup(c.ctx, as(user), im.GroupDraft{Kind: c.kind, ClientID: clientID, Name: name, Members: members})
		}
		id, again = v.ID, v.Again
	}
	switch {
	case err != nil:
		return 0, answer(err)
	case again:
		return id, "again"
	default:
		return id, "created"
	}
}

func (c *creator) rename(id im.ID, name string) {
	c.Helper()
	var err error
	if c.kind == im.Space {
		_, err = c.UpdateSpace(c.ctx, as("alice"), id, im.ConversationPatch{Name: &name})
	} else {
		_, err = c.UpdateConversation(c.ctx, as("alice"), byID(id), im.ConversationPatch{Name: &name})
	}
	c.must(err)
}

func (c *creator) delete(id im.ID) {
	c.Helper()
	if c.kind == im.Space {
		c.must(c.DeleteSpace(c.ctx, as("alice"), id))
		return
	}
	c.must(c.DeleteConversation(c.ctx, im.Actor{User: "root", Admin: true}, byID(id)))
}

// TestCreatingAgain checks what repetitions of a client_id return, for each kind.
func TestCreatingAgain(t *testing.T) {
	for _, kind := range []im.Kind{im.Group, im.Room, im.Space, im.Channel, im.Thread} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			c := newCreator(t, kind)
			first, got := c.create("alice", "c", "a name")
			c.equal("the first", got, "created")
			before := len(c.committed())
			same := func(what, name string) {
				c.Helper()
				id, got := c.create("alice", "c", name)
				c.equal(what, []any{got, id}, []any{"again", first})
			}
			refused := func(what, name, want string) {
				c.Helper()
				_, got := c.create("alice", "c", name)
				c.equal(what, got, want)
			}
			same("the same", "a name")
			refused("another name", "another", "409 client_id_reused")
			refused("an invalid name", "", "400 invalid_request")
			_, got = c.create("alice", strings.Repeat("x", 129), "a name")
			c.equal("an invalid client_id", got, "400 invalid_request")
			c.equal("events of all that", len(c.committed())-before, 0)

			c.rename(first, "renamed") // in the same millisecond
			same("after a change of the name, with the first name", "a name")
			same("after a change of the name, with the new name", "renamed")

			c.delete(first)
			refused("deleted", "a name", "410 conversation_gone")
			refused("deleted, another name", "another", "410 conversation_gone")
			c.must(c.Purge(c.ctx))
			refused("purged", "a name", "410 conversation_gone")
			c.pass(7*day - time.Second)
			_, err := c.Forget(c.ctx)
			c.must(err)
			refused("before the end of the retention", "a name", "410 conversation_gone")
			c.pass(2 * time.Second)
			_, err = c.Forget(c.ctx)
			c.must(err)
			if kind == im.Thread { // its message is there, and has no thread
				c.pass(time.Hour)
			}
			second, got := c.create("alice", "c", "a name")
			c.equal("forgotten", []any{got, second != first}, []any{"created", true})
		})
	}
}

// A user's client_ids are their own, apart from those of messages, and the same for all kinds.
func TestClientIDsOfCreations(t *testing.T) {
	c := newCreator(t, im.Group)
	id, _ := c.create("alice", "c", "a name", "bob", "carol")
	for _, tt := range []struct {
		name, want string
		user       im.UserID
		clientID   string
		members    []im.UserID
	}{
		{"the members in another order, with the owner and twice", "again", "alice", "c", []im.UserID{"carol", "alice", "bob", "carol"}},
		{"fewer members", "409 client_id_reused", "alice", "c", []im.UserID{"bob"}},
		{"other members", "409 client_id_reused", "alice", "c", []im.UserID{"bob", "dave"}},
		{"ids that join to the same text", "409 client_id_reused", "alice", "c", []im.UserID{"bobcarol"}},
		{"another user", "created", "bob", "c", []im.UserID{"alice", "carol"}},
		{"another client_id", "created", "alice", "d", []im.UserID{"bob", "carol"}},
		{"no client_id", "created", "alice", "", []im.UserID{"bob", "carol"}},
		{"no client_id again", "created", "alice", "", []im.UserID{"bob", "carol"}},
	} {
		_, got := c.create(tt.user, tt.clientID, "a name", tt.members...)
		c.equal(tt.name, got, tt.want)
	}
	for name, got := range map[string]error{
		"a room": func() error {
			_, err := c.CreateGroup(c.ctx, as("alice"), im.GroupDraft{Kind: im.Room, ClientID: "c", Name: "a name", Members: []im.UserID{"bob", "carol"}})
			return err
		}(),
		"other settings": func() error {
			_, err := c.CreateGroup(c.ctx, as("alice"), im.GroupDraft{
				ClientID: "c", Name: "a name", Members: []im.UserID{"bob", "carol"}, Settings: im.ConversationPatch{Avatar: new("x")},
			})
			return err
		}(),
		"a space": func() error {
			_, err := c.CreateSpace(c.ctx, as("alice"), im.SpaceDraft{ClientID: "c", Name: "a name"})
			return err
		}(),
	} {
		c.equal(name, answer(got), "409 client_id_reused")
	}
	d := text("hi")
	d.ClientID = "c"
	_, err := c.Send(c.ctx, as("alice"), byID(id), d)
	c.equal("a message", answer(err), "ok")

	// Members come and go; the request stays the same.
	c.remove(id, "alice", "bob")
	c.add(id, "alice", im.Member, "dave")
	_, got := c.create("alice", "c", "a name", "bob", "carol")
	c.equal("after changes of members", got, "again")
	c.must(c.PutBlock(c.ctx, as("carol"), "alice"))
	_, got = c.create("alice", "c", "a name", "bob", "carol")
	c.equal("after a block", got, "again")
	_, got = c.create("alice", "c", "another", "bob", "carol")
	c.equal("another name after a block", got, "403 blocked")
}

// A repetition returns the conversation for as long as its creator can see it.
func TestCreatingAgainWithoutAccess(t *testing.T) {
	t.Run("a group that was left", func(t *testing.T) {
		c := newCreator(t, im.Group)
		id, _ := c.create("alice", "c", "a name", "bob")
		_, err := c.SetRole(c.ctx, as("alice"), byID(id), "bob", im.Owner)
		c.must(err)
		c.must(c.Leave(c.ctx, as("alice"), byID(id)))
		_, got := c.create("alice", "c", "a name", "bob")
		c.equal("after leaving", got, "404 conversation_not_found")
	})
	t.Run("a channel of a space that was left", func(t *testing.T) {
		c := newCreator(t, im.Channel)
		_, _ = c.create("alice", "c", "a name")
		_, got := c.create("bob", "c", "a name")
		c.equal("by a stranger", got, "404 space_not_found")
		_, err := c.JoinSpace(c.ctx, as("bob"), c.space)
		c.must(err)
		_, got = c.create("bob", "c", "a name")
		c.equal("by a member without the permission", got, "403 permission_denied")
	})
	t.Run("a channel, at the limit", func(t *testing.T) {
		c := newCreator(t, im.Channel)
		for i := range 3 {
			_, got := c.create("alice", fmt.Sprint(i), "a name")
			c.equal("the channel", got, "created")
		}
		_, got := c.create("alice", "2", "a name")
		c.equal("again", got, "again")
		_, got = c.create("alice", "3", "a name")
		c.equal("one more", got, "422 too_many_channels")
	})
	t.Run("a thread of a deleted group", func(t *testing.T) {
		c := newCreator(t, im.Thread)
		_, _ = c.create("alice", "c", "a name")
		_, got := c.create("bob", "c", "a name")
		c.equal("by another user", got, "409 thread_exists")
		c.must(c.DeleteConversation(c.ctx, as("alice"), byID(c.inGroup)))
		_, got = c.create("alice", "c", "a name")
		c.equal("after the deletion", got, "404 message_not_found")
	})
	t.Run("a thread in slow mode", func(t *testing.T) {
		c := newCreator(t, im.Thread)
		_, err := c.UpdateConversation(c.ctx, as("alice"), byID(c.inGroup), im.ConversationPatch{SlowMode: new(time.Minute)})
		c.must(err)
		c.pass(time.Hour)
		_, got := c.create("bob", "c", "a name")
		c.equal("the first", got, "created")
		_, got = c.create("bob", "c", "a name")
		c.equal("at once again", got, "again")
	})
}

// Requests at the same time create one conversation.
func TestCreatingAtOnce(t *testing.T) {
	for _, kind := range []im.Kind{im.Group, im.Space, im.Channel, im.Thread} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			c := newCreator(t, kind)
			ids := make([]im.ID, 8)
			answers := make([]string, len(ids))
			var wg sync.WaitGroup
			for i := range ids {
				wg.Go(func() { ids[i], answers[i] = c.create("alice", "c", "a name") })
			}
			wg.Wait()
			created := 0
			for i := range ids {
				c.equal("the id", ids[i], ids[0])
				if answers[i] == "created" {
					created++
				} else {
					c.equal("the answer", answers[i], "again")
				}
			}
			c.equal("created", created, 1)
		})
	}
}
