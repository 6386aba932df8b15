package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// shown is a message as a client shows it.
type shown struct {
	ID        string
	Seq       int64
	Sender    string
	State     string
	Mentions  []string
	CreatedAt time.Time `json:"created_at"`
	Burn      *struct{}
}

// news has the fields of an event that the model below needs.
type news struct {
	Type           string
	ConversationID string `json:"conversation_id"`
	MessageID      string `json:"message_id"`
	Sender, User   string
	MessageIDs     []string `json:"message_ids"`
	UpToSeq        int64    `json:"up_to_seq"`
	FirstSeq       int64    `json:"first_seq"`
	Before         time.Time
	Unread         *int
	UnreadMentions int   `json:"unread_mentions"`
	Pinned         *bool `json:"pinned"`
	Muted          bool
	Message        *shown
}

// view is a conversation as a client keeps it.
type view struct {
	in                    bool // whether the user is a member
	hidden, pinned, muted bool
	messages              map[string]*shown
	unread                map[string]bool // ids, including those of messages that cannot be read now
}

// counts returns the number of unread messages, and of those that mention the user.
func (p *view) counts(me string) (unread, mentions int) {
	for id := range p.unread {
		if m := p.messages[id]; m != nil && m.State == "active" {
			unread++
			if slices.Contains(m.Mentions, me) {
				mentions++
			}
		}
	}
	return unread, mentions
}

// sorted are the messages, oldest first.
func (p *view) sorted() []*shown {
	return slices.SortedFunc(maps.Values(p.messages), func(a, b *shown) int { return int(a.Seq - b.Seq) })
}

// drop removes the messages that match.
func (p *view) drop(gone func(*shown) bool) {
	maps.DeleteFunc(p.messages, func(_ string, m *shown) bool { return gone(m) })
}

// model is a client on one device. It applies events, and reads the history of a
// conversation only when it becomes a member or its settings change.
type model struct {
	device
	me      string
	views   map[string]*view
	blocked map[string]bool // users whom the user has blocked
}

// take applies an event. Counts in events received live must equal those of the model.
func (m *model) take(e news, live bool) {
	m.t.Helper()
	switch e.Type {
	case "block.created":
		m.blocked[e.User] = true
	case "block.deleted":
		delete(m.blocked, e.User)
	}
	if e.ConversationID == "" {
		return
	}
	p := m.views[e.ConversationID]
	if p == nil {
		p = &view{messages: make(map[string]*shown), unread: make(map[string]bool)}
		m.views[e.ConversationID] = p
	}
	switch e.Type {
	case "conversation.created":
		p.in = true
	case "member.added":
		if e.User == m.me {
			p.in, p.hidden = true, false
			clear(p.unread)
			m.fetch(e.ConversationID, p)
		}
	case "member.removed":
		if e.User == m.me {
			p.in = false
		}
	case "message.created":
		p.hidden = false
		if e.Message != nil {
			p.messages[e.MessageID] = e.Message
		}
		if e.Sender != m.me && (e.Message == nil || e.Message.State == "active") {
			p.unread[e.MessageID] = true
		}
	case "message.revoked", "message.burned", "message.expired":
		delete(p.unread, e.MessageID)
		if p.messages[e.MessageID] != nil && e.Message != nil {
			p.messages[e.MessageID] = e.Message
		}
	case "message.hidden":
		p.drop(func(s *shown) bool {
			return s.Seq <= e.UpToSeq || s.CreatedAt.Before(e.Before) || slices.Contains(e.MessageIDs, s.ID)
		})
	case "unread.changed":
		for id := range p.unread {
			if s := p.messages[id]; s != nil && s.Seq <= e.UpToSeq || slices.Contains(e.MessageIDs, id) {
				delete(p.unread, id)
			}
		}
		if unread, mentions := p.counts(m.me); live && (unread != *e.Unread || mentions != e.UnreadMentions) {
			m.t.Errorf("received %d unread, %d mentions; counted %d and %d", *e.Unread, e.UnreadMentions, unread, mentions)
		}
	case "conversation.updated":
		if e.Pinned != nil {
			p.pinned, p.muted = *e.Pinned, e.Muted
		} else {
			m.fetch(e.ConversationID, p)
		}
	case "conversation.hidden":
		p.hidden = true
		p.drop(func(s *shown) bool { return s.Seq <= e.UpToSeq })
		clear(p.unread)
	case "conversation.deleted":
		delete(m.views, e.ConversationID)
	case "conversation.trimmed":
		p.drop(func(s *shown) bool { return s.Seq < e.FirstSeq })
	}
}

