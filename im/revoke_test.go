package im_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// windows is the policy of the tables here: 2 minutes for one's own messages, 10 for those of
// others.
func windows() im.Policy {
	p := im.DefaultPolicy()
	p.RevokeOthersWindow = 10 * time.Minute
	return p
}

// become brings a message of the sender into a state. The message is a second old afterwards.
var become = map[string]func(w *world, m im.Message){
	"active": func(*world, im.Message) {},
	"revoked": func(w *world, m im.Message) {
		_, err := w.Revoke(w.ctx, as("sender"), m.ID, im.RevokeNote{Postscript: "first"})
		w.must(err)
	},
	"burned": func(w *world, m im.Message) {
		_, err := w.Burn(w.ctx, as("recipient"), m.ID)
		w.must(err)
	},
	"expired":            func(w *world, m im.Message) { w.mustEraseDue() },
	"due to expire":      func(*world, im.Message) {},
	"due to burn unread": func(*world, im.Message) {},
}

func (w *world) mustEraseDue() {
	w.Helper()
	_, _, err := w.EraseDue(w.ctx)
	w.must(err)
}

// draftFor returns a draft of a message that can be brought into a state.
func draftFor(state string, kind im.Kind) im.Draft {
	d := text("secret")
	switch state {
	case "expired", "due to expire":
		d.ExpireAfter = time.Second
	case "burned":
		d.Burn = &im.Burn{After: time.Hour, UnreadTTL: im.DefaultUnreadTTL}
	case "due to burn unread":
		d.Burn = &im.Burn{After: time.Hour, UnreadTTL: time.Second}
	default:
		if kind == im.Direct {
			d.Burn = &im.Burn{After: time.Hour, UnreadTTL: im.DefaultUnreadTTL}
		}
	}
	return d
}

// ages are the ages of a message when it is revoked.
var ages = []struct {
	name string
	age  time.Duration
}{
	{"in both windows", 2 * time.Minute},                     // the last moment of the window for one's own
	{"in the window for others", 10 * time.Minute},           // the last moment of the window for others
	{"in no window", 10*time.Minute + time.Millisecond},      // just over
	{"just out of one's own", 2*time.Minute + 1*time.Second}, // after one window, within the other
}

// TestWhoMayRevoke tries every actor in every state of a message, in and out of the windows.
func TestWhoMayRevoke(t *testing.T) {
	const (
		unknown = "404 message_not_found"
		denied  = "403 permission_denied"
		late    = "403 revoke_window_expired"
	)
	never := func(what string) revoker {
		return revoker{active: [4]string{what, what, what, what}, revoked: what, other: what}
	}
	as := func(user im.UserID, r revoker) revoker { r.actor = im.Actor{User: user}; return r }
	own := revoker{active: [4]string{"ok", late, late, late}, revoked: "ok"}
	others := revoker{active: [4]string{"ok", "ok", late, "ok"}, revoked: "ok"}
	admin := others
	admin.actor = im.Actor{User: "root", Admin: true}

	places := []struct {
		name   string
		kind   im.Kind
		states []string
		open   func(w *world) im.ConversationRef
		rows   []revoker
	}{
		{"group", im.Group, []string{"active", "revoked", "expired", "due to expire"}, func(w *world) im.ConversationRef {
			id := w.group(im.HistoryAll, "owner", "sender", "member", "former")
			w.add(id, "owner", im.Admin, "admin")
			return byID(id)
		}, []revoker{
			as("sender", own), as("owner", others), as("admin", others), admin,
			as("member", never(denied)), as("former", never(unknown)), as("stranger", never(unknown)),
		}},
		{"direct", im.Direct, []string{"active", "revoked", "burned", "expired", "due to expire", "due to burn unread"}, func(w *world) im.ConversationRef {
			return direct("recipient")
		}, []revoker{
			as("sender", own), admin, as("recipient", never(denied)), as("stranger", never(unknown)),
		}},
		{"direct with a block", im.Direct, []string{"active"}, func(w *world) im.ConversationRef {
			return direct("recipient")
		}, []revoker{as("sender", own)}},
	}
	for _, place := range places {
		for _, state := range place.states {
			for i, age := range ages {
				t.Run(fmt.Sprintf("%s/%s/%s", place.name, state, age.name), func(t *testing.T) {
					w := newWorldWith(t, windows())
					for _, r := range place.rows {
						ref := place.open(w)
						sent, err := w.Send(w.ctx, im.Actor{User: "sender"}, ref, draftFor(state, place.kind))
						w.must(err)
						if place.name == "group" {
							w.remove(sent.Message.Conversation, "owner", "former")
						}
						if place.name == "direct with a block" {
							w.must(w.PutBlock(w.ctx, im.Actor{User: "recipient"}, "sender"))
						}
						w.pass(time.Second)
						become[state](w, sent.Message)
						w.pass(age.age - time.Second)
						r.revokes(w, sent.Message.ID, state, i)
					}
				})
			}
		}
	}
}

