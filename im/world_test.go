package im_test

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/storage"
)

// epoch is the time at which every world begins.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

// world is the use cases on a store of their own, with helpers for tests.
type world struct {
	testing.TB
	*im.Service
	ctx   context.Context
	store im.Store

	mu     sync.Mutex
	now    time.Time
	events []im.Event // all committed events, as the store published them
	cuts   []im.TokenCut
}

func newWorld(t testing.TB) *world { return newWorldWith(t, im.DefaultPolicy()) }

func newWorldWith(t testing.TB, policy im.Policy) *world {
	t.Helper()
	store, err := storage.Open(t.Context(), "", storage.Options{
		DataDir: t.TempDir(), Synchronous: "normal", ReadLimit: await.Limit,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{TB: t, ctx: t.Context(), store: store, now: epoch}
	w.Service = im.NewService(store, policy, w.clock)
	store.OnCommit(func(c im.Commit) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, c.Events...)
		w.cuts = append(w.cuts, c.Cuts...)
	})
	return w
}

// step runs a part of a test as a subtest in the same world. It ends the test if the part
// fails, because the next parts depend on it.
func (w *world) step(name string, part func()) {
	w.Helper()
	outer := w.TB
	ok := outer.(*testing.T).Run(name, func(t *testing.T) {
		w.TB = t
		defer func() { w.TB = outer }()
		part()
	})
	if !ok {
		outer.FailNow()
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// committed returns all events published so far.
func (w *world) committed() []im.Event {
	// Commits are published in order: this write comes after all of them.
	w.must(w.store.Write(w.ctx, func(tx im.Tx) error { return tx.PutBlock("barrier", "nobody", w.clock()) }))
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clip(w.events)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) equal(what string, got, want any) {
	w.Helper()
	if diff := cmp.Diff(plain(want), plain(got), cmpopts.EquateEmpty()); diff != "" {
		w.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// plain converts a value for a comparison with a constant: integers, strings and errors lose their
// types.
func plain(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case error:
		return v.Error()
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = plain(v[i])
		}
		return all
	}
	switch value := reflect.ValueOf(v); {
	case value.CanInt():
		return value.Int()
	case value.Kind() == reflect.String:
		return value.String()
	default:
		return v
	}
}

// as returns a user without a device.
func as(user im.UserID) im.Actor { return im.Actor{User: user} }

// on returns a user on a device.
func on(user im.UserID, device string) im.Actor { return im.Actor{User: user, Device: device} }

func byID(id im.ID) im.ConversationRef         { return im.ConversationRef{ID: id} }
func direct(peer im.UserID) im.ConversationRef { return im.ConversationRef{Peer: peer} }

// text returns a text message.
func text(format string, args ...any) im.Draft {
	return im.Draft{Type: im.Text, Body: fmt.Appendf(nil, `{"text":%q}`, fmt.Sprintf(format, args...))}
}

// statuses are the HTTP statuses of the kinds of refusal.
var statuses = map[im.ErrorKind]int{
	im.Invalid: 400, im.Forbidden: 403, im.NotFound: 404, im.Conflict: 409, im.Gone: 410,
	im.TooLarge: 413, im.Rule: 422, im.TooMany: 429, im.Unavailable: 503, im.Full: 507,
}

// answer returns an error in the form of a table: "ok", or status and code.
func answer(err error) string {
	if err == nil {
		return "ok"
	}
	e, ok := im.AsError(err)
	if !ok {
		return "not a refusal: " + err.Error()
	}
	return fmt.Sprintf("%d %s", statuses[e.Kind], e.Code)
}

// field returns an answer with the field at fault.
func field(err error) string {
	out := answer(err)
	if e, ok := im.AsError(err); ok && e.Field != "" {
		out += " " + e.Field
	}
	return out
}

// group creates a group with an owner and members.
func (w *world) group(history im.History, owner im.UserID, members ...im.UserID) im.ID {
	w.Helper()
	v, err := w.CreateGroup(w.ctx, as(owner), im.GroupDraft{
		Name: "a group", Settings: im.ConversationPatch{History: &history}, Members: members,
	})
	w.must(err)
	return v.ID
}

// say sends a text.
func (w *world) say(user im.UserID, ref im.ConversationRef, words string) im.Message {
	w.Helper()
	sent, err := w.Send(w.ctx, as(user), ref, text("%s", words))
	w.must(err)
	if sent.Again {
		w.Fatalf("%q was sent already", words)
	}
	return sent.Message
}

// add makes users members with a role.
func (w *world) add(id im.ID, by im.UserID, role im.Role, users ...im.UserID) {
	w.Helper()
	_, err := w.AddMembers(w.ctx, as(by), byID(id), users, role)
	w.must(err)
}

// back makes a user who left rejoin through an invitation.
func (w *world) back(id im.ID, by, user im.UserID) {
	w.Helper()
	_, err := w.Invite(w.ctx, as(by), byID(id), []im.UserID{user})
	w.must(err)
	_, err = w.Join(w.ctx, as(user), byID(id))
	w.must(err)
}

func (w *world) remove(id im.ID, by, user im.UserID) {
	w.Helper()
	w.must(w.RemoveMember(w.ctx, as(by), byID(id), user))
}

// said returns the messages of a conversation that a user may read, oldest first.
func (w *world) said(user im.UserID, ref im.ConversationRef) []string {
	w.Helper()
	page, err := w.Messages(w.ctx, as(user), ref, im.HistoryFilter{Ascending: true, Limit: 1000})
	w.must(err)
	if page.Next != nil {
		w.Fatalf("there is a page after 1000 messages")
	}
	var out []string
	for _, m := range page.Messages {
		out = append(out, words(m))
	}
	return out
}

// list returns a user's conversations.
func (w *world) list(user im.UserID) []im.ConversationView {
	w.Helper()
	page, err := w.Conversations(w.ctx, as(user), im.ConversationFilter{Limit: 100})
	w.must(err)
	if page.Next != nil {
		w.Fatalf("there is a page after 100 conversations")
	}
	return page.Items
}

// unread returns a user's unread counts of a conversation, as messages/mentions.
func (w *world) unread(user im.UserID, ref im.ConversationRef) string {
	w.Helper()
	v, err := w.Conversation(w.ctx, as(user), ref)
	w.must(err)
	more := ""
	if v.Unread.More {
		more = "+"
	}
	return fmt.Sprintf("%d%s/%d", v.Unread.Messages, more, v.Unread.Mentions)
}

// words returns the text of a message.
func words(m im.Message) string {
	body := string(m.Content.Body)
	return body[len(`{"text":"`) : len(body)-len(`"}`)]
}

// roleOf returns a user's role in a conversation, as shown to them.
func (w *world) roleOf(id im.ID, user im.UserID) string {
	w.Helper()
	v, err := w.Conversation(w.ctx, as(user), byID(id))
	if err != nil {
		return answer(err)
	}
	return v.Me.Role().String()
}
