package im_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// hook is a pre-send hook for tests.
type hook func(ctx context.Context, q im.PresendQuestion) (im.PresendAnswer, error)

func (h hook) Ask(ctx context.Context, q im.PresendQuestion) (im.PresendAnswer, error) {
	return h(ctx, q)
}

var errUnanswered = errors.New("no answer")

// byText chooses the answer by the text of the message.
func byText(_ context.Context, q im.PresendQuestion) (im.PresendAnswer, error) {
	var body struct{ Text string }
	if err := json.Unmarshal(q.Content.Body, &body); err != nil {
		return im.PresendAnswer{}, err
	}
	switch body.Text {
	case "refuse":
		return im.PresendAnswer{Action: im.PresendRefuse, Code: "spam", Text: "No."}, nil
	case "drop":
		return im.PresendAnswer{Action: im.PresendDrop}, nil
	case "rewrite":
		return im.PresendAnswer{Action: im.PresendRewrite, Body: json.RawMessage(`{"text":"rewritten"}`)}, nil
	case "unanswered":
		return im.PresendAnswer{}, errUnanswered
	default:
		return im.PresendAnswer{Action: im.PresendAllow}, nil
	}
}

// asked adds a hook to a world, and returns the counter of its questions.
func asked(w *world, p im.Presend, answer hook) *atomic.Int64 {
	n := new(atomic.Int64)
	p.Hook = hook(func(ctx context.Context, q im.PresendQuestion) (im.PresendAnswer, error) {
		n.Add(1)
		return answer(ctx, q)
	})
	p.AtOnce, p.AtOnceOfUser = cmp.Or(p.AtOnce, 8), cmp.Or(p.AtOnceOfUser, 4)
	p.Wait = cmp.Or(p.Wait, time.Minute)
	w.UsePresend(p)
	return n
}

// named returns a text message with a client_id.
func named(clientID, words string) im.Draft {
	d := text("%s", words)
	d.ClientID = clientID
	return d
}

// TestPresendAnswersAndRetries: a retry has the same result as the first request. The hook is
// asked again only if nothing was stored.
func TestPresendAnswersAndRetries(t *testing.T) {
	w := newWorld(t)
	asks := asked(w, im.Presend{}, byText)
	for _, test := range []struct {
		words, want, stored string
		again               bool  // a retry returns the message
		asks                int64 // including the retry
	}{
		{"allow", "ok", "allow", true, 1},
		{"rewrite", "ok", "rewritten", true, 1},
		{"drop", "ok", "drop", true, 1},
		{"refuse", "403 refused_by_hook", "", false, 2},
		{"unanswered", "503 hook_unavailable", "", false, 2},
	} {
		asks.Store(0)
		d := named(test.words, test.words)
		sent, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
		w.equal(test.words, answer(err), test.want)
		again, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
		w.equal(test.words+" again", answer(err), test.want)
		if sent.Message.ID != again.Message.ID || again.Again != test.again {
			t.Errorf("%s: the retry returns %v (again %t) for %v", test.words, again.Message.ID, again.Again, sent.Message.ID)
		}
		for _, m := range []im.Message{sent.Message, again.Message} {
			if test.again && string(m.Content.Body) != fmt.Sprintf(`{"text":%q}`, test.stored) {
				t.Errorf("%s: body %s", test.words, m.Content.Body)
			}
		}
		if asks.Load() != test.asks {
			t.Errorf("%s: the hook was asked %d times, want %d", test.words, asks.Load(), test.asks)
		}
		if !test.again {
			continue
		}
		if _, err := w.Send(w.ctx, as("alice"), direct("bob"), named(test.words, "other")); answer(err) != "409 client_id_reused" {
			t.Errorf("%s: another message under the client_id: %v", test.words, err)
		}
	}
}

