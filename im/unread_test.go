package im_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// mentioning returns a text that mentions users.
func mentioning(users ...im.UserID) im.Draft {
	d := text("hey")
	d.Mentions = users
	return d
}

func (w *world) send(user im.UserID, ref im.ConversationRef, d im.Draft) im.Message {
	w.Helper()
	sent, err := w.Send(w.ctx, as(user), ref, d)
	w.must(err)
	return sent.Message
}

func (w *world) read(user im.UserID, ref im.ConversationRef, upTo im.ID) {
	w.Helper()
	_, err := w.PutReceipt(w.ctx, as(user), ref, im.ReceiptDraft{Kind: im.Read, UpTo: upTo.String()})
	w.must(err)
}

func (w *world) readEach(user im.UserID, ref im.ConversationRef, ids ...im.ID) {
	w.Helper()
	d := im.ReceiptDraft{Kind: im.Read}
	for _, id := range ids {
		d.MessageIDs = append(d.MessageIDs, id.String())
	}
	_, err := w.PutReceipt(w.ctx, as(user), ref, d)
	w.must(err)
}

func (w *world) hide(user im.UserID, ref im.ConversationRef, ids ...im.ID) {
	w.Helper()
	var d im.HideDraft
	for _, id := range ids {
		d.MessageIDs = append(d.MessageIDs, id.String())
	}
	w.must(w.Hide(w.ctx, as(user), ref, d))
}

func (w *world) revoke(user im.UserID, id im.ID) {
	w.Helper()
	_, err := w.Revoke(w.ctx, as(user), id, im.RevokeNote{})
	w.must(err)
}

// Each step changes bob's unread count in a group to which alice sends.
func TestUnreadAfterEachKindOfAct(t *testing.T) {
	type scenario struct {
		*world
		id   im.ID
		sent []im.Message
	}
	say := func(n int) func(*scenario) {
		return func(p *scenario) {
			for range n {
				p.sent = append(p.sent, p.send("alice", byID(p.id), mentioning("bob")))
			}
		}
	}
	for name, tt := range map[string]struct {
		act  func(*scenario)
		want string
	}{
		"no act":                      {func(*scenario) {}, "4/4"},
		"more messages":               {say(2), "6/6"},
		"their own message":           {func(p *scenario) { p.say("bob", byID(p.id), "mine") }, "4/4"},
		"a message without a mention": {func(p *scenario) { p.say("alice", byID(p.id), "plain") }, "5/4"},
		"a mention of another user":   {func(p *scenario) { p.send("alice", byID(p.id), mentioning("carol")) }, "5/4"},
		"read up to a message":        {func(p *scenario) { p.read("bob", byID(p.id), p.sent[1].ID) }, "2/2"},
		"read one by one":             {func(p *scenario) { p.readEach("bob", byID(p.id), p.sent[0].ID, p.sent[2].ID) }, "2/2"},
		"read all":                    {func(p *scenario) { p.read("bob", byID(p.id), p.sent[3].ID) }, "0/0"},
		"read by another user":        {func(p *scenario) { p.read("carol", byID(p.id), p.sent[3].ID) }, "4/4"},
		"revoked":                     {func(p *scenario) { p.revoke("alice", p.sent[3].ID) }, "3/3"},
		"read, then revoked":          {func(p *scenario) { p.readEach("bob", byID(p.id), p.sent[3].ID); p.revoke("alice", p.sent[3].ID) }, "3/3"},
		"their own message, revoked":  {func(p *scenario) { m := p.say("bob", byID(p.id), "mine"); p.revoke("bob", m.ID) }, "4/4"},
		"hidden":                      {func(p *scenario) { p.hide("bob", byID(p.id), p.sent[1].ID) }, "3/3"},
		"hidden, then revoked":        {func(p *scenario) { p.hide("bob", byID(p.id), p.sent[1].ID); p.revoke("alice", p.sent[1].ID) }, "3/3"},
		"hidden, then read":           {func(p *scenario) { p.hide("bob", byID(p.id), p.sent[1].ID); p.read("bob", byID(p.id), p.sent[2].ID) }, "1/1"},
		"hidden twice":                {func(p *scenario) { p.hide("bob", byID(p.id), p.sent[1].ID); p.hide("bob", byID(p.id), p.sent[1].ID) }, "3/3"},
		"all hidden":                  {func(p *scenario) { p.must(p.Hide(p.ctx, as("bob"), byID(p.id), im.HideDraft{All: true})) }, "0/0"},
		"all hidden, then a message":  {func(p *scenario) { p.must(p.Hide(p.ctx, as("bob"), byID(p.id), im.HideDraft{All: true})); say(1)(p) }, "1/1"},
		"hidden by another user":      {func(p *scenario) { p.hide("carol", byID(p.id), p.sent[1].ID) }, "4/4"},
		"cleared":                     {func(p *scenario) { _, err := p.ClearUnread(p.ctx, as("bob"), byID(p.id)); p.must(err) }, "0/0"},
		"all cleared":                 {func(p *scenario) { p.must(p.ClearAllUnread(p.ctx, as("bob"))) }, "0/0"},
		"cleared, then a message":     {func(p *scenario) { p.must(p.ClearAllUnread(p.ctx, as("bob"))); say(1)(p) }, "1/1"},
		"cleared by another user":     {func(p *scenario) { p.must(p.ClearAllUnread(p.ctx, as("carol"))) }, "4/4"},
		"left and returned": {func(p *scenario) {
			p.remove(p.id, "bob", "bob")
			say(3)(p)
			p.back(p.id, "alice", "bob")
			say(1)(p)
		}, "1/1"},
		"hidden, left and returned": {func(p *scenario) {
			p.must(p.HideConversation(p.ctx, as("bob"), byID(p.id), true))
			p.remove(p.id, "bob", "bob")
			p.back(p.id, "alice", "bob")
			p.equal("listed", len(p.list("bob")), 1)
		}, "0/0"},
		"conversation hidden":                 {func(p *scenario) { p.must(p.HideConversation(p.ctx, as("bob"), byID(p.id), true)) }, "0/0"},
		"conversation hidden, then a message": {func(p *scenario) { p.must(p.HideConversation(p.ctx, as("bob"), byID(p.id), false)); say(1)(p) }, "1/1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := &scenario{world: w, id: w.group(im.HistoryJoined, "alice", "bob", "carol")}
			say(4)(p)
			w.equal("before", w.unread("bob", byID(p.id)), "4/4")
			tt.act(p)
			w.equal("after", w.unread("bob", byID(p.id)), tt.want)
			all, err := w.Unread(w.ctx, as("bob"), nil)
			w.must(err)
			w.equal("in all", fmt.Sprintf("%d/%d", all.Total, all.Mentions), tt.want)
		})
	}
}

