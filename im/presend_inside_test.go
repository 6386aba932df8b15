package im

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestDecideByAnswer(t *testing.T) {
	const limit = 200
	d := Draft{
		Type: Text, Body: json.RawMessage(`{"text":"call 555"}`), Ext: json.RawMessage(`{"a":1}`), Mentions: []UserID{"bob"},
		Canonical: true, // what the answer has may not be
	}
	content, err := d.Content(limit)
	if err != nil {
		t.Fatal(err)
	}
	q := PresendQuestion{Draft: d, Given: content, Content: content}
	for _, test := range []struct {
		name   string
		answer PresendAnswer
		err    error
		// want is the outcome if the answer is usable, "" if it is not.
		want PresendOutcome
		// The content that is stored, "" for the sender's own.
		body, ext string
	}{
		{name: "allow", answer: PresendAnswer{Action: PresendAllow}, want: PresendAllowed},
		{name: "drop", answer: PresendAnswer{Action: PresendDrop}, want: PresendDropped},
		{name: "refuse", answer: PresendAnswer{Action: PresendRefuse, Code: "spam", Text: "No links, please."}, want: PresendRefused},
		{name: "refuse without a text", answer: PresendAnswer{Action: PresendRefuse, Code: "a.b-c_9"}, want: PresendRefused},
		{name: "refuse in two lines", answer: PresendAnswer{Action: PresendRefuse, Code: "x", Text: "a\nb"}, want: PresendRefused},
		{name: "longest refusal", answer: PresendAnswer{Action: PresendRefuse, Code: strings.Repeat("a", MaxRefusalCode), Text: strings.Repeat("ü", MaxRefusalText)}, want: PresendRefused},
		{name: "rewrite the body", answer: PresendAnswer{Action: PresendRewrite, Body: json.RawMessage(`{ "text": "call ***" }`)}, want: PresendRewritten, body: `{"text":"call ***"}`, ext: `{"a":1}`},
		{name: "rewrite ext", answer: PresendAnswer{Action: PresendRewrite, Ext: json.RawMessage(`{"b":2,"a":1}`)}, want: PresendRewritten, body: `{"text":"call 555"}`, ext: `{"a":1,"b":2}`},
		{name: "rewrite both", answer: PresendAnswer{Action: PresendRewrite, Body: json.RawMessage(`{"text":"x"}`), Ext: json.RawMessage(`{}`)}, want: PresendRewritten, body: `{"text":"x"}`, ext: `{}`},

		{name: "no answer", err: errors.New("no answer")},
		{name: "no action"},
		{name: "unknown action", answer: PresendAnswer{Action: 9}},
		{name: "refuse without a code", answer: PresendAnswer{Action: PresendRefuse, Text: "no"}},
		{name: "refuse with a long code", answer: PresendAnswer{Action: PresendRefuse, Code: strings.Repeat("a", MaxRefusalCode+1)}},
		{name: "refuse with invalid characters in the code", answer: PresendAnswer{Action: PresendRefuse, Code: "Spam!"}},
		{name: "refuse with a long text", answer: PresendAnswer{Action: PresendRefuse, Code: "a", Text: strings.Repeat("a", MaxRefusalText+1)}},
		{name: "refuse with control characters", answer: PresendAnswer{Action: PresendRefuse, Code: "a", Text: "a\x1b[2J"}},
		{name: "refuse with text that changes its direction", answer: PresendAnswer{Action: PresendRefuse, Code: "a", Text: "a\u202eb"}},
		{name: "refuse with broken UTF-8", answer: PresendAnswer{Action: PresendRefuse, Code: "a", Text: "a\xff"}},
		{name: "refuse with a body", answer: PresendAnswer{Action: PresendRefuse, Code: "a", Body: json.RawMessage(`{}`)}},
		{name: "allow with a code", answer: PresendAnswer{Action: PresendAllow, Code: "spam"}},
		{name: "allow with a body", answer: PresendAnswer{Action: PresendAllow, Body: json.RawMessage(`{"text":"x"}`)}},
		{name: "drop with a text", answer: PresendAnswer{Action: PresendDrop, Text: "x"}},
		{name: "rewrite with a code", answer: PresendAnswer{Action: PresendRewrite, Code: "a", Body: json.RawMessage(`{"text":"x"}`)}},
		{name: "rewrite nothing", answer: PresendAnswer{Action: PresendRewrite}},
		{name: "rewrite to a body of another type", answer: PresendAnswer{Action: PresendRewrite, Body: json.RawMessage(`{"latitude":1,"longitude":2}`)}},
		{name: "rewrite to an empty text", answer: PresendAnswer{Action: PresendRewrite, Body: json.RawMessage(`{"text":""}`)}},
		{name: "rewrite to a body that is not an object", answer: PresendAnswer{Action: PresendRewrite, Body: json.RawMessage(`"x"`)}},
		{name: "rewrite to broken JSON", answer: PresendAnswer{Action: PresendRewrite, Ext: json.RawMessage(`{"a":`)}},
		{name: "rewrite to null", answer: PresendAnswer{Action: PresendRewrite, Ext: json.RawMessage(`null`)}},
		{name: "rewrite to a body that is too large", answer: PresendAnswer{Action: PresendRewrite, Body: json.RawMessage(`{"text":"` + strings.Repeat("a", limit) + `"}`)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked, err := ruling{}, test.err
			if err == nil {
				asked, err = test.answer.ruling(q, limit)
			}
			fault := err
			by, outcome, err := decide(asked, test.answer, fault, false)
			if test.want == "" {
				refusal, ok := AsError(err)
				if !ok || refusal.Code != "hook_unavailable" || refusal.Kind != Unavailable || refusal.RetryAfter == 0 || outcome != PresendFailedClosed {
					t.Errorf("fail closed: %v, %v", outcome, err)
				}
				if by, outcome, err = decide(asked, test.answer, fault, true); err != nil || by != (ruling{}) || outcome != PresendFailedOpen {
					t.Errorf("fail open: %+v, %v, %v", by, outcome, err)
				}
				return
			}
			if outcome != test.want || by.drop != (test.want == PresendDropped) {
				t.Errorf("outcome %q, %+v, want %q", outcome, by, test.want)
			}
			if refusal, ok := AsError(err); ok != (test.want == PresendRefused) ||
				ok && (refusal.Code != "refused_by_hook" || refusal.HookCode != test.answer.Code || refusal.HookText != test.answer.Text) {
				t.Errorf("refusal %+v", refusal)
			}
			if test.body == "" {
				return
			}
			stored, err := ParseContent(by.content.Sent)
			if err != nil || string(stored.Body) != test.body || string(stored.Ext) != test.ext || len(stored.Mentions) != 1 {
				t.Fatalf("stored as %s, %v", by.content.Sent, err)
			}
			if stored.Original != by.content.Original {
				t.Errorf("the fingerprint %q reads back as %q", by.content.Original, stored.Original)
			}
			d := d
			d.Body, d.Ext = stored.Body, stored.Ext
			plain, err := d.Content(limit)
			if err != nil {
				t.Fatal(err)
			}
			if !stored.rewrittenFrom(content) || stored.SentAs(content.Sent) {
				t.Error("the original is not recognised as such")
			}
			if !stored.SentAs(plain.Sent) || stored.rewrittenFrom(plain) {
				t.Error("a message from an export is not recognised as the repetition")
			}
			d.ClientID, d.Receipt = "", true
			if other, err := d.Content(limit); err != nil || stored.SentAs(other.Sent) || stored.rewrittenFrom(other) {
				t.Errorf("another message counts as the same, %v", err)
			}
		})
	}
}

// TestNoHookAllocatesNothing: checking that there is no hook allocates nothing.
func TestNoHookAllocatesNothing(t *testing.T) {
	s, asks := &Service{}, false
	if n := testing.AllocsPerRun(100, func() { asks = asks || s.presend.mayAsk(Text) }); n != 0 || asks {
		t.Errorf("%v allocations; the hook would be asked: %t", n, asks)
	}
}
