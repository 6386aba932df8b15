package handlers_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// FuzzImportLine compares a line of an import with the same text as the body of an insertion, which
// the validator checks: both are accepted or both refused, and no line prevents the next one from
// being read.
func FuzzImportLine(f *testing.F) {
	w := newWorld(f)
	for _, with := range []string{
		``, `"client_id":"c","ext":{"a":[1,2.5]},"mentions":["bob"]`, `"receipt":true,"seq":7,"sender_device":"d"`,
		`"burn":{"after_seconds":5,"unread_ttl_seconds":2592000,"burn_at":null}`, `"expires_at":"2025-01-03T00:00:00+02:00"`,
		`"body":null,"state":"revoked","erased":{"at":"2025-01-02T04:00:00Z","by":"bob","postscript":"p","extension":null}`,
		`"type":"location","body":{"latitude":1e1,"longitude":-0.5}`, `"type":"custom","body":{"name":"n","data":null}`,
		`"visible_to":"bob"`, `"mention_all":true`, `"mention_all":null`, `"mentions":null,"ext":null,"reply_to":null`, `"seq":1.0`, `"created_at":"2025-01-02T03:04:05,678Z"`, `"created_at":"2025-01-02T3:04:05.8Z"`,
	} {
		f.Add([]byte(importable(with)))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		w := w.in(t)
		if bytes.ContainsAny(line, "\n") || len(bytes.Trim(line, " \t\r")) == 0 || bytes.Contains(line, []byte(`"conversation"`)) ||
			!bytes.Contains(line, []byte(`"created_at"`)) {
			return // more than one line, another kind of line, or one that only an insertion accepts
		}
		inserted := w.do("", http.MethodPost, "/v1/admin/import/message", string(line), "Authorization", adminOf(t))
		results := w.importLines(string(line), "{}")
		if len(results) != 2 || results[1].Status != 400 {
			t.Fatalf("%d results: %+v", len(results), results)
		}
		if inserted.status/100 != results[0].Status/100 {
			t.Errorf("inserted: %d %s, imported: %+v", inserted.status, strings.TrimSpace(string(inserted.body)), results[0])
		}
	})
}
