package transfer

import (
	"encoding/json"
	"strings"
	"testing"
)

func easemobWith(t testing.TB, conversations string) *Easemob {
	t.Helper()
	e, err := NewEasemob(strings.NewReader(conversations))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const easemobHead = `{"msg_id":"5I02","timestamp":1403099033211,"from":"zw123","to":"1402541206787","chat_type":"groupchat","payload":`

func TestEasemob(t *testing.T) {
	e := easemobWith(t, "1402541206787 06d8n3uv40a7c\n\n")
	const head = `{"conversation_id":"06d8n3uv40a7c","sender":"zw123","client_id":"easemob:5I02",`
	const at = `"created_at":"2014-06-18T13:43:53.211Z"}`
	for name, c := range map[string]struct{ in, want, skipped, err string }{
		"text":  {easemobHead + `{"bodies":[{"msg":"hi <b>","type":"txt"}],"ext":{"a":1}}}`, head + `"type":"text","body":{"text":"hi <b>"},"ext":{"a":1},` + at, "", ""},
		"no id": {strings.Replace(easemobHead, "msg_id", "x", 1) + `{"bodies":[{"msg":"hi","type":"txt"}]}}`, "", "", "msg_id"},
		"a direct chat": {
			strings.Replace(easemobHead, "groupchat", "chat", 1) + `{"bodies":[{"msg":"hi","type":"txt"}],"ext":{}}}`,
			strings.Replace(head, "06d8n3uv40a7c", "@1402541206787", 1) + `"type":"text","body":{"text":"hi"},` + at, "", "",
		},
		"numbers for ids": {
			`{"msg_id":1,"timestamp":"1403099033211","from":2,"to":3,"chat_type":"chat","payload":{"bodies":[{"msg":"hi","type":"txt"}]}}`,
			`{"conversation_id":"@3","sender":"2","client_id":"easemob:1","type":"text","body":{"text":"hi"},` + at, "", "",
		},
		"location": {
			easemobHead + `{"bodies":[{"type":"loc","addr":"Beijing","lat":39.9,"lng":"116.4"}]}}`,
			head + `"type":"location","body":{"address":"Beijing","latitude":39.9,"longitude":116.4},` + at, "", "",
		},
		"bad location": {easemobHead + `{"bodies":[{"type":"loc","lat":"x","lng":1}]}}`, "", "", "bodies/0: lat"},
		"image": {
			easemobHead + `{"bodies":[{"type":"img","url":"https://a/b","filename":"x.jpg","file_length":128827,"size":{"width":746,"height":1325},"secret":"s"}]}}`,
			head + `"type":"custom","body":{"data":{"file_length":128827,"filename":"x.jpg","secret":"s","size":{"width":746,"height":1325},"url":"https://a/b"},"name":"easemob.img"},` + at, "", "",
		},
		"custom": {
			easemobHead + `{"bodies":[{"type":"custom","customEvent":"gift","customExts":{"n":"1"}}]}}`,
			head + `"type":"custom","body":{"data":{"n":"1"},"name":"gift"},` + at, "", "",
		},
		"command": {easemobHead + `{"bodies":[{"type":"cmd","action":"x"}]}}`, "", "command", ""},
		"two bodies": {
			easemobHead + `{"bodies":[{"type":"txt","msg":"a"},{"type":"cmd"},{"type":"txt","msg":"b"}]}}`,
			head + `"type":"text","body":{"text":"a"},` + at + "\n" + strings.Replace(head, "5I02", "5I02:3", 1) + `"type":"text","body":{"text":"b"},` + at, "command", "",
		},
		"no bodies":     {easemobHead + `{"bodies":[]}}`, "", "", "bodies"},
		"no kind":       {easemobHead + `{"bodies":[{"msg":"x"}]}}`, "", "", "bodies/0/type"},
		"no text":       {easemobHead + `{"bodies":[{"type":"txt"}]}}`, "", "", "msg"},
		"broken":        {`{"msg_id":`, "", "", "not a message"},
		"an array":      {`[]`, "", "", "not a message"},
		"no time":       {strings.Replace(easemobHead, "1403099033211", `""`, 1) + `{}}`, "", "", "timestamp"},
		"negative time": {strings.Replace(easemobHead, "1403099033211", `-5`, 1) + `{}}`, "", "", "timestamp"},
		"no sender":     {strings.Replace(easemobHead, "zw123", "", 1) + `{}}`, "", "", "from"},
		"no recipient":  {strings.Replace(easemobHead, "1402541206787", "", 1) + `{}}`, "", "", "to is"},
		"unknown group": {strings.Replace(easemobHead, "1402541206787", "77", 1) + `{}}`, "", "", `"77"`},
		"unknown kind":  {strings.Replace(easemobHead, "groupchat", "letter", 1) + `{}}`, "", "", "chat_type"},
	} {
		t.Run(name, func(t *testing.T) {
			lines, skipped, err := e.Convert([]byte(c.in))
			var got []string
			for _, l := range lines {
				got = append(got, string(l))
			}
			want := strings.ReplaceAll(strings.ReplaceAll(c.want, "<", `\u003c`), ">", `\u003e`)
			if s := strings.Join(got, "\n"); s != want {
				t.Errorf("got\n%s\nwant\n%s", s, want)
			}
			if (skipped != "") != (c.skipped != "") || !strings.Contains(skipped, c.skipped) {
				t.Errorf("skipped: %q, want %q", skipped, c.skipped)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestEasemobConversationsMustBePairs(t *testing.T) {
	for name, text := range map[string]string{"one id": "a", "three ids": "a b c"} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewEasemob(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "line 1") {
				t.Errorf("got %v, want an error about line 1", err)
			}
		})
	}
}

// FuzzEasemob checks that any line yields an error, a reason to skip it, or lines of valid JSON.
func FuzzEasemob(f *testing.F) {
	e := easemobWith(f, "1402541206787 06d8n3uv40a7c")
	f.Add([]byte(easemobHead + `{"bodies":[{"msg":"hi","type":"txt"}],"ext":{"a":[1]}}}`))
	f.Add([]byte(easemobHead + `{"bodies":[{"type":"loc","addr":null,"lat":"1e5","lng":0}]}}`))
	f.Add([]byte(easemobHead + `{"bodies":[{"type":"custom","customEvent":1,"v2:customExts":[{}]}]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		lines, skipped, err := e.Convert(line)
		if err == nil && len(lines) == 0 && skipped == "" {
			t.Error("no line, no reason and no error")
		}
		for _, l := range lines {
			if !json.Valid(l) || strings.ContainsAny(string(l), "\n") {
				t.Errorf("line %q is not JSON on one line", l)
			}
		}
	})
}
