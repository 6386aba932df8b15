package handlers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

const sendText = `{"client_id":"c-123456","type":"text","body":{"text":"the quick brown fox jumps over the lazy dog, again and again"}}`

// BenchmarkJSON measures the cost of JSON for a send before the transaction, and for an answer and
// an event after it: "send" scans, validates and reads a body and makes its stored form; "page"
// reads 50 stored texts and writes the answer; "event" encodes the event of one message.
func BenchmarkJSON(b *testing.B) {
	b.Run("send", func(b *testing.B) {
		rule, body := bodyRules(b)["sendMessage"], []byte(sendText)
		b.ReportAllocs()
		for b.Loop() {
			if err := rule.scan(body); err != nil {
				b.Fatal(err)
			}
			if p := rule.validate(body); p != nil {
				b.Fatal(p.Detail)
			}
			d, err := readDraft(body)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := d.Content(4096); err != nil {
				b.Fatal(err)
			}
		}
	})
	content, err := im.Draft{Type: im.Text, Body: []byte(`{"text":"` + strings.Repeat("hello ", 10) + `"}`)}.Content(4096)
	if err != nil {
		b.Fatal(err)
	}
	m := fullMessage
	m.Burn, m.Type, m.Content = nil, im.Text, content
	b.Run("page", func(b *testing.B) {
		messages := make([]im.Message, 50)
		b.ReportAllocs()
		for b.Loop() {
			for i := range messages {
				messages[i] = m
				if messages[i].Content, err = im.ParseContent(content.Sent); err != nil {
					b.Fatal(err)
				}
			}
			w := httptest.NewRecorder()
			if err := answerPage(messages, appendMessage, nil, nil).VisitListMessagesResponse(w); err != nil || w.Code != http.StatusOK {
				b.Fatal(w.Code, err)
			}
		}
	})
	b.Run("event", func(b *testing.B) {
		e := im.Event{Type: im.MessageCreated, At: at, Conversation: m.Conversation, MessageID: m.ID, Seq: m.Seq, Actor: m.Sender, Message: &m}
		b.ReportAllocs()
		for b.Loop() {
			AppendEvent(nil, &e, "cursor")
		}
	})
}
