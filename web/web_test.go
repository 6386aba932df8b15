package web_test

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/web"
)

// demo is a demo that signs people in.
func demo() *web.SignIn {
	return &web.SignIn{
		Mint: func(user string) (string, time.Time, error) { return "token of " + user, time.Unix(1e9, 0), nil },
		Prove: func(_ context.Context, message, _ string) (web.Proof, error) {
			if message != "m" {
				return web.Proof{}, fs.ErrNotExist
			}
			return web.Proof{Control: "Ada", State: "revoked"}, nil
		},
	}
}

// ask sends a request and returns the answer with its body.
func ask(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func request(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// TestPage requests the page and every file that it names.
func TestPage(t *testing.T) {
	s := httptest.NewServer(web.Handler(demo()))
	defer s.Close()
	res, page := ask(t, request(t, http.MethodGet, s.URL+"/", ""))
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("GET / is %d %q", res.StatusCode, res.Header.Get("Content-Type"))
	}
	policy := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q has no %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http:") || strings.Contains(policy, "https:") {
		t.Errorf("the policy %q allows more than the page needs", policy)
	}
	files := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(files) < 3 {
		t.Fatalf("the page names only %v", files)
	}
	for _, f := range files {
		if !strings.HasPrefix(f[1], "/demo/") {
			t.Errorf("the page names %q, which the demo does not serve", f[1])
			continue
		}
		res, body := ask(t, request(t, http.MethodGet, s.URL+f[1], ""))
		if res.StatusCode != http.StatusOK || body == "" || res.Header.Get("Content-Type") == "" {
			t.Errorf("GET %s is %d %q with %d bytes", f[1], res.StatusCode, res.Header.Get("Content-Type"), len(body))
		}
		again := request(t, http.MethodGet, s.URL+f[1], "")
		again.Header.Set("If-None-Match", res.Header.Get("ETag"))
		if res, _ := ask(t, again); res.StatusCode != http.StatusNotModified {
			t.Errorf("GET %s with its ETag is %d, want 304", f[1], res.StatusCode)
		}
	}
}

