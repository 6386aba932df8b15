package presend

import (
	"encoding/json"
	"testing"
)

// FuzzAnswer: an accepted answer is one JSON object, and encoding/json reads the same from
// it.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"action":"allow"}`, `{"action":"refuse","code":"a","text":"\u00fc"}`, `{"action":"rewrite","body":{"text":"x"},"ext":{}}`,
		`{"action":"drop","action":"allow"}`, `{"act\u0069on":"drop"}`, `[]`, ``, `{"body":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parseAnswer(body)
		if err != nil {
			return
		}
		var want struct {
			Action, Code, Text string
			Body, Ext          json.RawMessage
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("%q is accepted: %v", body, err)
		}
		if a.Action.String() != want.Action || a.Code != want.Code || a.Text != want.Text ||
			string(a.Body) != string(want.Body) || string(a.Ext) != string(want.Ext) {
			t.Errorf("%q is read as %+v, want %+v", body, a, want)
		}
	})
}