// TestPresendIsAskedAfterTheRules: the hook is not asked about messages that are refused anyway.
func TestPresendIsAskedAfterTheRules(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryAll, "owner", "alice", "muted")
	secret := w.group(im.HistoryAll, "owner")
	w.must1(w.MuteMember(w.ctx, as("owner"), byID(group), "muted", time.Hour))
	w.must(w.PutBlock(w.ctx, as("bob"), "alice"))
	w.must1(w.Send(w.ctx, as("alice"), byID(group), named("used", "one")))
	asks := asked(w, im.Presend{}, byText)
	reply := text("x")
	reply.ReplyTo = "06d8n3uv40a7c"
	burning := text("x")
	burning.Burn = &im.Burn{UnreadTTL: time.Hour}
	for _, test := range []struct {
		name, want string
		actor      im.UserID
		to         im.ConversationRef
		draft      im.Draft
	}{
		{"invalid", "400 invalid_request", "alice", byID(group), im.Draft{Type: im.Text, Body: json.RawMessage(`{}`)}},
		{"unknown conversation", "404 conversation_not_found", "alice", byID(secret), text("x")},
		{"muted", "403 permission_denied", "muted", byID(group), text("x")},
		{"blocked", "403 blocked", "alice", direct("bob"), text("x")},
		{"reused client_id", "409 client_id_reused", "alice", byID(group), named("used", "two")},
		{"repeated", "ok", "alice", byID(group), named("used", "one")},
		{"unknown quote", "422 reply_to_not_found", "alice", byID(group), reply},
		{"not supported", "422 burn_unsupported", "alice", byID(group), burning},
		{"to oneself", "422 direct_with_self", "alice", direct("alice"), text("x")},
	} {
		_, err := w.Send(w.ctx, as(test.actor), test.to, test.draft)
		w.equal(test.name, answer(err), test.want)
	}
	if n := asks.Load(); n != 0 {
		t.Errorf("the hook was asked %d times", n)
	}
}

// TestPresendRulesApplyAgain: the rules also apply to changes while the hook is being asked.
func TestPresendRulesApplyAgain(t *testing.T) {
	for _, test := range []struct {
		name, want string
		meanwhile  func(w *world, group, quoted im.ID) error
	}{
		{"removed", "404 conversation_not_found", func(w *world, group, _ im.ID) error {
			return w.RemoveMember(w.ctx, as("owner"), byID(group), "alice")
		}},
		{"muted", "403 permission_denied", func(w *world, group, _ im.ID) error {
			_, err := w.MuteMember(w.ctx, as("owner"), byID(group), "alice", time.Hour)
			return err
		}},
		{"quoted message hidden", "422 reply_to_not_found", func(w *world, group, quoted im.ID) error {
			return w.Hide(w.ctx, as("alice"), byID(group), im.HideDraft{MessageIDs: []string{quoted.String()}})
		}},
		{"sent under the same client_id elsewhere", "409 client_id_reused", func(w *world, group, _ im.ID) error {
			_, _, err := w.Insert(w.ctx, root, im.ImportMessage{
				Conversation: group.String(), Sender: "alice", ClientID: "c", Type: im.Text, Body: json.RawMessage(`{"text":"y"}`), CreatedAt: epoch,
			})
			return err
		}},
		{"nothing changed", "ok", func(*world, im.ID, im.ID) error { return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			group := w.group(im.HistoryAll, "owner", "alice")
			quoted := w.say("owner", byID(group), "x")
			asked(w, im.Presend{}, func(context.Context, im.PresendQuestion) (im.PresendAnswer, error) {
				return im.PresendAnswer{Action: im.PresendAllow}, test.meanwhile(w, group, quoted.ID)
			})
			d := named("c", "x")
			d.ReplyTo = quoted.ID.String()
			_, err := w.Send(w.ctx, as("alice"), byID(group), d)
			w.equal(test.name, answer(err), test.want)
		})
	}
}

func TestPresendTypesAndKinds(t *testing.T) {
	for name, test := range map[string]struct {
		types []im.MessageType
		kinds []im.Kind
		want  int64 // for a text and a location in both a group and a direct conversation
	}{
		"all":                     {nil, nil, 4},
		"texts":                   {[]im.MessageType{im.Text}, nil, 2},
		"in direct conversations": {nil, []im.Kind{im.Direct}, 2},
		"locations in groups":     {[]im.MessageType{im.Location}, []im.Kind{im.Group}, 1},
		"custom messages":         {[]im.MessageType{im.Custom}, nil, 0},
		"in rooms":                {nil, []im.Kind{im.Room}, 0},
	} {
		w := newWorld(t)
		group := w.group(im.HistoryAll, "alice", "bob")
		asks := asked(w, im.Presend{Types: test.types, Kinds: test.kinds}, func(context.Context, im.PresendQuestion) (im.PresendAnswer, error) {
			return im.PresendAnswer{Action: im.PresendAllow}, nil
		})
		for _, to := range []im.ConversationRef{byID(group), direct("bob")} {
			w.say("alice", to, "x")
			w.must1(w.Send(w.ctx, as("alice"), to, im.Draft{Type: im.Location, Body: json.RawMessage(`{"latitude":1,"longitude":2}`)}))
		}
		if asks.Load() != test.want {
			t.Errorf("%s: asked %d times, want %d", name, asks.Load(), test.want)
		}
	}
}

