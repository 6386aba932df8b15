package handlers

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

// benchSends are bodies of sends by name.
func benchSends() map[string]string {
	sends := map[string]string{
		"custom": `{"type":"custom","body":{"name":"order","data":{"lines":[{"n":1,"sku":"a"},{"n":2.5,"sku":"b"}],"paid":true}},` +
			`"ext":{"shop":"north"},"mentions":["bob","carol"]}`,
		"spaces": `{"type": "text", "body": {"text": "` + strings.Repeat("hello ", 16) + `"}}`,
	}
	for _, chars := range []struct{ name, text string }{{"ascii", "the quick brown fox "}, {"emoji", "😀😁😂🤣😃"}} {
		for _, size := range []int{100, 1000, 16_000} {
			sends[fmt.Sprintf("%s-%d", chars.name, size)] = `{"client_id":"c-123456","type":"text","body":{"text":"` +
				strings.Repeat(chars.text, size/len(chars.text)) + `"}}`
		}
	}
	return sends
}

// BenchmarkJSON measures the cost of JSON for a send before the transaction, and for an answer and
// an event after it: "send" scans, validates and reads a body and makes its stored form; "page"
// reads 50 stored texts and writes the answer; "event" encodes the event of one message.
func BenchmarkJSON(b *testing.B) {
	for name, send := range benchSends() {
		b.Run("send/"+name, func(b *testing.B) {
			rule, body := *bodyRules(b)["sendMessage"], []byte(send)
			rule.message = 32 << 10
			b.ReportAllocs()
			for b.Loop() {
				scanned, err := rule.scan(body)
				if err != nil {
					b.Fatal(err)
				}
				if p := rule.validate(scanned); p != nil {
					b.Fatal(p.Detail)
				}
				d, err := readDraft(scanned)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := d.Content(rule.message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
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