// A message that is due is not unread, even before the job erases it.
func TestUnreadOfDueMessages(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob")
	w.say("alice", byID(id), "stays")
	d := mentioning("bob")
	d.ExpireAfter = time.Minute
	w.send("alice", byID(id), d)
	w.equal("before", w.unread("bob", byID(id)), "2/1")
	w.pass(time.Minute)
	w.equal("due", w.unread("bob", byID(id)), "1/0")
	_, _, err := w.EraseDue(w.ctx)
	w.must(err)
	w.equal("erased", w.unread("bob", byID(id)), "1/0")
}

// For a user who joins a group that shows its whole history, nothing in it is unread.
func TestNothingFromBeforeJoiningIsUnread(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice")
	for range 3 {
		w.say("alice", byID(id), "before")
	}
	w.add(id, "alice", im.Member, "bob")
	w.equal("at first", w.unread("bob", byID(id)), "0/0")
	w.say("alice", byID(id), "after")
	w.equal("then", w.unread("bob", byID(id)), "1/0")
}

func TestUnreadIsExactUpToItsLimit(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryJoined, "alice", "bob")
	var first, last im.Message
	for i := range im.MaxUnread + 2 {
		last = w.send("alice", byID(id), mentioning("bob"))
		if i == 0 {
			first = last
		}
	}
	w.equal("two more", w.unread("bob", byID(id)), "1000+/1000")
	w.readEach("bob", byID(id), first.ID)
	w.equal("one more", w.unread("bob", byID(id)), "1000+/1000")
	w.revoke("alice", last.ID)
	w.equal("exact", w.unread("bob", byID(id)), "1000/1000")
	all, err := w.Unread(w.ctx, as("bob"), nil)
	w.must(err)
	w.equal("in all", fmt.Sprint(all.Total, all.More, all.Mentions), "1000 false 1000")
}

// Every change of an actor's own counts is published once to their other devices, with the new
// count.
func TestUnreadChangedGoesToTheActor(t *testing.T) {
	for name, tt := range map[string]struct {
		act       func(*world, im.ID, im.Message) error
		published string
	}{
		"read": {func(w *world, id im.ID, m im.Message) error {
			_, err := w.PutReceipt(w.ctx, on("bob", "phone"), byID(id), im.ReceiptDraft{Kind: im.Read, UpTo: m.ID.String()})
			return err
		}, "bob on phone to bob: 1/0"},
		"cleared": {func(w *world, id im.ID, _ im.Message) error {
			_, err := w.ClearUnread(w.ctx, on("bob", "phone"), byID(id))
			return err
		}, "bob on phone to bob: 0/0"},
		"all cleared": {func(w *world, _ im.ID, _ im.Message) error {
			return w.ClearAllUnread(w.ctx, on("bob", "phone"))
		}, "bob on phone to bob: 0/0"},
		"hidden": {func(w *world, id im.ID, m im.Message) error {
			return w.Hide(w.ctx, on("bob", "phone"), byID(id), im.HideDraft{MessageIDs: []string{m.ID.String()}})
		}, "bob on phone to bob: 1/1"},
		"delivered": {func(w *world, id im.ID, m im.Message) error {
			_, err := w.PutReceipt(w.ctx, on("bob", "phone"), byID(id), im.ReceiptDraft{Kind: im.Delivered, UpTo: m.ID.String()})
			return err
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.group(im.HistoryJoined, "alice", "bob")
			w.send("alice", byID(id), mentioning("bob"))
			m := w.say("alice", byID(id), "plain")
			if name == "read" { // only up to the first
				m.ID = firstOf(w, id).ID
			}
			for range 2 { // the second time changes nothing
				w.must(tt.act(w, id, m))
			}
			published := ""
			for _, e := range w.committed() {
				if e.Type == im.UnreadChanged {
					published += fmt.Sprintf("%s on %s to %s: %d/%d", e.Actor, e.ActorDevice, e.To, e.Unread.Messages, e.Unread.Mentions)
				}
			}
			w.equal("published", published, tt.published)
		})
	}
}

func firstOf(w *world, id im.ID) im.Message {
	w.Helper()
	page, err := w.Messages(w.ctx, as("bob"), byID(id), im.HistoryFilter{Ascending: true, Limit: 1})
	w.must(err)
	return page.Messages[0]
}