// TestPresendFailOpenSends: a message without a usable answer is sent.
func TestPresendFailOpenSends(t *testing.T) {
	w := newWorld(t)
	var outcomes []im.PresendOutcome
	asked(w, im.Presend{FailOpen: true, Observe: func(o im.PresendOutcome, _ error) { outcomes = append(outcomes, o) }}, byText)
	for _, words := range []string{"unanswered", "allow", "rewrite", "drop"} {
		w.say("alice", direct("bob"), words)
	}
	_, err := w.Send(w.ctx, as("alice"), direct("bob"), text("refuse"))
	w.equal("refused", answer(err), "403 refused_by_hook")
	w.equal("outcomes", outcomes, []im.PresendOutcome{
		im.PresendFailedOpen, im.PresendAllowed, im.PresendRewritten, im.PresendDropped, im.PresendRefused,
	})
}

// TestPresendRepeatedAtOnce: of concurrent requests with one client_id, one asks the hook, and all
// return the same message.
func TestPresendRepeatedAtOnce(t *testing.T) {
	w := newWorld(t)
	asks := asked(w, im.Presend{}, byText)
	for _, words := range []string{"allow", "rewrite", "drop"} {
		asks.Store(0)
		ids := make([]im.ID, 20)
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() {
				sent, err := w.Send(w.ctx, as("alice"), direct("bob"), named(words, words))
				if err != nil {
					t.Error(err)
				}
				ids[i] = sent.Message.ID
			})
		}
		all.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Errorf("%s: messages %v and %v", words, id, ids[0])
			}
		}
		if asks.Load() != 1 {
			t.Errorf("%s: the hook was asked %d times", words, asks.Load())
		}
	}
}