// fetch reads the history again, if it can be read.
func (m *model) fetch(id string, p *view) {
	m.t.Helper()
	clear(p.messages)
	if status, answer := m.ask(http.MethodGet, "/v1/conversations/"+id+"/messages?limit=200", ""); status == http.StatusOK {
		var page struct{ Items []*shown }
		if err := json.Unmarshal(answer, &page); err != nil {
			m.t.Fatal(err)
		}
		for _, s := range page.Items {
			p.messages[s.ID] = s
		}
	}
}

// listed is a conversation as the server lists it.
type listed struct {
	ID                    string
	Unread                int
	UnreadMentions        int `json:"unread_mentions"`
	Pinned, Muted, Hidden bool
	LastMessage           *shown `json:"last_message"`
}

// state is the part of a conversation's state that both the model and the server have, with its
// newest messages.
func (l listed) state(messages []*shown) string {
	messages = messages[max(0, len(messages)-200):]
	var b strings.Builder
	fmt.Fprintf(&b, "unread=%d/%d pinned=%t muted=%t", l.Unread, l.UnreadMentions, l.Pinned, l.Muted)
	if l.LastMessage != nil {
		fmt.Fprintf(&b, " last=%s", l.LastMessage.ID)
	}
	for _, s := range messages {
		fmt.Fprintf(&b, " %d:%s:%s", s.Seq, s.ID, s.State)
	}
	return b.String()
}

// want returns the model's state of the conversations that are not hidden.
func (m *model) want() map[string]string {
	all := make(map[string]string)
	for id, p := range m.views {
		if !p.in || p.hidden {
			continue
		}
		l := listed{ID: id, Pinned: p.pinned, Muted: p.muted}
		l.Unread, l.UnreadMentions = p.counts(m.me)
		messages := p.sorted()
		if len(messages) > 0 {
			l.LastMessage = messages[len(messages)-1]
		}
		all[id] = l.state(messages)
	}
	return all
}

// got returns the server's state of them.
func (m *model) got() map[string]string {
	m.t.Helper()
	all := make(map[string]string)
	var page struct{ Items []listed }
	m.must(http.MethodGet, "/v1/conversations?limit=100", "", &page)
	for _, l := range page.Items {
		var history struct{ Items []*shown }
		m.must(http.MethodGet, "/v1/conversations/"+l.ID+"/messages?limit=200", "", &history)
		slices.Reverse(history.Items)
		all[l.ID] = l.state(history.Items)
	}
	return all
}

// check compares the model with the server.
func (m *model) check(after string) {
	m.t.Helper()
	want, got := m.want(), m.got()
	if !maps.Equal(want, got) {
		for id := range maps.Clone(want) {
			if want[id] == got[id] {
				delete(want, id)
				delete(got, id)
			}
		}
		m.t.Fatalf("after %s the model has\n%s\nthe server\n%s", after, lines(want), lines(got))
	}
	var blocks struct{ Items []struct{ User string } }
	m.must(http.MethodGet, "/v1/blocks", "", &blocks)
	blocked := make(map[string]bool)
	for _, b := range blocks.Items {
		blocked[b.User] = true
	}
	if !maps.Equal(blocked, m.blocked) {
		m.t.Fatalf("after %s the model has the blocks %v, the server %v", after, m.blocked, blocked)
	}
	var unread struct {
		Total, Mentions int
		Items           []struct {
			ConversationID string `json:"conversation_id"`
			Unread         int
			UnreadMentions int `json:"unread_mentions"`
			Muted          bool
		}
	}
	m.must(http.MethodGet, "/v1/unread", "", &unread)
	total, mentions := 0, 0
	for _, of := range unread.Items {
		p := m.views[of.ConversationID]
		if p == nil {
			m.t.Fatalf("after %s there are unread messages in an unknown conversation", after)
		}
		if n, mentioned := p.counts(m.me); n != of.Unread || mentioned != of.UnreadMentions || p.muted != of.Muted || n == 0 {
			m.t.Fatalf("after %s the server counts %+v, the model %d and %d", after, of, n, mentioned)
		}
		total, mentions = total+of.Unread, mentions+of.UnreadMentions
	}
	for _, p := range m.views {
		if n, mentioned := p.counts(m.me); p.in && !p.hidden {
			total, mentions = total-n, mentions-mentioned
		}
	}
	if total != 0 || mentions != 0 {
		m.t.Fatalf("after %s the server counts %d messages and %d mentions too many", after, total, mentions)
	}
}

func lines(all map[string]string) string {
	var b strings.Builder
	for id, line := range all {
		fmt.Fprintf(&b, "  %s %s\n", id, line)
	}
	return b.String()
}
