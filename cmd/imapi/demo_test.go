package main

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/web"
)

// visit sends a request to a server and returns the status and body of its answer.
func visit(t *testing.T, s *server, method, path, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(got)
}

// signIn signs one of the demo's people in.
func signIn(t *testing.T, s *server, user string) (token string) {
	t.Helper()
	status, got := visit(t, s, http.MethodPost, "/demo/sign-in", "", `{"user":"`+user+`"}`)
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(got), &answer); err != nil || status != http.StatusOK || answer.Token == "" {
		t.Fatalf("%s is signed in with %d %s", user, status, got)
	}
	return answer.Token
}

// TestDemoProves signs two people in, revokes a message, and lets the demo prove that it is gone.
// The search finds the names of both, so it would find the message.
func TestDemoProves(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ada := signIn(t, s, "Ada")
	if status, got := visit(t, s, http.MethodGet, "/v1/admin/erasures", ada, ""); status != http.StatusForbidden {
		t.Errorf("one of the demo's people is an admin: %d %s", status, got)
	}
	const text = "nobody shall ever find this again"
	status, got := visit(t, s, http.MethodPost, "/v1/conversations/@Grace/messages", ada, `{"type":"text","body":{"text":"`+text+`"}}`)
	var message struct{ ID string }
	if err := json.Unmarshal([]byte(got), &message); err != nil || status != http.StatusCreated {
		t.Fatalf("%d %s", status, got)
	}
	question := `{"message_id":"` + message.ID + `","text":"` + text + `"}`
	for _, c := range []string{question, strings.Replace(question, message.ID, "nonsense", 1)} {
		if status, got := visit(t, s, http.MethodPost, "/demo/proof", "", c); status != http.StatusNotFound {
			t.Errorf("a proof for a message that was not erased is %d %s", status, got)
		}
	}
	if status, got := visit(t, s, http.MethodPost, "/v1/messages/"+message.ID+"/revoke", ada, ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, got)
	}
	var proof web.Proof
	await.Until(t, "the key is shredded", func() bool {
		status, got := visit(t, s, http.MethodPost, "/demo/proof", "", question)
		if err := json.Unmarshal([]byte(got), &proof); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, got)
		}
		return proof.ShreddedAt != nil
	})
	if took := proof.ShreddedAt.Sub(proof.ErasedAt); took < 0 || took > await.Limit {
		t.Errorf("the key was shredded %v after the message was revoked", took)
	}
	names := map[string]bool{}
	control := false
	for _, f := range proof.Files {
		names[f.Name] = true
		control = control || f.Control
		if f.Text {
			t.Errorf("the text is in %s", f.Name)
		}
	}
	if !names["imapi.db"] || !names["keys"] || !names[secretFile] || !proof.Complete || proof.State != "revoked" || proof.Control != "Ada" || !control {
		t.Errorf("the proof is %+v", proof)
	}
}

// TestDemoOff checks that --demo=false serves nothing of the demo.
func TestDemoOff(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--demo=false")
	for _, path := range []string{"/", "/demo/app.js", "/demo/sign-in", "/demo/proof"} {
		if status, got := visit(t, s, http.MethodGet, path, "", ""); status != http.StatusNotFound {
			t.Errorf("GET %s is %d %.200s", path, status, got)
		}
	}
	if status, got := visit(t, s, http.MethodPost, "/demo/sign-in", "", `{"user":"Ada"}`); status != http.StatusNotFound {
		t.Errorf("Ada is signed in with %d %s", status, got)
	}
	if strings.Contains(s.out.String(), "the demo") {
		t.Errorf("it says:\n%s", s.out)
	}
}

// TestDemoSignsInOnlyInDevelopment starts servers that other machines may reach or that do not sign
// tokens themselves.
func TestDemoSignsInOnlyInDevelopment(t *testing.T) {
	for name, args := range map[string][]string{
		"all addresses":           {"--listen", "0.0.0.0:0"},
		"pages of other hosts":    {"--cors-origins", "https://app.example"},
		"a proxy":                 {"--trusted-proxies", "127.0.0.1"},
		"tokens signed elsewhere": {"--auth-algorithm", "ES256", "--auth-jwks-url", "https://127.0.0.1:1/keys"},
	} {
		t.Run(name, func(t *testing.T) {
			if inDevelopment(t, args...) {
				t.Error("the server considers itself a development server")
			}
		})
	}
	if !inDevelopment(t) {
		t.Error("a server with the defaults does not sign people in")
	}
}

// inDevelopment reports whether the demo of a server with these flags may sign people in.
func inDevelopment(t *testing.T, args ...string) bool {
	t.Helper()
	base := []string{"--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data")}
	c, err := parseConfig(append(base, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(t.Context(), c, c.logger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	return n.inDevelopment()
}
