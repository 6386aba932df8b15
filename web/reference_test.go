package web_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imapi/imapi/web"
)

func TestReference(t *testing.T) {
	s := httptest.NewServer(web.Reference(nil))
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	get := func(path, accept, match string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", accept)
		req.Header.Set("If-None-Match", match)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var body io.Reader = res.Body
		if res.StatusCode == http.StatusOK && res.Header.Get("Content-Encoding") == "gzip" {
			if body, err = gzip.NewReader(res.Body); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(b)
	}
	for path, has := range map[string]string{
		"/docs": `<script src="/docs/scalar.js">`, "/docs/reference.js": "telemetry: false", "/docs/scalar.js": "createApiReference",
	} {
		res, body := get(path, "gzip, deflate, br", "")
		if res.StatusCode != http.StatusOK || !strings.Contains(body, has) {
			t.Errorf("%s: %s, without %q", path, res.Status, has)
		}
		policy := res.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "script-src 'self';") || !strings.Contains(policy, "connect-src 'self';") || strings.Contains(policy, "http") {
			t.Errorf("%s: the policy is %s", path, policy)
		}
		if strings.Contains(body, `data-sign-in="on"`) {
			t.Errorf("%s signs in without SignIn", path)
		}
		if res, _ := get(path, "gzip", res.Header.Get("ETag")); res.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s", path, res.Status)
		}
	}
	for accept, compressed := range map[string]bool{
		"": false, "br": false, "gzip": true, "gzip;q=1.0, identity": true, "deflate, gzip ; q=0.5": true, "gzip;q=0": false, "gzip;q=0.0": false, "*": false,
	} {
		res, body := get("/docs/scalar.js", accept, "")
		if (res.Header.Get("Content-Encoding") == "gzip") != compressed || !strings.Contains(body, "createApiReference") {
			t.Errorf("Accept-Encoding %q: Content-Encoding %q, %d bytes", accept, res.Header.Get("Content-Encoding"), len(body))
		}
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if res, _ := get("/docs/", "", ""); res.StatusCode != http.StatusPermanentRedirect || res.Header.Get("Location") != "/docs" {
		t.Errorf("/docs/: %s to %q", res.Status, res.Header.Get("Location"))
	}
	client.CheckRedirect = nil
	for _, path := range []string{"/docs/LICENSE.scalar", "/docs/../reference.go", "/"} {
		if res, _ := get(path, "", ""); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}