// TestPresendGivesUpWithTheSender: a sender who disconnects does not count as a failure of the
// hook.
func TestPresendGivesUpWithTheSender(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(w.ctx)
	asked(w, im.Presend{FailOpen: true, Observe: func(o im.PresendOutcome, _ error) { t.Errorf("outcome %s", o) }},
		func(ctx context.Context, _ im.PresendQuestion) (im.PresendAnswer, error) {
			cancel()
			<-ctx.Done()
			return im.PresendAnswer{}, ctx.Err()
		})
	if _, err := w.Send(ctx, as("alice"), direct("bob"), text("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := w.Conversation(w.ctx, as("alice"), direct("bob")); answer(err) != "404 conversation_not_found" {
		t.Errorf("something was stored: %v", err)
	}
}

// TestPresendIsSharedFairly: a user who sends many messages at once does not use up the turns of
// another, and gets none past the hook.
func TestPresendIsSharedFairly(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	var holding sync.WaitGroup
	holding.Add(2)
	asked(w, im.Presend{FailOpen: true, AtOnce: 3, AtOnceOfUser: 2, Wait: 20 * time.Millisecond},
		func(_ context.Context, q im.PresendQuestion) (im.PresendAnswer, error) {
			if q.Sender == "flood" {
				holding.Done()
				<-hold
			}
			return im.PresendAnswer{Action: im.PresendAllow}, nil
		})
	var flood sync.WaitGroup
	for range 2 {
		flood.Go(func() {
			if _, err := w.Send(w.ctx, as("flood"), direct("bob"), text("x")); err != nil {
				t.Error(err)
			}
		})
	}
	holding.Wait()
	for range 5 {
		_, err := w.Send(w.ctx, as("flood"), direct("bob"), text("x"))
		w.equal("one too many", answer(err), "503 hook_unavailable")
		w.say("alice", direct("bob"), "x")
	}
	close(hold)
	flood.Wait()
}

// TestPresendHoldsNoTransaction: the store serves others while the hook is being asked.
func TestPresendHoldsNoTransaction(t *testing.T) {
	w := newWorld(t)
	asked(w, im.Presend{Kinds: []im.Kind{im.Direct}}, func(ctx context.Context, _ im.PresendQuestion) (im.PresendAnswer, error) {
		group := w.group(im.HistoryAll, "carol", "dave")
		w.say("carol", byID(group), "x")
		_, err := w.Messages(ctx, as("dave"), byID(group), im.HistoryFilter{Limit: 1})
		return im.PresendAnswer{Action: im.PresendAllow}, err
	})
	w.say("alice", direct("bob"), "x")
}

// TestPresendAttachments: a rewritten message may have another name for its file, and another
// file only if its sender may use it. A dropped one reveals the file to nobody else.
func TestPresendAttachments(t *testing.T) {
	g := newGallery(t)
	own, others := g.upload("alice", []byte("notes")), g.upload("carol", []byte("secret"))
	var rewrite string
	asks := asked(g.world, im.Presend{}, func(context.Context, im.PresendQuestion) (im.PresendAnswer, error) {
		if rewrite == "" {
			return im.PresendAnswer{Action: im.PresendDrop}, nil
		}
		return im.PresendAnswer{Action: im.PresendRewrite, Body: json.RawMessage(rewrite)}, nil
	})
	draft := func(clientID string) im.Draft {
		return im.Draft{ClientID: clientID, Type: im.File, Body: fmt.Appendf(nil, `{"attachment_id":%q}`, own.ID)}
	}
	_, err := g.Send(g.ctx, as("alice"), direct("bob"), draft("dropped"))
	g.must(err)
	for user, want := range map[im.UserID]string{"alice": "ok", "bob": unknownFile} {
		_, err := g.Attachment(g.ctx, as(user), own.ID)
		g.equal("the file of a dropped message for "+string(user), answer(err), want)
	}
	rewrite = fmt.Sprintf(`{"attachment_id":%q,"name":"renamed.txt"}`, own.ID)
	sent, err := g.Send(g.ctx, as("alice"), direct("bob"), draft("renamed"))
	g.must(err)
	if body := string(sent.Message.Content.Body); !strings.Contains(body, "renamed.txt") || !strings.Contains(body, `"size":5`) {
		t.Errorf("body %s", body)
	}
	asks.Store(0)
	again, err := g.Send(g.ctx, as("alice"), direct("bob"), draft("renamed"))
	if g.must(err); again.Message.ID != sent.Message.ID || asks.Load() != 0 {
		t.Errorf("the retry returns %v for %v, asked %d times", again.Message.ID, sent.Message.ID, asks.Load())
	}
	_, err = g.Attachment(g.ctx, as("bob"), own.ID)
	g.equal("the file for bob", answer(err), "ok")

	rewrite = fmt.Sprintf(`{"attachment_id":%q}`, others.ID)
	_, err = g.Send(g.ctx, as("alice"), direct("bob"), draft("stolen"))
	g.equal("the file of another user", answer(err), "503 hook_unavailable")
}

// writes is a store that counts its transactions.
type writes struct {
	counted
	n int
}

func (s *writes) Write(ctx context.Context, fn func(im.Tx) error) error {
	s.n++
	return s.Store.Write(ctx, fn)
}

// TestSendWithoutAHookReadsNothing: without a hook, or with one that is not asked about the type of
// the message, a send is only one transaction.
func TestSendWithoutAHookReadsNothing(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob")
	s := &writes{counted: counted{Store: w.store, of: map[string]int{}}}
	service := im.NewService(s, im.DefaultPolicy(), w.clock)
	for _, types := range [][]im.MessageType{nil, {im.Custom}} {
		if types != nil {
			service.UsePresend(im.Presend{Types: types, AtOnce: 1, AtOnceOfUser: 1, Wait: time.Minute})
		}
		s.reads, s.n = 0, 0
		for range 10 {
			_, err := service.Send(w.ctx, as("alice"), byID(id), text("x"))
			w.must(err)
		}
		if s.reads != 0 || s.n != 10 {
			t.Errorf("hook for %v: %d reads and %d transactions for 10 messages", types, s.reads, s.n)
		}
	}
}

// TestPresendIsNotAskedByAdmins: the hook is not asked about messages that an admin sends as a
// user, inserts or imports, because those come from the application itself.
func TestPresendIsNotAskedByAdmins(t *testing.T) {
	w := newWorld(t)
	asks := asked(w, im.Presend{}, byText)
	results, err := w.SendAs(w.ctx, root, "alice", []string{"@bob"}, text("refuse"))
	w.must(err)
	w.must(results[0].Err)
	w.imports(w.old(time.Hour))
	_, _, err = w.Insert(w.ctx, root, w.old(0))
	w.must(err)
	if n := asks.Load(); n != 0 {
		t.Errorf("the hook was asked %d times", n)
	}
}
