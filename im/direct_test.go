package im_test

import (
	"testing"

	"github.com/imapi/imapi/im"
)

func TestBeforeTheFirstDirectMessage(t *testing.T) {
	w := newWorld(t)
	w.say("alice", direct("carol"), "so that alice is known")
	before := len(w.committed())
	for _, pair := range [][2]im.UserID{{"alice", "bob"}, {"bob", "alice"}, {"bob", "nobody"}} {
		me, peer := pair[0], pair[1]
		_, err := w.Conversation(w.ctx, as(me), direct(peer))
		w.equal("looking at it", answer(err), "404 conversation_not_found")
		_, err = w.Members(w.ctx, as(me), direct(peer), im.Page{Limit: 10})
		w.equal("its members", answer(err), "404 conversation_not_found")
		w.equal("leaving it", answer(w.Leave(w.ctx, as(me), direct(peer))), "404 conversation_not_found")
		w.equal("its history", w.said(me, direct(peer)), []string(nil))
	}
	w.equal("events of all that", len(w.committed())-before, 0)
	if list := w.list("bob"); len(list) != 0 {
		t.Errorf("bob has conversations: %+v", list)
	}
}

func TestTheFirstDirectMessageMakesTheConversation(t *testing.T) {
	w := newWorld(t)
	draft := text("hi")
	draft.ClientID = "c1"
	sent, err := w.Send(w.ctx, on("bob", "phone"), direct("alice"), draft)
	w.must(err)
	m := sent.Message
	if sent.Again || m.Seq != 1 || m.Sender != "bob" || m.SenderDevice != "phone" || m.ClientID != "c1" ||
		m.State != im.Active || m.Type != im.Text || !m.CreatedAt.Equal(epoch) {
		t.Errorf("sent %+v", sent)
	}

	var published []string
	for _, e := range w.committed() {
		published = append(published, string(e.Type))
		if e.Conversation != m.Conversation || e.Actor != "bob" || e.ActorDevice != "phone" || e.To != "" {
			t.Errorf("published %+v", e)
		}
	}
	w.equal("published", published, []string{"conversation.created", "message.created"})
	last := w.committed()[1]
	if last.MessageID != m.ID || last.Seq != 1 || last.Message == nil || last.Message.ID != m.ID {
		t.Errorf("published %+v", last)
	}

	for me, peer := range map[im.UserID]im.UserID{"alice": "bob", "bob": "alice"} {
		byName, err := w.Conversation(w.ctx, as(me), direct(peer))
		w.must(err)
		c, err := w.Conversation(w.ctx, as(me), byID(m.Conversation))
		w.must(err)
		w.equal("the conversation by name and by id", byName.Conversation, c.Conversation)
		if c.Kind != im.Direct || c.History != im.HistoryAll || c.MemberCount != 2 || c.Me.Role() != im.Member || c.Peer(me) != peer ||
			c.LastSeq != 1 || c.LastMessage == nil || c.LastMessage.ID != m.ID ||
			!c.CreatedAt.Equal(epoch) || !c.UpdatedAt.Equal(epoch) {
			t.Errorf("%s has %+v", me, c)
		}
		list := w.list(me)
		if len(list) != 1 || list[0].ID != c.ID {
			t.Errorf("%s lists %+v", me, list)
		}
		w.equal("history", w.said(me, direct(peer)), []string{"hi"})
		page, err := w.Members(w.ctx, as(me), direct(peer), im.Page{Limit: 10})
		if err != nil || len(page.Items) != 2 {
			t.Errorf("members: %+v, %v", page, err)
		}
	}

	answered := w.say("alice", direct("bob"), "ho")
	if answered.Conversation != m.Conversation || answered.Seq != 2 {
		t.Errorf("the answer is %+v, want the second message of %s", answered, m.Conversation)
	}
	w.equal("events", len(w.committed()), 3)
}

func TestBlocks(t *testing.T) {
	w := newWorld(t)
	trySend := func(from im.UserID, ref im.ConversationRef) string {
		_, err := w.Send(w.ctx, as(from), ref, text("hi"))
		return answer(err)
	}
	w.must(w.PutBlock(w.ctx, as("alice"), "bob"))
	before := len(w.committed())
	w.equal("bob writes to alice", trySend("bob", direct("alice")), "403 blocked")
	w.equal("created by a refused message", len(w.committed())-before, 0)
	w.equal("alice writes to bob", trySend("alice", direct("bob")), "ok")
	w.equal("bob answers", trySend("bob", direct("alice")), "403 blocked")
	w.equal("carol writes to alice", trySend("carol", direct("alice")), "ok")
	group := w.group(im.HistoryAll, "carol", "alice", "bob")
	w.equal("bob writes to a group with alice", trySend("bob", byID(group)), "ok")
	w.equal("what bob reads of alice's messages", w.said("bob", direct("alice")), []string{"hi"})

	w.pass(1)
	w.must(w.PutBlock(w.ctx, as("alice"), "dave"))
	blocks, err := w.Blocks(w.ctx, as("alice"), im.Page{Limit: 10})
	w.must(err)
	w.equal("blocked by alice", len(blocks), 2)
	if blocks, err := w.Blocks(w.ctx, as("bob"), im.Page{Limit: 10}); err != nil || len(blocks) != 0 {
		t.Errorf("bob, without blocks, reads %+v, %v", blocks, err)
	}
	w.must(w.DeleteBlock(w.ctx, as("bob"), "alice")) // bob cannot end a block of another user
	w.equal("bob writes again", trySend("bob", direct("alice")), "403 blocked")
	w.must(w.DeleteBlock(w.ctx, as("alice"), "bob"))
	w.equal("bob writes after the block", trySend("bob", direct("alice")), "ok")
}