// revoker is a user who revokes messages.
type revoker struct {
	actor im.Actor
	// The answer for an active message at each age, and for one that was revoked or otherwise erased at
	// any age.
	active  [4]string
	revoked string
	other   string // "" is 409 already_…
}

// answer returns the answer for a message in a state, at one of the ages.
func (r revoker) answer(state string, age int) string {
	switch {
	case state == "active":
		return r.active[age]
	case state == "revoked":
		return r.revoked
	case r.other != "":
		return r.other
	case strings.Contains(state, "burn"):
		return "409 already_burned"
	default:
		return "409 already_expired"
	}
}

// revokes revokes a message in a state, at one of the ages, and checks the answer, the tombstone and
// the number of events.
func (r revoker) revokes(w *world, message im.ID, state string, age int) {
	w.Helper()
	before, want, events := len(w.committed()), r.answer(state, age), 0
	if state == "active" && want == "ok" {
		events = 1
	}
	m, err := w.Revoke(w.ctx, r.actor, message, im.RevokeNote{Postscript: "second"})
	if got := answer(err); got != want {
		w.Errorf("by %s: %s, want %s", r.actor.User, got, want)
	}
	if err == nil && (m.State != im.Revoked || m.Content != nil || m.Erased == nil) {
		w.Errorf("by %s: got %+v, want a tombstone", r.actor.User, m)
	}
	if err == nil && state == "revoked" && m.Erased.Postscript != "first" {
		w.Errorf("by %s: the second revoke changed the tombstone: %+v", r.actor.User, m.Erased)
	}
	if got := len(w.committed()) - before; got != events {
		w.Errorf("by %s: %d events, want %d", r.actor.User, got, events)
	}
}