// TestWhoIsSignedIn tries to get a token in every way that an outsider may try.
func TestWhoIsSignedIn(t *testing.T) {
	s := httptest.NewServer(web.Handler(demo()))
	defer s.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	own := "127.0.0.1:" + port
	for name, c := range map[string]struct {
		host   string
		header map[string]string
		want   int
	}{
		"the page":                            {own, map[string]string{"Origin": "http://" + own, "Sec-Fetch-Site": "same-origin"}, 200},
		"the page at localhost":               {"localhost:" + port, map[string]string{"Origin": "http://localhost:" + port}, 200},
		"the page at an IPv6 address":         {"[::1]:" + port, nil, 200},
		"curl":                                {own, nil, 200},
		"a name rebound to this machine":      {"evil.example:" + port, map[string]string{"Origin": "http://evil.example:" + port, "Sec-Fetch-Site": "same-origin"}, 403},
		"a name that ends in localhost":       {"evil.localhost:" + port, nil, 403},
		"another address":                     {"192.0.2.1:" + port, nil, 403},
		"the unspecified address":             {"0.0.0.0:" + port, nil, 403},
		"another port":                        {"127.0.0.1:1", nil, 403},
		"no port":                             {"127.0.0.1", nil, 403},
		"a page of another origin":            {own, map[string]string{"Origin": "http://evil.example"}, 403},
		"a page of another port":              {own, map[string]string{"Origin": "http://127.0.0.1:1"}, 403},
		"a page without an origin":            {own, map[string]string{"Origin": "null"}, 403},
		"a page of the same site":             {own, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"a page of another site":              {own, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"a form, which is sent without CORS":  {own, map[string]string{"Content-Type": "text/plain"}, 415},
		"a body without a type":               {own, map[string]string{"Content-Type": ""}, 415},
		"a proxy with X-Forwarded-For":        {own, map[string]string{"X-Forwarded-For": "192.0.2.1"}, 403},
		"a proxy with Forwarded":              {own, map[string]string{"Forwarded": "for=192.0.2.1"}, 403},
		"a proxy with Via":                    {own, map[string]string{"Via": "1.1 proxy"}, 403},
		"a proxy with X-Forwarded-Host":       {own, map[string]string{"X-Forwarded-Host": "chat.example"}, 403},
		"a proxy with X-Real-IP":              {own, map[string]string{"X-Real-IP": "192.0.2.1"}, 403},
		"a proxy that passes the public name": {"chat.example", nil, 403},
	} {
		t.Run(name, func(t *testing.T) {
			for path, body := range map[string]string{"/demo/sign-in": `{"user":"Ada"}`, "/demo/proof": `{"message_id":"m","text":"a long text"}`} {
				req := request(t, http.MethodPost, s.URL+path, body)
				req.Host = c.host
				for name, value := range c.header {
					req.Header.Set(name, value)
				}
				res, got := ask(t, req)
				if res.StatusCode != c.want || (c.want != 200 && strings.Contains(got, "token of")) {
					t.Errorf("POST %s is %d %s, want %d", path, res.StatusCode, got, c.want)
				}
				if cached := res.Header.Get("Cache-Control"); cached != "no-store" {
					t.Errorf("Cache-Control is %q", cached)
				}
			}
			if c.want == 415 {
				return
			}
			req := request(t, http.MethodGet, s.URL+"/", "")
			req.Host = c.host
			for name, value := range c.header {
				req.Header.Set(name, value)
			}
			_, page := ask(t, req)
			if on := strings.Contains(page, `data-sign-in="on"`); on != (c.want == 200) {
				t.Errorf("the page expects to be signed in: %v", on)
			}
		})
	}
}

// TestOnlyTheDemosPeople signs in each of the demo's people, and nobody else.
func TestOnlyTheDemosPeople(t *testing.T) {
	s := httptest.NewServer(web.Handler(demo()))
	defer s.Close()
	for _, user := range web.People {
		res, got := ask(t, request(t, http.MethodPost, s.URL+"/demo/sign-in", `{"user":"`+user+`"}`))
		var answer map[string]string
		if err := json.Unmarshal([]byte(got), &answer); err != nil || res.StatusCode != http.StatusOK || answer["token"] != "token of "+user || answer["expires_at"] == "" {
			t.Errorf("%s is %d %s", user, res.StatusCode, got)
		}
	}
	for body, want := range map[string]int{
		`{"user":"alice"}`: 403, `{"user":"ada"}`: 403, `{"user":""}`: 403, `{}`: 403, `{"user":7}`: 400, `[`: 400,
		`{"user":"` + strings.Repeat("a", 200<<10) + `"}`: 400,
	} {
		if res, got := ask(t, request(t, http.MethodPost, s.URL+"/demo/sign-in", body)); res.StatusCode != want {
			t.Errorf("%.40s is %d %s, want %d", body, res.StatusCode, got, want)
		}
	}
	for body, want := range map[string]int{
		`{"message_id":"m","text":"short"}`: 422, `{"message_id":"other","text":"long enough"}`: 404, `{"message_id":"m","text":"long enough"}`: 200, `[`: 400,
	} {
		if res, got := ask(t, request(t, http.MethodPost, s.URL+"/demo/proof", body)); res.StatusCode != want {
			t.Errorf("%s is %d %s, want %d", body, res.StatusCode, got, want)
		}
	}
}

// TestWithoutSignIn checks that a server that does not sign people in has no sign-in requests.
func TestWithoutSignIn(t *testing.T) {
	s := httptest.NewServer(web.Handler(nil))
	defer s.Close()
	if _, page := ask(t, request(t, http.MethodGet, s.URL+"/", "")); !strings.Contains(page, `data-sign-in="off"`) {
		t.Error("the page expects to be signed in")
	}
	for _, path := range []string{"/demo/sign-in", "/demo/proof", "/demo/", "/demo/../web.go"} {
		if res, _ := ask(t, request(t, http.MethodPost, s.URL+path, `{"user":"Ada"}`)); res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s is %d", path, res.StatusCode)
		}
	}
}

// TestSearchFiles finds a text in all of its forms, even across two pieces of a file, and nothing
// else.
func TestSearchFiles(t *testing.T) {
	const text = `a "secret" <of> 上海 𝄞`
	dir := t.TempDir()
	utf16 := ""
	for _, c := range []string{"\x0a\x4e\x77\x6d", "\x34\xd8\x1e\xdd"} { // 上海, 𝄞
		utf16 += c
	}
	little := strings.Join(strings.Split(`a "secret" <of> `, ""), "\x00") + "\x00" + utf16[:4] + " \x00" + utf16[4:]
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"plain":            "xx" + text + "yy",
		"sub/quoted":       `{"text":` + string(quoted) + `}`,
		"utf16":            "\x01" + little,
		"on the boundary":  strings.Repeat("x", 1<<20-7) + text,
		"on a later one":   strings.Repeat("x", 2<<20+3) + text + strings.Repeat("y", 1<<20),
		"almost":           text[:len(text)-1],
		"empty":            "",
		"control":          "… Ada …",
		"large and random": strings.Repeat("\x00\xff", 1<<20),
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "endless")); err != nil {
		t.Fatal(err)
	}
	found, complete, err := web.SearchFiles(t.Context(), dir, text, "Ada")
	if err != nil || !complete || len(found) != len(files) {
		t.Fatalf("%d files, complete is %v, error is %v", len(found), complete, err)
	}
	for _, f := range found {
		hidden := map[string]bool{"almost": true, "empty": true, "control": true, "large and random": true}[f.Name]
		if f.Text == hidden || f.Control != (f.Name == "control") || f.Size != int64(len(files[f.Name])) {
			t.Errorf("%+v", f)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, complete, err := web.SearchFiles(ctx, dir, text, "Ada"); err == nil || complete {
		t.Error("a search that was cancelled is complete")
	}
}
