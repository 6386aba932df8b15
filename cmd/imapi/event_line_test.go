package main

import (
	"strings"
	"testing"
	"time"
)

func TestEventText(t *testing.T) {
	now := time.Date(2026, 1, 2, 18, 0, 0, 0, time.FixedZone("", 3600))
	const message = `"message":{"id":"06d8n3v2k0g1q","conversation_id":"06d8n3uv40a7c","seq":42,"sender":"alice","type":"text","state":"active","body":{"text":"hi"}}`
	for name, test := range map[string]struct{ event, want string }{
		"a message": {
			`{"id":"A","type":"message.created","at":"2026-01-02T03:04:05Z",` + message + `}`,
			"04:04:05  message.created       06d8n3uv40a7c #42 alice: hi",
		},
		"from another day": {
			`{"id":"A","type":"message.created","at":"2026-01-01T03:04:05Z",` + message + `}`,
			"2026-01-01 04:04:05  message.created       06d8n3uv40a7c #42 alice: hi",
		},
		"a burned one": {
			`{"id":"A","type":"message.burned","at":"2026-01-02T03:04:05Z",` + strings.NewReplacer(`"active"`, `"burned"`, `{"text":"hi"}`, `null,"erased":{"at":"2026-01-02T03:04:05Z","by":"bob","postscript":null,"extension":null}`).Replace(message) + `}`,
			"04:04:05  message.burned        06d8n3uv40a7c #42 alice: [burned by bob]",
		},
		"a custom one": {
			`{"id":"A","type":"message.created","at":"2026-01-02T03:04:05Z",` + strings.NewReplacer(`"text","state"`, `"custom","state"`, `{"text":"hi"}`, `{"data":[1,"\u001b"]}`).Replace(message) + `}`,
			`04:04:05  message.created       06d8n3uv40a7c #42 alice: [custom {"data":[1,"\u001b"]}]`,
		},
		"a receipt": {
			`{"id":"A","type":"receipt.read","at":"2026-01-02T03:04:05Z","conversation_id":"06d8n3uv40a7c","user":"bob smith","up_to_seq":7}`,
			`04:04:05  receipt.read          conversation_id=06d8n3uv40a7c user="bob smith" up_to_seq=7`,
		},
		"an unknown type": {
			`{"id":"A","type":"later","at":"2026-01-02T03:04:05Z","what":{"a":[1]},"none":null,"empty":""}`,
			`04:04:05  later                 what={"a":[1]} none=null empty=""`,
		},
		"ready": {`{"id":"A","type":"ready","at":"2026-01-02T03:04:05Z"}`, "04:04:05  ready"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := eventText([]byte(test.event), now); err != nil || got != test.want {
				t.Errorf("eventText = %v\n%q, want\n%q", err, got, test.want)
			}
		})
	}
	for _, wrong := range []string{"", "[]", `{"type":7}`, `{"type":"a"`} {
		if _, err := eventText([]byte(wrong), now); err == nil {
			t.Errorf("eventText(%q) has no error", wrong)
		}
	}
}

// TestClean checks that text of others can neither control the terminal nor look like another line.
func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                         "plain",
		"你好 👩‍👩‍👧 مرحبا":                "你好 👩‍👩‍👧 مرحبا",
		"two\nlines\r\n\tand":           `two\nlines\u000d\n\tand`,
		"\x1b[2J\x1b]0;title\x07":       `\u001b[2J\u001b]0;title\u0007`,
		"\u009b31m\x7f":                 `\u009b31m\u007f`,
		"user\u202egnp.exe\u2066":       `user\u202egnp.exe\u2066`,
		"a\u2028b\u2029c":               `a\u2028b\u2029c`,
		"\xff\xfe\ufffd":                `\xff\xfe` + "\ufffd",
		strings.Repeat("x", 3000) + "y": strings.Repeat("x", 2001) + "…",
	} {
		if got := clean(text); got != want {
			t.Errorf("clean(%q) = %q, want %q", text, got, want)
		}
	}
}