// TestRevokeWindowResolves checks that the conversation's window overrides that of its kind, which
// overrides the server's; 0 sets no limit.
func TestRevokeWindowResolves(t *testing.T) {
	minute, hour, none := time.Minute, time.Hour, time.Duration(0)
	for name, test := range map[string]struct {
		server       time.Duration
		kind         *time.Duration
		conversation *time.Duration
		age          time.Duration
		want         string
	}{
		"at the end of the server's window":  {minute, nil, nil, time.Minute, "ok"},
		"after the server's window":          {minute, nil, nil, time.Minute + time.Millisecond, "403 revoke_window_expired"},
		"longer window of the kind":          {minute, &hour, nil, time.Hour, "ok"},
		"shorter window of the kind":         {hour, &minute, nil, time.Hour, "403 revoke_window_expired"},
		"longer window of the conversation":  {minute, &minute, &hour, time.Hour, "ok"},
		"shorter window of the conversation": {hour, &hour, &minute, time.Hour, "403 revoke_window_expired"},
		"no limit of the server":             {none, nil, nil, 1000 * time.Hour, "ok"},
		"no limit for the kind":              {minute, &none, nil, 1000 * time.Hour, "ok"},
		"no limit in the conversation":       {minute, nil, &none, 1000 * time.Hour, "ok"},
		"limit in the conversation alone":    {none, nil, &minute, time.Hour, "403 revoke_window_expired"},
	} {
		p := im.DefaultPolicy()
		p.RevokeWindow = test.server
		if test.kind != nil {
			p.RevokeWindowByKind = map[im.Kind]time.Duration{im.Group: *test.kind}
		}
		w := newWorldWith(t, p)
		id := w.group(im.HistoryAll, "owner", "sender")
		_, err := w.UpdateConversation(w.ctx, as("owner"), byID(id), im.ConversationPatch{RevokeWindow: &test.conversation})
		w.must(err)
		m := w.say("sender", byID(id), "hi")
		w.pass(test.age)
		_, err = w.Revoke(w.ctx, as("sender"), m.ID, im.RevokeNote{})
		if got := answer(err); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// TestWhoMayBurn tries every actor in every state of a message, with both policies.
func TestWhoMayBurn(t *testing.T) {
	const unknown, notMine = "404 message_not_found", "403 not_recipient"
	for _, policy := range []string{"flagged", "any"} {
		p := windows()
		p.BurnAny = policy == "any"
		w := newWorldWith(t, p)
		for state, want := range map[string]struct{ sender, recipient, stranger, root string }{
			"active":             {notMine, "ok", unknown, unknown},
			"revoked":            {notMine, "409 already_revoked", unknown, unknown},
			"burned":             {notMine, "ok", unknown, unknown},
			"expired":            {notMine, "409 already_expired", unknown, unknown},
			"due to expire":      {notMine, "409 already_expired", unknown, unknown},
			"due to burn unread": {notMine, "ok", unknown, unknown},
		} {
			for actor, want := range map[im.Actor]string{
				as("sender"): want.sender, as("recipient"): want.recipient, as("stranger"): want.stranger,
				{User: "root", Admin: true}: want.root,
			} {
				sent, err := w.Send(w.ctx, as("sender"), direct("recipient"), draftFor(state, im.Direct))
				w.must(err)
				w.pass(time.Second)
				become[state](w, sent.Message)
				_, err = w.Burn(w.ctx, actor, sent.Message.ID)
				if got := answer(err); got != want {
					t.Errorf("%s, %s by %s: %s, want %s", policy, state, actor.User, got, want)
				}
			}
		}
	}
	for policy, want := range map[bool]string{false: "409 not_burnable", true: "ok"} {
		p := windows()
		p.BurnAny = policy
		w := newWorldWith(t, p)
		m := w.say("sender", direct("recipient"), "not for burning")
		_, err := w.Burn(w.ctx, as("recipient"), m.ID)
		if got := answer(err); got != want {
			t.Errorf("any %v: not sent for burning: %s, want %s", policy, got, want)
		}
		g := w.say("owner", byID(w.group(im.HistoryAll, "owner", "member")), "in a group")
		_, err = w.Burn(w.ctx, as("member"), g.ID)
		if got := answer(err); got != "422 burn_unsupported" {
			t.Errorf("any %v: in a group: %s", policy, got)
		}
		d := text("hi")
		d.Burn = &im.Burn{UnreadTTL: time.Hour}
		_, err = w.Send(w.ctx, as("owner"), byID(g.Conversation), d)
		if got := answer(err); got != "422 burn_unsupported" {
			t.Errorf("sent to a group for burning: %s", got)
		}
	}
}

// TestReadingStartsTheClock checks the effect of a read receipt on burning messages.
func TestReadingStartsTheClock(t *testing.T) {
	burn := func(after time.Duration) im.Draft {
		d := text("secret")
		d.Burn = &im.Burn{After: after, UnreadTTL: time.Hour}
		return d
	}
	for name, receipt := range map[string]func(ms []im.Message) im.ReceiptDraft{
		"up to": func(ms []im.Message) im.ReceiptDraft {
			return im.ReceiptDraft{Kind: im.Read, UpTo: ms[len(ms)-1].ID.String()}
		},
		"by ids": func(ms []im.Message) im.ReceiptDraft {
			d := im.ReceiptDraft{Kind: im.Read}
			for _, m := range ms {
				d.MessageIDs = append(d.MessageIDs, m.ID.String())
			}
			return d
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var ms []im.Message
			for _, d := range []im.Draft{burn(0), text("plain"), burn(10 * time.Second), burn(0)} {
				sent, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
				w.must(err)
				ms = append(ms, sent.Message)
			}
			w.must1(w.Send(w.ctx, as("bob"), direct("alice"), burn(0))) // reading one's own message does not burn it
			w.pass(time.Second)
			delivered := receipt(ms)
			delivered.Kind = im.Delivered
			w.must1(w.PutReceipt(w.ctx, as("bob"), direct("alice"), delivered))
			before := len(w.since(0))
			got, err := w.PutReceipt(w.ctx, on("bob", "phone"), direct("alice"), receipt(ms))
			w.must(err)
			if len(got.Burning) != 1 || got.Burning[0].ID != ms[2].ID || !got.Burning[0].Burn.At.Equal(w.clock().Add(10*time.Second)) {
				t.Errorf("burning: %+v", got.Burning)
			}
			w.equal("unread", got.Unread, im.UnreadCount{})
			w.equal("published", w.typesSince(before), "[receipt.read message.burned message.burn_started message.burned unread.changed]")

			again, err := w.PutReceipt(w.ctx, as("bob"), direct("alice"), receipt(ms))
			w.must(err)
			if len(again.Burning) != 1 || !again.Burning[0].Burn.At.Equal(got.Burning[0].Burn.At) {
				t.Errorf("again: %+v", again.Burning)
			}
			w.equal("published after a repetition", w.typesSince(before), "[receipt.read message.burned message.burn_started message.burned unread.changed]")

			w.pass(10*time.Second - time.Millisecond)
			w.equal("before", w.states(ms), "[burned active active burned]")
			w.pass(time.Millisecond)
			w.equal("due, before the job", w.states(ms), "[burned active burned burned]")
			w.mustEraseDue()
			w.equal("after the job", w.states(ms), "[burned active burned burned]")
		})
	}
}

func (w *world) must1(_ any, err error) {
	w.Helper()
	w.must(err)
}

func (w *world) states(ms []im.Message) string {
	w.Helper()
	var out []im.State
	for _, m := range ms {
		got, err := w.Message(w.ctx, as("bob"), m.ID)
		w.must(err)
		if (got.State == im.Active) != (got.Content != nil) || (got.State == im.Active) != (got.Erased == nil) {
			w.Errorf("neither a message nor a tombstone: %+v", got)
		}
		out = append(out, got.State)
	}
	return fmt.Sprint(out)
}

func (w *world) typesSince(n int) string {
	w.Helper()
	var out []im.EventType
	for _, e := range w.committed()[n:] {
		out = append(out, e.Type)
	}
	return fmt.Sprint(out)
}

// TestEarlierOfBurnAndExpiryCounts checks which timer applies to a message with both.
func TestEarlierOfBurnAndExpiryCounts(t *testing.T) {
	sent := epoch
	burn := func(after, ttl time.Duration, at time.Duration) *im.Burn {
		b := &im.Burn{After: after, UnreadTTL: ttl}
		if at > 0 {
			b.At = sent.Add(at)
		}
		return b
	}
	for name, test := range map[string]struct {
		expires time.Duration
		burn    *im.Burn
		at      time.Duration
		state   im.State
	}{
		"neither":                               {0, nil, 0, 0},
		"expires":                               {5 * time.Second, nil, 5 * time.Second, im.Expired},
		"burns unread":                          {0, burn(1, time.Minute, 0), time.Minute, im.Burned},
		"burns after it was read, not unread":   {0, burn(1, time.Minute, 2*time.Minute), 2 * time.Minute, im.Burned},
		"expires before it burns unread":        {5 * time.Second, burn(1, time.Minute, 0), 5 * time.Second, im.Expired},
		"burns unread before it expires":        {2 * time.Minute, burn(1, time.Minute, 0), time.Minute, im.Burned},
		"burns after it was read, then expires": {5 * time.Second, burn(1, time.Minute, 3*time.Second), 3 * time.Second, im.Burned},
	} {
		m := im.Message{State: im.Active, CreatedAt: sent, Burn: test.burn, Content: &im.Content{}}
		if test.expires > 0 {
			m.ExpiresAt = sent.Add(test.expires)
		}
		at, state, ok := m.Due()
		if ok != (test.state != 0) || state != test.state || ok && at.Sub(sent) != test.at {
			t.Errorf("%s: due at %v, %v, %t, want %v, %v", name, at, state, ok, sent.Add(test.at), test.state)
		}
		if !ok {
			continue
		}
		if m.AsOf(at.Add(-time.Millisecond)).State != im.Active || m.AsOf(at).State != test.state || m.AsOf(at).Content != nil {
			t.Errorf("%s: as of around then: %v, %v", name, m.AsOf(at.Add(-time.Millisecond)).State, m.AsOf(at))
		}
	}
}

// TestConversationSetsExpiry checks the default of a conversation, and that a message may
// override it.
func TestConversationSetsExpiry(t *testing.T) {
	w := newWorld(t)
	w.say("alice", direct("bob"), "before")
	minute, none := time.Minute, time.Duration(0)
	_, err := w.UpdateConversation(w.ctx, as("bob"), direct("alice"), im.ConversationPatch{ExpireAfter: &minute})
	w.must(err)
	byDefault := w.say("alice", direct("bob"), "by default")
	w.equal("by default", byDefault.ExpiresAt, epoch.Add(time.Minute))
	d := text("own")
	d.ExpireAfter = time.Hour
	own, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
	w.must(err)
	w.equal("its own", own.Message.ExpiresAt, epoch.Add(time.Hour))
	_, err = w.UpdateConversation(w.ctx, as("alice"), direct("bob"), im.ConversationPatch{ExpireAfter: &none})
	w.must(err)
	if after := w.say("alice", direct("bob"), "after"); !after.ExpiresAt.IsZero() {
		t.Errorf("after the end of it: %v", after.ExpiresAt)
	}
	w.pass(time.Minute) // switching it off stops no timer that is running
	w.equal("states", w.states([]im.Message{byDefault, own.Message}), "[expired active]")
	name := "x"
	_, err = w.UpdateConversation(w.ctx, as("bob"), direct("alice"), im.ConversationPatch{Name: &name, ExpireAfter: &minute})
	w.equal("a name for a direct conversation", answer(err), "422 direct_conversation")
}
